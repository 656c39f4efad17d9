package cli

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"strings"

	"github.com/spf13/cobra"

	"karri.dev/internal/admin"
	"karri.dev/internal/daemon"
)

// replicaCommand names other S3 endpoints that an account's buckets may be replicated to.
func replicaCommand() *cobra.Command {
	var dir, file string
	var remove bool
	c := &cobra.Command{
		Use: "replica ACCOUNT NAME (--file FILE | --remove)", Short: "Let an account's buckets be replicated to another S3 endpoint",
		Long: "Let an account's buckets be replicated to another S3 endpoint, whose buckets their replication rules name as\n" +
			"arn:aws:s3:::BUCKET@NAME. The file is JSON: endpoint, region, access_key, secret_key and, for a certificate that the\n" +
			"system does not know, ca, a file of certificates (PEM). The secret key is kept sealed; the file is not needed any more.",
		Args: cobra.ExactArgs(2),
		RunE: func(c *cobra.Command, args []string) error {
			in := daemon.Replica{Account: args[0], Name: args[1]}
			if (file == "") != remove {
				return errors.New("say either --file or --remove")
			}
			if file != "" {
				if err := readReplica(file, &in); err != nil {
					return err
				}
			}
			return admin.Call(c.Context(), dir, "account-replica", in, new(struct{}))
		},
	}
	dataDirFlag(c, &dir)
	c.Flags().StringVar(&file, "file", "", "what describes the endpoint")
	c.Flags().BoolVar(&remove, "remove", false, "end it: what waits for it is not replicated")
	return c
}

func readReplica(file string, in *daemon.Replica) error {
	text, err := os.ReadFile(file)
	if err != nil {
		return err
	}
	var f struct {
		Endpoint  string `json:"endpoint"`
		Region    string `json:"region"`
		AccessKey string `json:"access_key"`
		SecretKey string `json:"secret_key"`
		CA        string `json:"ca"`
	}
	d := json.NewDecoder(strings.NewReader(string(text)))
	d.DisallowUnknownFields()
	if err := d.Decode(&f); err != nil {
		return fmt.Errorf("read %s: %w", file, err)
	}
	if f.Endpoint == "" {
		return fmt.Errorf("%s names no endpoint", file)
	}
	in.Endpoint, in.Region, in.AccessKey, in.SecretKey = f.Endpoint, f.Region, f.AccessKey, f.SecretKey
	if f.CA != "" {
		text, err := os.ReadFile(f.CA)
		if err != nil {
			return err
		}
		in.CA = string(text)
	}
	return nil
}
