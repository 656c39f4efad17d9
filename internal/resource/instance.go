package resource

import "time"

// InstanceState is an EC2 instance state name.
type InstanceState string

const (
	Pending      InstanceState = "pending"
	Running      InstanceState = "running"
	ShuttingDown InstanceState = "shutting-down"
	Terminated   InstanceState = "terminated"
	Stopping     InstanceState = "stopping"
	Stopped      InstanceState = "stopped"
)

// Code is the number that EC2 gives with a state's name.
func (s InstanceState) Code() int {
	switch s {
	case Pending:
		return 0
	case Running:
		return 16
	case ShuttingDown:
		return 32
	case Terminated:
		return 48
	case Stopping:
		return 64
	case Stopped:
		return 80
	}
	return -1
}

// Alive says that the instance still owns its addresses, disk and place on a node.
func (s InstanceState) Alive() bool { return s != Terminated }

// OnNode says that the instance takes a node's processors and memory, or waits for them.
func (s InstanceState) OnNode() bool { return s != Terminated && s != Stopped }

// Power is what its owner wants of an instance.
type Power string

const (
	PowerOn   Power = "on"
	PowerOff  Power = "off"  // stopped; keeps its volumes
	PowerGone Power = "gone" // terminated
)

// Instance is an EC2 instance. Handlers write what is wanted (Power, Reboots, …); the zone writes what is
// (State, Node, Reason, LaunchedAt): in one record, so that one transaction sees both.
type Instance struct {
	Owned
	ID             string      `json:"id"`
	ReservationID  string      `json:"reservation"`
	LaunchIndex    int         `json:"launch_index,omitempty"`
	ClientToken    string      `json:"client_token,omitempty"`
	TokenDigest    string      `json:"token_digest,omitempty"` // of the parameters given with ClientToken
	ImageID        string      `json:"image"`
	KernelID       string      `json:"kernel,omitempty"`
	RamdiskID      string      `json:"ramdisk,omitempty"`
	Type           string      `json:"type"`
	VCPUs          int         `json:"vcpus"`      // what the type gave at launch: types can be edited
	MemoryMiB      int         `json:"memory_mib"` // likewise
	DiskGiB        int         `json:"disk_gib"`   // of the root disk
	Zone           string      `json:"zone"`
	KeyName        string      `json:"key_name,omitempty"`
	PublicKey      string      `json:"public_key,omitempty"`       // as it was at launch
	UserData       []byte      `json:"user_data,omitempty"`        // in clear, in records of before
	SealedUserData []byte      `json:"sealed_user_data,omitempty"` // see package userdata
	VPCID          string      `json:"vpc"`
	SubnetID       string      `json:"subnet"`
	Interfaces     []string    `json:"interfaces"` // ENI ids by device index; the first is the primary
	IMDS           IMDSOptions `json:"imds"`
	APITermination bool        `json:"disable_api_termination,omitempty"` // true: DisableApiTermination is set
	APIStop        bool        `json:"disable_api_stop,omitempty"`        // likewise
	OnShutdown     string      `json:"on_shutdown,omitempty"`             // "stop" or "terminate": what a guest's power-off means
	Monitoring     bool        `json:"monitoring,omitempty"`
	// RootDevice is the device name of the root volume of an EBS-backed instance; "" = instance-store.
	RootDevice string `json:"root_device,omitempty"`
	// HasRun says that it was running once: what fails to start again is stopped, not terminated.
	HasRun bool `json:"has_run,omitempty"`
	// Slots is how many volumes and interfaces together it can have in its present run; 0 = see compute.Slots.
	Slots          int    `json:"slots,omitempty"`
	PlacementGroup string `json:"placement_group,omitempty"` // id
	Partition      int    `json:"partition,omitempty"`       // in a group of the strategy partition, from 1

	// ProfileID is the unique id of the instance's profile, "" without one, ProfileAssociation the association's
	// (iip-assoc-…), and ProfileSince when it began.
	ProfileID          string    `json:"profile,omitempty"`
	ProfileAssociation string    `json:"profile_association,omitempty"`
	ProfileSince       time.Time `json:"profile_since,omitzero"`

	Power   Power `json:"power"`
	Reboots int   `json:"reboots,omitempty"` // counts RebootInstances calls; the node catches up
	// Restarts counts how often the machine was to be made anew while it runs, since its root volume is another one.
	Restarts int `json:"restarts,omitempty"`

	State        InstanceState `json:"state"`
	Node         string        `json:"node,omitempty"` // "" until placed
	LaunchedAt   time.Time     `json:"launched"`
	StateReason  StateReason   `json:"state_reason"`
	TerminatedAt time.Time     `json:"terminated,omitzero"`
}

// StateReason is EC2's code and message for the last state change ("Client.UserInitiatedShutdown", …).
type StateReason struct {
	Code    string    `json:"code,omitempty"`
	Message string    `json:"message,omitempty"`
	At      time.Time `json:"at,omitzero"`
}

// IMDSOptions are an instance's metadata options.
type IMDSOptions struct {
	Disabled     bool `json:"disabled,omitempty"`
	TokensNeeded bool `json:"tokens_required,omitempty"` // IMDSv2 only
	HopLimit     int  `json:"hop_limit,omitempty"`
	InstanceTags bool `json:"instance_tags,omitempty"`
}

// KeyPair is a public key under a name. Private keys are never stored.
type KeyPair struct {
	Owned
	ID          string `json:"id"` // key-…
	Name        string `json:"name"`
	Type        string `json:"type"`       // "rsa" or "ed25519"
	PublicKey   string `json:"public_key"` // authorized_keys line without comment
	Fingerprint string `json:"fingerprint"`
}
