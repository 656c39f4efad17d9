package resource

// SecurityGroup is a stateful firewall's rules.
type SecurityGroup struct {
	Owned
	ID          string `json:"id"`
	VPCID       string `json:"vpc"`
	Name        string `json:"name"` // unique in Home
	Description string `json:"description"`
	Rules       []Rule `json:"rules,omitempty"`
}

// Home is what the group's name is unique in.
func (g *SecurityGroup) Home() string { return GroupHome(g.VPCID, g.AccountID) }

// GroupHome is what the names of an account's groups of a VPC are unique in: in the network that all accounts share, each
// has its own.
func GroupHome(vpc, account string) string {
	if InVPC(vpc) {
		return vpc
	}
	return vpc + "/" + account
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
