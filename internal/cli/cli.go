// Package cli is the command tree of karri: one file a command, flags in, calls out.
package cli

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/signal"
	"syscall"

	"github.com/spf13/cobra"

	"karri.dev/internal/compute/kvmprobe"
	"karri.dev/internal/daemon"
	"karri.dev/internal/version"
)

// Main runs the command line and gives the exit code.
func Main(args []string, stdout, stderr io.Writer) int {
	if len(args) == 1 && args[0] == daemon.ProbeCommand { // the KVM probe runs this program anew, see its package
		return kvmprobe.ChildMain()
	}
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer stop()
	root := tree()
	root.SetArgs(args)
	root.SetOut(stdout)
	root.SetErr(stderr)
	if err := root.ExecuteContext(ctx); err != nil {
		fmt.Fprintln(stderr, "karri:", err)
		return 1
	}
	return 0
}

func tree() *cobra.Command {
	root := &cobra.Command{
		Use:   "karri",
		Short: "A private cloud that AWS clients cannot tell from AWS",
		Long: `Karri runs EC2, S3, IAM and STS on your own machines: real virtual machines, driven by the aws CLI,
boto3, Terraform and every other AWS client.

  karri up --data-dir /var/lib/karri          run a whole cloud on this machine
  . /var/lib/karri/credentials/admin/karrirc  be its administrator in this shell
  aws ec2 describe-instances                  use it`,
		SilenceUsage: true, SilenceErrors: true,
		CompletionOptions: cobra.CompletionOptions{HiddenDefaultCmd: true},
	}
	root.AddCommand(upCommand(), cloudCommand(), withNetworks(zoneCommand()), volumeServerCommand(), nodeCommand(), downCommand(),
		statusCommand(), operationsCommand(), withQuotas(withAccounts(accountCommand())), withUsers(userCommand()), tokenCommand(), nodesCommand(), objectsCommand(),
		loginCommand(), imageCommand(), storeCommand(), bundleImageCommand(), bundleVolCommand(), uploadBundleCommand(), downloadBundleCommand(), unbundleCommand(), deleteBundleCommand(),
		versionCommand())
	return root
}

func versionCommand() *cobra.Command {
	return &cobra.Command{
		Use: "version", Short: "Print the version", Args: cobra.NoArgs,
		Run: func(c *cobra.Command, _ []string) { fmt.Fprintln(c.OutOrStdout(), "karri", version.Version) },
	}
}

// defaultDataDir is where Karri keeps everything unless told otherwise.
func defaultDataDir() string {
	if d := os.Getenv("KARRI_DATA_DIR"); d != "" {
		return d
	}
	return "/var/lib/karri"
}

func dataDirFlag(c *cobra.Command, dir *string) {
	c.Flags().StringVar(dir, "data-dir", defaultDataDir(), "where everything is kept (or KARRI_DATA_DIR)")
}

// logged makes run the command's work, with a logger on stderr that --log-level and --log-format shape.
func logged(c *cobra.Command, run func(log *slog.Logger) error) {
	level := c.Flags().String("log-level", "info", "debug, info, warn or error")
	format := c.Flags().String("log-format", "text", "text or json")
	c.RunE = func(c *cobra.Command, _ []string) error {
		var l slog.Level
		if err := l.UnmarshalText([]byte(*level)); err != nil {
			return fmt.Errorf("--log-level: %w", err)
		}
		opts := &slog.HandlerOptions{Level: l}
		switch *format {
		case "text":
			return run(slog.New(slog.NewTextHandler(c.ErrOrStderr(), opts)))
		case "json":
			return run(slog.New(slog.NewJSONHandler(c.ErrOrStderr(), opts)))
		}
		return fmt.Errorf("--log-format: want text or json, not %q", *format)
	}
}

// printJSON writes v as people and jq read it.
func printJSON(w io.Writer, v any) error {
	e := json.NewEncoder(w)
	e.SetIndent("", "  ")
	return e.Encode(v)
}
