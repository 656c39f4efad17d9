package frontdoor_test

import (
	"bytes"
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"
)

// TestDebianCLI lets Debian's own aws client in, unchanged.
func TestDebianCLI(t *testing.T) {
	const cli = "/usr/bin/aws"
	if _, err := os.Stat(cli); err != nil {
		t.Skip("Debian's awscli is not installed")
	}
	c, o := newS3(t)
	c.serve(t)
	home := t.TempDir()
	file := filepath.Join(home, "file")
	if err := os.WriteFile(file, bytes.Repeat([]byte("karri"), 100_000), 0o600); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	var all sync.WaitGroup
	for args, want := range map[string]string{
		"sts get-caller-identity":                               `"Arn": "arn:aws:iam::` + c.account.ID + `:root"`,
		"iam create-user --user-name cli":                       `"UserName": "cli"`,
		"iam delete-user --user-name nobody":                    "(NoSuchEntity) when calling the DeleteUser operation",
		"s3 cp --no-progress " + file + " s3://bucket/a//b+c d": "upload: ",
	} {
		all.Go(func() {
			words := strings.SplitN(args, " ", 5)
			if words[0] != "s3" {
				words = strings.Fields(args)
			} else {
				from, to, _ := strings.Cut(strings.Join(words[3:], " "), " ")
				words = append(words[:3], from, to)
			}
			cmd := exec.CommandContext(ctx, cli, append([]string{"--endpoint-url", c.url, "--region", "us-east-1"}, words...)...)
			cmd.Env = []string{"HOME=" + home, "PATH=/usr/bin:/bin", "AWS_ACCESS_KEY_ID=" + c.key.ID, "AWS_SECRET_ACCESS_KEY=" + c.key.Secret, "AWS_EC2_METADATA_DISABLED=true"}
			out, _ := cmd.CombinedOutput()
			if !strings.Contains(string(out), want) {
				t.Errorf("aws %s: %s", args, out)
			}
		})
	}
	all.Wait()
	if n := len(o.data[c.account.ID+"/bucket/a//b+c d"]); n != 500_000 {
		t.Errorf("%d bytes arrived", n)
	}
}
