package disk

import (
	"errors"
	"fmt"
	"io"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"karri.dev/internal/object"
)

// The scrubber reads every data file again and again, slowly, and checks its blocks; for that it needs no key. What
// is in the index Pebble checks by itself; what buckets hold is counted again. Damage is told and counted, and nothing is changed: a read of the damaged
// object is an error, also before.

// scrubPause is how long a round waits after the one before.
const scrubPause = time.Hour

// Scrubbed is what the scrubber has done since Open.
type Scrubbed struct {
	Rounds  int64 // that came to their end
	Files   int64
	Bytes   int64
	Recount int64     // buckets that were found to hold something else than was counted; mended
	Damaged int64     // files that were found damaged, each time that they were
	Ended   time.Time // the last round; zero if none has
	Found   []Damage  // in that round, at most maxFound
}

// Damage is a damaged file and, if it was still there when the round ended, an object that it belongs to.
type Damage struct {
	Folder, File string
	Problem      string
	Bucket       string `json:",omitempty"` // as the engine knows it
	Key, Version string `json:",omitempty"`

	id uint64
}

// maxFound bounds what is remembered of a round.
const maxFound = 1000

type scrubbed struct {
	files, bytes atomic.Int64
	now          chan struct{} // begin a round

	mu   sync.Mutex
	sum  Scrubbed // without files and bytes
	here []Damage // found in the round under way
}

// Scrubbed gives the scrubber's counts.
func (e *Engine) Scrubbed() Scrubbed {
	s := &e.scrubbed
	s.mu.Lock()
	defer s.mu.Unlock()
	out := s.sum
	out.Files, out.Bytes, out.Found = s.files.Load(), s.bytes.Load(), slices.Clone(s.sum.Found)
	return out
}

// ScrubNow begins a round, unless one is under way.
func (e *Engine) ScrubNow() {
	select {
	case e.scrubbed.now <- struct{}{}:
	default:
	}
}

func (s *scrubbed) damage(d Damage) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.sum.Damaged++; len(s.here) < maxFound {
		s.here = append(s.here, d)
	}
}

func (s *scrubbed) miscounted(buckets int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.sum.Recount += int64(buckets)
}

// ended counts a round.
func (s *scrubbed) ended(at time.Time, found []Damage) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.sum.Rounds++
	s.sum.Ended, s.sum.Found, s.here = at, found, nil
}

// scrubLoop scrubs until the engine closes.
func (e *Engine) scrubLoop() {
	timer := time.NewTimer(scrubPause)
	defer timer.Stop()
	for {
		select {
		case <-timer.C:
		case <-e.scrubbed.now:
		case <-e.closing.Done():
			return
		}
		if err := e.scrub(); err != nil && e.closing.Err() == nil {
			e.log.Error("object engine: scrub", "err", err)
		}
		timer.Reset(scrubPause)
	}
}

// scrub runs one round.
func (e *Engine) scrub() error {
	wrong, err := e.recount()
	if err != nil {
		return err
	}
	e.scrubbed.miscounted(wrong)
	for _, p := range e.places {
		if e.cfg.ScrubRate < 0 {
			break
		}
		files, err := p.files()
		if err != nil {
			continue // what is not there is told elsewhere
		}
		err = files.Each(e.closing, func(id uint64) error {
			if e.closing.Err() != nil {
				return errClosed
			}
			return e.scrubFile(files, p.dir, id)
		})
		if err != nil {
			return fmt.Errorf("%s: %w", p.dir, err)
		}
	}
	e.scrubbed.mu.Lock()
	found := slices.Clone(e.scrubbed.here)
	e.scrubbed.mu.Unlock()
	err = e.look(func(r reader) error { return r.owners(found) })
	e.scrubbed.ended(e.cfg.Now(), found)
	return err
}

// scrubFile checks one file, unless it is garbage or being written.
func (e *Engine) scrubFile(files Files, dir string, id uint64) error {
	named := func() (named bool, err error) {
		err = e.look(func(r reader) (err error) { named, err = r.has(fileKey(id)); return err })
		return named, err
	}
	if ok, err := named(); err != nil || !ok {
		return err
	}
	r, err := files.Read(e.closing, id, 0, -1)
	if err == nil {
		err = errors.Join(e.scrubBlocks(r, id), r.Close())
	}
	if err != nil {
		if ok, nerr := named(); nerr != nil || !ok || e.closing.Err() != nil {
			return nerr // dropped meanwhile
		}
		e.scrubbed.damage(Damage{Folder: dir, File: fmt.Sprintf("%x", id), Problem: err.Error(), id: id})
		e.log.Error("object engine: a data file is damaged", "folder", dir, "file", fmt.Sprintf("%x", id), "err", err)
	}
	e.scrubbed.files.Add(1)
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

// owners finds the objects that damaged files belong to, in one pass over all versions: it happens rarely.
func (r reader) owners(found []Damage) error {
	if len(found) == 0 {
		return nil
	}
	at := make(map[uint64]*Damage, len(found))
	for i := range found {
		at[found[i].id] = &found[i]
	}
	for _, table := range []byte{tableObjects, tableOlder} {
		if err := r.ownersIn(table, at); err != nil {
			return err
		}
	}
	return nil
}

func (r reader) ownersIn(table byte, at map[uint64]*Damage) (err error) {
	it, err := r.scan([]byte{table})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, closeScan(it)) }()
	for ok := it.First(); ok; ok = it.Next() {
		value, err := it.ValueAndErr()
		if err != nil {
			return fmt.Errorf("scan object index: %w", damaged(err))
		}
		bucket, key, good := splitKey(it.Key())
		o, err := r.decode(value, key, false)
		if err != nil || !good {
			continue // told elsewhere
		}
		files := []content{o.content}
		if o.content.kind == parts {
			list, err := r.parts(o.content.id)
			if err != nil {
				continue
			}
			for _, p := range list {
				files = append(files, p.content)
			}
		}
		for _, c := range files {
			if d := at[c.id]; d != nil && c.kind == file {
				d.Bucket, d.Key, d.Version = bucket, o.Key, o.VersionID
			}
		}
	}
	return nil
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
