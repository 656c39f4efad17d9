package s3

import (
	"context"
	"encoding/base64"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"karri.dev/internal/aws/awserr"
	"karri.dev/internal/aws/call"
	shape "karri.dev/internal/aws/shape/s3"
	"karri.dev/internal/object"
	"karri.dev/internal/resource"
	"karri.dev/internal/store"
)

const usEast1 = "us-east-1"

// CreateBucket makes a bucket.
func (s *Service) CreateBucket(ctx context.Context, in *shape.CreateBucketRequest) (*shape.CreateBucketResult, error) {
	who := call.From(ctx)
	if who.Anonymous() {
		return nil, accessDenied()
	}
	if !validBucketName(in.Bucket) {
		return nil, invalidBucketName(in.Bucket)
	}
	if err := s.mayCreate(ctx, in); err != nil {
		return nil, err
	}
	region, place, err := s.newBucketRegion(ctx, in.CreateBucketConfiguration)
	if err != nil {
		return nil, err
	}
	if place == "" {
		if place, err = s.defaultStore(who.AccountID); err != nil {
			return nil, err
		}
	}
	if err := checkNewBucket(in); err != nil {
		return nil, err
	}
	var tags resource.Tags
	if c := in.CreateBucketConfiguration; c != nil {
		if tags, err = bucketTags(c.Tags); err != nil {
			return nil, err
		}
	}
	b := &resource.Bucket{
		Name: in.Bucket, AccountID: who.AccountID, Region: region, CreatedAt: s.now().UTC(), Tags: tags, Creator: who.PrincipalID(),
		Engine: object.Route(in.Bucket+"/"+s.ids.Hex(8), place), // no other bucket's, past or to come: a name has no slash
	}
	if in.ObjectLockEnabledForBucket != nil && *in.ObjectLockEnabledForBucket {
		b.Lock, b.Versioning = &resource.BucketLock{}, enabled
	}
	create := func(tx *store.Tx) error {
		if old := store.Buckets.Get(tx, in.Bucket); old != nil {
			d, err := s.Defaults(tx, b.AccountID)
			if err == nil {
				err = taken(old, b, d)
			}
			return err
		}
		docs, err := s.newAccess(tx, b, in)
		if err != nil {
			return err
		}
		for kind, doc := range docs {
			if err := putConfig(tx, b, kind, doc); err != nil {
				return err
			}
		}
		return store.Buckets.Put(tx, b)
	}
	err = s.store.Update(ctx, func(tx *store.Tx) error { return s.quotas.Within(tx, who, create) })
	if err != nil {
		return nil, err
	}
	return &shape.CreateBucketResult{Location: "/" + in.Bucket, BucketArn: bucketARN(in.Bucket)}, nil
}

func bucketARN(name string) string { return "arn:aws:s3:::" + name }

// taken says what it means that there is a bucket of this name. In us-east-1 making one's own again is no error.
func taken(old, b *resource.Bucket, d Defaults) error {
	switch {
	case old.AccountID != b.AccountID || old.System:
		return awserr.New("BucketAlreadyExists", "The requested bucket name is not available. The bucket namespace is shared by all users of the system. Please select a different name and try again.").
			WithStatus(409).With("BucketName", b.Name)
	case old.Region == usEast1 && b.Region == usEast1 && !d.Recreate:
		return nil
	}
	return awserr.New("BucketAlreadyOwnedByYou", "Your previous request to create the named bucket succeeded and you already own it.").
		WithStatus(409).With("BucketName", b.Name)
}

// newBucketRegion is where a bucket is to be made. us-east-1's endpoint makes buckets everywhere; that of
// another region only there, and wants to be told. As with Ceph's gateway, a colon and a name say which object store keeps
// the bucket's bytes: "us-east-1:archive", or ":archive".
func (s *Service) newBucketRegion(ctx context.Context, c *shape.CreateBucketConfiguration) (region, place string, err error) {
	endpoint := call.From(ctx).Region
	if endpoint == "" {
		endpoint = s.cfg.Regions[0]
	}
	want := ""
	if c != nil {
		if c.Location != nil || c.Bucket != nil {
			return "", "", invalidRequest("Directory buckets are not available")
		}
		want, place, _ = strings.Cut(c.LocationConstraint, ":")
		if strings.Contains(c.LocationConstraint, ":") && !slices.Contains(s.cfg.Stores, place) {
			return "", "", awserr.New("InvalidLocationConstraint", "The specified location-constraint is not valid").With("LocationConstraint", c.LocationConstraint)
		}
	}
	if want == "EU" {
		want = "eu-west-1"
	}
	switch {
	case want == "" && endpoint == usEast1:
		return endpoint, place, nil
	case want == "":
		return "", "", awserr.New("IllegalLocationConstraintException", "The unspecified location constraint is incompatible for the region specific endpoint this request was sent to.")
	case want == usEast1 || !slices.Contains(s.cfg.Regions, want):
		return "", "", awserr.New("InvalidLocationConstraint", "The specified location-constraint is not valid").With("LocationConstraint", want)
	case want != endpoint && endpoint != usEast1:
		return "", "", awserr.New("IllegalLocationConstraintException", "The %s location constraint is incompatible for the region specific endpoint this request was sent to.", want)
	}
	return want, place, nil
}

// defaultStore is where an account's buckets are made unless they say otherwise; "" is the cloud's own store.
func (s *Service) defaultStore(account string) (string, error) {
	d, err := s.Defaults(s.store.Snapshot(), account)
	if err == nil && d.Store != "" && !slices.Contains(s.cfg.Stores, d.Store) {
		err = awserr.New("ServiceUnavailable", "The account's object store is not configured.").WithStatus(503)
	}
	return d.Store, err
}

// mayCreate asks for a bucket that is to be made, and for what it is to begin with.
func (s *Service) mayCreate(ctx context.Context, in *shape.CreateBucketRequest) error {
	locks := in.ObjectLockEnabledForBucket != nil && *in.ObjectLockEnabledForBucket
	for _, x := range []struct {
		asked bool
		act   action
	}{
		{true, "CreateBucket"},
		{in.ACL != "" && in.ACL != "private" || in.GrantFullControl+in.GrantRead+in.GrantReadACP+in.GrantWrite+in.GrantWriteACP != "", "PutBucketAcl"},
		{in.ObjectOwnership != "", "PutBucketOwnershipControls"},
		{locks, "PutBucketObjectLockConfiguration"},
		{locks, "PutBucketVersioning"},
		{in.CreateBucketConfiguration != nil && len(in.CreateBucketConfiguration.Tags) > 0, "TagResource"},
	} {
		if x.asked {
			if err := s.mayAccount(ctx, bucketARN(in.Bucket), x.act); err != nil {
				return err
			}
		}
	}
	return nil
}

func checkNewBucket(in *shape.CreateBucketRequest) error {
	if in.ObjectOwnership != "" && !validOwnership(in.ObjectOwnership) {
		return invalidArgument("x-amz-object-ownership", in.ObjectOwnership, "Invalid x-amz-object-ownership header")
	}
	return nil
}

// newAccess gives the documents about access that a new bucket begins with.
func (s *Service) newAccess(tx *store.Tx, b *resource.Bucket, in *shape.CreateBucketRequest) (map[resource.BucketPart]any, error) {
	docs := map[resource.BucketPart]any{}
	defaults, err := s.Defaults(tx, b.AccountID)
	if err != nil {
		return nil, err
	}
	ownership := in.ObjectOwnership
	if ownership == "" {
		ownership = ownerEnforced
		if defaults.ACLs {
			ownership = objectWriter
			docs[resource.PartOwnership] = ownershipDocument{}
		}
	} else if ownership != ownerEnforced {
		docs[resource.PartOwnership] = ownershipDocument{ownership}
	}
	if defaults.Public {
		docs[resource.PartPublicAccess] = blockDocument{}
	}
	name := in.ACL
	if name == "bucket-owner-read" || name == "bucket-owner-full-control" {
		name = "private"
	}
	grants := grantHeaders{in.GrantFullControl, in.GrantRead, in.GrantWrite, in.GrantReadACP, in.GrantWriteACP}
	a, err := fromHeaders(tx, name, grants, s.canonical(tx, b.AccountID), "")
	switch {
	case err != nil:
		return nil, err
	case a == nil || name == "private":
		return docs, nil
	case ownership == ownerEnforced:
		return nil, aclWithOwnership()
	case publicACL(a) && !defaults.Public:
		return nil, awserr.New("InvalidBucketAclWithBlockPublicAccessError", "Bucket cannot have public ACLs set with BlockPublicAccess enabled")
	}
	docs[resource.PartACL] = a
	return docs, nil
}

// HeadBucket says that a bucket is there and may be used.
func (s *Service) HeadBucket(ctx context.Context, in *shape.HeadBucketRequest) (*shape.HeadBucketResult, error) {
	b, err := s.bucket(ctx, in.Bucket, in.ExpectedBucketOwner, actListBucket)
	if err != nil {
		return nil, err
	}
	return &shape.HeadBucketResult{BucketRegion: b.Region, BucketArn: bucketARN(b.Name)}, nil
}

// GetBucketLocation answers a bucket's region; us-east-1 has no name there.
func (s *Service) GetBucketLocation(ctx context.Context, in *shape.GetBucketLocationRequest) (*shape.GetBucketLocationResult, error) {
	b, err := s.bucket(ctx, in.Bucket, in.ExpectedBucketOwner, actGetLocation)
	if err != nil {
		return nil, err
	}
	out := &shape.GetBucketLocationResult{LocationConstraint: b.Region}
	if b.Region == usEast1 {
		out.LocationConstraint = ""
	}
	return out, nil
}

// DeleteBucket deletes an empty bucket: first the engine drops its content, for good, then the record goes. A
// crash in between leaves a bucket in which nothing can be done; Recover deletes its record.
func (s *Service) DeleteBucket(ctx context.Context, in *shape.DeleteBucketRequest) (*shape.DeleteBucketResult, error) {
	b, err := s.bucket(ctx, in.Bucket, in.ExpectedBucketOwner, actDeleteBucket)
	if err != nil {
		return nil, err
	}
	if err := s.engine.Drop(ctx, b.Engine); err != nil {
		return nil, fault(err, in.Bucket, "", "")
	}
	if err := s.forget(ctx, b); err != nil {
		return nil, err
	}
	return &shape.DeleteBucketResult{}, nil
}

// ListBuckets lists the account's buckets.
func (s *Service) ListBuckets(ctx context.Context, in *shape.ListBucketsRequest) (*shape.ListBucketsResult, error) {
	who := call.From(ctx)
	if who.Anonymous() {
		return nil, accessDenied()
	}
	if err := s.mayAccount(ctx, "*", "ListAllMyBuckets"); err != nil {
		return nil, err
	}
	limit := maxBuckets
	if in.MaxBuckets != nil {
		if limit = *in.MaxBuckets; limit < 1 || limit > maxBuckets {
			return nil, invalidArgument("max-buckets", strconv.Itoa(limit), fmt.Sprintf("Argument max-buckets must be an integer between 1 and %d", maxBuckets))
		}
	}
	after, err := parseToken(in.ContinuationToken)
	if err != nil {
		return nil, err
	}
	// Regions are told only to clients that use the newer, paginated form.
	paginated := in.MaxBuckets != nil || in.ContinuationToken != "" || in.Prefix != "" || in.BucketRegion != ""
	snap := s.store.Snapshot()
	out := &shape.ListBucketsResult{Owner: s.owner(snap, who.AccountID), Buckets: []shape.Bucket{}, Prefix: in.Prefix}
	for b := range store.BucketsByOwner.From(snap, who.AccountID, after) {
		if b.System || b.Name <= after || !strings.HasPrefix(b.Name, in.Prefix) || in.BucketRegion != "" && b.Region != in.BucketRegion {
			continue
		}
		if len(out.Buckets) == limit {
			out.ContinuationToken = makeToken(out.Buckets[limit-1].Name)
			break
		}
		entry := shape.Bucket{Name: b.Name, CreationDate: b.CreatedAt}
		if paginated {
			entry.BucketRegion = b.Region
		}
		out.Buckets = append(out.Buckets, entry)
	}
	return out, nil
}

// owner names an account as S3 does.
func (s *Service) owner(r store.Reader, account string) *shape.Owner {
	a := store.Accounts.Get(r, account)
	if a == nil {
		return &shape.Owner{ID: account}
	}
	out := &shape.Owner{ID: a.CanonicalID}
	if d, err := s.Defaults(r, account); err == nil && d.Names {
		out.DisplayName = a.Name
	}
	return out
}

// ownerByID names the account of a canonical id.
func (s *Service) ownerByID(r store.Reader, id string) *shape.Owner {
	if a := store.AccountsByCanon.One(r, id); a != nil {
		return s.owner(r, a.ID)
	}
	return &shape.Owner{ID: id}
}

// Continuation tokens are opaque to clients: the last name given, encoded.
func makeToken(last string) string { return base64.RawURLEncoding.EncodeToString([]byte("1" + last)) }

func parseToken(token string) (last string, err error) {
	if token == "" {
		return "", nil
	}
	b, err := base64.RawURLEncoding.DecodeString(token)
	if err != nil || len(b) < 2 || b[0] != '1' {
		return "", invalidArgument("continuation-token", token, "The continuation token provided is incorrect")
	}
	return string(b[1:]), nil
}
