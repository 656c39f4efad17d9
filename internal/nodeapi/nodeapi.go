// Package nodeapi is what zone and node say to each other: one bidirectional gRPC stream that the node
// opens, with these messages as JSON. The zone sends a node its whole desired state whenever that changed;
// the node answers with what it observes.
package nodeapi

import (
	"time"

	"karri.dev/internal/compute"
	"karri.dev/internal/network"
	"karri.dev/internal/resource"
)

// Desired is all that one node should make true, and nothing of any other node's.
type Desired struct {
	Revision  int64         `json:"revision"` // of the store; later ones replace earlier ones
	Instances []Instance    `json:"instances,omitempty"`
	Network   network.State `json:"network"`
	Gateways  []Gateway     `json:"gateways,omitempty"`
	Storage   string        `json:"storage,omitempty"` // address of the zone's server of volumes
}

// Gateway is a NAT gateway of the node: one that Network has, or one that it has no more (Gone). The node says it
// again, in its Report, once its network is so.
type Gateway struct {
	ID   string `json:"id"`
	Gone bool   `json:"gone,omitempty"`
}

// Instance is one instance of the node.
type Instance struct {
	ID      string         `json:"id"`
	Power   resource.Power `json:"power"`
	Reboots int            `json:"reboots,omitempty"`
	// Restarts counts how often a machine that runs was to be made anew, as Machine then says.
	Restarts int `json:"restarts,omitempty"`
	// Rootless says that its root volume cannot be opened at the moment: its disks are to be left as they are.
	Rootless bool            `json:"rootless,omitempty"`
	Machine  compute.Machine `json:"machine"` // without taps and the paths of images: the node fills them in
	// Bases are the images below volumes, by disk. Image is the one below the instance-store disk "root".
	Bases map[string]Image `json:"bases,omitempty"`
	// Forced names disks that Machine has no more and that are to be taken away by force.
	Forced   []string `json:"forced,omitempty"`
	Image    Image    `json:"image"`
	Kernel   *Image   `json:"kernel,omitempty"`
	Ramdisk  *Image   `json:"ramdisk,omitempty"`
	Metadata Metadata `json:"metadata"`
}

// Image names bytes for the node's cache.
type Image struct {
	ID          string `json:"id"`
	SHA256      string `json:"sha256"`
	Size        int64  `json:"size"`
	VirtualSize int64  `json:"virtual_size"`
	Format      string `json:"format"`
}

// Metadata is what the instance's metadata service answers, beside what Machine and Network say.
type Metadata struct {
	AccountID     string               `json:"account"`
	Region        string               `json:"region"`
	Zone          string               `json:"zone"`
	ZoneID        string               `json:"zone_id"`
	ReservationID string               `json:"reservation"`
	LaunchIndex   int                  `json:"launch_index"`
	ImageID       string               `json:"image"`
	InstanceType  string               `json:"type"`
	KernelID      string               `json:"kernel,omitempty"`
	RamdiskID     string               `json:"ramdisk,omitempty"`
	PendingTime   time.Time            `json:"pending_time"`
	KeyName       string               `json:"key_name,omitempty"`
	PublicKey     string               `json:"public_key,omitempty"`
	UserData      []byte               `json:"user_data,omitempty"`
	Tags          resource.Tags        `json:"tags,omitempty"` // only when the instance allows them in metadata
	Options       resource.IMDSOptions `json:"options"`
	PublicName    string               `json:"public_name,omitempty"`
	PrivateName   string               `json:"private_name"`
	Interfaces    []Interface          `json:"interfaces"`
	Role          *Role                `json:"role,omitempty"` // of the instance's profile
}

// Role is what an instance gets of its profile's role.
type Role struct {
	ProfileARN  string    `json:"profile_arn"`
	ProfileID   string    `json:"profile"`
	Name        string    `json:"name,omitempty"`
	Problem     string    `json:"problem,omitempty"` // why there are no credentials
	AccessKeyID string    `json:"id,omitempty"`
	Secret      string    `json:"secret,omitempty"`
	Token       string    `json:"token,omitempty"`
	IssuedAt    time.Time `json:"issued"`
	ExpiresAt   time.Time `json:"expires,omitzero"`
}

// Interface is one ENI as metadata shows it.
type Interface struct {
	ID          string   `json:"id"`
	DeviceIndex int      `json:"device_index"`
	MAC         string   `json:"mac"`
	PrivateIP   string   `json:"private_ip"`
	PublicIP    string   `json:"public_ip,omitempty"`
	SubnetID    string   `json:"subnet"`
	SubnetCIDR  string   `json:"subnet_cidr"`
	VPCID       string   `json:"vpc"`
	VPCCIDRs    []string `json:"vpc_cidrs"`
	IPv6        []string `json:"ipv6,omitempty"`
	SubnetCIDR6 string   `json:"subnet_cidr6,omitempty"`
	VPCCIDRs6   []string `json:"vpc_cidrs6,omitempty"`
	GroupIDs    []string `json:"group_ids"`
	GroupNames  []string `json:"group_names"`
	Prefixes    []string `json:"prefixes,omitempty"` // of IPv4
	Owner       string   `json:"owner,omitempty"`    // its account; "" = the instance's
}

// FromNode is one message of a node: exactly one field is set.
type FromNode struct {
	Hello  *Hello  `json:"hello,omitempty"`
	Report *Report `json:"report,omitempty"`
	Answer *Answer `json:"answer,omitempty"`
	Flows  *Flows  `json:"flows,omitempty"`
}

// Flows are records of flow logs. The next ones follow when the zone has taken these.
type Flows struct {
	ID      uint64               `json:"id"`
	Records []network.FlowRecord `json:"records"`
}

// FromZone is one message of a zone: exactly one field is set.
type FromZone struct {
	Desired *Desired `json:"desired,omitempty"`
	Ask     *Ask     `json:"ask,omitempty"`
	// FlowsTaken is the ID of Flows that are delivered.
	FlowsTaken uint64 `json:"flows_taken,omitempty"`
}

// Hello is a node's first message. Who it is, the certificate says.
type Hello struct {
	Name     string            `json:"name"`
	Underlay string            `json:"underlay"`
	Capacity resource.Capacity `json:"capacity"`
	Accel    compute.Accel     `json:"accel"`
	Version  string            `json:"version"`
	VPN      bool              `json:"vpn,omitempty"` // it can serve VPN connections
}

// Report is what the node observes, always whole: an instance that is missing is not there.
type Report struct {
	Revision  int64      `json:"revision"` // of the Desired that the node last received, 0 if none since it started
	Instances []Observed `json:"instances"`
	Gateways  []Gateway  `json:"gateways,omitempty"`
	// Tunnels are the VPN tunnels that the node has.
	Tunnels []network.TunnelStatus `json:"tunnels,omitempty"`
	// Learned are addresses that the DHCP server of a flat network gave.
	Learned []network.LearnedAddress `json:"learned,omitempty"`
}

// Observed is one instance as the node sees it.
type Observed struct {
	ID      string        `json:"id"`
	State   compute.State `json:"state"`
	Reason  string        `json:"reason,omitempty"`
	Reboots int           `json:"reboots"` // RebootInstances calls already carried out
	// Power is what the node had been asked for when it looked: an observation of an earlier wish says nothing
	// about the present one.
	Power resource.Power `json:"power"`
	// Disks are the volumes that the machine has while it runs, the ones that are being taken away too.
	Disks []ObservedDisk `json:"disks,omitempty"`
	// NICs are the network cards that the machine has while it runs, by interface.
	NICs []string `json:"nics,omitempty"`
	// Final says that the failure will not heal by trying again (image gone or corrupt …).
	Final bool `json:"final,omitempty"`
}

// ObservedDisk is one volume as a running machine has it.
type ObservedDisk struct {
	Name      string         `json:"name"`
	SizeBytes int64          `json:"size_bytes"`
	Limits    compute.Limits `json:"limits,omitzero"`
	// Cut says that it was taken away by force: the volume is closed, and the guest only keeps the device.
	Cut bool `json:"cut,omitempty"`
	// Filled says that nothing is served from elsewhere below the volume (compute.Disk.BaseExport): it never was, or
	// the volume has it all.
	Filled bool `json:"filled,omitempty"`
}

// Ask is a question about something live. The node answers with the same ID.
type Ask struct {
	ID       uint64 `json:"id"`
	What     string `json:"what"` // "console", "screen", "snapshot"; "image-url" is asked the other way (see Images)
	Instance string `json:"instance"`
	Max      int    `json:"max,omitempty"`
	// Reboot says that the guest is to be restarted for the snapshot (compute.Driver.Snapshot).
	Reboot bool `json:"reboot,omitempty"`
	// Copies are what a snapshot is to copy.
	Copies []compute.Copy `json:"copies,omitempty"`
}

// Answer answers an Ask.
type Answer struct {
	ID    uint64 `json:"id"`
	Data  []byte `json:"data,omitempty"`
	Error string `json:"error,omitempty"`
	// NoScreen is compute.ErrNoScreen.
	NoScreen bool `json:"no_screen,omitempty"`
}
