package network

import "net/netip"

// Flat is a network of the operator's, on which guests stand like any other machine: the old modes SYSTEM and STATIC.
// There are no groups, no public addresses and no isolation; a guest speaks with its own MAC and address only.
type Flat struct {
	ID         string          `json:"id"`
	Bridge     string          `json:"bridge"` // of the host, which the operator made
	Interfaces []FlatInterface `json:"interfaces,omitempty"`
	// DHCP is what our own server says; nil: the operator's server answers, and addresses are learned from that.
	DHCP *FlatDHCP `json:"dhcp,omitempty"`
}

// FlatInterface is a guest's card on this host.
type FlatInterface struct {
	ID         string     `json:"id"`
	InstanceID string     `json:"instance"`
	MAC        string     `json:"mac"`
	IP         netip.Addr `json:"ip,omitzero"` // zero = not known yet
	Hostname   string     `json:"hostname,omitempty"`
}

// FlatDHCP is what guests are told beside their address.
type FlatDHCP struct {
	Subnet  netip.Prefix `json:"subnet"`
	Router  netip.Addr   `json:"router,omitzero"`
	Servers []netip.Addr `json:"servers,omitempty"` // DNS
	Domain  string       `json:"domain,omitempty"`
}

// LearnedAddress is what the operator's DHCP server gave to a card.
type LearnedAddress struct {
	Interface string     `json:"interface"`
	IP        netip.Addr `json:"ip"`
}
