package s3

import (
	"context"
	"errors"
	"net/http"

	"karri.dev/internal/aws/awserr"
	shape "karri.dev/internal/aws/shape/s3"
	"karri.dev/internal/object"
	"karri.dev/internal/resource"
	"karri.dev/internal/store"
)

// States of a bucket's versioning; "" is never enabled.
const (
	enabled   = "Enabled"
	suspended = "Suspended"
)

func versioning(b *resource.Bucket) object.Versioning {
	switch b.Versioning {
	case enabled:
		return object.Enabled
	case suspended:
		return object.Suspended
	}
	return object.Unversioned
}

// shownVersion is a version's id as answers give it: a bucket that never had versioning shows none.
func shownVersion(b *resource.Bucket, m object.Meta) string {
	if b.Versioning == "" {
		return ""
	}
	return m.VersionID
}

// class is a version's storage class as listings give it.
func class(m object.Meta) string {
	if m.Class == "" {
		return "STANDARD"
	}
	return m.Class
}

// versioned is the action of a request that may name a version: IAM has others for those that do.
func versioned(act action, version string) action {
	if version == "" {
		return act
	}
	switch act {
	case actGetObject:
		return "GetObjectVersion"
	case actDeleteObject:
		return "DeleteObjectVersion"
	case "GetObjectAcl":
		return "GetObjectVersionAcl"
	case "PutObjectAcl":
		return "PutObjectVersionAcl"
	case "GetObjectAttributes":
		return "GetObjectVersionAttributes"
	case "GetObjectTagging":
		return "GetObjectVersionTagging"
	case "PutObjectTagging":
		return "PutObjectVersionTagging"
	case "DeleteObjectTagging":
		return "DeleteObjectVersionTagging"
	}
	return act
}

// versionFault is fault for requests that may name a version.
func versionFault(err error, bucket, key, version string) error {
	var marker *object.MarkerError
	switch {
	case version != "" && errors.As(err, &marker):
		return awserr.New("MethodNotAllowed", "The specified method is not allowed against this resource.").WithStatus(405).
			With("Method", "GET").With("ResourceType", "DeleteMarker").
			WithHeader("x-amz-delete-marker", "true").WithHeader("x-amz-version-id", marker.Marker.VersionID).WithHeader("Allow", "DELETE").
			WithHeader("Last-Modified", marker.Marker.Modified.UTC().Format(http.TimeFormat))
	case errors.Is(err, object.ErrNoVersion):
		return awserr.New("NoSuchVersion", "The specified version does not exist.").WithStatus(404).With("Key", key).With("VersionId", version)
	case errors.Is(err, object.ErrBadVersion):
		return invalidArgument("versionId", version, "Invalid version id specified")
	}
	return fault(err, bucket, key, "")
}

// GetBucketVersioning answers the state; a bucket that never had versioning has none.
func (s *Service) GetBucketVersioning(ctx context.Context, in *shape.GetBucketVersioningRequest) (*shape.GetBucketVersioningResult, error) {
	b, err := s.bucket(ctx, in.Bucket, in.ExpectedBucketOwner, actGetVersioning)
	if err != nil {
		return nil, err
	}
	return &shape.GetBucketVersioningResult{Status: b.Versioning}, nil
}

// PutBucketVersioning enables or suspends versioning.
func (s *Service) PutBucketVersioning(ctx context.Context, in *shape.PutBucketVersioningRequest) (*shape.PutBucketVersioningResult, error) {
	c := in.VersioningConfiguration
	if c == nil {
		return nil, malformedXML()
	}
	b, err := s.bucket(ctx, in.Bucket, in.ExpectedBucketOwner, "PutBucketVersioning")
	if err != nil {
		return nil, err
	}
	switch {
	case c.Status == "":
		return nil, awserr.New("IllegalVersioningConfigurationException", "The Versioning element must be specified")
	case c.Status != enabled && c.Status != suspended || c.MFADelete != "" && c.MFADelete != "Enabled" && c.MFADelete != "Disabled":
		return nil, malformedXML()
	case c.MFADelete == "Enabled":
		return nil, notImplemented("x-amz-mfa")
	}
	replicated, err := config[shape.ReplicationConfiguration](s, s.store.Snapshot(), b, resource.PartReplication)
	if err != nil {
		return nil, err
	}
	err = s.change(ctx, b, func(b *resource.Bucket) error {
		if replicated != nil && c.Status != enabled {
			return awserr.New("InvalidBucketState", "A replication configuration is present on this bucket, so the versioning state cannot be changed.").WithStatus(409)
		}
		if b.Lock != nil && c.Status != enabled {
			return awserr.New("InvalidBucketState", "An Object Lock configuration is present on this bucket, so the versioning state cannot be changed.").WithStatus(409)
		}
		b.Versioning = c.Status
		return nil
	})
	if err != nil {
		return nil, err
	}
	return &shape.PutBucketVersioningResult{}, nil
}

// change changes a bucket's record.
func (s *Service) change(ctx context.Context, b *resource.Bucket, fn func(*resource.Bucket) error) error {
	return s.store.Update(ctx, func(tx *store.Tx) error {
		now := store.Buckets.Get(tx, b.Name)
		if now == nil || now.Engine != b.Engine {
			return noSuchBucket(b.Name)
		}
		next := *now
		if err := fn(&next); err != nil {
			return err
		}
		return store.Buckets.Put(tx, &next)
	})
}

// ListObjectVersions lists versions and delete markers.
func (s *Service) ListObjectVersions(ctx context.Context, in *shape.ListObjectVersionsRequest) (*shape.ListObjectVersionsResult, error) {
	b, err := s.bucket(ctx, in.Bucket, in.ExpectedBucketOwner, "ListBucketVersions")
	if err != nil {
		return nil, err
	}
	if err := checkPayer(in.RequestPayer); err != nil {
		return nil, err
	}
	if err := checkAttributes(in.OptionalObjectAttributes); err != nil {
		return nil, err
	}
	limit, err := pageSize("max-keys", in.MaxKeys)
	if err != nil {
		return nil, err
	}
	encode, err := encoder(in.EncodingType)
	if err != nil {
		return nil, err
	}
	if in.VersionIdMarker != "" && in.KeyMarker == "" {
		return nil, invalidArgument("version-id-marker", in.VersionIdMarker, "A version-id marker cannot be specified without a key marker.")
	}
	l, err := s.engine.ListVersions(ctx, b.Engine, object.VersionOptions{
		Prefix: in.Prefix, Delimiter: in.Delimiter, AfterKey: in.KeyMarker, AfterVersion: in.VersionIdMarker, Max: limit,
	})
	switch {
	case errors.Is(err, object.ErrBadVersion):
		return nil, invalidArgument("version-id-marker", in.VersionIdMarker, "Invalid version id specified")
	case err != nil:
		return nil, fault(err, in.Bucket, "", "")
	}
	out := &shape.ListObjectVersionsResult{
		Name: in.Bucket, Prefix: encode(in.Prefix), Delimiter: encode(in.Delimiter), KeyMarker: encode(in.KeyMarker), VersionIdMarker: in.VersionIdMarker,
		MaxKeys: limit, EncodingType: in.EncodingType, IsTruncated: l.Truncated,
	}
	if l.Truncated {
		out.NextKeyMarker, out.NextVersionIdMarker = encode(l.NextKey), l.NextVersion
	}
	owners, err := s.owners(b)
	if err != nil {
		return nil, err
	}
	for _, v := range l.Versions {
		if v.Marker {
			out.DeleteMarkers = append(out.DeleteMarkers, shape.DeleteMarkerEntry{
				Owner: owners.of(v.Owner), Key: encode(v.Key), VersionId: v.VersionID, IsLatest: v.Latest, LastModified: v.Modified,
			})
			continue
		}
		entry := shape.ObjectVersion{
			ETag: quote(v.ETag), Size: v.Size, StorageClass: class(v.Meta), Key: encode(v.Key), VersionId: v.VersionID, IsLatest: v.Latest,
			LastModified: v.Modified, Owner: owners.of(v.Owner), ChecksumType: v.ChecksumType,
		}
		if v.ChecksumAlgorithm != "" {
			entry.ChecksumAlgorithm = []string{v.ChecksumAlgorithm}
		}
		out.Versions = append(out.Versions, entry)
	}
	for _, p := range l.Prefixes {
		out.CommonPrefixes = append(out.CommonPrefixes, shape.CommonPrefix{Prefix: encode(p)})
	}
	return out, nil
}
