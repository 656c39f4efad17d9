package check

import (
	"fmt"
	"path"
	"regexp"
	"slices"
	"strings"
)

// checkDisk looks at what comes before the system: partitions, boot loader, file systems.
func (r *Report) checkDisk() {
	f := r.facts
	var unread []string
	ntfs := false
	for _, s := range f.systems {
		switch {
		case s.kind == "ntfs":
			ntfs = true
		case s.kind == "lvm" || s.kind == "luks":
			unread = append(unread, fmt.Sprintf("%s (%s)", partition(s), map[string]string{"lvm": "LVM", "luks": "LUKS"}[s.kind]))
		case !s.read && slices.Contains([]string{"ext4", "xfs", "btrfs", "vfat"}, s.kind):
			r.found(Error, "file-system-damaged", fmt.Sprintf("The %s file system of %s cannot be mounted", s.kind, partition(s)),
				"Check it on the machine that it comes from (fsck, xfs_repair), shut that down cleanly, and export the disk anew", nil)
		}
	}
	if f.root == nil {
		switch {
		case slices.ContainsFunc(f.systems, func(s *filesystem) bool { return s.label == "karri-state" }):
			r.System = "Karri's small guest"
		case ntfs:
			r.found(Warning, "windows", "This looks like Windows: only Linux is looked into",
				"See that Red Hat's virtio drivers (viostor, NetKVM) are installed, the network is on DHCP, and import it with --platform Windows", nil)
		case len(unread) > 0:
			r.found(Warning, "not-read", "What lies in "+strings.Join(unread, ", ")+" cannot be looked into",
				"Check by hand: virtio drivers in the initial ramdisk, DHCP, an SSH server, cloud-init", nil)
		default:
			r.found(Error, "no-system", "No Linux system is on any partition", "Give the disk that the machine boots from, whole, as the declared format", nil)
		}
	} else if len(unread) > 0 {
		r.found(Note, "not-read", "What lies in "+strings.Join(unread, ", ")+" was not looked into", "Check by hand that the system starts without it", nil)
	}
	r.checkLoader()
}

func partition(s *filesystem) string {
	if s.device == "vda" {
		return "the whole disk"
	}
	return "partition " + strings.TrimPrefix(s.device, "vda")
}

func (r *Report) checkLoader() {
	f := r.facts
	var esp *filesystem
	for _, s := range f.systems {
		if f.table.esp != 0 && s.device == fmt.Sprintf("vda%d", f.table.esp) && s.read {
			esp = s
		}
	}
	fallback, loader := false, ""
	if esp != nil {
		for name := range esp.names {
			lower := strings.ToLower(name)
			fallback = fallback || lower == "efi/boot/bootx64.efi"
			if base := path.Base(lower); base == "grubx64.efi" || base == "systemd-bootx64.efi" {
				loader = name
			}
		}
	}
	bios := f.table.bootCode && (f.table.kind == "mbr" || f.table.biosBoot || esp == nil)
	switch {
	case f.table.kind == "" && !f.table.bootCode:
		r.BootMode = "kernel"
		r.found(Warning, "no-boot-loader", "The disk is a bare file system without boot loader",
			"Start it with a kernel: bundle the image with --kernel, or install it on a partitioned disk with GRUB", nil)
	case bios && (fallback || loader != ""):
		r.BootMode = "legacy-bios or uefi"
	case bios:
		r.BootMode = "legacy-bios"
	case fallback:
		r.BootMode = "uefi"
		r.found(Note, "uefi-only", "It boots by UEFI only", "Import or register it with --boot-mode uefi", nil)
	case loader != "" && len(f.mounts) > 0:
		r.BootMode = "uefi"
		r.found(Error, "no-fallback-loader", "UEFI finds no boot loader: there is no EFI/BOOT/BOOTX64.EFI, and a new machine has no boot entries",
			"grub-install --force-extra-removable, or copy the loader to EFI/BOOT/BOOTX64.EFI", func(c *changes) {
				for _, m := range f.mounts {
					if m.fs == esp {
						c.run("mkdir -p " + quote("/"+m.at+"/EFI/BOOT") + " && cp " + quote("/"+m.at+"/"+loader) + " " + quote("/"+m.at+"/EFI/BOOT/BOOTX64.EFI"))
					}
				}
			})
	default:
		r.BootMode = "none"
		r.found(Error, "no-boot-loader", "The disk has no boot loader, neither for BIOS nor for UEFI", "Install GRUB on it: grub-install on the machine it comes from", nil)
	}
}

// drivers are what a system needs here to find its disk and its network.
var drivers = []string{"virtio_blk", "virtio_net", "virtio_pci"}

// kernelRelease takes a kernel's release from the name of its file.
var kernelRelease = regexp.MustCompile(`^(?:vmlinuz|vmlinux|bzImage)-(.+)$`)

// kernels gives the releases of the system's kernels.
func (f *facts) kernels() []string {
	var out []string
	for _, name := range f.named("boot") {
		if m := kernelRelease.FindStringSubmatch(name); m != nil && !strings.Contains(m[1], "rescue") {
			out = append(out, m[1])
		}
	}
	return out
}

// hasDriver says whether a kernel has a driver built in, or as a module.
func (f *facts) hasDriver(release, driver string) (builtin, module bool) {
	option := map[string]string{"virtio_blk": "CONFIG_VIRTIO_BLK", "virtio_net": "CONFIG_VIRTIO_NET", "virtio_pci": "CONFIG_VIRTIO_PCI"}[driver]
	config := string(f.files["boot/config-"+release])
	builtin = strings.Contains(config, "\n"+option+"=y")
	list := string(f.files[f.modules+"/"+release+"/modules.builtin"])
	builtin = builtin || strings.Contains(list, "/"+driver+".ko") || strings.Contains(list, "/"+strings.ReplaceAll(driver, "_", "-")+".ko")
	for name := range f.names {
		if m, ok := moduleName(name); ok && m == driver && strings.HasPrefix(name, f.modules+"/"+release+"/") {
			module = true
		}
	}
	return builtin, module
}

func (r *Report) checkKernels() {
	f := r.facts
	kernels := f.kernels()
	if len(kernels) == 0 {
		if r.BootMode != "kernel" {
			r.found(Error, "no-kernel", "There is no kernel in /boot", "Install the distribution's kernel package", nil)
		}
		return
	}
	for _, k := range kernels {
		if config := string(f.files["boot/config-"+k]); config != "" && !strings.Contains(config, "CONFIG_X86_64=y") {
			r.found(Error, "architecture", fmt.Sprintf("The kernel %s is not for x86_64", k), "Only x86_64 runs here: install the system anew, or a kernel for x86_64", nil)
			return
		}
	}
	last := kernels[len(kernels)-1]
	var missing, modules []string
	for _, d := range drivers {
		builtin, module := f.hasDriver(last, d)
		switch {
		case module && !builtin:
			modules = append(modules, d)
		case !builtin:
			missing = append(missing, d)
		}
	}
	if len(missing) > 0 {
		r.found(Error, "no-virtio", fmt.Sprintf("The kernel %s has no driver %s: it finds no disk or no network here", last, strings.Join(missing, ", ")),
			"Install a kernel of the distribution that has virtio (Linux 2.6.25 or later)", nil)
		return
	}
	r.checkRamdisk(last, modules)
}

// checkRamdisk sees that the drivers of the disk are in the initial ramdisk, where they are modules.
func (r *Report) checkRamdisk(kernel string, modules []string) {
	modules = slices.DeleteFunc(modules, func(m string) bool { return m == "virtio_net" })
	if len(modules) == 0 {
		return
	}
	f := r.facts
	rebuild := func(c *changes) {
		switch {
		case f.program("dracut"):
			c.write("etc/dracut.conf.d/90-karri.conf", 0o644, "add_drivers+=\" virtio_blk virtio_pci virtio_net virtio_scsi nvme \"\n")
			c.run("dracut --force --kver " + quote(kernel))
		default:
			old := strings.TrimRight(string(f.files["etc/initramfs-tools/modules"]), "\n")
			c.write("etc/initramfs-tools/modules", 0o644, strings.TrimPrefix(old+"\n", "\n")+"virtio_pci\nvirtio_blk\nvirtio_net\n")
			c.run("update-initramfs -u -k " + quote(kernel))
		}
	}
	if !f.program("dracut") && !f.program("update-initramfs") {
		rebuild = nil
	}
	const remedy = "Add virtio_pci and virtio_blk to /etc/initramfs-tools/modules and run update-initramfs -u, or: dracut --force --add-drivers \"virtio_pci virtio_blk\""
	for _, name := range []string{"initrd.img-" + kernel, "initramfs-" + kernel + ".img", "initrd-" + kernel} {
		data := f.files["boot/"+name]
		if data == nil {
			if f.names["boot/"+name] {
				r.found(Note, "ramdisk-not-read", fmt.Sprintf("The initial ramdisk %s was not looked into: it is too large", name), remedy, nil)
				return
			}
			continue
		}
		inside, err := ramdiskModules(data)
		if err != nil {
			r.found(Warning, "ramdisk-not-read", fmt.Sprintf("The initial ramdisk %s cannot be looked into: %v", name, err), remedy, rebuild)
			return
		}
		var missing []string
		for _, m := range modules {
			if !inside[m] {
				missing = append(missing, m)
			}
		}
		if len(missing) > 0 {
			r.found(Error, "virtio-not-in-ramdisk", fmt.Sprintf("The initial ramdisk %s lacks %s: the system will not find its disk", name, strings.Join(missing, ", ")), remedy, rebuild)
		}
		return
	}
	r.found(Error, "no-ramdisk", fmt.Sprintf("The kernel %s has its disk drivers as modules, and no initial ramdisk", kernel), remedy, rebuild)
}

// loaderFiles are where boot loaders keep kernel command lines.
func (f *facts) loaderFiles() []string {
	out := []string{"boot/grub/grub.cfg", "boot/grub2/grub.cfg", "boot/grub/menu.lst", "boot/grub/grub.conf"}
	out = slices.DeleteFunc(out, func(n string) bool { return f.files[n] == nil })
	return append(out, f.below("boot/loader/entries")...)
}

var (
	kernelLine = regexp.MustCompile(`(?m)^[ \t]*(?:linux(?:16|efi)?|kernel|options)[ \t]+.*$`)
	rootOption = regexp.MustCompile(`\broot=(\S+)`)
)

func (r *Report) checkCommandLine() {
	f := r.facts
	files := f.loaderFiles()
	if len(files) == 0 {
		if r.BootMode != "kernel" {
			r.found(Warning, "no-loader-config", "No configuration of GRUB was found", "Run update-grub (or grub2-mkconfig -o /boot/grub2/grub.cfg)", nil)
		}
		return
	}
	badRoot, console, any := "", false, false
	for _, name := range files {
		for _, line := range kernelLine.FindAllString(string(f.files[name]), -1) {
			if m := rootOption.FindStringSubmatch(line); m != nil {
				any = true
				if diskName.MatchString(m[1]) || strings.HasPrefix(m[1], "/dev/disk/by-path") || strings.HasPrefix(m[1], "/dev/disk/by-id") {
					badRoot = m[1]
				}
				console = console || strings.Contains(line, "console=ttyS0")
			}
		}
	}
	if badRoot != "" {
		var fix func(*changes)
		if to := f.find(badRoot); to != nil && to.uuid != "" {
			fix = func(c *changes) {
				for _, name := range files {
					c.edit(name, func(s string) string {
						return kernelLine.ReplaceAllStringFunc(s, func(l string) string { return strings.ReplaceAll(l, "root="+badRoot, "root=UUID="+to.uuid) })
					})
				}
			}
		}
		r.found(Error, "root-device", fmt.Sprintf("The kernel's command line has root=%s: there is no such disk here", badRoot),
			"Name it by its UUID (root=UUID=…, see blkid) in the boot loader's configuration", fix)
	}
	if any && !console {
		r.found(Warning, "no-console", "The kernel writes nothing to the serial port: get-console-output stays empty",
			"Add console=tty0 console=ttyS0,115200 to GRUB_CMDLINE_LINUX in /etc/default/grub, and run update-grub (or grub2-mkconfig)", func(c *changes) {
				c.kernelOption("console=tty0 console=ttyS0,115200")
			})
	}
}
