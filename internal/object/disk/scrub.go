package disk

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"sync/atomic"
	"time"

	"karri.dev/internal/object"
)

// The scrubber reads every data file again and again, slowly, and checks its blocks; for that it needs no key. What
// is in the index Pebble checks by itself. Damage is told and counted, and nothing is changed: a read of the damaged
// object is an error, also before.

// scrubPause is how long a round waits after the one before.
const scrubPause = time.Hour

// Scrubbed is what the scrubber has done since Open.
type Scrubbed struct {
	Rounds  int64 // that came to their end
	Files   int64
	Bytes   int64
	Damaged int64 // files that were found damaged, each time that they were
}

type scrubbed struct{ rounds, files, bytes, damaged atomic.Int64 }

// Scrubbed gives the scrubber's counts.
func (e *Engine) Scrubbed() Scrubbed {
	s := &e.scrubbed
	return Scrubbed{s.rounds.Load(), s.files.Load(), s.bytes.Load(), s.damaged.Load()}
}

// scrubLoop scrubs until the engine closes.
func (e *Engine) scrubLoop() {
	for e.sleep(scrubPause) {
		if err := e.scrub(); err != nil && e.closing.Err() == nil {
			e.log.Error("object engine: scrub", "err", err)
		}
	}
}

// scrub runs one round.
func (e *Engine) scrub() error {
	for i := range folderCount {
		ids, err := e.data.list(i)
		if err != nil {
			return err
		}
		for _, id := range ids {
			if e.closing.Err() != nil {
				return nil
			}
			if err := e.scrubFile(id); err != nil {
				return fmt.Errorf("file %x: %w", id, err)
			}
		}
	}
	e.scrubbed.rounds.Add(1)
	return nil
}

// scrubFile checks one file, unless it is garbage or being written.
func (e *Engine) scrubFile(id uint64) error {
	var named bool
	if err := e.look(func(r reader) (err error) { named, err = r.has(fileKey(id)); return err }); err != nil || !named {
		return err
	}
	f, err := e.data.open(id)
	if errors.Is(err, fs.ErrNotExist) {
		return nil // dropped meanwhile
	}
	if err == nil {
		err = e.scrubBlocks(f, id)
		err = errors.Join(err, f.Close())
	}
	e.scrubbed.files.Add(1)
	if err != nil {
		e.scrubbed.damaged.Add(1)
		e.log.Error("object engine: a data file is damaged", "file", e.data.name(id), "err", err)
	}
	return nil
}

func (e *Engine) scrubBlocks(f io.Reader, id uint64) error {
	buffer := buffers.Get().(*[]byte)
	defer buffers.Put(buffer)
	for index := int64(0); ; {
		n, err := io.ReadFull(f, *buffer)
		last := err == io.EOF || err == io.ErrUnexpectedEOF
		if err != nil && !last {
			return fmt.Errorf("read: %w", err)
		}
		for raw := (*buffer)[:n]; len(raw) > 0; index++ {
			size := min(blockSize, len(raw))
			if _, ok := openBlock(raw[:size], id, index); !ok {
				return fmt.Errorf("block %d: %w", index, object.ErrCorrupt)
			}
			raw = raw[size:]
		}
		e.scrubbed.bytes.Add(int64(n))
		// The pace is by time asleep, so that a busy machine is left alone all the more.
		if last || !e.sleep(time.Duration(n)*time.Second/time.Duration(e.cfg.ScrubRate)) {
			return nil
		}
	}
}

// sleep says false when the engine closes meanwhile.
func (e *Engine) sleep(d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-e.closing.Done():
		return false
	}
}
