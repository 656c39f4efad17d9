package e2e

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// A kernel, its ramdisk and a disk without a boot loader come in as bundles, the classic way, and boot.
func TestBundles(t *testing.T) {
	c := newCloud(t)
	dir := t.TempDir()
	kernel, ramdisk, disk := filepath.Join(dir, "vmlinuz"), filepath.Join(dir, "initrd"), filepath.Join(dir, "disk.img")
	must(t, shared.karri, "image", "build", "tiny", "-o", filepath.Join(dir, "tiny.raw"), "--kernel", kernel, "--ramdisk", ramdisk)
	if err := os.WriteFile(disk, make([]byte, 16<<20), 0o600); err != nil {
		t.Fatal(err)
	}
	key, cert := filepath.Join(dir, "pk.pem"), filepath.Join(dir, "cert.pem")
	must(t, "openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-keyout", key, "-out", cert, "-subj", "/CN=me", "-days", "30")
	tool := func(args ...string) (string, error) {
		cmd := c.ns.command(context.Background(), shared.karri, args...)
		cmd.Env = c.env
		out, err := cmd.CombinedOutput()
		return strings.TrimSpace(string(out)), err
	}
	good := func(args ...string) string {
		t.Helper()
		out, err := tool(args...)
		if err != nil {
			t.Fatalf("karri %s: %v\n%s", strings.Join(args, " "), err, out)
		}
		return out
	}
	bundle := func(file string, more ...string) string {
		t.Helper()
		manifest := good(append([]string{"bundle-image", "-i", file, "-d", filepath.Join(dir, "out"), "-k", key, "-c", cert}, more...)...)
		return good("upload-bundle", "-b", "bundles/classic", "-m", manifest)
	}
	location := bundle(kernel, "--kernel", "true")
	c.refused("InvalidManifest", "ec2", "register-image", "--name", "kernel", "--image-location", location)
	c.aws("iam", "upload-signing-certificate", "--certificate-body", "file://"+cert)
	register := func(name, location string) string {
		t.Helper()
		id := c.text("ImageId", "register-image", "--name", name, "--image-location", location)
		eventually(t, name+" is made", time.Minute, func() bool {
			state := c.text("Images[0].State", "describe-images", "--image-ids", id)
			if state == "failed" {
				t.Fatal(c.text("Images[0].StateReason.Message", "describe-images", "--image-ids", id))
			}
			return state == "available"
		})
		return id
	}
	aki := register("kernel", location)
	ari := register("ramdisk", bundle(ramdisk, "--ramdisk", "true"))
	ami := register("machine", bundle(disk, "--kernel", aki, "--ramdisk", ari))
	if !strings.HasPrefix(aki, "aki-") || !strings.HasPrefix(ari, "ari-") || !strings.HasPrefix(ami, "ami-") {
		t.Errorf("%s %s %s", aki, ari, ami)
	}
	pair := c.keyPair("bundles")
	c.openPort("22")
	i := c.launch(ami, "bundles", "1")[0]
	if out := c.login(pair, i, "echo $((6*7)); cat /proc/cmdline"); !strings.HasPrefix(out, "42") || !strings.Contains(out, "root=/dev/vda ") {
		t.Errorf("in the guest: %q", out)
	}
	// The cloud bundles the instance: its guest is restarted, and what it wrote is in the bundle, signed by the cloud.
	boot := c.login(pair, i, "echo marked | dd of=/dev/vda bs=512 seek=9 2>/dev/null; sync; cat /proc/sys/kernel/random/boot_id")
	access := func(name string) string {
		for _, v := range c.env {
			if value, ok := strings.CutPrefix(v, name+"="); ok {
				return value
			}
		}
		t.Fatalf("karrirc has no %s", name)
		return ""
	}
	task := c.text("BundleTask.BundleId", "bundle-instance", "--instance-id", i.ID, "--bucket", "bundles", "--prefix", "classic/instance",
		"--owner-akid", access("AWS_ACCESS_KEY_ID"), "--owner-sak", access("AWS_SECRET_ACCESS_KEY"))
	c.refused("BundlingInProgress", "ec2", "bundle-instance", "--instance-id", i.ID, "--bucket", "bundles", "--prefix", "again",
		"--owner-akid", access("AWS_ACCESS_KEY_ID"), "--owner-sak", access("AWS_SECRET_ACCESS_KEY"))
	eventually(t, "the instance is bundled", 3*time.Minute, func() bool {
		state := c.text("BundleTasks[0].[State,BundleTaskError.Message]", "describe-bundle-tasks", "--bundle-ids", task)
		if strings.HasPrefix(state, "failed") {
			t.Fatal(state)
		}
		return strings.HasPrefix(state, "complete")
	})
	register("bundled", "bundles/classic/instance.manifest.xml")
	good("download-bundle", "-b", "bundles/classic", "-m", "instance.manifest.xml", "-d", filepath.Join(dir, "instance"))
	copied := good("unbundle", "-m", filepath.Join(dir, "instance", "instance.manifest.xml"), "-k", key, "-d", filepath.Join(dir, "instance"))
	if out := must(t, "dd", "if="+copied, "bs=512", "skip=9", "count=1", "status=none"); !strings.HasPrefix(out, "marked\n") {
		t.Errorf("the bundled disk has %q", out)
	}
	if out := c.login(pair, i, "cat /proc/sys/kernel/random/boot_id"); out == boot {
		t.Error("the guest was not restarted")
	}
	c.terminate(i.ID)

	// There and back again, with the owner's key.
	good("download-bundle", "-b", "bundles/classic", "-m", "vmlinuz.manifest.xml", "-d", filepath.Join(dir, "down"))
	back := good("unbundle", "-m", filepath.Join(dir, "down", "vmlinuz.manifest.xml"), "-k", key, "-d", filepath.Join(dir, "down"))
	must(t, "cmp", kernel, back)
	good("delete-bundle", "-b", "bundles/classic", "-m", "vmlinuz.manifest.xml")
	if out, err := tool("download-bundle", "-b", "bundles/classic", "-m", "vmlinuz.manifest.xml", "-d", dir); err == nil || !strings.Contains(out, "NoSuchKey") {
		t.Errorf("a deleted bundle: %v %s", err, out)
	}

	// Bundled for another cloud: the manifest is good, the image says what is wrong.
	other := good("bundle-image", "-i", kernel, "-p", "other", "-d", filepath.Join(dir, "out"), "-k", key, "-c", cert, "--kernel", "true", "--ec2cert", cert)
	id := c.text("ImageId", "register-image", "--name", "other", "--image-location", good("upload-bundle", "-b", "bundles", "-m", other))
	eventually(t, "the other cloud's bundle fails", time.Minute, func() bool {
		return strings.Contains(c.text("Images[0].StateReason.Message", "describe-images", "--image-ids", id), "another certificate")
	})
}
