package netns

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"slices"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	mdns "github.com/miekg/dns"
	"golang.org/x/sys/unix"

	"karri.dev/internal/dhcp"
	"karri.dev/internal/dns"
	"karri.dev/internal/imds"
	"karri.dev/internal/network"
	"karri.dev/internal/network/rules"
)

// leaseTime is how long a guest may keep its address unasked; it is the guest's as long as it lives.
const leaseTime = time.Hour

// services are one VPC's DHCP, DNS and metadata service, on sockets inside its namespace.
type services struct {
	d     *Driver
	vpcID string
	space *space
	view  atomic.Pointer[view]

	resolver netip.Addr // where the sockets are; zero = there are none
	stop     []func()
	ways     map[netip.Addr]func() // what ends the API's sockets at endpoints' addresses
	six      *services6            // nil = the VPC has no IPv6
	work     sync.WaitGroup
}

// view is what the services answer from; it is replaced as a whole.
type view struct {
	leases    map[int]dhcp.Lease // by the tap's number
	leases6   map[int]dhcp.Lease6
	byMAC     map[string]dhcp.Lease // of a flat network
	instances map[netip.Addr]owns   // by private address
	disabled  bool                  // no resolver
	endpoints map[netip.Addr]string // interface endpoints by address
	gateways  []gateway
	forwards  []dns.Forward
	zone      *dns.Zone
}

// owns says whose an address is, and its interface's primary address, by which metadata is kept.
type owns struct {
	instance string
	primary  netip.Addr
}

func newServices(d *Driver, vpcID string, s *space) *services {
	return &services{d: d, vpcID: vpcID, space: s, ways: map[netip.Addr]func(){}}
}

// update tells the services of a new state, and starts them the first time.
func (s *services) update(state network.VPC, want rules.VPC) error {
	v := &view{leases: map[int]dhcp.Lease{}, instances: map[netip.Addr]owns{}, disabled: state.DNS.Disabled}
	for _, f := range state.DNS.Forward {
		v.forwards = append(v.forwards, dns.Forward(f))
	}
	domain := state.DNS.Domain // as DHCP says it
	if state.DHCP.Domain != "" {
		domain = state.DHCP.Domain
	}
	resolver, ok := rules.VPCResolver(state)
	if !ok {
		return fmt.Errorf("%s has no IPv4 range", state.ID)
	}
	servers := state.DNS.Servers
	if len(servers) == 0 {
		servers = []netip.Addr{resolver}
	}
	var records []dns.Record
	name := func(ip netip.Addr) {
		b := ip.As4()
		records = append(records, dns.Record{
			Name: fmt.Sprintf("ip-%d-%d-%d-%d.%s", b[0], b[1], b[2], b[3], state.DNS.Domain), IP: ip,
		})
	}
	subnets := map[string]network.Subnet{}
	for _, sub := range state.Subnets {
		subnets[sub.ID] = sub
	}
	taps := map[string]bool{}
	for _, t := range want.Taps {
		taps[t.ID] = true
	}
	for _, i := range state.Interfaces {
		if !taps[i.ID] {
			continue
		}
		mac, err := net.ParseMAC(i.MAC)
		if err != nil {
			continue // compiling has said so
		}
		sub := subnets[i.SubnetID]
		v.instances[i.PrivateIP] = owns{i.InstanceID, i.PrivateIP}
		for _, a := range i.Secondary {
			v.instances[a.Private] = owns{i.InstanceID, i.PrivateIP}
		}
		v.leases[s.space.index[rules.TapName(i.ID)]] = dhcp.Lease{
			MAC: mac, IP: i.PrivateIP, Subnet: sub.CIDR, Router: rules.GatewayAddr(sub.CIDR), Servers: servers,
			Domain: domain, Hostname: i.Hostname, MTU: s.d.cfg.MTU, Duration: leaseTime,
			NTP: state.DHCP.NTP, NetBIOS: state.DHCP.NetBIOS, NodeType: state.DHCP.NetBIOSNodeType,
		}
		name(i.PrivateIP)
		if i.Hostname != "" {
			records = append(records, dns.Record{Name: i.Hostname + "." + state.DNS.Domain, IP: i.PrivateIP})
		}
	}
	for _, r := range state.Remotes {
		if r.PrivateIP.Is4() {
			name(r.PrivateIP)
		}
	}
	if s.d.deps.API != nil {
		records = append(records, dns.Record{Name: "api." + state.DNS.Domain, IP: rules.APIAddr})
	}
	for _, n := range state.DNS.Names {
		records = append(records, dns.Record{Name: n.Name, IP: n.IP})
	}
	for _, n := range state.DNS.Reverse {
		records = append(records, dns.Record{Name: n.Name, IP: n.IP, Reverse: true})
	}
	v.zone = dns.NewZone(state.DNS.Domain, records)
	v.endpoints, v.gateways = endpointsOf(state)
	v.leases6 = s.leasesSix(state, want)
	s.view.Store(v)
	if s.resolver != resolver {
		s.close()
		if err := s.start(resolver); err != nil {
			s.close()
			return fmt.Errorf("start services: %w", err)
		}
		s.resolver = resolver
	}
	if err := s.updateSix(state, want); err != nil {
		return err
	}
	return s.openEndpoints(v)
}

// start opens the sockets and serves them. The namespace's addresses are there by now.
func (s *services) start(resolver netip.Addr) error {
	var (
		lease     net.PacketConn
		packets   []net.PacketConn
		listeners []net.Listener
		metadata  net.Listener
		apis      []net.Listener
	)
	err := s.space.enter(func() error {
		var err error
		if lease, err = s.listenDHCP(); err != nil {
			return err
		}
		for _, a := range []netip.Addr{resolver, rules.ResolverAddr} {
			at := netip.AddrPortFrom(a, 53).String()
			p, err := net.ListenPacket("udp4", at)
			if err != nil {
				return err
			}
			packets = append(packets, p)
			s.onStop(p.Close)
			l, err := net.Listen("tcp4", at)
			if err != nil {
				return err
			}
			listeners = append(listeners, l)
			s.onStop(l.Close)
		}
		if s.d.deps.API != nil {
			apis, err = listenAPI(rules.APIAddr)
			for _, l := range apis {
				s.onStop(l.Close)
			}
		}
		if err != nil || s.d.deps.Metadata == nil {
			return err
		}
		metadata, err = net.Listen("tcp4", netip.AddrPortFrom(rules.MetadataAddr, 80).String())
		if err == nil {
			s.onStop(metadata.Close)
		}
		return err
	})
	if err != nil {
		return err
	}
	s.serve("dhcp", func() error {
		return dhcp.Serve(lease, func(index int) (dhcp.Lease, bool) {
			l, ok := s.view.Load().leases[index]
			return l, ok
		})
	})
	r := dns.New(dns.Config{
		Zone: func() *dns.Zone { return s.view.Load().zone }, Upstreams: s.d.cfg.Upstreams,
		Dial: s.d.dialHost, Now: s.d.deps.Now, DialVPC: s.dialFrom(resolver),
		Forwards: func() []dns.Forward { return s.view.Load().forwards },
		Disabled: func() bool { return s.view.Load().disabled },
	})
	for _, server := range r.Servers(packets, listeners) {
		started := make(chan struct{})
		server.NotifyStartedFunc = func() { close(started) }
		s.serve("dns", server.ActivateAndServe)
		s.stop = append(s.stop, func() { shutdown(server, started) })
	}
	if len(apis) > 0 {
		s.stop = append(s.stop, s.forwardAPI(apis, func(netip.Addr) (string, bool) { return "", true }))
	}
	if metadata == nil {
		return nil
	}
	return s.serveMetadata(metadata, s.find)
}

// listenDHCP opens a DHCP server's socket in the calling thread's namespace.
func (s *services) listenDHCP() (net.PacketConn, error) {
	broadcast := net.ListenConfig{Control: func(_, _ string, c syscall.RawConn) error {
		var err error
		return errors.Join(c.Control(func(fd uintptr) { err = unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_BROADCAST, 1) }), err)
	}}
	conn, err := broadcast.ListenPacket(context.Background(), "udp4", "0.0.0.0:67")
	if err == nil {
		s.onStop(conn.Close)
	}
	return conn, err
}

// serveMetadata answers for the metadata service.
func (s *services) serveMetadata(metadata net.Listener, find func(netip.Addr) (imds.Caller, bool)) error {
	key, err := imds.NewKey(s.d.deps.Rand)
	if err != nil {
		return err
	}
	h := imds.New(imds.Config{Find: find, Now: s.d.deps.Now, Key: key}).Server()
	s.serve("metadata", func() error {
		if err := h.Serve(metadata); !errors.Is(err, http.ErrServerClosed) {
			return err
		}
		return nil
	})
	s.onStop(h.Close)
	return nil
}

// shutdown ends a DNS server, which can only be told to once it runs.
func shutdown(server *mdns.Server, started <-chan struct{}) {
	select {
	case <-started:
	case <-time.After(time.Second): // it never will: its socket is closed
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	_ = server.ShutdownContext(ctx)
}

// find gives who has an address, as the metadata service asks.
func (s *services) find(ip netip.Addr) (imds.Caller, bool) {
	who, ok := s.view.Load().instances[ip]
	if !ok {
		return imds.Caller{}, false
	}
	m, ok := s.d.deps.Metadata.Lookup(s.vpcID, who.primary)
	return imds.Caller{InstanceID: who.instance, Metadata: m}, ok
}

func (s *services) onStop(closer func() error) {
	s.stop = append(s.stop, func() { _ = closer() })
}

func (s *services) serve(what string, run func() error) {
	s.work.Go(func() { s.ended(what, run()) })
}

// ended tells of a service that ended though nobody wanted it to.
func (s *services) ended(what string, err error) {
	if err != nil && !errors.Is(err, net.ErrClosed) {
		s.d.deps.Log.Error("a network service ended", "service", what, "vpc", s.vpcID, "error", err)
	}
}

// close ends the services and waits for them.
func (s *services) close() {
	s.closeSix()
	for _, stop := range s.ways {
		stop()
	}
	clear(s.ways)
	for _, stop := range slices.Backward(s.stop) {
		stop()
	}
	s.stop, s.resolver = nil, netip.Addr{}
	s.work.Wait()
}

// dialFrom connects from inside the VPC, in the name of its resolver.
func (s *services) dialFrom(resolver netip.Addr) func(context.Context, string, string) (net.Conn, error) {
	return func(ctx context.Context, network, address string) (net.Conn, error) {
		d := &net.Dialer{LocalAddr: &net.UDPAddr{IP: resolver.AsSlice()}}
		if network == "tcp" {
			d.LocalAddr = &net.TCPAddr{IP: resolver.AsSlice()}
		}
		var c net.Conn
		err := s.space.enter(func() error {
			var err error
			c, err = d.DialContext(ctx, network, address)
			return err
		})
		return c, err
	}
}

// dialHost connects from the host's own namespace.
func (d *Driver) dialHost(ctx context.Context, network, address string) (net.Conn, error) {
	var c net.Conn
	err := d.root.enter(func() error {
		var err error
		c, err = (&net.Dialer{}).DialContext(ctx, network, address)
		return err
	})
	return c, err
}
