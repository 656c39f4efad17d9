package e2e

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// What clients do around an instance and a bucket, beyond launching: presigned URLs by curl, sync, metadata,
// the settings and attributes that Terraform reads. Debian's CLI is the client; a newer one, where there is
// one, presigns in Signature Version 2.
func TestClients(t *testing.T) {
	c := newCloud(t)
	c.aws("s3", "mb", "s3://clients")
	dir := t.TempDir()
	for name, text := range map[string]string{"a": "alpha", "deep/b c+é.txt": "beta"} {
		path := filepath.Join(dir, "here", name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	here, there := filepath.Join(dir, "here"), filepath.Join(dir, "there")
	c.aws("s3", "sync", "--metadata", "Color=Blue", here, "s3://clients/tree")
	c.aws("s3", "sync", "s3://clients/tree", there)
	must(t, "diff", "-r", here, there)

	url := c.aws("s3", "presign", "s3://clients/tree/a")
	out, err := c.ns.command(context.Background(), "curl", "-sS", "-i", url).CombinedOutput()
	if err != nil || !strings.HasSuffix(string(out), "\r\n\r\nalpha") || !strings.Contains(string(out), "\r\nx-amz-meta-color: Blue\r\n") {
		t.Errorf("presigned: %v\n%s", err, out)
	}
	if newer, err := exec.LookPath("/root/.pyenv/shims/aws"); err == nil {
		cmd := c.ns.command(context.Background(), newer, "--endpoint-url", c.url, "s3", "presign", "s3://clients/tree/a")
		cmd.Env = append(c.env, "PYENV_ROOT=/root/.pyenv")
		if url, err := cmd.Output(); err == nil {
			out, err := c.ns.command(context.Background(), "curl", "-sS", strings.TrimSpace(string(url))).CombinedOutput()
			if err != nil || string(out) != "alpha" {
				t.Errorf("presigned by the newer CLI: %v\n%s", err, out)
			}
		}
	}

	for command, code := range map[string]string{
		"get-bucket-policy":  "NoSuchBucketPolicy",
		"get-bucket-tagging": "NoSuchTagSet", "get-bucket-website": "NoSuchWebsiteConfiguration",
	} {
		c.refused(code, "s3api", command, "--bucket", "clients")
	}
	c.refused("NotImplemented", "s3api", "put-object", "--bucket", "clients", "--key", "x", "--server-side-encryption", "aws:kms")
	if got := c.aws("s3api", "head-object", "--bucket", "clients", "--key", "tree/a", "--query", "ServerSideEncryption", "--output", "text"); got != "AES256" {
		t.Errorf("encryption at rest: %s", got)
	}
	c.aws("s3api", "put-bucket-tagging", "--bucket", "clients", "--tagging", "TagSet=[{Key=a,Value=b}]")
	if got := c.aws("s3api", "get-bucket-tagging", "--bucket", "clients", "--query", "TagSet[0].[Key,Value]", "--output", "text"); got != "a\tb" {
		t.Errorf("tags: %s", got)
	}

	// As Terraform launches: options that ask for nothing.
	image := c.tinyImage()
	id := c.text("Instances[0].InstanceId", "run-instances", "--image-id", image, "--instance-type", "t3.nano", "--no-ebs-optimized",
		"--hibernation-options", "Configured=false", "--enclave-options", "Enabled=false")
	c.wait("instance-status-ok", "--instance-ids", id)
	if got := c.text("InstanceCreditSpecifications[0].CpuCredits", "describe-instance-credit-specifications", "--instance-ids", id); got != "unlimited" {
		t.Errorf("credits: %s", got)
	}
	if got := c.text("length(Volumes)", "describe-volumes", "--filters", "Name=attachment.instance-id,Values="+id); got != "0" {
		t.Errorf("volumes: %s", got)
	}
	c.terminate(id)
	c.aws("s3", "rb", "--force", "s3://clients")
}
