package e2e

import (
	"context"
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

const assumedBy = `{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Principal":{"Service":"ec2.amazonaws.com"},"Action":"sts:AssumeRole"}]}`

// The flows of AWS's guides, word for word: administrators in a group, the role of imports, the role of an instance.
func TestIdentity(t *testing.T) {
	c := newCloud(t)
	admin := c.env

	// A user may do nothing, until it is in the group Administrators.
	c.aws("iam", "create-group", "--group-name", "Administrators")
	c.aws("iam", "attach-group-policy", "--group-name", "Administrators", "--policy-arn", "arn:aws:iam::aws:policy/AdministratorAccess")
	c.aws("iam", "create-user", "--user-name", "jane")
	var made struct {
		AccessKey struct{ AccessKeyId, SecretAccessKey string }
	}
	if err := json.Unmarshal([]byte(c.aws("iam", "create-access-key", "--user-name", "jane", "--output", "json")), &made); err != nil {
		t.Fatal(err)
	}
	c.env = append(slices.DeleteFunc(slices.Clone(admin), func(v string) bool { return strings.HasPrefix(v, "AWS_PROFILE=") }),
		"AWS_ACCESS_KEY_ID="+made.AccessKey.AccessKeyId, "AWS_SECRET_ACCESS_KEY="+made.AccessKey.SecretAccessKey, "AWS_DEFAULT_REGION=us-east-1")
	if arn := c.aws("sts", "get-caller-identity", "--query", "Arn", "--output", "text"); !strings.HasSuffix(arn, ":user/jane") {
		t.Errorf("jane is %s", arn)
	}
	c.refused("UnauthorizedOperation", "ec2", "describe-instances")
	c.refused("AccessDenied", "iam", "list-users")
	c.refused("AccessDenied", "s3api", "list-buckets")
	jane := c.env
	c.env = admin
	c.aws("iam", "add-user-to-group", "--group-name", "Administrators", "--user-name", "jane")
	c.env = jane // an administrator now, and all that follows is hers
	c.aws("iam", "list-users")
	c.refused("DryRunOperation", "ec2", "create-vpc", "--cidr-block", "10.0.0.0/16", "--dry-run")

	// The role of imports.
	c.upload(shared.tiny, "images", "tiny.raw")
	disk := []string{"ec2", "import-image", "--disk-containers", "Format=raw,UserBucket={S3Bucket=images,S3Key=tiny.raw}"}
	c.aws("iam", "create-role", "--role-name", "vmimport", "--assume-role-policy-document", assumedBy)
	said, err := c.try(disk...)
	if err == nil || !strings.Contains(said, "vmie.amazonaws.com") {
		t.Errorf("a role that imports may not have: %v %s", err, said)
	}
	c.aws("iam", "update-assume-role-policy", "--role-name", "vmimport", "--policy-document",
		`{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Principal":{"Service":"vmie.amazonaws.com"},"Action":"sts:AssumeRole","Condition":{"StringEquals":{"sts:Externalid":"vmimport"}}}]}`)
	if said, err := c.try(disk...); err == nil {
		t.Errorf("a role without a policy: %s", said)
	}
	c.aws("iam", "put-role-policy", "--role-name", "vmimport", "--policy-name", "vmimport", "--policy-document",
		`{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":["s3:GetBucketLocation","s3:GetObject","s3:ListBucket"],"Resource":["arn:aws:s3:::images","arn:aws:s3:::images/*"]}]}`)
	image, failure := c.importImage("raw", "images", "tiny.raw")
	if failure != "" {
		t.Fatal(failure)
	}

	// The role of an instance: its guest reads a bucket without a key in it, and no other.
	for _, bucket := range []string{"open", "closed"} {
		c.aws("s3", "mb", "s3://role-"+bucket)
		file := filepath.Join(t.TempDir(), "file")
		if err := os.WriteFile(file, []byte("for the role"), 0o600); err != nil {
			t.Fatal(err)
		}
		c.aws("s3", "cp", file, "s3://role-"+bucket+"/file")
	}
	c.aws("iam", "create-role", "--role-name", "web", "--assume-role-policy-document", assumedBy)
	c.aws("iam", "put-role-policy", "--role-name", "web", "--policy-name", "read", "--policy-document",
		`{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":"s3:GetObject","Resource":"arn:aws:s3:::role-open/*"}]}`)
	c.aws("iam", "create-instance-profile", "--instance-profile-name", "web")
	c.aws("iam", "add-role-to-instance-profile", "--instance-profile-name", "web", "--role-name", "web")
	key := c.keyPair("role")
	c.openPort("22")
	i := c.launch(image, "role", "1", "--iam-instance-profile", "Name=web")[0]
	c.login(key, i, "true")
	program := filepath.Join(t.TempDir(), "gets3")
	must(t, "env", "CGO_ENABLED=0", "GOFLAGS=-buildvcs=false -trimpath", "go", "build", "-ldflags", "-s -w", "-o", program, "./gets3")
	c.copyTo(key, i, program, "/tmp/gets3")
	get := "AWS_EC2_METADATA_DISABLED=false /tmp/gets3 http://169.254.169.252:8773 role-"
	eventually(t, "the role's credentials", time.Minute, func() bool {
		out, err := c.ssh(key, i.Public, get+"open file")
		said = out
		return err == nil && out == "for the role"
	})
	if out, err := c.ssh(key, i.Public, get+"closed file"); err == nil || !strings.Contains(out, "AccessDenied") {
		t.Errorf("a bucket that is not the role's: %v %s", err, out)
	}
	// Without the role's policy, the same credentials are good for nothing.
	c.aws("iam", "delete-role-policy", "--role-name", "web", "--policy-name", "read")
	if out, err := c.ssh(key, i.Public, get+"open file"); err == nil || !strings.Contains(out, "AccessDenied") {
		t.Errorf("after the policy went: %v %s", err, out)
	}
	c.terminate(i.ID)
}

// copyTo puts a program into a guest.
func (c *cloud) copyTo(key string, i instance, from, to string) {
	c.t.Helper()
	f, err := os.Open(from)
	if err != nil {
		c.t.Fatal(err)
	}
	defer f.Close()
	ctx, cancel := context.WithTimeout(context.Background(), 3*time.Minute)
	defer cancel()
	cmd := c.sshCommand(ctx, key, i.Public, "cat > "+to+" && chmod 755 "+to)
	cmd.Stdin = f
	if out, err := cmd.CombinedOutput(); err != nil {
		c.t.Fatalf("copy %s: %v %s", to, err, out)
	}
}
