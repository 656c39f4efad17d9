package file

import (
	"encoding/binary"
	"errors"
	"io"
	"os"
)

// Facts of the qcow2 format, from its specification in QEMU's tree.
const (
	qcow2Magic  = 0x514649fb // "QFI\xfb"
	headerSize  = 104
	clusterBits = 16
	cluster     = 1 << clusterBits
	perL1       = cluster * (cluster / 8) // bytes of disk under one L1 entry
	l1Entries   = maxSize / perL1
	l1Clusters  = l1Entries * 8 / cluster
	sizeOffset  = 24
)

// writeQcow2 makes an empty qcow2 file. It names no base: who opens it says what is below. Its L1 table is made
// for the largest size at once (it is a hole), so that the volume grows by its header alone. Clusters: header,
// refcount table, refcount block, L1 table.
func writeQcow2(f *os.File, size int64) error {
	be := binary.BigEndian
	h := make([]byte, 3*cluster)
	be.PutUint32(h[0:], qcow2Magic)
	be.PutUint32(h[4:], 3)
	be.PutUint32(h[20:], clusterBits)
	be.PutUint64(h[sizeOffset:], uint64(size))
	be.PutUint32(h[36:], l1Entries)
	be.PutUint64(h[40:], 3*cluster) // L1 table: nothing allocated
	be.PutUint64(h[48:], 1*cluster) // refcount table
	be.PutUint32(h[56:], 1)         // its clusters
	be.PutUint32(h[96:], 4)         // refcounts of 1<<4 bits
	be.PutUint32(h[100:], headerSize)
	be.PutUint64(h[cluster:], 2*cluster) // the one refcount block
	const clusters = 3 + l1Clusters
	for i := range clusters {
		be.PutUint16(h[2*cluster+2*i:], 1)
	}
	if _, err := f.WriteAt(h, 0); err != nil {
		return err
	}
	return f.Truncate(clusters * cluster)
}

// growQcow2 makes the disk in a file of ours larger.
func growQcow2(f *os.File, size int64) error {
	h := make([]byte, headerSize)
	if _, err := io.ReadFull(io.NewSectionReader(f, 0, headerSize), h); err != nil {
		return err
	}
	be := binary.BigEndian
	if be.Uint32(h) != qcow2Magic || be.Uint32(h[36:]) != l1Entries {
		return errors.New("not one of our qcow2 files")
	}
	if int64(be.Uint64(h[sizeOffset:])) >= size {
		return nil
	}
	be.PutUint64(h[sizeOffset:], uint64(size))
	_, err := f.WriteAt(h[sizeOffset:sizeOffset+8], sizeOffset)
	return errors.Join(err, f.Sync())
}
