package s3

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"

	"karri.dev/internal/authz"
	"karri.dev/internal/aws/awserr"
	"karri.dev/internal/aws/call"
	shape "karri.dev/internal/aws/shape/s3"
	"karri.dev/internal/object"
	"karri.dev/internal/resource"
	"karri.dev/internal/store"
)

// Objects' access control lists. They count where the bucket's ownership controls leave ACLs on: then an object
// belongs to the account that wrote it, and the bucket's policy lets nobody read what belongs to another account.
// Where ACLs are off, all is the bucket owner's, and what is stored waits until they are on again.

// anonymousID is who owns what anonymous callers have written, at AWS.
const anonymousID = "65a011a29cdf8ec533ec3d1ccaae921c"

// callerID is the caller as an ACL names it.
func callerID(ctx context.Context) string {
	if c := call.From(ctx); !c.Anonymous() {
		return c.CanonicalID
	}
	return anonymousID
}

// newACL gives the owner of a version that the caller writes, and its ACL as it is stored.
func (s *Service) newACL(ctx context.Context, b *resource.Bucket, w writing) (owner string, stored []byte, err error) {
	snap := s.store.Snapshot()
	rule, err := s.ownership(snap, b)
	if err != nil {
		return "", nil, err
	}
	bucketOwner := s.canonical(snap, b.AccountID)
	const full = "bucket-owner-full-control"
	switch {
	case rule == ownerEnforced:
		// Those that say what is so anyway are taken.
		if w.acl != "" && w.acl != "private" && w.acl != full {
			err = aclsOff()
		} else if a, bad := fromHeaders(snap, w.acl, w.grants, bucketOwner, bucketOwner); bad != nil || a != nil && (len(a.Grants) != 1 || a.Grants[0].Permission != "FULL_CONTROL" || !onlyOwner(a, bucketOwner)) {
			err = aclsOff()
		}
		return bucketOwner, nil, err
	case rule == ownerPreferred && w.acl == full:
		owner = bucketOwner
	default:
		owner = callerID(ctx)
	}
	a, err := fromHeaders(snap, w.acl, w.grants, owner, bucketOwner)
	if a == nil || err != nil {
		return owner, nil, err
	}
	if err := s.settable(snap, b, a); err != nil {
		return "", nil, err
	}
	stored, err = storedACL(a)
	return owner, stored, err
}

func aclsOff() error {
	return awserr.New("AccessControlListNotSupported", "The bucket does not allow ACLs")
}

// storedACL is an object's ACL as the engine keeps it; nil: all is the owner's.
func storedACL(a *acl) ([]byte, error) {
	if len(a.Grants) == 1 && a.Grants[0].Permission == "FULL_CONTROL" && onlyOwner(a, a.Owner) {
		return nil, nil
	}
	text, err := json.Marshal(a)
	if err != nil {
		return nil, fmt.Errorf("write an object's ACL: %w", err)
	}
	return text, nil
}

// objectACL gives the ACL of a version, as it counts.
func (s *Service) objectACL(r store.Reader, b *resource.Bucket, m object.Meta) (*acl, error) {
	rule, err := s.ownership(r, b)
	switch {
	case err != nil:
		return nil, err
	case rule == ownerEnforced || m.Owner == "":
		return owned(s.canonical(r, b.AccountID)), nil
	case m.ACL == nil:
		return owned(m.Owner), nil
	}
	a := &acl{}
	if err := json.Unmarshal(m.ACL, a); err != nil {
		return nil, fmt.Errorf("read the ACL of %q in bucket %s: %w", m.Key, b.Name, err)
	}
	return a, nil
}

// get opens a version for an action that its ACL may allow.
func (s *Service) get(ctx context.Context, b *resource.Bucket, key, version string, act action) (object.Object, error) {
	o, err := s.engine.Get(ctx, b.Engine, key, version)
	if err != nil {
		if denied := s.mayMiss(ctx, b, key, versioned(act, version)); denied != nil {
			return nil, denied
		}
		return nil, err
	}
	if err := s.mayVersion(ctx, b, o.Meta(), versioned(act, version), nil); err != nil {
		return nil, errors.Join(err, o.Close())
	}
	return o, nil
}

// mayMiss asks whether the caller may know that there is no such object.
func (s *Service) mayMiss(ctx context.Context, b *resource.Bucket, key string, act action) error {
	denied := s.may(ctx, b, key, act, nil)
	if denied == nil {
		if s.may(ctx, b, "", actListBucket, nil) != nil { // that there is none is for those to know who may list
			return accessDenied()
		}
		return nil
	}
	// The ACL that could have allowed it is not there either. Who may list sees it anyway.
	if rule, err := s.ownership(s.store.Snapshot(), b); err != nil || rule == ownerEnforced {
		return denied
	}
	if s.may(ctx, b, "", actListBucket, nil) != nil {
		return denied
	}
	return nil
}

// mayVersion asks whether the caller may do the action on a version that was found.
func (s *Service) mayVersion(ctx context.Context, b *resource.Bucket, m object.Meta, act action, keys authz.Keys) error {
	snap := s.store.Snapshot()
	rule, err := s.ownership(snap, b)
	switch {
	case err != nil:
		return err
	case rule == ownerEnforced:
		return s.may(ctx, b, m.Key, act, s.keysFor(ctx, b, m.Key, act, &m, keys))
	}
	q := authz.Question{Action: s.action(act), Resource: bucketARN(b.Name) + "/" + m.Key, Owner: b.AccountID, Keys: s.keysFor(ctx, b, m.Key, act, &m, keys)}
	if q.Policy, _, err = s.resourcePolicies(ctx, snap, b); err != nil {
		return err
	}
	block, err := s.block(snap, b)
	if err != nil {
		return err
	}
	a, err := s.objectACL(snap, b, m)
	if err != nil {
		return err
	}
	if q.Grants, err = aclPolicy(b.Name, a, objectActions, block.ignoreACLs); err != nil {
		return err
	}
	if a.Owner != s.canonical(snap, b.AccountID) {
		// Another account's: the bucket's owner can forbid, but not allow.
		q.Owner, q.Policy = "nobody", q.Policy.Denials()
		if owner := store.AccountsByCanon.One(snap, a.Owner); owner != nil {
			q.Owner = owner.ID
		}
	}
	if err := s.decide(ctx, q); err != nil {
		return err
	}
	return s.charge(ctx, b)
}

// objectActions are what a grant on an object allows.
func objectActions(permission string) (_, onObjects []string) {
	switch permission {
	case "READ":
		return nil, []string{"s3:GetObject", "s3:GetObjectVersion"}
	case "READ_ACP":
		return nil, []string{"s3:GetObjectAcl", "s3:GetObjectVersionAcl"}
	case "WRITE_ACP":
		return nil, []string{"s3:PutObjectAcl", "s3:PutObjectVersionAcl"}
	case "FULL_CONTROL":
		return nil, []string{"s3:GetObject", "s3:GetObjectVersion", "s3:GetObjectAcl", "s3:GetObjectVersionAcl", "s3:PutObjectAcl", "s3:PutObjectVersionAcl"}
	}
	return nil, nil
}

// version finds a version for an action that its ACL may allow.
func (s *Service) version(ctx context.Context, bucket, key, version, owner string, act action) (*resource.Bucket, object.Meta, error) {
	b, err := s.named(ctx, bucket, owner)
	if err == nil {
		err = checkKey(key)
	}
	if err != nil {
		return nil, object.Meta{}, err
	}
	o, err := s.get(ctx, b, key, version, act)
	if err != nil {
		return nil, object.Meta{}, versionFault(err, bucket, key, version)
	}
	m := o.Meta()
	return b, m, o.Close()
}

// GetObjectAcl gives a version's ACL.
func (s *Service) GetObjectAcl(ctx context.Context, in *shape.GetObjectAclRequest) (*shape.GetObjectAclResult, error) {
	b, m, err := s.version(ctx, in.Bucket, in.Key, in.VersionId, in.ExpectedBucketOwner, "GetObjectAcl")
	if err != nil {
		return nil, err
	}
	snap := s.store.Snapshot()
	a, err := s.objectACL(snap, b, m)
	if err != nil {
		return nil, err
	}
	owner, grants := s.shown(snap, a)
	return &shape.GetObjectAclResult{Owner: owner, Grants: grants}, checkPayer(in.RequestPayer)
}

// PutObjectAcl sets a version's ACL. Whose it is does not change.
func (s *Service) PutObjectAcl(ctx context.Context, in *shape.PutObjectAclRequest) (*shape.PutObjectAclResult, error) {
	if err := checkPayer(in.RequestPayer); err != nil {
		return nil, err
	}
	b, judged, err := s.version(ctx, in.Bucket, in.Key, in.VersionId, in.ExpectedBucketOwner, "PutObjectAcl")
	if err != nil {
		return nil, err
	}
	snap := s.store.Snapshot()
	now, err := s.objectACL(snap, b, judged)
	if err != nil {
		return nil, err
	}
	a, err := s.askedACL(snap, in.ACL, grantHeaders{in.GrantFullControl, in.GrantRead, in.GrantWrite, in.GrantReadACP, in.GrantWriteACP}, in.AccessControlPolicy, now.Owner, s.canonical(snap, b.AccountID))
	if err != nil {
		return nil, err
	}
	if err := s.settable(snap, b, a); err != nil {
		return nil, err
	}
	stored, err := storedACL(a)
	if err != nil {
		return nil, err
	}
	notes, err := s.changes(ctx, b, in.Key, "ObjectAcl:Put")
	if err != nil {
		return nil, err
	}
	// The version that was judged, not one that came since.
	_, err = s.engine.Change(ctx, b.Engine, in.Key, judged.VersionID, func(m object.Meta, at *object.Attributes) error {
		if m.Owner != judged.Owner || !m.Modified.Equal(judged.Modified) {
			return awserr.New("OperationAborted", "A conflicting conditional operation is currently in progress against this resource. Please try again.").WithStatus(409)
		}
		at.ACL, at.Notes = stored, notes(m)
		return nil
	})
	s.noted()
	return &shape.PutObjectAclResult{}, versionFault(err, in.Bucket, in.Key, in.VersionId)
}

// owners names the owners of a bucket's versions.
type owners struct {
	service *Service
	reader  store.Reader
	bucket  *shape.Owner
	off     bool // ACLs: all is the bucket owner's
	known   map[string]*shape.Owner
}

func (s *Service) owners(b *resource.Bucket) (*owners, error) {
	snap := s.store.Snapshot()
	rule, err := s.ownership(snap, b)
	return &owners{s, snap, s.owner(snap, b.AccountID), rule == ownerEnforced, map[string]*shape.Owner{}}, err
}

// of gives the owner by canonical id. nil owners have none to tell.
func (o *owners) of(id string) *shape.Owner {
	switch {
	case o == nil:
		return nil
	case o.off || id == "":
		return o.bucket
	}
	if o.known[id] == nil {
		o.known[id] = o.service.ownerByID(o.reader, id)
	}
	return o.known[id]
}
