package s3

import (
	"bytes"
	"context"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"

	"karri.dev/internal/aws/awserr"
	"karri.dev/internal/checksum"
	"karri.dev/internal/object"
	"karri.dev/internal/resource"
	"karri.dev/internal/s3client"
)

// away is a bucket at a target.
type away struct {
	*targetClient
	bucket string
	part   int64 // size above which a body goes in parts, in bytes; and theirs
}

// awayPart is the size of parts, as long as 10,000 of them are enough.
const awayPart = 64 << 20

// replicateAway copies a version to a target. The mark says what it is: the target must let us replicate, and copies it to
// nowhere else.
func (s *Service) replicateAway(ctx context.Context, b *resource.Bucket, o object.Object, n copyNote, bucket, target string, may func(acts ...action) error) error {
	c, err := s.target(s.store.Snapshot(), b.AccountID, target)
	if err != nil {
		return err
	}
	if c == nil {
		return errCannot
	}
	to := away{c, bucket, s.cfg.ReplicaPart}
	if n.Marker {
		if err := may("ReplicateDelete"); err != nil {
			return err
		}
		return to.mark(ctx, n.Key)
	}
	m := o.Meta()
	if m.Encryption == object.ByCustomer {
		return errCannot
	}
	acts := []action{"ReplicateObject"}
	if len(m.Tags) > 0 {
		acts = append(acts, "ReplicateTags")
	}
	if err := may(acts...); err != nil {
		return err
	}
	if m.Size > to.partSize(m.Size) {
		return to.putParts(ctx, o)
	}
	body, err := o.Range(0, m.Size)
	if err != nil {
		return fmt.Errorf("read the version: %w", err)
	}
	defer body.Close()
	h := replicaHeaders(m)
	if m.Checksum != "" && m.ChecksumType == checksum.FullObject {
		h.Set("X-Amz-Checksum-"+m.ChecksumAlgorithm, m.Checksum)
	}
	return to.put(ctx, m.Key, nil, h, body, m.Size, nil)
}

func (a away) partSize(size int64) int64 {
	part := a.part
	if part == 0 {
		part = awayPart
	}
	return max(part, (size+maxParts-1)/maxParts)
}

// ask is call about the bucket.
func (a away) ask(ctx context.Context, q s3client.Request, out any) (http.Header, error) {
	q.Bucket = a.bucket
	return a.call(ctx, q, out)
}

func (a away) put(ctx context.Context, key string, query url.Values, h http.Header, body io.Reader, size int64, etag *string) error {
	got, err := a.ask(ctx, s3client.Request{Method: http.MethodPut, Key: key, Query: query, Header: h, Body: body, Size: size}, nil)
	if err == nil && etag != nil {
		*etag = got.Get("ETag")
	}
	return err
}

// mark puts a delete marker there, unless there is nothing, or one already.
func (a away) mark(ctx context.Context, key string) error {
	_, err := a.ask(ctx, s3client.Request{Method: http.MethodHead, Key: key}, nil)
	var failed *s3client.Error
	switch {
	case errors.As(err, &failed) && failed.Status == http.StatusNotFound:
		return nil
	case err != nil:
		return err
	}
	_, err = a.ask(ctx, s3client.Request{Method: http.MethodDelete, Key: key, Header: http.Header{"X-Amz-Replication-Status": {"REPLICA"}}}, nil)
	return err
}

// replicaHeaders describe a version to a target.
func replicaHeaders(m object.Meta) http.Header {
	h := http.Header{"X-Amz-Replication-Status": {"REPLICA"}}
	for name, v := range m.Headers {
		if name != replicaMark {
			h.Set(name, v)
		}
	}
	if len(m.Tags) > 0 {
		tags := url.Values{}
		for k, v := range m.Tags {
			tags.Set(k, v)
		}
		h.Set("X-Amz-Tagging", tags.Encode())
	}
	return h
}

// putParts writes a large version in parts, which the target checks as a whole where it can.
func (a away) putParts(ctx context.Context, o object.Object) (err error) {
	m := o.Meta()
	whole := m.ChecksumType == checksum.FullObject && checksum.Algorithm(m.ChecksumAlgorithm).CRC() // others cannot be checked over parts
	h := replicaHeaders(m)
	if whole {
		h.Set("X-Amz-Checksum-Algorithm", m.ChecksumAlgorithm)
		h.Set("X-Amz-Checksum-Type", checksum.FullObject)
	}
	var upload struct {
		ID string `xml:"UploadId"`
	}
	if _, err := a.ask(ctx, s3client.Request{Method: http.MethodPost, Key: m.Key, Query: url.Values{"uploads": {""}}, Header: h}, &upload); err != nil {
		return err
	}
	named := url.Values{"uploadId": {upload.ID}}
	defer func() {
		if err == nil {
			return
		}
		abort, cancel := context.WithTimeout(context.WithoutCancel(ctx), hookTime)
		defer cancel()
		_, _ = a.ask(abort, s3client.Request{Method: http.MethodDelete, Key: m.Key, Query: named}, nil) // best effort: the target's lifecycle does the rest
	}()
	type part struct {
		PartNumber int
		ETag       string
	}
	done := struct {
		XMLName xml.Name `xml:"CompleteMultipartUpload"`
		Part    []part
	}{}
	size := a.partSize(m.Size)
	for offset := int64(0); offset < m.Size; offset += size {
		p := part{PartNumber: len(done.Part) + 1}
		n := min(size, m.Size-offset)
		body, err := o.Range(offset, n)
		if err != nil {
			return fmt.Errorf("read the version: %w", err)
		}
		query := url.Values{"uploadId": {upload.ID}, "partNumber": {strconv.Itoa(p.PartNumber)}}
		err = errors.Join(a.put(ctx, m.Key, query, nil, body, n, &p.ETag), body.Close())
		if err != nil {
			return err
		}
		done.Part = append(done.Part, p)
	}
	text, err := xml.Marshal(done)
	if err != nil {
		return fmt.Errorf("complete an upload: %w", err)
	}
	h = http.Header{}
	if whole {
		h.Set("X-Amz-Checksum-"+m.ChecksumAlgorithm, m.Checksum)
		h.Set("X-Amz-Checksum-Type", checksum.FullObject)
	}
	_, err = a.ask(ctx, s3client.Request{Method: http.MethodPost, Key: m.Key, Query: named, Header: h, Body: bytes.NewReader(text), Size: int64(len(text))}, nil)
	return err
}

// lost says that a replication has failed for good.
func lost(err error) bool {
	var failed *s3client.Error
	if errors.As(err, &failed) {
		return forGood(failed)
	}
	var refused *awserr.Error
	return errors.Is(err, errCannot) || errors.As(err, &refused) && refused.Status/100 == 4
}

// checkAway judges a rule's destination at a target.
func (s *Service) checkAway(ctx context.Context, b *resource.Bucket, bucket, target string) error {
	c, err := s.target(s.store.Snapshot(), b.AccountID, target)
	if err != nil {
		return err
	}
	if c == nil || !validBucketName(bucket) {
		return invalidRequest("Destination bucket must exist.")
	}
	versions, err := c.versioned(ctx, bucket)
	switch {
	case err != nil:
		s.log.Warn("s3: a replication target does not answer", "target", target, "bucket", bucket, "err", err)
		return invalidRequest("Destination bucket must exist.")
	case !versions:
		return invalidRequest("Destination bucket must have versioning enabled.")
	}
	return nil
}

// destination gives the bucket's name of an ARN.
func destination(arn string) string { return strings.TrimPrefix(arn, "arn:aws:s3:::") }
