package netns

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync/atomic"
	"time"

	"github.com/vishvananda/netlink"
	vnetns "github.com/vishvananda/netns"
	"golang.org/x/sys/unix"

	"karri.dev/internal/network/rules"
)

// runDir is where named namespaces are, so that `ip netns` shows them.
const runDir = "/run/netns"

// space is one network namespace that the driver works in.
type space struct {
	name   string // "" = the host's own
	file   *os.File
	links  *netlink.Handle
	filter filter
	have   rules.Namespace // as last written or seen; valid while known
	known  bool
	index  map[string]int // link name → number
	six    bool           // IPv6 is on
}

// enter runs fn on a thread that is in the namespace. fn must not start goroutines that count on being there.
func (s *space) enter(fn func() error) error {
	done := make(chan error, 1)
	go func() {
		runtime.LockOSThread()
		back, err := os.Open("/proc/thread-self/ns/net")
		if err != nil {
			runtime.UnlockOSThread()
			done <- err
			return
		}
		defer back.Close()
		if err := unix.Setns(int(s.file.Fd()), unix.CLONE_NEWNET); err != nil {
			runtime.UnlockOSThread()
			done <- fmt.Errorf("enter namespace %s: %w", s.name, err)
			return
		}
		err = fn()
		if unix.Setns(int(back.Fd()), unix.CLONE_NEWNET) == nil {
			runtime.UnlockOSThread()
		} // else the thread dies with this goroutine
		done <- err
	}()
	return <-done
}

// openSpace opens what is at path.
func openSpace(name, path string, shared bool, writes *atomic.Int64) (*space, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	h, err := netlink.NewHandleAt(vnetns.NsHandle(f.Fd()), unix.NETLINK_ROUTE, unix.NETLINK_NETFILTER)
	if err != nil {
		f.Close()
		return nil, fmt.Errorf("open netlink in %s: %w", path, err)
	}
	if err := errors.Join(h.SetSocketTimeout(10*time.Second), h.SetSocketReceiveBufferSize(4<<20, true)); err != nil {
		h.Close()
		f.Close()
		return nil, err
	}
	return &space{name: name, file: f, links: h, filter: filter{file: f, shared: shared, writes: writes}}, nil
}

func (s *space) close() {
	s.links.Close()
	s.file.Close()
}

// makeSpace opens the namespace of a name, made first if it is not there.
func makeSpace(name string, writes *atomic.Int64) (*space, error) {
	path := filepath.Join(runDir, name)
	fresh := !isNamespace(path)
	if fresh {
		if err := createNamespace(path); err != nil {
			return nil, fmt.Errorf("make namespace %s: %w", name, err)
		}
		writes.Add(1)
	}
	s, err := openSpace(name, path, false, writes)
	if err != nil {
		return nil, err
	}
	err = s.enter(func() error {
		for _, w := range spaceSettings {
			if err := setting(w.path, w.value); err != nil && !(w.optional && errors.Is(err, os.ErrNotExist)) {
				return err
			}
		}
		return nil
	})
	if err == nil && fresh {
		err = s.switchSix(false)
	}
	if err == nil {
		var lo netlink.Link
		if lo, err = s.links.LinkByName("lo"); err == nil && lo.Attrs().Flags&unix.IFF_UP == 0 {
			err = s.links.LinkSetUp(lo)
		}
	}
	if err != nil {
		s.close()
		return nil, fmt.Errorf("set up namespace %s: %w", name, err)
	}
	return s, nil
}

// spaceSettings turn a namespace into a router. Forwarding comes first: setting it resets others.
var spaceSettings = []struct {
	path, value string
	optional    bool
}{
	{"ipv4/ip_forward", "1", false},
	{"ipv4/conf/all/rp_filter", "0", false},
	{"ipv4/conf/default/rp_filter", "0", false},
	{"ipv4/conf/all/send_redirects", "0", false},
	{"ipv4/conf/default/send_redirects", "0", false},
	{"ipv4/conf/all/accept_redirects", "0", false},
	{"ipv4/conf/default/accept_redirects", "0", false},
	{"ipv4/conf/all/accept_source_route", "0", false},
	{"ipv4/conf/default/accept_source_route", "0", false},
	// Fragments that wait: how long, and how many bytes. Rules limit how many of these one tap can fill.
	{"ipv4/ipfrag_time", "3", false},
	{"ipv4/ipfrag_high_thresh", "50331648", false},
	{"ipv4/ipfrag_low_thresh", "41943040", false},
	{"netfilter/nf_conntrack_frag6_timeout", "3", true},
	{"netfilter/nf_conntrack_frag6_high_thresh", "50331648", true},
	{"netfilter/nf_conntrack_frag6_low_thresh", "41943040", true},
	{"netfilter/nf_conntrack_acct", "1", true}, // for flow logs
	{"ipv6/conf/all/forwarding", "1", true},
	{"ipv6/conf/default/accept_ra", "0", true},
	{"ipv6/conf/all/accept_redirects", "0", true},
	{"ipv6/conf/default/accept_redirects", "0", true},
	{"ipv6/conf/default/addr_gen_mode", "1", true}, // no link has an address of its own accord
}

// switchSix turns IPv6 on or off in the namespace, for links to come as well. Off, the kernel forgets its addresses and routes.
func (s *space) switchSix(on bool) error {
	value := "1"
	if on {
		value = "0"
	}
	return s.enter(func() error {
		err := setting("ipv6/conf/all/disable_ipv6", value)
		if !on && errors.Is(err, os.ErrNotExist) {
			return nil
		}
		return err
	})
}

// setting writes one value below /proc/sys/net, which is the calling thread's namespace's.
func setting(path, value string) error {
	if err := os.WriteFile("/proc/sys/net/"+path, []byte(value), 0); err != nil {
		return fmt.Errorf("set net/%s: %w", path, err)
	}
	return nil
}

func isNamespace(path string) bool {
	var fs unix.Statfs_t
	return unix.Statfs(path, &fs) == nil && fs.Type == unix.NSFS_MAGIC
}

// createNamespace makes a namespace that lives at path until removeNamespace.
func createNamespace(path string) error {
	var err error
	for range 5 { // another process may just be taking runDir away
		if err = tryNamespace(path); !errors.Is(err, os.ErrNotExist) {
			break
		}
	}
	return err
}

func tryNamespace(path string) error {
	if err := os.MkdirAll(runDir, 0o755); err != nil {
		return err
	}
	// Shared, as `ip netns` does it: what is unmounted here goes in every copy of this mount too.
	if err := unix.Mount("", runDir, "none", unix.MS_SHARED|unix.MS_REC, ""); err != nil {
		if err := unix.Mount(runDir, runDir, "none", unix.MS_BIND|unix.MS_REC, ""); err != nil {
			return fmt.Errorf("mount %s: %w", runDir, err)
		}
		if err := unix.Mount("", runDir, "none", unix.MS_SHARED|unix.MS_REC, ""); err != nil {
			return fmt.Errorf("share %s: %w", runDir, err)
		}
	}
	f, err := os.OpenFile(path, os.O_CREATE|os.O_RDONLY, 0)
	if err != nil {
		return err
	}
	f.Close()
	self, err := os.Open("/proc/thread-self/ns/net")
	if err != nil {
		return err
	}
	defer self.Close()
	err = (&space{name: "own", file: self}).enter(func() error { // a thread that is brought back after
		if err := unix.Unshare(unix.CLONE_NEWNET); err != nil {
			return fmt.Errorf("unshare: %w", err)
		}
		return unix.Mount("/proc/thread-self/ns/net", path, "none", unix.MS_BIND, "")
	})
	if err != nil {
		os.Remove(path)
	}
	return err
}

// removeNamespace ends a named namespace and all that is in it.
func removeNamespace(name string) error {
	path := filepath.Join(runDir, name)
	if err := unix.Unmount(path, unix.MNT_DETACH); err != nil && !errors.Is(err, unix.EINVAL) && !errors.Is(err, unix.ENOENT) {
		return fmt.Errorf("unmount namespace %s: %w", name, err)
	}
	if err := os.Remove(path); err != nil && !errors.Is(err, os.ErrNotExist) {
		return fmt.Errorf("remove namespace %s: %w", name, err)
	}
	return nil
}

// namedSpaces lists the names of namespaces that begin with prefix.
func namedSpaces(prefix string) ([]string, error) {
	entries, err := os.ReadDir(runDir)
	if errors.Is(err, os.ErrNotExist) {
		return nil, nil
	}
	var out []string
	for _, e := range entries {
		if strings.HasPrefix(e.Name(), prefix) {
			out = append(out, e.Name())
		}
	}
	return out, err
}
