package serve

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"karri.dev/internal/pki"
)

const vol = "vol-0123456789abcdef0"

// rig is a server with its zone's certificate, and an authority that makes others.
type rig struct {
	t    testing.TB
	s    *Server
	ca   *pki.Authority
	addr string
	path string
}

func newRig(t testing.TB) *rig {
	ca, err := pki.NewAuthority("test", time.Now)
	if err != nil {
		t.Fatal(err)
	}
	r := &rig{t: t, ca: ca, s: NewServer("us-east-1a", slog.New(slog.DiscardHandler)), path: filepath.Join(t.TempDir(), vol)}
	if err := os.WriteFile(r.path, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Truncate(r.path, 1<<20); err != nil {
		t.Fatal(err)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	r.addr = l.Addr().String()
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		defer close(done)
		r.s.Serve(ctx, l, r.keys(pki.Identity{Role: "zone", Name: "us-east-1a"}).ServerConfig(ca.Pool()))
	}()
	t.Cleanup(func() { cancel(); <-done; r.s.Set(nil) })
	return r
}

func (r *rig) keys(id pki.Identity) *pki.KeyPair {
	key, err := pki.NewKey()
	if err != nil {
		r.t.Fatal(err)
	}
	leaf, err := r.ca.Issue(id, nil, key.Public())
	if err != nil {
		r.t.Fatal(err)
	}
	keys, err := pki.NewKeyPair("", key, leaf, r.ca.Certificate())
	if err != nil {
		r.t.Fatal(err)
	}
	return keys
}

func (r *rig) grant(node string) []Grant { return []Grant{{Volume: vol, Node: node, Path: r.path}} }

// as gives a socket that leads to the server as somebody.
func (r *rig) as(id pki.Identity) string {
	config := r.keys(id).ClientConfig(r.ca.Pool(), pki.Identity{Role: "zone", Name: "us-east-1a"})
	path := filepath.Join(r.t.TempDir(), "s")
	l, err := net.Listen("unix", path)
	if err != nil {
		r.t.Fatal(err)
	}
	r.t.Cleanup(func() { l.Close() })
	go func() {
		for {
			near, err := l.Accept()
			if err != nil {
				return
			}
			far, err := tls.Dial("tcp", r.addr, config)
			if err != nil {
				near.Close()
				continue
			}
			go pipe(near, far)
			go pipe(far, near)
		}
	}()
	return path
}

func pipe(to, from net.Conn) {
	b := make([]byte, 64<<10)
	for {
		n, err := from.Read(b)
		if n > 0 {
			if _, err := to.Write(b[:n]); err != nil {
				break
			}
		}
		if err != nil {
			break
		}
	}
	to.Close()
	from.Close()
}

// io carries out qemu-io's commands on the volume behind a socket.
func (r *rig) io(socket string, commands ...string) error {
	r.t.Helper()
	args := []string{"--image-opts", "driver=nbd,server.type=unix,server.path=" + socket + ",export=" + vol}
	for _, c := range commands {
		args = append(args, "-c", c)
	}
	ctx, cancel := context.WithTimeout(r.t.Context(), 30*time.Second)
	defer cancel()
	out, err := exec.CommandContext(ctx, "qemu-io", args...).CombinedOutput()
	if err == nil && (strings.Contains(string(out), "fail") || strings.Contains(string(out), "rror")) {
		err = errors.New("commands failed")
	}
	if err != nil {
		return fmt.Errorf("%w: %s", err, out)
	}
	return nil
}

func node(name string) pki.Identity {
	return pki.Identity{Role: "node", Name: name, Zone: "us-east-1a"}
}

// TestOnlyTheNode: only the node that has the attachment gets the volume.
func TestOnlyTheNode(t *testing.T) {
	r := newRig(t)
	a := r.as(node("node-a"))
	if r.io(a, "read 0 512") == nil {
		t.Error("served before anything was granted")
	}
	if no := r.s.Set(r.grant("node-a")); len(no) != 0 {
		t.Fatal(no)
	}
	if err := r.io(a, "write -P 0x77 4096 8192", "flush", "read -P 0x77 4096 8192", "read -P 0 0 4096"); err != nil {
		t.Error(err)
	}
	for _, who := range []pki.Identity{node("node-b"), {Role: "node", Name: "node-a", Zone: "us-east-1b"}, {Role: "zone", Name: "us-east-1a"}, {Role: "cloud", Name: "node-a"}} {
		if r.io(r.as(who), "read 0 512") == nil {
			t.Errorf("%+v got the volume", who)
		}
	}
	stranger := *r
	ca, err := pki.NewAuthority("other", time.Now)
	if err != nil {
		t.Fatal(err)
	}
	stranger.ca = ca
	config := stranger.keys(node("node-a")).ClientConfig(ca.Pool(), pki.Identity{})
	config.VerifyConnection = nil
	if c, err := tls.Dial("tcp", r.addr, config); err == nil {
		c.SetDeadline(time.Now().Add(5 * time.Second))
		if _, err := c.Read(make([]byte, 1)); err == nil {
			t.Error("another authority's certificate was good enough")
		}
		c.Close()
	}
}

// TestFence: a grant that ends takes the connection with it, and the file is locked for as long as there is a grant.
func TestFence(t *testing.T) {
	r := newRig(t)
	locked := func() bool {
		f, err := os.Open(r.path)
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		return unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB) != nil
	}
	r.s.Set(r.grant("node-a"))
	a, b := r.as(node("node-a")), r.as(node("node-b"))
	held := exec.Command("qemu-io", "--image-opts", "driver=nbd,server.type=unix,server.path="+a+",export="+vol)
	stdin, err := held.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := held.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() { stdin.Close(); held.Wait() }()
	for r.s.Served() == 0 {
		time.Sleep(time.Millisecond)
	}
	if !locked() {
		t.Error("the file is not locked")
	}
	if no := r.s.Set(r.grant("node-b")); len(no) != 0 || r.s.Served() != 0 {
		t.Errorf("refused %v, %d connections are left", no, r.s.Served())
	}
	if r.io(a, "write 0 512") == nil {
		t.Error("who had it before writes")
	}
	if err := r.io(b, "write 0 512"); err != nil {
		t.Error(err)
	}
	r.s.Set(nil)
	if locked() {
		t.Error("still locked")
	}
	f, err := os.Open(r.path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	unix.Flock(int(f.Fd()), unix.LOCK_EX)
	if no := r.s.Set(r.grant("node-a")); no[vol] == "" {
		t.Error("granted what a machine of this host has open")
	}
}

// TestOneConnection: of a node's connections the last one is served, the others have ended before.
func TestOneConnection(t *testing.T) {
	r := newRig(t)
	r.s.Set(r.grant("node-a"))
	a := r.as(node("node-a"))
	errs := make(chan error, 8)
	for i := range cap(errs) {
		go func() { errs <- r.io(a, fmt.Sprintf("write -P %d 0 512", i)) }()
	}
	for range cap(errs) {
		<-errs // those that were cut off failed
	}
	if err := r.io(a, "write -P 9 0 512", "read -P 9 0 512"); err != nil {
		t.Error(err)
	}
}

// TestGrow: the next connection sees the size that the file has then.
func TestGrow(t *testing.T) {
	r := newRig(t)
	r.s.Set(r.grant("node-a"))
	a := r.as(node("node-a"))
	if r.io(a, "read 1M 512") == nil {
		t.Error("read beyond the end")
	}
	if err := os.Truncate(r.path, 2<<20); err != nil {
		t.Fatal(err)
	}
	if err := r.io(a, "read -P 0 1M 512", "write 2096640 512"); err != nil {
		t.Error(err)
	}
	r.s.Set([]Grant{{Volume: vol, Node: "node-a", Path: r.path, Growing: true}})
	if err := r.io(a, "write -P 5 1G 64k", "read -P 5 1G 64k", "read -P 0 2G 64k"); err != nil {
		t.Error(err)
	}
}

// TestController: a server is started when it is needed, adopted when it is there, and its end is noticed.
func TestController(t *testing.T) {
	r := newRig(t)
	path := filepath.Join(t.TempDir(), "control")
	var starts atomic.Int32
	var stop atomic.Pointer[context.CancelFunc]
	start := func() error {
		starts.Add(1)
		ctx, cancel := context.WithCancel(context.Background())
		stop.Store(&cancel)
		go r.s.Control(ctx, path, cancel)
		return nil
	}
	c := NewController(path, start)
	if err := c.End(t.Context()); err != nil {
		t.Errorf("ended what is not there: %v", err)
	}
	if no, err := c.Set(t.Context(), r.grant("node-a")); err != nil || len(no) != 0 {
		t.Fatal(no, err)
	}
	next := NewController(path, start)
	if _, err := next.Set(t.Context(), r.grant("node-a")); err != nil || starts.Load() != 1 {
		t.Errorf("%v, %d starts", err, starts.Load())
	}
	(*stop.Load())()
	<-next.Lost()
	if _, err := next.Set(t.Context(), r.grant("node-b")); err != nil || starts.Load() != 2 {
		t.Errorf("%v, %d starts", err, starts.Load())
	}
	if err := r.io(r.as(node("node-b")), "read 0 512"); err != nil {
		t.Error(err)
	}
	if err := next.End(t.Context()); err != nil {
		t.Error(err)
	}
	if err := r.io(r.as(node("node-b")), "read 0 512"); err == nil {
		t.Error("served after the end")
	}
}
