package check

import (
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"strings"
)

// filesystem is what one partition, or the whole disk, holds.
type filesystem struct {
	device     string // "vda", "vda1", …
	kind       string // "ext4" (or 2, 3), "xfs", "btrfs", "vfat", "swap", "lvm", "luks", "ntfs", "" = unknown
	uuid       string // as blkid shows it
	label      string
	subvolume  string // of btrfs, that holds the system
	sectors    int64
	read       bool // it could be mounted
	names      map[string]bool
	files      map[string][]byte
	initTarget string // where default.target leads
}

// identify reads the superblock at the beginning of a partition.
func identify(f *filesystem, head []byte) {
	has := func(at int, magic string) bool {
		return len(head) >= at+len(magic) && string(head[at:at+len(magic)]) == magic
	}
	text := func(at, n int) string {
		s, _, _ := bytes.Cut(head[at:at+n], []byte{0})
		return strings.TrimRight(string(s), " ")
	}
	const btrfs = 0x10000
	switch {
	case has(0, "XFSB"):
		f.kind, f.uuid, f.label = "xfs", uuid(head[32:48]), text(108, 12)
	case has(0, "LUKS\xba\xbe"):
		f.kind = "luks"
	case has(3, "NTFS    "):
		f.kind = "ntfs"
	case has(0, "LABELONE"), has(512, "LABELONE"), has(1024, "LABELONE"), has(1536, "LABELONE"):
		f.kind = "lvm"
	case has(0x438, "\x53\xef"):
		f.kind, f.uuid, f.label = "ext4", uuid(head[0x468:0x478]), text(0x478, 16)
	case has(btrfs+0x40, "_BHRfS_M") && len(head) >= btrfs+0x22b:
		f.kind, f.uuid, f.label = "btrfs", uuid(head[btrfs+0x20:btrfs+0x30]), text(btrfs+0x12b, 256)
	case has(4086, "SWAPSPACE2"):
		f.kind, f.uuid, f.label = "swap", uuid(head[1036:1052]), text(1052, 16)
	case has(510, "\x55\xaa") && has(82, "FAT32"):
		f.kind, f.uuid, f.label = "vfat", serial(head[67:71]), text(71, 11)
	case has(510, "\x55\xaa") && (has(54, "FAT12") || has(54, "FAT16")):
		f.kind, f.uuid, f.label = "vfat", serial(head[39:43]), text(43, 11)
	}
}

func uuid(b []byte) string {
	h := hex.EncodeToString(b)
	return strings.Join([]string{h[:8], h[8:12], h[12:16], h[16:20], h[20:]}, "-")
}

func serial(b []byte) string {
	n := binary.LittleEndian.Uint32(b)
	return fmt.Sprintf("%04X-%04X", n>>16, n&0xffff)
}

// table is how a disk is divided.
type table struct {
	kind     string // "gpt", "mbr", "" = none
	bootCode bool   // the first sector has a program for a BIOS
	esp      int    // number of the EFI system partition; 0 = none
	biosBoot bool   // GPT: there is a partition for a BIOS's boot loader
	ids      map[int]string
}

// Types of partitions, as they lie on disk.
const (
	typeESP      = "28732ac11ff8d211ba4b00a0c93ec93b"
	typeBIOSBoot = "4861682149646f6e744e656564454649"
)

// divide reads the partition table at the beginning of a disk.
func divide(head []byte) table {
	t := table{ids: map[int]string{}}
	if len(head) < 512 || head[510] != 0x55 || head[511] != 0xaa {
		return t
	}
	t.bootCode = !bytes.Equal(head[:400], make([]byte, 400))
	le := binary.LittleEndian
	for i := range 4 {
		e := head[446+16*i : 462+16*i]
		if e[4] == 0 || e[0]&0x7f != 0 { // a file system's own boot sector has no such entries
			continue
		}
		t.kind = "mbr"
		t.ids[i+1] = fmt.Sprintf("%08x-%02x", le.Uint32(head[440:]), i+1)
		if e[4] == 0xef {
			t.esp = i + 1
		}
	}
	if len(head) < 1024 || string(head[512:520]) != "EFI PART" {
		return t
	}
	t.kind, t.esp, t.ids = "gpt", 0, map[int]string{}
	at, n, width := le.Uint64(head[512+72:]), le.Uint32(head[512+80:]), le.Uint32(head[512+84:])
	if at > uint64(len(head))/512 || width < 128 || width > 4096 {
		return t
	}
	for i := range min(int(n), 128) {
		from := int(at)*512 + i*int(width)
		if from+128 > len(head) {
			break
		}
		e := head[from : from+128]
		switch kind := hex.EncodeToString(e[:16]); {
		case bytes.Equal(e[:16], make([]byte, 16)):
			continue
		case kind == typeESP:
			t.esp = i + 1
		case kind == typeBIOSBoot:
			t.biosBoot = true
		}
		g := bytes.Clone(e[16:32]) // the first three parts are little-endian
		for _, part := range [][2]int{{0, 4}, {4, 6}, {6, 8}} {
			for a, b := part[0], part[1]-1; a < b; a, b = a+1, b-1 {
				g[a], g[b] = g[b], g[a]
			}
		}
		t.ids[i+1] = uuid(g)
	}
	return t
}
