package disk

import (
	"context"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math/rand/v2"
	"path"
	"slices"
	"sync"
	"time"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/vfs"

	"karri.dev/internal/object"
)

// A place is where data files are: a disk, or what Config.Files says. A record names the place of each of its files. The
// home place is number 0, beside the index; each further disk has a random number, which is on it in a small file. So a
// disk may be mounted elsewhere, and an empty mount point is not taken for the disk. What is on a disk that is not there
// cannot be read meanwhile, and everything else goes on.

// placesEvery is the period in which places are looked at.
const placesEvery = 5 * time.Second

// avoidFor is how long nothing new is put where a write has failed.
const avoidFor = time.Minute

// markName is the file that says which disk a folder is.
const markName = "karri-objects.json"

type mark struct {
	Engine string `json:"engine"`
	Disk   uint64 `json:"disk"`
}

// place is where data files are.
type place struct {
	id   uint64
	dir  string // for people
	mu   sync.Mutex
	file Files // nil while it is not there
	err  error // why

	avoid time.Time // nothing new until then
	seen  time.Time // when free was found
	free  int64     // above the reserve; negative if less than that
}

// files gives what is there, or ErrOffline.
func (p *place) files() (Files, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.file == nil {
		return nil, fmt.Errorf("%w: %s: %w", object.ErrOffline, p.dir, p.err)
	}
	return p.file, nil
}

// room gives how many bytes may be written here.
func (p *place) room(e *Engine) (int64, error) {
	files, err := p.files()
	if err != nil {
		return 0, err
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if now := time.Now(); p.free <= 0 || now.Sub(p.seen) > spaceFor {
		total, free, err := files.Usage(e.closing)
		if err != nil {
			return 0, err
		}
		p.seen, p.free = now, free-e.reserve(total)
	}
	return p.free, nil
}

// failed keeps new files away for a while.
func (p *place) failed() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.avoid = time.Now().Add(avoidFor)
}

func (p *place) avoided() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return time.Now().Before(p.avoid)
}

// choose finds a place for a new file of size bytes, -1 if unknown: by chance, where more is free more often.
func (e *Engine) choose(size int64) (*place, error) {
	type candidate struct {
		place *place
		room  int64
	}
	var fit, avoided []candidate
	failed := object.ErrNoSpace
	for _, p := range e.places {
		room, err := p.room(e)
		switch {
		case err != nil:
			failed = errors.Join(failed, err)
		case room < max(size, 1):
		case p.avoided():
			avoided = append(avoided, candidate{p, room >> 8}) // so that their sum is in range
		default:
			fit = append(fit, candidate{p, room >> 8})
		}
	}
	if len(fit) == 0 {
		fit = avoided
	}
	if len(fit) == 0 {
		return nil, fmt.Errorf("no place for %d bytes: %w", size, failed)
	}
	sum := int64(0)
	for _, c := range fit {
		sum += c.room + 1
	}
	for at := rand.Int64N(sum); ; fit = fit[1:] {
		if at -= fit[0].room + 1; at < 0 {
			return fit[0].place, nil
		}
	}
}

// place finds the files of a place.
func (e *Engine) place(id uint64) (Files, error) {
	for _, p := range e.places {
		if p.id == id {
			return p.files()
		}
	}
	return nil, fmt.Errorf("%w: disk %x is not in the configuration", object.ErrOffline, id)
}

func diskKey(id uint64) []byte { return binary.BigEndian.AppendUint64([]byte{tableDisks}, id) }

// openPlaces opens what is there.
func (e *Engine) openPlaces() error {
	home := &place{}
	e.places = []*place{home}
	if e.cfg.Files != nil {
		home.file = e.cfg.Files
		if s, ok := e.cfg.Files.(fmt.Stringer); ok {
			home.dir = s.String()
		}
	} else {
		files, err := openFolders(e.fs, path.Join(e.cfg.Dir, "data"))
		if err != nil {
			return err
		}
		home.dir, home.file = e.cfg.Dir, files
	}
	for _, dir := range e.cfg.Disks {
		p, err := e.openDisk(dir)
		if err != nil {
			return errors.Join(err, e.closePlaces())
		}
		if slices.ContainsFunc(e.places, func(other *place) bool { return other.id == p.id }) {
			return errors.Join(fmt.Errorf("%s is the same disk as another one", dir), closeFiles(p.file), e.closePlaces())
		}
		e.places = append(e.places, p)
	}
	return nil
}

func closeFiles(f Files) error {
	if f == nil {
		return nil
	}
	return f.Close()
}

func (e *Engine) closePlaces() error {
	var errs []error
	for _, p := range e.places {
		p.mu.Lock()
		errs = append(errs, closeFiles(p.file))
		p.mu.Unlock()
	}
	return errors.Join(errs...)
}

// openDisk opens a further disk. One that was there before may be missing; one that is new must be there and empty of
// objects.
func (e *Engine) openDisk(dir string) (*place, error) {
	known, err := e.diskAt(dir)
	if err != nil {
		return nil, err
	}
	p := &place{id: known, dir: dir}
	m, err := readMark(e.fs, dir)
	switch {
	case errors.Is(err, fs.ErrNotExist) && known == 0:
		if _, err := e.fs.Stat(dir); err != nil {
			return nil, fmt.Errorf("a new disk must be there: %w", err)
		}
		m = mark{hex.EncodeToString(e.self), 1 + rand.Uint64N(1<<63-1)}
		if err := writeMark(e.fs, dir, m); err != nil {
			return nil, err
		}
		e.log.Info("object engine: a new disk", "folder", dir, "disk", m.Disk)
	case err != nil && known != 0: // it may come back
		p.err = err
		e.log.Error("object engine: a disk is missing; the objects on it cannot be read", "folder", dir, "err", err)
		return p, nil
	case err != nil:
		return nil, err
	}
	if m.Engine != hex.EncodeToString(e.self) {
		return nil, fmt.Errorf("%s belongs to another cloud", dir)
	}
	p.id = m.Disk
	if err := e.db.Set(diskKey(p.id), []byte(dir), pebble.Sync); err != nil {
		return nil, fmt.Errorf("write object index: %w", noSpace(err))
	}
	p.file, err = openFolders(e.fs, path.Join(dir, "data"))
	return p, err
}

// diskAt gives the disk that was in a folder when the engine was last open, 0 if there was none.
func (e *Engine) diskAt(dir string) (id uint64, err error) {
	it, err := reader{Reader: e.db}.scan([]byte{tableDisks})
	if err != nil {
		return 0, err
	}
	for ok := it.First(); ok; ok = it.Next() {
		if string(it.Value()) == dir && len(it.Key()) == 9 {
			id = binary.BigEndian.Uint64(it.Key()[1:])
		}
	}
	return id, closeScan(it)
}

func readMark(fs vfs.FS, dir string) (m mark, err error) {
	f, err := fs.Open(path.Join(dir, markName))
	if err != nil {
		return m, err
	}
	text, err := io.ReadAll(f)
	if err := errors.Join(err, f.Close()); err != nil {
		return m, fmt.Errorf("read %s of %s: %w", markName, dir, err)
	}
	if err := json.Unmarshal(text, &m); err != nil || m.Disk == 0 {
		return m, fmt.Errorf("%s in %s is damaged: %w", markName, dir, errors.Join(err, errRecord))
	}
	return m, nil
}

// writeMark makes the file durable before it has its name.
func writeMark(fs vfs.FS, dir string, m mark) error {
	text, err := json.Marshal(m)
	if err != nil {
		return err
	}
	name := path.Join(dir, markName)
	f, err := fs.Create(name+".new", vfs.WriteCategoryUnspecified)
	if err != nil {
		return fmt.Errorf("mark a new disk: %w", noSpace(err))
	}
	_, err = f.Write(append(text, '\n'))
	if err := errors.Join(err, f.Sync(), f.Close(), fs.Rename(name+".new", name), syncDir(fs, dir)); err != nil {
		return fmt.Errorf("mark a new disk: %w", noSpace(err))
	}
	return nil
}

// watchPlaces notices disks that go, and takes back those that come.
func (e *Engine) watchPlaces() {
	for e.sleep(placesEvery) {
		for _, p := range e.places[1:] {
			e.watchPlace(p)
		}
		e.spare.refill()
	}
}

func (e *Engine) watchPlace(p *place) {
	m, err := readMark(e.fs, p.dir)
	if err == nil && (m.Disk != p.id || m.Engine != hex.EncodeToString(e.self)) {
		err = errors.New("another disk is in its place")
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	switch {
	case err != nil && p.file != nil:
		e.log.Error("object engine: a disk has gone; the objects on it cannot be read", "folder", p.dir, "err", errors.Join(err, p.file.Close()))
		p.file, p.err = nil, err
	case err == nil && p.file == nil:
		files, err := openFolders(e.fs, path.Join(p.dir, "data"))
		if err != nil {
			p.err = err
			return
		}
		p.file, p.err = files, nil
		e.log.Info("object engine: a disk is back", "folder", p.dir)
	}
}

// checker is what Files are that can fail as a whole without being asked for a file.
type checker interface {
	Check(ctx context.Context) error
}

// Place is the state of a place.
type Place struct {
	Dir         string
	Online      bool
	Problem     string `json:",omitempty"`
	Total, Free int64
}

// Places gives the state of all places, the home place first.
func (e *Engine) Places(ctx context.Context) []Place {
	out := make([]Place, 0, len(e.places))
	for _, p := range e.places {
		s := Place{Dir: p.dir}
		files, err := p.files()
		if err == nil {
			s.Total, s.Free, err = files.Usage(ctx)
		}
		if c, ok := files.(checker); ok && err == nil {
			err = c.Check(ctx)
		}
		if s.Online = err == nil; err != nil {
			s.Problem = err.Error()
		}
		out = append(out, s)
	}
	return out
}
