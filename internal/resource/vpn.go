package resource

import (
	"slices"
	"time"
)

// States of what belongs to VPN connections.
const (
	VPNPending   = "pending"
	VPNAvailable = "available"
	VPNDeleting  = "deleting"
	VPNDeleted   = "deleted"
)

// CustomerGateway is what a customer says of its own end of VPN connections.
type CustomerGateway struct {
	Owned
	ID         string    `json:"id"` // cgw-…
	IP         string    `json:"ip"`
	ASN        int64     `json:"asn"`
	DeviceName string    `json:"device,omitempty"`
	State      string    `json:"state"` // available or deleted
	EndedAt    time.Time `json:"ended,omitzero"`
}

// VPNGateway is a virtual private gateway: the VPC's end of VPN connections. Its zone writes Node.
type VPNGateway struct {
	Owned
	ID      string    `json:"id"` // vgw-…
	VPCID   string    `json:"vpc,omitempty"`
	ASN     int64     `json:"asn"`
	Zone    string    `json:"zone"`                 // that has it on one of its nodes
	Asked   string    `json:"asked_zone,omitempty"` // the zone that was asked for
	Node    string    `json:"node,omitempty"`
	State   string    `json:"state"` // available or deleted
	EndedAt time.Time `json:"ended,omitzero"`
}

// Alive says that it is not deleted.
func (g *VPNGateway) Alive() bool { return g.State != VPNDeleted }

// VPNConnection joins a virtual private gateway to a customer gateway. Its zone writes State, and of tunnels Up,
// Message and Changed.
type VPNConnection struct {
	Owned
	ID         string      `json:"id"` // vpn-…
	CustomerID string      `json:"customer"`
	GatewayID  string      `json:"gateway"`
	State      string      `json:"state"`
	Customer   string      `json:"local,omitempty"`  // the range on the customer's side that may pass, "" = all
	Cloud      string      `json:"remote,omitempty"` // that on the cloud's side
	BGP        bool        `json:"bgp,omitempty"`    // routes come by BGP, in Tunnels
	Routes     []string    `json:"routes,omitempty"` // static ones
	Tunnels    []VPNTunnel `json:"tunnels"`
	EndedAt    time.Time   `json:"ended,omitzero"`
}

// Alive says that it has, or is to have, its tunnels.
func (c *VPNConnection) Alive() bool { return c.State == VPNPending || c.State == VPNAvailable }

// Behind gives the ranges that are reached by the tunnels that are up, in order.
func (c *VPNConnection) Behind() (out []string) {
	for _, t := range c.Tunnels {
		switch {
		case t.Up && c.BGP:
			out = append(out, t.Learned...)
		case t.Up:
			out = append(out, c.Routes...)
		}
	}
	slices.Sort(out)
	return slices.Compact(out)
}

// VPNTunnel is one tunnel of a connection.
type VPNTunnel struct {
	Outside string           `json:"outside"` // public address
	Inside  string           `json:"inside"`  // a /30 block
	PSK     []byte           `json:"psk"`     // sealed, see PSKContext
	Options VPNTunnelOptions `json:"options,omitzero"`

	Up      bool      `json:"up,omitempty"`
	Message string    `json:"message,omitempty"`
	Changed time.Time `json:"changed,omitzero"`
	Learned []string  `json:"learned,omitempty"` // by BGP
}

// VPNTunnelOptions are what was asked of a tunnel; zero values are defaults.
type VPNTunnelOptions struct {
	Phase1     VPNPhase `json:"phase1,omitzero"`
	Phase2     VPNPhase `json:"phase2,omitzero"`
	Margin     int      `json:"margin,omitempty"`
	Fuzz       *int     `json:"fuzz,omitempty"`
	Replay     int      `json:"replay,omitempty"`
	DPDTimeout int      `json:"dpd_timeout,omitempty"`
	DPDAction  string   `json:"dpd_action,omitempty"`
	Versions   []string `json:"versions,omitempty"`
	Startup    string   `json:"startup,omitempty"`
}

// VPNPhase is what was asked of one phase of IKE.
type VPNPhase struct {
	Seconds    int      `json:"seconds,omitempty"`
	Encryption []string `json:"encryption,omitempty"`
	Integrity  []string `json:"integrity,omitempty"`
	Groups     []int    `json:"groups,omitempty"`
}

// PSKContext is what the secret of a tunnel is sealed with.
func PSKContext(connection, outside string) string { return "vpn-psk:" + connection + "/" + outside }
