package image

import (
	"encoding/binary"
	"strings"
)

// vmdkAtEnd as the grain directory's place: it is in the footer.
const vmdkAtEnd = 0xffffffffffffffff

const vmdkCompressed = 1 << 16 // a flag: of the grains

func inspectVMDK(f file, maxSize int64) (int64, error) {
	h, err := f.bytes(0, 512)
	if err != nil || string(h[:4]) != "KDMV" {
		if err == nil && (strings.HasPrefix(string(h), "# Disk DescriptorFile") || string(h[:4]) == "COWD") {
			return 0, invalid("Unsupported VMDK File Format: only monolithicSparse and streamOptimized disks in one file are supported")
		}
		return 0, invalid("the file is not a VMDK image")
	}
	le := binary.LittleEndian
	if v := le.Uint32(h[4:]); v < 1 || v > 3 {
		return 0, invalid("VMDK version %d is not supported", v)
	}
	capacity := le.Uint64(h[12:])
	if capacity > 1<<53 {
		return 0, tooLarge(capacity, maxSize)
	}
	// A capacity of 0 makes qemu follow the descriptor's extents: other files.
	if err := checkSize(capacity*512, maxSize); err != nil {
		return 0, err
	}
	if err := vmdkDescriptor(f, le.Uint64(h[28:]), le.Uint64(h[36:])); err != nil {
		return 0, err
	}
	if le.Uint64(h[56:]) == vmdkAtEnd {
		// streamOptimized: footer marker, footer, end-of-stream marker are the last three sectors.
		if f.size%512 != 0 || f.size < 4*512 {
			return 0, invalid("the file is cut off: it has no footer")
		}
		footer, err := f.bytes(uint64(f.size)-1024, 512)
		if err != nil {
			return 0, err
		}
		if string(footer[:4]) != "KDMV" {
			return 0, invalid("the file is cut off: it has no footer")
		}
		if le.Uint64(footer[12:]) != capacity || le.Uint64(footer[20:]) != le.Uint64(h[20:]) || le.Uint32(footer[44:]) != le.Uint32(h[44:]) {
			return 0, invalid("header and footer differ")
		}
		if err := vmdkDescriptor(f, 1, 0); err != nil {
			return 0, err
		}
		h = footer
	}
	return int64(capacity * 512), vmdkTables(f, h, capacity)
}

// vmdkDescriptor reads the embedded descriptor, and refuses parents and extents elsewhere. qemu always reads 20
// sectors from the second one, whatever the header says: so it must be there.
func vmdkDescriptor(f file, at, sectors uint64) error {
	if at != 1 || sectors > 1024 {
		return invalid("the descriptor lies at sector %d with %d sectors", at, sectors)
	}
	const first, length = 512, 20 * 512
	text, err := f.bytes(first, min(max(length, sectors*512), uint64(max(f.size-first, 0))))
	if err != nil {
		return err
	}
	if strings.Contains(strings.ToLower(string(text)), "parentfilenamehint") {
		return invalid("the image has a parent: flatten it first")
	}
	if sectors == 0 { // only a second look for what qemu reads
		return nil
	}
	descriptor, _, _ := strings.Cut(string(text[:min(uint64(len(text)), sectors*512)]), "\x00")
	extents := 0
	kind := ""
	for line := range strings.Lines(descriptor) {
		line = strings.TrimSpace(line)
		key, value, ok := strings.Cut(line, "=")
		value = strings.Trim(strings.TrimSpace(value), `"`)
		switch k := strings.ToLower(strings.TrimSpace(key)); {
		case line == "" || line[0] == '#':
		case ok && k == "parentcid":
			if !strings.EqualFold(value, "ffffffff") {
				return invalid("the image has a parent: flatten it first")
			}
		case ok && k == "createtype":
			kind = value
		case strings.HasPrefix(line, "RW ") || strings.HasPrefix(line, "RDONLY ") || strings.HasPrefix(line, "NOACCESS "):
			if w := strings.Fields(line); len(w) < 4 || w[2] != "SPARSE" {
				return invalid("Unsupported VMDK File Format: the disk has extents in other files")
			}
			extents++
		}
	}
	if kind != "monolithicSparse" && kind != "streamOptimized" {
		return invalid("Unsupported VMDK File Format: %.40q", kind)
	}
	if extents != 1 {
		return invalid("Unsupported VMDK File Format: the disk has %d extents", extents)
	}
	return nil
}

// vmdkTables checks that grain directory, tables and grains are inside the file.
func vmdkTables(f file, h []byte, capacity uint64) error {
	le := binary.LittleEndian
	grain, perTable := le.Uint64(h[20:]), uint64(le.Uint32(h[44:]))
	if grain < 8 || grain > 128<<10 || grain&(grain-1) != 0 {
		return invalid("grains of %d sectors", grain)
	}
	if perTable == 0 || perTable > 512 {
		return invalid("grain tables of %d entries", perTable)
	}
	grains := (capacity + grain - 1) / grain
	tables := (grains + perTable - 1) / perTable
	directory := le.Uint64(h[56:])
	inside := func(at uint64) error {
		if at >= (uint64(f.size)+511)/512 {
			return invalid("the file is cut off: data should be at %d, it has %d bytes", at*512, f.size)
		}
		return nil
	}
	if err := inside(directory); err != nil {
		return err
	}
	seen := map[uint32]bool{} // a hostile directory names one table a million times
	last := uint64(0)
	err := f.table(directory*512, tables, 4, func(_ uint64, e []byte) error {
		at := le.Uint32(e)
		if at == 0 || seen[at] {
			return nil
		}
		seen[at] = true
		return f.table(uint64(at)*512, perTable, 4, func(_ uint64, e []byte) error {
			at := uint64(le.Uint32(e)) // 0: not there, 1: zeros
			last = max(last, at)
			return inside(at)
		})
	})
	if err != nil || last <= 1 || le.Uint32(h[8:])&vmdkCompressed == 0 {
		return err
	}
	marker, err := f.bytes(last*512, 12)
	if err == nil && !f.holds(last*512+12, uint64(le.Uint32(marker[8:]))) {
		err = invalid("the file is cut off in its last grain")
	}
	return err
}
