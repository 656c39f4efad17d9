package s3_test

import (
	"bytes"
	"errors"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	awss3 "github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"
	smithyhttp "github.com/aws/smithy-go/transport/http"
)

func (c *cloud) versioning(t testing.TB, bucket string, s types.BucketVersioningStatus) error {
	t.Helper()
	_, err := c.mine.PutBucketVersioning(t.Context(), &awss3.PutBucketVersioningInput{Bucket: &bucket, VersioningConfiguration: &types.VersioningConfiguration{Status: s}})
	return err
}

func header(t testing.TB, err error, name string) string {
	t.Helper()
	var response *smithyhttp.ResponseError
	if !errors.As(err, &response) {
		t.Fatalf("no answer: %v", err)
	}
	return response.Response.Header.Get(name)
}

func TestVersions(t *testing.T) {
	c, ctx := newCloud(t), t.Context()
	c.bucket(t, "bkt")
	bucket, key := aws.String("bkt"), aws.String("a key")
	if out := c.put(t, "bkt", *key, []byte("null")); out.VersionId != nil {
		t.Fatalf("version %q without versioning", *out.VersionId)
	}
	wantCode(t, "no state", c.versioning(t, "bkt", ""), "IllegalVersioningConfigurationException", 400)
	wantCode(t, "bad state", c.versioning(t, "bkt", "On"), "MalformedXML", 400)
	if err := c.versioning(t, "bkt", "Enabled"); err != nil {
		t.Fatal(err)
	}
	state, err := c.mine.GetBucketVersioning(ctx, &awss3.GetBucketVersioningInput{Bucket: bucket})
	if err != nil || state.Status != "Enabled" {
		t.Fatalf("%+v, %v", state, err)
	}
	one := c.put(t, "bkt", *key, []byte("one"))
	two := c.put(t, "bkt", *key, []byte("two"))
	for id, body := range map[string]string{"null": "null", *one.VersionId: "one", *two.VersionId: "two"} {
		out, err := c.mine.GetObject(ctx, &awss3.GetObjectInput{Bucket: bucket, Key: key, VersionId: &id})
		if err != nil || *out.VersionId != id || string(read(t, out.Body)) != body {
			t.Fatalf("version %s: %v", id, err)
		}
	}
	// A copy of a version.
	made, err := c.mine.CopyObject(ctx, &awss3.CopyObjectInput{Bucket: bucket, Key: aws.String("copy"), CopySource: aws.String("bkt/a%20key?versionId=" + *one.VersionId)})
	if err != nil || *made.CopySourceVersionId != *one.VersionId || *made.VersionId == *one.VersionId || string(c.get(t, "bkt", "copy")) != "one" {
		t.Fatalf("copy: %+v, %v", made, err)
	}
	del, err := c.mine.DeleteObject(ctx, &awss3.DeleteObjectInput{Bucket: bucket, Key: key})
	if err != nil || !*del.DeleteMarker {
		t.Fatalf("delete: %+v, %v", del, err)
	}
	_, err = c.mine.GetObject(ctx, &awss3.GetObjectInput{Bucket: bucket, Key: key})
	wantCode(t, "deleted", err, "NoSuchKey", 404)
	if header(t, err, "x-amz-delete-marker") != "true" || header(t, err, "x-amz-version-id") != *del.VersionId {
		t.Fatal("the answer does not tell of the delete marker")
	}
	_, err = c.mine.GetObject(ctx, &awss3.GetObjectInput{Bucket: bucket, Key: key, VersionId: del.VersionId})
	wantCode(t, "marker", err, "MethodNotAllowed", 405)
	if header(t, err, "Allow") != "DELETE" || header(t, err, "Last-Modified") == "" {
		t.Fatal("the answer does not say what is allowed")
	}
	_, err = c.mine.CopyObject(ctx, &awss3.CopyObjectInput{Bucket: bucket, Key: aws.String("copy"), CopySource: aws.String("bkt/a%20key?versionId=" + *del.VersionId)})
	wantCode(t, "copy of a marker", err, "InvalidRequest", 400)
	_, err = c.mine.GetObject(ctx, &awss3.GetObjectInput{Bucket: bucket, Key: aws.String("other"), VersionId: one.VersionId})
	wantCode(t, "version of another key", err, "NoSuchVersion", 404)
	_, err = c.mine.DeleteBucket(ctx, &awss3.DeleteBucketInput{Bucket: bucket})
	wantCode(t, "delete bucket", err, "BucketNotEmpty", 409)

	var seen []string
	in := &awss3.ListObjectVersionsInput{Bucket: bucket, MaxKeys: aws.Int32(2), EncodingType: types.EncodingTypeUrl, Prefix: aws.String("a ")}
	for {
		l, err := c.mine.ListObjectVersions(ctx, in)
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range l.DeleteMarkers {
			seen = append(seen, "marker "+*m.VersionId)
		}
		for _, v := range l.Versions {
			seen = append(seen, *v.VersionId)
		}
		if !*l.IsTruncated {
			break
		}
		in.KeyMarker, in.VersionIdMarker = key, l.NextVersionIdMarker
	}
	want := []string{"marker " + *del.VersionId, *two.VersionId, *one.VersionId, "null"}
	if strings.Join(seen, " ") != strings.Join(want, " ") {
		t.Fatalf("listed %q, want %q", seen, want)
	}
	for name, in := range map[string]awss3.ListObjectVersionsInput{
		"no key": {VersionIdMarker: one.VersionId}, "bad version": {KeyMarker: key, VersionIdMarker: aws.String("x")}, "bad encoding": {EncodingType: "x"},
	} {
		in.Bucket = bucket
		_, err := c.mine.ListObjectVersions(ctx, &in)
		wantCode(t, name, err, "InvalidArgument", 400)
		_, err = c.them.ListObjectVersions(ctx, &in)
		wantCode(t, name, err, "AccessDenied", 403)
	}
	// Conditions of deletions.
	_, err = c.mine.DeleteObject(ctx, &awss3.DeleteObjectInput{Bucket: bucket, Key: aws.String("copy"), IfMatch: aws.String(`"x"`)})
	wantCode(t, "delete if", err, "PreconditionFailed", 412)
	_, err = c.mine.DeleteObject(ctx, &awss3.DeleteObjectInput{Bucket: bucket, Key: key, IfMatch: aws.String("*")})
	wantCode(t, "delete if there", err, "NoSuchKey", 404)
	out, err := c.mine.DeleteObjects(ctx, &awss3.DeleteObjectsInput{Bucket: bucket, Delete: &types.Delete{Objects: []types.ObjectIdentifier{
		{Key: key, VersionId: del.VersionId}, {Key: key, VersionId: two.VersionId}, {Key: aws.String("copy"), ETag: one.ETag}, {Key: aws.String("copy"), ETag: aws.String("x")},
	}}})
	if err != nil || len(out.Deleted) != 3 || len(out.Errors) != 1 || !*out.Deleted[0].DeleteMarker || *out.Deleted[0].DeleteMarkerVersionId != *del.VersionId || !*out.Deleted[2].DeleteMarker {
		t.Fatalf("delete many: %+v, %v", out, err)
	}
	if got := c.get(t, "bkt", *key); string(got) != "one" {
		t.Fatalf("the latest is %q", got)
	}
	if err := c.versioning(t, "bkt", "Suspended"); err != nil {
		t.Fatal(err)
	}
	if out := c.put(t, "bkt", *key, []byte("new null")); *out.VersionId != "null" {
		t.Fatalf("suspended: %v", *out.VersionId)
	}
}

func TestObjectTags(t *testing.T) {
	c, ctx := newCloud(t), t.Context()
	c.bucket(t, "bkt")
	bucket, key := aws.String("bkt"), aws.String("o")
	if err := c.versioning(t, "bkt", "Enabled"); err != nil {
		t.Fatal(err)
	}
	put, err := c.mine.PutObject(ctx, &awss3.PutObjectInput{Bucket: bucket, Key: key, Body: strings.NewReader("x"), Tagging: aws.String("b=%C3%BC+1&a")})
	if err != nil {
		t.Fatal(err)
	}
	want := func(key, version *string, tags string) {
		t.Helper()
		out, err := c.mine.GetObjectTagging(ctx, &awss3.GetObjectTaggingInput{Bucket: bucket, Key: key, VersionId: version})
		if err != nil {
			t.Fatal(err)
		}
		var got []string
		for _, x := range out.TagSet {
			got = append(got, *x.Key+"="+*x.Value)
		}
		if strings.Join(got, "&") != tags {
			t.Fatalf("tags %q, want %q", got, tags)
		}
	}
	want(key, nil, "a=&b=ü 1")
	head, err := c.mine.HeadObject(ctx, &awss3.HeadObjectInput{Bucket: bucket, Key: key})
	if err != nil || head.TagCount == nil || *head.TagCount != 2 {
		t.Fatalf("head: %+v, %v", head, err)
	}
	for directive, tags := range map[types.TaggingDirective]string{"": "a=&b=ü 1", "COPY": "a=&b=ü 1", "REPLACE": "c=3"} {
		_, err := c.mine.CopyObject(ctx, &awss3.CopyObjectInput{Bucket: bucket, Key: aws.String("c"), CopySource: aws.String("bkt/o"), TaggingDirective: directive, Tagging: aws.String("c=3")})
		if err != nil {
			t.Fatal(err)
		}
		want(aws.String("c"), nil, tags)
	}
	c.put(t, "bkt", "o", []byte("newer"))
	_, err = c.mine.PutObjectTagging(ctx, &awss3.PutObjectTaggingInput{Bucket: bucket, Key: key, VersionId: put.VersionId, Tagging: &types.Tagging{TagSet: []types.Tag{{Key: aws.String("n"), Value: aws.String("")}}}})
	if err != nil {
		t.Fatal(err)
	}
	want(key, put.VersionId, "n=")
	want(key, nil, "")
	_, err = c.them.PutObjectTagging(ctx, &awss3.PutObjectTaggingInput{Bucket: bucket, Key: key, Tagging: &types.Tagging{TagSet: []types.Tag{}}})
	wantCode(t, "another account", err, "AccessDenied", 403)
	if _, err := c.mine.DeleteObjectTagging(ctx, &awss3.DeleteObjectTaggingInput{Bucket: bucket, Key: key, VersionId: put.VersionId}); err != nil {
		t.Fatal(err)
	}
	want(key, put.VersionId, "")
}

func TestObjectLock(t *testing.T) {
	c, ctx := newCloud(t), t.Context()
	bucket, key := aws.String("locked"), aws.String("o")
	if _, err := c.mine.CreateBucket(ctx, &awss3.CreateBucketInput{Bucket: bucket, ObjectLockEnabledForBucket: aws.Bool(true)}); err != nil {
		t.Fatal(err)
	}
	wantCode(t, "suspend", c.versioning(t, *bucket, "Suspended"), "InvalidBucketState", 409)
	configure := func(bucket string, d *types.DefaultRetention) error {
		in := &awss3.PutObjectLockConfigurationInput{Bucket: &bucket, ObjectLockConfiguration: &types.ObjectLockConfiguration{ObjectLockEnabled: "Enabled"}}
		if d != nil {
			in.ObjectLockConfiguration.Rule = &types.ObjectLockRule{DefaultRetention: d}
		}
		_, err := c.mine.PutObjectLockConfiguration(ctx, in)
		return err
	}
	c.bucket(t, "plain")
	wantCode(t, "no versioning", configure("plain", nil), "InvalidBucketState", 409)
	wantCode(t, "days and years", configure(*bucket, &types.DefaultRetention{Mode: "GOVERNANCE", Days: aws.Int32(1), Years: aws.Int32(1)}), "MalformedXML", 400)
	wantCode(t, "no days", configure(*bucket, &types.DefaultRetention{Mode: "GOVERNANCE", Days: aws.Int32(0)}), "InvalidArgument", 400)
	wantCode(t, "mode", configure(*bucket, &types.DefaultRetention{Mode: "X", Days: aws.Int32(1)}), "MalformedXML", 400)
	if err := configure(*bucket, &types.DefaultRetention{Mode: "GOVERNANCE", Days: aws.Int32(1)}); err != nil {
		t.Fatal(err)
	}
	got, err := c.mine.GetObjectLockConfiguration(ctx, &awss3.GetObjectLockConfigurationInput{Bucket: bucket})
	if err != nil || *got.ObjectLockConfiguration.Rule.DefaultRetention.Days != 1 {
		t.Fatalf("%+v, %v", got, err)
	}
	put := c.put(t, *bucket, *key, []byte("x"))
	head, err := c.mine.HeadObject(ctx, &awss3.HeadObjectInput{Bucket: bucket, Key: key})
	if err != nil || head.ObjectLockMode != "GOVERNANCE" || time.Until(*head.ObjectLockRetainUntilDate) < 23*time.Hour {
		t.Fatalf("%+v, %v", head, err)
	}
	remove := func(version *string, bypass bool) error {
		_, err := c.mine.DeleteObject(ctx, &awss3.DeleteObjectInput{Bucket: bucket, Key: key, VersionId: version, BypassGovernanceRetention: &bypass})
		return err
	}
	retain := func(version *string, r *types.ObjectLockRetention, bypass bool) error {
		_, err := c.mine.PutObjectRetention(ctx, &awss3.PutObjectRetentionInput{Bucket: bucket, Key: key, VersionId: version, Retention: r, BypassGovernanceRetention: &bypass})
		return err
	}
	day := func(n int) *time.Time { u := time.Now().AddDate(0, 0, n).UTC().Truncate(time.Second); return &u }
	wantCode(t, "remove", remove(put.VersionId, false), "AccessDenied", 403)
	many, err := c.mine.DeleteObjects(ctx, &awss3.DeleteObjectsInput{Bucket: bucket, Delete: &types.Delete{Objects: []types.ObjectIdentifier{{Key: key, VersionId: put.VersionId}}}})
	if err != nil || len(many.Errors) != 1 || *many.Errors[0].Code != "AccessDenied" {
		t.Fatalf("remove many: %+v, %v", many, err)
	}
	governance := func(n int) *types.ObjectLockRetention {
		return &types.ObjectLockRetention{Mode: "GOVERNANCE", RetainUntilDate: day(n)}
	}
	wantCode(t, "shorter", retain(nil, &types.ObjectLockRetention{Mode: "GOVERNANCE", RetainUntilDate: aws.Time(time.Now().Add(time.Hour))}, false), "AccessDenied", 403)
	wantCode(t, "past", retain(nil, governance(-1), true), "InvalidArgument", 400)
	wantCode(t, "none", retain(nil, &types.ObjectLockRetention{}, false), "AccessDenied", 403)
	for _, step := range []struct {
		r      *types.ObjectLockRetention
		bypass bool
	}{{governance(3), false}, {governance(2), true}, {&types.ObjectLockRetention{}, true}, {governance(2), false}} {
		if err := retain(nil, step.r, step.bypass); err != nil {
			t.Fatalf("%+v: %v", step, err)
		}
	}
	hold := func(status types.ObjectLockLegalHoldStatus) {
		t.Helper()
		if _, err := c.mine.PutObjectLegalHold(ctx, &awss3.PutObjectLegalHoldInput{Bucket: bucket, Key: key, LegalHold: &types.ObjectLockLegalHold{Status: status}}); err != nil {
			t.Fatal(err)
		}
		out, err := c.mine.GetObjectLegalHold(ctx, &awss3.GetObjectLegalHoldInput{Bucket: bucket, Key: key})
		if err != nil || out.LegalHold.Status != status {
			t.Fatalf("%+v, %v", out, err)
		}
	}
	hold("ON")
	wantCode(t, "held", remove(put.VersionId, true), "AccessDenied", 403)
	hold("OFF")
	if err := remove(put.VersionId, true); err != nil {
		t.Fatal(err)
	}
	// Compliance cannot be weakened by anybody.
	until := day(2)
	put, err = c.mine.PutObject(ctx, &awss3.PutObjectInput{Bucket: bucket, Key: key, Body: strings.NewReader("y"), ChecksumAlgorithm: "CRC32", ObjectLockMode: "COMPLIANCE", ObjectLockRetainUntilDate: until})
	if err != nil {
		t.Fatal(err)
	}
	wantCode(t, "remove", remove(put.VersionId, true), "AccessDenied", 403)
	wantCode(t, "weaken", retain(put.VersionId, governance(9), true), "AccessDenied", 403)
	wantCode(t, "shorten", retain(put.VersionId, &types.ObjectLockRetention{Mode: "COMPLIANCE", RetainUntilDate: day(1)}, true), "AccessDenied", 403)
	if err := retain(put.VersionId, &types.ObjectLockRetention{Mode: "COMPLIANCE", RetainUntilDate: day(3)}, false); err != nil {
		t.Fatal(err)
	}
	r, err := c.mine.GetObjectRetention(ctx, &awss3.GetObjectRetentionInput{Bucket: bucket, Key: key})
	if err != nil || r.Retention.Mode != "COMPLIANCE" || !r.Retention.RetainUntilDate.After(*until) {
		t.Fatalf("%+v, %v", r, err)
	}
	if err := remove(nil, false); err != nil { // a delete marker
		t.Fatal(err)
	}
	for name, in := range map[string]awss3.PutObjectInput{
		"half": {ObjectLockMode: "COMPLIANCE"}, "mode": {ObjectLockMode: "X", ObjectLockRetainUntilDate: until}, "past": {ObjectLockMode: "COMPLIANCE", ObjectLockRetainUntilDate: day(-1)},
		"hold": {ObjectLockLegalHoldStatus: "X"},
	} {
		in.Bucket, in.Key, in.Body = bucket, key, strings.NewReader("x")
		_, err := c.mine.PutObject(ctx, &in)
		wantCode(t, name, err, "InvalidArgument", 400)
	}
	_, err = c.mine.GetObjectRetention(ctx, &awss3.GetObjectRetentionInput{Bucket: aws.String("plain"), Key: key})
	wantCode(t, "no lock", err, "InvalidRequest", 400)
	_, err = c.them.PutObjectLegalHold(ctx, &awss3.PutObjectLegalHoldInput{Bucket: bucket, Key: key, LegalHold: &types.ObjectLockLegalHold{Status: "OFF"}})
	wantCode(t, "another account", err, "AccessDenied", http.StatusForbidden)
}

func TestObjectAttributes(t *testing.T) {
	c, ctx := newCloud(t), t.Context()
	c.bucket(t, "bkt")
	put := c.put(t, "bkt", "o", []byte("hello"))
	all := []types.ObjectAttributes{"ETag", "Checksum", "ObjectParts", "StorageClass", "ObjectSize"}
	ask := func(key string, a ...types.ObjectAttributes) (*awss3.GetObjectAttributesOutput, error) {
		return c.mine.GetObjectAttributes(ctx, &awss3.GetObjectAttributesInput{Bucket: aws.String("bkt"), Key: &key, ObjectAttributes: a})
	}
	out, err := ask("o", all...)
	if err != nil || `"`+*out.ETag+`"` != *put.ETag || *out.ObjectSize != 5 || out.StorageClass != "STANDARD" || out.ObjectParts != nil || *out.Checksum.ChecksumCRC64NVME != *put.ChecksumCRC64NVME {
		t.Fatalf("%+v, %v", out, err)
	}
	if out, err = ask("o", "ETag"); err != nil || out.Checksum != nil || out.StorageClass != "" {
		t.Fatalf("more than was asked for: %+v, %v", out, err)
	}
	_, err = ask("o", "Colour")
	wantCode(t, "unknown", err, "InvalidArgument", 400)
	_, err = ask("none", all...)
	wantCode(t, "no object", err, "NoSuchKey", 404)
	up, err := c.mine.CreateMultipartUpload(ctx, &awss3.CreateMultipartUploadInput{Bucket: aws.String("bkt"), Key: aws.String("m"), ChecksumAlgorithm: "SHA256"})
	if err != nil {
		t.Fatal(err)
	}
	var parts []types.CompletedPart
	for i, n := range []int{5 << 20, 10} {
		p, err := c.mine.UploadPart(ctx, &awss3.UploadPartInput{
			Bucket: aws.String("bkt"), Key: aws.String("m"), UploadId: up.UploadId, PartNumber: aws.Int32(int32(i + 1)), Body: bytes.NewReader(make([]byte, n)), ChecksumAlgorithm: "SHA256",
		})
		if err != nil {
			t.Fatal(err)
		}
		parts = append(parts, types.CompletedPart{PartNumber: aws.Int32(int32(i + 1)), ETag: p.ETag, ChecksumSHA256: p.ChecksumSHA256})
	}
	if _, err := c.mine.CompleteMultipartUpload(ctx, &awss3.CompleteMultipartUploadInput{Bucket: aws.String("bkt"), Key: aws.String("m"), UploadId: up.UploadId, MultipartUpload: &types.CompletedMultipartUpload{Parts: parts}}); err != nil {
		t.Fatal(err)
	}
	out, err = c.mine.GetObjectAttributes(ctx, &awss3.GetObjectAttributesInput{Bucket: aws.String("bkt"), Key: aws.String("m"), ObjectAttributes: all, MaxParts: aws.Int32(1), PartNumberMarker: aws.String("1")})
	if err != nil || *out.ObjectParts.TotalPartsCount != 2 || len(out.ObjectParts.Parts) != 1 || *out.ObjectParts.Parts[0].Size != 10 || *out.ObjectParts.IsTruncated || out.Checksum.ChecksumType != "COMPOSITE" {
		t.Fatalf("%+v, %v", out, err)
	}
}
