package cli

import (
	"fmt"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"karri.dev/internal/admin"
	"karri.dev/internal/daemon"
)

func tokenCommand() *cobra.Command {
	token := &cobra.Command{Use: "token", Short: "Make one-time tokens by which processes join the cloud"}
	var dir string
	var in daemon.CreateToken
	c := &cobra.Command{
		Use:     "create",
		Short:   "Make a token for one zone or one node",
		Example: "  karri token create --role zone --zone us-east-1a\n  karri token create --role node --zone us-east-1a",
		Args:    cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			var out string
			if err := admin.Call(c.Context(), dir, "token-create", in, &out); err != nil {
				return err
			}
			fmt.Fprintln(c.OutOrStdout(), out)
			return nil
		},
	}
	dataDirFlag(c, &dir)
	c.Flags().StringVar(&in.Role, "role", "", "zone or node")
	c.Flags().StringVar(&in.Zone, "zone", "", "the availability zone, as in us-east-1a")
	c.Flags().DurationVar(&in.Life, "life", time.Hour, "how long the token is good for")
	for _, f := range []string{"role", "zone"} {
		if err := c.MarkFlagRequired(f); err != nil {
			panic(err) // the flag is defined above
		}
	}
	token.AddCommand(c)
	return token
}

func nodesCommand() *cobra.Command {
	nodes := &cobra.Command{Use: "nodes", Short: "List and revoke nodes"}
	var dir string
	var asJSON bool
	list := &cobra.Command{
		Use: "list", Short: "List the nodes", Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			var out []daemon.NodeInfo
			if err := admin.Call(c.Context(), dir, "node-list", struct{}{}, &out); err != nil {
				return err
			}
			if asJSON {
				return printJSON(c.OutOrStdout(), out)
			}
			w := tabwriter.NewWriter(c.OutOrStdout(), 0, 0, 2, ' ', 0)
			fmt.Fprintln(w, "NODE\tNAME\tZONE\tSTATE\tACCEL\tINSTANCES")
			for _, n := range out {
				fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\t%d\n", n.ID, n.Name, n.Zone, n.State, n.Accel, n.Instances)
			}
			return w.Flush()
		},
	}
	dataDirFlag(list, &dir)
	list.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	revoke := &cobra.Command{
		Use: "revoke NODE", Short: "Shut a node out for good", Args: cobra.ExactArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			return admin.Call(c.Context(), dir, "node-revoke", args[0], new(struct{}))
		},
	}
	dataDirFlag(revoke, &dir)
	nodes.AddCommand(list, revoke)
	return nodes
}
