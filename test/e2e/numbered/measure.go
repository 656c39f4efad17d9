package numbered

import (
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"syscall"
	"time"
	"unsafe"
)

// measured is how much of a disk is used to measure.
const measured = 256 << 20

// aligned gives a buffer for O_DIRECT.
func aligned(size int) []byte {
	buffer := make([]byte, size+Block)
	return buffer[Block-int(uintptr(unsafe.Pointer(&buffer[0]))%Block):][:size]
}

// Measure says in one line how fast a disk is, past the page cache: bytes a second read and written in pieces of 1 MiB, and
// reads and synced writes a second of 4 KiB at random places.
func Measure(path string, length time.Duration, w io.Writer) error {
	disk, err := os.OpenFile(path, os.O_RDWR|syscall.O_DIRECT, 0)
	if err != nil {
		return err
	}
	defer disk.Close()
	piece := aligned(1 << 20)
	for i := range piece {
		piece[i] = byte(i)
	}
	next := int64(-len(piece))
	sequential := func() int64 { next = (next + int64(len(piece))) % measured; return next }
	random := func() int64 { return rand.Int64N(measured/Block) * Block }
	write := func(at int64) error { _, err := disk.WriteAt(piece, at); return err }
	for range measured / len(piece) { // what was never written costs otherwise
		if err := write(sequential()); err != nil {
			return err
		}
	}
	rate := func(f func() error) (float64, error) {
		n, began := 0, time.Now()
		for ; time.Since(began) < length; n++ {
			if err := f(); err != nil {
				return 0, err
			}
		}
		return float64(n) / time.Since(began).Seconds(), nil
	}
	for _, f := range []func() error{
		func() error { _, err := disk.ReadAt(piece, sequential()); return err },
		func() error { return write(sequential()) },
		func() error { _, err := disk.ReadAt(piece[:Block], random()); return err },
		func() error { return synced(disk, piece[:Block], random()) },
	} {
		r, err := rate(f)
		if err != nil {
			return err
		}
		fmt.Fprintf(w, "%.2f ", r)
	}
	_, err = fmt.Fprintln(w)
	return err
}

func synced(disk *os.File, block []byte, at int64) error {
	if _, err := disk.WriteAt(block, at); err != nil {
		return err
	}
	return syscall.Fdatasync(int(disk.Fd()))
}

// Sync makes count synced writes and says how many milliseconds the longest took.
func Sync(path string, count int, w io.Writer) error {
	disk, err := os.OpenFile(path, os.O_RDWR|syscall.O_DIRECT, 0)
	if err != nil {
		return err
	}
	defer disk.Close()
	block, longest := aligned(Block), time.Duration(0)
	for i := range count {
		began := time.Now()
		if err := synced(disk, block, int64(i)*stride); err != nil {
			return err
		}
		longest = max(longest, time.Since(began))
	}
	_, err = fmt.Fprintf(w, "%.1f\n", float64(longest.Microseconds())/1000)
	return err
}
