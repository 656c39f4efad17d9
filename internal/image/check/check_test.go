package check

import (
	"bytes"
	"compress/gzip"
	"encoding/binary"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/klauspost/compress/zstd"
)

const rootID = "11111111-2222-3333-4444-555555555555"

// mbr is the head of a disk with boot code and one partition.
func mbr() string {
	b := make([]byte, 1024)
	copy(b, bytes.Repeat([]byte{0x90}, 64))
	b[446], b[450] = 0x80, 0x83
	binary.LittleEndian.PutUint32(b[440:], 0xabcdef01)
	b[510], b[511] = 0x55, 0xaa
	return string(b)
}

func ext4(id string) string {
	b := make([]byte, 73728)
	b[0x438], b[0x439] = 0x53, 0xef
	n := 0
	for _, c := range strings.ReplaceAll(id, "-", "") {
		var v int
		fmt.Sscanf(string(c), "%x", &v)
		b[0x468+n/2] |= byte(v << (4 * (1 - n%2)))
		n++
	}
	return string(b)
}

// cpio is an archive with files of these names.
func cpio(names ...string) []byte {
	var b bytes.Buffer
	for _, n := range append(names, "TRAILER!!!") {
		data := "data"
		if n == "TRAILER!!!" {
			data = ""
		}
		fmt.Fprintf(&b, "070701%08x%08x%08x%08x%08x%08x%08x%08x%08x%08x%08x%08x%08x", 1, 0o100644, 0, 0, 1, 0, len(data), 0, 0, 0, 0, len(n)+1, 0)
		b.WriteString(n + "\x00")
		b.Write(make([]byte, -b.Len()&3))
		b.WriteString(data)
	}
	return b.Bytes()
}

func zipped(b []byte) []byte {
	var out bytes.Buffer
	w := gzip.NewWriter(&out)
	w.Write(b)
	w.Close()
	return out.Bytes()
}

// good is what the helper machine tells of a system that has nothing wrong.
func good() map[string][]byte {
	names := []string{
		"etc", "sbin", "usr", "boot/vmlinuz-6.1", "boot/initrd.img-6.1", "usr/sbin/sshd", "usr/bin/cloud-init", "usr/lib/systemd/systemd", "usr/sbin/update-initramfs",
		"lib/modules", "lib/modules/6.1", "lib/modules/6.1/kernel/virtio_blk.ko", "lib/modules/6.1/kernel/virtio_net.ko",
		"lib/modules/6.1/kernel/virtio_pci.ko.xz", "etc/systemd/system/multi-user.target.wants/ssh.service",
	}
	out := map[string][]byte{
		"vda/head": []byte(mbr()), "vda/size": []byte("2048\n"), "vda1/head": []byte(ext4(rootID)), "vda1/size": []byte("1024\n"),
		"vda1/names": []byte(strings.Join(names, "\n") + "\n"), "vda1/default.target": []byte("/lib/systemd/system/multi-user.target\n"),
	}
	for name, text := range map[string]string{
		"etc/os-release": "PRETTY_NAME=\"Debian 12\"\n", "etc/fstab": "UUID=" + rootID + " / ext4 defaults 0 1\n", "boot/config-6.1": "\nCONFIG_X86_64=y\n",
		"boot/grub/grub.cfg": "menuentry x {\n\tlinux /vmlinuz root=UUID=" + rootID + " ro console=ttyS0\n}\n", "etc/machine-id": "",
	} {
		out["vda1/files/"+name] = []byte(text)
	}
	out["vda1/files/boot/initrd.img-6.1"] = append(append(cpio("early"), make([]byte, 100)...),
		zipped(cpio("lib/modules/6.1/virtio_blk.ko.zst", "lib/modules/6.1/virtio-pci.ko", "lib/modules/6.1/virtio_pci.ko"))...)
	return out
}

func TestAGoodSystem(t *testing.T) {
	r := look(good())
	if len(r.Findings) != 0 || r.System != "Debian 12" || r.BootMode != "legacy-bios" || r.Partitions != "mbr" {
		t.Errorf("%+v", r)
	}
}

// What is changed in the good system, what is found then, and what the remedy does.
func TestFindings(t *testing.T) {
	put := func(name, text string) func(map[string][]byte) {
		return func(o map[string][]byte) { o["vda1/files/"+name] = []byte(text) }
	}
	names := func(add string, remove ...string) func(map[string][]byte) {
		return func(o map[string][]byte) {
			lines := slices.DeleteFunc(strings.Split(string(o["vda1/names"]), "\n"), func(l string) bool { return slices.Contains(remove, l) })
			o["vda1/names"] = []byte(strings.Join(append(lines, strings.Fields(add)...), "\n"))
		}
	}
	noCloud := names("usr/sbin/ifup usr/bin/networkctl usr/sbin/netplan etc/systemd/system/multi-user.target.wants/karri-agent.service", "usr/bin/cloud-init")
	both := func(f ...func(map[string][]byte)) func(map[string][]byte) {
		return func(o map[string][]byte) {
			for _, g := range f {
				g(o)
			}
		}
	}
	for name, c := range map[string]struct {
		change func(map[string][]byte)
		want   string // severity/name
		does   string // in the script or the files of the remedy; "" = cannot be mended
	}{
		"device in fstab":   {put("etc/fstab", "/dev/sda1 / ext4 defaults 0 1\n"), "error/fstab-device", "UUID=" + rootID + " / ext4"},
		"second disk":       {put("etc/fstab", "UUID="+rootID+" / ext4 a 0 1\n/dev/sdb1 /data ext4 defaults 0 1\n"), "error/fstab-missing", "# not on this disk: /dev/sdb1"},
		"swap elsewhere":    {put("etc/fstab", "UUID="+rootID+" / ext4 a 0 1\nUUID=aa none swap sw 0 0\n"), "warning/fstab-missing", "# not on this disk: UUID=aa"},
		"root by name":      {put("boot/grub/grub.cfg", "linux /vmlinuz root=/dev/sda1 console=ttyS0\n"), "error/root-device", "root=UUID=" + rootID + " console"},
		"no console":        {put("boot/grub/grub.cfg", "linux /vmlinuz root=UUID=x quiet\n"), "warning/no-console", "quiet console=tty0 console=ttyS0"},
		"no virtio":         {names("", "lib/modules/6.1/kernel/virtio_blk.ko"), "error/no-virtio", ""},
		"hostonly ramdisk":  {put("boot/initrd.img-6.1", string(cpio("lib/modules/6.1/vmw_pvscsi.ko"))), "error/virtio-not-in-ramdisk", "update-initramfs -u -k"},
		"dracut":            {both(names("usr/bin/dracut"), put("boot/initrd.img-6.1", string(zipped(cpio("a"))))), "error/virtio-not-in-ramdisk", "dracut --force --kver"},
		"broken ramdisk":    {put("boot/initrd.img-6.1", "\x1f\x8bnonsense"), "warning/ramdisk-not-read", "update-initramfs"},
		"i386":              {put("boot/config-6.1", "\n# CONFIG_X86_64 is not set\n"), "error/architecture", ""},
		"no kernel":         {names("", "boot/vmlinuz-6.1"), "error/no-kernel", ""},
		"no SSH":            {names("", "usr/sbin/sshd"), "error/no-ssh-server", ""},
		"SSH not started":   {names("", "etc/systemd/system/multi-user.target.wants/ssh.service"), "error/ssh-not-started", "systemctl enable ssh"},
		"no cloud-init":     {names("usr/bin/networkctl", "usr/bin/cloud-init"), "warning/no-agent", "usr/local/sbin/karri-agent"},
		"cloud-init off":    {names("etc/cloud/cloud-init.disabled"), "error/cloud-init-disabled", "rm -f '/mnt/etc/cloud/cloud-init.disabled'"},
		"other cloud":       {put("etc/cloud/cloud.cfg.d/90.cfg", "datasource_list: [ VMware,\n OVF ]\n"), "error/cloud-init-datasource", "[ Ec2, None ]"},
		"other cloud, list": {put("etc/cloud/cloud.cfg", "datasource_list:\n  - VMware\n  - None\n"), "error/cloud-init-datasource", "[ Ec2, None ]"},
		"udev":              {put("etc/udev/rules.d/70-persistent-net.rules", "SUBSYSTEM==\"net\", ATTR{address}==\"00:50\", NAME=\"eth0\"\n"), "error/persistent-net-rules", "rm -f '/mnt/etc/udev"},
		"static ifupdown":   {both(noCloud, put("etc/network/interfaces", "iface ens192 inet static\n address 10.0.0.5\n")), "error/static-address", "iface eth0 inet dhcp"},
		"old name":          {both(noCloud, put("etc/network/interfaces", "auto ens192\niface ens192 inet dhcp\n")), "error/card-name", "net.ifnames=0"},
		"static netplan":    {both(noCloud, put("etc/netplan/a.yaml", "network:\n  ethernets:\n    ens192:\n      addresses: [10.0.0.5/24]\n")), "error/static-address", "dhcp4: true"},
		"static ifcfg":      {both(noCloud, put("etc/sysconfig/network-scripts/ifcfg-ens192", "DEVICE=ens192\nIPADDR=10.0.0.5\nONBOOT=yes\n")), "error/static-address", "BOOTPROTO=dhcp"},
		"static networkd":   {both(noCloud, put("etc/systemd/network/a.network", "[Match]\nName=ens192\n[Network]\nAddress=10.0.0.5/24\n")), "error/static-address", "DHCP=ipv4"},
		"static manager": {
			both(noCloud, names("etc/NetworkManager/x usr/sbin/NetworkManager"), put("etc/NetworkManager/system-connections/a", "[connection]\ntype=ethernet\n[ipv4]\nmethod=manual\n")),
			"error/static-address", "rm -f '/mnt/etc/NetworkManager/system-connections/a'",
		},
		"rescue":     {func(o map[string][]byte) { o["vda1/default.target"] = []byte("rescue.target") }, "error/target", "set-default multi-user"},
		"runlevel":   {put("etc/inittab", "id:1:initdefault:\n"), "error/runlevel", "id:3:initdefault:"},
		"machine id": {put("etc/machine-id", "0123\n"), "warning/machine-id", "/mnt/etc/machine-id"},
		"host keys":  {names("etc/ssh/ssh_host_rsa_key"), "warning/host-keys", "rm -f '/mnt/etc/ssh/ssh_host_rsa_key'"},
		"tools":      {names("usr/bin/vmtoolsd"), "note/foreign-tools", ""},
		"no loader":  {func(o map[string][]byte) { o["vda/head"] = append(make([]byte, 440), o["vda/head"][440:]...) }, "error/no-boot-loader", ""},
		"bare":       {func(o map[string][]byte) { o["vda/head"] = make([]byte, 1024) }, "warning/no-boot-loader", ""},
		"damaged":    {func(o map[string][]byte) { delete(o, "vda1/names") }, "error/file-system-damaged", ""},
		"nothing": {func(o map[string][]byte) {
			maps.DeleteFunc(o, func(n string, _ []byte) bool { return strings.HasPrefix(n, "vda1") })
		}, "error/no-system", ""},
		"LVM": {func(o map[string][]byte) {
			delete(o, "vda1/names")
			o["vda1/head"] = []byte("LABELONE" + strings.Repeat("\x00", 1024))
		}, "warning/not-read", ""},
		"Windows": {func(o map[string][]byte) {
			delete(o, "vda1/names")
			o["vda1/head"] = []byte("\xeb\x52\x90NTFS    " + strings.Repeat("\x00", 1024))
		}, "warning/windows", ""},
	} {
		t.Run(name, func(t *testing.T) {
			out := good()
			c.change(out)
			r := look(out)
			i := slices.IndexFunc(r.Findings, func(f Finding) bool { return string(f.Severity)+"/"+f.Name == c.want })
			if i < 0 {
				t.Fatalf("want %s: %+v", c.want, r.Findings)
			}
			if r.Findings[i].Remedy == "" || r.Findings[i].Fixable != (c.does != "") {
				t.Fatalf("%+v", r.Findings[i])
			}
			if c.does == "" {
				return
			}
			ch := &changes{old: r.facts.files, files: map[string]file{}, removed: map[string]bool{}}
			r.Findings[i].fix(ch)
			ch.applyOptions(r.facts)
			script, files := ch.script(r.facts)
			for _, f := range files {
				script += string(f)
			}
			if !strings.Contains(script, c.does) {
				t.Errorf("want %q in %s", c.does, script)
			}
		})
	}
}

// Words of the disk end up in a shell: they stay words.
func TestNothingOfTheDiskIsRun(t *testing.T) {
	out := good()
	out["vda1/files/etc/udev/rules.d/70-persistent-net.rules';touch x;'"] = []byte("SUBSYSTEM==\"net\", NAME=\"eth0\"\n")
	out["vda1/files/etc/fstab"] = []byte("/dev/sda1 / ext4 defaults 0 1\nLABEL=x /a';touch${IFS}x;' ext4 defaults 0 1\n")
	r := look(out)
	ch := &changes{old: r.facts.files, files: map[string]file{}, removed: map[string]bool{}}
	for _, f := range r.Findings {
		if f.fix != nil {
			f.fix(ch)
		}
	}
	script, _ := ch.script(r.facts)
	if !strings.Contains(script, `'/mnt/etc/udev/rules.d/70-persistent-net.rules'\'';touch x;'\'''`) {
		t.Error(script)
	}
}

func TestRamdisksInSeveralWays(t *testing.T) {
	w, err := zstd.NewWriter(nil)
	if err != nil {
		t.Fatal(err)
	}
	plain := cpio("a/virtio-blk.ko")
	for name, data := range map[string][]byte{"plain": plain, "gzip": zipped(plain), "zstd": w.EncodeAll(plain, nil), "padded": append(plain, make([]byte, 4096)...)} {
		if m, err := ramdiskModules(data); err != nil || !m["virtio_blk"] {
			t.Errorf("%s: %v, %v", name, m, err)
		}
	}
	if _, err := ramdiskModules([]byte("\xfd7zXZ\x00 and so on")); err == nil {
		t.Error("xz is not read")
	}
}

func FuzzLook(f *testing.F) {
	for name, data := range good() {
		f.Add(name, data)
	}
	f.Fuzz(func(t *testing.T, name string, data []byte) {
		out := good()
		out[name] = data
		r := look(out)
		ch := &changes{old: r.facts.files, files: map[string]file{}, removed: map[string]bool{}}
		for _, finding := range r.Findings {
			if finding.fix != nil {
				finding.fix(ch)
			}
		}
		if r.facts.root != nil {
			ch.applyOptions(r.facts)
			ch.script(r.facts)
		}
	})
}
