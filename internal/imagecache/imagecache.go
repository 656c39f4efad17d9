// Package imagecache keeps image files on a node. A file is downloaded once however many launches want it,
// checked while it is written, never changed afterwards, and evicted when the cache is over its limit and
// nothing uses the file.
package imagecache

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"syscall"
	"time"

	"karri.dev/internal/durable"
)

// ErrCorrupt says that the bytes fetched are not those of the image.
var ErrCorrupt = errors.New("image is corrupt")

// Config describes a cache.
type Config struct {
	Dir   string
	Limit int64 // bytes to keep at most, but for what is in use; 0 = no limit
}

// Image names bytes.
type Image struct {
	SHA256 string // hex
	Size   int64
}

// Cache is safe for concurrent use. One process has a directory.
type Cache struct {
	cfg Config
	log *slog.Logger

	mu      sync.Mutex
	loading map[string]*load // by digest
	held    map[string]int
}

// load is a download that all who want the image wait for.
type load struct {
	done chan struct{}
	err  error
}

// Open takes over a directory and removes what was left half-written.
func Open(cfg Config, log *slog.Logger) (*Cache, error) {
	if err := os.MkdirAll(cfg.Dir, 0o711); err != nil {
		return nil, fmt.Errorf("image cache: %w", err)
	}
	torn, err := filepath.Glob(filepath.Join(cfg.Dir, ".new-*"))
	if err != nil {
		return nil, err
	}
	for _, f := range torn {
		if err := os.Remove(f); err != nil {
			return nil, fmt.Errorf("image cache: %w", err)
		}
	}
	return &Cache{cfg: cfg, log: log, loading: map[string]*load{}, held: map[string]int{}}, nil
}

func (c *Cache) path(digest string) string { return filepath.Join(c.cfg.Dir, digest) }

// Ensure gives the path of the image's file, which fetch writes where it is not there yet. The file stays
// until it is released as often as it was ensured; whoever needs it for longer makes a hard link. fetch runs
// once for all who wait, and goes on when they give up: the next one will want it.
func (c *Cache) Ensure(ctx context.Context, img Image, fetch func(ctx context.Context, w io.Writer) error) (string, error) {
	if b, err := hex.DecodeString(img.SHA256); err != nil || len(b) != sha256.Size || img.Size < 0 {
		return "", fmt.Errorf("%w: %q is not a digest", ErrCorrupt, img.SHA256)
	}
	c.mu.Lock()
	c.held[img.SHA256]++
	l := c.loading[img.SHA256]
	if l == nil && !c.has(img) {
		l = &load{done: make(chan struct{})}
		c.loading[img.SHA256] = l
		go c.run(context.WithoutCancel(ctx), img, l, fetch)
	}
	c.mu.Unlock()
	if l != nil {
		select {
		case <-l.done:
		case <-ctx.Done():
			c.Release(img.SHA256)
			return "", ctx.Err()
		}
		if l.err != nil {
			c.Release(img.SHA256)
			return "", l.err
		}
	}
	now := time.Now()
	if err := os.Chtimes(c.path(img.SHA256), now, now); err != nil { // what was used last is evicted last
		c.Release(img.SHA256)
		return "", err
	}
	return c.path(img.SHA256), nil
}

// has says whether the image's file is there. A file gets its name only when it is whole and checked.
func (c *Cache) has(img Image) bool {
	info, err := os.Stat(c.path(img.SHA256))
	return err == nil && info.Size() == img.Size
}

// downloadTime ends a download that hangs.
const downloadTime = 30 * time.Minute

func (c *Cache) run(ctx context.Context, img Image, l *load, fetch func(context.Context, io.Writer) error) {
	ctx, cancel := context.WithTimeout(ctx, downloadTime)
	defer cancel()
	c.evict(img.Size)
	l.err = c.download(ctx, img, fetch)
	c.mu.Lock()
	delete(c.loading, img.SHA256)
	c.mu.Unlock()
	close(l.done)
}

func (c *Cache) download(ctx context.Context, img Image, fetch func(context.Context, io.Writer) error) error {
	f, err := os.CreateTemp(c.cfg.Dir, ".new-*")
	if err != nil {
		return fmt.Errorf("image cache: %w", err)
	}
	defer os.Remove(f.Name())
	defer f.Close()
	w := &checked{file: f, hash: sha256.New(), left: img.Size}
	if err := fetch(ctx, w); err != nil {
		return fmt.Errorf("fetch image: %w", err)
	}
	if got := hex.EncodeToString(w.hash.Sum(nil)); w.left != 0 || got != img.SHA256 {
		return fmt.Errorf("%w: %d bytes are missing or the digest differs", ErrCorrupt, w.left)
	}
	if err := errors.Join(f.Chmod(0o444), f.Sync()); err != nil {
		return fmt.Errorf("image cache: %w", err)
	}
	if err := os.Rename(f.Name(), c.path(img.SHA256)); err != nil {
		return fmt.Errorf("image cache: %w", err)
	}
	return durable.SyncDir(c.cfg.Dir)
}

// checked writes to a file, digests, and refuses more than was announced.
type checked struct {
	file *os.File
	hash interface {
		io.Writer
		Sum([]byte) []byte
	}
	left int64
}

func (w *checked) Write(p []byte) (int, error) {
	if w.left -= int64(len(p)); w.left < 0 {
		return 0, fmt.Errorf("%w: it is longer than announced", ErrCorrupt)
	}
	w.hash.Write(p)
	return w.file.Write(p)
}

// Release takes back one Ensure.
func (c *Cache) Release(digest string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.held[digest]--; c.held[digest] <= 0 {
		delete(c.held, digest)
	}
}

// evict makes room for size more bytes: what was used longest ago goes first. A file with a second name (a
// machine's disk rests on it) takes its space anyway, and stays.
func (c *Cache) evict(size int64) {
	if c.cfg.Limit <= 0 {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	entries, err := os.ReadDir(c.cfg.Dir)
	if err != nil {
		c.log.Warn("image cache: cannot look for what to evict", "error", err)
		return
	}
	var files []os.FileInfo
	total := size
	for _, e := range entries {
		if info, err := e.Info(); err == nil && info.Mode().IsRegular() {
			files = append(files, info)
			total += info.Size()
		}
	}
	slices.SortFunc(files, func(a, b os.FileInfo) int { return a.ModTime().Compare(b.ModTime()) })
	for _, f := range files {
		if total <= c.cfg.Limit {
			return
		}
		stat, ok := f.Sys().(*syscall.Stat_t)
		if c.held[f.Name()] > 0 || c.loading[f.Name()] != nil || len(f.Name()) != 2*sha256.Size || ok && stat.Nlink > 1 {
			continue
		}
		if err := os.Remove(c.path(f.Name())); err != nil {
			c.log.Warn("image cache: cannot evict", "image", f.Name(), "error", err)
			continue
		}
		c.log.Info("image evicted", "image", f.Name(), "bytes", f.Size())
		total -= f.Size()
	}
}
