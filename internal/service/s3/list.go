package s3

import (
	"context"
	"strconv"

	shape "karri.dev/internal/aws/shape/s3"
	"karri.dev/internal/object"
	"karri.dev/internal/resource"
)

// page is what both forms of listing share.
type page struct {
	bucket   *resource.Bucket
	max      int
	encode   func(string) string
	listing  object.Listing
	contents []shape.Object
	prefixes []shape.CommonPrefix
}

// pageSize reads max-keys and its kin.
func pageSize(name string, n *int) (int, error) {
	switch {
	case n == nil:
		return maxPage, nil
	case *n < 0:
		return 0, invalidArgument(name, strconv.Itoa(*n), "Argument "+name+" must be an integer between 0 and 2147483647")
	}
	return min(*n, maxPage), nil
}

// encoder reads encoding-type.
func encoder(kind string) (func(string) string, error) {
	switch kind {
	case "":
		return func(s string) string { return s }, nil
	case "url":
		return encodeURL, nil
	}
	return nil, invalidArgument("encoding-type", kind, "Invalid Encoding Method specified in Request")
}

func (s *Service) list(ctx context.Context, b *resource.Bucket, o object.ListOptions, encoding string, owner bool) (*page, error) {
	p := &page{bucket: b, max: o.Max}
	var err error
	if p.encode, err = encoder(encoding); err != nil {
		return nil, err
	}
	if p.listing, err = s.engine.List(ctx, b.Engine, o); err != nil {
		return nil, fault(err, b.Name, "", "")
	}
	var owners *owners
	if owner {
		if owners, err = s.owners(b); err != nil {
			return nil, err
		}
	}
	p.contents = make([]shape.Object, len(p.listing.Objects))
	for i, m := range p.listing.Objects {
		entry := shape.Object{
			Key: p.encode(m.Key), LastModified: m.Modified, ETag: quote(m.ETag), Size: m.Size, StorageClass: class(m),
			Owner: owners.of(m.Owner), ChecksumType: m.ChecksumType,
		}
		if m.ChecksumAlgorithm != "" {
			entry.ChecksumAlgorithm = []string{m.ChecksumAlgorithm}
		}
		p.contents[i] = entry
	}
	for _, name := range p.listing.Prefixes {
		p.prefixes = append(p.prefixes, shape.CommonPrefix{Prefix: p.encode(name)})
	}
	return p, nil
}

// ListObjects lists objects, the old way.
func (s *Service) ListObjects(ctx context.Context, in *shape.ListObjectsRequest) (*shape.ListObjectsResult, error) {
	b, err := s.listed(ctx, in.Bucket, in.ExpectedBucketOwner, in.RequestPayer, in.OptionalObjectAttributes)
	if err != nil {
		return nil, err
	}
	limit, err := pageSize("max-keys", in.MaxKeys)
	if err != nil {
		return nil, err
	}
	o := object.ListOptions{Prefix: in.Prefix, Delimiter: in.Delimiter, After: in.Marker, Max: limit}
	p, err := s.list(ctx, b, o, in.EncodingType, true)
	if err != nil {
		return nil, err
	}
	out := &shape.ListObjectsResult{
		Name: in.Bucket, Prefix: p.encode(in.Prefix), Delimiter: p.encode(in.Delimiter), Marker: p.encode(in.Marker), MaxKeys: limit,
		EncodingType: in.EncodingType, IsTruncated: p.listing.Truncated, Contents: p.contents, CommonPrefixes: p.prefixes,
	}
	if p.listing.Truncated && in.Delimiter != "" { // else the last key is the marker, as clients know
		out.NextMarker = p.encode(p.listing.Next)
	}
	return out, nil
}

// ListObjectsV2 lists objects.
func (s *Service) ListObjectsV2(ctx context.Context, in *shape.ListObjectsV2Request) (*shape.ListObjectsV2Result, error) {
	b, err := s.listed(ctx, in.Bucket, in.ExpectedBucketOwner, in.RequestPayer, in.OptionalObjectAttributes)
	if err != nil {
		return nil, err
	}
	limit, err := pageSize("max-keys", in.MaxKeys)
	if err != nil {
		return nil, err
	}
	o := object.ListOptions{Prefix: in.Prefix, Delimiter: in.Delimiter, After: in.StartAfter, Max: limit}
	if in.ContinuationToken != "" {
		if o.After, err = parseToken(in.ContinuationToken); err != nil {
			return nil, err
		}
	}
	p, err := s.list(ctx, b, o, in.EncodingType, in.FetchOwner != nil && *in.FetchOwner)
	if err != nil {
		return nil, err
	}
	out := &shape.ListObjectsV2Result{
		Name: in.Bucket, Prefix: p.encode(in.Prefix), Delimiter: p.encode(in.Delimiter), StartAfter: p.encode(in.StartAfter), MaxKeys: limit,
		EncodingType: in.EncodingType, IsTruncated: p.listing.Truncated, Contents: p.contents, CommonPrefixes: p.prefixes,
		KeyCount: len(p.contents) + len(p.prefixes), ContinuationToken: in.ContinuationToken,
	}
	if p.listing.Truncated {
		out.NextContinuationToken = makeToken(p.listing.Next)
	}
	return out, nil
}

func (s *Service) listed(ctx context.Context, name, owner, payer string, attributes []string) (*resource.Bucket, error) {
	b, err := s.bucket(ctx, name, owner, actListBucket)
	if err != nil {
		return nil, err
	}
	if err := checkPayer(payer); err != nil {
		return nil, err
	}
	return b, checkAttributes(attributes)
}
