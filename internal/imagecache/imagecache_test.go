package imagecache

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

func image(data []byte) Image {
	sum := sha256.Sum256(data)
	return Image{SHA256: hex.EncodeToString(sum[:]), Size: int64(len(data))}
}

func writes(data []byte) func(context.Context, io.Writer) error {
	return func(_ context.Context, w io.Writer) error {
		_, err := w.Write(data)
		return err
	}
}

func open(t *testing.T, dir string, limit int64) *Cache {
	t.Helper()
	c, err := Open(Config{Dir: dir, Limit: limit}, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func TestOneDownloadForAll(t *testing.T) {
	c, data := open(t, t.TempDir(), 0), bytes.Repeat([]byte("x"), 1<<20)
	var fetches atomic.Int32
	var wg sync.WaitGroup
	for range 20 {
		wg.Go(func() {
			path, err := c.Ensure(context.Background(), image(data), func(ctx context.Context, w io.Writer) error {
				fetches.Add(1)
				time.Sleep(10 * time.Millisecond)
				return writes(data)(ctx, w)
			})
			if got, _ := os.ReadFile(path); err != nil || !bytes.Equal(got, data) {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	if n := fetches.Load(); n != 1 {
		t.Errorf("%d downloads", n)
	}
	// The next process finds it.
	again := open(t, c.cfg.Dir, 0)
	if _, err := again.Ensure(context.Background(), image(data), func(context.Context, io.Writer) error { return errors.New("not again") }); err != nil {
		t.Error(err)
	}
}

func TestBadDownloadsLeaveNothing(t *testing.T) {
	data := []byte("the image")
	broken := errors.New("connection lost")
	for name, c := range map[string]struct {
		img   Image
		fetch func(context.Context, io.Writer) error
		want  error
	}{
		"other bytes":   {image(data), writes([]byte("the imagE")), ErrCorrupt},
		"too short":     {image(data), writes(data[:4]), ErrCorrupt},
		"too long":      {image(data), writes(append(data, '!')), ErrCorrupt},
		"broken off":    {image(data), func(context.Context, io.Writer) error { return broken }, broken},
		"no digest":     {Image{SHA256: "../../etc/passwd", Size: 9}, writes(data), ErrCorrupt},
		"negative size": {Image{SHA256: image(data).SHA256, Size: -1}, writes(data), ErrCorrupt},
	} {
		cache := open(t, t.TempDir(), 0)
		if _, err := cache.Ensure(context.Background(), c.img, c.fetch); !errors.Is(err, c.want) {
			t.Errorf("%s: %v", name, err)
		}
		if left, _ := os.ReadDir(cache.cfg.Dir); len(left) > 0 {
			t.Errorf("%s left %v", name, left)
		}
		if len(cache.held) > 0 {
			t.Errorf("%s: still held", name)
		}
		if _, err := cache.Ensure(context.Background(), image(data), writes(data)); err != nil {
			t.Errorf("after %s: %v", name, err)
		}
	}
}

func TestEviction(t *testing.T) {
	c := open(t, t.TempDir(), 250)
	var images []Image
	add := func(i int) string {
		t.Helper()
		data := bytes.Repeat([]byte{byte(i)}, 100)
		path, err := c.Ensure(context.Background(), image(data), writes(data))
		if err != nil {
			t.Fatal(err)
		}
		at := time.Unix(int64(1_700_000_000+i), 0)
		if err := os.Chtimes(path, at, at); err != nil {
			t.Fatal(err)
		}
		images = append(images, image(data))
		return path
	}
	there := func() (s string) {
		for i, img := range images {
			if c.has(img) {
				s += fmt.Sprint(i)
			}
		}
		return s
	}
	first := add(0)
	add(1)
	add(2) // 0 and 1 are held: over the limit, and rightly so
	if there() != "012" {
		t.Fatal(there())
	}
	for _, img := range images {
		c.Release(img.SHA256)
	}
	if err := os.Link(first, filepath.Join(t.TempDir(), "disk")); err != nil { // a machine rests on it
		t.Fatal(err)
	}
	add(3)
	if there() != "03" {
		t.Fatalf("%s, want the linked and the newest", there())
	}
}

func TestTornFilesAreRemoved(t *testing.T) {
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, ".new-123"), []byte("half"), 0o600); err != nil {
		t.Fatal(err)
	}
	open(t, dir, 0)
	if left, _ := os.ReadDir(dir); len(left) > 0 {
		t.Errorf("left: %v", left)
	}
}

func TestGivingUpDoesNotEndTheDownload(t *testing.T) {
	c, data := open(t, t.TempDir(), 0), []byte("slow")
	ctx, cancel := context.WithCancel(context.Background())
	begun, goOn := make(chan struct{}), make(chan struct{})
	gaveUp := make(chan error)
	go func() {
		_, err := c.Ensure(ctx, image(data), func(ctx context.Context, w io.Writer) error {
			close(begun)
			<-goOn
			return writes(data)(ctx, w)
		})
		gaveUp <- err
	}()
	<-begun
	cancel()
	if err := <-gaveUp; !errors.Is(err, context.Canceled) {
		t.Fatal(err)
	}
	close(goOn)
	if _, err := c.Ensure(context.Background(), image(data), func(context.Context, io.Writer) error { return errors.New("a second download") }); err != nil {
		t.Fatal(err)
	}
}
