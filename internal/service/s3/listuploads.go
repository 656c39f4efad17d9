package s3

import (
	"context"
	"strconv"
	"strings"

	shape "karri.dev/internal/aws/shape/s3"
	"karri.dev/internal/object"
	"karri.dev/internal/resource"
)

// ListParts lists an upload's parts.
func (s *Service) ListParts(ctx context.Context, in *shape.ListPartsRequest) (*shape.ListPartsResult, error) {
	b, err := s.object(ctx, in.Bucket, in.Key, in.ExpectedBucketOwner, actListParts)
	if err != nil {
		return nil, err
	}
	if _, err := customerKey([]string{in.SSECustomerAlgorithm, in.SSECustomerKeyMD5}, in.SSECustomerKey); err != nil {
		return nil, err
	}
	if err := checkPayer(in.RequestPayer); err != nil {
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
	u, err := s.engine.GetUpload(ctx, b.Engine, in.Key, in.UploadId)
	if err != nil {
		return nil, fault(err, in.Bucket, in.Key, in.UploadId)
	}
	ps, more, err := s.engine.ListParts(ctx, b.Engine, in.Key, in.UploadId, after, limit)
	if err != nil {
		return nil, fault(err, in.Bucket, in.Key, in.UploadId)
	}
	owners, err := s.owners(b)
	if err != nil {
		return nil, err
	}
	out := &shape.ListPartsResult{
		Bucket: in.Bucket, Key: in.Key, UploadId: in.UploadId, PartNumberMarker: after, MaxParts: limit, IsTruncated: more,
		Initiator: s.initiator(u), Owner: owners.of(u.Owner), StorageClass: "STANDARD",
		ChecksumAlgorithm: u.ChecksumAlgorithm, ChecksumType: u.ChecksumType,
	}
	for _, p := range ps {
		part := shape.Part{PartNumber: p.Number, LastModified: p.Modified, ETag: quote(p.ETag), Size: p.Size}
		if u.ChecksumAlgorithm != "" {
			g := answer(p.ChecksumAlgorithm, p.Checksum)
			part.ChecksumCRC32, part.ChecksumCRC32C, part.ChecksumCRC64NVME, part.ChecksumSHA1, part.ChecksumSHA256 = g.crc32, g.crc32c, g.crc64nvme, g.sha1, g.sha256
		}
		out.Parts = append(out.Parts, part)
		out.NextPartNumberMarker = p.Number
	}
	return out, nil
}

func (s *Service) initiator(u object.Upload) *shape.Initiator {
	return &shape.Initiator{ID: u.Initiator}
}

// ListMultipartUploads lists uploads under way.
func (s *Service) ListMultipartUploads(ctx context.Context, in *shape.ListMultipartUploadsRequest) (*shape.ListMultipartUploadsResult, error) {
	b, err := s.bucket(ctx, in.Bucket, in.ExpectedBucketOwner, actListUploads)
	if err != nil {
		return nil, err
	}
	if err := checkPayer(in.RequestPayer); err != nil {
		return nil, err
	}
	limit, err := pageSize("max-uploads", in.MaxUploads)
	if err != nil {
		return nil, err
	}
	encode, err := encoder(in.EncodingType)
	if err != nil {
		return nil, err
	}
	idMarker := in.UploadIdMarker
	if in.KeyMarker == "" {
		idMarker = "" // it means nothing alone
	}
	out := &shape.ListMultipartUploadsResult{
		Bucket: in.Bucket, KeyMarker: encode(in.KeyMarker), UploadIdMarker: idMarker, Prefix: encode(in.Prefix), Delimiter: encode(in.Delimiter),
		MaxUploads: limit, EncodingType: in.EncodingType,
	}
	owners, err := s.owners(b)
	if err != nil {
		return nil, err
	}
	r := roller{service: s, bucket: b, out: out, in: in, encode: encode, limit: limit, owners: owners}
	if err := r.roll(ctx, in.KeyMarker, idMarker); err != nil {
		return nil, fault(err, in.Bucket, "", "")
	}
	return out, nil
}

// roller gathers a page of uploads and rolls up common prefixes. Uploads under way are few: it walks them.
type roller struct {
	service *Service
	bucket  *resource.Bucket
	in      *shape.ListMultipartUploadsRequest
	out     *shape.ListMultipartUploadsResult
	encode  func(string) string
	owners  *owners
	limit   int
	common  string // the common prefix given last
}

func (r *roller) roll(ctx context.Context, key, id string) error {
	if r.limit == 0 {
		return nil
	}
	if r.prefixOf(key) == key {
		r.common = key // a page ended with this prefix; what it covers was told
	}
	for {
		us, more, err := r.service.engine.ListUploads(ctx, r.bucket.Engine, r.in.Prefix, key, id, maxPage)
		if err != nil {
			return err
		}
		for _, u := range us {
			if !r.add(u) {
				r.out.IsTruncated = true
				return nil
			}
			key, id = u.Key, u.ID
		}
		if !more {
			r.out.NextKeyMarker, r.out.NextUploadIdMarker = "", ""
			return nil
		}
	}
}

// prefixOf gives the common prefix that covers a key, "" if none.
func (r *roller) prefixOf(key string) string {
	rest, ok := strings.CutPrefix(key, r.in.Prefix)
	if r.in.Delimiter == "" || !ok {
		return ""
	}
	i := strings.Index(rest, r.in.Delimiter)
	if i < 0 {
		return ""
	}
	return key[:len(r.in.Prefix)+i+len(r.in.Delimiter)]
}

// add adds an upload, or its prefix; false when the page is full.
func (r *roller) add(u object.Upload) bool {
	common := r.prefixOf(u.Key)
	if common != "" && common == r.common {
		return true
	}
	if len(r.out.Uploads)+len(r.out.CommonPrefixes) >= r.limit {
		return false
	}
	if common != "" {
		r.common = common
		r.out.CommonPrefixes = append(r.out.CommonPrefixes, shape.CommonPrefix{Prefix: r.encode(common)})
		r.out.NextKeyMarker, r.out.NextUploadIdMarker = r.encode(common), ""
		return true
	}
	r.out.Uploads = append(r.out.Uploads, shape.MultipartUpload{
		UploadId: u.ID, Key: r.encode(u.Key), Initiated: u.Started, StorageClass: "STANDARD", Owner: r.owners.of(u.Owner),
		Initiator: r.service.initiator(u), ChecksumAlgorithm: u.ChecksumAlgorithm, ChecksumType: u.ChecksumType,
	})
	r.out.NextKeyMarker, r.out.NextUploadIdMarker = r.encode(u.Key), u.ID
	return true
}
