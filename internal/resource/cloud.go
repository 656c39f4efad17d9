package resource

import "time"

// Role is a kind of Karri process that can join the cloud.
type Role string

const (
	RoleZone Role = "zone"
	RoleNode Role = "node"
)

// Zone is an availability zone: "us-east-1a".
type Zone struct {
	Name   string `json:"name"`
	Region string `json:"region"`
	ZoneID string `json:"zone_id"` // "use1-az1"
	// StorageGiB is what its storage offers to volumes together; 0 = it has not said yet.
	StorageGiB int       `json:"storage_gib,omitempty"`
	Snapshots  bool      `json:"snapshots,omitempty"` // it can make some
	Endpoint   string    `json:"endpoint"`            // host:port on which nodes and the cloud reach its zone process; "" until it first ran
	CreatedAt  time.Time `json:"created"`
	// Network is what kind of network guests get; zero = VPCs.
	Network ZoneNetwork `json:"network,omitzero"`
}

// Node is a hypervisor that joined. Heartbeats stay out of the store: Up changes only when a node comes or goes.
type Node struct {
	ID        string    `json:"id"` // "node-" + 17 hex
	Name      string    `json:"name"`
	Zone      string    `json:"zone"`
	Underlay  string    `json:"underlay"` // address for traffic between nodes
	Capacity  Capacity  `json:"capacity"`
	Accel     string    `json:"accel"`        // "kvm" or "tcg"
	AccelWhy  string    `json:"accel_reason"` // what the KVM probe found
	Version   string    `json:"version"`
	VPN       bool      `json:"vpn,omitempty"` // it can serve VPN connections
	Up        bool      `json:"up"`
	Revoked   bool      `json:"revoked,omitempty"`
	Local     bool      `json:"local,omitempty"` // the node inside the process of `karri up`
	CreatedAt time.Time `json:"created"`
}

// Capacity is what a node offers to instances.
type Capacity struct {
	VCPUs     int `json:"vcpus"`
	MemoryMiB int `json:"memory_mib"`
	DiskGiB   int `json:"disk_gib"`
}

// JoinToken lets one process join once. Only the SHA-256 of its secret is stored.
type JoinToken struct {
	ID        string    `json:"id"`
	Hash      string    `json:"hash"`
	Role      Role      `json:"role"`
	Zone      string    `json:"zone"`
	ExpiresAt time.Time `json:"expires"`
}

// Authority is the cloud's own certificate authority, its key sealed with the cloud's key.
type Authority struct {
	Name        string `json:"name"`        // "root"
	Certificate []byte `json:"certificate"` // DER
	SealedKey   []byte `json:"sealed_key"`
}

// Setting is one cloud-wide setting, value in JSON.
type Setting struct {
	Name  string `json:"name"`
	Value string `json:"value"`
}
