package disk

import (
	"fmt"
	"sync"
	"time"

	"karri.dev/internal/object"
)

// spaceFor is how long what was found free is believed. What can be written in that time must be small against the reserve.
const spaceFor = 10 * time.Millisecond

// spaceCheck remembers what was found free for the index.
type spaceCheck struct {
	mu   sync.Mutex
	at   time.Time
	last error
}

// reserve is how many bytes of a file system stay free.
func (e *Engine) reserve(total int64) int64 {
	if e.cfg.Reserve != 0 {
		return e.cfg.Reserve
	}
	return min(256<<20, total/20)
}

// checkSpace refuses to write when the index has less than the reserve.
func (e *Engine) checkSpace() error {
	s := &e.space
	s.mu.Lock()
	defer s.mu.Unlock()
	if now := time.Now(); s.last != nil || now.Sub(s.at) > spaceFor {
		s.at, s.last = now, e.findSpace()
	}
	return s.last
}

func (e *Engine) findSpace() error {
	total, free, err := usage(e.fs, e.cfg.Dir)
	if err != nil {
		return err
	}
	if reserve := e.reserve(total); free < reserve {
		return fmt.Errorf("%w: %d bytes free, %d kept in reserve", object.ErrNoSpace, free, reserve)
	}
	return nil
}
