package e2e

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// One command from a signed catalogue, here a folder as an offline mirror is, to an image that is launched.
func TestStore(t *testing.T) {
	c := newCloud(t)
	dir := t.TempDir()
	tiny, catalogue, private := filepath.Join(dir, "tiny.raw"), filepath.Join(dir, "catalogue.json"), filepath.Join(dir, "key.pem")
	must(t, shared.karri, "image", "build", "tiny", "-o", tiny)
	must(t, shared.karri, "store", "add", catalogue, tiny, "--name", "tiny-1")
	public := strings.TrimSpace(must(t, shared.karri, "store", "key", private))
	must(t, shared.karri, "store", "sign", catalogue, "-k", private)
	tool := func(args ...string) (string, error) {
		cmd := c.ns.command(context.Background(), shared.karri, append([]string{"store"}, args...)...)
		cmd.Env = append(c.env, "KARRI_CATALOGUE="+catalogue, "KARRI_CATALOGUE_KEY="+public)
		out, err := cmd.Output()
		return strings.TrimSpace(string(out)), err
	}
	if out, err := tool("list"); err != nil || !strings.HasPrefix(out, "tiny-1 ") {
		t.Fatalf("%q, %v", out, err)
	}
	ami, err := tool("install", "tiny-1", "--downloads", filepath.Join(dir, "downloads"))
	if err != nil || !strings.HasPrefix(ami, "ami-") {
		t.Fatalf("%q, %v", ami, err)
	}
	if name := c.text("Images[0].Tags[?Key=='Name'].Value | [0]", "describe-images", "--image-ids", ami); name != "tiny-1" {
		t.Errorf("the image is called %q", name)
	}
	pair := c.keyPair("store")
	c.openPort("22")
	i := c.launch(ami, "store", "1")[0]
	if out := c.login(pair, i, "echo $((6*7))"); !strings.HasPrefix(out, "42") {
		t.Errorf("in the guest: %q", out)
	}

	// The cloud's own image is checked as a file is; one whose bytes were changed is not installed.
	if out := must(t, shared.karri, "image", "check", ami, "--data-dir", c.dir); !strings.Contains(out, "small guest") || !strings.Contains(out, "nothing to complain of") {
		t.Errorf("check %s: %s", ami, out)
	}
	data, err := os.ReadFile(tiny)
	if err != nil {
		t.Fatal(err)
	}
	data[len(data)-1] ^= 1
	if err := os.WriteFile(tiny, data, 0o600); err != nil {
		t.Fatal(err)
	}
	if out, err := tool("install", "tiny-1", "--downloads", filepath.Join(dir, "others")); err == nil {
		t.Errorf("a changed image was installed: %s", out)
	}
}
