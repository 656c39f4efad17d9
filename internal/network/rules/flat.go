package rules

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strings"

	"karri.dev/internal/network"
)

// Names in the namespace of a flat network. It has a bridge of its own, whose one uplink is a link to the operator's:
// so all rules stand here, and the operator's bridge has one more port and nothing else of ours.
const (
	FlatSpace  = "flat" // the namespace's id
	FlatBridge = "br0"
	FlatUplink = "up0"
	FlatMAC    = "0e:6b:61:72:72:07" // of FlatBridge
	// UplinkMAC is of both ends of the uplink: a high one, because a bridge takes the lowest MAC of its ports.
	UplinkMAC = "fe:6b:61:72:72:08"

	Learned = "learned" // the set of (tap, MAC, address) as DHCP gave them
)

// Limits of what one guest may ask of all others, and of DHCP servers.
const (
	flatDHCP      = 10 // packets a second
	flatBroadcast = arpPackets
)

// Types of frames.
const (
	etherIP  EtherType = 0x0800
	etherARP EtherType = 0x0806
)

const udp = 17

// Flat is the namespace of a flat network.
type Flat struct {
	ID     string
	Bridge string // of the host
	Uplink string // the host's end of the uplink
	Namespace
}

// UplinkName is the name of the host's end of the uplink, by that of its other link.
func UplinkName(link string) string { return "kf-" + strings.TrimPrefix(link, "kr-") }

// card is a valid interface of a flat network.
type card struct {
	network.FlatInterface
	tap, mac string
}

// cards gives the interfaces that can be served, and why others cannot.
func cards(f network.Flat) (out []card, err error) {
	var errs []error
	seen := map[string]string{}
	for _, i := range f.Interfaces {
		c := card{FlatInterface: i, tap: TapName(i.ID)}
		mac, err := net.ParseMAC(i.MAC)
		switch {
		case !plainID(i.ID):
			err = errors.New("not an interface id")
		case err != nil:
		case len(mac) != 6 || mac[0]&1 != 0 || mac.String() == TapMAC || mac.String() == FlatMAC || mac.String() == UplinkMAC:
			err = fmt.Errorf("MAC %s cannot be a guest's", i.MAC)
		case i.IP.IsValid() && !flatAddress(f, i.IP):
			err = fmt.Errorf("address %s is not for guests", i.IP)
		}
		keys := []string{c.tap, mac.String()}
		if i.IP.IsValid() {
			keys = append(keys, i.IP.String())
		}
		for _, key := range keys {
			if other, taken := seen[key]; taken && err == nil {
				err = fmt.Errorf("%s is taken by %s", key, other)
			}
		}
		if err != nil {
			errs = append(errs, fmt.Errorf("interface %s: %w", i.ID, err))
			continue
		}
		for _, key := range keys {
			seen[key] = i.ID
		}
		c.mac = mac.String()
		out = append(out, c)
	}
	return out, errors.Join(errs...)
}

func flatAddress(f network.Flat, a netip.Addr) bool {
	if !v4(a) || a.IsLoopback() || a.IsMulticast() || a.IsLinkLocalUnicast() {
		return false
	}
	return f.DHCP == nil || f.DHCP.Subnet.Contains(a) && a != f.DHCP.Router
}

// compileFlat gives the namespace of a flat network.
func compileFlat(o Options, f network.Flat) (Flat, error) {
	list, err := cards(f)
	out := Flat{ID: f.ID, Bridge: f.Bridge, Uplink: UplinkName(o.Link)}
	out.Addresses = []netip.Addr{MetadataAddr}
	out.Policies = []Policy{{Priority: prefMain, Table: MainTable}}
	for _, c := range list {
		out.Taps = append(out.Taps, Tap{Name: c.tap, ID: c.ID})
		if c.IP.IsValid() { // for answers of the metadata service, and of DHCP
			out.Routes = append(out.Routes, Route{Table: MainTable, Destination: host(c.IP), Kind: Unicast, Device: FlatBridge})
			out.Neighbors = append(out.Neighbors, Neighbor{Device: FlatBridge, IP: c.IP, MAC: c.mac})
		}
	}
	if f.DHCP != nil { // answers to guests without an address yet
		out.Routes = append(out.Routes, Route{Table: MainTable, Destination: host(broadcast), Kind: Unicast, Device: FlatBridge})
	}
	out.Tables = []Table{flatTable(f, list)}
	return out, err
}

var broadcast = netip.AddrFrom4([4]byte{255, 255, 255, 255})

// flatTable judges the frames on the bridge. A guest speaks IPv4 and ARP with its own MAC and address, and before it has
// one only DHCP; no guest is a DHCP server. Between guests, and to the operator's network, nothing else is held back.
func flatTable(f network.Flat, list []card) Table {
	s := newSets()
	pins := s.set("pins", InName, EtherSource)
	clients := s.mapTo("clients", None, InName, DHCPClient)
	bind := s.set("bind", InName, EtherSource, IPSource)
	s.add(Set{Name: Learned, Key: []Type{IfName, EtherAddr, IPv4Addr}, Dynamic: true, Lasting: true})
	for _, rate := range []string{"arp_rate", "dhcp_rate", "services"} {
		s.add(Set{Name: rate, Key: []Type{IfName}, Dynamic: true})
	}
	for _, c := range list {
		pins.put("", c.tap, c.mac)
		clients.put("", c.tap, c.mac)
		if c.IP.IsValid() {
			bind.put("", c.tap, c.mac, c.IP.String())
		}
	}
	ours := f.DHCP != nil
	metadata := host(MetadataAddr)
	anyone := Prefix{IPSource, host(netip.IPv4Unspecified())}
	fromUplink, toUplink := Name{InName, FlatUplink}, Name{OutName, FlatUplink}
	toServer := []Term{Proto{udp}, SourcePort(68), Ports{67, 67}}
	with := func(terms []Term, more ...Term) Rule { return append(append(Rule{}, terms...), more...) }

	outside := Chain{Name: "outside", Rules: []Rule{
		{etherARP, Do("accept")},
		{etherIP, Prefix{IPSource, metadata}, Do("drop")},
		{etherIP, Do("accept")},
		{Do("drop")},
	}}
	if ours {
		outside.Rules = append([]Rule{{etherIP, Proto{udp}, SourcePort(67), Do("drop")}}, outside.Rules...)
	}
	guest := Chain{Name: "guest", Base: &Base{"filter", "prerouting", 0, true}, Rules: []Rule{
		{fromUplink, Do("goto outside")},
		{In{Fields: Fields{InName, EtherSource}, Set: "pins", Not: true}, Do("drop")},
		{etherARP, Do("goto arp_in")},
		{etherIP, Do("goto ip_in")},
	}}
	arp := Chain{Name: "arp_in", Rules: []Rule{
		{Over{Set: "arp_rate", Rate: flatBroadcast, Burst: 2 * flatBroadcast}, Do("drop")},
		{In{Fields: Fields{InName, ARPEther, ARPSource}, Set: "bind"}, Do("accept")},
		{In{Fields: Fields{InName, ARPEther, ARPSource}, Set: Learned}, Do("accept")},
		{In{Fields: Fields{InName, ARPEther}, Set: "pins"}, Prefix{ARPSource, host(netip.IPv4Unspecified())}, Do("accept")},
		{Do("drop")},
	}}
	ip := Chain{Name: "ip_in", Rules: []Rule{
		{Proto{udp}, SourcePort(67), Do("drop")},
		{Proto{udp}, Ports{67, 67}, In{Fields: Fields{InName, DHCPClient}, Set: "clients", Not: true}, Do("drop")},
		{Proto{udp}, Ports{67, 67}, Over{Set: "dhcp_rate", Rate: flatDHCP, Burst: 2 * flatDHCP}, Do("drop")},
		with(toServer, anyone, Prefix{IPDest, host(broadcast)}, Do("accept")),
		{In{Fields: Fields{InName, EtherSource, IPSource}, Set: "bind"}, Do("goto own")},
		{In{Fields: Fields{InName, EtherSource, IPSource}, Set: Learned}, Do("goto own")},
		{Do("drop")},
	}}
	own := Chain{Name: "own", Rules: []Rule{ // the metadata service is wherever the guest sends this
		{Prefix{IPDest, metadata}, Over{Set: "services", Rate: servicePackets, Burst: serviceBurst}, Do("drop")},
		{Prefix{IPDest, metadata}, Proto{6}, Ports{80, 80}, ToSelf(FlatMAC), Do("accept")},
		{Prefix{IPDest, metadata}, Proto{udp}, Ports{67, 67}, ToSelf(FlatMAC), Do("accept")},
		{Prefix{IPDest, metadata}, Do("drop")},
		{Do("accept")},
	}}
	input := Chain{Name: "self", Base: &Base{"filter", "input", 0, true}, Rules: []Rule{
		{fromUplink, Do("drop")},
		{etherARP, ARPTarget(MetadataAddr), Do("accept")},
		{etherIP, Prefix{IPDest, metadata}, Do("accept")},
	}}
	forward := Chain{Name: "across", Base: &Base{"filter", "forward", 0, false}, Rules: []Rule{
		{toUplink, etherARP, ARPTarget(MetadataAddr), Do("drop")},
	}}
	output := Chain{Name: "answers", Base: &Base{"filter", "output", 0, false}, Rules: []Rule{{toUplink, Do("drop")}}}
	if ours {
		input.Rules = append(input.Rules, with([]Term{etherIP}, with(toServer, anyone, Do("accept"))...))
		forward.Rules = append(forward.Rules, with([]Term{etherIP}, with(toServer, Do("drop"))...))
		output.Rules = append(output.Rules, // a broadcast answer is one guest's
			Rule{etherIP, Proto{udp}, SourcePort(67), In{Fields: Fields{OutName, DHCPClient}, Set: "clients", Not: true}, Do("drop")})
	} else { // requests go to the operator's servers only, and answers to who asked
		answer := []Term{etherIP, Proto{udp}, SourcePort(67), Ports{68, 68}}
		forward.Rules = append(forward.Rules,
			with(answer, In{Fields: Fields{OutName, DHCPClient}, Set: "clients", Not: true}, Do("drop")),
			with(answer, Gives{}, Learn{Learned}),
			Rule{toUplink, Do("accept")},
			with([]Term{etherIP}, with(toServer, Do("drop"))...))
	}
	return Table{Family: "bridge", Name: TableName, Sets: s.all(), Chains: []Chain{guest, outside, arp, ip, own, input, forward, output}}
}
