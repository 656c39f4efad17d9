package s3

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"

	"karri.dev/internal/checksum"
	"karri.dev/internal/object"
	"karri.dev/internal/resource"

	shape "karri.dev/internal/aws/shape/s3"
)

// source opens the object that is to be copied. The caller closes it.
func (s *Service) source(ctx context.Context, text, owner string, customer []byte, c conditions) (o object.Object, b *resource.Bucket, err error) {
	bucket, key, version, err := copySource(text)
	if err != nil {
		return nil, nil, err
	}
	if b, err = s.named(ctx, bucket, owner); err != nil {
		return nil, nil, err
	}
	if o, err = s.get(ctx, b, key, version, actGetObject); err != nil {
		var marker *object.MarkerError
		if version != "" && errors.As(err, &marker) {
			return nil, nil, invalidRequest("The source of a copy request may not specifically refer to a delete marker by version id.")
		}
		return nil, nil, versionFault(err, bucket, key, version)
	}
	if err := unlock(o, customer); err != nil {
		return nil, nil, errors.Join(err, o.Close())
	}
	if err := c.copying(o.Meta()); err != nil {
		return nil, nil, errors.Join(err, o.Close())
	}
	return o, b, nil
}

// CopyObject copies an object, its metadata too unless they are to be replaced.
func (s *Service) CopyObject(ctx context.Context, in *shape.CopyObjectRequest) (out *shape.CopyObjectOutput, err error) {
	b, err := s.object(ctx, in.Bucket, in.Key, in.ExpectedBucketOwner, actPutObject)
	if err != nil {
		return nil, err
	}
	if err := checkCopy(in); err != nil {
		return nil, err
	}
	sourceKey, err := customerKey([]string{in.CopySourceSSECustomerAlgorithm, in.CopySourceSSECustomerKeyMD5}, in.CopySourceSSECustomerKey)
	if err != nil {
		return nil, err
	}
	o, from, err := s.source(ctx, in.CopySource, in.ExpectedSourceBucketOwner, sourceKey, conditions{
		in.CopySourceIfMatch, in.CopySourceIfNoneMatch, in.CopySourceIfModifiedSince, in.CopySourceIfUnmodifiedSince,
	})
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, o.Close()) }()
	m := o.Meta()
	if m.Size > maxPut {
		return nil, invalidRequest("The specified copy source is larger than the maximum allowable size for a copy source: %d", int64(maxPut))
	}
	p := object.Put{Key: in.Key, Versioning: versioning(b), Headers: m.Headers}
	w := copyWriting(in)
	if in.TaggingDirective != "REPLACE" {
		w.tagging = ""
	}
	if p.Customer, err = w.key(); err != nil {
		return nil, err
	}
	if p.Owner, p.Attributes, err = s.begins(ctx, b, in.Key, w); err != nil {
		return nil, err
	}
	if in.TaggingDirective != "REPLACE" {
		p.Attributes.Tags = m.Tags
		if p.Attributes.Replication, p.Attributes.Awaits, err = s.replicates(ctx, b, in.Key, m.Tags); err != nil {
			return nil, err
		}
	}
	if in.MetadataDirective == "REPLACE" {
		h := headers{in.CacheControl, in.ContentDisposition, in.ContentEncoding, in.ContentLanguage, in.ContentType, in.Expires, in.Metadata}
		if err := h.check(); err != nil {
			return nil, err
		}
		p.Headers = h.stored()
	} else if from.Engine == b.Engine && m.Key == in.Key && !strings.Contains(in.CopySource, "?versionId=") && in.StorageClass == "" && in.WebsiteRedirectLocation == "" && in.ServerSideEncryption == "" && in.SSECustomerAlgorithm == "" && in.ChecksumAlgorithm == "" {
		return nil, invalidRequest("This copy request is illegal because it is trying to copy an object to itself without changing the object's metadata, storage class, website redirect location or encryption attributes.")
	}
	p.Headers = redirecting(p.Headers, in.WebsiteRedirectLocation)
	if p.IfNoneMatch, p.IfMatch, err = writeConditions(in.IfNoneMatch, in.IfMatch); err != nil {
		return nil, err
	}
	algorithm, err := copyAlgorithm(in.ChecksumAlgorithm, m.ChecksumAlgorithm)
	if err != nil {
		return nil, err
	}
	if p.Notes, err = s.writes(ctx, b, in.Key, "ObjectCreated:Copy"); err != nil {
		return nil, err
	}
	if p.Room, err = s.room(ctx, b, in.Key); err != nil {
		return nil, err
	}
	var made object.Meta
	err = reading(o, span{length: m.Size}, algorithm, &p, func() error {
		made, err = s.engine.Put(ctx, b.Engine, p)
		return err
	})
	if err != nil {
		return nil, s.writeFault(err, in.Bucket, in.Key, p)
	}
	if p.Notes != nil {
		s.noted()
	}
	c := shownCipher(made.Encryption, in.SSECustomerKeyMD5)
	g := answer(made.ChecksumAlgorithm, made.Checksum)
	return &shape.CopyObjectOutput{ServerSideEncryption: c.sse, SSECustomerAlgorithm: c.algorithm, SSECustomerKeyMD5: c.keyMD5, VersionId: shownVersion(b, made), CopySourceVersionId: shownVersion(from, m), CopyObjectResult: &shape.CopyObjectResult{
		ETag: quote(made.ETag), LastModified: made.Modified, ChecksumType: made.ChecksumType,
		ChecksumCRC32: g.crc32, ChecksumCRC32C: g.crc32c, ChecksumCRC64NVME: g.crc64nvme, ChecksumSHA1: g.sha1, ChecksumSHA256: g.sha256,
	}}, nil
}

// copyAlgorithm is the checksum of a copy: the one asked for, else the source's, else the default.
func copyAlgorithm(asked, source string) (checksum.Algorithm, error) {
	if asked != "" {
		a, ok := checksum.Parse(asked)
		if !ok {
			return "", invalidRequest("Checksum algorithm provided is unsupported. Please try again with any of the valid types: [CRC32, CRC32C, CRC64NVME, SHA1, SHA256]")
		}
		return a, nil
	}
	if a, ok := checksum.Parse(source); ok {
		return a, nil
	}
	return checksum.Default, nil
}

// reading gives p a part of an object as its body while it runs write.
func reading(o object.Object, r span, algorithm checksum.Algorithm, p *object.Put, write func() error) (err error) {
	body, err := o.Range(r.offset, r.length)
	if err != nil {
		return fmt.Errorf("read copy source: %w", err)
	}
	defer func(c io.Closer) { err = errors.Join(err, c.Close()) }(body)
	sum, err := newSums(body, given{}, "", algorithm)
	if err != nil {
		return err
	}
	p.Body, p.Size, p.Checksum = sum, r.length, sum.result
	return write()
}

func copyWriting(in *shape.CopyObjectRequest) writing {
	return writing{
		acl: in.ACL, grants: grantHeaders{full: in.GrantFullControl, read: in.GrantRead, readACP: in.GrantReadACP, writeACP: in.GrantWriteACP},
		sse: in.ServerSideEncryption, kms: []string{in.SSEKMSKeyId, in.SSEKMSEncryptionContext}, bucketKey: in.BucketKeyEnabled,
		customer: []string{in.SSECustomerAlgorithm, in.SSECustomerKeyMD5}, customerKey: in.SSECustomerKey,
		class: in.StorageClass, redirect: in.WebsiteRedirectLocation, tagging: in.Tagging,
		lockMode: in.ObjectLockMode, lockUntil: in.ObjectLockRetainUntilDate, legalHold: in.ObjectLockLegalHoldStatus, requestPayer: in.RequestPayer,
	}
}

func checkCopy(in *shape.CopyObjectRequest) error {
	if err := copyWriting(in).check(); err != nil {
		return err
	}
	switch in.MetadataDirective {
	case "", "COPY", "REPLACE":
	default:
		return invalidArgument("x-amz-metadata-directive", in.MetadataDirective, "Unknown metadata directive.")
	}
	switch in.TaggingDirective {
	case "", "COPY", "REPLACE":
	default:
		return invalidArgument("x-amz-tagging-directive", in.TaggingDirective, "Unknown tagging directive.")
	}
	return nil
}
