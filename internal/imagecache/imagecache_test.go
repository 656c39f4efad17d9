package imagecache

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"pgregory.net/rapid"
)

func open(t *testing.T, dir string, limit int64) *Cache {
	t.Helper()
	c, err := New(Config{Dir: dir, MaxBytes: limit}, slog.New(slog.DiscardHandler), time.Now)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func image(data []byte) Image {
	sum := sha256.Sum256(data)
	return Image{SHA256: hex.EncodeToString(sum[:]), Size: int64(len(data))}
}

func from(data []byte) Fetch {
	return func(_ context.Context, w io.Writer) error {
		_, err := io.Copy(w, bytes.NewReader(data))
		return err
	}
}

func never(t *testing.T) Fetch {
	return func(context.Context, io.Writer) error { t.Error("fetched again"); return errors.New("no") }
}

func TestOneDownload(t *testing.T) {
	c := open(t, t.TempDir(), 0)
	data := bytes.Repeat([]byte("x"), 100_000)
	var fetches atomic.Int32
	gate := make(chan struct{})
	var wg sync.WaitGroup
	for range 20 {
		wg.Go(func() {
			path, err := c.Ensure(t.Context(), image(data), func(ctx context.Context, w io.Writer) error {
				fetches.Add(1)
				<-gate
				return from(data)(ctx, w)
			})
			if err != nil {
				t.Error(err)
				return
			}
			if got, err := os.ReadFile(path); err != nil || !bytes.Equal(got, data) {
				t.Errorf("%d bytes, %v", len(got), err)
			}
		})
	}
	close(gate)
	wg.Wait()
	if n := fetches.Load(); n != 1 {
		t.Errorf("%d downloads", n)
	}
	if n := c.entries[image(data).SHA256].holds; n != 20 {
		t.Errorf("%d holds", n)
	}
	fi, err := os.Stat(c.path(image(data)))
	if err != nil || fi.Mode().Perm() != 0o444 {
		t.Errorf("%v, %v", fi.Mode(), err)
	}
}

func TestRefused(t *testing.T) {
	dir := t.TempDir()
	c := open(t, dir, 0)
	data := []byte("an image")
	good := image(data)
	lost := errors.New("connection lost")
	for name, test := range map[string]struct {
		img   Image
		fetch Fetch
		want  error
	}{
		"wrong bytes":    {good, from([]byte("no image")), ErrCorrupt},
		"too short":      {good, from(data[:3]), ErrCorrupt},
		"too long":       {good, from([]byte("an image and more")), ErrCorrupt},
		"error hidden":   {good, func(_ context.Context, w io.Writer) error { w.Write(make([]byte, 99)); return nil }, ErrCorrupt},
		"fetch fails":    {good, func(context.Context, io.Writer) error { return lost }, lost},
		"no digest":      {Image{SHA256: "../../etc/passwd", Size: 8}, from(data), ErrCorrupt},
		"upper case":     {Image{SHA256: "A" + good.SHA256[1:], Size: 8}, from(data), ErrCorrupt},
		"negative size":  {Image{SHA256: good.SHA256, Size: -1}, from(data), ErrCorrupt},
		"wrong size too": {Image{SHA256: good.SHA256, Size: 7}, from(data), ErrCorrupt},
	} {
		if _, err := c.Ensure(t.Context(), test.img, test.fetch); !errors.Is(err, test.want) {
			t.Errorf("%s: %v", name, err)
		}
		if files, _ := os.ReadDir(dir); len(files) != 0 {
			t.Errorf("%s: left %v", name, files)
		}
	}
	if _, err := c.Ensure(t.Context(), good, from(data)); err != nil {
		t.Errorf("after failures: %v", err)
	}
}

func TestRestart(t *testing.T) {
	dir := t.TempDir()
	data := []byte("an image")
	img := image(data)
	if _, err := open(t, dir, 0).Ensure(t.Context(), img, from(data)); err != nil {
		t.Fatal(err)
	}
	os.WriteFile(filepath.Join(dir, partial+"1"), []byte("half"), 0o600)
	broken := image([]byte("another"))
	os.WriteFile(filepath.Join(dir, name(broken)), []byte("anoth"), 0o444)
	os.WriteFile(filepath.Join(dir, "README"), []byte("not ours"), 0o600)
	c := open(t, dir, 0)
	if _, ok := c.Hold(img.SHA256); !ok {
		t.Error("forgotten")
	}
	if _, ok := c.Hold(broken.SHA256); ok {
		t.Error("half a file is taken for whole")
	}
	if _, err := c.Ensure(t.Context(), img, never(t)); err != nil {
		t.Error(err)
	}
	files, _ := os.ReadDir(dir)
	if len(files) != 2 {
		t.Errorf("left %v", files)
	}
}

func TestCancelled(t *testing.T) {
	c := open(t, t.TempDir(), 0)
	data := []byte("an image")
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan struct{})
	_, err := c.Ensure(ctx, image(data), func(ctx context.Context, _ io.Writer) error {
		defer close(ended)
		cancel()
		<-ctx.Done() // the last one who waited has gone
		return ctx.Err()
	})
	if !errors.Is(err, context.Canceled) {
		t.Errorf("err = %v", err)
	}
	if _, err = c.Ensure(t.Context(), image(data), from(data)); err != nil { // whether or not that has ended
		t.Errorf("afterwards: %v", err)
	}
	<-ended
}

// TestLimit checks random histories: what is held stays, the limit is kept, the longest unused goes first.
func TestLimit(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		dir, err := os.MkdirTemp(t.TempDir(), "")
		if err != nil {
			rt.Fatal(err)
		}
		const limit = 100
		now := time.Unix(0, 0)
		c, err := New(Config{Dir: dir, MaxBytes: limit}, slog.New(slog.DiscardHandler), func() time.Time { now = now.Add(time.Second); return now })
		if err != nil {
			rt.Fatal(err)
		}
		holds := map[byte]int{}
		data := func(k byte) []byte { return bytes.Repeat([]byte{k}, int(k)*10) }
		for range rapid.IntRange(1, 40).Draw(rt, "steps") {
			k := rapid.ByteRange(1, 6).Draw(rt, "image")
			if rapid.Bool().Draw(rt, "release") {
				if holds[k] > 0 {
					holds[k]--
					c.Release(image(data(k)).SHA256)
				}
				continue
			}
			_, err := c.Ensure(t.Context(), image(data(k)), from(data(k)))
			var held int
			for k, n := range holds {
				if n > 0 {
					held += int(k) * 10
				}
			}
			fits := holds[k] > 0 || held+int(k)*10 <= limit
			if err == nil {
				holds[k]++
			}
			if errors.Is(err, ErrNoSpace) && fits || err != nil && !errors.Is(err, ErrNoSpace) {
				rt.Fatalf("image %d: %v with %d held", k, err, held)
			}
			total := 0
			files, _ := os.ReadDir(dir)
			for _, f := range files {
				fi, _ := f.Info()
				total += int(fi.Size())
			}
			if total > limit {
				rt.Fatalf("%d bytes kept", total)
			}
			for k, n := range holds {
				if _, err := os.Stat(c.path(image(data(k)))); n > 0 && err != nil {
					rt.Fatalf("held image: %v", err)
				}
			}
		}
	})
}
