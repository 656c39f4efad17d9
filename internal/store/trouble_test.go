package store

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"karri.dev/internal/store/embedded"
)

// switched is an engine that can be cut off.
type switched struct {
	engine
	down, deaf atomic.Bool // commits fail; commits of others are not heard of
	compacted  atomic.Bool
}

func (s *switched) commit(ctx context.Context, guard int64, value []byte, pairs []pair) (headValue, bool, error) {
	if s.down.Load() {
		return headValue{}, false, errFault
	}
	return s.engine.commit(ctx, guard, value, pairs)
}

func (s *switched) follow(ctx context.Context, revision int64, each func(commitEvent) error) error {
	if s.compacted.Swap(false) {
		return errCompacted
	}
	return s.engine.follow(ctx, revision, func(ev commitEvent) error {
		if s.deaf.Load() {
			return errFault
		}
		return each(ev)
	})
}

func TestCutOff(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newMemory()
		sw := &switched{engine: m}
		s, other := openOn(t, sw), openOn(t, m)
		mustUpdate(t, s, put(&thing{ID: "a"}))

		sw.down.Store(true)
		began := time.Now()
		if err := s.Update(context.Background(), put(&thing{ID: "b"})); !errors.Is(err, ErrUnknownOutcome) || time.Since(began) < patience {
			t.Errorf("after %v: %v", time.Since(began), err)
		}
		if s.Healthy() == nil {
			t.Error("healthy without a connection")
		}
		if err := s.Update(context.Background(), func(tx *Tx) error { things.Get(tx, "a"); return nil }); err != nil {
			t.Errorf("a transaction that only reads: %v", err)
		}
		sw.down.Store(false)
		mustUpdate(t, s, put(&thing{ID: "c"}))
		wantIDs(t, things.All(s.Snapshot()), "a", "c")

		sw.deaf.Store(true)
		if err := other.Sync(context.Background()); err != nil {
			t.Fatal(err)
		}
		mustUpdate(t, other, put(&thing{ID: "d"}))
		bad := errors.New("bad")
		var wg sync.WaitGroup
		for range 3 {
			wg.Go(func() {
				if err := s.Update(context.Background(), put(&thing{ID: "e"})); !errors.Is(err, ErrUnavailable) {
					t.Errorf("an update on an old state: %v", err)
				}
			})
		}
		wg.Wait()
		if err := s.Update(context.Background(), func(*Tx) error { return bad }); err != bad {
			t.Errorf("error %v", err)
		}
		if s.check() == nil {
			t.Error("nobody notices that the mirror is behind")
		}
		sw.deaf.Store(false)
		if err := s.Sync(context.Background()); err != nil {
			t.Error(err)
		}
		if err := s.check(); err != nil {
			t.Error(err)
		}
		mustUpdate(t, s, put(&thing{ID: "f"}))
		wantIDs(t, things.All(s.Snapshot()), "a", "c", "d", "f")

		sw.down.Store(true)
		wg.Go(func() {
			if err := s.Update(context.Background(), put(&thing{ID: "g"})); !errors.Is(err, ErrUnknownOutcome) {
				t.Errorf("closed in the middle: %v", err)
			}
		})
		synctest.Wait()
		s.Close()
		wg.Wait()
	})
}

func TestReload(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newMemory()
		sw := &switched{engine: m}
		s, other := openOn(t, sw), openOn(t, m)
		mustUpdate(t, s, put(&thing{ID: "a"}))
		f := s.Feed(things)
		f.Next(t.Context())
		synctest.Wait() // its follower has seen its own commit, or that would already be the cut
		sw.deaf.Store(true)
		sw.compacted.Store(true)
		if err := other.Sync(t.Context()); err != nil {
			t.Fatal(err)
		}
		mustUpdate(t, other, func(tx *Tx) error { things.Delete(tx, "a"); return things.Put(tx, &thing{ID: "b"}) })
		changes, snap, err := f.Next(t.Context())
		if changes != nil || err != nil {
			t.Errorf("after loading anew: %v, %v", changes, err)
		}
		wantIDs(t, things.All(snap), "b")
		sw.deaf.Store(false)
		mustUpdate(t, other, put(&thing{ID: "c"}))
		if changes, _, err := f.Next(t.Context()); len(changes) != 1 || err != nil {
			t.Errorf("then: %v, %v", changes, err)
		}
	})
}

// What a newer Karri wrote stops an older one from writing; it goes on with what it knew.
func TestNewerRecords(t *testing.T) {
	for name, p := range map[string]pair{
		"table":   {"of-the-future", "x", []byte("\x01{}")},
		"version": {"test-things", "x", []byte("\x02{}")},
		"another": {"test-things", "x", []byte("\x01" + `{"id":"y"}`)},
		"garbage": {"test-things", "x", []byte("\x01{")},
		"empty":   {"test-things", "x", []byte{}},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				m := newMemory()
				s := openOn(t, m)
				mustUpdate(t, s, put(&thing{ID: "a"}))
				if _, ok, err := m.commit(t.Context(), 1, []byte("w-1"), []pair{p}); !ok || err != nil {
					t.Fatal(ok, err)
				}
				if err := s.Sync(t.Context()); err == nil {
					t.Error("Sync says that all is there")
				}
				if s.Healthy() == nil {
					t.Error("healthy")
				}
				if err := s.Update(t.Context(), put(&thing{ID: "b"})); !errors.Is(err, ErrUnavailable) {
					t.Errorf("update: %v", err)
				}
				wantIDs(t, things.All(s.Snapshot()), "a")
				if again, err := open(t.Context(), quiet, m); err == nil {
					again.Close()
					t.Error("opened")
				}
			})
		})
	}
}

func TestUpgrade(t *testing.T) {
	t2 := &Table[thing]{
		name: "t", version: 3, key: func(t *thing) string { return t.ID },
		upgrade: func(version int, data []byte) ([]byte, error) {
			if version == 1 {
				return nil, errors.New("too old")
			}
			return []byte(strings.ReplaceAll(string(data), `"label"`, `"name"`)), nil
		},
	}
	got, err := t2.decode([]byte("\x02" + `{"id":"a","label":"n"}`))
	if err != nil || got.Name != "n" {
		t.Errorf("%v %v", got, err)
	}
	for _, bad := range []string{"", "\x01{}", "\x04{}", "\x03[]"} {
		if _, err := t2.decode([]byte(bad)); err == nil {
			t.Errorf("%q was read", bad)
		}
	}
}

// Import tasks of before had one volume; a task that waited for its parts goes on, and one that is done is shown.
func TestImportTaskOfBefore(t *testing.T) {
	for _, status := range []string{"active", "completed"} {
		got, err := ImportTasks.decode([]byte("\x01" + `{"id":"import-vol-1","status":"` + status + `","disks":[{"key":"m"}],"volume":{"id":"vol-1","zone":"z","size_gib":8,"bytes":7}}`))
		if err != nil || got.Status != status || !got.Conversion() || got.Target() != "vol-1" || got.Volumes[0].SizeGiB != 8 || got.Disks[0].Key != "m" {
			t.Errorf("%+v %v", got, err)
		}
	}
	got, err := ImportTasks.decode([]byte("\x01" + `{"id":"import-ami-1","image":"ami-1"}`))
	if err != nil || got.Conversion() || got.Target() != "ami-1" {
		t.Errorf("%+v %v", got, err)
	}
	if _, err := ImportTasks.decode([]byte("\x01[]")); err == nil {
		t.Error("rubbish was read")
	}
}

func TestHeadValue(t *testing.T) {
	var h head
	for i := range 3 * recentWriters {
		writer := fmt.Sprint("w", i%(recentWriters+10))
		commit := fmt.Sprint(writer, "-", i)
		h = headValue{int64(i), h.with(writer, commit)}.parse()
		if !h.last(commit) || len(h.commits) > recentWriters {
			t.Fatalf("%v", h)
		}
		if i > 0 && !h.has(fmt.Sprint("w", (i-1)%(recentWriters+10), "-", i-1)) {
			t.Fatalf("the commit before is forgotten: %v", h)
		}
	}
}

// TestExternal is a store whose etcd goes away and comes back, and clients that must not get in.
func TestExternal(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	ca, stranger := newAuthority(t, dir), newAuthority(t, dir)
	cert, key := ca.issue(t, dir, "server", "")
	addr := freeAddress(t)
	start := func() *embedded.Server {
		server, err := embedded.Start(t.Context(), embedded.Config{
			Dir: filepath.Join(dir, "etcd"), Listen: addr,
			TLS: embedded.TLS{Cert: cert, Key: key, ClientCA: ca.file, ClientName: "store-client"},
		}, quiet)
		if err != nil {
			t.Fatal(err)
		}
		return server
	}
	server := start()
	defer func() { server.Close() }()
	goodCert, goodKey := ca.issue(t, dir, "good", "store-client")
	wrongCert, wrongKey := ca.issue(t, dir, "node", "node-1")
	strangeCert, strangeKey := stranger.issue(t, dir, "strange", "store-client")
	for name, x := range map[string]External{
		"no certificate": {CA: ca.file},
		"a node's":       {CA: ca.file, Cert: wrongCert, Key: wrongKey},
		"another CA's":   {CA: ca.file, Cert: strangeCert, Key: strangeKey},
		"another server": {CA: stranger.file, Cert: goodCert, Key: goodKey},
		"no TLS":         {},
	} {
		x.Endpoints = []string{"https://" + addr}
		if name == "no TLS" {
			x.Endpoints = []string{"http://" + addr}
		}
		ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
		if s, err := Open(ctx, Config{External: x}, quiet); err == nil {
			s.Close()
			t.Errorf("%s: got in", name)
		}
		cancel()
	}
	s, err := Open(t.Context(), Config{External: External{Endpoints: []string{"https://" + addr}, Cert: goodCert, Key: goodKey, CA: ca.file}}, quiet)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	mustUpdate(t, s, put(&thing{ID: "a"}))
	var wg sync.WaitGroup
	wg.Go(func() { // commits while it is away come through when it is back
		for i := range 20 {
			if err := s.Update(context.Background(), put(&thing{ID: fmt.Sprintf("b%02d", i)})); err != nil {
				t.Errorf("update %d: %v", i, err)
			}
			time.Sleep(10 * time.Millisecond)
		}
	})
	time.Sleep(30 * time.Millisecond)
	server.Close()
	time.Sleep(200 * time.Millisecond)
	server = start()
	wg.Wait()
	if n := things.Len(s.Snapshot()); n != 21 {
		t.Errorf("%d records", n)
	}
	// Something else writes into the state: it is loaded anew.
	if _, err := server.Client().Put(t.Context(), "/karri/state/r/test-things/z", "\x01"+`{"id":"z"}`); err != nil {
		t.Fatal(err)
	}
	for things.Get(s.Snapshot(), "z") == nil {
		<-s.Changed()
	}
	mustUpdate(t, s, put(&thing{ID: "c"}))
	for s.Healthy() != nil {
		time.Sleep(10 * time.Millisecond)
	}
}

func TestLostLeadership(t *testing.T) {
	t.Parallel()
	server, err := embedded.Start(t.Context(), embedded.Config{Dir: t.TempDir()}, quiet)
	if err != nil {
		t.Fatal(err)
	}
	defer server.Close()
	e := &election{quiet, server.Client(), "/test/"}
	terms := 0
	err = e.lead(t.Context(), "job", func(ctx context.Context) error {
		if terms++; terms == 2 {
			return nil
		}
		got, err := server.Client().Get(ctx, "/test/lead/job", clientv3.WithPrefix())
		if err != nil || len(got.Kvs) != 1 {
			return fmt.Errorf("%v %w", got, err)
		}
		if _, err := server.Client().Revoke(ctx, clientv3.LeaseID(got.Kvs[0].Lease)); err != nil {
			return err
		}
		<-ctx.Done()
		return ctx.Err()
	})
	if err != nil || terms != 2 {
		t.Errorf("%d terms, %v", terms, err)
	}
}

func FuzzDecode(f *testing.F) {
	f.Add([]byte{})
	f.Add([]byte("\x01" + `{"id":"i-1","account":"000000000001","launched":"2026-11-21T00:00:00Z"}`))
	f.Add([]byte("\x02{}"))
	f.Add([]byte("\x01null"))
	f.Fuzz(func(t *testing.T, value []byte) {
		rec, err := Instances.decode(value)
		if err != nil {
			return
		}
		again, err := Instances.encode(rec)
		if err != nil {
			t.Fatalf("read but not written: %v", err)
		}
		if _, err := Instances.decode(again); err != nil {
			t.Fatalf("written but not read: %v", err)
		}
	})
}

func FuzzHeadAndKeys(f *testing.F) {
	f.Add([]byte("w-1\nv-2"), "r/instances/i-1")
	f.Add([]byte("\n\n"), "r/")
	f.Fuzz(func(t *testing.T, value []byte, key string) {
		h := headValue{1, value}.parse()
		if next := (headValue{2, h.with("w", "w-9")}).parse(); !next.last("w-9") || len(next.commits) > recentWriters {
			t.Errorf("%q leads to %v", value, next)
		}
		e := &etcd{prefix: "/karri/"}
		if table, name, ok, err := e.parse([]byte(e.state() + key)); ok && err == nil && e.recordKey(table, name) != e.state()+key {
			t.Errorf("key %q is read as %q %q", key, table, name)
		}
	})
}
