package resource

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
	Propagating  []string           `json:"propagating,omitempty"` // virtual private gateways whose routes it has, too
	Token        string             `json:"token,omitempty"`       // the client token that it was made with, and a digest of the parameters
}

// Route is one route besides the local ones. Exactly one of its destinations and one of its targets is set.
type Route struct {
	Destination  string `json:"destination,omitempty"` // CIDR block, IPv4 or IPv6
	PrefixListID string `json:"prefix_list,omitempty"`

	GatewayID    string `json:"gateway,omitempty"` // igw-, vgw- or vpce-
	NATGatewayID string `json:"nat_gateway,omitempty"`
	InterfaceID  string `json:"interface,omitempty"`
	InstanceID   string `json:"instance,omitempty"` // the one that InterfaceID was the primary interface of, if it was named
	PeeringID    string `json:"peering,omitempty"`
	EgressOnlyID string `json:"egress_only,omitempty"`
	Origin       string `json:"origin,omitempty"` // "" = "CreateRoute"
}

// RouteAssociation ties a subnet to a route table.
type RouteAssociation struct {
	ID       string `json:"id"`
	SubnetID string `json:"subnet"`
}

// EgressGateway is a VPC's way out for IPv6, by which nothing but answers comes in.
type EgressGateway struct {
	Owned
	ID    string `json:"id"`
	VPCID string `json:"vpc"`
	Token string `json:"token,omitempty"` // the client token that it was made with, and a digest of the parameters
}

// InternetGateway joins a VPC to the public pool.
type InternetGateway struct {
	Owned
	ID    string `json:"id"`
	VPCID string `json:"vpc,omitempty"` // "" = detached
}
