package network

import "net/netip"

// VPNGateway is the VPC's virtual private gateway: where its VPN connections begin. It is on one host at a time.
type VPNGateway struct {
	ID       string     `json:"id"`
	Underlay netip.Addr `json:"underlay,omitzero"` // the host that it is on; zero = this one
	// Connections are given on the gateway's host only: they hold secrets.
	Connections []VPNConnection `json:"connections,omitempty"`
}

// VPNConnection leads to one customer gateway through two tunnels.
type VPNConnection struct {
	ID       string         `json:"id"`
	Customer netip.Addr     `json:"customer"`         // the customer gateway's address
	Routes   []netip.Prefix `json:"routes,omitempty"` // what is behind the customer gateway
	BGP      *BGP           `json:"bgp,omitempty"`    // by which Routes come instead
	// Local and Remote are what may pass, seen from here.
	Local   netip.Prefix `json:"local"`
	Remote  netip.Prefix `json:"remote"`
	Tunnels []VPNTunnel  `json:"tunnels"` // the first one that is up is used
}

// BGP says between whom routes are told.
type BGP struct {
	LocalAS uint32 `json:"local"`
	PeerAS  uint32 `json:"peer"`
}

// Learned is a route that came by BGP.
type Learned struct {
	Prefix netip.Prefix `json:"prefix"`
	Length int          `json:"length"` // of the AS path: the shorter one is better
	MED    uint32       `json:"med,omitempty"`
}

// VPNTunnel is one IPsec tunnel.
type VPNTunnel struct {
	ID     string       `json:"id"` // the connection's and a number
	Public netip.Addr   `json:"public"`
	Inside netip.Prefix `json:"inside"` // a /30: the gateway's address in the tunnel, and the customer's
	PSK    string       `json:"psk"`    // secret
	// Versions of IKE that are spoken, 1 and 2.
	Versions []int `json:"versions"`
	Phase1   Phase `json:"phase1"` // IKE
	Phase2   Phase `json:"phase2"` // ESP
	// Margin is how many seconds before a phase's end it is renewed, at most, and Fuzz by how many per cent that
	// varies.
	Margin int `json:"margin"`
	Fuzz   int `json:"fuzz"`
	Replay int `json:"replay"` // packets of the replay window
	// DPDTimeout is after how many seconds without an answer the other side counts as dead.
	DPDTimeout int    `json:"dpd_timeout"`
	DPDAction  string `json:"dpd_action"`      // "clear", "none" or "restart"
	Start      bool   `json:"start,omitempty"` // this side calls
}

// Phase says by what one phase of IKE may be protected, as AWS names it, and for how many seconds.
type Phase struct {
	Encryption []string `json:"encryption"`
	Integrity  []string `json:"integrity"`
	Groups     []int    `json:"groups"` // Diffie-Hellman
	Seconds    int      `json:"seconds"`
}

// TunnelStatus is how a VPN tunnel is.
type TunnelStatus struct {
	ID      string `json:"id"`
	Up      bool   `json:"up,omitempty"`
	Message string `json:"message,omitempty"` // why it is not
	// Routes are those that came by BGP, in order.
	Routes []netip.Prefix `json:"routes,omitempty"`
}

// Customer is the customer gateway's address in the tunnel.
func (t VPNTunnel) Customer() netip.Addr { return t.Gateway().Next() }

// Gateway is this side's address in the tunnel.
func (t VPNTunnel) Gateway() netip.Addr { return t.Inside.Masked().Addr().Next() }
