// Package ec2 serves the EC2 API: each operation is one method that validates as AWS does and then runs one
// transaction on the desired state. Nothing here talks to a node; what is true of a machine is what its zone
// wrote into the instance's record.
package ec2

import (
	"context"
	"crypto/rsa"
	"log/slog"
	"math/rand/v2"
	"net/netip"
	"reflect"
	"strconv"
	"time"

	"karri.dev/internal/authz"
	"karri.dev/internal/aws/awserr"
	"karri.dev/internal/aws/call"
	shape "karri.dev/internal/aws/shape/ec2"
	"karri.dev/internal/ids"
	"karri.dev/internal/instancetype"
	"karri.dev/internal/page"
	"karri.dev/internal/policy"
	"karri.dev/internal/quota"
	"karri.dev/internal/resource"
	"karri.dev/internal/seal"
	"karri.dev/internal/store"
	"karri.dev/internal/volumekey"
)

// Console reads what an instance wrote to its serial console and shows on its display: live, from its node.
type Console interface {
	// Console gives the last max bytes.
	Console(ctx context.Context, instanceID string, max int) ([]byte, error)
	// Screen gives the picture on its display as JPEG; compute.ErrNoScreen if it has none.
	Screen(ctx context.Context, instanceID string) ([]byte, error)
}

// Objects looks at S3 objects, for imports and exports.
type Objects interface {
	// Exists gives an AWS error unless the caller in ctx may read this object.
	Exists(ctx context.Context, bucket, key string) error
	// Probe writes an empty object, likewise.
	Probe(ctx context.Context, bucket, key string) error
	// Read gives the object's bytes, likewise; one of more than max is refused.
	Read(ctx context.Context, bucket, key string, max int64) ([]byte, error)
}

// Roles says who may take a role; authz.Engine does.
type Roles interface {
	Decide(ctx context.Context, q authz.Question) error
	Again(ctx context.Context, r store.Reader, whole any) error
	Trust(role *resource.IAMRole) (*policy.Policy, error)
}

// Config is what the cloud is.
type Config struct {
	// Domain is the cloud's DNS domain: it ends endpoints and public DNS names.
	Domain string
	// PublicPool holds the addresses for elastic IPs and public addresses, and of IPv6 those for VPCs' ranges.
	PublicPool []netip.Prefix
	// SnapshotPatience is how long a call waits until its snapshots' zone has settled what is in them.
	SnapshotPatience time.Duration
}

// Deps are what the service uses.
type Deps struct {
	Store   *store.Store
	IDs     *ids.Source
	Clock   func() time.Time
	Tokens  *page.Tokens
	Types   *instancetype.Catalogue
	Console Console
	Objects Objects
	Roles   Roles       // nil: imports have no roles
	Logs    LogDelivery // nil: there are no flow logs
	Quotas  *quota.Keeper
	Sealer  *seal.Sealer // of VPN connections' secrets; zones have it, too
	// BundleKey is of the signatures of BundleInstance's bundles; nil: there are none.
	BundleKey *rsa.PublicKey
	// VolumeKeys makes the keys of encrypted volumes.
	VolumeKeys *volumekey.Keys
	Log        *slog.Logger
}

// Service serves EC2.
type Service struct {
	Deps
	cfg     Config
	members map[reflect.Type]*memberTree
	assume  policy.Action
}

var _ shape.API = (*Service)(nil)

// New makes the service.
func New(cfg Config, deps Deps) *Service {
	if deps.Types == nil {
		deps.Types = instancetype.New()
	}
	return &Service{Deps: deps, cfg: cfg, members: compileMembers(), assume: policy.MakeAction("sts:AssumeRole")}
}

// begin is the first line of every operation: who calls, and whether the request asks for what we do not do.
func (s *Service) begin(ctx context.Context, in any) (*call.Info, error) {
	info := call.From(ctx)
	if info.Anonymous() {
		return nil, awserr.New("AuthFailure", "AWS was not able to validate the provided access credentials").WithStatus(401)
	}
	if err := s.checkMembers(in); err != nil {
		return nil, err
	}
	return info, nil
}

// read is begin for operations that only read; it ends dry runs.
func (s *Service) read(ctx context.Context, in any, dryRun *bool) (*call.Info, *store.Snapshot, error) {
	info, err := s.begin(ctx, in)
	if err != nil {
		return nil, nil, err
	}
	if isTrue(dryRun) {
		return nil, nil, errDryRun()
	}
	return info, s.Store.Snapshot(), nil
}

// update runs fn in a transaction, within the caller's quotas; a dry run does everything but write. fn may run more
// than once.
func (s *Service) update(ctx context.Context, dryRun *bool, fn func(*store.Tx) error) error {
	info := call.From(ctx)
	return s.Store.Update(ctx, func(tx *store.Tx) error {
		if err := s.Quotas.Within(tx, info, fn); err != nil {
			return err
		}
		if isTrue(dryRun) {
			return errDryRun()
		}
		return nil
	})
}

// random gives a source of random numbers for one transaction.
func (s *Service) random() *rand.Rand {
	seed, _ := strconv.ParseUint(s.IDs.Hex(8), 16, 64)
	return rand.New(rand.NewPCG(seed, 0))
}

// now is the time to write into records: EC2 shows milliseconds at most.
func (s *Service) now() time.Time { return s.Clock().UTC().Truncate(time.Millisecond) }

func isTrue(b *bool) bool { return b != nil && *b }

// isFalse says whether an optional boolean was given as false.
func isFalse(b *bool) bool { return b != nil && !*b }
