package resource

// VPC is a virtual network.
type VPC struct {
	Owned
	ID             string    `json:"id"`
	CIDR           string    `json:"cidr"`
	Default        bool      `json:"default,omitempty"`
	Tenancy        string    `json:"tenancy,omitempty"` // "" = "default"
	DHCPOptionsID  string    `json:"dhcp_options"`      // "default" = none at all
	DNSSupport     bool      `json:"dns_support"`
	DNSHostnames   bool      `json:"dns_hostnames"`
	UsageMetrics   bool      `json:"usage_metrics,omitempty"`
	VNI            uint32    `json:"vni"` // VXLAN id, unique in the cloud
	MainRouteTable string    `json:"main_route_table"`
	DefaultGroup   string    `json:"default_group"`
	DefaultACL     string    `json:"default_acl"`
	CIDRs          []string  `json:"cidrs,omitempty"` // further ranges
	IPv6           []V6Block `json:"ipv6,omitempty"`
}

// Blocks gives the VPC's IPv4 ranges, the first one first.
func (v *VPC) Blocks() []string { return append([]string{v.CIDR}, v.CIDRs...) }

// Ranges gives all of the VPC's ranges, of both families.
func (v *VPC) Ranges() []string {
	out := v.Blocks()
	for _, b := range v.IPv6 {
		out = append(out, b.CIDR)
	}
	return out
}

// V6Block is an IPv6 range of a VPC or a subnet.
type V6Block struct {
	AssociationID string `json:"association"`
	CIDR          string `json:"cidr"`
}

// Subnet is a range of a VPC in one zone.
type Subnet struct {
	Owned
	ID          string   `json:"id"`
	VPCID       string   `json:"vpc"`
	Zone        string   `json:"zone"`
	CIDR        string   `json:"cidr"`
	Index       uint32   `json:"index"` // 1…, unique in the VPC: the device group of its taps
	Default     bool     `json:"default,omitempty"`
	MapPublicIP bool     `json:"map_public_ip,omitempty"`
	NetworkACL  string   `json:"network_acl"`
	ACLAssoc    string   `json:"acl_association,omitempty"` // aclassoc-…; "" = made of the subnet's id
	Group       string   `json:"group,omitempty"`           // the security group whose slice it is, in the network mode MANAGED
	IPv6        *V6Block `json:"ipv6,omitempty"`
	AssignIPv6  bool     `json:"assign_ipv6,omitempty"` // new interfaces get an IPv6 address
}

// DHCPOptions are what guests of a VPC are told.
type DHCPOptions struct {
	Owned
	Default bool                `json:"default,omitempty"` // the set that new VPCs of the account get
	ID      string              `json:"id"`
	Values  map[string][]string `json:"values"` // "domain-name-servers": ["AmazonProvidedDNS"]
}

// CIDRReservation is a range of a subnet that the cloud picks no addresses of by itself, or only delegated prefixes.
type CIDRReservation struct {
	Owned
	ID          string `json:"id"` // scr-…
	SubnetID    string `json:"subnet"`
	CIDR        string `json:"cidr"`
	ForPrefixes bool   `json:"for_prefixes,omitempty"` // the type "prefix", else "explicit"
	Description string `json:"description,omitempty"`
}

// Type is how AWS calls what the range is for.
func (c *CIDRReservation) Type() string {
	if c.ForPrefixes {
		return "prefix"
	}
	return "explicit"
}
