// Package image looks into disk images that strangers made, and converts them.
//
// Inspect reads headers only, in Go, and accepts no more than it understands: an image that refers to
// anything outside itself, that is absurdly large, or that is cut off is refused before any other program
// sees it. Open then reads the disk, also in Go. Converter writes the formats of others: it runs qemu-img in a jail with
// limits, with every driver named.
package image

import (
	"errors"
	"fmt"
	"io"
)

// Format is how a disk image is written.
type Format string

const (
	Raw   Format = "raw"
	QCOW2 Format = "qcow2"
	VMDK  Format = "vmdk"
	VHD   Format = "vhd"
	VHDX  Format = "vhdx"
	OVA   Format = "ova"
)

// DefaultMaxSize is the largest virtual size of a disk, in bytes, that is accepted.
const DefaultMaxSize = 1 << 40

// Info is what Inspect found out.
type Info struct {
	Format         Format // of the disk itself: never OVA
	VirtualSize    int64  // bytes, a multiple of 512
	Offset, Length int64  // where in the file the disk lies
}

// Invalid says why an image is refused, in words for its owner.
type Invalid struct{ Reason string }

func (e *Invalid) Error() string { return e.Reason }

func invalid(format string, args ...any) error { return &Invalid{fmt.Sprintf(format, args...)} }

// Inspect checks that the file r of size bytes is a whole image of the declared format, with a virtual size up
// to maxSize (0: DefaultMaxSize). The error is an *Invalid if that is the image's fault.
//
// A raw image is never looked into: whatever it begins with is the guest's business.
func Inspect(r io.ReaderAt, size int64, declared Format, maxSize int64) (Info, error) {
	if maxSize == 0 {
		maxSize = DefaultMaxSize
	}
	f := file{r, size}
	info := Info{Format: declared, Length: size}
	var err error
	switch declared {
	case Raw:
		info.VirtualSize = size
		if size == 0 || size%512 != 0 {
			err = invalid("a raw image must be a whole number of 512-byte sectors, this one has %d bytes", size)
		}
	case QCOW2:
		info.VirtualSize, err = inspectQCOW2(f, maxSize)
	case VMDK:
		info.VirtualSize, err = inspectVMDK(f, maxSize)
	case VHD:
		info, err = inspectVHD(f, maxSize)
	case VHDX:
		info.VirtualSize, err = inspectVHDX(f, maxSize)
	case OVA:
		var list []Info
		if list, err = inspectOVA(f, maxSize); len(list) == 1 {
			info = list[0]
		} else if err == nil {
			err = invalid("the OVF has %d disks: exactly one is supported here", len(list))
		}
	default:
		err = invalid("the format %q is not supported", declared)
	}
	if err = cutOff(err); err == nil && info.VirtualSize > maxSize {
		err = tooLarge(uint64(info.VirtualSize), maxSize)
	}
	if err != nil {
		return Info{}, err
	}
	info.VirtualSize = (info.VirtualSize + 511) &^ 511
	return info, nil
}

func cutOff(err error) error {
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return invalid("the file is cut off, or its headers point outside it")
	}
	return err
}

// InspectAll is Inspect for files that may have several disks: archives.
func InspectAll(r io.ReaderAt, size int64, declared Format, maxSize int64) ([]Info, error) {
	if declared != OVA {
		info, err := Inspect(r, size, declared, maxSize)
		return []Info{info}, err
	}
	if maxSize == 0 {
		maxSize = DefaultMaxSize
	}
	list, err := inspectOVA(file{r, size}, maxSize)
	return list, cutOff(err)
}

// Detect says what a file is written as, by what it begins and ends with. It is for files that their owner names on
// this machine; what comes in over the network has a declared format, and a guest's own disk is never guessed.
func Detect(f io.ReadSeeker) (Format, error) {
	var head, tail [512]byte
	if _, err := io.ReadFull(f, head[:]); err != nil {
		return "", fmt.Errorf("read the image: %w", err)
	}
	if _, err := f.Seek(-512, io.SeekEnd); err != nil {
		return "", err
	}
	if _, err := io.ReadFull(f, tail[:]); err != nil {
		return "", fmt.Errorf("read the image: %w", err)
	}
	switch {
	case string(head[:4]) == "QFI\xfb":
		return QCOW2, nil
	case string(head[:4]) == "KDMV":
		return VMDK, nil
	case string(head[:8]) == "vhdxfile":
		return VHDX, nil
	case string(tail[:8]) == "conectix":
		return VHD, nil
	case string(head[257:262]) == "ustar":
		return OVA, nil
	}
	return Raw, nil
}

func tooLarge(size uint64, limit int64) error {
	return invalid("the disk's size of %d bytes exceeds the limit of %d GiB", size, limit>>30)
}

// checkSize refuses virtual sizes that make no sense; it comes before anything that is computed from one.
func checkSize(size uint64, limit int64) error {
	if size == 0 {
		return invalid("the disk's size is 0")
	}
	if size > uint64(limit) {
		return tooLarge(size, limit)
	}
	return nil
}

// file is an image with its size. Reads outside it fail with io.ErrUnexpectedEOF; offsets come from headers
// and may be anything.
type file struct {
	r    io.ReaderAt
	size int64
}

// holds says whether the file has n bytes at offset.
func (f file) holds(offset, n uint64) bool {
	return n <= uint64(f.size) && offset <= uint64(f.size)-n
}

// bytes reads n bytes; n must be bounded by the caller.
func (f file) bytes(offset, n uint64) ([]byte, error) {
	if !f.holds(offset, n) {
		return nil, io.ErrUnexpectedEOF
	}
	b := make([]byte, n)
	if got, err := f.r.ReadAt(b, int64(offset)); uint64(got) < n {
		return nil, err
	}
	return b, nil
}

// table walks n entries of width bytes at offset, in pieces.
func (f file) table(offset, n, width uint64, each func(i uint64, entry []byte) error) error {
	if n > uint64(f.size)/width {
		return io.ErrUnexpectedEOF
	}
	const piece = 8 << 10
	for i := uint64(0); i < n; i += piece {
		count := min(piece, n-i)
		b, err := f.bytes(offset+i*width, count*width)
		if err != nil {
			return err
		}
		for j := range count {
			if err := each(i+j, b[j*width:(j+1)*width]); err != nil {
				return err
			}
		}
	}
	return nil
}
