package resource

import "time"

// Peering joins two VPCs, of one account or of two. Its Owned is the requester's.
type Peering struct {
	Owned
	ID        string      `json:"id"` // pcx-…
	Requester PeeringSide `json:"requester"`
	Accepter  PeeringSide `json:"accepter"`
	State     string      `json:"state"`
	Message   string      `json:"message"`
	ExpiresAt time.Time   `json:"expires,omitzero"` // while it waits to be accepted
	EndedAt   time.Time   `json:"ended,omitzero"`
}

// States of a peering.
const (
	PeeringPending  = "pending-acceptance"
	PeeringActive   = "active"
	PeeringRejected = "rejected"
	PeeringExpired  = "expired"
	PeeringDeleted  = "deleted"
	PeeringFailed   = "failed"
)

// PeeringSide is one end of a peering.
type PeeringSide struct {
	AccountID string `json:"account"`
	VPCID     string `json:"vpc"`
	Region    string `json:"region"`
	RemoteDNS bool   `json:"remote_dns,omitempty"` // names of this side's addresses resolve privately on the other
	Tags      Tags   `json:"tags,omitempty"`       // the accepter's, where it is another account
}

// Other gives the VPC on the other side of one.
func (p *Peering) Other(vpc string) string {
	if p.Requester.VPCID == vpc {
		return p.Accepter.VPCID
	}
	return p.Requester.VPCID
}

// Side gives the side that a VPC is.
func (p *Peering) Side(vpc string) *PeeringSide {
	if p.Requester.VPCID == vpc {
		return &p.Requester
	}
	return &p.Accepter
}
