package check

import (
	"encoding/binary"
	"errors"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"karri.dev/internal/image"
	"karri.dev/internal/image/appliance"
	"karri.dev/internal/image/tiny"
)

func machine(t *testing.T) *appliance.Machine {
	t.Helper()
	for _, p := range []string{"apt-get", "bwrap", "qemu-system-x86_64", "mke2fs", "busybox"} {
		if _, err := exec.LookPath(p); err != nil {
			t.Skipf("needs %s", p)
		}
	}
	m, err := appliance.New(t.Context(), "", slog.New(slog.DiscardHandler))
	if errors.Is(err, tiny.ErrUnavailable) {
		t.Skip(err)
	}
	if err != nil {
		t.Fatal(err)
	}
	return m
}

// oldServer is the disk of a virtual machine of another make: a boot sector, and one partition with a small system.
func oldServer(t *testing.T) string {
	t.Helper()
	root, disk := filepath.Join(t.TempDir(), "root"), filepath.Join(t.TempDir(), "server.raw")
	busybox, err := exec.LookPath("busybox")
	if err != nil {
		t.Fatal(err)
	}
	program, err := os.ReadFile(busybox)
	if err != nil {
		t.Fatal(err)
	}
	for name, text := range map[string]string{
		"bin/busybox": string(program), "usr/sbin/sshd": "", "usr/sbin/ifup": "", "boot/vmlinuz-5.10": "kernel", "boot/config-5.10": "CONFIG_X86_64=y\nCONFIG_VIRTIO_BLK=y\nCONFIG_VIRTIO_NET=y\nCONFIG_VIRTIO_PCI=y\n",
		"usr/bin/systemctl":       "#!/bin/busybox sh\n[ \"$1\" = enable ] && echo \"$2\" >>/etc/enabled && mkdir -p /etc/systemd/system/multi-user.target.wants && ln -sf x /etc/systemd/system/multi-user.target.wants/$2\n",
		"usr/lib/systemd/systemd": "", "sbin/init": "", "etc/os-release": "PRETTY_NAME=\"Old Linux 7\"\n", "etc/fstab": "/dev/sda1 / ext4 defaults 0 1\n/dev/sdb1 /data xfs defaults 0 0\n",
		"boot/grub/grub.cfg":     "\tlinux /boot/vmlinuz-5.10 root=/dev/sda1 ro quiet\n",
		"etc/network/interfaces": "auto ens192\niface ens192 inet static\n  address 10.1.2.3\n", "etc/machine-id": "0123456789abcdef0123456789abcdef\n",
		"etc/udev/rules.d/70-persistent-net.rules": "SUBSYSTEM==\"net\", ATTR{address}==\"00:50:56:00:00:01\", NAME=\"eth0\"\n", "etc/ssh/ssh_host_rsa_key": "secret",
		"etc/cloud/big": strings.Repeat("x", 2<<20), "dev/null": "", "proc/x": "", "sys/x": "", "tmp/x": "",
	} {
		path := filepath.Join(root, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	if err := errors.Join(os.Symlink("busybox", filepath.Join(root, "bin/sh")), os.Symlink("/etc/passwd", filepath.Join(root, "etc/network/interfaces.d"))); err != nil {
		t.Fatal(err)
	}
	const at = 1 << 20
	head := []byte(mbr())[:512]
	head[446+8+1], head[446+12+2] = 8, 1 // from 2048, 65536 sectors
	if err := os.WriteFile(disk, head, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Truncate(disk, at+32<<20); err != nil {
		t.Fatal(err)
	}
	if out, err := exec.Command("mke2fs", "-q", "-F", "-t", "ext4", "-E", "offset=1048576", "-d", root, disk, "32M").CombinedOutput(); err != nil {
		t.Fatalf("mke2fs: %s", out)
	}
	return disk
}

func TestAnOldServerIsMended(t *testing.T) {
	m, src := machine(t), oldServer(t)
	info, err := image.InspectFile(src, image.Raw, 0)
	if err != nil {
		t.Fatal(err)
	}
	r, err := Image(t.Context(), m, src, info)
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, f := range r.Findings {
		got = append(got, f.Name)
	}
	slices.Sort(got)
	const want = "fstab-device fstab-missing host-keys machine-id no-agent no-console persistent-net-rules root-device ssh-not-started static-address"
	if strings.Join(got, " ") != want || r.System != "Old Linux 7" || r.BootMode != "legacy-bios" {
		t.Errorf("%s: %v\nwant %s", r.System, got, want)
	}

	made := filepath.Join(t.TempDir(), "made.qcow2")
	if err := image.Copy(t.Context(), info, src, made); err != nil {
		t.Fatal(err)
	}
	if info, err = image.InspectFile(made, image.QCOW2, 0); err != nil {
		t.Fatal(err)
	}
	done, err := Prepare(t.Context(), m, made, info, r)
	if err != nil || len(done) != len(r.Findings) {
		t.Errorf("%d of %d mended, %v", len(done), len(r.Findings), err)
	}
	if r, err = Image(t.Context(), m, made, info); err != nil || len(r.Findings) != 0 {
		t.Errorf("afterwards: %+v, %v", r, err)
	}
}

// What a stranger's file systems can do is to spoil the answer about themselves.
func TestHostileFileSystems(t *testing.T) {
	m, src := machine(t), oldServer(t)
	good, err := os.ReadFile(src)
	if err != nil {
		t.Fatal(err)
	}
	const size = 33 << 20
	disk := make([]byte, 0, 5*size)
	disk = append(disk, good[:1<<20]...)
	for i, spoil := range []func(b []byte){
		func(b []byte) { copy(b[4096:], strings.Repeat("\xff", 4096)) },   // group descriptors
		func(b []byte) { copy(b[1024+0x4:], strings.Repeat("\xff", 64)) }, // superblock
		func(b []byte) {
			for i := 8192; i < len(b); i += 4099 {
				b[i] ^= 0x55
			}
		},
		func(b []byte) { copy(b, "XFSB\x00\x00\x10\x00\xff\xff\xff\xff\xff\xff\xff\xff") },
	} {
		b := make([]byte, size)
		copy(b, good[1<<20:])
		spoil(b)
		e := disk[446+16*i:]
		e[4] = 0x83
		binary.LittleEndian.PutUint32(e[8:], uint32(len(disk)/512))
		binary.LittleEndian.PutUint32(e[12:], size/512)
		disk = append(disk, b...)
	}
	binary.LittleEndian.PutUint32(disk[446+16*3+12:], 0xffffffff) // beyond the end
	bad := filepath.Join(t.TempDir(), "bad.raw")
	if err := os.WriteFile(bad, disk, 0o600); err != nil {
		t.Fatal(err)
	}
	r, err := Image(t.Context(), m, bad, image.Info{Format: image.Raw, VirtualSize: int64(len(disk)), Length: int64(len(disk))})
	var failed *appliance.Failed
	if err != nil && !errors.As(err, &failed) {
		t.Error(err)
	}
	if err == nil && r.Errors() == 0 {
		t.Errorf("%+v", r)
	}
	t.Logf("%v %+v", err, r)
}
