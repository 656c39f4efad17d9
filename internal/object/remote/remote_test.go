package remote_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"

	"karri.dev/internal/authz"
	shape "karri.dev/internal/aws/shape/s3"
	"karri.dev/internal/aws/sigv4"
	"karri.dev/internal/frontdoor"
	"karri.dev/internal/identity"
	"karri.dev/internal/object"
	"karri.dev/internal/object/disk"
	"karri.dev/internal/object/objecttest"
	"karri.dev/internal/object/remote"
	"karri.dev/internal/seal"
	"karri.dev/internal/service/s3"
	"karri.dev/internal/store"
)

// upstream is another Karri, of which the engine knows an endpoint, a bucket and a service account.
type upstream struct {
	engine *disk.Engine
	store  *store.Store
	cfg    remote.Config
	serve  http.HandlerFunc
	// fault, if set, may answer in place of the endpoint; true: it has.
	fault atomic.Pointer[func(http.ResponseWriter, *http.Request) bool]
}

const bucket = "karri-data"

func newUpstream(t testing.TB) *upstream {
	t.Helper()
	ctx, log := context.Background(), slog.New(slog.DiscardHandler)
	sealer, err := seal.New(make([]byte, seal.KeySize))
	if err != nil {
		t.Fatal(err)
	}
	st := store.OpenMemory(log)
	u := &upstream{store: st}
	t.Cleanup(func() { st.Close() })
	if u.engine, err = disk.Open(disk.Config{Dir: "/objects", FS: disk.InMemory()}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := u.engine.Close(); err != nil {
			t.Error(err)
		}
	})
	id := identity.New(identity.Config{}, identity.Deps{Store: st, Sealer: sealer, Log: log})
	if _, _, err := id.Bootstrap(ctx, identity.Key{}); err != nil {
		t.Fatal(err)
	}
	_, key, err := id.CreateAccount(ctx, identity.NewAccount{Name: "service"})
	if err != nil {
		t.Fatal(err)
	}
	decide := authz.New(authz.Deps{Store: st})
	if err := authz.Register[shape.API](decide, shape.Service(), s3.Permissions()); err != nil {
		t.Fatal(err)
	}
	door := frontdoor.New(frontdoor.Config{RatePerSecond: -1}, frontdoor.Deps{Authenticator: id, Authorizer: decide})
	door.Register(shape.Service(), s3.New(s3.Config{Regions: []string{"us-east-1"}}, s3.Deps{Store: st, Engine: u.engine, Authz: decide}))
	u.serve = door.ServeHTTP
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if fault := u.fault.Load(); fault == nil || !(*fault)(w, r) {
			door.ServeHTTP(w, r)
		}
	}))
	t.Cleanup(server.Close)
	u.cfg = remote.Config{
		Dir: "/o", Endpoint: server.URL, Bucket: bucket, Sealer: sealer,
		Credentials: sigv4.Credentials{AccessKeyID: key.ID, Secret: key.Secret},
	}
	makeBucket(t, u.cfg)
	return u
}

// makeBucket makes the endpoint's bucket.
func makeBucket(t testing.TB, cfg remote.Config) {
	t.Helper()
	r, err := http.NewRequest(http.MethodPut, cfg.Endpoint+"/"+cfg.Bucket, nil)
	if err != nil {
		t.Fatal(err)
	}
	sigv4.Sign(r, cfg.Credentials, "us-east-1", "s3", sigv4.UnsignedPayload, time.Now())
	a, err := http.DefaultClient.Do(r)
	if err != nil || a.StatusCode != 200 {
		t.Fatal(a, err)
	}
	if err := a.Body.Close(); err != nil {
		t.Fatal(err)
	}
}

// stored gives all that the endpoint holds: objects, and uploads under way.
func (u *upstream) stored(t testing.TB) (objects []object.Meta, uploads int) {
	t.Helper()
	b := store.Buckets.Get(u.store.Snapshot(), bucket).Engine
	l, err := u.engine.List(context.Background(), b, object.ListOptions{Max: 1 << 20})
	if err != nil {
		t.Fatal(err)
	}
	ups, _, err := u.engine.ListUploads(context.Background(), b, "", "", "", 1<<20)
	if err != nil {
		t.Fatal(err)
	}
	return l.Objects, len(ups)
}

// empty waits until the endpoint holds nothing any more.
func (u *upstream) empty(t testing.TB) {
	t.Helper()
	for deadline := time.Now().Add(time.Minute); ; time.Sleep(time.Millisecond) {
		objects, uploads := u.stored(t)
		if len(objects)+uploads == 0 {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("%d objects and %d uploads are left at the endpoint, %s first", len(objects), uploads, objects[0].Key)
		}
	}
}

var prefixes atomic.Int64

// open opens an engine of its own over the endpoint.
func (u *upstream) open(t testing.TB, change func(*remote.Config)) *disk.Engine {
	t.Helper()
	cfg := u.cfg
	cfg.FS, cfg.Prefix = disk.InMemory(), fmt.Sprintf("p%d/", prefixes.Add(1))
	if change != nil {
		change(&cfg)
	}
	e, err := remote.Open(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := e.Close(); err != nil {
			t.Error(err)
		}
	})
	return e
}

// faulty sets what answers in place of the endpoint.
func (u *upstream) faulty(fn func(http.ResponseWriter, *http.Request) bool) {
	if fn == nil {
		u.fault.Store(nil)
		return
	}
	u.fault.Store(&fn)
}

func TestContract(t *testing.T) {
	u := newUpstream(t)
	objecttest.Run(t, func(t testing.TB) object.Engine { return u.open(t, nil) })
}

// TestContractElsewhere runs the contract over an endpoint of another make, which test/rgw starts.
func TestContractElsewhere(t *testing.T) {
	var key sigv4.Credentials
	key.AccessKeyID, key.Secret, _ = strings.Cut(os.Getenv("KARRI_TEST_S3_KEY"), ":")
	cfg := remote.Config{Dir: "/o", Endpoint: os.Getenv("KARRI_TEST_S3_ENDPOINT"), Bucket: os.Getenv("KARRI_TEST_S3_BUCKET"), Credentials: key}
	if cfg.Endpoint == "" {
		t.Skip("no KARRI_TEST_S3_ENDPOINT")
	}
	sealer, err := seal.New(make([]byte, seal.KeySize))
	if err != nil {
		t.Fatal(err)
	}
	cfg.Sealer = sealer
	u := &upstream{cfg: cfg}
	makeBucket(t, cfg)
	objecttest.Run(t, func(t testing.TB) object.Engine { return u.open(t, nil) })
	t.Run("Parts", func(t *testing.T) {
		e := u.open(t, nil)
		large := objecttest.Bytes(1, 70<<20)
		put(t, e, "large", large, int64(len(large)))
		put(t, e, "unknown", large[:20<<20], -1)
		h := objecttest.NewHistory()
		for _, key := range []string{"large", "unknown"} {
			m, err := e.Head(t.Context(), "b", key, "")
			if err != nil {
				t.Fatal(err)
			}
			h.Whole(t, e, m)
		}
	})
}

func put(t testing.TB, e *disk.Engine, key string, body []byte, size int64) {
	t.Helper()
	m, err := e.Put(t.Context(), "b", object.Put{Key: key, Body: bytes.NewReader(body), Size: size})
	if err != nil {
		t.Fatal(err)
	}
	if m.ETag != objecttest.ETag(body) {
		t.Fatalf("%s: ETag %s", key, m.ETag)
	}
}

func clear(t testing.TB, e *disk.Engine) {
	t.Helper()
	l, err := e.ListVersions(t.Context(), "b", object.VersionOptions{Max: 1 << 20})
	if err != nil {
		t.Fatal(err)
	}
	for _, v := range l.Versions {
		if _, err := e.Delete(t.Context(), "b", object.Delete{Key: v.Key, VersionID: v.VersionID}); err != nil {
			t.Fatal(err)
		}
	}
	if err := e.Drop(t.Context(), "b"); err != nil { // with uploads under way
		t.Fatal(err)
	}
}

// TestNothingIsTold: what leaves is sealed, and its name says nothing.
func TestNothingIsTold(t *testing.T) {
	u := newUpstream(t)
	e := u.open(t, nil)
	secret := bytes.Repeat([]byte("the secret text "), 10000)
	put(t, e, "the-secret-key", secret[:100], 100)
	put(t, e, "the-secret-key/2", secret, int64(len(secret)))
	objects, _ := u.stored(t)
	if len(objects) != 2 {
		t.Fatalf("%d objects for two bodies", len(objects))
	}
	b := store.Buckets.Get(u.store.Snapshot(), bucket).Engine
	for _, m := range objects {
		o, err := u.engine.Get(t.Context(), b, m.Key, "")
		if err != nil {
			t.Fatal(err)
		}
		r, err := o.Range(0, m.Size)
		if err != nil {
			t.Fatal(err)
		}
		raw, err := io.ReadAll(r)
		if err := errors.Join(err, r.Close(), o.Close()); err != nil {
			t.Fatal(err)
		}
		all, err := json.Marshal(m)
		if err != nil {
			t.Fatal(err)
		}
		if bytes.Contains(append(raw, all...), []byte("secret")) {
			t.Fatalf("%s tells something", m.Key)
		}
	}
}

// TestParts: a large body goes in parts, and so does one of unknown length.
func TestParts(t *testing.T) {
	u := newUpstream(t)
	e := u.open(t, nil)
	var mu sync.Mutex
	seen := map[string]int{}
	u.faulty(func(_ http.ResponseWriter, r *http.Request) bool {
		mu.Lock()
		defer mu.Unlock()
		_, begin := r.URL.Query()["uploads"]
		switch {
		case r.URL.Query().Has("partNumber"):
			seen["part"]++
		case r.Method == http.MethodPost && begin:
			seen["begin"]++
		case r.Method == http.MethodPut:
			seen["put"]++
		}
		return false
	})
	large := objecttest.Bytes(1, 70<<20)
	put(t, e, "large", large, int64(len(large)))
	if seen["begin"] != 1 || seen["part"] != 3 || seen["put"] != 0 {
		t.Fatalf("70 MiB: %v", seen)
	}
	put(t, e, "unknown", large[:20<<20], -1)
	if seen["begin"] != 2 || seen["part"] != 6 || seen["put"] != 0 {
		t.Fatalf("20 MiB of unknown length: %v", seen)
	}
	h := objecttest.NewHistory()
	for _, key := range []string{"large", "unknown"} {
		m, err := e.Head(t.Context(), "b", key, "")
		if err != nil {
			t.Fatal(err)
		}
		h.Whole(t, e, m)
	}
	o, err := e.Get(t.Context(), "b", "large", "")
	if err != nil {
		t.Fatal(err)
	}
	r, err := o.Range(33<<20-5, 100)
	if err != nil {
		t.Fatal(err)
	}
	if b, err := io.ReadAll(r); err != nil || !bytes.Equal(b, large[33<<20-5:][:100]) {
		t.Fatalf("range: %v", err)
	}
	if err := errors.Join(r.Close(), o.Close()); err != nil {
		t.Fatal(err)
	}
	// A client that goes away leaves nothing.
	for _, size := range []int64{1 << 20, 70 << 20, -1} {
		ctx, cancel := context.WithCancel(t.Context())
		body := io.MultiReader(bytes.NewReader(large[:512<<10]), readerFunc(func([]byte) (int, error) { cancel(); return 0, ctx.Err() }))
		if _, err := e.Put(ctx, "b", object.Put{Key: "cut", Body: body, Size: size}); err == nil {
			t.Fatalf("a body of %d bytes was cut, and that is no error", size)
		}
	}
	clear(t, e)
	u.empty(t)
}

type readerFunc func([]byte) (int, error)

func (f readerFunc) Read(p []byte) (int, error) { return f(p) }

// TestUnreachable: without the endpoint its objects are a clear error, and what the index knows is there.
func TestUnreachable(t *testing.T) {
	u := newUpstream(t)
	e := u.open(t, nil)
	body := objecttest.Bytes(1, 1<<20)
	put(t, e, "k", body, -1)
	u.faulty(func(w http.ResponseWriter, _ *http.Request) bool { panic(http.ErrAbortHandler) })
	if p := e.Places(t.Context()); p[0].Online || p[0].Problem == "" {
		t.Fatalf("%+v", p)
	}
	if _, err := e.Put(t.Context(), "b", object.Put{Key: "new", Body: bytes.NewReader(body), Size: int64(len(body))}); !errors.Is(err, object.ErrOffline) {
		t.Fatalf("put: %v", err)
	}
	if _, err := e.Head(t.Context(), "b", "k", ""); err != nil {
		t.Fatal(err)
	}
	o, err := e.Get(t.Context(), "b", "k", "")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := o.Range(0, 10); !errors.Is(err, object.ErrOffline) || errors.Is(err, object.ErrCorrupt) {
		t.Fatalf("range: %v", err)
	}
	if err := o.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := e.Head(t.Context(), "b", "new", ""); !errors.Is(err, object.ErrNotFound) {
		t.Fatalf("what failed: %v", err)
	}
	u.faulty(nil)
	if p := e.Places(t.Context()); !p[0].Online {
		t.Fatalf("%+v", p)
	}
	put(t, e, "new", body, int64(len(body)))
}

// TestFaults: an endpoint that fails now and then never makes a wrong answer, and what it has acknowledged is there.
func TestFaults(t *testing.T) {
	u := newUpstream(t)
	var mu sync.Mutex
	rng := rand.New(rand.NewPCG(1, 2))
	u.faulty(func(w http.ResponseWriter, r *http.Request) bool {
		mu.Lock()
		n := rng.IntN(40)
		mu.Unlock()
		switch n {
		case 0:
			panic(http.ErrAbortHandler)
		case 1:
			http.Error(w, "<Error><Code>SlowDown</Code></Error>", http.StatusServiceUnavailable)
		case 2:
			http.Error(w, "nonsense", http.StatusInternalServerError)
		case 3: // it is done, and the answer is lost
			rec := httptest.NewRecorder()
			u.serve(rec, r)
			panic(http.ErrAbortHandler)
		default:
			return false
		}
		return true
	})
	e := u.open(t, nil)
	h := objecttest.NewHistory()
	var wg sync.WaitGroup
	for w := range 4 {
		wg.Go(func() {
			for round := range 20 { // a writer ends at the first error
				ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
				h.Write(ctx, e, uint64(round)<<8|uint64(w))
				cancel()
			}
		})
	}
	wg.Wait()
	u.faulty(nil)
	if h.Check(t, e) == 0 {
		t.Fatal("nothing was written")
	}
	clear(t, e)
	if err := e.Close(); err != nil {
		t.Fatal(err)
	}
}

// TestPowerLoss: the index loses what was not synced, again and again. What was acknowledged is there, and in the end the
// collector has found everything that nothing names.
func TestPowerLoss(t *testing.T) {
	const crashes = 10
	u := newUpstream(t)
	fs := vfs.NewCrashableMem()
	h := objecttest.NewHistory()
	rng := rand.New(rand.NewPCG(3, 4))
	checked := 0
	// Each life has its own way to the endpoint: what a dead process had sent last must not come through later.
	var dead *atomic.Bool
	reopen := func() *disk.Engine {
		fs.TestingSetDiskUsage(vfs.DiskUsage{AvailBytes: 1 << 40, TotalBytes: 1 << 40})
		cut := new(atomic.Bool)
		server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if cut.Load() {
				panic(http.ErrAbortHandler)
			}
			u.serve(w, r)
		}))
		t.Cleanup(server.Close)
		dead = cut
		return u.open(t, func(c *remote.Config) { c.FS, c.Prefix, c.Endpoint = fs, "crash/", server.URL })
	}
	for crash := range crashes {
		e := reopen()
		checked += h.Check(t, e)
		ctx, cancel := context.WithCancel(t.Context())
		var wg sync.WaitGroup
		writing := h
		for w := range 4 {
			wg.Go(func() { writing.Write(ctx, e, uint64(crash)<<8|uint64(w)) })
		}
		for range 10 + rng.IntN(60) {
			if _, err := e.Put(ctx, "clock", object.Put{Key: "tick", Body: strings.NewReader("tick"), Size: 4}); err != nil {
				t.Fatal(err)
			}
		}
		dead.Store(true)
		promised := h.Promises()
		lost := fs.CrashClone(vfs.CrashCloneCfg{UnsyncedDataPercent: []int{0, 30}[crash%2], RNG: rng})
		h = h.After(promised)
		cancel()
		wg.Wait()
		if err := e.Close(); err != nil {
			t.Fatal(err)
		}
		fs = lost
	}
	e := reopen()
	checked += h.Check(t, e)
	t.Logf("%d crashes, %d keys checked", crashes, checked)
	clear(t, e)
	if _, err := e.Delete(t.Context(), "clock", object.Delete{Key: "tick"}); err != nil {
		t.Fatal(err)
	}
	if err := e.Close(); err != nil {
		t.Fatal(err)
	}
	reopen() // its collector finds the rest
	u.empty(t)
}

// TestConfig: what cannot work is refused at once.
func TestConfig(t *testing.T) {
	good := remote.Config{Dir: "/o", FS: disk.InMemory(), Endpoint: "http://127.0.0.1:1", Bucket: "b", Prefix: "p/", Credentials: sigv4.Credentials{AccessKeyID: "a", Secret: "s"}}
	for name, change := range map[string]func(*remote.Config){
		"no key to seal with": func(*remote.Config) {},
		"no endpoint":         func(c *remote.Config) { c.Endpoint = "" },
		"a path":              func(c *remote.Config) { c.Endpoint = "http://h/p" },
		"another scheme":      func(c *remote.Config) { c.Endpoint = "ftp://h" },
		"no bucket":           func(c *remote.Config) { c.Bucket = "" },
		"no secret":           func(c *remote.Config) { c.Credentials.Secret = "" },
	} {
		cfg := good
		change(&cfg)
		if e, err := remote.Open(cfg); err == nil {
			t.Errorf("%s: no error", name)
			_ = e.Close()
		}
	}
}
