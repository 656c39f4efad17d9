package cli

import (
	"fmt"
	"io"
	"math"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"karri.dev/internal/admin"
	"karri.dev/internal/daemon"
	"karri.dev/internal/service/s3"
)

func objectsCommand() *cobra.Command {
	objects := &cobra.Command{Use: "objects", Short: "Look at the disks with S3's objects, and check what is on them"}
	var dir string
	var asJSON bool
	status := &cobra.Command{
		Use: "status", Short: "Show the disks, what the scrubber has done and what it has found", Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			var out []daemon.ObjectsInfo
			if err := admin.Call(c.Context(), dir, "objects-status", struct{}{}, &out); err != nil {
				return err
			}
			if asJSON {
				return printJSON(c.OutOrStdout(), out)
			}
			for i := range out {
				if err := printObjects(c.OutOrStdout(), &out[i]); err != nil {
					return err
				}
			}
			return nil
		},
	}
	dataDirFlag(status, &dir)
	status.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	scrub := &cobra.Command{
		Use: "scrub", Short: "Begin to check all data files now, unless that is under way", Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			return admin.Call(c.Context(), dir, "objects-scrub", struct{}{}, new(struct{}))
		},
	}
	dataDirFlag(scrub, &dir)
	queues := &cobra.Command{
		Use: "queues", Short: "Show what waits to be told to webhooks and to be replicated", Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			var out []s3.Queue
			if err := admin.Call(c.Context(), dir, "objects-queues", struct{}{}, &out); err != nil {
				return err
			}
			if asJSON {
				return printJSON(c.OutOrStdout(), out)
			}
			return printQueues(c.OutOrStdout(), out)
		},
	}
	dataDirFlag(queues, &dir)
	queues.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	objects.AddCommand(status, scrub, queues)
	return objects
}

func printQueues(out io.Writer, queues []s3.Queue) error {
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	for _, q := range queues {
		oldest := "-"
		if !q.Oldest.IsZero() {
			oldest = q.Oldest.Format(time.RFC3339)
		}
		fmt.Fprintf(w, "%s\t%d waiting\tsince %s\t%d attempts failed\t%d given up\t%s\n", q.Name, q.Waiting, oldest, q.Attempts, q.GivenUp, q.Problem)
	}
	return w.Flush()
}

func printObjects(out io.Writer, i *daemon.ObjectsInfo) error {
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	for _, p := range i.Places {
		state := fmt.Sprintf("online\t%d of %d MiB free", p.Free>>20, p.Total>>20)
		if p.Total == math.MaxInt64 {
			state = "online\tno limit is known"
		}
		if !p.Online {
			state = "OFFLINE\t" + p.Problem
		}
		fmt.Fprintf(w, "%s\t%s\t%s\n", i.Engine, p.Dir, state)
	}
	ended := "none"
	if !i.Scrub.Ended.IsZero() {
		ended = i.Scrub.Ended.Format(time.RFC3339)
	}
	fmt.Fprintf(w, "%s\tscrubber\t%d rounds\t%d files, %d MiB, %d times damage, %d buckets counted anew; last round: %s\n", i.Engine, i.Scrub.Rounds, i.Scrub.Files, i.Scrub.Bytes>>20, i.Scrub.Damaged, i.Scrub.Recount, ended)
	for _, d := range i.Scrub.Found {
		fmt.Fprintf(w, "%s\tDAMAGED\t%s %s\ts3://%s/%s (version %s): %s\n", i.Engine, d.Folder, d.File, d.Bucket, d.Key, d.Version, d.Problem)
	}
	return w.Flush()
}
