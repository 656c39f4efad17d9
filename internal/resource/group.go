package resource

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
	PrefixList  string `json:"prefix_list,omitempty"`
	GroupID     string `json:"group,omitempty"`
	GroupOwner  string `json:"group_owner,omitempty"`
	Description string `json:"description,omitempty"`
	Tags        Tags   `json:"tags,omitempty"`
}
