package object

import (
	"fmt"
	"time"
)

// Null is the id of the version that was written while its bucket had no versioning, or had it suspended.
const Null = "null"

// Versioning says what becomes of the versions of a key that is written or deleted.
type Versioning byte

// The states of a bucket's versioning.
const (
	Unversioned Versioning = iota // never enabled: there is the null version only
	Enabled                       // every write makes a version, every deletion a delete marker
	Suspended                     // writes replace the null version, deletions put a delete marker in its place
)

// Attributes are what may change of a version after it was written.
type Attributes struct {
	Tags        map[string]string
	Lock        Lock
	ACL         []byte // the S3 service's; engines do not read it
	Replication string // one of Replications
	// Awaits are the destinations that a replica is still missing in, as the S3 service names them.
	Awaits []string
	// Notes are committed with a Change, and not kept with the version.
	Notes []Note
}

// Replications are the states of a version's replication, in the words of S3. New ones go to the end: they are stored by
// number.
var Replications = []string{"", "PENDING", "COMPLETED", "FAILED", "REPLICA"}

// Note is what remains to be done because of a change: who is to be told, what is to be copied. It becomes durable in
// the same moment as the change, and waits in its queue until it is dropped.
type Note struct {
	Queue string
	ID    uint64 // the engine's
	Body  []byte
}

// Modes of a retention.
const (
	Governance = "GOVERNANCE" // may be bypassed by who has the right to
	Compliance = "COMPLIANCE" // cannot be bypassed
)

// Lock keeps a version from being removed: until a time, or as long as there is a legal hold.
type Lock struct {
	Mode  string // of the retention, "" if there is none
	Until time.Time
	Hold  bool
}

// Holds says whether the lock forbids to remove its version now. bypass is the right to pass over a retention in
// governance mode.
func (l Lock) Holds(now time.Time, bypass bool) bool {
	if l.Hold {
		return true
	}
	return l.Mode != "" && now.Before(l.Until) && !(l.Mode == Governance && bypass)
}

// MarkerError says that what was asked for is a delete marker. It is an ErrNotFound.
type MarkerError struct{ Marker Meta }

func (e *MarkerError) Error() string {
	return fmt.Sprintf("version %s of %q is a delete marker", e.Marker.VersionID, e.Marker.Key)
}

// Unwrap makes it an ErrNotFound.
func (e *MarkerError) Unwrap() error { return ErrNotFound }

// Delete says what is to be deleted.
type Delete struct {
	Key string
	// VersionID, if set, names the version to remove for good. Else the latest is deleted as Versioning says.
	VersionID  string
	Versioning Versioning
	Owner      string // of the delete marker that this may make
	Bypass     bool   // of a retention in governance mode
	// Check, if set, judges in the moment of the deletion what is there: the named version, or else the latest; nil
	// if there is none. Its error is returned, and nothing is deleted.
	Check func(*Meta) error
	// Notes, if set, gives the notes that are committed with a deletion that changes something. It must be quick. m is the
	// version that was removed, or the delete marker that was made.
	Notes func(d Deleted, m *Meta) []Note
}

// Deleted is what a deletion has done.
type Deleted struct {
	// VersionID is that of the version removed, or of the delete marker made.
	VersionID string
	// Marker says that it is a delete marker: one made, or, if a version was named, one removed.
	Marker bool
	// Found says that there was something: the version named, or else a latest one that was no delete marker.
	Found bool
}

// VersionOptions select a page of a bucket's versions.
type VersionOptions struct {
	Prefix, Delimiter string
	// AfterKey is exclusive; a common prefix skips all it covers. With AfterVersion, the older versions of AfterKey
	// are still listed.
	AfterKey, AfterVersion string
	Max                    int
	Full                   bool // as in ListOptions
}

// Version is an entry of a listing.
type Version struct {
	Meta
	Latest bool
}

// Versions is one page: versions in order, and common prefixes in byte order.
type Versions struct {
	Versions  []Version
	Prefixes  []string
	Truncated bool
	// NextKey and NextVersion are to be passed as AfterKey and AfterVersion.
	NextKey, NextVersion string
}
