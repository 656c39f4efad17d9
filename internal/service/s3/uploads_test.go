package s3_test

import (
	"bytes"
	"context"
	"io"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/feature/s3/transfermanager"
	awss3 "github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"
	"github.com/google/go-cmp/cmp"

	"karri.dev/internal/object/objecttest"
)

func TestTransferManager(t *testing.T) {
	c := newCloud(t)
	c.bucket(t, "bkt")
	body := objecttest.Bytes(5, 20<<20+123)
	m := transfermanager.New(c.mine)
	if _, err := m.UploadObject(t.Context(), &transfermanager.UploadObjectInput{Bucket: aws.String("bkt"), Key: aws.String("big"), Body: bytes.NewReader(body)}); err != nil {
		t.Fatal(err)
	}
	out := &buffer{b: make([]byte, len(body))}
	if _, err := m.DownloadObject(t.Context(), &transfermanager.DownloadObjectInput{Bucket: aws.String("bkt"), Key: aws.String("big"), WriterAt: out}); err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(out.b, body) {
		t.Fatal("what came back is wrong")
	}
	if !bytes.Equal(c.get(t, "bkt", "big"), body) {
		t.Fatal("the whole is wrong")
	}
}

type buffer struct{ b []byte }

func (w *buffer) WriteAt(p []byte, off int64) (int, error) { return copy(w.b[off:], p), nil }

// TestMultipart goes through an upload with every kind of checksum.
func TestMultipart(t *testing.T) {
	c := newCloud(t)
	ctx := t.Context()
	c.bucket(t, "bkt")
	b, k := aws.String("bkt"), aws.String("o")
	parts := [][]byte{objecttest.Bytes(1, 5<<20), objecttest.Bytes(2, 5<<20+1), objecttest.Bytes(3, 17)}
	for _, x := range []struct {
		algorithm types.ChecksumAlgorithm
		kind      types.ChecksumType
		suffix    bool
	}{
		{},
		{algorithm: types.ChecksumAlgorithmCrc32, suffix: true},
		{types.ChecksumAlgorithmCrc32c, types.ChecksumTypeFullObject, false},
		{algorithm: types.ChecksumAlgorithmCrc64nvme},
		{algorithm: types.ChecksumAlgorithmSha256, suffix: true},
	} {
		up, err := c.mine.CreateMultipartUpload(ctx, &awss3.CreateMultipartUploadInput{
			Bucket: b, Key: k, ChecksumAlgorithm: x.algorithm, ChecksumType: x.kind, ContentType: aws.String("x/y"), Metadata: map[string]string{"k": "v"},
		})
		if err != nil {
			t.Fatal(err)
		}
		var done []types.CompletedPart
		for i, body := range parts {
			p, err := c.mine.UploadPart(ctx, &awss3.UploadPartInput{
				Bucket: b, Key: k, UploadId: up.UploadId, PartNumber: aws.Int32(int32(i + 1)), Body: bytes.NewReader(body), ChecksumAlgorithm: x.algorithm,
			})
			if err != nil {
				t.Fatalf("%s: part %d: %v", x.algorithm, i+1, err)
			}
			done = append(done, types.CompletedPart{
				PartNumber: aws.Int32(int32(i + 1)), ETag: p.ETag, ChecksumCRC32: p.ChecksumCRC32, ChecksumCRC32C: p.ChecksumCRC32C,
				ChecksumCRC64NVME: p.ChecksumCRC64NVME, ChecksumSHA256: p.ChecksumSHA256,
			})
		}
		l, err := c.mine.ListParts(ctx, &awss3.ListPartsInput{Bucket: b, Key: k, UploadId: up.UploadId, MaxParts: aws.Int32(2)})
		if err != nil || len(l.Parts) != 2 || !*l.IsTruncated || *l.NextPartNumberMarker != "2" {
			t.Fatalf("parts: %+v, %v", l, err)
		}
		out, err := c.mine.CompleteMultipartUpload(ctx, &awss3.CompleteMultipartUploadInput{Bucket: b, Key: k, UploadId: up.UploadId, MultipartUpload: &types.CompletedMultipartUpload{Parts: done}})
		if err != nil {
			t.Fatalf("%s: %v", x.algorithm, err)
		}
		if !strings.HasSuffix(*out.ETag, `-3"`) || aws.ToString(out.Location) != "http://cloud.test/bkt/o" {
			t.Fatalf("complete: %+v", out)
		}
		sum := aws.ToString(out.ChecksumCRC32) + aws.ToString(out.ChecksumCRC32C) + aws.ToString(out.ChecksumCRC64NVME) + aws.ToString(out.ChecksumSHA256)
		if sum == "" || strings.HasSuffix(sum, "-3") != x.suffix {
			t.Fatalf("%s: checksum %q", x.algorithm, sum)
		}
		got, err := c.mine.GetObject(ctx, &awss3.GetObjectInput{Bucket: b, Key: k, ChecksumMode: types.ChecksumModeEnabled})
		if err != nil || !bytes.Equal(read(t, got.Body), bytes.Join(parts, nil)) || *got.ContentType != "x/y" {
			t.Fatalf("%s: get: %v", x.algorithm, err)
		}
		two, err := c.mine.GetObject(ctx, &awss3.GetObjectInput{Bucket: b, Key: k, PartNumber: aws.Int32(2), ChecksumMode: types.ChecksumModeEnabled})
		if err != nil || *two.PartsCount != 3 || !bytes.Equal(read(t, two.Body), parts[1]) {
			t.Fatalf("%s: part 2: %v", x.algorithm, err)
		}
	}
}

func TestUploadErrors(t *testing.T) {
	c := newCloud(t)
	ctx := t.Context()
	c.bucket(t, "bkt")
	b, k := aws.String("bkt"), aws.String("o")
	up, err := c.mine.CreateMultipartUpload(ctx, &awss3.CreateMultipartUploadInput{Bucket: b, Key: k, ChecksumAlgorithm: types.ChecksumAlgorithmSha256})
	if err != nil {
		t.Fatal(err)
	}
	part := func(id string, n int32, a types.ChecksumAlgorithm) (*awss3.UploadPartOutput, error) {
		return c.mine.UploadPart(ctx, &awss3.UploadPartInput{Bucket: b, Key: k, UploadId: &id, PartNumber: &n, Body: strings.NewReader("x"), ChecksumAlgorithm: a})
	}
	_, err = part("nope", 1, "")
	wantCode(t, "no upload", err, "NoSuchUpload", 404)
	_, err = part(*up.UploadId, 10001, types.ChecksumAlgorithmSha256)
	wantCode(t, "part number", err, "InvalidArgument", 400)
	_, err = part(*up.UploadId, 1, types.ChecksumAlgorithmCrc32)
	wantCode(t, "another algorithm", err, "InvalidRequest", 400)
	p1, err := part(*up.UploadId, 1, types.ChecksumAlgorithmSha256)
	if err != nil {
		t.Fatal(err)
	}
	p2, err := part(*up.UploadId, 2, types.ChecksumAlgorithmSha256)
	if err != nil {
		t.Fatal(err)
	}
	one := types.CompletedPart{PartNumber: aws.Int32(1), ETag: p1.ETag, ChecksumSHA256: p1.ChecksumSHA256}
	two := types.CompletedPart{PartNumber: aws.Int32(2), ETag: p2.ETag, ChecksumSHA256: p2.ChecksumSHA256}
	complete := func(in awss3.CompleteMultipartUploadInput, parts ...types.CompletedPart) error {
		in.Bucket, in.Key, in.UploadId, in.MultipartUpload = b, k, up.UploadId, &types.CompletedMultipartUpload{Parts: parts}
		_, err := c.mine.CompleteMultipartUpload(ctx, &in)
		return err
	}
	none := awss3.CompleteMultipartUploadInput{}
	wantCode(t, "no parts", complete(none), "MalformedXML", 400)
	wantCode(t, "small", complete(none, one, two), "EntityTooSmall", 400)
	wantCode(t, "order", complete(none, two, one), "InvalidPartOrder", 400)
	wantCode(t, "ETag", complete(none, types.CompletedPart{PartNumber: aws.Int32(1), ETag: aws.String(`"abc"`), ChecksumSHA256: p1.ChecksumSHA256}), "InvalidPart", 400)
	wantCode(t, "no checksum", complete(none, types.CompletedPart{PartNumber: aws.Int32(1), ETag: p1.ETag}), "InvalidRequest", 400)
	wantCode(t, "size", complete(awss3.CompleteMultipartUploadInput{MpuObjectSize: aws.Int64(2)}, one), "InvalidRequest", 400)
	wantCode(t, "type", complete(awss3.CompleteMultipartUploadInput{ChecksumType: types.ChecksumTypeFullObject}, one), "InvalidRequest", 400)
	wantCode(t, "whole", complete(awss3.CompleteMultipartUploadInput{ChecksumSHA256: aws.String("AAAA")}, one), "BadDigest", 400)
	if err := complete(none, one); err != nil {
		t.Fatal(err)
	}
	if err := complete(none, one); err != nil {
		t.Fatalf("again: %v", err)
	}
	_, err = c.mine.AbortMultipartUpload(ctx, &awss3.AbortMultipartUploadInput{Bucket: b, Key: k, UploadId: up.UploadId})
	wantCode(t, "abort", err, "NoSuchUpload", 404)
	_, err = c.mine.CreateMultipartUpload(ctx, &awss3.CreateMultipartUploadInput{Bucket: b, Key: k, ChecksumAlgorithm: types.ChecksumAlgorithmSha1, ChecksumType: types.ChecksumTypeFullObject})
	wantCode(t, "full SHA1", err, "InvalidRequest", 400)
}

func TestUploadPartCopy(t *testing.T) {
	c := newCloud(t)
	ctx := t.Context()
	c.bucket(t, "bkt")
	body := objecttest.Bytes(9, 6<<20)
	c.put(t, "bkt", "src", body)
	b, k := aws.String("bkt"), aws.String("o")
	up, err := c.mine.CreateMultipartUpload(ctx, &awss3.CreateMultipartUploadInput{Bucket: b, Key: k})
	if err != nil {
		t.Fatal(err)
	}
	var done []types.CompletedPart
	for i, r := range []string{"bytes=0-5242879", "bytes=5242880-6291455"} {
		p, err := c.mine.UploadPartCopy(ctx, &awss3.UploadPartCopyInput{
			Bucket: b, Key: k, UploadId: up.UploadId, PartNumber: aws.Int32(int32(i + 1)), CopySource: aws.String("bkt/src"), CopySourceRange: &r,
		})
		if err != nil {
			t.Fatal(err)
		}
		done = append(done, types.CompletedPart{PartNumber: aws.Int32(int32(i + 1)), ETag: p.CopyPartResult.ETag})
	}
	for _, r := range []string{"bytes=0-6291456", "bytes=5-", "0-1", "bytes=3-2"} {
		_, err := c.mine.UploadPartCopy(ctx, &awss3.UploadPartCopyInput{Bucket: b, Key: k, UploadId: up.UploadId, PartNumber: aws.Int32(3), CopySource: aws.String("bkt/src"), CopySourceRange: &r})
		wantCode(t, r, err, "InvalidArgument", 400)
	}
	if _, err := c.mine.CompleteMultipartUpload(ctx, &awss3.CompleteMultipartUploadInput{Bucket: b, Key: k, UploadId: up.UploadId, MultipartUpload: &types.CompletedMultipartUpload{Parts: done}}); err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(c.get(t, "bkt", "o"), body) {
		t.Fatal("the copy is wrong")
	}
}

func TestListMultipartUploads(t *testing.T) {
	c := newCloud(t)
	ctx := context.Background()
	c.bucket(t, "bkt")
	for _, k := range []string{"a", "d/1", "d/2", "d/2", "e", "e"} {
		if _, err := c.mine.CreateMultipartUpload(ctx, &awss3.CreateMultipartUploadInput{Bucket: aws.String("bkt"), Key: &k}); err != nil {
			t.Fatal(err)
		}
	}
	for limit := int32(1); limit < 6; limit++ {
		var got []string
		p := awss3.NewListMultipartUploadsPaginator(c.mine, &awss3.ListMultipartUploadsInput{Bucket: aws.String("bkt"), Delimiter: aws.String("/"), MaxUploads: &limit})
		for p.HasMorePages() {
			page, err := p.NextPage(ctx)
			if err != nil {
				t.Fatal(err)
			}
			for _, u := range page.Uploads {
				got = append(got, *u.Key)
			}
			for _, x := range page.CommonPrefixes {
				got = append(got, *x.Prefix)
			}
		}
		if limit == 1 {
			if d := cmp.Diff([]string{"a", "d/", "e", "e"}, got); d != "" {
				t.Fatal(d)
			}
		}
		if len(got) != 4 {
			t.Fatalf("pages of %d: %v", limit, got)
		}
	}
}

var _ io.WriterAt = (*buffer)(nil)
