package s3

import (
	"context"
	"strconv"

	"karri.dev/internal/aws/awserr"
	"karri.dev/internal/aws/call"
	shape "karri.dev/internal/aws/shape/s3"
	"karri.dev/internal/object"
)

func tooLarge(size, limit int64) error {
	return awserr.New("EntityTooLarge", "Your proposed upload exceeds the maximum allowed size").
		With("ProposedSize", strconv.FormatInt(size, 10)).With("MaxSizeAllowed", strconv.FormatInt(limit, 10))
}

// PutObject writes an object.
func (s *Service) PutObject(ctx context.Context, in *shape.PutObjectRequest) (*shape.PutObjectResult, error) {
	b, err := s.object(ctx, in.Bucket, in.Key, in.ExpectedBucketOwner, actPutObject)
	if err != nil {
		return nil, err
	}
	if in.WriteOffsetBytes != nil {
		return nil, notImplemented("x-amz-write-offset-bytes")
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
	customer, err := w.key()
	if err != nil {
		return nil, err
	}
	h := headers{in.CacheControl, in.ContentDisposition, in.ContentEncoding, in.ContentLanguage, in.ContentType, in.Expires, in.Metadata}
	if err := h.check(); err != nil {
		return nil, err
	}
	p := object.Put{Key: in.Key, Versioning: versioning(b), Headers: redirecting(h.stored(), in.WebsiteRedirectLocation), Customer: customer}
	if p.Owner, p.Attributes, err = s.begins(ctx, b, in.Key, w); err != nil {
		return nil, err
	}
	if p.IfNoneMatch, p.IfMatch, err = writeConditions(in.IfNoneMatch, in.IfMatch); err != nil {
		return nil, err
	}
	if p.Size, err = checkLength(in.ContentLength); err != nil {
		return nil, err
	}
	if p.MD5, err = contentMD5(in.ContentMD5); err != nil {
		return nil, err
	}
	sum, err := newSums(in.Body, given{in.ChecksumCRC32, in.ChecksumCRC32C, in.ChecksumCRC64NVME, in.ChecksumSHA1, in.ChecksumSHA256}, in.ChecksumAlgorithm, "")
	if err != nil {
		return nil, err
	}
	if w.locks() && p.MD5 == nil && sum.sent == "" {
		return nil, invalidRequest("Content-MD5 OR x-amz-checksum- HTTP header is required for Put Object requests with Object Lock parameters")
	}
	p.Body, p.Checksum = sum, sum.result
	event := "ObjectCreated:Put"
	if call.From(ctx).Operation == "PostObject" {
		event = "ObjectCreated:Post"
	}
	if p.Notes, err = s.writes(ctx, b, in.Key, event); err != nil {
		return nil, err
	}
	if p.Room, err = s.room(ctx, b, in.Key); err != nil {
		return nil, err
	}
	m, err := s.engine.Put(ctx, b.Engine, p)
	if err != nil {
		return nil, s.writeFault(slow(err), in.Bucket, in.Key, p)
	}
	if p.Notes != nil {
		s.noted()
	}
	g, c := answer(m.ChecksumAlgorithm, m.Checksum), shownCipher(m.Encryption, in.SSECustomerKeyMD5)
	return &shape.PutObjectResult{
		ETag: quote(m.ETag), VersionId: shownVersion(b, m),
		ServerSideEncryption: c.sse, SSECustomerAlgorithm: c.algorithm, SSECustomerKeyMD5: c.keyMD5,
		ChecksumCRC32: g.crc32, ChecksumCRC32C: g.crc32c, ChecksumCRC64NVME: g.crc64nvme, ChecksumSHA1: g.sha1, ChecksumSHA256: g.sha256,
		ChecksumType: m.ChecksumType,
	}, nil
}

// writeFault names a failed condition rightly.
func (s *Service) writeFault(err error, bucket, key string, p object.Put) error {
	f := fault(err, bucket, key, "")
	if p.IfMatch != "" && awserr.Code(f) == "PreconditionFailed" {
		return preconditionFailed("If-Match")
	}
	return f
}

// writeConditions reads If-None-Match and If-Match of a write.
func writeConditions(ifNoneMatch, ifMatch string) (absent bool, etag string, err error) {
	switch {
	case ifNoneMatch != "" && (ifNoneMatch != "*" || ifMatch != ""):
		return false, "", notImplemented("If-None-Match")
	case ifMatch == "*":
		return false, "", notImplemented("If-Match")
	}
	return ifNoneMatch != "", unquote(ifMatch), nil
}
