package image

import (
	"encoding/binary"
	"slices"
)

const (
	qcow2Magic = "QFI\xfb"

	qcow2Corrupt      = 1 << 1
	qcow2DataFile     = 1 << 2
	qcow2Incompatible = 1<<0 | 1<<3 // dirty, compression type: harmless
	qcow2ExtendedL2   = 1 << 4

	qcow2BackingFormat = 0xe2792aca // header extensions
	qcow2DataFileName  = 0x44415441
	qcow2Crypto        = 0x0537be77

	qcow2MaxL1 = 32 << 20 // bytes, qemu's own limit
)

func inspectQCOW2(f file, maxSize int64) (int64, error) {
	h, err := f.bytes(0, 72)
	if err != nil || string(h[:4]) != qcow2Magic {
		return 0, invalid("the file is not a QCOW2 image")
	}
	be := binary.BigEndian
	version := be.Uint32(h[4:])
	if version != 2 && version != 3 {
		return 0, invalid("QCOW version %d is not supported", version)
	}
	if be.Uint64(h[8:]) != 0 || be.Uint32(h[16:]) != 0 {
		return 0, invalid("the image has a backing file: flatten it first")
	}
	bits := be.Uint32(h[20:])
	if bits < 9 || bits > 21 {
		return 0, invalid("clusters of 2^%d bytes", bits)
	}
	size := be.Uint64(h[24:])
	if err := checkSize(size, maxSize); err != nil {
		return 0, err
	}
	if be.Uint32(h[32:]) != 0 {
		return 0, invalid("the image is encrypted")
	}

	extensions := uint64(72)
	if version == 3 {
		if h, err = f.bytes(0, 104); err != nil {
			return 0, err
		}
		incompatible := be.Uint64(h[72:])
		switch {
		case incompatible&qcow2DataFile != 0:
			return 0, invalid("the image keeps its data in another file")
		case incompatible&qcow2Corrupt != 0:
			return 0, invalid("the image is marked as corrupt")
		case incompatible&qcow2ExtendedL2 != 0:
			return 0, invalid("the image has extended second-level entries: convert it first, qemu-img convert -O qcow2")
		case incompatible&^qcow2Incompatible != 0:
			return 0, invalid("the image has unknown features %#x", incompatible&^qcow2Incompatible)
		}
		if n := be.Uint32(h[100:]); n < 104 || n%8 != 0 || uint64(n) > 1<<bits {
			return 0, invalid("a header of %d bytes", n)
		}
		extensions = uint64(be.Uint32(h[100:]))
	}
	if err := qcow2Extensions(f, extensions, 1<<bits); err != nil {
		return 0, err
	}
	return int64(size), qcow2Tables(f, h, bits, size)
}

// qcow2Extensions walks the header extensions, which end before the first cluster does.
func qcow2Extensions(f file, at, end uint64) error {
	for at+8 <= end {
		h, err := f.bytes(at, 8)
		if err != nil {
			return err
		}
		kind, length := binary.BigEndian.Uint32(h), uint64(binary.BigEndian.Uint32(h[4:]))
		switch kind {
		case 0:
			return nil
		case qcow2BackingFormat:
			return invalid("the image has a backing file: flatten it first")
		case qcow2DataFileName:
			return invalid("the image keeps its data in another file")
		case qcow2Crypto:
			return invalid("the image is encrypted")
		}
		if length > end-at-8 {
			return invalid("a header extension is longer than the header")
		}
		at += 8 + (length+7)&^7
	}
	return nil
}

// qcow2Tables checks that all tables are inside the file and point into it: qemu reads what is behind a
// file's end as zeros, so a truncated image would become a machine with holes.
func qcow2Tables(f file, h []byte, bits uint32, size uint64) error {
	be := binary.BigEndian
	cluster := uint64(1) << bits
	const entry = 8
	perTable := cluster / entry
	l1 := uint64(be.Uint32(h[36:]))
	if need := (size + cluster*perTable - 1) / (cluster * perTable); l1 < need || l1*8 > qcow2MaxL1 {
		return invalid("a first-level table of %d entries, %d are needed", l1, need)
	}
	if !f.holds(be.Uint64(h[48:]), min(uint64(be.Uint32(h[56:]))*cluster, 1<<40)) {
		return invalid("the file is cut off, or its headers point outside it")
	}
	const offsetMask = 0x00fffffffffffe00
	var tables []uint64
	err := f.table(be.Uint64(h[40:]), l1, 8, func(_ uint64, e []byte) error {
		if at := be.Uint64(e) & offsetMask; at != 0 {
			tables = append(tables, at)
		}
		return nil
	})
	if err != nil {
		return err
	}
	slices.Sort(tables)
	for _, at := range slices.Compact(tables) {
		if at%cluster != 0 {
			return invalid("a table lies at %#x, not at a cluster's begin", at)
		}
		err := f.table(at, perTable, entry, func(_ uint64, e []byte) error {
			v := be.Uint64(e)
			at := v & offsetMask
			if v>>62&1 != 0 { // compressed: the offset has fewer bits, and no alignment
				at = v & (1<<(62-(bits-8)) - 1)
			}
			if at >= uint64(f.size) {
				return invalid("the file is cut off: data should be at %d, it has %d bytes", at, f.size)
			}
			return nil
		})
		if err != nil {
			return err
		}
	}
	return nil
}
