package cli

import (
	"bufio"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"karri.dev/internal/admin"
	"karri.dev/internal/daemon"
	"karri.dev/internal/resource"
)

// withAccounts adds what the administrator does with accounts that are there.
func withAccounts(account *cobra.Command) *cobra.Command {
	var dir string
	var asJSON bool
	describe := &cobra.Command{
		Use: "describe NAME", Short: "Show an account", Args: cobra.ExactArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			var out daemon.AccountDetail
			if err := admin.Call(c.Context(), dir, "account-describe", args[0], &out); err != nil {
				return err
			}
			if asJSON {
				return printJSON(c.OutOrStdout(), out)
			}
			fmt.Fprintf(c.OutOrStdout(), "AccountId    %s\nName         %s\nEmail        %s\nStatus       %s\nCreatedAt    %s\nCanonicalId  %s\nUsers        %d\nInstances    %d\nBuckets      %d\n",
				out.AccountID, out.Name, out.Email, out.Status, out.CreatedAt.Format(time.RFC3339), out.CanonicalID, out.Users, out.Instances, out.Buckets)
			return nil
		},
	}
	dataDirFlag(describe, &dir)
	describe.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	simple := func(use, short, method string) *cobra.Command {
		c := &cobra.Command{
			Use: use, Short: short, Args: cobra.ExactArgs(1),
			RunE: func(c *cobra.Command, args []string) error {
				return admin.Call(c.Context(), dir, method, args[0], new(struct{}))
			},
		}
		dataDirFlag(c, &dir)
		return c
	}
	requests := &cobra.Command{
		Use: "requests", Short: "List who asked for accounts", Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			var out []resource.SignUp
			if err := admin.Call(c.Context(), dir, "signup-list", struct{}{}, &out); err != nil {
				return err
			}
			if asJSON {
				return printJSON(c.OutOrStdout(), out)
			}
			for _, s := range out {
				fmt.Fprintf(c.OutOrStdout(), "%s  %-9s  %s  %q  %q\n", s.ID, s.State, s.CreatedAt.Format(time.RFC3339), s.Account, s.Email)
			}
			return nil
		},
	}
	dataDirFlag(requests, &dir)
	requests.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	for _, accept := range []bool{true, false} {
		use, short := "reject ID", "Refuse a request for an account"
		if accept {
			use, short = "accept ID", "Accept a request for an account: its author gets an activation link"
		}
		decide := &cobra.Command{
			Use: use, Short: short, Args: cobra.ExactArgs(1),
			RunE: func(c *cobra.Command, args []string) error {
				return admin.Call(c.Context(), dir, "signup-decide", daemon.Decision{ID: args[0], Accept: accept}, new(struct{}))
			},
		}
		dataDirFlag(decide, &dir)
		account.AddCommand(decide)
	}
	var root daemon.RootLogin
	rootLogin := &cobra.Command{
		Use: "root-login NAME [--remove] [--remove-mfa]", Short: "Give an account's root a password, read from standard input, or take away what it logs in with",
		Example: "  karri account root-login chemistry\n  karri account root-login chemistry --remove-mfa",
		Args:    cobra.ExactArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			if root.Account = args[0]; !root.Remove && !root.RemoveMFA {
				ask := &asker{in: bufio.NewReader(c.InOrStdin()), out: c.ErrOrStderr()}
				if root.Password = ask.secret("Password: "); ask.err != nil {
					return ask.err
				}
			}
			return admin.Call(c.Context(), dir, "root-login", root, new(struct{}))
		},
	}
	dataDirFlag(rootLogin, &dir)
	rootLogin.Flags().BoolVar(&root.Remove, "remove", false, "take the password away")
	rootLogin.Flags().BoolVar(&root.RemoveMFA, "remove-mfa", false, "let root in without the MFA devices that it has lost")
	account.AddCommand(describe, requests, rootLogin,
		simple("suspend NAME", "Shut an account's users and sessions out; what it has runs on", "account-suspend"),
		simple("resume NAME", "Let a suspended account in again", "account-resume"))
	return account
}

// withUsers adds what the administrator does with users that are there.
func withUsers(user *cobra.Command) *cobra.Command {
	var dir string
	var act daemon.Impersonate
	var asJSON bool
	impersonate := &cobra.Command{
		Use:     "impersonate --account ACCOUNT [--user NAME]",
		Short:   "Print temporary credentials to act as a user, or as an account's root; the audit log says so",
		Example: "  eval \"$(karri user impersonate --account chemistry --user marie --reason 'ticket 42')\"",
		Args:    cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			var out daemon.Session
			if err := admin.Call(c.Context(), dir, "impersonate", act, &out); err != nil {
				return err
			}
			if asJSON {
				return printJSON(c.OutOrStdout(), out)
			}
			fmt.Fprintf(c.OutOrStdout(), "# %s until %s\nunset AWS_PROFILE\nexport AWS_ACCESS_KEY_ID=%s\nexport AWS_SECRET_ACCESS_KEY='%s'\nexport AWS_SESSION_TOKEN='%s'\nexport AWS_ENDPOINT_URL=%s\nexport AWS_DEFAULT_REGION=%s\n",
				out.ARN, out.Expiration.Format(time.RFC3339), out.AccessKeyID, out.SecretAccessKey, out.SessionToken, out.Endpoint, out.Region)
			return nil
		},
	}
	dataDirFlag(impersonate, &dir)
	f := impersonate.Flags()
	f.StringVar(&act.Account, "account", "", "the account, by name or id")
	f.StringVar(&act.User, "user", "", "the user (default: the account's root)")
	f.DurationVar(&act.Life, "life", time.Hour, "how long the credentials are good for")
	f.StringVar(&act.Reason, "reason", "", "why, for the audit log")
	f.BoolVar(&asJSON, "json", false, "print JSON")
	if err := impersonate.MarkFlagRequired("account"); err != nil {
		panic(err) // the flag is defined above
	}

	var in daemon.Bundle
	var file string
	credentials := &cobra.Command{
		Use:   "credentials NAME",
		Short: "Make a user a new access key, in a zip with all that clients need",
		Long: `Make a user a new access key and write it to a zip file: karrirc to source, AWS config and credentials files, an
X.509 certificate and its key, and the cloud's certificate. A user has at most two access keys.`,
		Args: cobra.ExactArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			in.User = args[0]
			if file == "" {
				file = strings.NewReplacer("/", "_", "=", "_").Replace(in.User) + "-credentials.zip"
			}
			out, err := os.OpenFile(file, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600) // before the key is made
			if errors.Is(err, fs.ErrExist) {
				return fmt.Errorf("%s is there already", file)
			}
			if err != nil {
				return err
			}
			var zip []byte
			if err := admin.Call(c.Context(), dir, "user-credentials", in, &zip); err != nil {
				out.Close()
				os.Remove(file)
				return err
			}
			if _, err := out.Write(zip); err != nil {
				return err
			}
			if err := out.Close(); err != nil {
				return err
			}
			fmt.Fprintln(c.OutOrStdout(), file)
			return nil
		},
	}
	dataDirFlag(credentials, &dir)
	credentials.Flags().StringVar(&in.Account, "account", "", "the account, by name or id (default: the administrator's)")
	credentials.Flags().StringVarP(&file, "output", "o", "", "the zip file (default: NAME-credentials.zip)")
	user.AddCommand(impersonate, credentials)
	return user
}
