package computetest

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
)

// init is the guest: its behaviour is on the kernel's command line.
const guestInit = `#!/bin/busybox sh
b=/bin/busybox
$b mount -t proc proc /proc; $b mount -t sysfs sys /sys; $b mount -t devtmpfs dev /dev
up() { echo KARRI-UP $($b cat /sys/class/dmi/id/sys_vendor /sys/class/dmi/id/board_asset_tag /sys/class/dmi/id/product_serial); }
what=$($b sed 's/.*karri.do=\([a-z]*\).*/\1/' /proc/cmdline)
[ $what = obedient ] || up
case $what in
poweroff) $b poweroff -f ;;
reboot) $b reboot -f ;;
talkative) $b yes 0123456789abcdef0123456789abcdef ;;
disk)
	for m in virtio_ring virtio virtio_pci_modern_dev virtio_pci_legacy_dev virtio_pci virtio_blk; do $b insmod /m/$m.ko; done
	while [ ! -e /dev/vda ]; do $b usleep 10000; done
	echo DISK $($b dd if=/dev/vda bs=16 count=1 2>/dev/null) $($b cat /sys/block/vda/size)
	echo -n was-here-before! | $b dd of=/dev/vda bs=16 conv=fsync,notrunc 2>/dev/null
	echo WRITTEN ;;
plug)
	for m in virtio_ring virtio virtio_pci_modern_dev virtio_pci_legacy_dev virtio_pci virtio_blk; do $b insmod /m/$m.ko; done
	while :; do
		for d in /sys/block/vd*; do
			n=${d##*/}
			[ -e $d/size ] || continue
			s=$($b cat $d/size)
			if [ ! -e /$n ]; then
				echo PLUGGED $($b cat $d/serial) $s $($b dd if=/dev/$n bs=16 count=1 2>/dev/null)
				echo -n was-here-before! | $b dd of=/dev/$n bs=16 conv=fsync,notrunc 2>/dev/null
				echo WRITTEN $n
			elif [ $s != "$($b cat /$n)" ]; then
				echo RESIZED $n $s
			fi
			echo $s >/$n
		done
		for f in /vd*; do [ -e $f -a ! -e /sys/block/${f##*/} ] && $b rm $f && echo UNPLUGGED ${f##*/}; done
		$b usleep 50000
	done ;;
obedient)
	$b insmod /m/button.ko; $b insmod /m/evdev.ko
	for e in /dev/input/event*; do
		(exec <$e; : >/${e##*/}; $b head -c1 >/dev/null; $b poweroff -f) &
		while [ ! -e /${e##*/} ]; do $b usleep 10000; done
	done
	up ;;
esac
while :; do $b sleep 1000; done
`

// Guest gives a kernel and a ramdisk whose guest behaves as karri.do=BEHAVIOUR on its command line says. It
// unpacks Debian's cloud kernel, downloaded once into the user's cache; without it, tests are skipped.
func Guest(t testing.TB) (kernel, ramdisk string) {
	t.Helper()
	root, err := kernelTree()
	if err != nil {
		t.Skipf("needs Debian's cloud kernel: %v", err)
	}
	busybox, err := os.ReadFile("/bin/busybox")
	if err != nil {
		t.Skipf("needs busybox-static: %v", err)
	}
	kernels, _ := filepath.Glob(filepath.Join(root, "boot/vmlinuz-*"))
	var b bytes.Buffer
	for _, dir := range []string{"bin", "dev", "proc", "sys", "m"} {
		cpio(&b, dir, 0o40755, nil)
	}
	cpio(&b, "bin/busybox", 0o100755, busybox)
	cpio(&b, "init", 0o100755, []byte(guestInit))
	for _, name := range []string{"button", "evdev", "virtio", "virtio_ring", "virtio_pci_modern_dev", "virtio_pci_legacy_dev", "virtio_pci", "virtio_blk"} {
		files, _ := filepath.Glob(filepath.Join(root, "lib/modules/*/kernel/drivers/*", name+".ko"))
		if len(files) != 1 {
			t.Skipf("no module %s in %s", name, root)
		}
		module, err := os.ReadFile(files[0])
		if err != nil {
			t.Fatal(err)
		}
		cpio(&b, "m/"+name+".ko", 0o100644, module)
	}
	cpio(&b, "TRAILER!!!", 0, nil)
	ramdisk = filepath.Join(t.TempDir(), "ramdisk")
	if err := os.WriteFile(ramdisk, b.Bytes(), 0o644); err != nil {
		t.Fatal(err)
	}
	return kernels[0], ramdisk
}

// cpio appends one file in the "newc" form.
func cpio(b *bytes.Buffer, name string, mode int, data []byte) {
	fmt.Fprintf(b, "070701%08x%08x%08x%08x%08x%08x%08x%08x%08x%08x%08x%08x%08x%s\x00",
		0, mode, 0, 0, 1, 0, len(data), 0, 0, 0, 0, len(name)+1, 0, name)
	pad := func() { b.Write(make([]byte, (4-b.Len()%4)%4)) }
	pad()
	b.Write(data)
	pad()
}

// kernelTree gives the unpacked package.
func kernelTree() (string, error) {
	cache, err := os.UserCacheDir()
	if err != nil {
		return "", err
	}
	root := filepath.Join(cache, "karri-test", "cloud-kernel")
	if _, err := os.Stat(root); err == nil {
		return root, nil
	}
	if err := os.MkdirAll(filepath.Dir(root), 0o755); err != nil {
		return "", err
	}
	tmp, err := os.MkdirTemp(filepath.Dir(root), "new-")
	if err != nil {
		return "", err
	}
	defer os.RemoveAll(tmp)
	debs, _ := filepath.Glob("/var/cache/karri/packages/linux-image-*-cloud-amd64_*.deb")
	if len(debs) == 0 {
		script := `apt-get -q download $(apt-cache depends linux-image-cloud-amd64 | awk '/Depends: linux-image/{print $2; exit}')`
		c := exec.Command("sh", "-c", script)
		c.Dir = tmp
		if out, err := c.CombinedOutput(); err != nil {
			return "", fmt.Errorf("%w: %s", err, out)
		}
		debs, _ = filepath.Glob(filepath.Join(tmp, "*.deb"))
	}
	if len(debs) == 0 {
		return "", errors.New("not downloaded")
	}
	if out, err := exec.Command("dpkg-deb", "-x", debs[0], filepath.Join(tmp, "x")).CombinedOutput(); err != nil {
		return "", fmt.Errorf("%w: %s", err, out)
	}
	if err := os.Rename(filepath.Join(tmp, "x"), root); err != nil && !errors.Is(err, os.ErrExist) {
		return "", err
	}
	return root, nil
}
