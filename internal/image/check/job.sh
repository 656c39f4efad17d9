# Facts about every file system of /dev/vda, for package check. It is run by busybox in the helper machine.
seen=0
for d in /sys/class/block/vda /sys/class/block/vda[0-9]*; do
	[ -e "$d" ] || continue
	seen=$((seen + 1))
	[ $seen -le 33 ] || break
	p=${d##*/}
	mkdir -p "/out/$p/files" "/mnt/$p"
	head -c 73728 "/dev/$p" >"/out/$p/head"
	cat "$d/size" >"/out/$p/size"
	root=
	for how in "ext4 -o noload" "xfs -o norecovery,nouuid" "btrfs -o ro" "vfat -o ro"; do
		if mount -t $how,ro,nosuid,nodev,noexec "/dev/$p" "/mnt/$p" 2>/dev/null; then
			root="/mnt/$p"
			break
		fi
	done
	[ -n "$root" ] || continue
	for sub in root @ @rootfs; do # btrfs as distributions lay it out
		[ "${how#btrfs}" = "$how" ] || [ -d "$root/etc" ] || [ ! -d "$root/$sub/etc" ] || { root="$root/$sub"; echo "$sub" >"/out/$p/subvolume"; }
	done
	cd "$root" || continue
	{
		find boot/ EFI/ boot/efi/EFI grub grub2 etc/ssh etc/systemd/system etc/rc?.d etc/init.d etc/runlevels lib/systemd/system/default.target -maxdepth 3
		find ./ sbin/ usr/sbin/ bin/ usr/bin/ lib/modules/ usr/lib/modules/ Windows usr/lib/systemd/systemd lib/systemd/systemd -maxdepth 1
		find lib/modules/ usr/lib/modules/ -name 'virtio*'
	} 2>/dev/null | head -n 20000 >"/out/$p/names"
	readlink etc/systemd/system/default.target >"/out/$p/default.target"
	{
		find etc/fstab etc/os-release usr/lib/os-release etc/redhat-release etc/inittab etc/machine-id etc/passwd etc/selinux/config \
			etc/network etc/netplan etc/sysconfig/network etc/sysconfig/network-scripts etc/NetworkManager etc/systemd/network \
			etc/udev/rules.d etc/ssh/sshd_config etc/ssh/sshd_config.d etc/cloud etc/default/grub etc/initramfs-tools etc/dracut.conf etc/dracut.conf.d \
			lib/modules/*/modules.builtin usr/lib/modules/*/modules.builtin -type f -size -1024
		for b in boot .; do
			find $b/grub/grub.cfg $b/grub2/grub.cfg $b/grub/menu.lst $b/grub/grub.conf $b/loader/entries $b/config-* -type f -size -1024
		done
		# The initial ramdisks of two kernels: the newest, by name.
		ls -d boot/initrd.img-* boot/initramfs-*.img boot/initrd-* initrd.img-* initramfs-*.img initrd-* | grep -v -e rescue -e kdump | sort -r | head -n 2 |
			while read -r f; do [ -f "$f" ] && [ "$(wc -c <"$f")" -lt 100000000 ] && echo "$f"; done
	} 2>/dev/null | cpio -o -H newc 2>/dev/null | (cd "/out/$p/files" && cpio -id 2>/dev/null)
done
true
