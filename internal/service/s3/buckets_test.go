package s3_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	awss3 "github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"

	"karri.dev/internal/resource"
	"karri.dev/internal/store"
)

func TestBuckets(t *testing.T) {
	c := newCloud(t)
	ctx := t.Context()
	c.bucket(t, "my-bucket")
	c.bucket(t, "my-bucket") // us-east-1: no error
	_, err := c.them.CreateBucket(ctx, &awss3.CreateBucketInput{Bucket: aws.String("my-bucket")})
	wantCode(t, "another's bucket", err, "BucketAlreadyExists", 409)

	europe := &types.CreateBucketConfiguration{LocationConstraint: "eu-west-1"}
	eu := c.client(0, "eu-west-1")
	if _, err := eu.CreateBucket(ctx, &awss3.CreateBucketInput{Bucket: aws.String("eu-bucket"), CreateBucketConfiguration: europe}); err != nil {
		t.Fatal(err)
	}
	_, err = eu.CreateBucket(ctx, &awss3.CreateBucketInput{Bucket: aws.String("eu-bucket"), CreateBucketConfiguration: europe})
	wantCode(t, "again elsewhere", err, "BucketAlreadyOwnedByYou", 409)
	_, err = c.mine.CreateBucket(ctx, &awss3.CreateBucketInput{
		Bucket: aws.String("x-bucket"), CreateBucketConfiguration: &types.CreateBucketConfiguration{LocationConstraint: "mars-north-1"},
	})
	wantCode(t, "no such region", err, "InvalidLocationConstraint", 400)

	head, err := c.mine.HeadBucket(ctx, &awss3.HeadBucketInput{Bucket: aws.String("eu-bucket")})
	if err != nil || aws.ToString(head.BucketRegion) != "eu-west-1" {
		t.Fatalf("head: %v, %v", head, err)
	}
	for name, want := range map[string]string{"my-bucket": "", "eu-bucket": "eu-west-1"} {
		l, err := c.mine.GetBucketLocation(ctx, &awss3.GetBucketLocationInput{Bucket: &name})
		if err != nil || string(l.LocationConstraint) != want {
			t.Fatalf("location of %s: %v, %v", name, l, err)
		}
	}
	v, err := c.mine.GetBucketVersioning(ctx, &awss3.GetBucketVersioningInput{Bucket: aws.String("my-bucket")})
	if err != nil || v.Status != "" {
		t.Fatalf("versioning: %v, %v", v, err)
	}
	l, err := c.mine.ListBuckets(ctx, &awss3.ListBucketsInput{})
	if err != nil || len(l.Buckets) != 2 || *l.Buckets[0].Name != "eu-bucket" || len(aws.ToString(l.Owner.ID)) != 64 {
		t.Fatalf("list: %+v, %v", l, err)
	}
	l, err = c.mine.ListBuckets(ctx, &awss3.ListBucketsInput{MaxBuckets: aws.Int32(1)})
	if err != nil || len(l.Buckets) != 1 || aws.ToString(l.Buckets[0].BucketRegion) != "eu-west-1" {
		t.Fatalf("page: %+v, %v", l, err)
	}
	l, err = c.mine.ListBuckets(ctx, &awss3.ListBucketsInput{MaxBuckets: aws.Int32(1), ContinuationToken: l.ContinuationToken})
	if err != nil || len(l.Buckets) != 1 || *l.Buckets[0].Name != "my-bucket" || l.ContinuationToken != nil {
		t.Fatalf("second page: %+v, %v", l, err)
	}

	c.put(t, "my-bucket", "o", []byte("x"))
	_, err = c.mine.DeleteBucket(ctx, &awss3.DeleteBucketInput{Bucket: aws.String("my-bucket")})
	wantCode(t, "delete", err, "BucketNotEmpty", 409)
	if _, err := c.mine.DeleteObject(ctx, &awss3.DeleteObjectInput{Bucket: aws.String("my-bucket"), Key: aws.String("o")}); err != nil {
		t.Fatal(err)
	}
	if _, err := c.mine.DeleteBucket(ctx, &awss3.DeleteBucketInput{Bucket: aws.String("my-bucket")}); err != nil {
		t.Fatal(err)
	}
	_, err = c.mine.PutObject(ctx, &awss3.PutObjectInput{Bucket: aws.String("my-bucket"), Key: aws.String("o"), Body: strings.NewReader("x")})
	wantCode(t, "put into no bucket", err, "NoSuchBucket", 404)
	c.bucket(t, "my-bucket")
	c.put(t, "my-bucket", "o", []byte("again"))
}

func TestBucketNames(t *testing.T) {
	c := newCloud(t)
	for _, bad := range []string{
		"ab", strings.Repeat("a", 64), "Upper", "under_score", "-a-b", "a-b-", ".ab", "ab.", "a..b", "192.168.5.4", "xn--abc", "sthree-abc",
		"abc-s3alias", "abc--ol-s3", "abc.mrap", "amzn-s3-demo-abc",
	} {
		_, err := c.mine.CreateBucket(t.Context(), &awss3.CreateBucketInput{Bucket: &bad})
		wantCode(t, bad, err, "InvalidBucketName", 400)
	}
	for _, good := range []string{"abc", "a.b.c", "1-2", strings.Repeat("a", 63), "1.2.3.4.5"} {
		c.bucket(t, good)
	}
}

// TestAccess: nobody but the owner's account sees anything, and nobody sees Karri's own buckets.
func TestAccess(t *testing.T) {
	c := newCloud(t)
	ctx := t.Context()
	c.bucket(t, "mine")
	c.put(t, "mine", "o", []byte("secret"))
	account := ""
	for b := range store.Buckets.All(c.store.Snapshot()) {
		account = b.AccountID
	}
	c.record(t, &resource.Bucket{Name: "karri-system", AccountID: account, Region: region, CreatedAt: time.Now(), Engine: "karri-system", System: true})

	uses := func(cl *awss3.Client, bucket string) map[string]error {
		b, k, id := &bucket, aws.String("o"), aws.String("id")
		source := aws.String(bucket + "/o")
		errs := map[string]error{}
		_, errs["HeadBucket"] = cl.HeadBucket(ctx, &awss3.HeadBucketInput{Bucket: b})
		_, errs["DeleteBucket"] = cl.DeleteBucket(ctx, &awss3.DeleteBucketInput{Bucket: b})
		_, errs["GetBucketLocation"] = cl.GetBucketLocation(ctx, &awss3.GetBucketLocationInput{Bucket: b})
		_, errs["GetBucketVersioning"] = cl.GetBucketVersioning(ctx, &awss3.GetBucketVersioningInput{Bucket: b})
		_, errs["PutObject"] = cl.PutObject(ctx, &awss3.PutObjectInput{Bucket: b, Key: k, Body: strings.NewReader("x")})
		_, errs["GetObject"] = cl.GetObject(ctx, &awss3.GetObjectInput{Bucket: b, Key: k})
		_, errs["HeadObject"] = cl.HeadObject(ctx, &awss3.HeadObjectInput{Bucket: b, Key: k})
		_, errs["DeleteObject"] = cl.DeleteObject(ctx, &awss3.DeleteObjectInput{Bucket: b, Key: k})
		gone, err := cl.DeleteObjects(ctx, &awss3.DeleteObjectsInput{Bucket: b, Delete: &types.Delete{Objects: []types.ObjectIdentifier{{Key: k}}}})
		if errs["DeleteObjects"] = err; err == nil && (len(gone.Deleted) > 0 || len(gone.Errors) != 1 || *gone.Errors[0].Code != "AccessDenied") {
			t.Errorf("DeleteObjects: %+v", gone)
		}
		_, errs["CopyObject"] = cl.CopyObject(ctx, &awss3.CopyObjectInput{Bucket: b, Key: k, CopySource: source})
		_, errs["ListObjects"] = cl.ListObjects(ctx, &awss3.ListObjectsInput{Bucket: b})
		_, errs["ListObjectsV2"] = cl.ListObjectsV2(ctx, &awss3.ListObjectsV2Input{Bucket: b})
		_, errs["CreateMultipartUpload"] = cl.CreateMultipartUpload(ctx, &awss3.CreateMultipartUploadInput{Bucket: b, Key: k})
		_, errs["UploadPart"] = cl.UploadPart(ctx, &awss3.UploadPartInput{Bucket: b, Key: k, UploadId: id, PartNumber: aws.Int32(1), Body: strings.NewReader("x")})
		_, errs["UploadPartCopy"] = cl.UploadPartCopy(ctx, &awss3.UploadPartCopyInput{Bucket: b, Key: k, UploadId: id, PartNumber: aws.Int32(1), CopySource: source})
		_, errs["ListParts"] = cl.ListParts(ctx, &awss3.ListPartsInput{Bucket: b, Key: k, UploadId: id})
		_, errs["ListMultipartUploads"] = cl.ListMultipartUploads(ctx, &awss3.ListMultipartUploadsInput{Bucket: b})
		_, errs["AbortMultipartUpload"] = cl.AbortMultipartUpload(ctx, &awss3.AbortMultipartUploadInput{Bucket: b, Key: k, UploadId: id})
		_, errs["CompleteMultipartUpload"] = cl.CompleteMultipartUpload(ctx, &awss3.CompleteMultipartUploadInput{
			Bucket: b, Key: k, UploadId: id, MultipartUpload: &types.CompletedMultipartUpload{Parts: []types.CompletedPart{{PartNumber: aws.Int32(1), ETag: aws.String("x")}}},
		})
		return errs
	}
	check := func(who string, errs map[string]error, code string, status int) {
		for op, err := range errs {
			want := code
			if strings.HasPrefix(op, "Head") { // no body, so no code
				want = map[int]string{403: "Forbidden", 404: "NotFound"}[status]
			}
			wantCode(t, fmt.Sprintf("%s: %s", who, op), err, want, status)
		}
	}
	others := uses(c.them, "mine")
	if others["DeleteObjects"] == nil { // answers for each key
		delete(others, "DeleteObjects")
	}
	check("another account", others, "AccessDenied", 403)
	check("the system's bucket", uses(c.mine, "karri-system"), "NoSuchBucket", 404)

	// Copying out of a bucket that is not one's own.
	if _, err := c.them.CreateBucket(ctx, &awss3.CreateBucketInput{Bucket: aws.String("theirs")}); err != nil {
		t.Fatal(err)
	}
	_, err := c.them.CopyObject(ctx, &awss3.CopyObjectInput{Bucket: aws.String("theirs"), Key: aws.String("o"), CopySource: aws.String("mine/o")})
	wantCode(t, "copy", err, "AccessDenied", 403)
	_, err = c.mine.HeadBucket(ctx, &awss3.HeadBucketInput{Bucket: aws.String("mine"), ExpectedBucketOwner: aws.String("999999999999")})
	wantCode(t, "expected owner", err, "Forbidden", 403)
	_, err = c.them.CreateBucket(ctx, &awss3.CreateBucketInput{Bucket: aws.String("karri-system")})
	wantCode(t, "the system's name", err, "BucketAlreadyExists", 409)
	_, err = c.mine.CreateBucket(ctx, &awss3.CreateBucketInput{Bucket: aws.String("karri-system")})
	wantCode(t, "the system's name", err, "BucketAlreadyExists", 409)
	l, err := c.mine.ListBuckets(ctx, &awss3.ListBucketsInput{})
	if err != nil || len(l.Buckets) != 1 {
		t.Fatalf("buckets: %v, %v", l, err)
	}
	if got := c.get(t, "mine", "o"); string(got) != "secret" {
		t.Fatalf("somebody else's request had an effect: %q", got)
	}
}

// TestRecover: a deletion that was interrupted between the engine and the store is finished.
func TestRecover(t *testing.T) {
	c := newCloud(t)
	c.bucket(t, "gone")
	c.bucket(t, "stays")
	c.put(t, "stays", "o", []byte("x"))
	gone := store.Buckets.Get(c.store.Snapshot(), "gone")
	if err := c.engine.Drop(t.Context(), gone.Engine); err != nil {
		t.Fatal(err)
	}
	_, err := c.mine.PutObject(t.Context(), &awss3.PutObjectInput{Bucket: aws.String("gone"), Key: aws.String("o"), Body: strings.NewReader("x")})
	wantCode(t, "put", err, "NoSuchBucket", 404)
	if err := c.service.Recover(t.Context()); err != nil {
		t.Fatal(err)
	}
	l, err := c.mine.ListBuckets(t.Context(), &awss3.ListBucketsInput{})
	if err != nil || len(l.Buckets) != 1 || *l.Buckets[0].Name != "stays" {
		t.Fatalf("buckets: %v, %v", l, err)
	}
	c.bucket(t, "gone")
	c.put(t, "gone", "o", []byte("x"))
}
