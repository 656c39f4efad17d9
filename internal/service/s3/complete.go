package s3

import (
	"context"
	"errors"
	"strconv"
	"strings"

	"karri.dev/internal/aws/awserr"
	shape "karri.dev/internal/aws/shape/s3"
	"karri.dev/internal/checksum"
	"karri.dev/internal/object"
)

func lower(s string) string { return strings.ToLower(s) }

// CompleteMultipartUpload makes the object of its parts.
func (s *Service) CompleteMultipartUpload(ctx context.Context, in *shape.CompleteMultipartUploadRequest) (*shape.CompleteMultipartUploadResult, error) {
	b, err := s.object(ctx, in.Bucket, in.Key, in.ExpectedBucketOwner, actPutObject)
	if err != nil {
		return nil, err
	}
	// The parts are encrypted already: their key changes nothing here.
	if _, err := customerKey([]string{in.SSECustomerAlgorithm, in.SSECustomerKeyMD5}, in.SSECustomerKey); err != nil {
		return nil, err
	}
	if err := checkPayer(in.RequestPayer); err != nil {
		return nil, err
	}
	named, err := namedParts(in.MultipartUpload)
	if err != nil {
		return nil, err
	}
	p := object.Put{Key: in.Key, Versioning: versioning(b)}
	if p.IfNoneMatch, p.IfMatch, err = writeConditions(in.IfNoneMatch, in.IfMatch); err != nil {
		return nil, err
	}
	u, err := s.engine.GetUpload(ctx, b.Engine, in.Key, in.UploadId)
	switch {
	case errors.Is(err, object.ErrNoUpload):
		// Completed already? Then the engine gives the same answer again.
	case err != nil:
		return nil, fault(err, in.Bucket, in.Key, in.UploadId)
	default:
		have, err := s.allParts(ctx, b.Engine, in.Key, in.UploadId)
		if err != nil {
			return nil, fault(err, in.Bucket, in.Key, in.UploadId)
		}
		sum, err := joinChecksum(in, u, have)
		if err != nil {
			return nil, err
		}
		p.Checksum = sum
	}
	if p.Notes, err = s.writes(ctx, b, in.Key, "ObjectCreated:CompleteMultipartUpload"); err != nil {
		return nil, err
	}
	if p.Room, err = s.room(ctx, b, in.Key); err != nil {
		return nil, err
	}
	m, err := s.engine.Complete(ctx, b.Engine, in.Key, in.UploadId, named, p)
	if err != nil {
		return nil, s.writeFault(fault(err, in.Bucket, in.Key, in.UploadId), in.Bucket, in.Key, p)
	}
	if p.Notes != nil {
		s.noted()
	}
	g := answer(m.ChecksumAlgorithm, m.Checksum)
	return &shape.CompleteMultipartUploadResult{
		Location: s.location(in.Bucket, in.Key), Bucket: in.Bucket, Key: in.Key, ETag: quote(m.ETag), VersionId: shownVersion(b, m), ServerSideEncryption: shownCipher(m.Encryption, "").sse,
		ChecksumCRC32: g.crc32, ChecksumCRC32C: g.crc32c, ChecksumCRC64NVME: g.crc64nvme, ChecksumSHA1: g.sha1, ChecksumSHA256: g.sha256,
		ChecksumType: m.ChecksumType,
	}, nil
}

// namedParts reads the list of parts.
func namedParts(list *shape.CompletedMultipartUpload) ([]object.Part, error) {
	if list == nil || len(list.Parts) == 0 || len(list.Parts) > maxParts {
		return nil, malformedXML()
	}
	named := make([]object.Part, len(list.Parts))
	for i, p := range list.Parts {
		if p.PartNumber == nil || p.ETag == "" {
			return nil, malformedXML()
		}
		if *p.PartNumber < 1 || *p.PartNumber > maxParts {
			return nil, invalidArgument("partNumber", strconv.Itoa(*p.PartNumber), "PartNumber must be >= 1 and <= 10000")
		}
		named[i] = object.Part{Number: *p.PartNumber, ETag: unquote(p.ETag)}
	}
	return named, nil
}

// joinChecksum computes the object's checksum from those of the parts that were kept, and judges all that the
// client says of checksums and sizes. Parts that are not there are left to the engine to refuse.
func joinChecksum(in *shape.CompleteMultipartUploadRequest, u object.Upload, have map[int]object.Part) (func() (string, string, string, error), error) {
	algorithm, kind := partAlgorithm(u), u.ChecksumType
	if kind == "" {
		kind = checksum.FullObject
	}
	if in.ChecksumType != "" && in.ChecksumType != kind {
		return nil, invalidRequest("The upload was created using the %s checksum mode. The complete request must use the same checksum mode.", kind)
	}
	var parts []checksum.Part
	var size int64
	for _, c := range in.MultipartUpload.Parts {
		p, ok := have[*c.PartNumber]
		if !ok {
			continue
		}
		if err := checkCompleted(c, p, u); err != nil {
			return nil, err
		}
		parts = append(parts, checksum.Part{Value: p.Checksum, Size: p.Size})
		size += p.Size
	}
	if in.MpuObjectSize != nil && *in.MpuObjectSize != size {
		return nil, invalidRequest("The provided 'x-amz-mp-object-size' header value %d does not match what was computed: %d", *in.MpuObjectSize, size)
	}
	if size > maxObject {
		return nil, tooLarge(size, maxObject)
	}
	value, err := algorithm.Join(kind, parts)
	if err != nil {
		return nil, err
	}
	sent, want, err := given{in.ChecksumCRC32, in.ChecksumCRC32C, in.ChecksumCRC64NVME, in.ChecksumSHA1, in.ChecksumSHA256}.one()
	switch {
	case err != nil:
		return nil, err
	case sent != "" && u.ChecksumAlgorithm != "" && sent != algorithm:
		return nil, invalidRequest("Checksum Type mismatch occurred, expected checksum Type: %s, actual checksum Type: %s", lower(string(algorithm)), lower(string(sent)))
	case sent == algorithm && want != value && (kind == checksum.FullObject || want+"-"+strconv.Itoa(len(parts)) != value):
		return nil, badChecksum(algorithm)
	}
	return func() (string, string, string, error) { return string(algorithm), value, kind, nil }, nil
}

// checkCompleted compares what the client says of a part with what was kept.
func checkCompleted(c shape.CompletedPart, p object.Part, u object.Upload) error {
	sent, value, err := given{c.ChecksumCRC32, c.ChecksumCRC32C, c.ChecksumCRC64NVME, c.ChecksumSHA1, c.ChecksumSHA256}.one()
	if err != nil {
		return err
	}
	if sent == "" && u.ChecksumType == checksum.Composite {
		return invalidRequest("The upload was created using a %s checksum. The complete request must include the checksum for each part. It was missing for part %d in the request.", lower(u.ChecksumAlgorithm), p.Number)
	}
	if string(sent) == p.ChecksumAlgorithm && value != p.Checksum || sent != "" && u.ChecksumAlgorithm != "" && string(sent) != u.ChecksumAlgorithm {
		return awserr.New("InvalidPart", "One or more of the specified parts could not be found.  The part may not have been uploaded, or the specified entity tag may not match the part's entity tag.").
			With("UploadId", u.ID).With("PartNumber", strconv.Itoa(p.Number)).With("ETag", p.ETag)
	}
	return nil
}
