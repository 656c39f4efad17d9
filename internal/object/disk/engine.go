package disk

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"path"
	"sync"
	"sync/atomic"
	"time"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/bloom"
	"github.com/cockroachdb/pebble/v2/vfs"

	"karri.dev/internal/object"
)

// InlineMax is the largest body, in bytes, that is kept in the index.
const InlineMax = 64 << 10

// separateMin is the smallest value, in bytes, that Pebble keeps apart from its keys: bodies, not entries.
const separateMin = 1 << 10

// memTable is the size, in bytes, of what the index gathers in memory before it writes a table.
const memTable = 8 << 20

// Config says where and how an Engine keeps its data; only Dir is required.
type Config struct {
	Dir string
	// Disks are folders on further disks for data files. A new one must be there; one that is gone is waited for.
	Disks []string
	// Files keeps the data files in place of Dir and Disks, and then all bodies are there. The engine closes it.
	Files Files
	FS    vfs.FS // nil is the machine's
	// Reserve is how many bytes stay free on the file system, because the index cannot go on without space:
	// with less, writes answer ErrNoSpace. 0 is 256 MiB, or 5 % of a smaller file system.
	Reserve int64
	// CollectEvery is the period of the search for files that nothing names. 0 is an hour.
	CollectEvery time.Duration
	CacheSize    int64 // of index blocks in memory, in bytes. 0 is 24 MiB.
	// ScrubRate is how fast data files are read to check them, in bytes a second. 0 is 8 MiB; negative: only the index is
	// checked.
	ScrubRate int64
	// Sealer has the cloud's key, with which data keys are sealed. Without it new objects are not encrypted.
	Sealer Sealer
	// Ledger is told what buckets hold; engines that share their buckets' holders share it. nil is one of the engine's own.
	Ledger *object.Ledger
	Now    func() time.Time
	Log    *slog.Logger
}

// Engine is an object.Engine on a local file system.
type Engine struct {
	cfg  Config
	fs   vfs.FS
	log  *slog.Logger
	db   *pebble.DB
	ids  *idSource
	self []byte // what tells this engine from others

	places []*place // the home place first
	known  *known
	queues queues

	updates chan *update
	applied chan group
	space   spaceCheck
	current *views
	garbage *garbage

	scrubbed scrubbed

	spare *spareFS

	closing   context.Context
	closedAt  atomic.Int64 // Unix time in nanoseconds, 0 before
	stop      context.CancelFunc
	closeOnce sync.Once
	closeErr  error
	running   sync.WaitGroup // the engine's own goroutines
	calls     sync.RWMutex   // held shared by every call under way
}

var _ object.Engine = (*Engine)(nil)

var errClosed = errors.New("object engine is closed")

// Open opens or creates the engine in cfg.Dir. Close it.
func Open(cfg Config) (*Engine, error) {
	if cfg.FS == nil {
		cfg.FS = vfs.Default
	}
	if cfg.CollectEvery == 0 {
		cfg.CollectEvery = time.Hour
	}
	if cfg.CacheSize == 0 {
		cfg.CacheSize = 24 << 20
	}
	if cfg.ScrubRate == 0 {
		cfg.ScrubRate = 8 << 20
	}
	if cfg.Ledger == nil {
		cfg.Ledger = object.NewLedger()
	}
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	e := &Engine{cfg: cfg, fs: cfg.FS, log: cfg.Log, updates: make(chan *update, maxGroup), applied: make(chan group)}
	e.scrubbed.now = make(chan struct{}, 1)
	e.closing, e.stop = context.WithCancel(context.Background())
	if err := e.open(); err != nil {
		e.stop()
		return nil, fmt.Errorf("open object engine in %s: %w", cfg.Dir, err)
	}
	e.running.Go(e.commitLoop)
	e.running.Go(e.syncLoop)
	e.running.Go(e.sweepLoop)
	e.running.Go(e.collectLoop)
	e.running.Go(e.watchPlaces)
	e.running.Go(e.scrubLoop)
	return e, nil
}

func (e *Engine) open() error {
	if err := makeDir(e.fs, e.cfg.Dir); err != nil {
		return err
	}
	e.spare = newSpare(e)
	if err := e.spare.begin(); err != nil {
		return err
	}
	var err error
	if e.db, err = pebble.Open(path.Join(e.cfg.Dir, "index"), e.options()); err != nil {
		return err
	}
	if e.ids, err = openIDs(e.db); err == nil {
		e.known, err = openKnown(e.db)
	}
	if err == nil {
		e.self, err = random(e.db, keySelf)
	}
	if err == nil {
		err = e.openTallies()
	}
	if err == nil {
		err = e.openNotes()
	}
	if err == nil {
		err = e.openPlaces()
	}
	if err != nil {
		return errors.Join(err, e.db.Close())
	}
	e.spare.refill()
	e.current = newViews(e.db, e.known)
	e.garbage = newGarbage()
	return nil
}

func (e *Engine) options() *pebble.Options {
	o := &pebble.Options{
		FS:                    e.spare,
		Logger:                pebbleLog{e.log},
		FormatMajorVersion:    pebble.FormatValueSeparation,
		CacheSize:             e.cfg.CacheSize + 2*memTable, // Pebble takes its tables in memory, one of them a spare, from the cache
		MemTableSize:          memTable,
		L0CompactionThreshold: 4,
		L0StopWritesThreshold: 24,
		MaxOpenFiles:          500,
		EventListener: &pebble.EventListener{
			BackgroundError: func(err error) { e.log.Error("object index: background work failed", "err", err) },
			DataCorruption: func(i pebble.DataCorruptionInfo) {
				e.log.Error("object index: damaged file", "file", i.Path, "err", i.Details)
			},
		},
	}
	for i := range o.Levels {
		o.Levels[i].FilterPolicy = bloom.FilterPolicy(10)
	}
	o.Experimental.ValueSeparationPolicy = func() pebble.ValueSeparationPolicy {
		return pebble.ValueSeparationPolicy{
			Enabled: true, MinimumSize: separateMin, MaxBlobReferenceDepth: 10,
			RewriteMinimumAge: 5 * time.Minute, TargetGarbageRatio: 0.3,
		}
	}
	return o
}

// enter begins a call, and e.calls.RUnlock ends it.
func (e *Engine) enter() error {
	e.calls.RLock()
	if e.closing.Err() != nil {
		e.calls.RUnlock()
		return errClosed
	}
	return nil
}

// Close ends the engine, once the calls under way have ended; those that read a body end with an error at
// their next read. Open objects should be closed before.
func (e *Engine) Close() error {
	e.closeOnce.Do(func() {
		e.closedAt.Store(time.Now().UnixNano())
		e.stop()
		e.calls.Lock()
		close(e.updates)
		e.calls.Unlock()
		e.running.Wait()
		e.closeErr = errors.Join(e.current.close(), e.db.Close(), e.closePlaces())
	})
	return e.closeErr
}

// closingFor says for how long the engine has been closing, 0 if it is not.
func (e *Engine) closingFor() time.Duration {
	if at := e.closedAt.Load(); at != 0 {
		return time.Since(time.Unix(0, at))
	}
	return 0
}

// Usage gives the total and free bytes of all places that are there; those of the index where they know no limit.
func (e *Engine) Usage(ctx context.Context) (total, free int64, err error) {
	if e.cfg.Files != nil {
		if total, free, err = usage(e.fs, e.cfg.Dir); err != nil {
			return 0, 0, err
		}
		if p := e.Places(ctx)[0]; !p.Online {
			err = errors.New(p.Problem)
		}
		return total, free, err
	}
	for _, p := range e.Places(ctx) {
		total, free = total+p.Total, free+p.Free
		if !p.Online {
			err = errors.Join(err, errors.New(p.Problem))
		}
	}
	return total, free, err
}

// noSpace gives file system errors the contract's name.
func noSpace(err error) error {
	if full(err) {
		return fmt.Errorf("%w: %w", object.ErrNoSpace, err)
	}
	return err
}

// pebbleLog takes what Pebble says. Pebble calls Fatalf where it cannot go on (its log cannot be written); it
// must not return, and what was acknowledged is safe on disk.
type pebbleLog struct{ log *slog.Logger }

func (l pebbleLog) Infof(format string, args ...any) {}

func (l pebbleLog) Errorf(format string, args ...any) {
	l.log.Error("object index", "err", fmt.Sprintf(format, args...))
}

func (l pebbleLog) Fatalf(format string, args ...any) {
	panic("object index: " + fmt.Sprintf(format, args...))
}
