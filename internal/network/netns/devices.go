package netns

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"karri.dev/internal/network/rules"
)

// tapFlags are those of every open of a tap: without packet information, with virtio's header.
const tapFlags = unix.IFF_TAP | unix.IFF_NO_PI | unix.IFF_VNET_HDR

// openTap attaches to a tap of the calling thread's namespace, and makes it if there is none.
func openTap(name string) (*os.File, error) {
	fd, err := unix.Open("/dev/net/tun", unix.O_RDWR|unix.O_CLOEXEC|unix.O_NONBLOCK, 0)
	if err != nil {
		return nil, fmt.Errorf("open /dev/net/tun: %w", err)
	}
	ifr, err := unix.NewIfreq(name)
	if err == nil {
		ifr.SetUint16(tapFlags)
		err = unix.IoctlIfreq(fd, unix.TUNSETIFF, ifr)
	}
	if err != nil {
		unix.Close(fd)
		return nil, fmt.Errorf("attach to tap %s: %w", name, err)
	}
	return os.NewFile(uintptr(fd), "tap "+name), nil // after TUNSETIFF: before, it cannot be polled
}

// makeTaps creates persistent taps in the namespace, or sets up again those that are there. Nobody listens to a
// new one before it is returned, so its link may come up at once.
func (s *space) makeTaps(taps []rules.Tap, mtu int, devices map[string]device) error {
	if len(taps) == 0 {
		return nil
	}
	return s.enter(func() error {
		var errs []error
		for _, t := range taps {
			if _, there := devices[t.Name]; there {
				continue
			}
			f, err := openTap(t.Name)
			if err == nil {
				// The file's descriptor is used directly: File.Fd would make it blocking.
				err = onFile(f, func(fd uintptr) error { return unix.IoctlSetInt(int(fd), unix.TUNSETPERSIST, 1) })
				f.Close()
			}
			errs = append(errs, err)
		}
		for _, t := range taps {
			err := errors.Join(
				setting("ipv4/conf/"+t.Name+"/proxy_arp", "1"),
				setting("ipv4/neigh/"+t.Name+"/proxy_delay", "0"), // else every answer waits up to 0.8 s
			)
			if err == nil {
				var index int
				if index, err = s.setUp(t.Name, rules.TapMAC, mtu, t.Group); err == nil && t.IPv6 {
					err = s.addRouter(index)
				}
			}
			errs = append(errs, err)
		}
		return errors.Join(errs...)
	})
}

func onFile(f *os.File, fn func(fd uintptr) error) error {
	c, err := f.SyscallConn()
	if err != nil {
		return err
	}
	inner := c.Control(func(fd uintptr) { err = fn(fd) })
	return errors.Join(inner, err)
}

// setUp gives a link its MAC, MTU and group and brings it up.
func (s *space) setUp(name, mac string, mtu int, group uint32) (int, error) {
	l, err := s.links.LinkByName(name)
	if err != nil {
		return 0, fmt.Errorf("find %s: %w", name, err)
	}
	a := l.Attrs()
	hw, _ := net.ParseMAC(mac)
	if a.HardwareAddr.String() != mac {
		err = errors.Join(err, s.links.LinkSetHardwareAddr(l, hw))
	}
	if a.MTU != mtu {
		err = errors.Join(err, s.links.LinkSetMTU(l, mtu))
	}
	if a.Group != group {
		err = errors.Join(err, s.links.LinkSetGroup(l, int(group)))
	}
	if a.Flags&net.FlagUp == 0 {
		err = errors.Join(err, s.links.LinkSetUp(l))
	}
	if err != nil {
		return 0, fmt.Errorf("set up %s: %w", name, err)
	}
	s.index[name] = a.Index
	return a.Index, nil
}

func (s *space) deleteLink(name string) error {
	l, err := s.links.LinkByName(name)
	if err == nil {
		err = s.links.LinkDel(l)
	}
	var missing netlink.LinkNotFoundError
	if errors.As(err, &missing) || errors.Is(err, unix.ENODEV) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("delete link %s: %w", name, err)
	}
	return nil
}

// end is one end of a veth pair.
type end struct {
	in    *space
	name  string
	mac   string
	group uint32
}

// join makes the veth pair a–b be there, up and with its MACs; it says whether anything was to do.
func join(a, b end, mtu int, da, db map[string]device) (bool, error) {
	good := func(d device, e end) bool {
		return d.kind == "veth" && d.up && d.mac == e.mac && d.mtu == mtu && d.group == e.group
	}
	if good(da[a.name], a) && good(db[b.name], b) {
		return false, nil
	}
	_, hasA := da[a.name]
	_, hasB := db[b.name]
	if hasA != hasB { // half of it is something else
		if err := errors.Join(a.in.deleteLink(a.name), b.in.deleteLink(b.name)); err != nil {
			return true, err
		}
		hasA = false
	}
	if !hasA {
		attrs := netlink.NewLinkAttrs()
		attrs.Name = a.name
		err := a.in.links.LinkAdd(&netlink.Veth{LinkAttrs: attrs, PeerName: b.name, PeerNamespace: netlink.NsFd(b.in.file.Fd())})
		if err != nil {
			return true, fmt.Errorf("make link %s–%s: %w", a.name, b.name, err)
		}
	}
	_, err := b.in.setUp(b.name, b.mac, mtu, b.group)
	_, err2 := a.in.setUp(a.name, a.mac, mtu, a.group)
	return true, errors.Join(err, err2)
}

// makeOverlay makes a VPC's VXLAN device. It is born in the host's namespace and moved: its outer socket stays.
func makeOverlay(root, s *space, vni uint32, underlay netip.Addr, mtu int, devices map[string]device) (bool, error) {
	mac := rules.OverlayMAC(underlay)
	d, ok := devices[rules.OverlayName]
	if ok && !d.gbp { // made before marks went with packets
		if err := s.deleteLink(rules.OverlayName); err != nil {
			return true, err
		}
		ok = false
	}
	if ok && d.kind == "vxlan" && d.up && d.mac == mac && d.mtu == mtu {
		return false, nil
	} else if !ok {
		attrs := netlink.NewLinkAttrs()
		attrs.Name = fmt.Sprintf("kvx%d", vni)
		err := root.links.LinkAdd(&netlink.Vxlan{
			LinkAttrs: attrs, VxlanId: int(vni), SrcAddr: underlay.AsSlice(), Port: 4789, Learning: false, GBP: true,
		})
		if err != nil {
			return true, fmt.Errorf("make VXLAN device for %d: %w", vni, err)
		}
		l, err := root.links.LinkByName(attrs.Name)
		if err == nil {
			err = moveLink(root, l, s, rules.OverlayName)
		}
		if err != nil {
			return true, errors.Join(err, root.deleteLink(attrs.Name))
		}
	}
	_, err := s.setUp(rules.OverlayName, mac, mtu, 0)
	return true, err
}

// moveLink moves a link and renames it there, where nothing else can have its name.
func moveLink(from *space, l netlink.Link, to *space, name string) error {
	if err := from.links.LinkSetNsFd(l, int(to.file.Fd())); err != nil {
		return fmt.Errorf("move %s: %w", l.Attrs().Name, err)
	}
	moved, err := to.links.LinkByName(l.Attrs().Name)
	if err == nil {
		err = to.links.LinkSetName(moved, name)
	}
	return err
}

// announce tells the link that an address is here now: a gratuitous ARP request.
func announce(index int, mac net.HardwareAddr, a netip.Addr) error {
	fd, err := unix.Socket(unix.AF_PACKET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	ip := a.As4()
	body := []byte{0, 1, 8, 0, 6, 4, 0, 1}
	body = append(body, mac...)
	body = append(body, ip[:]...)
	body = append(body, 0, 0, 0, 0, 0, 0)
	body = append(body, ip[:]...)
	to := &unix.SockaddrLinklayer{Protocol: 0x0608, Ifindex: index, Halen: 6} // ETH_P_ARP in network order
	copy(to.Addr[:], []byte{0xff, 0xff, 0xff, 0xff, 0xff, 0xff})
	return unix.Sendto(fd, body, 0, to)
}
