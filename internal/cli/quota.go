package cli

import (
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"karri.dev/internal/admin"
	"karri.dev/internal/daemon"
	"karri.dev/internal/quota"
	"karri.dev/internal/resource"
	"karri.dev/internal/service/s3"
)

// withQuotas adds what the administrator does with accounts' quotas.
func withQuotas(account *cobra.Command) *cobra.Command {
	var dir, file string
	var all, asJSON bool
	var in daemon.Quotas
	set := &cobra.Command{
		Use:   "quota NAME|--all [KEY=NUMBER|KEY=none …]",
		Short: "Show and change an account's quotas",
		Long: `Show and change an account's quotas. A key is that of a Limit statement, "ec2:quota-" may be shortened to "ec2:". A number
of an account's own comes before that of --all, and that before AWS's default; KEY=none takes the number away again.`,
		Example: "  karri account quota chemistry ec2:vminstancenumber=10 ec2:volumetotalsize=500\n" +
			"  karri account quota --all s3:bucketnumber=100\n  karri account quota chemistry --policy limits.json\n  karri account quota --all --defaults aws",
		RunE: func(c *cobra.Command, args []string) error {
			if !all {
				if len(args) == 0 || strings.Contains(args[0], "=") {
					return fmt.Errorf("say which account, or --all")
				}
				in.Account, args = args[0], args[1:]
			}
			var err error
			if in.Set, err = numbers(args); err != nil {
				return err
			}
			if c.Flags().Changed("policy") {
				text, err := os.ReadFile(file)
				if err != nil {
					return err
				}
				policy := strings.TrimSpace(string(text))
				in.Policy = &policy
			}
			var out daemon.AccountQuotas
			if err := admin.Call(c.Context(), dir, "account-quotas", in, &out); err != nil {
				return err
			}
			if asJSON {
				return printJSON(c.OutOrStdout(), out)
			}
			return printQuotas(c.OutOrStdout(), out, !all)
		},
	}
	dataDirFlag(set, &dir)
	set.Flags().BoolVar(&all, "all", false, "all accounts that have no number of their own")
	set.Flags().StringVar(&file, "policy", "", "put this file, a policy of Limit statements, in place of the quotas; an empty one takes them away")
	set.Flags().StringVar(&in.Defaults, "defaults", "", "which of AWS's defaults hold in the cloud: usual (all but the number of vCPUs and of network interfaces), aws or none")
	set.Flags().BoolVar(&asJSON, "json", false, "print JSON")

	var buckets bool
	usage := &cobra.Command{
		Use: "usage NAME", Short: "Show what an account has, and may have", Args: cobra.ExactArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			var out daemon.AccountQuotas
			if err := admin.Call(c.Context(), dir, "account-quotas", daemon.Quotas{Account: args[0], Buckets: buckets}, &out); err != nil {
				return err
			}
			if asJSON {
				return printJSON(c.OutOrStdout(), out)
			}
			if buckets && !asJSON {
				return printBuckets(c.OutOrStdout(), out.Buckets)
			}
			return printQuotas(c.OutOrStdout(), out, true)
		},
	}
	dataDirFlag(usage, &dir)
	usage.Flags().BoolVar(&buckets, "buckets", false, "what each bucket holds: all versions, delete markers and parts of uploads")
	usage.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	var accept, deny string
	requests := &cobra.Command{
		Use: "quota-requests [--accept ID|--deny ID]", Short: "List and decide what accounts asked for with RequestServiceQuotaIncrease", Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			var out []resource.QuotaRequest
			if err := admin.Call(c.Context(), dir, "quota-requests", daemon.QuotaDecision{ID: accept + deny, Accept: accept != ""}, &out); err != nil {
				return err
			}
			if asJSON {
				return printJSON(c.OutOrStdout(), out)
			}
			for _, q := range out {
				fmt.Fprintf(c.OutOrStdout(), "%s  %-8s  %s  %s  %s=%d  %s\n", q.ID, q.State, q.CreatedAt.Format(time.RFC3339), q.AccountID, q.Key, q.Wanted, q.Requester)
			}
			return nil
		},
	}
	dataDirFlag(requests, &dir)
	requests.Flags().StringVar(&accept, "accept", "", "give the account what it asked for")
	requests.Flags().StringVar(&deny, "deny", "", "refuse the request")
	requests.MarkFlagsMutuallyExclusive("accept", "deny")
	requests.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	account.AddCommand(set, usage, requests)
	return account
}

func printBuckets(w io.Writer, buckets []s3.BucketUsage) error {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	for _, b := range buckets {
		fmt.Fprintf(t, "%s\t%d objects\t%d bytes\t%s\n", b.Bucket, b.Objects, b.Bytes, b.Problem)
	}
	return t.Flush()
}

func numbers(args []string) (map[string]int64, error) {
	out := map[string]int64{}
	for _, a := range args {
		key, value, ok := strings.Cut(a, "=")
		if !ok {
			return nil, fmt.Errorf("%q is not KEY=NUMBER", a)
		}
		if value == "none" {
			out[key] = quota.None
			continue
		}
		n, err := strconv.ParseInt(value, 10, 64)
		if err != nil || n < 0 {
			return nil, fmt.Errorf("%q is not KEY=NUMBER", a)
		}
		out[key] = n
	}
	return out, nil
}

func printQuotas(w io.Writer, q daemon.AccountQuotas, used bool) error {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	for _, i := range q.Quotas {
		most := "-"
		if i.Most != nil {
			most = strconv.FormatInt(*i.Most, 10)
		}
		counts := i.Counts
		if i.Unit != "" {
			counts += ", " + i.Unit
		}
		if used {
			fmt.Fprintf(t, "%s\t%d\tof %s\t%s\n", i.Key, i.Used, most, counts)
		} else {
			fmt.Fprintf(t, "%s\t%s\t%s\n", i.Key, most, counts)
		}
	}
	return t.Flush()
}
