// Package network is the engine family that gives machines their network. A driver serves one host: netns
// for real (one namespace per VPC, routed taps, nftables), fake for simulation. Types here are the whole
// desired state of one host, as plain data: compiling it into rules is a pure function, applying it sends
// only the difference.
package network

import (
	"context"
	"net/netip"
	"os"
)

// State is all that one host's network should be. Slices are sorted by ID by whoever makes it.
type State struct {
	PublicPool []netip.Prefix `json:"public_pool,omitempty"` // all public addresses of the cloud
	VPCs       []VPC          `json:"vpcs,omitempty"`        // those with an interface on this host
}

// VPC is one virtual network as this host needs it.
type VPC struct {
	ID          string         `json:"id"`
	VNI         uint32         `json:"vni"`
	CIDRs       []netip.Prefix `json:"cidrs"`
	Subnets     []Subnet       `json:"subnets"`
	RouteTables []RouteTable   `json:"route_tables"`
	ACLs        []ACL          `json:"acls,omitempty"`
	Groups      []Group        `json:"groups"`     // security groups used by local interfaces or named by their rules
	Interfaces  []Interface    `json:"interfaces"` // on this host
	Remotes     []Remote       `json:"remotes,omitempty"`
	DNS         DNS            `json:"dns"`
}

// Subnet is a range. Its first address is the gateway; the VPC's second one is the DNS server.
type Subnet struct {
	ID         string       `json:"id"`
	Index      uint32       `json:"index"` // device group of its taps, 1…
	CIDR       netip.Prefix `json:"cidr"`
	RouteTable string       `json:"route_table"`
	ACL        string       `json:"acl,omitempty"` // "" = allow all
}

// RouteTable holds routes besides the VPC's local ones.
type RouteTable struct {
	ID     string  `json:"id"`
	Index  uint32  `json:"index"` // 1…, unique in the VPC
	Routes []Route `json:"routes,omitempty"`
}

// Route leads a destination to a target.
type Route struct {
	Destination netip.Prefix `json:"destination"`
	Target      Target       `json:"target"`
}

// Target is where a route leads. Others (NAT gateway, interface, peering) come with the VPC issue.
type Target string

const (
	InternetGateway Target = "internet-gateway"
	Blackhole       Target = "blackhole"
)

// ACL is a stateless filter at a subnet's border, entries in order of number; the end denies.
type ACL struct {
	ID      string     `json:"id"`
	Entries []ACLEntry `json:"entries"`
}

// ACLEntry is one rule of an ACL.
type ACLEntry struct {
	Egress   bool         `json:"egress,omitempty"`
	Allow    bool         `json:"allow,omitempty"`
	Protocol int          `json:"protocol"` // IP protocol number, -1 all
	CIDR     netip.Prefix `json:"cidr"`
	Ports    PortRange    `json:"ports"` // TCP and UDP; ICMP: type and code
}

// Group is a security group.
type Group struct {
	ID      string       `json:"id"`
	Rules   []Rule       `json:"rules,omitempty"`
	Members []netip.Addr `json:"members,omitempty"` // private addresses of all interfaces in it, on every host
}

// Rule allows. Exactly one of CIDR and Group is set.
type Rule struct {
	Egress   bool         `json:"egress,omitempty"`
	Protocol int          `json:"protocol"` // IP protocol number, -1 all
	Ports    PortRange    `json:"ports"`    // TCP and UDP; ICMP: type and code
	CIDR     netip.Prefix `json:"cidr,omitzero"`
	Group    string       `json:"group,omitempty"`
}

// PortRange is inclusive; -1 in From means all. For ICMP, From is the type and To the code, -1 all.
type PortRange struct {
	From int `json:"from"`
	To   int `json:"to"`
}

// Interface is an ENI on this host.
type Interface struct {
	ID            string     `json:"id"`
	InstanceID    string     `json:"instance"`
	SubnetID      string     `json:"subnet"`
	MAC           string     `json:"mac"`
	PrivateIP     netip.Addr `json:"private_ip"`
	PublicIP      netip.Addr `json:"public_ip,omitzero"` // 1:1 at the internet gateway, while the route table has one
	Groups        []string   `json:"groups"`
	NoSourceCheck bool       `json:"no_source_check,omitempty"`
	Hostname      string     `json:"hostname"` // for DHCP and DNS, without domain
}

// Remote is an interface of the same VPC on another host.
type Remote struct {
	PrivateIP netip.Addr `json:"private_ip"`
	MAC       string     `json:"mac"`
	Underlay  netip.Addr `json:"underlay"` // that host's address
	SubnetID  string     `json:"subnet"`
}

// DNS is what a VPC's resolver and DHCP say.
type DNS struct {
	Domain  string       `json:"domain"`            // "ec2.internal" or "REGION.compute.internal"
	Servers []netip.Addr `json:"servers,omitempty"` // empty = the VPC's own resolver
	Names   []Name       `json:"names,omitempty"`   // beside those of interfaces
}

// Name is one A record.
type Name struct {
	Name string     `json:"name"` // fully qualified, without the last dot
	IP   netip.Addr `json:"ip"`
}

// Driver keeps one host's network. Methods may be called concurrently.
type Driver interface {
	// Apply makes the host's network what state says, touching only what differs: established connections
	// of what stays are not disturbed, and a state that is already there costs little. Foreign changes to
	// what the driver owns are repaired. On an error what could be applied is; call again.
	Apply(ctx context.Context, state State) error
	// OpenTap gives an open tap file of an applied interface, for a hypervisor. The caller closes it.
	OpenTap(ctx context.Context, interfaceID string) (*os.File, error)
	// MTU is that of guests' interfaces here.
	MTU() int
	// Destroy removes everything that the driver made on this host.
	Destroy(ctx context.Context) error
	// Close ends the driver's services (DHCP, DNS, metadata). The data path stays.
	Close() error
}
