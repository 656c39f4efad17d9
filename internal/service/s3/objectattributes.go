package s3

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"

	shape "karri.dev/internal/aws/shape/s3"
	"karri.dev/internal/checksum"
	"karri.dev/internal/object"
)

// GetObjectAttributes answers those facts of a version that are asked for.
func (s *Service) GetObjectAttributes(ctx context.Context, in *shape.GetObjectAttributesRequest) (*shape.GetObjectAttributesResult, error) {
	asked, err := askedAttributes(in.ObjectAttributes)
	if err != nil {
		return nil, err
	}
	limit, err := pageSize("max-parts", in.MaxParts)
	if err != nil {
		return nil, err
	}
	after := 0
	if in.PartNumberMarker != nil {
		if after = *in.PartNumberMarker; after < 0 {
			return nil, invalidArgument("part-number-marker", strconv.Itoa(after), "Argument part-number-marker must be an integer between 0 and 2147483647")
		}
	}
	o, _, b, err := s.open(ctx, &shape.GetObjectRequest{
		Bucket: in.Bucket, Key: in.Key, VersionId: in.VersionId, RequestPayer: in.RequestPayer, ExpectedBucketOwner: in.ExpectedBucketOwner,
		SSECustomerAlgorithm: in.SSECustomerAlgorithm, SSECustomerKey: in.SSECustomerKey, SSECustomerKeyMD5: in.SSECustomerKeyMD5,
	})
	if err != nil {
		return nil, err
	}
	defer o.Close()
	m := o.Meta()
	out := &shape.GetObjectAttributesResult{LastModified: m.Modified, VersionId: shownVersion(b, m)}
	if asked["ETag"] {
		out.ETag = m.ETag // without quotes, here alone
	}
	if asked["StorageClass"] {
		out.StorageClass = class(m)
	}
	if asked["ObjectSize"] {
		out.ObjectSize = m.Size
	}
	if asked["Checksum"] && m.ChecksumAlgorithm != "" {
		g := answer(m.ChecksumAlgorithm, m.Checksum)
		out.Checksum = &shape.Checksum{
			ChecksumCRC32: g.crc32, ChecksumCRC32C: g.crc32c, ChecksumCRC64NVME: g.crc64nvme, ChecksumSHA1: g.sha1, ChecksumSHA256: g.sha256,
			ChecksumType: m.ChecksumType,
		}
	}
	if asked["ObjectParts"] && m.Parts > 0 {
		if out.ObjectParts, err = attributeParts(o, after, limit); err != nil {
			return nil, err
		}
	}
	return out, nil
}

// askedAttributes reads x-amz-object-attributes, also where names come as one list.
func askedAttributes(list []string) (map[string]bool, error) {
	known := []string{"ETag", "Checksum", "ObjectParts", "StorageClass", "ObjectSize"}
	asked := map[string]bool{}
	for _, names := range list {
		for name := range strings.SplitSeq(names, ",") {
			name = strings.TrimSpace(name)
			if !slices.Contains(known, name) {
				return nil, invalidArgument("x-amz-object-attributes", name, "Invalid attribute name specified.")
			}
			asked[name] = true
		}
	}
	if len(asked) == 0 {
		return nil, invalidRequest("The x-amz-object-attributes header specifying the attributes to be retrieved is either missing or empty")
	}
	return asked, nil
}

// attributeParts lists an object's parts; one by one only where each has a checksum of its own.
func attributeParts(o object.Object, after, limit int) (*shape.GetObjectAttributesParts, error) {
	m := o.Meta()
	out := &shape.GetObjectAttributesParts{TotalPartsCount: m.Parts, PartNumberMarker: after, MaxParts: limit}
	if m.ChecksumType != checksum.Composite {
		return out, nil
	}
	parts, err := o.Parts()
	if err != nil {
		return nil, fmt.Errorf("parts of %q: %w", m.Key, err)
	}
	for i := range parts {
		p := &parts[i]
		if p.Number <= after {
			continue
		}
		if len(out.Parts) == limit {
			out.IsTruncated = true
			break
		}
		g := answer(p.ChecksumAlgorithm, p.Checksum)
		out.Parts = append(out.Parts, shape.ObjectPart{
			PartNumber: p.Number, Size: p.Size, ChecksumCRC32: g.crc32, ChecksumCRC32C: g.crc32c, ChecksumCRC64NVME: g.crc64nvme, ChecksumSHA1: g.sha1, ChecksumSHA256: g.sha256,
		})
		out.NextPartNumberMarker = p.Number
	}
	return out, nil
}
