package image

import (
	"encoding/binary"
	"encoding/hex"
	"hash/crc32"
	"strings"
)

// GUIDs of VHDX regions and metadata items, as their bytes are on disk.
var (
	vhdxBAT      = guid("2DC27766-F623-4200-9D64-115E9BFD4A08")
	vhdxMetadata = guid("8B7CA206-4790-4B9A-B8FE-575F050F886E")

	vhdxFileParameters = guid("CAA16737-FA36-4D43-B3B6-33F0AA44E76B")
	vhdxSize           = guid("2FA54224-CD1B-4876-B211-5DBED83BF4B8")
	vhdxParent         = guid("A8D35F2D-B30B-454D-ABF7-D3D84834AB0C")
)

func guid(s string) string {
	b, err := hex.DecodeString(strings.ReplaceAll(s, "-", ""))
	if err != nil {
		panic(err)
	}
	return string([]byte{b[3], b[2], b[1], b[0], b[5], b[4], b[7], b[6]}) + string(b[8:])
}

// castagnoli checks a structure whose checksum is its second word.
func castagnoli(b []byte) bool {
	want := binary.LittleEndian.Uint32(b[4:])
	c := append([]byte(nil), b...)
	clear(c[4:8])
	return crc32.Checksum(c, crc32.MakeTable(crc32.Castagnoli)) == want
}

func inspectVHDX(f file, maxSize int64) (int64, error) {
	if b, err := f.bytes(0, 8); err != nil || string(b) != "vhdxfile" {
		return 0, invalid("the file is not a VHDX image")
	}
	if err := vhdxHeaders(f); err != nil {
		return 0, err
	}
	regions, err := vhdxRegions(f, 192<<10)
	if err != nil {
		if regions, err = vhdxRegions(f, 256<<10); err != nil {
			return 0, err
		}
	}
	bat, meta := regions[vhdxBAT], regions[vhdxMetadata]
	if bat.length == 0 || meta.length == 0 {
		return 0, invalid("the region table lacks a region")
	}
	block, size, err := vhdxItems(f, meta)
	if err != nil {
		return 0, err
	}
	if err := checkSize(size, maxSize); err != nil {
		return 0, err
	}
	if block < 1<<20 || block > 256<<20 || block&(block-1) != 0 {
		return 0, invalid("blocks of %d bytes", block)
	}
	entries := (size + block - 1) / block
	entries += (entries - 1) / vhdxChunk(block)
	if entries*8 > bat.length {
		return 0, invalid("the block table is too short for the disk")
	}
	return int64(size), f.table(bat.offset, entries, 8, func(i uint64, e []byte) error {
		v := binary.LittleEndian.Uint64(e)
		state, at := v&7, v>>20<<20
		if (state == 6 || state == 7) && !f.holds(at, block) {
			return invalid("the file is cut off: block %d should be at %d, it has %d bytes", i, at, f.size)
		}
		return nil
	})
}

// vhdxChunk is after how many data blocks the table has an entry for a sector bitmap, which is unused without a parent.
func vhdxChunk(block uint64) uint64 {
	const sectorsPerBitmap = 1 << 23
	return max(1, sectorsPerBitmap*512/block)
}

// vhdxHeaders checks that a header is whole and that the log is empty.
func vhdxHeaders(f file) error {
	var newest []byte
	for _, at := range []uint64{64 << 10, 128 << 10} {
		h, err := f.bytes(at, 4096)
		if err != nil {
			return err
		}
		if string(h[:4]) != "head" || !castagnoli(h) {
			continue
		}
		if newest == nil || binary.LittleEndian.Uint64(h[8:]) > binary.LittleEndian.Uint64(newest[8:]) {
			newest = h
		}
	}
	if newest == nil {
		return invalid("both headers are damaged")
	}
	for _, b := range newest[48:64] { // the log's id
		if b != 0 {
			return invalid("the image was not closed cleanly: its log must be replayed first")
		}
	}
	return nil
}

type region struct{ offset, length uint64 }

func vhdxRegions(f file, at uint64) (map[string]region, error) {
	t, err := f.bytes(at, 64<<10)
	if err != nil {
		return nil, err
	}
	le := binary.LittleEndian
	n := le.Uint32(t[8:])
	if string(t[:4]) != "regi" || n > 2047 || !castagnoli(t) {
		return nil, invalid("the region table is damaged")
	}
	out := map[string]region{}
	for i := range n {
		e := t[16+32*i:]
		id, r := string(e[:16]), region{le.Uint64(e[16:]), uint64(le.Uint32(e[24:]))}
		if id != vhdxBAT && id != vhdxMetadata {
			if le.Uint32(e[28:])&1 != 0 {
				return nil, invalid("the image has an unknown required region")
			}
			continue
		}
		if _, twice := out[id]; twice || !f.holds(r.offset, r.length) {
			return nil, invalid("the file is cut off, or its regions are damaged")
		}
		out[id] = r
	}
	return out, nil
}

// vhdxItems gives block size and virtual size, and refuses parents.
func vhdxItems(f file, meta region) (block, size uint64, err error) {
	t, err := f.bytes(meta.offset, min(meta.length, 64<<10))
	if err != nil {
		return 0, 0, err
	}
	if len(t) < 64<<10 || string(t[:8]) != "metadata" {
		return 0, 0, invalid("the metadata table is damaged")
	}
	le := binary.LittleEndian
	n := le.Uint16(t[10:])
	if n > 2047 {
		return 0, 0, invalid("the metadata table is damaged")
	}
	for i := range int(n) {
		e := t[32+32*i:]
		offset, length := uint64(le.Uint32(e[16:])), uint64(le.Uint32(e[20:]))
		if offset > meta.length || length > meta.length-offset {
			return 0, 0, invalid("the metadata table is damaged")
		}
		id := string(e[:16])
		if id == vhdxParent {
			return 0, 0, invalid("the image has a parent: merge it first")
		}
		if id != vhdxFileParameters && id != vhdxSize {
			continue
		}
		v, err := f.bytes(meta.offset+offset, 8)
		if err != nil {
			return 0, 0, err
		}
		if id == vhdxSize {
			size = le.Uint64(v)
			continue
		}
		block = uint64(le.Uint32(v))
		if le.Uint32(v[4:])&2 != 0 {
			return 0, 0, invalid("the image has a parent: merge it first")
		}
	}
	return block, size, nil
}
