package qcow2

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
)

// What Create makes: clusters of 64 KiB, and a first-level table for the largest size.
const (
	clusterBits = 16
	cluster     = 1 << clusterBits
	perL1       = cluster * (cluster / 8) // bytes of disk under one of its entries
	l1Entries   = maxSize / perL1
	l1Clusters  = l1Entries * 8 / cluster
	sizeOffset  = 24
	maxNote     = 512
	noteOffset  = headerSize + 8 // after the end of the header's extensions
)

// Target is what a qcow2 file is written to: a file, or a container in one.
type Target interface {
	io.ReaderAt
	io.WriterAt
	Truncate(size int64) error
	Sync() error
}

// Create makes an empty qcow2 file. It names no base: who opens it says what is below. note is kept where the format
// has the name of one, for Note; whoever opens the file must say what is below, or that nothing is. The first-level
// table is made for the largest size at once (it is a hole), so that the disk grows by its header alone. Clusters:
// header, refcount table, refcount block, first-level table.
func Create(f Target, size int64, note string) error {
	if len(note) > maxNote {
		return fmt.Errorf("qcow2: a note of %d bytes", len(note))
	}
	be := binary.BigEndian
	h := make([]byte, 3*cluster)
	be.PutUint32(h[0:], magic)
	be.PutUint32(h[4:], 3)
	if note != "" {
		be.PutUint64(h[8:], noteOffset)
		be.PutUint32(h[16:], uint32(len(note)))
		copy(h[noteOffset:], note)
	}
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

// Note gives the note with which Create made a file.
func Note(f io.ReaderAt) (string, error) {
	h := make([]byte, noteOffset+maxNote)
	if _, err := f.ReadAt(h, 0); err != nil {
		return "", fmt.Errorf("qcow2: %w", err)
	}
	n := binary.BigEndian.Uint32(h[16:])
	switch at := binary.BigEndian.Uint64(h[8:]); {
	case binary.BigEndian.Uint32(h) != magic || n > maxNote || n > 0 && at != noteOffset:
		return "", errors.New("qcow2: not one of our files")
	}
	return string(h[noteOffset : noteOffset+n]), nil
}

// Grow makes the disk in a file of Create's larger. Nobody else may have it open.
func Grow(f Target, size int64) error {
	h := make([]byte, headerSize)
	if _, err := io.ReadFull(io.NewSectionReader(f, 0, headerSize), h); err != nil {
		return err
	}
	be := binary.BigEndian
	if be.Uint32(h) != magic || be.Uint32(h[36:]) != l1Entries {
		return errors.New("not one of our qcow2 files")
	}
	if int64(be.Uint64(h[sizeOffset:])) >= size {
		return nil
	}
	be.PutUint64(h[sizeOffset:], uint64(size))
	_, err := f.WriteAt(h[sizeOffset:sizeOffset+8], sizeOffset)
	return errors.Join(err, f.Sync())
}
