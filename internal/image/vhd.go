package image

import (
	"encoding/binary"
)

func inspectVHD(f file, maxSize int64) (Info, error) {
	if f.size < 1024 {
		return Info{}, invalid("the file is not a VHD image")
	}
	footer, err := f.bytes(uint64(f.size)-512, 512)
	if err != nil {
		return Info{}, err
	}
	if string(footer[:8]) != "conectix" {
		if h, err := f.bytes(0, 8); err == nil && string(h) == "conectix" {
			return Info{}, invalid("the file is cut off: its footer is missing")
		}
		return Info{}, invalid("the file is not a VHD image")
	}
	if !vhdChecksum(footer, 64) {
		return Info{}, invalid("the footer's checksum is wrong")
	}
	be := binary.BigEndian
	size := be.Uint64(footer[48:])
	if err := checkSize(size, maxSize); err != nil {
		return Info{}, err
	}
	if size%512 != 0 {
		return Info{}, invalid("the disk's size of %d bytes is no whole number of sectors", size)
	}
	switch kind := be.Uint32(footer[60:]); kind {
	case 2: // fixed: the raw disk, then the footer
		if size != uint64(f.size)-512 {
			return Info{}, invalid("the disk should have %d bytes, the file has %d: it is cut off", size, f.size-512)
		}
		return Info{Format: Raw, VirtualSize: int64(size), Length: int64(size)}, nil
	case 3:
		return Info{Format: VHD, VirtualSize: int64(size), Length: f.size}, vhdDynamic(f, footer, size)
	case 4:
		return Info{}, invalid("the image has a parent: merge it first")
	default:
		return Info{}, invalid("VHD disk type %d is not supported", kind)
	}
}

func vhdDynamic(f file, footer []byte, size uint64) error {
	be := binary.BigEndian
	first, err := f.bytes(0, 512) // qemu reads this copy of the footer
	if err != nil {
		return err
	}
	if string(first) != string(footer) {
		return invalid("the copy of the footer differs from it")
	}
	h, err := f.bytes(be.Uint64(footer[16:]), 1024)
	if err != nil {
		return err
	}
	if string(h[:8]) != "cxsparse" || !vhdChecksum(h, 36) {
		return invalid("the dynamic disk header is damaged")
	}
	for _, b := range h[40:56] { // parent's id
		if b != 0 {
			return invalid("the image has a parent: merge it first")
		}
	}
	entries, block := uint64(be.Uint32(h[28:])), uint64(be.Uint32(h[32:]))
	if block < 4096 || block > 256<<20 || block&(block-1) != 0 {
		return invalid("blocks of %d bytes", block)
	}
	if entries < (size+block-1)/block {
		return invalid("%d blocks are not enough for the disk", entries)
	}
	bitmap := (block/512/8 + 511) &^ 511
	return f.table(be.Uint64(h[16:]), entries, 4, func(i uint64, e []byte) error {
		at := be.Uint32(e)
		if at != 0xffffffff && !f.holds(uint64(at)*512, bitmap+block) {
			return invalid("the file is cut off: block %d should be at %d, it has %d bytes", i, uint64(at)*512, f.size)
		}
		return nil
	})
}

// vhdChecksum checks a header's checksum: the complement of the sum of all bytes but its own four.
func vhdChecksum(h []byte, at int) bool {
	var sum uint32
	for i, b := range h {
		if i < at || i >= at+4 {
			sum += uint32(b)
		}
	}
	return ^sum == binary.BigEndian.Uint32(h[at:])
}
