package s3_test

import (
	"bytes"
	"context"
	"crypto/md5"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	awss3 "github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"
	"github.com/google/go-cmp/cmp"

	"karri.dev/internal/object/objecttest"
)

func TestObjects(t *testing.T) {
	c := newCloud(t)
	ctx := t.Context()
	c.bucket(t, "bkt")
	for _, n := range []int{0, 10, 64 << 10, 300 << 10} {
		body := objecttest.Bytes(1, n)
		put, err := c.mine.PutObject(ctx, &awss3.PutObjectInput{
			Bucket: aws.String("bkt"), Key: aws.String("o"), Body: bytes.NewReader(body), ContentType: aws.String("text/x-test"),
			CacheControl: aws.String("no-store"), ContentLanguage: aws.String("de"), Metadata: map[string]string{"Color": "red"},
		})
		if err != nil {
			t.Fatal(err)
		}
		etag := `"` + objecttest.ETag(body) + `"`
		if aws.ToString(put.ETag) != etag || put.ServerSideEncryption != "AES256" {
			t.Fatalf("put: %+v", put)
		}
		got, err := c.mine.GetObject(ctx, &awss3.GetObjectInput{Bucket: aws.String("bkt"), Key: aws.String("o"), ChecksumMode: types.ChecksumModeEnabled})
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(read(t, got.Body), body) {
			t.Fatal("the body is wrong")
		}
		if *got.ETag != etag || *got.ContentType != "text/x-test" || *got.CacheControl != "no-store" || *got.ContentLanguage != "de" ||
			aws.ToString(got.AcceptRanges) != "bytes" || got.ChecksumType != types.ChecksumTypeFullObject || got.ChecksumCRC32 == nil && got.ChecksumCRC64NVME == nil {
			t.Fatalf("get: %+v", got)
		}
		if d := cmp.Diff(map[string]string{"color": "red"}, lowerKeys(got.Metadata)); d != "" {
			t.Fatal(d)
		}
		head, err := c.mine.HeadObject(ctx, &awss3.HeadObjectInput{Bucket: aws.String("bkt"), Key: aws.String("o")})
		if err != nil || aws.ToInt64(head.ContentLength) != int64(n) || *head.ETag != etag || head.LastModified.IsZero() || head.ChecksumCRC32 != nil {
			t.Fatalf("head: %+v, %v", head, err)
		}
	}
	_, err := c.mine.GetObject(ctx, &awss3.GetObjectInput{Bucket: aws.String("bkt"), Key: aws.String("none")})
	wantCode(t, "get", err, "NoSuchKey", 404)
	_, err = c.mine.HeadObject(ctx, &awss3.HeadObjectInput{Bucket: aws.String("bkt"), Key: aws.String("none")})
	wantCode(t, "head", err, "NotFound", 404)
	if _, err := c.mine.DeleteObject(ctx, &awss3.DeleteObjectInput{Bucket: aws.String("bkt"), Key: aws.String("none")}); err != nil {
		t.Fatal(err)
	}
}

func lowerKeys(m map[string]string) map[string]string {
	out := map[string]string{}
	for k, v := range m {
		out[strings.ToLower(k)] = v
	}
	return out
}

func TestKeys(t *testing.T) {
	c := newCloud(t)
	c.bucket(t, "bkt")
	keys := []string{"a", "a/b", "a//b", "a/../b", "/a", "./a", "a/", " ", "a b+c", "%2F", "é", "日本", strings.Repeat("k", 1024), "?x=1&y", "#", "a\tb"}
	for _, k := range keys {
		c.put(t, "bkt", k, []byte(k))
	}
	for _, k := range keys {
		if got := c.get(t, "bkt", k); string(got) != k {
			t.Errorf("%q: got %q", k, got)
		}
	}
	l, err := c.mine.ListObjectsV2(t.Context(), &awss3.ListObjectsV2Input{Bucket: aws.String("bkt"), EncodingType: types.EncodingTypeUrl})
	if err != nil || len(l.Contents) != len(keys) {
		t.Fatalf("list: %d of %d, %v", len(l.Contents), len(keys), err)
	}
	_, err = c.mine.PutObject(t.Context(), &awss3.PutObjectInput{Bucket: aws.String("bkt"), Key: aws.String(strings.Repeat("k", 1025)), Body: strings.NewReader("x")})
	wantCode(t, "long key", err, "KeyTooLongError", 400)
}

func TestRanges(t *testing.T) {
	c := newCloud(t)
	c.bucket(t, "bkt")
	body := objecttest.Bytes(1, 200000)
	c.put(t, "bkt", "o", body)
	c.put(t, "bkt", "empty", nil)
	get := func(key, r string) (*awss3.GetObjectOutput, error) {
		return c.mine.GetObject(t.Context(), &awss3.GetObjectInput{Bucket: aws.String("bkt"), Key: &key, Range: &r})
	}
	for r, want := range map[string][2]int{
		"bytes=0-0": {0, 1}, "bytes=5-9": {5, 10}, "bytes=199999-": {199999, 200000}, "bytes=100-999999999999999999999": {100, 200000},
		"bytes=-7": {199993, 200000}, "bytes=-300000": {0, 200000},
	} {
		out, err := get("o", r)
		if err != nil {
			t.Fatalf("%s: %v", r, err)
		}
		if got := read(t, out.Body); !bytes.Equal(got, body[want[0]:want[1]]) {
			t.Fatalf("%s: %d bytes", r, len(got))
		}
		if cr := fmt.Sprintf("bytes %d-%d/200000", want[0], want[1]-1); aws.ToString(out.ContentRange) != cr {
			t.Fatalf("%s: Content-Range %s", r, aws.ToString(out.ContentRange))
		}
	}
	for _, r := range []string{"bytes=5-3", "bytes=a-b", "octets=0-1", "bytes=0-1,3-4", "bytes=-", "bytes"} {
		out, err := get("o", r)
		if err != nil || out.ContentRange != nil || len(read(t, out.Body)) != len(body) {
			t.Fatalf("%s should be ignored: %v", r, err)
		}
	}
	for _, x := range [][2]string{{"o", "bytes=200000-"}, {"o", "bytes=-0"}, {"empty", "bytes=0-0"}} {
		_, err := get(x[0], x[1])
		wantCode(t, x[1], err, "InvalidRange", 416)
	}
}

func TestConditions(t *testing.T) {
	c := newCloud(t)
	ctx := t.Context()
	c.bucket(t, "bkt")
	etag := c.put(t, "bkt", "o", []byte("x")).ETag
	past, future := aws.Time(time.Now().Add(-time.Hour)), aws.Time(time.Now().Add(time.Hour))
	for name, x := range map[string]struct {
		in     awss3.GetObjectInput
		code   string
		status int
	}{
		"match":               {in: awss3.GetObjectInput{IfMatch: etag}},
		"star":                {in: awss3.GetObjectInput{IfMatch: aws.String("*")}},
		"no match":            {awss3.GetObjectInput{IfMatch: aws.String(`"x"`)}, "PreconditionFailed", 412},
		"none match":          {awss3.GetObjectInput{IfNoneMatch: etag}, "NotModified", 304},
		"none other":          {in: awss3.GetObjectInput{IfNoneMatch: aws.String(`"x"`)}},
		"modified":            {in: awss3.GetObjectInput{IfModifiedSince: past}},
		"not modified":        {awss3.GetObjectInput{IfModifiedSince: future}, "NotModified", 304},
		"unmodified":          {in: awss3.GetObjectInput{IfUnmodifiedSince: future}},
		"not unmodified":      {awss3.GetObjectInput{IfUnmodifiedSince: past}, "PreconditionFailed", 412},
		"match wins":          {in: awss3.GetObjectInput{IfMatch: etag, IfUnmodifiedSince: past}},
		"none match wins":     {awss3.GetObjectInput{IfNoneMatch: etag, IfModifiedSince: past}, "NotModified", 304},
		"part of a plain one": {in: awss3.GetObjectInput{PartNumber: aws.Int32(1)}},
		"no such part":        {awss3.GetObjectInput{PartNumber: aws.Int32(2)}, "InvalidPartNumber", 416},
		"part and range":      {awss3.GetObjectInput{PartNumber: aws.Int32(1), Range: aws.String("bytes=0-0")}, "InvalidRequest", 400},
		"version":             {awss3.GetObjectInput{VersionId: aws.String("abc")}, "InvalidArgument", 400},
		"null version":        {in: awss3.GetObjectInput{VersionId: aws.String("null")}},
	} {
		x.in.Bucket, x.in.Key = aws.String("bkt"), aws.String("o")
		out, err := c.mine.GetObject(ctx, &x.in)
		switch {
		case x.code == "" && err != nil:
			t.Errorf("%s: %v", name, err)
		case x.code == "" && string(read(t, out.Body)) != "x":
			t.Errorf("%s: the body is wrong", name)
		case x.code == "NotModified":
			if err == nil || !strings.Contains(err.Error(), "StatusCode: 304") {
				t.Errorf("%s: %v", name, err)
			}
		case x.code != "":
			wantCode(t, name, err, x.code, x.status)
		}
	}
	out, err := c.mine.GetObject(ctx, &awss3.GetObjectInput{
		Bucket: aws.String("bkt"), Key: aws.String("o"), ResponseContentType: aws.String("a/b"), ResponseContentDisposition: aws.String("attachment"),
		ResponseCacheControl: aws.String("c"), ResponseContentEncoding: aws.String("e"), ResponseContentLanguage: aws.String("l"), ResponseExpires: future,
	})
	if err != nil || *out.ContentType != "a/b" || *out.ContentDisposition != "attachment" || *out.CacheControl != "c" || *out.ContentEncoding != "e" || *out.ContentLanguage != "l" {
		t.Fatalf("overrides: %+v, %v", out, err)
	}
	put := func(in awss3.PutObjectInput) error {
		in.Bucket, in.Key, in.Body = aws.String("bkt"), aws.String("o"), strings.NewReader("y")
		_, err := c.mine.PutObject(ctx, &in)
		return err
	}
	wantCode(t, "put if none", put(awss3.PutObjectInput{IfNoneMatch: aws.String("*")}), "PreconditionFailed", 412)
	wantCode(t, "put if other", put(awss3.PutObjectInput{IfMatch: aws.String(`"x"`)}), "PreconditionFailed", 412)
	wantCode(t, "put if none of", put(awss3.PutObjectInput{IfNoneMatch: etag}), "NotImplemented", 501)
	if err := put(awss3.PutObjectInput{IfMatch: etag}); err != nil {
		t.Fatal(err)
	}
}

// TestRefusals: nothing that is not done is passed over.
func TestRefusals(t *testing.T) {
	c := newCloud(t)
	c.bucket(t, "bkt")
	for name, x := range map[string]struct {
		in     awss3.PutObjectInput
		code   string
		status int
	}{
		"acl":       {awss3.PutObjectInput{ACL: types.ObjectCannedACLPublicRead}, "AccessControlListNotSupported", 400},
		"grant":     {awss3.PutObjectInput{GrantRead: aws.String("id=1")}, "AccessControlListNotSupported", 400},
		"kms":       {awss3.PutObjectInput{ServerSideEncryption: types.ServerSideEncryptionAwsKms}, "NotImplemented", 501},
		"kms key":   {awss3.PutObjectInput{SSEKMSKeyId: aws.String("k")}, "InvalidArgument", 400},
		"sse":       {awss3.PutObjectInput{ServerSideEncryption: "ROT13"}, "InvalidArgument", 400},
		"class":     {awss3.PutObjectInput{StorageClass: types.StorageClassGlacier}, "NotImplemented", 501},
		"no class":  {awss3.PutObjectInput{StorageClass: "ATTIC"}, "InvalidStorageClass", 400},
		"tagging":   {awss3.PutObjectInput{Tagging: aws.String("a=b&a=c")}, "InvalidArgument", 400},
		"tags":      {awss3.PutObjectInput{Tagging: aws.String("0&1&2&3&4&5&6&7&8&9&10")}, "BadRequest", 400},
		"bad tag":   {awss3.PutObjectInput{Tagging: aws.String("%zz=1")}, "InvalidArgument", 400},
		"aws tag":   {awss3.PutObjectInput{Tagging: aws.String("aws:x=1")}, "InvalidTag", 400},
		"redirect":  {awss3.PutObjectInput{WebsiteRedirectLocation: aws.String("x")}, "InvalidRedirectLocation", 400},
		"lock":      {awss3.PutObjectInput{ObjectLockMode: types.ObjectLockModeGovernance}, "InvalidRequest", 400},
		"hold":      {awss3.PutObjectInput{ObjectLockLegalHoldStatus: types.ObjectLockLegalHoldStatusOn}, "InvalidRequest", 400},
		"payer":     {awss3.PutObjectInput{RequestPayer: "me"}, "InvalidArgument", 400},
		"offset":    {awss3.PutObjectInput{WriteOffsetBytes: aws.Int64(0)}, "NotImplemented", 501},
		"metadata":  {awss3.PutObjectInput{Metadata: map[string]string{"a": strings.Repeat("x", 2048)}}, "MetadataTooLarge", 400},
		"bad md5":   {awss3.PutObjectInput{ContentMD5: aws.String("x")}, "InvalidDigest", 400},
		"other md5": {awss3.PutObjectInput{ContentMD5: aws.String(base64.StdEncoding.EncodeToString(make([]byte, md5.Size)))}, "BadDigest", 400},
		"bad crc":   {awss3.PutObjectInput{ChecksumCRC32: aws.String("x")}, "InvalidRequest", 400},
		"other crc": {awss3.PutObjectInput{ChecksumCRC32: aws.String("AAAAAA==")}, "BadDigest", 400},
	} {
		x.in.Bucket, x.in.Key, x.in.Body = aws.String("bkt"), aws.String("o"), strings.NewReader("body")
		_, err := c.mine.PutObject(t.Context(), &x.in)
		wantCode(t, name, err, x.code, x.status)
	}
	for _, in := range []awss3.PutObjectInput{
		{ACL: types.ObjectCannedACLPrivate},
		{ACL: types.ObjectCannedACLBucketOwnerFullControl},
		{StorageClass: types.StorageClassStandard},
		{RequestPayer: types.RequestPayerRequester},
		{Metadata: map[string]string{"a": strings.Repeat("x", 2047)}},
	} {
		in.Bucket, in.Key, in.Body = aws.String("bkt"), aws.String("o"), strings.NewReader("body")
		if _, err := c.mine.PutObject(t.Context(), &in); err != nil {
			t.Fatal(err)
		}
	}
	_, err := c.mine.CreateBucket(t.Context(), &awss3.CreateBucketInput{Bucket: aws.String("pub"), ACL: types.BucketCannedACLPublicRead})
	wantCode(t, "bucket acl", err, "InvalidBucketAclWithObjectOwnership", 400)
}

func TestChecksums(t *testing.T) {
	c := newCloud(t)
	ctx := t.Context()
	c.bucket(t, "bkt")
	body := objecttest.Bytes(7, 100000)
	for _, a := range types.ChecksumAlgorithm("").Values() {
		switch a {
		case types.ChecksumAlgorithmCrc32, types.ChecksumAlgorithmCrc32c, types.ChecksumAlgorithmCrc64nvme, types.ChecksumAlgorithmSha1, types.ChecksumAlgorithmSha256:
		default:
			continue
		}
		// A body that cannot seek goes out in chunks with the checksum as a trailer, over TLS only; so give it seekable.
		_, err := c.mine.PutObject(ctx, &awss3.PutObjectInput{Bucket: aws.String("bkt"), Key: aws.String("o"), Body: bytes.NewReader(body), ChecksumAlgorithm: a})
		if err != nil {
			t.Fatalf("%s: %v", a, err)
		}
		// The SDK checks what it reads with the checksum that it is told.
		got, err := c.mine.GetObject(ctx, &awss3.GetObjectInput{Bucket: aws.String("bkt"), Key: aws.String("o"), ChecksumMode: types.ChecksumModeEnabled})
		if err != nil || !bytes.Equal(read(t, got.Body), body) {
			t.Fatalf("%s: %v", a, err)
		}
		l, err := c.mine.ListObjectsV2(ctx, &awss3.ListObjectsV2Input{Bucket: aws.String("bkt")})
		if err != nil || len(l.Contents[0].ChecksumAlgorithm) != 1 || l.Contents[0].ChecksumAlgorithm[0] != a {
			t.Fatalf("%s: listed %+v, %v", a, l.Contents, err)
		}
	}
	// A client that knows nothing of checksums.
	old := c.client(0, region, func(o *awss3.Options) { o.RequestChecksumCalculation = aws.RequestChecksumCalculationWhenRequired })
	put, err := old.PutObject(ctx, &awss3.PutObjectInput{Bucket: aws.String("bkt"), Key: aws.String("o"), Body: bytes.NewReader(body)})
	if err != nil || put.ChecksumCRC64NVME == nil || put.ChecksumType != types.ChecksumTypeFullObject {
		t.Fatalf("default: %+v, %v", put, err)
	}
}

func TestDeleteObjects(t *testing.T) {
	c := newCloud(t)
	c.bucket(t, "bkt")
	var keys []types.ObjectIdentifier
	for i := range 200 {
		k := fmt.Sprint(i)
		c.put(t, "bkt", k, []byte(k))
		keys = append(keys, types.ObjectIdentifier{Key: &k})
	}
	keys = append(keys, types.ObjectIdentifier{Key: aws.String("none")}, types.ObjectIdentifier{Key: aws.String("0"), VersionId: aws.String("v")})
	out, err := c.mine.DeleteObjects(t.Context(), &awss3.DeleteObjectsInput{Bucket: aws.String("bkt"), Delete: &types.Delete{Objects: keys}})
	if err != nil || len(out.Deleted) != 201 || len(out.Errors) != 1 || *out.Errors[0].Code != "NoSuchVersion" {
		t.Fatalf("%d deleted, %v, %v", len(out.Deleted), out.Errors, err)
	}
	l, err := c.mine.ListObjectsV2(t.Context(), &awss3.ListObjectsV2Input{Bucket: aws.String("bkt")})
	if err != nil || len(l.Contents) != 0 {
		t.Fatalf("left: %v, %v", l.Contents, err)
	}
	out, err = c.mine.DeleteObjects(t.Context(), &awss3.DeleteObjectsInput{Bucket: aws.String("bkt"), Delete: &types.Delete{Objects: keys[:1], Quiet: aws.Bool(true)}})
	if err != nil || len(out.Deleted) != 0 {
		t.Fatalf("quiet: %v, %v", out.Deleted, err)
	}
	_, err = c.mine.DeleteObjects(t.Context(), &awss3.DeleteObjectsInput{Bucket: aws.String("bkt"), Delete: &types.Delete{Objects: make1001()}})
	wantCode(t, "too many", err, "MalformedXML", 400)
}

func make1001() []types.ObjectIdentifier {
	out := make([]types.ObjectIdentifier, 1001)
	for i := range out {
		out[i].Key = aws.String("k")
	}
	return out
}

func TestCopy(t *testing.T) {
	c := newCloud(t)
	ctx := t.Context()
	c.bucket(t, "from")
	c.bucket(t, "to-bucket")
	body := objecttest.Bytes(3, 150000)
	put, err := c.mine.PutObject(ctx, &awss3.PutObjectInput{
		Bucket: aws.String("from"), Key: aws.String("a b/ü+%"), Body: bytes.NewReader(body), ContentType: aws.String("x/y"), Metadata: map[string]string{"k": "v"},
		ChecksumAlgorithm: types.ChecksumAlgorithmSha1,
	})
	if err != nil {
		t.Fatal(err)
	}
	source := aws.String("/from/a%20b/%C3%BC%2B%25")
	out, err := c.mine.CopyObject(ctx, &awss3.CopyObjectInput{Bucket: aws.String("to-bucket"), Key: aws.String("c"), CopySource: source, CopySourceIfMatch: put.ETag})
	if err != nil || *out.CopyObjectResult.ETag != *put.ETag || aws.ToString(out.CopyObjectResult.ChecksumSHA1) != *put.ChecksumSHA1 {
		t.Fatalf("copy: %+v, %v", out, err)
	}
	if !bytes.Equal(c.get(t, "to-bucket", "c"), body) {
		t.Fatal("the copy is wrong")
	}
	head, err := c.mine.HeadObject(ctx, &awss3.HeadObjectInput{Bucket: aws.String("to-bucket"), Key: aws.String("c")})
	if err != nil || *head.ContentType != "x/y" || lowerKeys(head.Metadata)["k"] != "v" {
		t.Fatalf("head: %+v, %v", head, err)
	}
	_, err = c.mine.CopyObject(ctx, &awss3.CopyObjectInput{Bucket: aws.String("to-bucket"), Key: aws.String("c"), CopySource: aws.String("to-bucket/c")})
	wantCode(t, "onto itself", err, "InvalidRequest", 400)
	_, err = c.mine.CopyObject(ctx, &awss3.CopyObjectInput{
		Bucket: aws.String("to-bucket"), Key: aws.String("c"), CopySource: aws.String("to-bucket/c"),
		MetadataDirective: types.MetadataDirectiveReplace, ContentType: aws.String("n/m"),
	})
	if err != nil {
		t.Fatal(err)
	}
	head, err = c.mine.HeadObject(ctx, &awss3.HeadObjectInput{Bucket: aws.String("to-bucket"), Key: aws.String("c")})
	if err != nil || *head.ContentType != "n/m" || len(head.Metadata) != 0 || !bytes.Equal(c.get(t, "to-bucket", "c"), body) {
		t.Fatalf("replaced: %+v, %v", head, err)
	}
	for src, code := range map[string]string{"from/none": "NoSuchKey", "from": "InvalidArgument", "/": "InvalidArgument", "from/%zz": "InvalidArgument", "nope-bucket/x": "NoSuchBucket"} {
		_, err := c.mine.CopyObject(ctx, &awss3.CopyObjectInput{Bucket: aws.String("to-bucket"), Key: aws.String("c"), CopySource: &src})
		status := 404
		if code == "InvalidArgument" {
			status = 400
		}
		wantCode(t, src, err, code, status)
	}
	_, err = c.mine.CopyObject(ctx, &awss3.CopyObjectInput{Bucket: aws.String("to-bucket"), Key: aws.String("c"), CopySource: source, CopySourceIfNoneMatch: put.ETag})
	wantCode(t, "source condition", err, "PreconditionFailed", 412)
}

func TestListing(t *testing.T) {
	c := newCloud(t)
	ctx := t.Context()
	c.bucket(t, "bkt")
	for _, k := range []string{"a b", "photos/2006/x", "photos/2007/y", "photos/z", "q"} {
		c.put(t, "bkt", k, []byte(k))
	}
	var got []string
	p := awss3.NewListObjectsV2Paginator(c.mine, &awss3.ListObjectsV2Input{Bucket: aws.String("bkt"), Delimiter: aws.String("/"), MaxKeys: aws.Int32(1), FetchOwner: aws.Bool(true)})
	for p.HasMorePages() {
		page, err := p.NextPage(ctx)
		if err != nil || *page.KeyCount != 1 {
			t.Fatal(page, err)
		}
		for _, o := range page.Contents {
			got = append(got, *o.Key)
			if len(aws.ToString(o.Owner.ID)) != 64 || *o.Size != int64(len(*o.Key)) || o.StorageClass != types.ObjectStorageClassStandard {
				t.Fatalf("%+v", o)
			}
		}
		for _, o := range page.CommonPrefixes {
			got = append(got, *o.Prefix)
		}
	}
	if d := cmp.Diff([]string{"a b", "photos/", "q"}, got); d != "" {
		t.Fatal(d)
	}
	one, err := c.mine.ListObjects(ctx, &awss3.ListObjectsInput{Bucket: aws.String("bkt"), Delimiter: aws.String("/"), MaxKeys: aws.Int32(2), EncodingType: types.EncodingTypeUrl})
	if err != nil || *one.NextMarker != "photos/" || *one.Contents[0].Key != "a+b" {
		t.Fatalf("v1: %+v, %v", one, err)
	}
	one, err = c.mine.ListObjects(ctx, &awss3.ListObjectsInput{Bucket: aws.String("bkt"), Delimiter: aws.String("/"), Marker: one.NextMarker})
	if err != nil || len(one.Contents) != 1 || len(one.CommonPrefixes) != 0 || *one.IsTruncated {
		t.Fatalf("v1: %+v, %v", one, err)
	}
	after, err := c.mine.ListObjectsV2(ctx, &awss3.ListObjectsV2Input{Bucket: aws.String("bkt"), StartAfter: aws.String("photos/2007/y")})
	if err != nil || len(after.Contents) != 2 || after.Contents[0].Owner != nil {
		t.Fatalf("start-after: %+v, %v", after, err)
	}
	_, err = c.mine.ListObjectsV2(ctx, &awss3.ListObjectsV2Input{Bucket: aws.String("bkt"), ContinuationToken: aws.String("!")})
	wantCode(t, "token", err, "InvalidArgument", 400)
	_, err = c.mine.ListObjectsV2(ctx, &awss3.ListObjectsV2Input{Bucket: aws.String("bkt"), MaxKeys: aws.Int32(-1)})
	wantCode(t, "max-keys", err, "InvalidArgument", 400)
	_, err = c.mine.ListObjectsV2(ctx, &awss3.ListObjectsV2Input{Bucket: aws.String("bkt"), EncodingType: "rot13"})
	wantCode(t, "encoding", err, "InvalidArgument", 400)
}

// TestLyingLength: a body that ends too soon leaves nothing.
func TestLyingLength(t *testing.T) {
	c := newCloud(t)
	c.bucket(t, "bkt")
	url, err := awss3.NewPresignClient(c.mine).PresignPutObject(t.Context(), &awss3.PutObjectInput{Bucket: aws.String("bkt"), Key: aws.String("o")})
	if err != nil {
		t.Fatal(err)
	}
	for _, n := range []int{10, 300 << 10} {
		ctx, cancel := context.WithCancel(t.Context())
		r, w := io.Pipe()
		go func() {
			w.Write(make([]byte, n/2))
			cancel()
			w.CloseWithError(io.ErrUnexpectedEOF)
		}()
		req, err := http.NewRequestWithContext(ctx, http.MethodPut, url.URL, r)
		if err != nil {
			t.Fatal(err)
		}
		req.ContentLength = int64(n)
		if resp, err := http.DefaultClient.Do(req); err == nil {
			resp.Body.Close()
			t.Fatalf("half a body was taken: %s", resp.Status)
		}
		l, err := c.mine.ListObjectsV2(t.Context(), &awss3.ListObjectsV2Input{Bucket: aws.String("bkt")})
		if err != nil || len(l.Contents) != 0 {
			t.Fatalf("half a body is listed: %v", err)
		}
	}
	// With a digest of the whole, presigned, over plain HTTP.
	sum := md5.Sum([]byte("x"))
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPut, url.URL, strings.NewReader("y"))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Content-MD5", base64.StdEncoding.EncodeToString(sum[:]))
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	if b := read(t, resp.Body); resp.StatusCode == 200 {
		t.Fatalf("a wrong digest was taken: %s %s", hex.EncodeToString(sum[:]), b)
	}
}
