package cli

import (
	"fmt"
	"io"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"karri.dev/internal/role/cloud"
)

func operationsCommand() *cobra.Command {
	var asJSON, markdown bool
	c := &cobra.Command{
		Use:   "operations",
		Short: "List every AWS operation served, and what of it is not honoured",
		Args:  cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			all := cloud.Operations()
			switch {
			case asJSON:
				return printJSON(c.OutOrStdout(), all)
			case markdown:
				return operationsPage(c.OutOrStdout(), all)
			}
			w := tabwriter.NewWriter(c.OutOrStdout(), 0, 0, 2, ' ', 0)
			for _, s := range all {
				for _, op := range s.Operations {
					fmt.Fprintf(w, "%s\t%s\t%s\n", s.Service, op.Name, op.Note)
				}
			}
			return w.Flush()
		},
	}
	c.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	c.Flags().BoolVar(&markdown, "markdown", false, "print docs/operations.md")
	c.MarkFlagsMutuallyExclusive("json", "markdown")
	return c
}

// operationsPage writes docs/operations.md.
func operationsPage(w io.Writer, all []cloud.ServiceOperations) error {
	fmt.Fprint(w, "# Operations served\n\nMade by `make generate`; `karri operations` prints the same. Whatever is not here answers\nAWS's own error (`InvalidAction`, or `NotImplemented` in S3).\n")
	for _, s := range all {
		fmt.Fprintf(w, "\n## %s: %d of AWS's %d\n\n| operation | what is not honoured |\n| --- | --- |\n", s.Service, len(s.Operations), s.Known)
		for _, op := range s.Operations {
			fmt.Fprintf(w, "| %s | %s |\n", op.Name, op.Note)
		}
	}
	_, err := fmt.Fprintln(w)
	return err
}
