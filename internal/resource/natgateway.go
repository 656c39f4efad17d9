package resource

import "time"

// NATGateway lets subnets without public addresses call out in its own name. Handlers write what is wanted; its
// zone writes Node, and State where that follows from what nodes observe. Its addresses are its interface's.
type NATGateway struct {
	Owned
	ID          string    `json:"id"` // nat-…
	VPCID       string    `json:"vpc"`
	SubnetID    string    `json:"subnet"`
	Zone        string    `json:"zone"`
	Private     bool      `json:"private,omitempty"` // without public addresses
	State       string    `json:"state"`
	InterfaceID string    `json:"interface,omitempty"` // "" once it is deleted, or if it failed
	Node        string    `json:"node,omitempty"`      // "" while none has it
	FailureCode string    `json:"failure_code,omitempty"`
	Failure     string    `json:"failure,omitempty"`
	EndedAt     time.Time `json:"ended,omitzero"`  // when its deletion was asked for, or when it failed
	Token       string    `json:"token,omitempty"` // the client token that it was made with, and a digest of the parameters

	Had []PrivateAddress `json:"had,omitempty"` // the addresses of one that is deleted
}

// States of a NAT gateway.
const (
	NATPending   = "pending"
	NATFailed    = "failed"
	NATAvailable = "available"
	NATDeleting  = "deleting"
	NATDeleted   = "deleted"
)

// Alive says that it has, or is to have, its interface and a node.
func (g *NATGateway) Alive() bool {
	return g.State == NATPending || g.State == NATAvailable || g.State == NATDeleting
}

// Works says that routes may lead to it.
func (g *NATGateway) Works() bool { return g.State == NATPending || g.State == NATAvailable }
