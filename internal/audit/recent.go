package audit

import (
	"bufio"
	"encoding/json"
	"errors"
	"io"
	"io/fs"
	"os"
	"sync"
	"time"
)

// Recent is a Sink that keeps the last management events in memory, for CloudTrail's LookupEvents. Each cloud
// process knows those that it served itself.
type Recent struct {
	mu     sync.RWMutex
	ring   []*Event // once full, next is the oldest
	next   int
	serial uint64 // of the newest event; they count from 1
}

// NewRecent makes a Recent of that many events.
func NewRecent(size int) *Recent { return &Recent{ring: make([]*Event, 0, size)} }

// Record keeps the event. Nobody may change it any more.
func (r *Recent) Record(e *Event) {
	if !e.Management || e.Recipient == "" {
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.serial++
	if len(r.ring) < cap(r.ring) {
		r.ring = append(r.ring, e)
		return
	}
	r.ring[r.next] = e
	r.next = (r.next + 1) % len(r.ring)
}

// Query says which events are wanted; zero times are no limits.
type Query struct {
	Account    string
	Region     string
	Start, End time.Time
	Match      func(*Event) bool // nil: all
	Before     uint64            // only events with lower serials; 0: all
	Max        int
}

// Find gives events, the newest first, and the serial to go on before; 0 at the end.
func (r *Recent) Find(q Query) (found []*Event, next uint64) {
	r.mu.RLock()
	defer r.mu.RUnlock()
	n := len(r.ring)
	var last uint64
	for i := range n {
		serial := r.serial - uint64(i)
		if q.Before != 0 && serial >= q.Before {
			continue
		}
		e := r.ring[(r.next+n-1-i)%n]
		if e.Recipient != q.Account || e.Region != q.Region || !q.Start.IsZero() && e.Time.Before(q.Start) ||
			!q.End.IsZero() && e.Time.After(q.End) || q.Match != nil && !q.Match(e) {
			continue
		}
		if len(found) == q.Max {
			return found, last
		}
		found, last = append(found, e), serial
	}
	return found, 0
}

// tail is how much of a log is read at the start: enough for a few ten thousand events.
const tail = 32 << 20

// Load takes up what an earlier process wrote to the log at path. Lines that are not events are left out.
func (r *Recent) Load(path string) error {
	f, err := os.Open(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return err
	}
	if _, err := f.Seek(max(0, info.Size()-tail), io.SeekStart); err != nil {
		return err
	}
	lines := bufio.NewReaderSize(f, 256<<10)
	for {
		line, err := lines.ReadBytes('\n')
		if errors.Is(err, io.EOF) {
			return nil // half a line is no event
		}
		if err != nil {
			return err
		}
		e := new(Event)
		if json.Unmarshal(line, e) == nil && e.EventID != "" {
			r.Record(e)
		}
	}
}
