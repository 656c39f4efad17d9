// Package netlab is for tests with real packets: network namespaces that stand for machines, and for guests whose
// only link is spliced to a tap of the network driver, as a hypervisor would do it. As root, in scripts/apart.
package netlab

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

var names atomic.Int64

// Space is one namespace.
type Space struct {
	Name string
	t    testing.TB
	file *os.File
}

// NeedRoot skips a test that cannot make namespaces.
func NeedRoot(t testing.TB) {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("needs root: makes network namespaces")
	}
	if _, err := os.Stat("/dev/net/tun"); err != nil {
		t.Skip("needs /dev/net/tun")
	}
}

// New makes a namespace with no way out, which ends with the test.
func New(t testing.TB) *Space {
	t.Helper()
	NeedRoot(t)
	s := &Space{Name: fmt.Sprintf("nl%d-%d", os.Getpid(), names.Add(1)), t: t}
	if out, err := exec.Command("ip", "netns", "add", s.Name).CombinedOutput(); err != nil {
		t.Fatalf("ip netns add: %v\n%s", err, out)
	}
	t.Cleanup(func() {
		if s.file != nil {
			s.file.Close()
		}
		if out, err := exec.Command("ip", "netns", "del", s.Name).CombinedOutput(); err != nil {
			t.Errorf("ip netns del: %v\n%s", err, out)
		}
	})
	var err error
	if s.file, err = os.Open(s.Path()); err != nil {
		t.Fatal(err)
	}
	s.Run("ip", "link", "set", "lo", "up")
	return s
}

// Path is where the namespace is.
func (s *Space) Path() string { return "/run/netns/" + s.Name }

// Enter runs fn on a thread that is in the namespace.
func (s *Space) Enter(fn func() error) error {
	done := make(chan error, 1)
	go func() {
		runtime.LockOSThread() // for good: the thread ends with the goroutine
		if err := unix.Setns(int(s.file.Fd()), unix.CLONE_NEWNET); err != nil {
			done <- err
			return
		}
		done <- fn()
	}()
	return <-done
}

// Try runs a program in the namespace.
func (s *Space) Try(args ...string) (string, error) {
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	b, err := exec.CommandContext(ctx, "ip", append([]string{"netns", "exec", s.Name}, args...)...).CombinedOutput()
	return string(b), err
}

// Run is Try for what must succeed.
func (s *Space) Run(args ...string) string {
	s.t.Helper()
	out, err := s.Try(args...)
	if err != nil {
		s.t.Fatalf("%s: %v\n%s", strings.Join(args, " "), err, out)
	}
	return out
}

// Guest is a machine on a tap. A tap has one guest at a time.
type Guest struct {
	*Space
	files [2]*os.File
	done  chan struct{}
}

// Plug gives a new guest the card eth0 on a tap. It has no address yet.
func Plug(t testing.TB, tap *os.File, mac string, mtu int) *Guest {
	t.Helper()
	g := &Guest{Space: New(t), done: make(chan struct{}, 2)}
	err := g.Enter(func() (err error) {
		g.files[1], err = openTap("eth0")
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	g.files[0] = tap
	for i := range 2 {
		go Splice(g.files[i], g.files[1-i], g.done)
	}
	t.Cleanup(g.Unplug)
	g.Run("ip", "link", "set", "eth0", "address", mac, "mtu", fmt.Sprint(mtu), "up")
	return g
}

// Address gives the card an address of a subnet and the subnet's router as the way out.
func (g *Guest) Address(ip string, subnet netip.Prefix) {
	g.t.Helper()
	g.Run("ip", "addr", "add", fmt.Sprintf("%s/%d", ip, subnet.Bits()), "dev", "eth0")
	g.Run("ip", "route", "replace", "default", "via", subnet.Masked().Addr().Next().String())
}

// Unplug lets go of the tap.
func (g *Guest) Unplug() {
	if g.files[0] == nil {
		return
	}
	for _, f := range g.files {
		f.Close()
	}
	<-g.done
	<-g.done
	g.files[0] = nil
}

func openTap(name string) (*os.File, error) {
	fd, err := unix.Open("/dev/net/tun", unix.O_RDWR|unix.O_CLOEXEC|unix.O_NONBLOCK, 0)
	if err != nil {
		return nil, err
	}
	ifr, err := unix.NewIfreq(name)
	if err == nil {
		ifr.SetUint16(unix.IFF_TAP | unix.IFF_NO_PI | unix.IFF_VNET_HDR)
		err = unix.IoctlIfreq(fd, unix.TUNSETIFF, ifr)
	}
	if err != nil {
		unix.Close(fd)
		return nil, err
	}
	return os.NewFile(uintptr(fd), name), nil
}

// Splice passes frames from one tap to another until from is closed.
func Splice(from, to *os.File, done chan<- struct{}) {
	buf := make([]byte, 70_000)
	for {
		n, err := from.Read(buf)
		if errors.Is(err, os.ErrClosed) {
			break
		}
		if err != nil {
			if errors.Is(err, unix.EIO) || errors.Is(err, unix.EBADFD) { // down for a moment, or gone
				time.Sleep(5 * time.Millisecond)
				continue
			}
			break
		}
		_, _ = to.Write(buf[:n])
	}
	done <- struct{}{}
}

// Listen opens a TCP server in the namespace that says whom it sees and echoes.
func (s *Space) Listen(port int) {
	s.t.Helper()
	var l net.Listener
	err := s.Enter(func() (err error) {
		l, err = net.Listen("tcp4", fmt.Sprintf("0.0.0.0:%d", port))
		return err
	})
	if err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(func() { l.Close() })
	go Echo(l)
}

// Echo serves a listener: a line with the client's address, then what the client says.
func Echo(l net.Listener) {
	for {
		c, err := l.Accept()
		if err != nil {
			return
		}
		go func() {
			defer c.Close()
			fmt.Fprintf(c, "%s\n", c.RemoteAddr().(*net.TCPAddr).IP)
			_, _ = io.Copy(c, c)
		}()
	}
}

// Dial connects from the namespace to an Echo and gives the address that it saw.
func (s *Space) Dial(to string, wait time.Duration) (net.Conn, string, error) {
	var c net.Conn
	err := s.Enter(func() (err error) {
		c, err = (&net.Dialer{Timeout: wait}).Dial("tcp4", to)
		return err
	})
	if err != nil {
		return nil, "", err
	}
	seen, err := Seen(c)
	return c, seen, err
}

// Seen reads the first line of an Echo; a connection without one is closed.
func Seen(c net.Conn) (string, error) {
	_ = c.SetDeadline(time.Now().Add(10 * time.Second))
	var seen []byte
	one := make([]byte, 1)
	for {
		if _, err := c.Read(one); err != nil {
			c.Close()
			return "", err
		}
		if one[0] == '\n' {
			return string(seen), nil
		}
		seen = append(seen, one[0])
	}
}

// patience is how long is waited for what should not come. What should come is waited for much longer.
const patience = 400 * time.Millisecond

// Reaches waits until TCP to an address works, which it must some day, and gives whom the server saw.
func (s *Space) Reaches(to string) string {
	s.t.Helper()
	var err error
	for end := time.Now().Add(20 * time.Second); time.Now().Before(end); time.Sleep(50 * time.Millisecond) {
		var c net.Conn
		var seen string
		if c, seen, err = s.Dial(to, time.Second); err == nil {
			c.Close()
			return seen
		}
	}
	s.t.Fatalf("%s does not reach %s: %v", s.Name, to, err)
	return ""
}

// CannotReach waits until TCP to an address does not work, which must be some day.
func (s *Space) CannotReach(to string) {
	s.t.Helper()
	for end := time.Now().Add(20 * time.Second); time.Now().Before(end); time.Sleep(50 * time.Millisecond) {
		c, _, err := s.Dial(to, patience)
		if err != nil {
			return
		}
		c.Close()
	}
	s.t.Fatalf("%s still reaches %s", s.Name, to)
}
