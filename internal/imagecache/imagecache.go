// Package imagecache keeps images on a node: each is downloaded once however many launches want it, checked
// by digest while it is written, and stays until the space is needed for another. Files are read-only and
// never change: machines' disks are copy-on-write over them.
package imagecache

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"karri.dev/internal/durable"
)

// ErrCorrupt says that what was fetched is not the image. Trying again will not help.
var ErrCorrupt = errors.New("image is corrupt")

// ErrNoSpace says that the cache has no room: the rest of it is in use.
var ErrNoSpace = errors.New("image cache is full")

// Image names bytes.
type Image struct {
	SHA256 string // 64 hex digits
	Size   int64  // bytes
}

// Fetch writes the image to w, and stops when the context ends or w refuses.
type Fetch func(ctx context.Context, w io.Writer) error

// Config says where images are kept and how much of them.
type Config struct {
	Dir      string
	MaxBytes int64 // 0 = no limit
}

// Cache is a directory of images. Its methods may be called concurrently.
type Cache struct {
	cfg Config
	log *slog.Logger
	now func() time.Time

	mu      sync.Mutex
	entries map[string]*entry // by digest
}

type entry struct {
	size   int64
	used   time.Time
	holds  int
	flight *flight // non-nil while it is being downloaded
}

// flight is one download and everybody who waits for it.
type flight struct {
	done    chan struct{}
	err     error
	waiting int
	cancel  context.CancelFunc // when nobody waits any more
}

// New opens the cache. Files that are not whole are deleted; whole ones are known by name and length, since
// they get their name only after their digest was right.
func New(cfg Config, log *slog.Logger, now func() time.Time) (*Cache, error) {
	c := &Cache{cfg: cfg, log: log, now: now, entries: map[string]*entry{}}
	if err := os.MkdirAll(cfg.Dir, 0o711); err != nil {
		return nil, fmt.Errorf("image cache: %w", err)
	}
	files, err := os.ReadDir(cfg.Dir)
	if err != nil {
		return nil, fmt.Errorf("image cache: %w", err)
	}
	for _, f := range files {
		digest, size, ok := parseName(f.Name())
		fi, err := f.Info()
		if ok && err == nil && fi.Mode().IsRegular() && fi.Size() == size {
			c.entries[digest] = &entry{size: size, used: fi.ModTime()}
			continue
		}
		if ok || strings.HasPrefix(f.Name(), partial) { // ours, and broken
			if err := os.Remove(filepath.Join(cfg.Dir, f.Name())); err != nil {
				return nil, fmt.Errorf("image cache: %w", err)
			}
		}
	}
	return c, nil
}

const partial = "partial-"

func name(img Image) string { return fmt.Sprintf("%s-%d", img.SHA256, img.Size) }

func parseName(s string) (digest string, size int64, ok bool) {
	digest, length, _ := strings.Cut(s, "-")
	if !validDigest(digest) {
		return "", 0, false
	}
	if _, err := fmt.Sscanf(length, "%d", &size); err != nil || name(Image{digest, size}) != s {
		return "", 0, false
	}
	return digest, size, true
}

func validDigest(s string) bool {
	b, err := hex.DecodeString(s)
	return err == nil && len(b) == sha256.Size && s == strings.ToLower(s)
}

func (c *Cache) path(img Image) string { return filepath.Join(c.cfg.Dir, name(img)) }

// Ensure gives the path of the image and holds it: it stays until Release is called as often as Ensure and
// Hold were. The first caller's fetch serves all that come while it runs; it is cancelled when all of
// them have gone.
func (c *Cache) Ensure(ctx context.Context, img Image, fetch Fetch) (string, error) {
	if !validDigest(img.SHA256) || img.Size <= 0 {
		return "", fmt.Errorf("image %q of %d bytes: %w", img.SHA256, img.Size, ErrCorrupt)
	}
	c.mu.Lock()
	e := c.entries[img.SHA256]
	if e != nil && e.size != img.Size {
		c.mu.Unlock()
		return "", fmt.Errorf("image %s: %d bytes wanted, %d known: %w", img.SHA256, img.Size, e.size, ErrCorrupt)
	}
	if e != nil && e.flight == nil {
		// Looked at again: somebody may have tidied up by hand.
		if fi, err := os.Stat(c.path(img)); err == nil && fi.Size() == img.Size {
			e.holds++
			e.used = c.now()
			os.Chtimes(c.path(img), e.used, e.used) // the order of use survives us
			c.mu.Unlock()
			return c.path(img), nil
		}
		if e.holds > 0 {
			c.mu.Unlock()
			return "", fmt.Errorf("image %s is gone from the cache while machines use it", img.SHA256)
		}
		e = nil
	}
	if e == nil {
		delete(c.entries, img.SHA256)
		if err := c.makeRoom(img.Size); err != nil {
			c.mu.Unlock()
			return "", fmt.Errorf("image %s: %w", img.SHA256, err)
		}
		flying, cancel := context.WithCancel(context.WithoutCancel(ctx))
		e = &entry{size: img.Size, used: c.now(), flight: &flight{done: make(chan struct{}), cancel: cancel}}
		c.entries[img.SHA256] = e
		go c.fly(flying, img, e, fetch)
	}
	f := e.flight
	f.waiting++
	c.mu.Unlock()

	select {
	case <-f.done:
	case <-ctx.Done():
		c.mu.Lock()
		switch {
		case e.flight == nil && f.err == nil: // it landed, and counted us as a holder
			e.holds--
		case f.waiting == 1 && e.flight != nil:
			f.cancel()
			delete(c.entries, img.SHA256) // who comes now does not join it
		}
		f.waiting--
		c.mu.Unlock()
		return "", fmt.Errorf("image %s: %w", img.SHA256, ctx.Err())
	}
	if f.err != nil {
		return "", fmt.Errorf("image %s: %w", img.SHA256, f.err)
	}
	return c.path(img), nil
}

// fly downloads and tells those who wait. On success each of them holds the image.
func (c *Cache) fly(ctx context.Context, img Image, e *entry, fetch Fetch) {
	err := c.download(ctx, img, fetch)
	c.mu.Lock()
	f := e.flight
	f.cancel()
	f.err, e.flight = err, nil
	switch now := c.entries[img.SHA256]; {
	case err == nil && now == nil: // it came to its end although nobody waited any more
		c.entries[img.SHA256] = e
	case err != nil && now == e:
		delete(c.entries, img.SHA256)
	}
	if err == nil {
		e.holds += f.waiting
	}
	c.mu.Unlock()
	close(f.done)
}

func (c *Cache) download(ctx context.Context, img Image, fetch Fetch) error {
	f, err := os.CreateTemp(c.cfg.Dir, partial)
	if err != nil {
		return err
	}
	defer os.Remove(f.Name()) // nothing, once renamed
	defer f.Close()
	w := &checker{ctx: ctx, w: f, left: img.Size, sum: sha256.New()}
	if err := fetch(ctx, w); err != nil {
		return errors.Join(w.err, err)
	}
	switch got := hex.EncodeToString(w.sum.Sum(nil)); {
	case w.err != nil:
		return w.err
	case w.left != 0:
		return fmt.Errorf("%w: %d bytes are missing", ErrCorrupt, w.left)
	case got != img.SHA256:
		return fmt.Errorf("%w: its digest is %s", ErrCorrupt, got)
	}
	if err := errors.Join(f.Chmod(0o444), f.Sync()); err != nil {
		return err
	}
	if err := os.Rename(f.Name(), c.path(img)); err != nil {
		return err
	}
	return durable.SyncDir(c.cfg.Dir)
}

// checker counts and sums what passes through it. Its first error stays: a fetch that overlooks it still fails.
type checker struct {
	ctx  context.Context
	w    io.Writer
	left int64
	sum  hash.Hash
	err  error
}

func (k *checker) Write(b []byte) (int, error) {
	if k.err == nil {
		k.err = k.ctx.Err()
	}
	if k.err == nil && int64(len(b)) > k.left {
		k.err = fmt.Errorf("%w: longer than announced", ErrCorrupt)
	}
	if k.err != nil {
		return 0, k.err
	}
	n, err := k.w.Write(b)
	k.sum.Write(b[:n])
	k.left -= int64(n)
	k.err = err
	return n, err
}

// makeRoom deletes images that nobody holds, longest unused first, until size more bytes fit. mu is held.
func (c *Cache) makeRoom(size int64) error {
	if c.cfg.MaxBytes == 0 {
		return nil
	}
	total, fixed := size, size
	for _, e := range c.entries {
		total += e.size
		if e.holds > 0 || e.flight != nil {
			fixed += e.size
		}
	}
	if fixed > c.cfg.MaxBytes { // then it is no use to delete the others
		return fmt.Errorf("%w: %d bytes needed beside %d in use, of %d", ErrNoSpace, size, fixed-size, c.cfg.MaxBytes)
	}
	for total > c.cfg.MaxBytes {
		oldest := ""
		for digest, e := range c.entries {
			if e.holds == 0 && e.flight == nil && (oldest == "" || e.used.Before(c.entries[oldest].used)) {
				oldest = digest
			}
		}
		e := c.entries[oldest]
		if err := os.Remove(c.path(Image{oldest, e.size})); err != nil && !errors.Is(err, os.ErrNotExist) {
			return err
		}
		c.log.Info("image evicted", "sha256", oldest, "bytes", e.size)
		total -= e.size
		delete(c.entries, oldest)
	}
	return nil
}

// Hold keeps an image that is in the cache, for a machine found running after a restart. It gives false
// if it is not there.
func (c *Cache) Hold(digest string) (path string, ok bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	e := c.entries[digest]
	if e == nil || e.flight != nil {
		return "", false
	}
	e.holds++
	return c.path(Image{digest, e.size}), true
}

// Release ends one hold.
func (c *Cache) Release(digest string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if e := c.entries[digest]; e != nil && e.holds > 0 {
		e.holds--
		e.used = c.now()
	}
}
