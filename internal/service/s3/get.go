package s3

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"

	shape "karri.dev/internal/aws/shape/s3"
	"karri.dev/internal/object"
	"karri.dev/internal/resource"
)

// GetObject reads an object.
func (s *Service) GetObject(ctx context.Context, in *shape.GetObjectRequest) (*shape.GetObjectResult, error) {
	o, r, b, err := s.open(ctx, in)
	if err != nil {
		return nil, err
	}
	body, err := o.Range(r.offset, r.length)
	if err != nil {
		return nil, errors.Join(fault(fmt.Errorf("read object: %w", err), in.Bucket, in.Key, ""), o.Close())
	}
	out := describe(b, o.Meta(), in, r)
	out.Body = &stream{body, o}
	return out, nil
}

// HeadObject answers what GetObject would, but for the bytes.
func (s *Service) HeadObject(ctx context.Context, in *shape.HeadObjectRequest) (*shape.HeadObjectResult, error) {
	o, r, b, err := s.open(ctx, (*shape.GetObjectRequest)(in))
	if err != nil {
		return nil, err
	}
	out := describe(b, o.Meta(), (*shape.GetObjectRequest)(in), r)
	if err := o.Close(); err != nil {
		return nil, fmt.Errorf("close object: %w", err)
	}
	return &shape.HeadObjectResult{
		AcceptRanges: out.AcceptRanges, LastModified: out.LastModified, ContentLength: out.ContentLength, ContentRange: out.ContentRange, ETag: out.ETag,
		ChecksumCRC32: out.ChecksumCRC32, ChecksumCRC32C: out.ChecksumCRC32C, ChecksumCRC64NVME: out.ChecksumCRC64NVME,
		ChecksumSHA1: out.ChecksumSHA1, ChecksumSHA256: out.ChecksumSHA256, ChecksumType: out.ChecksumType,
		CacheControl: out.CacheControl, ContentDisposition: out.ContentDisposition, ContentEncoding: out.ContentEncoding,
		ContentLanguage: out.ContentLanguage, ContentType: out.ContentType, Expires: out.Expires, Metadata: out.Metadata,
		PartsCount: out.PartsCount, WebsiteRedirectLocation: out.WebsiteRedirectLocation, VersionId: out.VersionId, StorageClass: out.StorageClass, TagCount: out.TagCount, ReplicationStatus: out.ReplicationStatus,
		ServerSideEncryption: out.ServerSideEncryption, SSECustomerAlgorithm: out.SSECustomerAlgorithm, SSECustomerKeyMD5: out.SSECustomerKeyMD5,
		ObjectLockMode: out.ObjectLockMode, ObjectLockRetainUntilDate: out.ObjectLockRetainUntilDate, ObjectLockLegalHoldStatus: out.ObjectLockLegalHoldStatus,
	}, nil
}

// open finds the object that a read asks for, and which of its bytes. The caller closes it.
func (s *Service) open(ctx context.Context, in *shape.GetObjectRequest) (object.Object, span, *resource.Bucket, error) {
	b, err := s.named(ctx, in.Bucket, in.ExpectedBucketOwner)
	if err == nil {
		err = checkKey(in.Key)
	}
	if err != nil {
		return nil, span{}, nil, err
	}
	key, err := customerKey([]string{in.SSECustomerAlgorithm, in.SSECustomerKeyMD5}, in.SSECustomerKey)
	if err != nil {
		return nil, span{}, nil, err
	}
	if err := checkPayer(in.RequestPayer); err != nil {
		return nil, span{}, nil, err
	}
	if in.ChecksumMode != "" && in.ChecksumMode != "ENABLED" {
		return nil, span{}, nil, invalidArgument("x-amz-checksum-mode", in.ChecksumMode, "Invalid checksum mode")
	}
	o, err := s.get(ctx, b, in.Key, in.VersionId, actGetObject)
	if err != nil {
		return nil, span{}, nil, versionFault(err, in.Bucket, in.Key, in.VersionId)
	}
	if err := unlock(o, key); err != nil {
		return nil, span{}, nil, errors.Join(err, o.Close())
	}
	err = conditions{in.IfMatch, in.IfNoneMatch, in.IfModifiedSince, in.IfUnmodifiedSince}.read(o.Meta())
	if err != nil {
		return nil, span{}, nil, errors.Join(err, o.Close())
	}
	r, err := choose(o, in.Range, in.PartNumber)
	if err != nil {
		return nil, span{}, nil, errors.Join(err, o.Close())
	}
	return o, r, b, nil
}

// describe answers all that is known of an object.
func describe(b *resource.Bucket, m object.Meta, in *shape.GetObjectRequest, r span) *shape.GetObjectResult {
	h := loaded(m.Headers)
	out := &shape.GetObjectResult{
		AcceptRanges: "bytes", LastModified: m.Modified, ContentLength: r.length, ContentRange: r.contentRange(m.Size), ETag: quote(m.ETag),
		CacheControl: h.cacheControl, ContentDisposition: h.disposition, ContentEncoding: h.encoding, ContentLanguage: h.language,
		ContentType: h.contentType, Expires: h.expires, Metadata: h.user, WebsiteRedirectLocation: m.Headers[redirectKey],
	}
	out.ReplicationStatus = m.Replication
	out.VersionId, out.StorageClass, out.TagCount = shownVersion(b, m), m.Class, len(m.Tags)
	c := shownCipher(m.Encryption, in.SSECustomerKeyMD5)
	out.ServerSideEncryption, out.SSECustomerAlgorithm, out.SSECustomerKeyMD5 = c.sse, c.algorithm, c.keyMD5
	out.ObjectLockMode, out.ObjectLockRetainUntilDate, out.ObjectLockLegalHoldStatus = m.Lock.Mode, m.Lock.Until, holdStatus(b, m.Lock)
	if in.PartNumber != nil {
		out.PartsCount = m.Parts
	}
	override(&out.CacheControl, in.ResponseCacheControl)
	override(&out.ContentDisposition, in.ResponseContentDisposition)
	override(&out.ContentEncoding, in.ResponseContentEncoding)
	override(&out.ContentLanguage, in.ResponseContentLanguage)
	override(&out.ContentType, in.ResponseContentType)
	if !in.ResponseExpires.IsZero() {
		out.Expires = in.ResponseExpires.UTC().Format(http.TimeFormat)
	}
	if in.ChecksumMode == "" {
		return out
	}
	// The checksum must be one of the bytes that are answered: a client checks them with it.
	algorithm, value := m.ChecksumAlgorithm, m.Checksum
	switch {
	case r.part != nil:
		algorithm, value = r.part.ChecksumAlgorithm, r.part.Checksum
	case r.partial && r.length != m.Size:
		return out
	}
	g := answer(algorithm, value)
	out.ChecksumCRC32, out.ChecksumCRC32C, out.ChecksumCRC64NVME, out.ChecksumSHA1, out.ChecksumSHA256 = g.crc32, g.crc32c, g.crc64nvme, g.sha1, g.sha256
	if value != "" {
		out.ChecksumType = m.ChecksumType
	}
	return out
}

func override(v *string, with string) {
	if with != "" {
		*v = with
	}
}

// stream closes the object with its body.
type stream struct {
	io.ReadCloser
	object io.Closer
}

func (s *stream) Close() error { return errors.Join(s.ReadCloser.Close(), s.object.Close()) }

// WriteTo lets the engine hand its buffers straight to the connection.
func (s *stream) WriteTo(w io.Writer) (int64, error) {
	n, err := io.Copy(w, s.ReadCloser)
	if err != nil {
		return n, fmt.Errorf("send object: %w", err)
	}
	return n, nil
}
