// Package s3 serves S3's API over an object engine. Buckets are records in the store; objects, their metadata
// and uploads are the engine's. What a client asks for and is not done is refused, never passed over: the
// tables are in refuse.go.
package s3

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"sync"
	"time"

	"karri.dev/internal/aws/awserr"
	shape "karri.dev/internal/aws/shape/s3"
	"karri.dev/internal/ids"
	"karri.dev/internal/object"
	"karri.dev/internal/quota"
	"karri.dev/internal/resource"
	"karri.dev/internal/seal"
	"karri.dev/internal/store"
)

// Limits of S3.
const (
	maxKey         = 1024    // bytes
	maxMetadata    = 2 << 10 // bytes of user metadata, names and values
	maxPut         = 5 << 30 // bytes of a body
	maxObject      = 5 << 40 // bytes of a multipart object
	maxParts       = 10000   // of an object
	maxPage        = 1000    // entries of a listing
	maxDeletes     = 1000    // keys of one DeleteObjects
	maxBuckets     = 10000   // of a page
	defaultContent = "binary/octet-stream"
)

// Config is the cloud's part of S3.
type Config struct {
	Regions  []string // served, the default one first; us-east-1
	Endpoint string   // base URL, for the locations in answers
	// ReplicaPart is above which size bodies go to other endpoints in parts, in bytes. 0 is 64 MiB.
	ReplicaPart int64
	// QueueMax is how many events, or replicas, may wait for one destination. 0 is 100,000.
	QueueMax int
	Stores   []string // object stores that buckets may be made in, besides the cloud's own (object.Routes)
}

// Deps are what the Service works with. Store and Engine are required.
type Deps struct {
	Store  *store.Store
	Engine object.Engine
	IDs    *ids.Source
	Now    func() time.Time
	Log    *slog.Logger
	Sealer *seal.Sealer // of webhooks' tokens; nil: there are none
	Quotas *quota.Keeper
	Ledger *object.Ledger // the engines'; quotas on what is in buckets need it
	Authz  Authorizer     // nil: a bucket's own account may do everything and nobody else anything
}

// Service implements S3.
type Service struct {
	cfg    Config
	store  *store.Store
	engine object.Engine
	ids    *ids.Source
	now    func() time.Time
	log    *slog.Logger

	read     readings // configurations
	policies readings // bucket policies, compiled
	authz    Authorizer
	quotas   *quota.Keeper
	ledger   *object.Ledger
	held     sync.Map // account → sync.Once
	actions  sync.Map // action → policy.Action
	grants   readings // ACLs as policies
	sealer   *seal.Sealer
	outbox   *outbox
	logs     accessLogs
	http     *http.Client // calls webhooks
	targets  targets
}

var _ shape.API = (*Service)(nil)

// New makes a Service.
func New(cfg Config, deps Deps) *Service {
	if len(cfg.Regions) == 0 {
		cfg.Regions = []string{"us-east-1"}
	}
	s := &Service{cfg: cfg, store: deps.Store, engine: deps.Engine, ids: deps.IDs, now: deps.Now, log: deps.Log, authz: deps.Authz, quotas: deps.Quotas, ledger: deps.Ledger, sealer: deps.Sealer, outbox: newOutbox()}
	s.http, _ = caller()
	if cfg.QueueMax > 0 {
		s.outbox.most = cfg.QueueMax
	}
	if s.ids == nil {
		s.ids = ids.New(nil)
	}
	if s.now == nil {
		s.now = time.Now
	}
	if s.log == nil {
		s.log = slog.New(slog.DiscardHandler)
	}
	return s
}

// recheck is the period of Recover.
const recheck = 10 * time.Minute

// Run does the service's background work until ctx ends.
func (s *Service) Run(ctx context.Context) error {
	tick := time.NewTicker(recheck)
	defer tick.Stop()
	var hourly time.Time
	for {
		if now := s.now(); now.Sub(hourly) >= expiryPeriod {
			hourly = now
			if err := s.ApplyLifecycles(ctx); err != nil && ctx.Err() == nil {
				s.log.Error("s3: apply lifecycle rules", "err", err)
			}
			if err := s.WriteInventories(ctx); err != nil && ctx.Err() == nil {
				s.log.Warn("s3: write inventories", "err", err)
			}
		}
		if err := s.Recover(ctx); err != nil && ctx.Err() == nil {
			s.log.Error("s3: finish deletions of buckets", "err", err)
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return nil
		}
	}
}

// Recover finishes deletions of buckets that a crash has interrupted: their content is dropped, their record
// is still there.
func (s *Service) Recover(ctx context.Context) error {
	var dropped []*resource.Bucket
	for b := range store.Buckets.All(s.store.Snapshot()) {
		if b.Engine == "" {
			continue
		}
		switch err := s.engine.Empty(ctx, b.Engine); {
		case errors.Is(err, object.ErrNoBucket):
			dropped = append(dropped, b)
		case err != nil && !errors.Is(err, object.ErrNotEmpty):
			return fmt.Errorf("look into bucket %s: %w", b.Name, err)
		}
	}
	for _, b := range dropped {
		if err := s.forget(ctx, b); err != nil {
			return err
		}
	}
	return nil
}

// forget deletes the record of a bucket whose content is dropped.
func (s *Service) forget(ctx context.Context, b *resource.Bucket) error {
	err := s.store.Update(ctx, func(tx *store.Tx) error {
		if now := store.Buckets.Get(tx, b.Name); now != nil && now.Engine == b.Engine {
			Forget(tx, b)
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("delete the record of bucket %s: %w", b.Name, err)
	}
	return nil
}

// fault makes the AWS error of an engine's error. An error that a body gave is an AWS error already.
func fault(err error, bucket, key, upload string) error {
	if err == nil || awserr.Code(err) != "" {
		return err
	}
	var marker *object.MarkerError
	switch {
	case errors.As(err, &marker):
		return noSuchKey(key).WithHeader("x-amz-delete-marker", "true").WithHeader("x-amz-version-id", marker.Marker.VersionID)
	case errors.Is(err, object.ErrNotFound):
		return noSuchKey(key)
	case errors.Is(err, object.ErrKey): // of a part; a read is told otherwise
		return invalidRequest("The provided encryption parameters did not match the ones used originally.")
	case errors.Is(err, object.ErrLocked):
		return awserr.New("AccessDenied", "Access Denied because object protected by object lock.").WithStatus(403)
	case errors.Is(err, object.ErrNoBucket):
		return noSuchBucket(bucket)
	case errors.Is(err, object.ErrNoUpload):
		return awserr.New("NoSuchUpload", "The specified upload does not exist. The upload ID may be invalid, or the upload may have been aborted or completed.").
			WithStatus(404).With("UploadId", upload)
	case errors.Is(err, object.ErrInvalidPart):
		return awserr.New("InvalidPart", "One or more of the specified parts could not be found.  The part may not have been uploaded, or the specified entity tag may not match the part's entity tag.").
			With("UploadId", upload)
	case errors.Is(err, object.ErrPartOrder):
		return awserr.New("InvalidPartOrder", "The list of parts was not in ascending order. Parts must be ordered by part number.").
			With("UploadId", upload)
	case errors.Is(err, object.ErrPartTooSmall):
		return awserr.New("EntityTooSmall", "Your proposed upload is smaller than the minimum allowed size")
	case errors.Is(err, object.ErrPrecondition):
		return preconditionFailed("If-None-Match")
	case errors.Is(err, object.ErrNotEmpty):
		return awserr.New("BucketNotEmpty", "The bucket you tried to delete is not empty").WithStatus(409).With("BucketName", bucket)
	case errors.Is(err, object.ErrDigest):
		return awserr.New("BadDigest", "The Content-MD5 you specified did not match what we received.")
	case errors.Is(err, object.ErrLength):
		return awserr.New("IncompleteBody", "You did not provide the number of bytes specified by the Content-Length HTTP header")
	case errors.Is(err, object.ErrOffline):
		return awserr.New("ServiceUnavailable", "What keeps the bytes of this object is not there at the moment.").WithStatus(503).Because(err)
	case errors.Is(err, object.ErrNoSpace):
		// AWS never runs out of space and has no word for it. Clients do not retry a 507.
		return awserr.New("InsufficientStorage", "There is not enough space left to complete the request.").WithStatus(507).Because(err)
	}
	return err
}

func noSuchBucket(name string) *awserr.Error {
	return awserr.New("NoSuchBucket", "The specified bucket does not exist").WithStatus(404).With("BucketName", name)
}

func noSuchKey(key string) *awserr.Error {
	return awserr.New("NoSuchKey", "The specified key does not exist.").WithStatus(404).With("Key", key)
}

func preconditionFailed(condition string) *awserr.Error {
	return awserr.New("PreconditionFailed", "At least one of the pre-conditions you specified did not hold").
		WithStatus(412).With("Condition", condition)
}

func invalidArgument(name, value, message string) *awserr.Error {
	return awserr.New("InvalidArgument", "%s", message).With("ArgumentName", name).With("ArgumentValue", value)
}

func invalidRequest(format string, args ...any) *awserr.Error {
	return awserr.New("InvalidRequest", format, args...)
}

func notImplemented(header string) *awserr.Error {
	return awserr.New("NotImplemented", "A header you provided implies functionality that is not implemented").
		WithStatus(501).With("Header", header)
}

func malformedXML() *awserr.Error {
	return awserr.New("MalformedXML", "The XML you provided was not well-formed or did not validate against our published schema")
}
