package e2e

import (
	"context"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"
)

// The story of the README, word for word, with Debian's own aws CLI.
func TestOneLaunch(t *testing.T) {
	c := newCloud(t)
	image := c.tinyImage()
	if root := c.text("Images[0].RootDeviceType", "describe-images", "--image-ids", image); root != "instance-store" {
		t.Errorf("root device type %q", root)
	}
	key := c.keyPair("demo")
	i := c.launch(image, "demo", "1", "--user-data", "#!/bin/sh\necho hello from user data > /root/from-user-data")[0]
	if i.Public == "" || i.Private == "" || i.State.Name != "running" {
		t.Fatalf("%+v", i)
	}
	if _, err := c.ssh(key, i.Public, "true"); err == nil {
		t.Error("port 22 answers though no rule opens it")
	}
	c.openPort("22")
	if out := c.login(key, i, "echo $((6*7)); cat /proc/sys/kernel/hostname"); !strings.HasPrefix(out, "42") {
		t.Errorf("in the guest: %q", out)
	}
	eventually(t, "user data ran", time.Minute, func() bool {
		out, err := c.ssh(key, i.Public, "cat /root/from-user-data")
		return err == nil && out == "hello from user data"
	})
	if console := c.text("Output", "get-console-output", "--latest", "--instance-id", i.ID); !strings.Contains(console, "karri-tiny") {
		t.Errorf("console: %q", console)
	}

	// A reboot is no termination, and what was written stays.
	c.login(key, i, "echo kept > /root/kept && sync")
	before := c.login(key, i, "cat /proc/sys/kernel/random/boot_id")
	c.aws("ec2", "reboot-instances", "--instance-ids", i.ID)
	eventually(t, "reboot", 3*time.Minute, func() bool {
		now, err := c.ssh(key, i.Public, "cat /proc/sys/kernel/random/boot_id")
		return err == nil && now != before
	})
	if out := c.login(key, i, "cat /root/kept"); out != "kept" {
		t.Errorf("after the reboot: %q", out)
	}
	if again := c.describe(i.ID)[0]; again.State.Name != "running" || again.Public != i.Public {
		t.Errorf("after the reboot: %+v", again)
	}

	c.terminate(i.ID)
	if gone := c.describe(i.ID)[0]; gone.State.Name != "terminated" || gone.Public != "" {
		t.Errorf("after the end: %+v", gone)
	}
	c.aws("ec2", "deregister-image", "--image-id", image)
	c.refused("InvalidAMIID.NotFound", "ec2", "describe-images", "--image-ids", image)
	if left, _ := filepath.Glob(filepath.Join(c.dir, "node", "machines", "i-*")); len(left) > 0 {
		t.Errorf("left of the instance: %v", left)
	}
}

// A guest that powers itself off ends its instance; one that reboots by itself does not.
func TestGuestsActOnTheirOwn(t *testing.T) {
	c := newCloud(t)
	image, key := c.tinyImage(), c.keyPair("own")
	c.openPort("22")
	two := c.launch(image, "own", "2")
	boot := c.login(key, two[0], "cat /proc/sys/kernel/random/boot_id")
	c.ssh(key, two[0].Public, "reboot")
	eventually(t, "the guest is back", 3*time.Minute, func() bool {
		now, err := c.ssh(key, two[0].Public, "cat /proc/sys/kernel/random/boot_id")
		return err == nil && now != boot
	})
	c.login(key, two[1], "true")
	c.ssh(key, two[1].Public, "poweroff")
	c.wait("instance-terminated", "--instance-ids", two[1].ID)
	if reason := c.text("Reservations[0].Instances[0].StateReason.Code", "describe-instances", "--instance-ids", two[1].ID); reason != "Client.InstanceInitiatedShutdown" {
		t.Errorf("reason %q", reason)
	}
	if s := c.describe(two[0].ID)[0].State.Name; s != "running" {
		t.Errorf("the one that rebooted is %s", s)
	}
}

// Karri may be killed and started again: guests do not notice.
func TestGuestsOutliveKarri(t *testing.T) {
	c := newCloud(t)
	image, key := c.tinyImage(), c.keyPair("outlive")
	c.openPort("22")
	i := c.launch(image, "outlive", "1")[0]
	boot := c.login(key, i, "cat /proc/sys/kernel/random/boot_id")
	for _, end := range []func(){func() { c.proc.kill() }, func() { c.proc.stop() }} {
		end()
		if now := c.login(key, i, "cat /proc/sys/kernel/random/boot_id"); now != boot {
			t.Fatal("the guest was restarted when Karri ended")
		}
		c.up()
		if now := c.login(key, i, "cat /proc/sys/kernel/random/boot_id"); now != boot {
			t.Fatal("the guest was restarted when Karri began")
		}
	}
	if s := c.describe(i.ID)[0].State.Name; s != "running" {
		t.Fatalf("state %s", s)
	}
	// karri down stops the guest; the next karri up starts it again from its own disk.
	c.login(key, i, "echo kept > /root/kept && sync")
	c.karri("down", "--data-dir", c.dir)
	c.up()
	if out := c.login(key, i, "cat /root/kept"); out != "kept" {
		t.Errorf("after down and up: %q", out)
	}
	if now := c.login(key, i, "cat /proc/sys/kernel/random/boot_id"); now == boot {
		t.Error("karri down left the guest running")
	}
	c.terminate(i.ID)
}

// Every disk format that ImportImage takes gives the same machine.
func TestImportFormats(t *testing.T) {
	c := newCloud(t)
	dir := t.TempDir()
	convert := func(format, name string, options ...string) string {
		path := filepath.Join(dir, name)
		must(t, "qemu-img", append(append([]string{"convert", "-f", "raw", "-O", format}, options...), shared.tiny, path)...)
		return path
	}
	vmdk := convert("vmdk", "tiny.vmdk", "-o", "subformat=streamOptimized")
	files := map[string]string{
		"qcow2": convert("qcow2", "tiny.qcow2"), "vmdk": vmdk, "vhd": convert("vpc", "tiny.vhd"), "vhdx": convert("vhdx", "tiny.vhdx"),
		"ova": makeOVA(t, dir, vmdk),
	}
	key := c.keyPair("formats")
	c.openPort("22")
	for _, format := range []string{"qcow2", "vmdk", "vhd", "vhdx", "ova"} {
		c.upload(files[format], "images", filepath.Base(files[format]))
		image, failure := c.importImage(format, "images", filepath.Base(files[format]))
		if failure != "" {
			t.Errorf("%s: %s", format, failure)
			continue
		}
		i := c.launch(image, "formats", "1")[0]
		if out := c.login(key, i, "echo booted"); out != "booted" {
			t.Errorf("%s: %q", format, out)
		}
		c.terminate(i.ID)
	}
}

// makeOVA packs a stream-optimized VMDK as VMware's export does.
func makeOVA(t *testing.T, dir, vmdk string) string {
	t.Helper()
	info, err := os.Stat(vmdk)
	if err != nil {
		t.Fatal(err)
	}
	virtual := regexp.MustCompile(`"virtual-size": (\d+)`).FindStringSubmatch(must(t, "qemu-img", "info", "--output=json", vmdk))[1]
	ovf := `<?xml version="1.0" encoding="UTF-8"?>
<Envelope xmlns="http://schemas.dmtf.org/ovf/envelope/1" xmlns:ovf="http://schemas.dmtf.org/ovf/envelope/1">
  <References><File ovf:href="tiny.vmdk" ovf:id="file1" ovf:size="` + strconv.FormatInt(info.Size(), 10) + `"/></References>
  <DiskSection><Info>disks</Info><Disk ovf:capacity="` + virtual + `" ovf:capacityAllocationUnits="byte" ovf:diskId="vmdisk1" ovf:fileRef="file1"
    ovf:format="http://www.vmware.com/interfaces/specifications/vmdk.html#streamOptimized"/></DiskSection>
</Envelope>
`
	if err := os.WriteFile(filepath.Join(dir, "tiny.ovf"), []byte(ovf), 0o644); err != nil {
		t.Fatal(err)
	}
	must(t, "tar", "--format=ustar", "-C", dir, "-cf", filepath.Join(dir, "tiny.ova"), "tiny.ovf", "tiny.vmdk")
	return filepath.Join(dir, "tiny.ova")
}

// An image that points at the host's files ends as a failed task that says why, and reads nothing.
func TestHostileImages(t *testing.T) {
	c := newCloud(t)
	dir := t.TempDir()
	secret := filepath.Join(dir, "secret")
	if err := os.WriteFile(secret, []byte(strings.Repeat("TOP-SECRET-OF-THE-HOST\n", 50_000)), 0o644); err != nil {
		t.Fatal(err)
	}
	path := func(name string) string { return filepath.Join(dir, name) }
	must(t, "qemu-img", "create", "-f", "qcow2", "-b", secret, "-F", "raw", path("backing.qcow2"))
	must(t, "qemu-img", "create", "-f", "qcow2", "-o", "data_file="+path("data.raw")+",data_file_raw=on", path("datafile.qcow2"), "1M")
	must(t, "qemu-img", "create", "-f", "qcow2", path("bomb.qcow2"), "16T")
	must(t, "qemu-img", "create", "-f", "vmdk", "-o", "subformat=monolithicFlat", path("flat.vmdk"), "1M")
	must(t, "qemu-img", "convert", "-f", "raw", "-O", "qcow2", shared.tiny, path("whole.qcow2"))
	must(t, "bash", "-c", "head -c 1000000 "+path("whole.qcow2")+" > "+path("torn.qcow2"))
	for file, format := range map[string]string{
		"backing.qcow2": "qcow2", "datafile.qcow2": "qcow2", "bomb.qcow2": "qcow2", "flat.vmdk": "vmdk", "torn.qcow2": "qcow2", "whole.qcow2": "vhd",
	} {
		c.upload(path(file), "images", file)
		image, failure := c.importImage(format, "images", file)
		if failure == "" {
			t.Errorf("%s became %s", file, image)
		} else if !strings.Contains(failure, "ClientError") {
			t.Errorf("%s: the message does not say whose fault it is: %s", file, failure)
		}
		t.Logf("%s: %s", file, failure)
	}
	// A raw disk that begins like a qcow2 file is still a raw disk.
	must(t, "truncate", "--size", "%512", path("backing.qcow2")) // whole sectors
	image, failure := c.importRaw(path("backing.qcow2"))
	if failure != "" {
		t.Fatalf("raw: %s", failure)
	}
	out, err := c.ns.command(context.Background(), "grep", "-rl", "TOP-SECRET-OF-THE-HOST", filepath.Join(c.dir, "objects"), filepath.Join(c.dir, "node")).CombinedOutput()
	if err == nil {
		t.Errorf("%s: the host's file was read into %s", image, out)
	}
}

func (c *cloud) importRaw(file string) (image, failure string) {
	c.t.Helper()
	c.upload(file, "images", "as-raw")
	return c.importImage("raw", "images", "as-raw")
}
