// Package object is the engine family that keeps objects' bytes and their index. Buckets, accounts and
// access are not its business: those are the S3 service's. The comments on Engine are the contract, and
// objecttest checks it.
package object

import (
	"context"
	"errors"
	"hash"
	"io"
	"time"
)

// Errors of the contract; drivers wrap them.
var (
	ErrNotFound     = errors.New("no such object")
	ErrNoUpload     = errors.New("no such upload")
	ErrInvalidPart  = errors.New("invalid part")
	ErrPartOrder    = errors.New("parts are not in order")
	ErrPartTooSmall = errors.New("part is too small")
	ErrNoSpace      = errors.New("no space left")
	ErrPrecondition = errors.New("precondition failed")
	ErrNotEmpty     = errors.New("bucket is not empty")
	ErrNoBucket     = errors.New("bucket was dropped")
	ErrDigest       = errors.New("body does not have the digest that was promised")
	ErrLength       = errors.New("body is not as long as was promised")
	ErrOffline      = errors.New("what keeps these bytes is not there")
	ErrCorrupt      = errors.New("stored bytes are damaged")
	ErrNoVersion    = errors.New("no such version")
	ErrBadVersion   = errors.New("not a version id")
	ErrLocked       = errors.New("version is locked")
	ErrKey          = errors.New("not the customer's key")
)

// Whose keys keep an object's bytes.
const (
	ByCloud    = "AES256"
	ByCustomer = "customer"
)

// Meta is what is stored about a version of an object.
type Meta struct {
	Key       string
	VersionID string // Null, or an id that only the engine can read
	Marker    bool   // a delete marker: it has no bytes, only Key, VersionID, Modified and Owner
	Size      int64
	ETag      string // hex MD5, or "hex-N" for multipart; without quotes
	Modified  time.Time
	Parts     int    // 0 unless multipart
	Owner     string // of the version, as the S3 service names accounts
	Class     string // storage class; "" is the standard one
	// Encryption says whose key keeps the bytes: "", ByCloud or ByCustomer.
	Encryption string
	// Headers are system and user metadata as they are answered: "Content-Type", "X-Amz-Meta-…".
	Headers map[string]string
	// Checksum is the additional checksum, "" if none: algorithm ("CRC32", "CRC64NVME", "SHA256" …),
	// base64 value ("…-N" when composite) and type ("FULL_OBJECT" or "COMPOSITE").
	ChecksumAlgorithm, Checksum, ChecksumType string
	Attributes
}

// Put is an object to be written.
type Put struct {
	Key        string
	Versioning Versioning
	Owner      string
	Class      string
	Headers    map[string]string
	Attributes Attributes
	// Customer is the customer's key, of 32 bytes: the bytes can only be read with it again. Nothing of it is kept. nil
	// leaves encryption to the engine. A part's must be that of its upload.
	Customer []byte
	Body     io.Reader // an error while reading aborts the write; nothing is left
	Size     int64     // of Body if known, else -1; a body of another length is ErrLength
	MD5      []byte    // if set, a body with another MD5 is ErrDigest
	// Sum, if set, takes in the body in place of MD5, and the beginning of what it comes to is in the ETag. It is for
	// objects of the system, which no client asks for an MD5; not together with MD5.
	Sum hash.Hash
	// Checksum, if set, is called once the body is read to its end and gives the checksum to store; an
	// error aborts the write. It may check digests that arrived as trailers.
	Checksum func() (algorithm, value, kind string, err error)
	// IfNoneMatch refuses (ErrPrecondition) when the key exists; IfMatch when its ETag differs, and with
	// ErrNotFound when there is none. Both are judged in the moment of the write. A key whose latest version is
	// a delete marker does not exist.
	IfNoneMatch bool
	IfMatch     string
	// Notes, if set, gives the notes that are committed with the write. It must be quick.
	Notes func(Meta) []Note
	// Room, if set, judges in the moment of the write what the bucket and its holders will have with it, and, where Size
	// is known, before the body is read. Its error is returned, and nothing is written. It must be quick.
	Room func(Balance) error
}

// Part is an uploaded part.
type Part struct {
	Number                      int
	Size                        int64
	ETag                        string
	Modified                    time.Time
	ChecksumAlgorithm, Checksum string
}

// Upload is a multipart upload under way.
type Upload struct {
	ID, Key                         string
	Started                         time.Time
	Initiator                       string // whoever began it, as the S3 service names callers
	Owner, Class                    string
	Headers                         map[string]string
	Attributes                      Attributes
	ChecksumAlgorithm, ChecksumType string
	Encryption                      string // as in Meta
	Customer                        []byte // as in Put; not given back
}

// ListOptions select a page of a bucket.
type ListOptions struct {
	Prefix, Delimiter string
	After             string // exclusive; a common prefix skips all it covers
	Max               int
	// Full asks for Headers and Attributes, too, which are left out otherwise.
	Full bool
}

// Listing is one page, objects and common prefixes each in byte order.
type Listing struct {
	Objects   []Meta
	Prefixes  []string
	Truncated bool
	Next      string // pass as After
}

// Engine keeps objects in buckets (any string). Keys are bytes, compared as bytes. Whatever a method has
// acknowledged is durable and visible to every later call; what failed has left nothing. All methods may be
// called concurrently. Bodies are streamed: memory does not grow with their size.
//
// A key has versions, the one written last being the latest. At most one of them is the null version. A method
// that takes a version takes "" for the latest, else Null or an id: ErrBadVersion if it is none, ErrNoVersion if
// the key has no such version. Where the version that was asked for is a delete marker, the error is a
// *MarkerError.
type Engine interface {
	// Put writes an object, which becomes the latest version. In a versioned bucket (see Put.Versioning) what was
	// the latest stays as an older version; else the null version is replaced, which is ErrLocked if its lock
	// forbids that.
	Put(ctx context.Context, bucket string, p Put) (Meta, error)
	// Get opens an object: an immutable view, also when it is replaced meanwhile. The caller closes it.
	Get(ctx context.Context, bucket, key, version string) (Object, error)
	Head(ctx context.Context, bucket, key, version string) (Meta, error)
	// Delete removes an object, or one version of it for good. Deleting what is not there is no error.
	Delete(ctx context.Context, bucket string, d Delete) (Deleted, error)
	// Change changes the attributes of a version, which keeps its time and place: fn changes those that it is
	// given (all maps and slices in them are its own); an error of fn is returned and nothing changed. It sees
	// what every earlier call has done. It must be quick: it holds up all other writes.
	Change(ctx context.Context, bucket, key, version string, fn func(Meta, *Attributes) error) (Meta, error)
	// List gives latest versions that are no delete markers.
	List(ctx context.Context, bucket string, o ListOptions) (Listing, error)
	// ListVersions gives versions and delete markers by key, the latest version of each key first.
	ListVersions(ctx context.Context, bucket string, o VersionOptions) (Versions, error)
	// Empty gives ErrNotEmpty while the bucket holds versions or delete markers; uploads under way do not count.
	Empty(ctx context.Context, bucket string) error
	// Drop ends a bucket for good: ErrNotEmpty while it is not empty, else it removes uploads under way, and
	// from then on every method answers ErrNoBucket for this name. Dropping twice is no error. So a name must
	// never be used for a second bucket, and no write can slip into a bucket that is being deleted.
	Drop(ctx context.Context, bucket string) error

	CreateUpload(ctx context.Context, bucket string, u Upload) (id string, err error)
	GetUpload(ctx context.Context, bucket, key, id string) (Upload, error)
	PutPart(ctx context.Context, bucket, key, id string, number int, p Put) (Part, error)
	// ListParts gives up to max parts with numbers above after.
	ListParts(ctx context.Context, bucket, key, id string, after, max int) ([]Part, bool, error)
	// ListUploads gives uploads in order of key, then start, after (key, id).
	ListUploads(ctx context.Context, bucket, prefix, afterKey, afterID string, max int) ([]Upload, bool, error)
	// Complete joins the named parts (ETags must match; all but the last at least 5 MiB) into the object.
	// Completing again what this upload has completed, while the object is there, gives the same answer.
	Complete(ctx context.Context, bucket, key, id string, parts []Part, p Put) (Meta, error)
	Abort(ctx context.Context, bucket, key, id string) error

	// Notes gives up to max of a queue, in the order of the changes that they came with; NoteQueues gives the names of the
	// queues that hold any.
	Notes(ctx context.Context, queue string, max int) ([]Note, error)
	NoteQueues(ctx context.Context) ([]string, error)
	// NoteCount gives how many notes a queue holds.
	NoteCount(ctx context.Context, queue string) (int, error)
	// DropNotes forgets notes of a queue; that there are none is no error.
	DropNotes(ctx context.Context, queue string, ids ...uint64) error

	// Tally gives what a bucket holds, after every change that was acknowledged. It is durable with the changes.
	Tally(ctx context.Context, bucket string) (Tally, error)
	// Usage gives the engine's total and free bytes.
	Usage(ctx context.Context) (total, free int64, err error)
	Close() error
}

// Object is an open object.
type Object interface {
	Meta() Meta
	// Parts are those of a multipart object, in order of number; nil for any other.
	Parts() ([]Part, error)
	// Unlock gives the customer's key, before any Range, to an object whose Encryption is ByCustomer. ErrKey if it is
	// another, or if the object has none.
	Unlock(customer []byte) error
	// Range reads length bytes from offset; checksums are verified on the way.
	Range(offset, length int64) (io.ReadCloser, error)
	io.Closer
}
