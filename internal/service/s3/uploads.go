package s3

import (
	"context"
	"fmt"
	"strconv"

	"karri.dev/internal/aws/call"
	shape "karri.dev/internal/aws/shape/s3"
	"karri.dev/internal/checksum"
	"karri.dev/internal/object"
	"karri.dev/internal/resource"
)

// CreateMultipartUpload begins an upload. Without a word about checksums it is to have the default one.
func (s *Service) CreateMultipartUpload(ctx context.Context, in *shape.CreateMultipartUploadRequest) (*shape.CreateMultipartUploadResult, error) {
	b, err := s.object(ctx, in.Bucket, in.Key, in.ExpectedBucketOwner, actPutObject)
	if err != nil {
		return nil, err
	}
	w := writing{
		acl: in.ACL, grants: grantHeaders{full: in.GrantFullControl, read: in.GrantRead, readACP: in.GrantReadACP, writeACP: in.GrantWriteACP},
		sse: in.ServerSideEncryption, kms: []string{in.SSEKMSKeyId, in.SSEKMSEncryptionContext}, bucketKey: in.BucketKeyEnabled,
		customer: []string{in.SSECustomerAlgorithm, in.SSECustomerKeyMD5}, customerKey: in.SSECustomerKey,
		class: in.StorageClass, redirect: in.WebsiteRedirectLocation, tagging: in.Tagging,
		lockMode: in.ObjectLockMode, lockUntil: in.ObjectLockRetainUntilDate, legalHold: in.ObjectLockLegalHoldStatus, requestPayer: in.RequestPayer,
	}
	if err := w.check(); err != nil {
		return nil, err
	}
	h := headers{in.CacheControl, in.ContentDisposition, in.ContentEncoding, in.ContentLanguage, in.ContentType, in.Expires, in.Metadata}
	if err := h.check(); err != nil {
		return nil, err
	}
	algorithm, kind, err := uploadChecksum(in.ChecksumAlgorithm, in.ChecksumType)
	if err != nil {
		return nil, err
	}
	customer, err := w.key()
	if err != nil {
		return nil, err
	}
	creator, attributes, err := s.begins(ctx, b, in.Key, w)
	if err != nil {
		return nil, err
	}
	id, err := s.engine.CreateUpload(ctx, b.Engine, object.Upload{
		Key: in.Key, Owner: creator, Attributes: attributes, Initiator: initiator(call.From(ctx).Caller), Headers: redirecting(h.stored(), in.WebsiteRedirectLocation), ChecksumAlgorithm: algorithm, ChecksumType: kind, Customer: customer,
	})
	if err != nil {
		return nil, fault(err, in.Bucket, in.Key, "")
	}
	encryption, err := s.uploadEncryption(ctx, b, in.Key, id)
	if err != nil {
		return nil, err
	}
	c := shownCipher(encryption, in.SSECustomerKeyMD5)
	return &shape.CreateMultipartUploadResult{
		ServerSideEncryption: c.sse, SSECustomerAlgorithm: c.algorithm, SSECustomerKeyMD5: c.keyMD5,
		Bucket: in.Bucket, Key: in.Key, UploadId: id, ChecksumAlgorithm: algorithm, ChecksumType: kind,
	}, nil
}

// uploadEncryption asks the engine how it keeps an upload.
func (s *Service) uploadEncryption(ctx context.Context, b *resource.Bucket, key, id string) (string, error) {
	u, err := s.engine.GetUpload(ctx, b.Engine, key, id)
	return u.Encryption, fault(err, b.Name, key, id)
}

// initiator names a caller as ListMultipartUploads does: a user by its ARN, an account by its canonical id.
func initiator(c call.Caller) string {
	if c.Root() {
		return c.CanonicalID
	}
	return c.ARN
}

// uploadChecksum judges the checksum that an upload is begun with; both are "" for the default.
func uploadChecksum(name, kind string) (algorithm, chosen string, err error) {
	if name == "" {
		if kind != "" {
			return "", "", invalidRequest("The x-amz-checksum-type header can only be used with the x-amz-checksum-algorithm header.")
		}
		return "", "", nil
	}
	a, ok := checksum.Parse(name)
	if !ok {
		return "", "", invalidRequest("Checksum algorithm provided is unsupported. Please try again with any of the valid types: [CRC32, CRC32C, CRC64NVME, SHA1, SHA256]")
	}
	if kind == "" {
		kind = a.Type()
	}
	if !a.Allows(kind) {
		return "", "", invalidRequest("The %s checksum type cannot be used with the %s checksum algorithm.", kind, a)
	}
	return string(a), kind, nil
}

// UploadPart writes a part.
func (s *Service) UploadPart(ctx context.Context, in *shape.UploadPartRequest) (*shape.UploadPartResult, error) {
	b, err := s.object(ctx, in.Bucket, in.Key, in.ExpectedBucketOwner, actPutObject)
	if err != nil {
		return nil, err
	}
	if err := checkPart(in.PartNumber, in.RequestPayer); err != nil {
		return nil, err
	}
	p := object.Put{}
	if p.Customer, err = customerKey([]string{in.SSECustomerAlgorithm, in.SSECustomerKeyMD5}, in.SSECustomerKey); err != nil {
		return nil, err
	}
	if p.Size, err = checkLength(in.ContentLength); err != nil {
		return nil, err
	}
	if p.MD5, err = contentMD5(in.ContentMD5); err != nil {
		return nil, err
	}
	u, err := s.engine.GetUpload(ctx, b.Engine, in.Key, in.UploadId)
	if err != nil {
		return nil, fault(err, in.Bucket, in.Key, in.UploadId)
	}
	if err := checkPartKey(u, p.Customer); err != nil {
		return nil, err
	}
	sum, err := newSums(in.Body, given{in.ChecksumCRC32, in.ChecksumCRC32C, in.ChecksumCRC64NVME, in.ChecksumSHA1, in.ChecksumSHA256}, in.ChecksumAlgorithm, partAlgorithm(u))
	if err != nil {
		return nil, err
	}
	if err := checkPartChecksum(u, sum.sent); err != nil {
		return nil, err
	}
	if p.Room, err = s.room(ctx, b, in.Key); err != nil {
		return nil, err
	}
	p.Body, p.Checksum = sum, sum.result
	part, err := s.engine.PutPart(ctx, b.Engine, in.Key, in.UploadId, in.PartNumber, p)
	if err != nil {
		return nil, fault(slow(err), in.Bucket, in.Key, in.UploadId)
	}
	c := shownCipher(u.Encryption, in.SSECustomerKeyMD5)
	out := &shape.UploadPartResult{ETag: quote(part.ETag), ServerSideEncryption: c.sse, SSECustomerAlgorithm: c.algorithm, SSECustomerKeyMD5: c.keyMD5}
	g := answer(part.ChecksumAlgorithm, part.Checksum)
	if u.ChecksumAlgorithm == "" && sum.sent != "" { // the client hears of its own checksum
		g = answer(string(sum.sent), sum.want)
	}
	out.ChecksumCRC32, out.ChecksumCRC32C, out.ChecksumCRC64NVME, out.ChecksumSHA1, out.ChecksumSHA256 = g.crc32, g.crc32c, g.crc64nvme, g.sha1, g.sha256
	return out, nil
}

// partAlgorithm is the checksum that an upload's parts are kept with.
func partAlgorithm(u object.Upload) checksum.Algorithm {
	if u.ChecksumAlgorithm == "" {
		return checksum.Default
	}
	return checksum.Algorithm(u.ChecksumAlgorithm)
}

// checkPartChecksum: an upload that was begun with an algorithm takes no other, and for a composite checksum
// every part must bring its own.
func checkPartChecksum(u object.Upload, sent checksum.Algorithm) error {
	want := checksum.Algorithm(u.ChecksumAlgorithm)
	if want == "" || sent == want || sent == "" && u.ChecksumType == checksum.FullObject {
		return nil
	}
	actual := string(sent)
	if sent == "" {
		actual = "null"
	}
	return invalidRequest("Checksum Type mismatch occurred, expected checksum Type: %s, actual checksum Type: %s", lower(string(want)), lower(actual))
}

func checkPart(number int, payer string) error {
	if number < 1 || number > maxParts {
		return invalidArgument("partNumber", strconv.Itoa(number), "Part number must be an integer between 1 and 10000, inclusive")
	}
	return checkPayer(payer)
}

// UploadPartCopy writes a part from an object.
func (s *Service) UploadPartCopy(ctx context.Context, in *shape.UploadPartCopyRequest) (*shape.UploadPartCopyResult, error) {
	b, err := s.object(ctx, in.Bucket, in.Key, in.ExpectedBucketOwner, actPutObject)
	if err != nil {
		return nil, err
	}
	if err := checkPart(in.PartNumber, in.RequestPayer); err != nil {
		return nil, err
	}
	var p object.Put
	if p.Customer, err = customerKey([]string{in.SSECustomerAlgorithm, in.SSECustomerKeyMD5}, in.SSECustomerKey); err != nil {
		return nil, err
	}
	sourceKey, err := customerKey([]string{in.CopySourceSSECustomerAlgorithm, in.CopySourceSSECustomerKeyMD5}, in.CopySourceSSECustomerKey)
	if err != nil {
		return nil, err
	}
	u, err := s.engine.GetUpload(ctx, b.Engine, in.Key, in.UploadId)
	if err != nil {
		return nil, fault(err, in.Bucket, in.Key, in.UploadId)
	}
	if err := checkPartKey(u, p.Customer); err != nil {
		return nil, err
	}
	o, from, err := s.source(ctx, in.CopySource, in.ExpectedSourceBucketOwner, sourceKey, conditions{
		in.CopySourceIfMatch, in.CopySourceIfNoneMatch, in.CopySourceIfModifiedSince, in.CopySourceIfUnmodifiedSince,
	})
	if err != nil {
		return nil, err
	}
	defer o.Close()
	r, err := parseCopyRange(in.CopySourceRange, o.Meta().Size)
	if err != nil {
		return nil, err
	}
	if r.length > maxPut {
		return nil, invalidRequest("The specified copy source is larger than the maximum allowable size for a copy source: %d", int64(maxPut))
	}
	if p.Room, err = s.room(ctx, b, in.Key); err != nil {
		return nil, err
	}
	var part object.Part
	err = reading(o, r, partAlgorithm(u), &p, func() (err error) {
		part, err = s.engine.PutPart(ctx, b.Engine, in.Key, in.UploadId, in.PartNumber, p)
		return err
	})
	if err != nil {
		return nil, fault(err, in.Bucket, in.Key, in.UploadId)
	}
	result := &shape.CopyPartResult{ETag: quote(part.ETag), LastModified: part.Modified}
	if u.ChecksumAlgorithm != "" {
		g := answer(part.ChecksumAlgorithm, part.Checksum)
		result.ChecksumCRC32, result.ChecksumCRC32C, result.ChecksumCRC64NVME, result.ChecksumSHA1, result.ChecksumSHA256 = g.crc32, g.crc32c, g.crc64nvme, g.sha1, g.sha256
	}
	c := shownCipher(u.Encryption, in.SSECustomerKeyMD5)
	return &shape.UploadPartCopyResult{ServerSideEncryption: c.sse, SSECustomerAlgorithm: c.algorithm, SSECustomerKeyMD5: c.keyMD5, CopyPartResult: result, CopySourceVersionId: shownVersion(from, o.Meta())}, nil
}

// AbortMultipartUpload ends an upload and forgets its parts.
func (s *Service) AbortMultipartUpload(ctx context.Context, in *shape.AbortMultipartUploadRequest) (*shape.AbortMultipartUploadResult, error) {
	b, err := s.object(ctx, in.Bucket, in.Key, in.ExpectedBucketOwner, actAbortUpload)
	if err != nil {
		return nil, err
	}
	if !in.IfMatchInitiatedTime.IsZero() {
		return nil, notImplemented("x-amz-if-match-initiated-time")
	}
	if err := checkPayer(in.RequestPayer); err != nil {
		return nil, err
	}
	if err := s.engine.Abort(ctx, b.Engine, in.Key, in.UploadId); err != nil {
		return nil, fault(err, in.Bucket, in.Key, in.UploadId)
	}
	return &shape.AbortMultipartUploadResult{}, nil
}

// allParts gives every part of an upload.
func (s *Service) allParts(ctx context.Context, bucket, key, id string) (map[int]object.Part, error) {
	all := map[int]object.Part{}
	after := 0
	for {
		ps, more, err := s.engine.ListParts(ctx, bucket, key, id, after, maxPage)
		if err != nil {
			return nil, fmt.Errorf("list parts: %w", err)
		}
		for _, p := range ps {
			all[p.Number], after = p, p.Number
		}
		if !more {
			return all, nil
		}
	}
}
