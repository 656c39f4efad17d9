package cli

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"karri.dev/internal/admin"
)

func statusCommand() *cobra.Command {
	var dir string
	var wait, asJSON bool
	var timeout time.Duration
	c := &cobra.Command{
		Use:   "status",
		Short: "Say whether every component is healthy; exit 0 when it is",
		Args:  cobra.NoArgs,
	}
	dataDirFlag(c, &dir)
	c.Flags().BoolVar(&wait, "wait", false, "wait until everything is healthy")
	c.Flags().DurationVar(&timeout, "timeout", 60*time.Second, "how long --wait waits")
	c.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	c.RunE = func(c *cobra.Command, _ []string) error {
		ctx, cancel := context.WithTimeout(c.Context(), timeout)
		defer cancel()
		var s admin.Status
		for {
			err := admin.Call(ctx, dir, "status", struct{}{}, &s)
			if err == nil && s.Healthy || !wait {
				if err != nil {
					return err
				}
				break
			}
			select {
			case <-ctx.Done():
				if err != nil {
					return err
				}
				return errors.Join(printStatus(c, s, asJSON), errors.New("not healthy in time"))
			case <-time.After(200 * time.Millisecond):
			}
		}
		if err := printStatus(c, s, asJSON); err != nil {
			return err
		}
		if !s.Healthy {
			return errors.New("not everything is healthy")
		}
		return nil
	}
	return c
}

func printStatus(c *cobra.Command, s admin.Status, asJSON bool) error {
	if asJSON {
		return printJSON(c.OutOrStdout(), s)
	}
	w := tabwriter.NewWriter(c.OutOrStdout(), 0, 0, 2, ' ', 0)
	for _, p := range s.Components {
		health := "healthy"
		if !p.Healthy {
			health = "UNHEALTHY"
		}
		detail := p.Detail
		for _, k := range slices.Sorted(maps.Keys(p.Facts)) {
			detail += fmt.Sprintf(" %s=%s", k, p.Facts[k])
		}
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\n", p.Role, p.Name, health, detail)
	}
	return w.Flush()
}
