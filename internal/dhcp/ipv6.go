package dhcp

import (
	"encoding/binary"
	"net"
	"net/netip"
	"time"

	"github.com/insomniacslk/dhcp/dhcpv6"
	"github.com/insomniacslk/dhcp/iana"
)

// Lease6 is what one guest interface is told about IPv6: by router advertisements that there is a router, and to ask
// for its address; by DHCPv6 the address.
type Lease6 struct {
	IP       netip.Addr // zero = it has none
	Router   net.HardwareAddr
	MTU      int
	Duration time.Duration
}

// Answer6 gives the answer to a DHCPv6 message that came from the lease's own interface. false means silence.
func Answer6(message []byte, l Lease6) ([]byte, bool) {
	if len(message) > maxMessage {
		return nil, false
	}
	q, err := dhcpv6.MessageFromBytes(message) // relays' messages are none
	if err != nil || q.Options.ClientID() == nil {
		return nil, false
	}
	us := &dhcpv6.DUIDLL{HWType: iana.HWTypeEthernet, LinkLayerAddr: l.Router}
	if id := q.Options.ServerID(); id != nil && !id.Equal(us) {
		return nil, false // meant for another server
	}
	var a *dhcpv6.Message
	switch q.MessageType {
	case dhcpv6.MessageTypeSolicit:
		if q.GetOneOption(dhcpv6.OptionRapidCommit) == nil {
			a, err = dhcpv6.NewAdvertiseFromSolicit(q)
			break
		}
		a, err = dhcpv6.NewReplyFromMessage(q)
	case dhcpv6.MessageTypeRequest, dhcpv6.MessageTypeRenew, dhcpv6.MessageTypeRebind, dhcpv6.MessageTypeInformationRequest:
		a, err = dhcpv6.NewReplyFromMessage(q)
	case dhcpv6.MessageTypeConfirm:
		if a, err = dhcpv6.NewReplyFromMessage(q); err == nil {
			a.UpdateOption(&dhcpv6.OptStatusCode{StatusCode: confirm(q, l)})
		}
	default: // DECLINE, RELEASE: the address stays the guest's
		return nil, false
	}
	if err != nil {
		return nil, false
	}
	a.UpdateOption(dhcpv6.OptServerID(us))
	if q.MessageType != dhcpv6.MessageTypeConfirm {
		for i, ask := range q.Options.IANA() {
			a.AddOption(identity(ask, l, i == 0))
		}
	}
	return a.ToBytes(), true
}

// identity answers one of the guest's identity associations: the first one has the address.
func identity(ask *dhcpv6.OptIANA, l Lease6, first bool) *dhcpv6.OptIANA {
	out := &dhcpv6.OptIANA{IaId: ask.IaId}
	if !first || !l.IP.IsValid() {
		out.Options.Add(&dhcpv6.OptStatusCode{StatusCode: iana.StatusNoAddrsAvail})
		return out
	}
	out.T1, out.T2 = l.Duration/2, l.Duration*7/8
	out.Options.Add(&dhcpv6.OptIAAddress{IPv6Addr: l.IP.AsSlice(), PreferredLifetime: l.Duration, ValidLifetime: l.Duration})
	for _, old := range ask.Options.Addresses() { // what it must not use any longer
		if had, ok := netip.AddrFromSlice(old.IPv6Addr); ok && had != l.IP && !had.IsUnspecified() {
			out.Options.Add(&dhcpv6.OptIAAddress{IPv6Addr: old.IPv6Addr})
		}
	}
	return out
}

// confirm says whether all addresses that a guest asks about are its.
func confirm(q *dhcpv6.Message, l Lease6) iana.StatusCode {
	for _, ask := range q.Options.IANA() {
		for _, a := range ask.Options.Addresses() {
			if had, ok := netip.AddrFromSlice(a.IPv6Addr); !ok || had != l.IP {
				return iana.StatusNotOnLink
			}
		}
	}
	return iana.StatusSuccess
}

// routerLifetime is how long a guest counts on the router without hearing of it.
const routerLifetime = 30 * time.Minute

// Advertisement is a router advertisement for an interface, without its checksum: there is a router, everything is
// behind it, and addresses come by DHCPv6.
func Advertisement(l Lease6) []byte {
	b := []byte{134, 0, 0, 0, 64, 0xc0} // type, code, checksum, hop limit, managed and other configuration
	b = binary.BigEndian.AppendUint16(b, uint16(routerLifetime/time.Second))
	b = append(b, make([]byte, 8)...)
	b = append(b, 1, 1) // the router's link-layer address
	b = append(b, l.Router...)
	b = append(b, 5, 1, 0, 0)
	return binary.BigEndian.AppendUint32(b, uint32(l.MTU))
}
