package resource

import "time"

// VolumeState is an EC2 volume state.
type VolumeState string

const (
	VolumeCreating  VolumeState = "creating"
	VolumeAvailable VolumeState = "available"
	VolumeInUse     VolumeState = "in-use"
	VolumeDeleting  VolumeState = "deleting" // its record goes with its data
	VolumeError     VolumeState = "error"
)

// Volume is an EBS volume. Handlers write what is wanted of it (attachment, size, limits, deletion); its zone
// writes what is (that its file is made, that a guest has it or has let go).
type Volume struct {
	Owned
	ID           string      `json:"id"` // vol-…
	Zone         string      `json:"zone"`
	SizeGiB      int         `json:"size_gib"`
	Type         string      `json:"type"` // "gp3" …
	IOPS         int         `json:"iops,omitempty"`
	Throughput   int         `json:"throughput,omitempty"` // MiB/s; 0 = the type's own
	SnapshotID   string      `json:"snapshot,omitempty"`
	ClientToken  string      `json:"client_token,omitempty"`
	TokenDigest  string      `json:"token_digest,omitempty"`
	AutoEnableIO bool        `json:"auto_enable_io,omitempty"`
	State        VolumeState `json:"state"`
	Reason       string      `json:"reason,omitempty"` // of VolumeError, for the operator

	// Format is that of its file: "raw", or "qcow2" for one over Base.
	Format string `json:"format"`
	// Base is what is below a qcow2 file: an image as nodes keep it, which is needed as long as the volume is, or the
	// blocks of a snapshot (package chunks), until a machine's hypervisor has copied them into the file.
	Base *ImageData `json:"base,omitempty"`
	// Made says that the zone has its file, and MadeGiB how large that is.
	Made    bool `json:"made,omitempty"`
	MadeGiB int  `json:"made_gib,omitempty"`

	Encrypted bool `json:"encrypted,omitempty"`
	// Key is that of an encrypted volume, sealed (package volumekey).
	Key []byte `json:"key,omitempty"`

	// Lineage is the first of the root volumes that this one has taken the place of, and LaunchSnapshot what that was made
	// of; "" for all others.
	Lineage        string `json:"lineage,omitempty"`
	LaunchSnapshot string `json:"launch_snapshot,omitempty"`

	Attachment   *VolumeAttachment   `json:"attachment,omitempty"` // nil: not attached
	Modification *VolumeModification `json:"modification,omitempty"`
}

// Descent names what a volume has in common with its snapshots, and with root volumes that it has taken the place of.
func (v *Volume) Descent() string {
	if v.Lineage != "" {
		return v.Lineage
	}
	return v.ID
}

// RootVolumeTask replaces an instance's root volume. A handler makes it, with the new volume; lifecycle.RootTasks does the
// rest.
type RootVolumeTask struct {
	Owned
	ID          string    `json:"id"` // replacevol-…
	InstanceID  string    `json:"instance"`
	SnapshotID  string    `json:"snapshot,omitempty"`
	ImageID     string    `json:"image,omitempty"`
	Old         string    `json:"old"` // volumes
	New         string    `json:"new"`
	DeleteOld   bool      `json:"delete_old,omitempty"`
	Token       string    `json:"token,omitempty"`
	State       string    `json:"state"` // "pending", "in-progress", "succeeded", "failed"
	CompletedAt time.Time `json:"completed,omitzero"`
}

// Open says that something is still to be done.
func (t *RootVolumeTask) Open() bool { return t.State == "pending" || t.State == "in-progress" }

// EBSKeyAlias names the key of an account's encrypted volumes and snapshots.
const EBSKeyAlias = "alias/aws/ebs"

// EBSKey is the ARN of the key of an owner's encrypted volumes and snapshots.
func EBSKey(o Owned) string { return "arn:aws:kms:" + o.Region + ":" + o.AccountID + ":" + EBSKeyAlias }

// AttachmentState is the state of a volume's attachment.
type AttachmentState string

const (
	Attaching AttachmentState = "attaching"
	Attached  AttachmentState = "attached"
	Detaching AttachmentState = "detaching"
)

// VolumeAttachment ties a volume to an instance: one at a time.
type VolumeAttachment struct {
	InstanceID  string          `json:"instance"`
	Device      string          `json:"device"`
	State       AttachmentState `json:"state"`
	At          time.Time       `json:"at"`
	DeleteOnEnd bool            `json:"delete_on_termination,omitempty"`
	Force       bool            `json:"force,omitempty"` // of a detachment: not waiting for the guest
}

// VolumeModification is the last change of a volume's size, type or limits.
type VolumeModification struct {
	State             string    `json:"state"` // "modifying", "completed"
	StartedAt         time.Time `json:"started"`
	EndedAt           time.Time `json:"ended,omitzero"`
	OldSizeGiB        int       `json:"old_size_gib"`
	OldType           string    `json:"old_type"`
	OldIOPS           int       `json:"old_iops,omitempty"`
	OldThroughput     int       `json:"old_throughput,omitempty"`
	TargetSizeGiB     int       `json:"target_size_gib"`
	TargetType        string    `json:"target_type"`
	TargetIOPS        int       `json:"target_iops,omitempty"`
	TargetThroughput  int       `json:"target_throughput,omitempty"`
	OriginalRequester string    `json:"requester,omitempty"`
}
