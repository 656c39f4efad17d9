package resource

// NetworkACL is a stateless filter at a subnet's border.
type NetworkACL struct {
	Owned
	ID      string     `json:"id"`
	VPCID   string     `json:"vpc"`
	Default bool       `json:"default,omitempty"`
	Entries []ACLEntry `json:"entries"`
	Token   string     `json:"token,omitempty"` // the client token that it was made with, and a digest of the parameters
}

// ACLEntry is one rule of a network ACL; lower numbers first.
type ACLEntry struct {
	Number   int    `json:"number"`
	Egress   bool   `json:"egress,omitempty"`
	Allow    bool   `json:"allow,omitempty"`
	Protocol string `json:"protocol"` // "-1" or a number
	CIDR     string `json:"cidr,omitempty"`
	CIDR6    string `json:"cidr6,omitempty"`
	FromPort int    `json:"from,omitempty"`
	ToPort   int    `json:"to,omitempty"`
}
