package debian

import (
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"io"
	"os"
	"unicode/utf16"
)

// The disk, as Debian's own cloud images have it: a partition for the BIOS's boot loader, one for UEFI's, and last
// the root file system, which can grow. Bytes.
const (
	sector    = 512
	biosStart = 1 << 20
	espStart  = 4 << 20
	rootStart = 128 << 20
	gptTail   = 1 << 20 // the table's copy lies there
)

// Types of partitions, as they lie on disk.
var (
	typeLinux = [16]byte{0xe3, 0xbc, 0x68, 0x4f, 0xcd, 0xe8, 0xb1, 0x4d, 0x96, 0xe7, 0xfb, 0xca, 0xf9, 0x84, 0xb7, 0x09} // root, x86-64
	typeBIOS  = [16]byte{'H', 'a', 'h', '!', 'I', 'd', 'o', 'n', 't', 'N', 'e', 'e', 'd', 'E', 'F', 'I'}
	typeESP   = [16]byte{0x28, 0x73, 0x2a, 0xc1, 0x1f, 0xf8, 0xd2, 0x11, 0xba, 0x4b, 0x00, 0xa0, 0xc9, 0x3e, 0xc9, 0x3b}
)

// writeGPT writes the partition table and its copy.
func writeGPT(f *os.File, size int64, random io.Reader) error {
	if size%sector != 0 || size < rootStart+512<<20 {
		return fmt.Errorf("a disk of %d bytes is too small", size)
	}
	le := binary.LittleEndian
	entries := make([]byte, 128*128)
	for _, p := range []struct {
		number     int
		kind       [16]byte
		start, end int64
		name       string
	}{{1, typeLinux, rootStart, size - gptTail, "root"}, {14, typeBIOS, biosStart, espStart, "bios"}, {15, typeESP, espStart, rootStart, "efi"}} {
		e := entries[(p.number-1)*128:]
		copy(e, p.kind[:])
		if _, err := io.ReadFull(random, e[16:32]); err != nil {
			return err
		}
		le.PutUint64(e[32:], uint64(p.start/sector))
		le.PutUint64(e[40:], uint64(p.end/sector-1))
		for i, c := range utf16.Encode([]rune(p.name)) {
			le.PutUint16(e[56+2*i:], c)
		}
	}
	var id [16]byte
	if _, err := io.ReadFull(random, id[:]); err != nil {
		return err
	}
	sectors := uint64(size / sector)
	header := func(at, other, table uint64) []byte {
		h := make([]byte, sector)
		copy(h, "EFI PART\x00\x00\x01\x00\x5c\x00\x00\x00")
		le.PutUint64(h[24:], at)
		le.PutUint64(h[32:], other)
		le.PutUint64(h[40:], 34)
		le.PutUint64(h[48:], sectors-34)
		copy(h[56:], id[:])
		le.PutUint64(h[72:], table)
		le.PutUint32(h[80:], 128)
		le.PutUint32(h[84:], 128)
		le.PutUint32(h[88:], crc32.ChecksumIEEE(entries))
		le.PutUint32(h[16:], crc32.ChecksumIEEE(h[:92]))
		return h
	}
	mbr := make([]byte, sector) // protects the disk from what does not know GPT
	copy(mbr[446:], []byte{0, 0, 2, 0, 0xee, 0xff, 0xff, 0xff, 1, 0, 0, 0})
	le.PutUint32(mbr[458:], uint32(min(sectors-1, 0xffffffff)))
	mbr[510], mbr[511] = 0x55, 0xaa
	for _, w := range []struct {
		data []byte
		at   uint64
	}{{mbr, 0}, {header(1, sectors-1, 2), 1}, {entries, 2}, {entries, sectors - 33}, {header(sectors-1, 1, sectors-33), sectors - 1}} {
		if _, err := f.WriteAt(w.data, int64(w.at)*sector); err != nil {
			return err
		}
	}
	return nil
}
