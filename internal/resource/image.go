package resource

import (
	"encoding/json"
	"time"
)

// ImageState is an EC2 image state.
type ImageState string

const (
	ImagePending      ImageState = "pending"
	ImageAvailable    ImageState = "available"
	ImageFailed       ImageState = "failed"
	ImageDisabled     ImageState = "disabled"     // nothing is launched of it
	ImageDeregistered ImageState = "deregistered" // kept while instances run from it
)

// DisplayTag on an image, with the value "on", gives its instances a display where that costs boot time.
const DisplayTag = "karri:display"

// Image is a machine, kernel or ramdisk image. The data of an imported one is an object in the system
// bucket: a qcow2 file that our own qemu-img wrote, so it has no backing file and a known digest.
type Image struct {
	Owned
	ID             string     `json:"id"`   // ami-, aki- or ari-
	Kind           string     `json:"kind"` // "machine", "kernel", "ramdisk"
	Name           string     `json:"name"` // unique in account and region
	Description    string     `json:"description,omitempty"`
	Architecture   string     `json:"architecture"` // "x86_64", or "arm64", of which nothing can be launched
	Platform       string     `json:"platform,omitempty"`
	BootMode       string     `json:"boot_mode,omitempty"` // "" = legacy-bios
	State          ImageState `json:"state"`
	RootDeviceType string     `json:"root_device_type"` // "instance-store" until volumes come, then also "ebs" with SnapshotID
	RootDeviceName string     `json:"root_device_name"`
	SnapshotID     string     `json:"snapshot,omitempty"` // EBS-backed images, later
	KernelID       string     `json:"kernel,omitempty"`
	RamdiskID      string     `json:"ramdisk,omitempty"`
	Location       string     `json:"location"` // "bucket/key" it was made from
	Data           ImageData  `json:"data"`
	Public         bool       `json:"public,omitempty"`
	LaunchAccounts []string   `json:"launch_accounts,omitempty"`
	// Mappings are the volumes of an EBS-backed image's instances, the root volume among them.
	Mappings []ImageMapping `json:"mappings,omitempty"`

	// Bundle is what an image registered from a bundle is made of; StateReason says why that failed.
	Bundle      *ImageBundle `json:"bundle,omitempty"`
	StateReason string       `json:"state_reason,omitempty"`
	// DeprecatedAt is from when on others are not shown the image unless they ask for it.
	DeprecatedAt time.Time `json:"deprecated,omitzero"`
	// Protected keeps it from being deregistered, with a Cooldown also until a day after that is switched off.
	Protected      bool      `json:"protected,omitempty"`
	Cooldown       bool      `json:"cooldown,omitempty"`
	ProtectedUntil time.Time `json:"protected_until,omitzero"`
	// CopyToken is the client token of the CopyImage that made it, and a digest of its parameters.
	CopyToken string `json:"copy_token,omitempty"`
	// FileSystem says that the disk has no boot sector: it is a file system, and needs a kernel.
	FileSystem bool `json:"file_system,omitempty"`
	// ENA and SRIOV ("simple" or "") are what was said at the registration of the image's drivers. Nothing follows from them:
	// guests have virtio cards.
	ENA   bool   `json:"ena,omitempty"`
	SRIOV string `json:"sriov,omitempty"`
	// ProductCodes never go away once they are there, and instances have them too.
	ProductCodes []string `json:"product_codes,omitempty"`
}

// UEFI says whether machines of the image boot by UEFI: all types here can.
func (i *Image) UEFI() bool { return i.BootMode == "uefi" || i.BootMode == "uefi-preferred" }

// ImageSettings are an account's in a region.
type ImageSettings struct {
	AccountID   string `json:"account"`
	Region      string `json:"region"`
	BlockPublic bool   `json:"block_public,omitempty"` // images cannot be made public
}

// Key is the record's in the table.
func (s *ImageSettings) Key() string { return s.AccountID + "/" + s.Region }

// ImageBundle is where a bundle lies. The manifest is the one that was checked: it must have this digest.
type ImageBundle struct {
	Bucket   string `json:"bucket"`
	Manifest string `json:"manifest"` // key; the parts lie beside it
	SHA256   string `json:"sha256"`   // hex
}

// ImageData says where an image's bytes are and what they must be.
type ImageData struct {
	Key         string `json:"key"`    // object key in the system bucket
	Format      string `json:"format"` // "qcow2", or "raw" for kernels and ramdisks
	Size        int64  `json:"size"`   // of the object
	VirtualSize int64  `json:"virtual_size"`
	SHA256      string `json:"sha256"` // hex, of the object
}

// ImportTask is an ImportImage, an ImportSnapshot, an ImportVolume or an ImportInstance task.
type ImportTask struct {
	Owned
	ID            string         `json:"id"` // import-ami-…, import-snap-…, import-vol-…, import-i-…
	ClientToken   string         `json:"client_token,omitempty"`
	Description   string         `json:"description,omitempty"`
	Architecture  string         `json:"architecture"`
	Platform      string         `json:"platform,omitempty"`
	BootMode      string         `json:"boot_mode,omitempty"`
	RoleName      string         `json:"role_name,omitempty"`
	Disks         []ImportDisk   `json:"disks"`
	Status        string         `json:"status"`         // "active", "completed", "deleting", "deleted" (cancelled or failed)
	StatusMessage string         `json:"status_message"` // "pending", "converting", …, or why it failed
	Progress      int            `json:"progress"`       // percent
	ImageID       string         `json:"image,omitempty"`
	SnapshotID    string         `json:"snapshot,omitempty"` // of an ImportSnapshot task
	Volumes       []ImportVolume `json:"volumes,omitempty"`  // of ImportVolume and ImportInstance tasks: what each disk becomes
	InstanceID    string         `json:"instance,omitempty"` // of an ImportInstance task
	// Launch is how an imported instance is made: a RunInstances request, in JSON. ImageID is that of an image which
	// nobody sees: it stands for what an image says of its instances.
	Launch  json.RawMessage `json:"launch,omitempty"`
	Cancel  bool            `json:"cancel,omitempty"`
	EndedAt time.Time       `json:"ended,omitzero"`
}

// Target is the id under which the data of the task's first disk is kept: that of what the task makes.
func (t *ImportTask) Target() string {
	if t.Conversion() {
		return t.Volumes[0].ID
	}
	return t.ImageID + t.SnapshotID
}

// Conversion says that the task is of the old way: its disks' keys are manifests, whose parts may come later.
func (t *ImportTask) Conversion() bool { return len(t.Volumes) > 0 }

// ImportVolume is what a disk of an ImportVolume or ImportInstance task becomes.
type ImportVolume struct {
	ID      string    `json:"id"`
	Zone    string    `json:"zone"`
	SizeGiB int       `json:"size_gib"`
	Bytes   int64     `json:"bytes"` // of the image's file
	URL     string    `json:"url"`   // of the manifest, as it was given
	Expires time.Time `json:"expires"`
}

// ExportTask is an ExportImage task.
type ExportTask struct {
	Owned
	ID            string    `json:"id"` // export-ami-…
	ClientToken   string    `json:"client_token,omitempty"`
	Description   string    `json:"description,omitempty"`
	ImageID       string    `json:"image"`
	Data          ImageData `json:"data"`   // of the image when it was asked for
	Format        string    `json:"format"` // "raw", "vmdk", "vhd"
	RoleName      string    `json:"role_name,omitempty"`
	Bucket        string    `json:"bucket"`
	Prefix        string    `json:"prefix,omitempty"`
	Status        string    `json:"status"` // as of ImportTask
	StatusMessage string    `json:"status_message"`
	Progress      int       `json:"progress"`
	Cancel        bool      `json:"cancel,omitempty"`
	EndedAt       time.Time `json:"ended,omitzero"`
}

// Key is where the image is put.
func (t *ExportTask) Key() string { return t.Prefix + t.ID + "." + t.Format }

// ImportDisk is one disk container of an import.
type ImportDisk struct {
	Format      string `json:"format"` // "raw", "qcow2", "vmdk", "vhd", "vhdx", "ova" as the caller said, lower case
	Description string `json:"description,omitempty"`
	DeviceName  string `json:"device_name,omitempty"`
	Bucket      string `json:"bucket"`
	Key         string `json:"key"`
	Size        int64  `json:"size"`               // bytes of the disk once converted, 0 until known
	SnapshotID  string `json:"snapshot,omitempty"` // that was made of it
	Manifest    string `json:"manifest,omitempty"` // SHA-256 of Key, which is a manifest of parts
}
