package netns

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/google/nftables"
	"github.com/vishvananda/netlink"

	"karri.dev/internal/dhcp"
	"karri.dev/internal/imds"
	"karri.dev/internal/network"
	"karri.dev/internal/network/rules"
)

// A flat network is a namespace with a bridge of its own: taps are its ports, and a link to the operator's bridge. Rules of
// the bridge family in it say what a guest may send. Where the operator's server gives addresses, the kernel notes them
// in a set as they pass, and from then on they are the guest's: that goes on while this process is away. The process
// tells what it finds there, and once the zone has taken it, the address is in the state, and the set's element goes.

// flat is the flat network on this host.
type flat struct {
	*space
	learned  []network.LearnedAddress
	services *services
	dhcp     bool // the services' kind
	serving  bool
}

// learnPeriod is how often the kernel is asked what it learned.
const learnPeriod = 500 * time.Millisecond

// Learned gives addresses that the applied state does not have.
func (d *Driver) Learned() []network.LearnedAddress {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.flat == nil {
		return nil
	}
	return slices.Clone(d.flat.learned)
}

// learn asks the kernel from time to time.
func (d *Driver) learn() {
	d.every(learnPeriod, func() {
		if d.flat == nil || d.compiled.Flat == nil || d.last == nil || d.last.Flat == nil {
			return
		}
		before := d.flat.learned
		if err := d.flat.settle(d.compiled.Flat, d.last.Flat); err != nil {
			d.deps.Log.Warn("cannot learn the addresses of guests", "error", err)
		}
		if !slices.Equal(before, d.flat.learned) {
			select {
			case d.news <- struct{}{}:
			default:
			}
		}
	})
}

// applyFlat brings the flat network to what it should be.
func (d *Driver) applyFlat(want *rules.Flat, state *network.Flat) error {
	if want == nil {
		if d.flat == nil {
			return nil
		}
		return d.dropFlat()
	}
	if d.flat == nil {
		s, err := makeSpace(d.spaceName(rules.FlatSpace), &d.writes)
		if err != nil {
			return err
		}
		d.flat = &flat{space: s}
	}
	f := d.flat
	if f.services == nil || f.services.vpcID != state.ID {
		f.endServices()
		f.services = newServices(d, state.ID, f.space)
	}
	devices, err := f.makeBridge(d)
	if err != nil {
		return err
	}
	if err := f.settle(want, state); err != nil { // before there are ports: nothing passes unfiltered
		return err
	}
	if err := f.makeLinks(d, want, devices); err != nil {
		return err
	}
	have, _, err := d.look(f.space, allOurs, true)
	if err != nil {
		return err
	}
	if err := d.bring(f.space, have, want.Namespace); err != nil {
		return err
	}
	return f.serve(state)
}

// makeBridge makes the namespace's bridge. It comes before the rules: in a namespace without a bridge, Linux 6.18 takes
// rules of the forward hook and then never asks them.
func (f *flat) makeBridge(d *Driver) (map[string]device, error) {
	devices, err := f.devices()
	if err != nil {
		return nil, err
	}
	f.index = map[string]int{}
	for name, dev := range devices {
		f.index[name] = dev.index
	}
	dev, there := devices[rules.FlatBridge]
	if !there {
		d.writes.Add(1)
		f.filter.gen = 0
		off, attrs := false, netlink.NewLinkAttrs()
		attrs.Name = rules.FlatBridge
		if err := f.links.LinkAdd(&netlink.Bridge{LinkAttrs: attrs, MulticastSnooping: &off}); err != nil {
			return nil, fmt.Errorf("make a bridge: %w", err)
		}
	}
	if dev.mac != rules.FlatMAC || !dev.up {
		_, err = f.setUp(rules.FlatBridge, rules.FlatMAC, d.cfg.MTU, 0)
	}
	return devices, err
}

// makeLinks makes the bridge's ports: taps, and the uplink.
func (f *flat) makeLinks(d *Driver, want *rules.Flat, devices map[string]device) error {
	outer, err := d.root.links.LinkByName(want.Bridge)
	if err != nil {
		return fmt.Errorf("find the bridge %q, which the operator makes: %w", want.Bridge, err)
	}
	if outer.Type() != "bridge" {
		return fmt.Errorf("%s is a %s, not a bridge", want.Bridge, outer.Type())
	}
	wanted := map[string]bool{}
	var missing []rules.Tap
	for _, t := range want.Taps {
		wanted[t.Name] = true
		if dev, ok := devices[t.Name]; !ok || !dev.up || dev.mac != rules.TapMAC || dev.mtu != d.cfg.MTU {
			missing = append(missing, t)
		}
	}
	for name := range devices {
		if strings.HasPrefix(name, "eni") && !wanted[name] {
			d.writes.Add(1)
			delete(f.index, name)
			if err := f.deleteLink(name); err != nil {
				return err
			}
		}
	}
	d.writes.Add(int64(len(missing)))
	if err := f.makeTaps(missing, d.cfg.MTU, devices); err != nil {
		return err
	}
	for _, t := range want.Taps {
		if err := f.enslave(f.space, t.Name, rules.FlatBridge, d); err != nil {
			return err
		}
	}
	theirs, err := d.root.devices()
	if err != nil {
		return err
	}
	if d.root.index == nil {
		d.root.index = map[string]int{}
	}
	made, err := join(
		end{f.space, rules.FlatUplink, rules.UplinkMAC, 0}, end{d.root, want.Uplink, rules.UplinkMAC, 0},
		outer.Attrs().MTU, devices, theirs)
	if made {
		d.writes.Add(1)
	}
	if err != nil {
		return err
	}
	return errors.Join(f.enslave(f.space, rules.FlatUplink, rules.FlatBridge, d), f.enslave(d.root, want.Uplink, want.Bridge, d))
}

// enslave makes a link a port of a bridge.
func (f *flat) enslave(s *space, port, bridge string, d *Driver) error {
	l, err := s.links.LinkByName(port)
	if err != nil {
		return fmt.Errorf("find %s: %w", port, err)
	}
	b, err := s.links.LinkByName(bridge)
	if err != nil {
		return fmt.Errorf("find %s: %w", bridge, err)
	}
	if l.Attrs().MasterIndex == b.Attrs().Index {
		return nil
	}
	d.writes.Add(1)
	if err := s.links.LinkSetMasterByIndex(l, b.Attrs().Index); err != nil {
		return fmt.Errorf("make %s a port of %s: %w", port, bridge, err)
	}
	return nil
}

// lesson is an element of the set of what was learned.
type lesson struct {
	tap, mac string
	ip       netip.Addr
	left     time.Duration // more is newer
}

func (l lesson) element() rules.Element {
	return rules.Element{Key: strings.Join([]string{l.tap, l.mac, l.ip.String()}, " . ")}
}

// lessons reads the set of what was learned, newest first.
func (f *flat) lessons() ([]lesson, error) {
	conn, err := nftables.New(nftables.WithNetNSFd(int(f.file.Fd())))
	if err != nil {
		return nil, err
	}
	tables, err := conn.ListTablesOfFamily(nftables.TableFamilyBridge)
	if err != nil || len(tables) == 0 {
		return nil, err // nothing is there yet
	}
	sets, err := conn.GetSets(&nftables.Table{Family: nftables.TableFamilyBridge, Name: rules.TableName})
	if err != nil {
		return nil, fmt.Errorf("list sets: %w", err)
	}
	at := slices.IndexFunc(sets, func(s *nftables.Set) bool { return s.Name == rules.Learned })
	if at < 0 {
		return nil, nil
	}
	elements, err := conn.GetSetElements(sets[at])
	if err != nil {
		return nil, fmt.Errorf("read what was learned: %w", err)
	}
	var out []lesson
	for _, e := range elements {
		if len(e.Key) < 28 { // 16 of a name, 6 of a MAC in 8, 4 of an address
			continue
		}
		ip, _ := netip.AddrFromSlice(e.Key[24:28])
		name, _, _ := strings.Cut(string(e.Key[:16]), "\x00")
		out = append(out, lesson{tap: name, mac: net.HardwareAddr(e.Key[16:22]).String(), ip: ip, left: e.Expires})
	}
	slices.SortStableFunc(out, func(a, b lesson) int { return int(b.left.Milliseconds() - a.left.Milliseconds()) })
	return out, nil
}

// settle writes the rules, takes in what was learned, and forgets of it what the state has and what is older.
func (f *flat) settle(want *rules.Flat, state *network.Flat) error {
	all, err := f.lessons()
	if err != nil {
		return err
	}
	known, ids := map[string]netip.Addr{}, map[string]string{}
	for _, i := range state.Interfaces {
		known[rules.TapName(i.ID)] = i.IP
	}
	for _, t := range want.Taps {
		ids[t.Name] = t.ID
	}
	var have, keep []rules.Element
	taps, ips := map[string]bool{}, map[netip.Addr]bool{}
	var learned []network.LearnedAddress
	for _, l := range all {
		have = append(have, l.element())
		id := ids[l.tap]
		fresh := id != "" && state.DHCP == nil && !taps[l.tap] && !ips[l.ip] // an address is whose it became last
		taps[l.tap], ips[l.ip] = true, true
		if fresh && known[l.tap] != l.ip {
			keep = append(keep, l.element())
			learned = append(learned, network.LearnedAddress{Interface: id, IP: l.ip})
		}
	}
	slices.SortFunc(learned, func(a, b network.LearnedAddress) int { return strings.Compare(a.Interface, b.Interface) })
	f.filter.have = withLearned(f.filter.have, have)
	if err := f.filter.apply(withLearned(want.Tables, keep)); err != nil {
		return err
	}
	f.learned = learned
	return nil
}

// withLearned gives the tables with elements of the set of what was learned.
func withLearned(tables []rules.Table, elements []rules.Element) []rules.Table {
	out := slices.Clone(tables)
	for i, t := range out {
		out[i].Sets = slices.Clone(t.Sets)
		for j := range out[i].Sets {
			if out[i].Sets[j].Name == rules.Learned {
				out[i].Sets[j].Elements = elements
			}
		}
	}
	return out
}

// serve tells the services of the state, and starts them where they are not yet, or of another kind.
func (f *flat) serve(state *network.Flat) error {
	s := f.services
	v := &view{instances: map[netip.Addr]owns{}, byMAC: map[string]dhcp.Lease{}}
	for _, i := range state.Interfaces {
		if !i.IP.IsValid() {
			continue
		}
		v.instances[i.IP] = owns{i.InstanceID, i.IP}
		if mac, err := net.ParseMAC(i.MAC); err == nil && state.DHCP != nil {
			v.byMAC[mac.String()] = dhcp.Lease{
				MAC: mac, IP: i.IP, Subnet: state.DHCP.Subnet, Router: state.DHCP.Router, Server: rules.MetadataAddr, Servers: state.DHCP.Servers,
				Domain: state.DHCP.Domain, Hostname: i.Hostname, MTU: s.d.cfg.MTU, Duration: leaseTime,
			}
		}
	}
	s.view.Store(v)
	if f.serving && f.dhcp == (state.DHCP != nil) {
		return nil
	}
	s.close()
	f.serving, f.dhcp = false, state.DHCP != nil
	if err := f.start(); err != nil {
		s.close()
		return fmt.Errorf("start services: %w", err)
	}
	f.serving = true
	return nil
}

func (f *flat) start() error {
	s := f.services
	var lease net.PacketConn
	var metadata net.Listener
	err := f.enter(func() (err error) {
		if f.dhcp {
			if lease, err = s.listenDHCP(); err != nil {
				return err
			}
		}
		if s.d.deps.Metadata == nil {
			return nil
		}
		if metadata, err = net.Listen("tcp4", netip.AddrPortFrom(rules.MetadataAddr, 80).String()); err == nil {
			s.onStop(metadata.Close)
		}
		return err
	})
	if err != nil {
		return err
	}
	if lease != nil {
		s.serve("dhcp", func() error {
			return dhcp.ServeBridge(lease, func(mac string) (dhcp.Lease, bool) {
				l, ok := s.view.Load().byMAC[mac]
				return l, ok
			})
		})
	}
	if metadata == nil {
		return nil
	}
	return s.serveMetadata(metadata, s.findSoon)
}

// findSoon is find, for guests whose address was learned a moment ago: what they are is known as soon as the zone has
// taken that in. They ask at once, and most only once.
func (s *services) findSoon(ip netip.Addr) (imds.Caller, bool) {
	for end := time.Now().Add(findPatience); ; time.Sleep(findPatience / 50) {
		if c, ok := s.find(ip); ok || time.Now().After(end) || s.d.ctx.Err() != nil {
			return c, ok
		}
	}
}

// findPatience is how long a guest waits for the zone.
const findPatience = 5 * time.Second

func (f *flat) endServices() {
	if f.services != nil {
		f.services.close()
	}
	f.services, f.serving = nil, false
}

// end ends the services. Frames go on flowing.
func (f *flat) end() {
	f.endServices()
	f.close()
}

// dropFlat removes the flat network from this host.
func (d *Driver) dropFlat() error {
	f := d.flat
	d.flat = nil
	f.end()
	return d.dropSpace(f.name)
}
