package disk

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"

	"karri.dev/internal/object"
)

// The index cannot live with a write that fails: Pebble gives up, and the process with it. So what it writes waits, when
// others have filled its disk, until there is space again. First a file goes that was kept in spare for that: it lets end
// what is under way, and deletions go on. While the index waits all changes are refused at once, and reads go on.

const (
	spareSize = 64 << 20
	// spareWait is how long is waited between two attempts.
	spareWait = 50 * time.Millisecond
	// spareEnd is how long the index may still wait once the engine closes.
	spareEnd = 3 * time.Second
)

// spareFS is the index's file system.
type spareFS struct {
	vfs.FS
	engine *Engine
	name   string

	waiting atomic.Int32 // writes that wait for space

	mu   sync.Mutex
	held bool // the spare file is there
}

func newSpare(e *Engine) *spareFS {
	s := &spareFS{FS: e.cfg.FS, engine: e, name: path.Join(e.cfg.Dir, "spare")}
	if _, err := s.Stat(s.name); err == nil {
		s.held = true
	}
	return s
}

// Unwrap is for Pebble, which asks what is beneath.
func (s *spareFS) Unwrap() vfs.FS { return s.FS }

// refill makes the spare file where there is plenty of space.
func (s *spareFS) refill() {
	total, free, err := usage(s.FS, path.Dir(s.name))
	size := spareFor(total)
	s.mu.Lock()
	defer s.mu.Unlock()
	if err != nil || s.held || free < s.engine.reserve(total)+2*size {
		return
	}
	f, err := s.FS.Create(s.name, vfs.WriteCategoryUnspecified)
	if err == nil {
		s.held = true
		err = errors.Join(f.Preallocate(0, size), f.Close())
	}
	if err != nil {
		s.engine.log.Warn("object engine: no file can be kept in spare for a full disk", "err", err)
	}
}

// do repeats fn while there is no space.
func (s *spareFS) do(fn func() error) error {
	err, waits := fn(), false
	for ; full(err) && s.more(&waits); err = fn() {
	}
	if waits && s.waiting.Add(-1) == 0 && err == nil {
		s.engine.log.Warn("object engine: there is space for the index again")
	}
	return err
}

func full(err error) bool { return errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT) }

// more says whether another attempt is worth while. Several writes may wait, and that one has found space says nothing of
// the others: waits is that of this one.
func (s *spareFS) more(waits *bool) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.held {
		return s.release()
	}
	if !*waits {
		*waits = true
		s.waiting.Add(1)
		s.engine.log.Error("object engine: the index's disk is full: nothing can be changed until there is space", "folder", path.Dir(s.name))
	}
	if since := s.engine.closingFor(); since > spareEnd {
		return false
	}
	time.Sleep(spareWait)
	return true
}

// release gives the spare file's space away; s.mu is held.
func (s *spareFS) release() bool {
	s.held = false
	err := s.FS.Remove(s.name)
	s.engine.log.Error("object engine: the index's disk is full; the spare file goes", "err", err)
	return err == nil || errors.Is(err, fs.ErrNotExist)
}

// begin refuses to open an index that could not be brought up to date.
func (s *spareFS) begin() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	for {
		total, free, err := usage(s.FS, path.Dir(s.name))
		need := spareFor(total)
		switch {
		case err != nil || free >= need:
			return err
		case !s.held || !s.release():
			return fmt.Errorf("%w: opening the index takes %d bytes, %d are free", object.ErrNoSpace, need, free)
		}
	}
}

// spareFor is the spare file's size on a disk.
func spareFor(total int64) int64 { return min(spareSize, total/16) }

// ready refuses changes while the index waits.
func (s *spareFS) ready() error {
	if s.waiting.Load() > 0 {
		return fmt.Errorf("%w for the index", object.ErrNoSpace)
	}
	return nil
}

func (s *spareFS) file(fn func() (vfs.File, error)) (f vfs.File, err error) {
	err = s.do(func() (err error) { f, err = fn(); return err })
	if err != nil {
		return nil, err
	}
	return &spareFile{f, s}, nil
}

func (s *spareFS) Create(name string, c vfs.DiskWriteCategory) (vfs.File, error) {
	return s.file(func() (vfs.File, error) { return s.FS.Create(name, c) })
}

func (s *spareFS) OpenReadWrite(name string, c vfs.DiskWriteCategory, o ...vfs.OpenOption) (vfs.File, error) {
	return s.file(func() (vfs.File, error) { return s.FS.OpenReadWrite(name, c, o...) })
}

func (s *spareFS) ReuseForWrite(from, to string, c vfs.DiskWriteCategory) (vfs.File, error) {
	return s.file(func() (vfs.File, error) { return s.FS.ReuseForWrite(from, to, c) })
}

func (s *spareFS) Link(from, to string) error {
	return s.do(func() error { return s.FS.Link(from, to) })
}

func (s *spareFS) Rename(from, to string) error {
	return s.do(func() error { return s.FS.Rename(from, to) })
}

func (s *spareFS) MkdirAll(dir string, perm os.FileMode) error {
	return s.do(func() error { return s.FS.MkdirAll(dir, perm) })
}

// spareFile is a file of the index. A sync is never repeated: what failed to reach the disk may be forgotten by then.
type spareFile struct {
	vfs.File
	fs *spareFS
}

func (f *spareFile) Write(p []byte) (n int, err error) {
	err = f.fs.do(func() error {
		k, err := f.File.Write(p[n:])
		n += k
		return err
	})
	return n, err
}

func (f *spareFile) WriteAt(p []byte, at int64) (n int, err error) {
	err = f.fs.do(func() error {
		k, err := f.File.WriteAt(p[n:], at+int64(n))
		n += k
		return err
	})
	return n, err
}

func (f *spareFile) Preallocate(at, length int64) error {
	return f.fs.do(func() error { return f.File.Preallocate(at, length) })
}
