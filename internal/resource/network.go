package resource

import "time"

// VPC is a virtual network.
type VPC struct {
	Owned
	ID             string   `json:"id"`
	CIDR           string   `json:"cidr"`
	Default        bool     `json:"default,omitempty"`
	DHCPOptionsID  string   `json:"dhcp_options"`
	DNSSupport     bool     `json:"dns_support"`
	DNSHostnames   bool     `json:"dns_hostnames"`
	VNI            uint32   `json:"vni"` // VXLAN id, unique in the cloud
	MainRouteTable string   `json:"main_route_table"`
	DefaultGroup   string   `json:"default_group"`
	DefaultACL     string   `json:"default_acl"`
	CIDRs          []string `json:"cidrs,omitempty"` // further ranges
}

// Subnet is a range of a VPC in one zone.
type Subnet struct {
	Owned
	ID          string `json:"id"`
	VPCID       string `json:"vpc"`
	Zone        string `json:"zone"`
	CIDR        string `json:"cidr"`
	Index       uint32 `json:"index"` // 1…, unique in the VPC: the device group of its taps
	Default     bool   `json:"default,omitempty"`
	MapPublicIP bool   `json:"map_public_ip,omitempty"`
	NetworkACL  string `json:"network_acl"`
}

// SecurityGroup is a stateful firewall's rules.
type SecurityGroup struct {
	Owned
	ID          string `json:"id"`
	VPCID       string `json:"vpc"`
	Name        string `json:"name"` // unique in the VPC
	Description string `json:"description"`
	Rules       []Rule `json:"rules,omitempty"`
}

// Rule is one security group rule: one peer, one protocol, one port range.
type Rule struct {
	ID          string `json:"id"` // sgr-…
	Egress      bool   `json:"egress,omitempty"`
	Protocol    string `json:"protocol"` // "tcp", "udp", "icmp", "icmpv6", "-1", or a number
	FromPort    int    `json:"from"`     // -1 = all; ICMP type
	ToPort      int    `json:"to"`       // -1 = all; ICMP code
	CIDR        string `json:"cidr,omitempty"`
	CIDR6       string `json:"cidr6,omitempty"`
	GroupID     string `json:"group,omitempty"`
	GroupOwner  string `json:"group_owner,omitempty"`
	Description string `json:"description,omitempty"`
	Tags        Tags   `json:"tags,omitempty"`
}

// InternetGateway joins a VPC to the public pool.
type InternetGateway struct {
	Owned
	ID    string `json:"id"`
	VPCID string `json:"vpc,omitempty"` // "" = detached
}

// RouteTable belongs to a VPC; the main one serves subnets without an association.
type RouteTable struct {
	Owned
	ID           string             `json:"id"`
	VPCID        string             `json:"vpc"`
	Index        uint32             `json:"index"` // 1…, unique in the VPC: its number on nodes
	Main         bool               `json:"main,omitempty"`
	MainAssoc    string             `json:"main_association,omitempty"` // rtbassoc-…
	Routes       []Route            `json:"routes,omitempty"`           // without the local one
	Associations []RouteAssociation `json:"associations,omitempty"`
}

// Route is one route besides the local one.
type Route struct {
	Destination string `json:"destination"` // CIDR
	GatewayID   string `json:"gateway,omitempty"`
}

// RouteAssociation ties a subnet to a route table.
type RouteAssociation struct {
	ID       string `json:"id"`
	SubnetID string `json:"subnet"`
}

// NetworkACL is a stateless filter at a subnet's border.
type NetworkACL struct {
	Owned
	ID      string     `json:"id"`
	VPCID   string     `json:"vpc"`
	Default bool       `json:"default,omitempty"`
	Entries []ACLEntry `json:"entries"`
}

// ACLEntry is one rule of a network ACL; lower numbers first.
type ACLEntry struct {
	Number   int    `json:"number"`
	Egress   bool   `json:"egress,omitempty"`
	Allow    bool   `json:"allow,omitempty"`
	Protocol string `json:"protocol"` // "-1" or a number
	CIDR     string `json:"cidr"`
	FromPort int    `json:"from,omitempty"`
	ToPort   int    `json:"to,omitempty"`
}

// DHCPOptions are what guests of a VPC are told.
type DHCPOptions struct {
	Owned
	ID     string              `json:"id"`
	Values map[string][]string `json:"values"` // "domain-name-servers": ["AmazonProvidedDNS"]
}

// Interface is a network interface (ENI).
type Interface struct {
	Owned
	ID            string    `json:"id"`
	VPCID         string    `json:"vpc"`
	SubnetID      string    `json:"subnet"`
	Zone          string    `json:"zone"`
	MAC           string    `json:"mac"`
	PrivateIP     string    `json:"private_ip"`
	PublicIP      string    `json:"public_ip,omitempty"` // from the pool, auto-assigned or an elastic IP's
	AllocationID  string    `json:"allocation,omitempty"`
	AssociationID string    `json:"association,omitempty"`
	Groups        []string  `json:"groups"`
	NoSourceCheck bool      `json:"no_source_check,omitempty"` // source/dest check off
	Description   string    `json:"description,omitempty"`
	InstanceID    string    `json:"instance,omitempty"`
	AttachmentID  string    `json:"attachment,omitempty"` // eni-attach-…
	DeviceIndex   int       `json:"device_index,omitempty"`
	DeleteOnEnd   bool      `json:"delete_on_termination,omitempty"`
	AttachedAt    time.Time `json:"attached,omitzero"`
}

// Address is an elastic IP.
type Address struct {
	Owned
	AllocationID  string `json:"allocation"`
	PublicIP      string `json:"public_ip"`
	AssociationID string `json:"association,omitempty"`
	InterfaceID   string `json:"interface,omitempty"`
}
