// Package dhcp answers guests' DHCP requests. Each guest has exactly one address, known before it asks, so there
// are no pools and no lease database: an answer follows from the request and the Lease alone.
package dhcp

import (
	"net"
	"net/netip"
	"time"

	"github.com/insomniacslk/dhcp/dhcpv4"
)

// Lease is what one guest interface is told.
type Lease struct {
	MAC      net.HardwareAddr
	IP       netip.Addr
	Subnet   netip.Prefix
	Router   netip.Addr
	Server   netip.Addr // the server's own address; zero = Router
	Servers  []netip.Addr
	Domain   string
	Hostname string
	MTU      int
	NTP      []netip.Addr
	NetBIOS  []netip.Addr // name servers
	NodeType int          // of NetBIOS; 0 = not said
	Duration time.Duration
}

func (l *Lease) server() netip.Addr {
	if l.Server.IsValid() {
		return l.Server
	}
	return l.Router
}

// maxMessage is the longest request looked at, in bytes.
const maxMessage = 1500

func addresses(list []netip.Addr) []net.IP {
	out := make([]net.IP, len(list))
	for i, a := range list {
		out[i] = a.AsSlice()
	}
	return out
}

var broadcast = netip.AddrFrom4([4]byte{255, 255, 255, 255})

// Answer gives the answer to a request that came from the lease's own interface, and the address to send it to
// (port 68). false means silence: not a request, not for us, or not from the guest's own MAC.
func Answer(message []byte, l Lease) ([]byte, netip.Addr, bool) {
	none := netip.Addr{}
	if len(message) > maxMessage {
		return nil, none, false
	}
	q, err := dhcpv4.FromBytes(message)
	if err != nil || q.OpCode != dhcpv4.OpcodeBootRequest || q.ClientHWAddr.String() != l.MAC.String() {
		return nil, none, false
	}
	if len(q.GatewayIPAddr) > 0 && !q.GatewayIPAddr.IsUnspecified() {
		return nil, none, false // there are no relays
	}
	if id := q.ServerIdentifier(); id != nil && !id.Equal(l.server().AsSlice()) {
		return nil, none, false // meant for another server
	}
	kind, address := dhcpv4.MessageTypeNone, true
	switch q.MessageType() {
	case dhcpv4.MessageTypeDiscover:
		kind = dhcpv4.MessageTypeOffer
	case dhcpv4.MessageTypeInform:
		kind, address = dhcpv4.MessageTypeAck, false
	case dhcpv4.MessageTypeRequest:
		kind = dhcpv4.MessageTypeAck
		wanted := q.RequestedIPAddress()
		if wanted == nil || wanted.IsUnspecified() {
			wanted = q.ClientIPAddr
		}
		if !wanted.Equal(l.IP.AsSlice()) {
			kind = dhcpv4.MessageTypeNak
		}
	default: // DECLINE, RELEASE: the address stays the guest's
		return nil, none, false
	}
	a, err := dhcpv4.NewReplyFromRequest(q)
	if err != nil {
		return nil, none, false
	}
	a.UpdateOption(dhcpv4.OptMessageType(kind))
	a.UpdateOption(dhcpv4.OptServerIdentifier(l.server().AsSlice()))
	if kind == dhcpv4.MessageTypeNak {
		a.ClientIPAddr = net.IPv4zero
		return a.ToBytes(), broadcast, true
	}
	if address {
		a.YourIPAddr = l.IP.AsSlice()
		a.UpdateOption(dhcpv4.OptIPAddressLeaseTime(l.Duration))
		a.UpdateOption(dhcpv4.OptRenewTimeValue(l.Duration / 2))
		a.UpdateOption(dhcpv4.OptRebindingTimeValue(l.Duration * 7 / 8))
	}
	a.UpdateOption(dhcpv4.OptSubnetMask(net.CIDRMask(l.Subnet.Bits(), 32)))
	if l.Router.IsValid() {
		a.UpdateOption(dhcpv4.OptRouter(l.Router.AsSlice()))
	}
	if len(l.Servers) > 0 {
		a.UpdateOption(dhcpv4.OptDNS(addresses(l.Servers)...))
	}
	if len(l.NTP) > 0 {
		a.UpdateOption(dhcpv4.OptNTPServers(addresses(l.NTP)...))
	}
	if len(l.NetBIOS) > 0 {
		a.UpdateOption(dhcpv4.OptNetBIOSNameServers(addresses(l.NetBIOS)...))
	}
	if l.NodeType > 0 {
		a.UpdateOption(dhcpv4.OptGeneric(dhcpv4.OptionNetBIOSOverTCPIPNodeType, []byte{byte(l.NodeType)}))
	}
	if l.Domain != "" {
		a.UpdateOption(dhcpv4.OptDomainName(l.Domain))
	}
	if l.Hostname != "" {
		a.UpdateOption(dhcpv4.OptHostName(l.Hostname))
	}
	if l.MTU > 0 {
		a.UpdateOption(dhcpv4.OptGeneric(dhcpv4.OptionInterfaceMTU, []byte{byte(l.MTU >> 8), byte(l.MTU)}))
	}
	to := l.IP
	if q.IsBroadcast() {
		to = broadcast
	}
	if c, ok := netip.AddrFromSlice(q.ClientIPAddr.To4()); ok && c == l.IP {
		to = c // it has the address already
	}
	return a.ToBytes(), to, true
}
