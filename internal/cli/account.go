package cli

import (
	"errors"
	"fmt"

	"github.com/spf13/cobra"

	"karri.dev/internal/admin"
	"karri.dev/internal/daemon"
)

// keyFlags adds flags for given credentials.
func keyFlags(c *cobra.Command, id, secret *string) {
	c.Flags().StringVar(id, "access-key", "", "access key id to use in place of a random one")
	c.Flags().StringVar(secret, "secret-key", "", "its secret")
	c.MarkFlagsRequiredTogether("access-key", "secret-key")
}

func accountCommand() *cobra.Command {
	account := &cobra.Command{Use: "account", Short: "Create, list and delete accounts"}

	var dir string
	var asJSON bool
	var create daemon.CreateAccount
	c := &cobra.Command{
		Use:     "create NAME",
		Short:   "Create an account with its root's access key and default VPC",
		Example: "  karri account create chemistry\n  karri account create ci --access-key AKIAIOSFODNN7EXAMPLE --secret-key wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY --json",
		Args:    cobra.ExactArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			create.Name = args[0]
			var out daemon.Credentials
			if err := admin.Call(c.Context(), dir, "account-create", create, &out); err != nil {
				return err
			}
			if asJSON {
				return printJSON(c.OutOrStdout(), out)
			}
			fmt.Fprintf(c.OutOrStdout(), "AccountId        %s\nAccessKeyId      %s\nSecretAccessKey  %s\nCanonicalId      %s\n",
				out.AccountID, out.AccessKeyID, out.SecretAccessKey, out.CanonicalID)
			return nil
		},
	}
	dataDirFlag(c, &dir)
	keyFlags(c, &create.AccessKey, &create.SecretKey)
	c.Flags().BoolVar(&asJSON, "json", false, "print JSON")

	list := &cobra.Command{
		Use: "list", Short: "List the accounts", Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			var out []daemon.AccountInfo
			if err := admin.Call(c.Context(), dir, "account-list", struct{}{}, &out); err != nil {
				return err
			}
			if asJSON {
				return printJSON(c.OutOrStdout(), out)
			}
			for _, a := range out {
				fmt.Fprintf(c.OutOrStdout(), "%s  %s\n", a.AccountID, a.Name)
			}
			return nil
		},
	}
	dataDirFlag(list, &dir)
	list.Flags().BoolVar(&asJSON, "json", false, "print JSON")

	var everything bool
	del := &cobra.Command{
		Use: "delete NAME --with-everything", Short: "End an account and all that is its: instances, images, buckets, users",
		Args: cobra.ExactArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			if !everything {
				return errors.New("this deletes all that the account has: say --with-everything")
			}
			return admin.Call(c.Context(), dir, "account-delete", daemon.CreateAccount{Name: args[0]}, new(struct{}))
		},
	}
	dataDirFlag(del, &dir)
	del.Flags().BoolVar(&everything, "with-everything", false, "yes, everything")

	var differs string
	s3 := &cobra.Command{
		Use: "s3 NAME --differs LIST", Short: "Let an account's S3 differ from AWS's of today, for older tools",
		Long: "Let an account's S3 differ from AWS's of today, for older tools. LIST has, separated by commas:\n" +
			"  acls      new buckets have ACLs on\n  public    new buckets have no public access block\n  names     owners have a DisplayName\n" +
			"  sigv2     Signature Version 2 in headers and forms\n  recreate  to make one's own bucket again is an error in us-east-1, too\n" +
			"  store=S   new buckets' bytes are in the object store S of --object-store\n" +
			"An empty list is AWS.",
		Args: cobra.ExactArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			return admin.Call(c.Context(), dir, "account-s3", daemon.S3Defaults{Account: args[0], Differs: differs}, new(struct{}))
		},
	}
	dataDirFlag(s3, &dir)
	s3.Flags().StringVar(&differs, "differs", "", "how it differs")
	if err := s3.MarkFlagRequired("differs"); err != nil {
		panic(err) // the flag is there
	}

	account.AddCommand(c, list, del, s3, webhookCommand(), replicaCommand())
	return account
}

func userCommand() *cobra.Command {
	user := &cobra.Command{Use: "user", Short: "Create IAM users"}
	var dir string
	var asJSON bool
	var create daemon.CreateUser
	c := &cobra.Command{
		Use:   "create NAME",
		Short: "Create an IAM user with an access key",
		Long: "Create an IAM user with an access key. As in AWS, a user may do nothing until a policy allows it: attach some with --policy, " +
			"or put the user into a group (aws iam add-user-to-group).",
		Example: "  karri user create alice --account chemistry --policy AdministratorAccess\n  karri user create auditor --policy ReadOnlyAccess --json",
		Args:    cobra.ExactArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			create.Name = args[0]
			var out daemon.Credentials
			if err := admin.Call(c.Context(), dir, "user-create", create, &out); err != nil {
				return err
			}
			if asJSON {
				return printJSON(c.OutOrStdout(), out)
			}
			fmt.Fprintf(c.OutOrStdout(), "AccountId        %s\nUserName         %s\nAccessKeyId      %s\nSecretAccessKey  %s\n",
				out.AccountID, out.UserName, out.AccessKeyID, out.SecretAccessKey)
			return nil
		},
	}
	dataDirFlag(c, &dir)
	keyFlags(c, &create.AccessKey, &create.SecretKey)
	c.Flags().StringSliceVar(&create.Policies, "policy", nil, "managed policies to attach, by name (AdministratorAccess) or ARN")
	c.Flags().StringVar(&create.Account, "account", "", "the account, by name or id (default: the administrator's)")
	c.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	user.AddCommand(c)
	return user
}
