package resource

import "time"

// NoVolume is what AWS's snapshots say that were not made of a volume.
const NoVolume = "vol-ffffffff"

// Snapshot is an EBS snapshot. Its data is a list of blocks (package chunks), or that of an imported image. Handlers
// make it; the zone of its volume fills it.
type Snapshot struct {
	Owned
	ID          string        `json:"id"` // snap-…
	VolumeID    string        `json:"volume"`
	SizeGiB     int           `json:"size_gib"`
	Description string        `json:"description,omitempty"`
	State       string        `json:"state"` // "pending", "completed", "error"
	Progress    int           `json:"progress"`
	Reason      string        `json:"reason,omitempty"` // of an error
	CompletedAt time.Time     `json:"completed,omitzero"`
	Data        ImageData     `json:"data"`
	Encrypted   bool          `json:"encrypted,omitempty"`
	Public      bool          `json:"public,omitempty"`
	Accounts    []string      `json:"accounts,omitempty"` // that may make volumes of it
	Lock        *SnapshotLock `json:"lock,omitempty"`
	// RootOf is the instance of whose instance-store root disk the snapshot is, for a BundleTask; VolumeID is "" then.
	RootOf string `json:"root_of,omitempty"`
	// Zone has the volume; "" for a snapshot that was not made of one.
	Zone string `json:"zone,omitempty"`
	// CutAt is when it was certain what is in it; zero while that is still to be done.
	CutAt time.Time `json:"cut,omitzero"`
	// Reboot says that a running guest is to be restarted, and that what is in the snapshot is settled when it is down.
	Reboot bool `json:"reboot,omitempty"`
	// Format and Base are those of the volume, while the snapshot is pending.
	Format string     `json:"format,omitempty"`
	Base   *ImageData `json:"base,omitempty"`
	// Key is the volume's, likewise.
	Key []byte `json:"key,omitempty"`
	// Direct says that a client writes it block by block, or that what it has written is still to be cleared away; Base
	// is then its parent's data.
	Direct *DirectSnapshot `json:"direct,omitempty"`
	// Lineage names what it descends from, where that is not its volume: see Descent.
	Lineage string `json:"lineage,omitempty"`
	// Token is the client token that StartSnapshot made it with, and a digest of the parameters.
	Token string `json:"token,omitempty"`
	// Since is an earlier snapshot of the volume, whose data is needed while this one is pending.
	Since string `json:"since,omitempty"`
}

// Descent is what snapshots must have in common to be compared: the volume that they are of, or whatever a snapshot that a
// client wrote began with.
func (s *Snapshot) Descent() string {
	switch {
	case s.Lineage != "":
		return s.Lineage
	case s.VolumeID != "" && s.VolumeID != NoVolume:
		return s.VolumeID
	}
	return s.ID
}

// DirectSnapshot is a snapshot that a client writes by the EBS direct APIs.
type DirectSnapshot struct {
	Parent  string `json:"parent,omitempty"`
	Timeout int    `json:"timeout"` // minutes without a block after which it is given up
	// Sealed says that the client has completed it: Blocks blocks were written, and none is any more.
	Sealed bool `json:"sealed,omitempty"`
	Blocks int  `json:"blocks,omitempty"`
}

// ImageMapping is a block device mapping of an image.
type ImageMapping struct {
	Device      string `json:"device"`
	SnapshotID  string `json:"snapshot,omitempty"`
	SizeGiB     int    `json:"size_gib,omitempty"`
	Type        string `json:"type,omitempty"`
	IOPS        int    `json:"iops,omitempty"`
	Throughput  int    `json:"throughput,omitempty"`
	Encrypted   *bool  `json:"encrypted,omitempty"` // nil: as its snapshot is, and as the account wants
	DeleteOnEnd bool   `json:"delete_on_termination,omitempty"`
	Virtual     string `json:"virtual,omitempty"` // "ephemeral0": no volume
}

// SnapshotLock keeps a snapshot from being deleted until it expires.
type SnapshotLock struct {
	Mode         string    `json:"mode"` // "compliance", "governance"
	CreatedAt    time.Time `json:"created"`
	StartsAt     time.Time `json:"starts"`
	ExpiresAt    time.Time `json:"expires"`
	Days         int       `json:"days"`
	CoolOffHours int       `json:"cool_off_hours,omitempty"` // in which a compliance lock can still be taken away
	CoolOffEnd   time.Time `json:"cool_off_end,omitzero"`
}
