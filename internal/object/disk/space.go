package disk

import (
	"fmt"
	"sync"
	"time"

	"karri.dev/internal/object"
)

// spaceFor is how long what was found free is believed. What can be written in that time must be small against the reserve.
const spaceFor = 10 * time.Millisecond

// spaceCheck remembers what was found free.
type spaceCheck struct {
	mu   sync.Mutex
	at   time.Time
	last error
}

// checkSpace refuses to write when less than the reserve is free.
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
	u, err := e.fs.GetDiskUsage(e.cfg.Dir)
	if err != nil {
		return fmt.Errorf("object engine's disk usage: %w", err)
	}
	reserve := uint64(e.cfg.Reserve)
	if reserve == 0 {
		reserve = min(256<<20, u.TotalBytes/20)
	}
	if u.AvailBytes < reserve {
		return fmt.Errorf("%w: %d bytes free, %d kept in reserve", object.ErrNoSpace, u.AvailBytes, reserve)
	}
	return nil
}
