package identity

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net/netip"
	"os"
	"sync"
	"time"

	"karri.dev/internal/durable"
)

// How often somebody may be wrong: at once, and then one time per so long.
var (
	userTries   = allowance{10, 30 * time.Second} // one name in one account, whether it is there or not
	sourceTries = allowance{30, 3 * time.Second}  // one address, or one /64 of IPv6
	deviceTries = allowance{10, time.Minute}      // one MFA device
)

type allowance struct {
	burst int
	every time.Duration
}

// triesSize bounds each of the two generations of what is remembered.
const triesSize = 8192

// tries counts wrong guesses. Each try is paid for before it is made, so that many at once are no more than many in
// turn, and what was right is paid back.
type tries struct {
	mu         sync.Mutex
	young, old map[string]*tried
	dirty      bool
	// journal gets each change at once, without waiting for the disk: what is killed, as opposed to a machine whose power
	// fails, gives nobody new guesses. nil: memory only.
	journal *os.File
}

// tried is a bucket that fills with time.
type tried struct {
	Left float64   `json:"left"`
	At   time.Time `json:"at"`
}

// tryKey names a bucket without keeping names that people typed.
func tryKey(kind string, parts ...string) string {
	h := sha256.New()
	h.Write([]byte(kind))
	for _, p := range parts {
		fmt.Fprintf(h, "|%d|%s", len(p), p)
	}
	return hex.EncodeToString(h.Sum(nil)[:16])
}

// sourceKey is the bucket of an address.
func sourceKey(from netip.Addr) string {
	bits := from.Unmap().BitLen()
	if bits == 128 {
		bits = 64
	}
	p, _ := from.Unmap().WithZone("").Prefix(bits)
	return tryKey("source", p.String())
}

// take pays for a try; false: there have been too many.
func (t *tries) take(key string, a allowance, now time.Time) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	b := t.young[key]
	if b == nil {
		if b = t.old[key]; b == nil {
			b = &tried{float64(a.burst), now}
		}
		switch {
		case t.young == nil: // what was loaded stays
			t.young = map[string]*tried{}
		case len(t.young) >= triesSize:
			t.old, t.young = t.young, map[string]*tried{}
		}
		t.young[key] = b
	}
	if d := now.Sub(b.At); d > 0 {
		b.Left, b.At = min(float64(a.burst), b.Left+float64(d)/float64(a.every)), now
	}
	if b.Left < 1 {
		return false
	}
	b.Left--
	t.dirty = true
	t.note(key, b)
	return true
}

// noted is a line of the journal: a bucket as it is, so that lines may be read more than once.
type noted struct {
	Key string `json:"key"`
	tried
}

// note writes a change down. A guess is not worth an error: the file is saved every minute as well.
func (t *tries) note(key string, b *tried) {
	if t.journal == nil {
		return
	}
	if line, err := json.Marshal(noted{key, *b}); err == nil {
		_, _ = t.journal.Write(append(line, '\n'))
	}
}

// giveBack returns what a try that was right has paid.
func (t *tries) giveBack(key string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, generation := range []map[string]*tried{t.young, t.old} {
		if b := generation[key]; b != nil {
			b.Left++
			t.note(key, b)
			return
		}
	}
}

// load reads what an earlier process has saved and what it has noted since, and goes on with its journal.
func (t *tries) load(file string) error {
	data, err := os.ReadFile(file)
	saved := map[string]*tried{}
	if err == nil {
		err = json.Unmarshal(data, &saved)
	}
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("%s: %w", file, err)
	}
	lines, err := os.ReadFile(file + ".journal")
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	for line := range bytes.Lines(lines) {
		var n noted
		if json.Unmarshal(line, &n) == nil { // the last one may be half a line
			saved[n.Key] = &n.tried
		}
	}
	journal, err := os.OpenFile(file+".journal", os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.journal != nil {
		t.journal.Close()
	}
	t.journal, t.dirty = journal, t.dirty || len(lines) > 0
	if len(lines) > 0 && lines[len(lines)-1] != '\n' {
		_, _ = journal.WriteString("\n")
	}
	for key, b := range saved {
		if b != nil && t.young[key] == nil && len(t.old) < triesSize {
			if t.old == nil {
				t.old = map[string]*tried{}
			}
			t.old[key] = b
		}
	}
	return nil
}

// save writes the buckets that are not full yet, if any has changed, and begins the journal anew.
func (t *tries) save(file string, now time.Time) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	if !t.dirty {
		return nil
	}
	open := map[string]tried{}
	for _, generation := range []map[string]*tried{t.old, t.young} {
		for key, b := range generation {
			if now.Sub(b.At) < time.Duration(userTries.burst)*deviceTries.every {
				open[key] = *b
			}
		}
	}
	data, err := json.Marshal(open)
	if err == nil {
		err = durable.WriteFile(file, data, 0o600)
	}
	if err != nil {
		return err
	}
	t.dirty = false
	if t.journal != nil {
		return t.journal.Truncate(0)
	}
	return nil
}
