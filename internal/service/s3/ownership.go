package s3

import (
	"context"

	"karri.dev/internal/aws/awserr"
	shape "karri.dev/internal/aws/shape/s3"
	"karri.dev/internal/resource"
	"karri.dev/internal/store"
)

// Object ownerships. With the first, ACLs are off.
const (
	ownerEnforced  = "BucketOwnerEnforced"
	ownerPreferred = "BucketOwnerPreferred"
	objectWriter   = "ObjectWriter"
)

// ownershipDocument is what is stored of ownership. Without a document ACLs are off, as of a new bucket; a
// bucket whose controls were deleted has a document without Ownership, and keeps its ACLs.
type ownershipDocument struct{ Ownership string }

// PutBucketOwnershipControls sets who owns a bucket's objects, and with it whether there are ACLs.
func (s *Service) PutBucketOwnershipControls(ctx context.Context, in *shape.PutBucketOwnershipControlsRequest) (*shape.PutBucketOwnershipControlsResult, error) {
	b, err := s.bucket(ctx, in.Bucket, in.ExpectedBucketOwner, "PutBucketOwnershipControls")
	if err != nil {
		return nil, err
	}
	if in.OwnershipControls == nil || len(in.OwnershipControls.Rules) != 1 {
		return nil, malformedXML()
	}
	ownership := in.OwnershipControls.Rules[0].ObjectOwnership
	if !validOwnership(ownership) {
		return nil, malformedXML()
	}
	return &shape.PutBucketOwnershipControlsResult{}, s.setConfig(ctx, b, resource.PartOwnership, ownershipDocument{ownership}, func(tx *store.Tx) error {
		if ownership != ownerEnforced {
			return nil
		}
		acl, err := s.bucketACL(tx, b)
		if err == nil && !onlyOwner(acl, s.canonical(tx, b.AccountID)) {
			err = aclWithOwnership()
		}
		return err
	})
}

func validOwnership(o string) bool {
	return o == ownerEnforced || o == ownerPreferred || o == objectWriter
}

func aclWithOwnership() error {
	return awserr.New("InvalidBucketAclWithObjectOwnership", "Bucket cannot have ACLs set with ObjectOwnership's BucketOwnerEnforced setting")
}

// GetBucketOwnershipControls answers who owns a bucket's objects.
func (s *Service) GetBucketOwnershipControls(ctx context.Context, in *shape.GetBucketOwnershipControlsRequest) (*shape.GetBucketOwnershipControlsResult, error) {
	b, err := s.bucket(ctx, in.Bucket, in.ExpectedBucketOwner, "GetBucketOwnershipControls")
	if err != nil {
		return nil, err
	}
	doc, err := config[ownershipDocument](s, s.store.Snapshot(), b, resource.PartOwnership)
	if err != nil {
		return nil, err
	}
	ownership := ownerEnforced
	if doc != nil {
		ownership = doc.Ownership
	}
	if ownership == "" {
		return nil, awserr.New("OwnershipControlsNotFoundError", "The bucket ownership controls were not found").WithStatus(404).With("BucketName", b.Name)
	}
	rules := []shape.OwnershipControlsRule{{ObjectOwnership: ownership}}
	return &shape.GetBucketOwnershipControlsResult{OwnershipControls: &shape.OwnershipControls{Rules: rules}}, nil
}

// DeleteBucketOwnershipControls goes back to what was before there were any: objects are their writers', ACLs count.
func (s *Service) DeleteBucketOwnershipControls(ctx context.Context, in *shape.DeleteBucketOwnershipControlsRequest) (*shape.DeleteBucketOwnershipControlsResult, error) {
	b, err := s.bucket(ctx, in.Bucket, in.ExpectedBucketOwner, "PutBucketOwnershipControls")
	if err != nil {
		return nil, err
	}
	return &shape.DeleteBucketOwnershipControlsResult{}, s.setConfig(ctx, b, resource.PartOwnership, ownershipDocument{})
}

// ownership gives the rule that a bucket is under.
func (s *Service) ownership(r store.Reader, b *resource.Bucket) (string, error) {
	doc, err := config[ownershipDocument](s, r, b, resource.PartOwnership)
	switch {
	case err != nil:
		return "", err
	case doc == nil:
		return ownerEnforced, nil
	case doc.Ownership == "":
		return objectWriter, nil
	}
	return doc.Ownership, nil
}

// blockDocument is what is stored of the public access block. Without a document all is blocked, as of a new
// bucket; a bucket whose block was deleted has a document without Block.
type blockDocument struct {
	Block *shape.PublicAccessBlockConfiguration
}

// blocked is a public access block in plain values.
type blocked struct{ acls, ignoreACLs, policy, restrict bool }

// PutPublicAccessBlock sets what of a bucket cannot be made public.
func (s *Service) PutPublicAccessBlock(ctx context.Context, in *shape.PutPublicAccessBlockRequest) (*shape.PutPublicAccessBlockResult, error) {
	b, err := s.bucket(ctx, in.Bucket, in.ExpectedBucketOwner, "PutBucketPublicAccessBlock")
	if err != nil {
		return nil, err
	}
	c := in.PublicAccessBlockConfiguration
	if c == nil {
		return nil, malformedXML()
	}
	full := &shape.PublicAccessBlockConfiguration{
		BlockPublicAcls: yes(c.BlockPublicAcls), IgnorePublicAcls: yes(c.IgnorePublicAcls),
		BlockPublicPolicy: yes(c.BlockPublicPolicy), RestrictPublicBuckets: yes(c.RestrictPublicBuckets),
	}
	return &shape.PutPublicAccessBlockResult{}, s.setConfig(ctx, b, resource.PartPublicAccess, blockDocument{full})
}

// yes gives a boolean that may have been left out a value.
func yes(v *bool) *bool {
	y := v != nil && *v
	return &y
}

// GetPublicAccessBlock answers what of a bucket cannot be made public.
func (s *Service) GetPublicAccessBlock(ctx context.Context, in *shape.GetPublicAccessBlockRequest) (*shape.GetPublicAccessBlockResult, error) {
	b, err := s.bucket(ctx, in.Bucket, in.ExpectedBucketOwner, "GetBucketPublicAccessBlock")
	if err != nil {
		return nil, err
	}
	doc, err := config[blockDocument](s, s.store.Snapshot(), b, resource.PartPublicAccess)
	switch {
	case err != nil:
		return nil, err
	case doc == nil:
		t := true
		return &shape.GetPublicAccessBlockResult{PublicAccessBlockConfiguration: &shape.PublicAccessBlockConfiguration{
			BlockPublicAcls: &t, IgnorePublicAcls: &t, BlockPublicPolicy: &t, RestrictPublicBuckets: &t,
		}}, nil
	case doc.Block == nil:
		return nil, awserr.New("NoSuchPublicAccessBlockConfiguration", "The public access block configuration was not found").WithStatus(404).With("BucketName", b.Name)
	}
	return &shape.GetPublicAccessBlockResult{PublicAccessBlockConfiguration: doc.Block}, nil
}

// DeletePublicAccessBlock lets a bucket be made public.
func (s *Service) DeletePublicAccessBlock(ctx context.Context, in *shape.DeletePublicAccessBlockRequest) (*shape.DeletePublicAccessBlockResult, error) {
	b, err := s.bucket(ctx, in.Bucket, in.ExpectedBucketOwner, "PutBucketPublicAccessBlock")
	if err != nil {
		return nil, err
	}
	return &shape.DeletePublicAccessBlockResult{}, s.setConfig(ctx, b, resource.PartPublicAccess, blockDocument{})
}

// block gives the public access block that a bucket is under.
func (s *Service) block(r store.Reader, b *resource.Bucket) (blocked, error) {
	doc, err := config[blockDocument](s, r, b, resource.PartPublicAccess)
	switch {
	case err != nil:
		return blocked{true, true, true, true}, err
	case doc == nil:
		return blocked{true, true, true, true}, nil
	case doc.Block == nil:
		return blocked{}, nil
	}
	c := doc.Block
	return blocked{*yes(c.BlockPublicAcls), *yes(c.IgnorePublicAcls), *yes(c.BlockPublicPolicy), *yes(c.RestrictPublicBuckets)}, nil
}
