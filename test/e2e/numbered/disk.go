package numbered

import (
	"fmt"
	"io"
	"os"
	"sync"
	"syscall"
)

// Write writes on, after the writes last, until there is an error, and reports each write in a line "STREAM NUMBER" once it
// is synced.
func Write(disk *os.File, last Numbers, report io.Writer) error {
	var mu sync.Mutex // last, and the report
	failed := make(chan error, Streams)
	for stream := range Streams {
		go func() {
			block := make([]byte, Block)
			for n := last[stream] + 1; ; n++ {
				mu.Lock()
				seen := last
				mu.Unlock()
				Encode(block, stream, n, seen)
				if _, err := disk.WriteAt(block, Offset(stream, n)); err != nil {
					failed <- err
					return
				}
				if err := disk.Sync(); err != nil {
					failed <- err
					return
				}
				mu.Lock()
				last[stream] = n
				_, err := fmt.Fprintln(report, stream, n)
				mu.Unlock()
				if err != nil {
					failed <- err
					return
				}
			}
		}()
	}
	return <-failed
}

// Dump writes the slots of all streams to w. The disk must be open with O_DIRECT: what counts is what it has, not what
// the guest remembers.
func Dump(disk *os.File, w io.Writer) error {
	block := aligned(Block)
	for stream := range Streams {
		for s := range Slots {
			if _, err := disk.ReadAt(block, slotOffset(stream, s)); err != nil {
				return err
			}
			if _, err := w.Write(block); err != nil {
				return err
			}
		}
	}
	return nil
}

// Direct opens a disk past the page cache.
func Direct(path string) (*os.File, error) { return os.OpenFile(path, os.O_RDONLY|syscall.O_DIRECT, 0) }
