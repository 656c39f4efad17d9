package cli

import (
	"errors"
	"fmt"
	"os"
	"strings"

	"github.com/spf13/cobra"

	"karri.dev/internal/admin"
	"karri.dev/internal/daemon"
)

// webhookCommand maps the topics that an account's buckets may name to URLs.
func webhookCommand() *cobra.Command {
	var dir, tokenFile string
	var in daemon.Webhook
	var remove bool
	c := &cobra.Command{
		Use: "webhook ACCOUNT TOPIC (--url URL [--token-file FILE] | --remove)", Short: "Let an account's buckets tell a URL of events",
		Long: "Let an account's buckets tell a URL of events: prints the ARN that their notification configurations name.\n" +
			"The cloud itself calls the URL, with the token, if there is one, as a bearer token.",
		Args: cobra.ExactArgs(2),
		RunE: func(c *cobra.Command, args []string) error {
			in.Account, in.Name = args[0], args[1]
			if (in.URL == "") != remove {
				return errors.New("say either --url or --remove")
			}
			if tokenFile != "" {
				text, err := os.ReadFile(tokenFile)
				if err != nil {
					return err
				}
				in.Token = strings.TrimSpace(string(text))
			}
			var arn string
			if err := admin.Call(c.Context(), dir, "account-webhook", in, &arn); err != nil || remove {
				return err
			}
			fmt.Fprintln(c.OutOrStdout(), arn)
			return nil
		},
	}
	dataDirFlag(c, &dir)
	c.Flags().StringVar(&in.URL, "url", "", "where events are posted")
	c.Flags().StringVar(&tokenFile, "token-file", "", "file with a token for the Authorization header")
	c.Flags().BoolVar(&remove, "remove", false, "end the topic")
	return c
}
