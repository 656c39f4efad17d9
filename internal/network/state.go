package network

import "net/netip"

// State is all that one host's network should be. Slices are sorted by ID by whoever makes it.
type State struct {
	PublicPool []netip.Prefix `json:"public_pool,omitempty"` // all public addresses of the cloud, of both families
	// VPCs are those with an interface, or a NAT gateway, on this host, and those peered with one of them: a
	// packet to a peer enters the other VPC on the sender's host. Those may have no Interfaces here.
	VPCs []VPC `json:"vpcs,omitempty"`
	Flat *Flat `json:"flat,omitempty"` // nil = none
}

// VPC is one virtual network as this host needs it.
type VPC struct {
	ID          string         `json:"id"`
	VNI         uint32         `json:"vni"`
	CIDRs       []netip.Prefix `json:"cidrs"` // the first one is the primary IPv4 range; IPv6 ranges come after
	Subnets     []Subnet       `json:"subnets"`
	RouteTables []RouteTable   `json:"route_tables"`
	ACLs        []ACL          `json:"acls,omitempty"`
	// Groups are the security groups of local interfaces and endpoints, and those that their rules name, also
	// where these are a peered VPC's: of such, only the members matter.
	Groups      []Group      `json:"groups"`
	Interfaces  []Interface  `json:"interfaces"` // on this host
	Remotes     []Remote     `json:"remotes,omitempty"`
	NATGateways []NATGateway `json:"nat_gateways,omitempty"` // all of the VPC, on every host
	Peerings    []Peering    `json:"peerings,omitempty"`     // active ones
	VPN         *VPNGateway  `json:"vpn,omitempty"`
	Endpoints   []Endpoint   `json:"endpoints,omitempty"`
	DNS         DNS          `json:"dns"`
	DHCP        DHCP         `json:"dhcp,omitzero"`
	FlowLogs    []FlowLog    `json:"flow_logs,omitempty"`
}

// Subnet is a range. Its first address is the gateway; the VPC's second one is the DNS server.
type Subnet struct {
	ID         string       `json:"id"`
	Index      uint32       `json:"index"` // device group of its taps, 1…
	CIDR       netip.Prefix `json:"cidr"`
	CIDR6      netip.Prefix `json:"cidr6,omitzero"`
	RouteTable string       `json:"route_table"`
	ACL        string       `json:"acl,omitempty"` // "" = allow all
}

// RouteTable holds routes besides the VPC's local ones.
type RouteTable struct {
	ID     string  `json:"id"`
	Index  uint32  `json:"index"` // 1…, unique in the VPC
	Routes []Route `json:"routes,omitempty"`
}

// Route leads a destination of either family to a target. A route to a prefix list is one Route for each of its
// entries. A destination inside the VPC's ranges is more specific than the local route and goes before it.
type Route struct {
	Destination netip.Prefix `json:"destination"`
	Target      Target       `json:"target"`
	ID          string       `json:"id,omitempty"` // of the target, where there can be several in a VPC
}

// Target is the kind of thing a route leads to. What Route.ID names must be in the VPC; else the route is a
// blackhole.
type Target string

// Targets, and what Route.ID is.
const (
	InternetGateway  Target = "internet-gateway"
	EgressOnly       Target = "egress-only" // IPv6 only: out, and nothing in but answers
	ToNATGateway     Target = "nat-gateway" // a NATGateway's
	ToInterface      Target = "interface"   // an Interface's or Remote's: also for a route to an instance
	ToPeering        Target = "peering"     // a Peering's
	ToVPNGateway     Target = "vpn-gateway" // a VPNGateway's
	ToGatewayService Target = "endpoint"    // a gateway Endpoint's
	Blackhole        Target = "blackhole"
)

// ACL is a stateless filter at a subnet's border, entries in order of number; the end denies.
type ACL struct {
	ID      string     `json:"id"`
	Entries []ACLEntry `json:"entries"`
}

// ACLEntry is one rule of an ACL. It looks at packets of its CIDR's family only.
type ACLEntry struct {
	Egress   bool         `json:"egress,omitempty"`
	Allow    bool         `json:"allow,omitempty"`
	Protocol int          `json:"protocol"` // IP protocol number, -1 all
	CIDR     netip.Prefix `json:"cidr"`
	Ports    PortRange    `json:"ports"` // TCP and UDP; ICMP and ICMPv6: type and code
}

// Group is a security group.
type Group struct {
	ID    string `json:"id"`
	Rules []Rule `json:"rules,omitempty"`
	// Members are the private addresses, of both families, of all interfaces in it, on every host: primary,
	// secondary, and those of delegated IPv4 prefixes.
	Members []netip.Addr `json:"members,omitempty"`
}

// Rule allows. Exactly one of CIDR (of either family) and Group is set. A rule that names a prefix list is one
// Rule for each of its entries.
type Rule struct {
	Egress   bool         `json:"egress,omitempty"`
	Protocol int          `json:"protocol"` // IP protocol number, -1 all
	Ports    PortRange    `json:"ports"`    // TCP and UDP; ICMP and ICMPv6: type and code
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

	Secondary []Address      `json:"secondary,omitempty"` // further IPv4 addresses
	IPv6      []netip.Addr   `json:"ipv6,omitempty"`      // the first one is given by DHCPv6
	Prefixes  []netip.Prefix `json:"prefixes,omitempty"`  // delegated to it, of both families, inside the subnet's
}

// Address is a private IPv4 address and its public one, if any.
type Address struct {
	Private netip.Addr `json:"private"`
	Public  netip.Addr `json:"public,omitzero"`
}

// Remote is an interface of the same VPC on another host.
type Remote struct {
	ID        string         `json:"id,omitempty"`
	PrivateIP netip.Addr     `json:"private_ip"`
	MAC       string         `json:"mac"`
	Underlay  netip.Addr     `json:"underlay"` // that host's address
	SubnetID  string         `json:"subnet"`
	Others    []netip.Prefix `json:"others,omitempty"` // its other addresses (/32, /128) and delegated prefixes
}

// NATGateway is a NAT gateway: an interface in its subnet to which other subnets' route tables lead, and which
// sends on in its own name, by its own subnet's route table. It is on one host at a time.
type NATGateway struct {
	ID          string `json:"id"`
	InterfaceID string `json:"interface"`
	SubnetID    string `json:"subnet"`
	MAC         string `json:"mac"`
	// Addresses are what it sends from, the primary one first. Those of a private NAT gateway have no Public.
	Addresses []Address  `json:"addresses"`
	Underlay  netip.Addr `json:"underlay,omitzero"` // the host that it is on; zero = this one
}

// Peering joins the VPC to another one, which is in State, too, and has the same Peering towards this one.
type Peering struct {
	ID    string         `json:"id"`
	VPC   string         `json:"vpc"`   // the other one
	CIDRs []netip.Prefix `json:"cidrs"` // the other one's ranges
}

// Endpoint leads to the cloud's own API without leaving the VPC: every service answers there. One with Addresses
// is an interface endpoint, found at these (on every host, whichever); one without is a gateway endpoint, found
// by routes to it.
type Endpoint struct {
	ID        string       `json:"id"`
	Addresses []netip.Addr `json:"addresses,omitempty"`
	Groups    []string     `json:"groups,omitempty"` // security groups of its interfaces; gateway endpoints have none
}

// DNS is what a VPC's resolver says.
type DNS struct {
	Domain   string       `json:"domain"`            // "ec2.internal" or "REGION.compute.internal"
	Servers  []netip.Addr `json:"servers,omitempty"` // what DHCP names; empty = the VPC's own resolver
	Names    []Name       `json:"names,omitempty"`   // beside those of interfaces
	Reverse  []Name       `json:"reverse,omitempty"` // names of public addresses, for asking by address only
	Disabled bool         `json:"disabled,omitempty"`
	Forward  []Forward    `json:"forward,omitempty"`
}

// Name is one A or AAAA record. "*.NAME" stands for all names below NAME that have no record of their own.
type Name struct {
	Name string     `json:"name"` // fully qualified, without the last dot
	IP   netip.Addr `json:"ip"`
}

// Forward sends questions about a domain to servers that the VPC reaches, asked in the name of the resolver.
type Forward struct {
	Domain  string           `json:"domain"` // the longest one that fits is taken
	Servers []netip.AddrPort `json:"servers"`
}

// DHCP is a VPC's DHCP option set. Zero fields are EC2's defaults.
type DHCP struct {
	Domain          string       `json:"domain,omitempty"`  // "" = DNS.Domain
	NTP             []netip.Addr `json:"ntp,omitempty"`     // at most four
	NetBIOS         []netip.Addr `json:"netbios,omitempty"` // name servers, at most four
	NetBIOSNodeType int          `json:"netbios_node_type,omitempty"`
}

// FlowLog asks for records of what passes, and what does not, at interfaces of this host.
type FlowLog struct {
	ID         string   `json:"id"`
	Interfaces []string `json:"interfaces"` // local ones, and local NAT gateways'
	Accepted   bool     `json:"accepted,omitempty"`
	Rejected   bool     `json:"rejected,omitempty"`
	Seconds    int      `json:"seconds"` // longest time that a record spans: 60 or 600
}
