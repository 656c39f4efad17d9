package resource

import "time"

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
