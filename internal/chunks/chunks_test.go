package chunks

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"io"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"

	"karri.dev/internal/object"
	"karri.dev/internal/object/disk"
	"karri.dev/internal/resource"
	"karri.dev/internal/sparse"
)

func newStore(t *testing.T) *Store {
	e, err := disk.Open(disk.Config{Dir: "/objects", FS: disk.InMemory()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { e.Close() })
	return New(e, []byte("key"))
}

// pattern is a disk of blocks, each full of one byte; 0 is a hole.
type pattern []byte

func (p pattern) Size() int64 { return int64(len(p)) * Size }

func (p pattern) Next(off int64) (from, to int64, err error) {
	for i := off / Size; i < int64(len(p)); i++ {
		if p[i] != 0 {
			return max(off, i*Size), (i + 1) * Size, nil
		}
	}
	return p.Size(), p.Size(), nil
}

func (p pattern) ReadAt(b []byte, off int64) (int, error) {
	for n := range b {
		at := off + int64(n)
		if at >= p.Size() {
			return n, io.EOF
		}
		b[n] = p[at/Size]
	}
	return len(b), nil
}

func (s *Store) count(t *testing.T, prefix string) int {
	t.Helper()
	keys, err := s.keys(t.Context(), prefix)
	if err != nil {
		t.Fatal(err)
	}
	return len(keys)
}

func save(t *testing.T, s *Store, snap string, p pattern) Stored {
	t.Helper()
	n, err := s.Save(t.Context(), ListKey(snap), p, func(int) {})
	if err != nil {
		t.Fatal(err)
	}
	return n
}

func check(t *testing.T, s *Store, snap string, p pattern) {
	t.Helper()
	d, err := s.Open(t.Context(), ListKey(snap), p.Size())
	if err != nil {
		t.Fatal(err)
	}
	got, want := make([]byte, p.Size()), make([]byte, p.Size())
	p.ReadAt(want, 0)
	if _, err := io.ReadFull(io.NewSectionReader(d, 0, d.Size()), got); err != nil || !bytes.Equal(got, want) {
		t.Errorf("%s reads differently: %v", snap, err)
	}
	clear(got)
	if err := sparse.Blocks(d, 64<<10, func(i int64, b []byte) error { copy(got[i*(64<<10):], b); return nil }); err != nil || !bytes.Equal(got, want) {
		t.Errorf("%s has data outside of its ranges: %v", snap, err)
	}
}

func keeping(snaps ...string) func() map[string]bool {
	keep := map[string]bool{}
	for _, s := range snaps {
		keep[ListKey(s)] = true
	}
	return func() map[string]bool { return keep }
}

func TestSnapshots(t *testing.T) {
	s := newStore(t)
	a, b := pattern{1, 0, 2, 2, 0, 0, 0, 3}, pattern{1, 4, 2, 0, 0, 0, 0, 3, 3}
	if n := save(t, s, "a", a); n.Blocks != 4 || n.New < 3 {
		t.Errorf("%+v", n)
	}
	if n := save(t, s, "b", b); n.New != 1 {
		t.Errorf("the second snapshot stored %d new blocks, not the one that is new", n.New)
	}
	check(t, s, "a", a)
	check(t, s, "b", b)
	if n := s.count(t, blockPrefix); n != 4 {
		t.Errorf("%d blocks", n)
	}
	if n, err := s.Sweep(t.Context(), true, keeping("a", "b")); err != nil || n != (Swept{}) {
		t.Errorf("%+v, %v", n, err)
	}
	if n, err := s.Sweep(t.Context(), false, keeping("b")); err != nil || n != (Swept{Lists: 1}) {
		t.Errorf("what b has is shared: %+v, %v", n, err)
	}
	check(t, s, "b", b)
	// What a crash has left: blocks without a list.
	w := s.NewWriter()
	if _, err := w.Add(t.Context(), 0, bytes.Repeat([]byte{9}, Size)); err != nil {
		t.Fatal(err)
	}
	if n, err := s.Sweep(t.Context(), true, keeping("b")); err != nil || n.Blocks != 0 {
		t.Errorf("swept what a writer holds: %+v, %v", n, err)
	}
	w.Close()
	if n, err := s.Sweep(t.Context(), true, keeping("b")); err != nil || n.Blocks != 1 {
		t.Errorf("%+v, %v", n, err)
	}
	if n, err := s.Sweep(t.Context(), false, keeping()); err != nil || n != (Swept{1, 4}) || s.count(t, "") != 0 {
		t.Errorf("%+v, %v; %d objects are left", n, err, s.count(t, ""))
	}
}

func TestDamage(t *testing.T) {
	s := newStore(t)
	p := pattern{1, 2}
	save(t, s, "a", p)
	other := bytes.Repeat([]byte{7}, Size)
	id := s.Name(bytes.Repeat([]byte{2}, Size))
	if _, err := s.objects.Put(t.Context(), Bucket, object.Put{Key: id.key(), Body: bytes.NewReader(other), Size: Size}); err != nil {
		t.Fatal(err)
	}
	d, err := s.Open(t.Context(), ListKey("a"), p.Size())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := d.ReadAt(make([]byte, 10), Size); !errors.Is(err, ErrDamaged) {
		t.Errorf("read a block with another one's content: %v", err)
	}
	if _, err := d.ReadAt(make([]byte, 10), 0); err != nil {
		t.Error(err)
	}
}

func TestLoose(t *testing.T) {
	s := newStore(t)
	save(t, s, "parent", pattern{1, 2, 3})
	put := func(index uint32, b byte) {
		t.Helper()
		if err := s.PutLoose(t.Context(), "snap-1", index, bytes.Repeat([]byte{b}, Size)); err != nil {
			t.Fatal(err)
		}
	}
	put(1, 7)
	put(1, 8)
	put(2, 0)
	put(5, 9)
	loose, err := s.Loose(t.Context(), "snap-1")
	if err != nil || len(loose) != 3 || loose[0].Index != 1 || loose[2].Index != 5 || loose[2].SHA256 != sha256.Sum256(bytes.Repeat([]byte{9}, Size)) {
		t.Errorf("%+v, %v", loose, err)
	}
	pending := func() map[string]bool {
		keep := keeping("parent", "snap-1")()
		keep[looseKeys("snap-1")] = true
		return keep
	}
	if n, err := s.Sweep(t.Context(), true, pending); err != nil || n.Lists != 0 || n.Blocks != 1 { // 7
		t.Errorf("%+v, %v", n, err)
	}
	for range 2 {
		if n, err := s.Join(t.Context(), "snap-1", "", &resource.ImageData{Format: Format, Key: ListKey("parent")}); err != nil || n != 3 {
			t.Fatal(n, err)
		}
	}
	if err := s.DropLoose(t.Context(), "snap-1"); err != nil {
		t.Fatal(err)
	}
	check(t, s, "snap-1", pattern{1, 8, 0, 0, 0, 9})
	put(9, 10)
	if _, err := s.Sweep(t.Context(), false, keeping()); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Sweep(t.Context(), true, keeping()); err != nil || s.count(t, "") != 0 {
		t.Errorf("%d objects are left, %v", s.count(t, ""), err)
	}
}

// TestPart: a list in parts of every size is the list.
func TestPart(t *testing.T) {
	s := newStore(t)
	save(t, s, "a", pattern{1, 0, 0, 2, 3, 0, 1, 1})
	all, err := s.List(t.Context(), ListKey("a"))
	if err != nil || len(all) != 5 {
		t.Fatal(all, err)
	}
	for most := 1; most < 7; most++ {
		for from := range uint32(10) {
			want := slices.DeleteFunc(slices.Clone(all), func(e Entry) bool { return e.Index < from })
			got, err := s.Part(t.Context(), ListKey("a"), from, most)
			if err != nil || !slices.Equal(got, want[:min(most, len(want))]) {
				t.Errorf("%d from %d: %v, %v", most, from, got, err)
			}
		}
	}
}

// TestSweepRaces: snapshots that share blocks are made and deleted while sweeps run; what is kept stays whole.
func TestSweepRaces(t *testing.T) {
	s := newStore(t)
	var mu sync.Mutex
	live := map[string]bool{}
	ctx, stop := context.WithCancel(t.Context())
	var sweeper, writers sync.WaitGroup
	sweeper.Go(func() {
		for i := 0; ctx.Err() == nil; i++ {
			_, err := s.Sweep(t.Context(), i%2 == 0, func() map[string]bool {
				mu.Lock()
				defer mu.Unlock()
				keep := map[string]bool{}
				for k := range live {
					keep[k] = true
				}
				return keep
			})
			if err != nil {
				t.Error(err)
				return
			}
		}
	})
	for w := range 3 {
		writers.Go(func() {
			rnd := rand.New(rand.NewPCG(uint64(w), 1))
			for i := range 12 {
				snap := string(rune('a'+w)) + string(rune('a'+i))
				p := pattern{byte(rnd.IntN(4)), byte(rnd.IntN(4)), byte(rnd.IntN(4))}
				mu.Lock()
				live[ListKey(snap)] = true
				mu.Unlock()
				if _, err := s.Save(ctx, ListKey(snap), p, func(int) {}); err != nil {
					t.Error(err)
					return
				}
				check(t, s, snap, p)
				mu.Lock()
				delete(live, ListKey(snap))
				mu.Unlock()
			}
		})
	}
	writers.Wait()
	stop()
	sweeper.Wait()
	if _, err := s.Sweep(t.Context(), true, keeping()); err != nil || s.count(t, "") != 0 {
		t.Errorf("%d objects are left, %v", s.count(t, ""), err)
	}
}

// TestChanges: what lies over an earlier snapshot gives the same list as the whole disk.
func TestChanges(t *testing.T) {
	s := newStore(t)
	rnd := rand.New(rand.NewPCG(7, 7))
	for round := range 30 {
		parent, next := make(pattern, 12), make(pattern, 12+round%3)
		changed := map[int64]bool{}
		for i := range parent {
			parent[i] = byte(rnd.IntN(3))
		}
		copy(next, parent)
		for range rnd.IntN(6) {
			i := rnd.IntN(len(next))
			next[i], changed[int64(i)] = byte(rnd.IntN(4)), true
		}
		save(t, s, "parent", parent)
		_, err := s.SaveChanges(t.Context(), ListKey("next"), next, ListKey("parent"), func(off int64) (from, to int64, err error) {
			for i := off / Size; i < int64(len(next)); i++ {
				if changed[i] {
					return max(off, i*Size), (i + 1) * Size, nil
				}
			}
			return next.Size(), next.Size(), nil
		}, func(int) {})
		if err != nil {
			t.Fatal(err)
		}
		check(t, s, "next", next)
	}
}
