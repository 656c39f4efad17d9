package resource

import (
	"net/netip"
	"slices"
	"time"
)

// Interface is a network interface (ENI).
type Interface struct {
	Owned
	ID            string    `json:"id"`
	VPCID         string    `json:"vpc"`
	SubnetID      string    `json:"subnet"`
	Zone          string    `json:"zone"`
	MAC           string    `json:"mac"`
	PrivateIP     string    `json:"private_ip"`
	PublicIP      string    `json:"public_ip,omitempty"`   // from the pool, auto-assigned or an elastic IP's
	AutoPublic    bool      `json:"auto_public,omitempty"` // gets an address from the pool at each start of its instance
	AllocationID  string    `json:"allocation,omitempty"`
	AssociationID string    `json:"association,omitempty"`
	Groups        []string  `json:"groups"`
	NoSourceCheck bool      `json:"no_source_check,omitempty"` // source/dest check off
	Description   string    `json:"description,omitempty"`
	InstanceID    string    `json:"instance,omitempty"`
	AttachmentID  string    `json:"attachment,omitempty"` // eni-attach-…
	DeviceIndex   int       `json:"device_index,omitempty"`
	AttachState   string    `json:"attach_state,omitempty"` // "attaching" or "detaching", until its node says that it is so; "" = attached
	DeleteOnEnd   bool      `json:"delete_on_termination,omitempty"`
	AttachedAt    time.Time `json:"attached,omitzero"`

	Secondary []PrivateAddress `json:"secondary,omitempty"` // further IPv4 addresses
	IPv6      []string         `json:"ipv6,omitempty"`
	Prefixes  []string         `json:"prefixes,omitempty"`  // delegated to it, of its subnet's ranges
	Primary6  bool             `json:"primary6,omitempty"`  // the first IPv6 address stays while an instance has the interface
	Kind      string           `json:"kind,omitempty"`      // "nat_gateway", "vpc_endpoint"; "" = "interface"
	Requester string           `json:"requester,omitempty"` // the service that made it and keeps it, "" = its owner
	Granted   []InterfaceGrant `json:"granted,omitempty"`   // what other accounts may do with it
	Token     string           `json:"token,omitempty"`     // the client token that it was made with, and a digest of the parameters
}

// What another account may be let do with an interface, as AWS calls it.
const (
	GrantAttach  = "INSTANCE-ATTACH"
	GrantAddress = "EIP-ASSOCIATE"
)

// InterfaceGrant is a permission on an interface for another account.
type InterfaceGrant struct {
	ID      string `json:"id"` // eni-perm-…
	Account string `json:"account"`
	What    string `json:"what"`
}

// Grants says whether an account is let do this by the interface's owner.
func (e *Interface) Grants(account, what string) bool {
	return slices.ContainsFunc(e.Granted, func(g InterfaceGrant) bool { return g.Account == account && g.What == what })
}

// PrivateAddress is a further private address of an interface, with the elastic IP that it has.
type PrivateAddress struct {
	PrivateIP     string `json:"private_ip"`
	PublicIP      string `json:"public_ip,omitempty"`
	AllocationID  string `json:"allocation,omitempty"`
	AssociationID string `json:"association,omitempty"`
}

// Addresses gives all its private IPv4 addresses, the primary one first.
func (e *Interface) Addresses() []PrivateAddress {
	out := []PrivateAddress{{e.PrivateIP, e.PublicIP, e.AllocationID, e.AssociationID}}
	return append(out, e.Secondary...)
}

// SetAddresses is the reverse of Addresses.
func (e *Interface) SetAddresses(all []PrivateAddress) {
	first := all[0]
	e.PrivateIP, e.PublicIP, e.AllocationID, e.AssociationID = first.PrivateIP, first.PublicIP, first.AllocationID, first.AssociationID
	e.Secondary = all[1:len(all):len(all)]
}

// IPv4Prefixes gives its delegated prefixes of IPv4.
func (e *Interface) IPv4Prefixes() (out []string) {
	for _, s := range e.Prefixes {
		if p, err := netip.ParsePrefix(s); err == nil && p.Addr().Is4() {
			out = append(out, s)
		}
	}
	return out
}

// DelegatedIPv4 gives every address of its delegated IPv4 prefixes.
func (e *Interface) DelegatedIPv4() (out []netip.Addr) {
	for _, s := range e.IPv4Prefixes() {
		p := netip.MustParsePrefix(s)
		for ip := p.Addr(); p.Contains(ip); ip = ip.Next() {
			out = append(out, ip)
		}
	}
	return out
}

// Address is an elastic IP.
type Address struct {
	Owned
	AllocationID  string `json:"allocation"`
	PublicIP      string `json:"public_ip"`
	AssociationID string `json:"association,omitempty"`
	InterfaceID   string `json:"interface,omitempty"`
	PrivateIP     string `json:"private_ip,omitempty"` // the address of the interface that has it; "" = the primary one
	ManagedBy     string `json:"managed_by,omitempty"` // the NAT gateway that has it
	PTR           string `json:"ptr,omitempty"`        // its reverse DNS name, with the last dot
	Classic       bool   `json:"classic,omitempty"`    // of the domain "standard"
}

// AddressTransfer is an account's offer of an elastic IP to another one.
type AddressTransfer struct {
	Owned
	AllocationID string    `json:"allocation"` // the offerer's
	PublicIP     string    `json:"public_ip"`
	To           string    `json:"to"` // account
	ExpiresAt    time.Time `json:"expires"`
	AcceptedAt   time.Time `json:"accepted,omitzero"`
}
