package s3_test

import (
	"bytes"
	"fmt"
	"net/http"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	awss3 "github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"

	"karri.dev/internal/identity"
	"karri.dev/internal/object"
	"karri.dev/internal/quota"
	"karri.dev/internal/store"
)

func TestQuotaOfBuckets(t *testing.T) {
	c, ctx := newCloud(t), t.Context()
	err := c.store.Update(ctx, func(tx *store.Tx) error {
		return quota.Put(tx, c.accountOf(0), map[string]int64{"s3:bucketnumber": 3})
	})
	if err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	var made atomic.Int64
	for i := range 16 {
		wg.Go(func() {
			name := fmt.Sprintf("bucket-%d", i)
			if _, err := c.mine.CreateBucket(ctx, &awss3.CreateBucketInput{Bucket: &name}); err == nil {
				made.Add(1)
			} else {
				wantCode(t, name, err, "TooManyBuckets", 400)
			}
		})
	}
	wg.Wait()
	if made.Load() != 3 {
		t.Errorf("%d buckets were made", made.Load())
	}
	name := "theirs"
	if _, err := c.them.CreateBucket(ctx, &awss3.CreateBucketInput{Bucket: &name}); err != nil {
		t.Errorf("another account: %v", err)
	}
}

// user makes a user of the first account with a policy.
func (c *cloud) user(t *testing.T, name, policy string) *awss3.Client {
	t.Helper()
	_, key, err := c.id.CreateUser(t.Context(), identity.NewUser{Account: c.accountOf(0), Name: name, Key: &identity.Key{}})
	if err == nil {
		err = c.store.Update(t.Context(), func(tx *store.Tx) error {
			u := *store.Users.Get(tx, store.UserKey(c.accountOf(0), name))
			u.Inline = map[string]string{"p": policy}
			return store.Users.Put(tx, &u)
		})
	}
	if err != nil {
		t.Fatal(err)
	}
	c.keys = append(c.keys, key)
	return c.client(len(c.keys)-1, region)
}

// limits gives an account quotas by the administrator's hand.
func (c *cloud) limits(t *testing.T, n int, most map[string]int64) {
	t.Helper()
	if err := c.store.Update(t.Context(), func(tx *store.Tx) error { return quota.Put(tx, c.accountOf(n), most) }); err != nil {
		t.Fatal(err)
	}
}

// TestQuotasInBuckets: whatever is tried at the same time, in several buckets and object stores, no more is kept than is allowed.
func TestQuotasInBuckets(t *testing.T) {
	c, ctx := newCloud(t), t.Context()
	const mib = 1 << 20
	body := make([]byte, mib)
	// What was there before there was a limit counts.
	for i, name := range []string{"one", "two", "three"} {
		in := &awss3.CreateBucketInput{Bucket: &name}
		if i == 1 {
			in.CreateBucketConfiguration = &types.CreateBucketConfiguration{LocationConstraint: ":archive"}
		}
		if _, err := c.mine.CreateBucket(ctx, in); err != nil {
			t.Fatal(err)
		}
		c.put(t, name, "first", body)
	}
	put := func(client *awss3.Client, bucket, key string, body []byte) error {
		_, err := client.PutObject(ctx, &awss3.PutObjectInput{Bucket: &bucket, Key: &key, Body: bytes.NewReader(body)})
		return err
	}
	c.limits(t, 0, map[string]int64{"s3:buckettotalsize": 8, "s3:bucketsize": 3})
	var wg sync.WaitGroup
	var made atomic.Int64
	for i := range 30 {
		wg.Go(func() {
			bucket := []string{"one", "two", "three"}[i%3]
			if err := put(c.mine, bucket, fmt.Sprint(i), body); err == nil {
				made.Add(1)
			} else {
				wantCode(t, bucket, err, "QuotaExceeded", http.StatusForbidden)
			}
		})
	}
	wg.Wait()
	usage := func() (objects, bytes int64) {
		t.Helper()
		all, err := c.service.Usage(ctx, c.accountOf(0))
		if err != nil {
			t.Fatal(err)
		}
		for _, b := range all {
			if b.Bytes > 3*mib {
				t.Errorf("%+v", b)
			}
			objects, bytes = objects+b.Objects, bytes+b.Bytes
		}
		return objects, bytes
	}
	if objects, bytes := usage(); made.Load() != 5 || objects != 8 || bytes != 8*mib {
		t.Fatalf("%d writes were taken: %d objects, %d bytes", made.Load(), objects, bytes)
	}
	// In place of what is there, nothing, and what is deleted first: yes. A part, a copy, a form of another account: no.
	for what, err := range map[string]error{"in place": put(c.mine, "one", "first", body), "nothing": put(c.mine, "one", "empty", nil)} {
		if err != nil {
			t.Errorf("%s: %v", what, err)
		}
	}
	wantCode(t, "one byte", put(c.mine, "one", "byte", []byte{1}), "QuotaExceeded", http.StatusForbidden)
	bucket, key := aws.String("one"), aws.String("copy")
	_, err := c.mine.CopyObject(ctx, &awss3.CopyObjectInput{Bucket: bucket, Key: key, CopySource: aws.String("three/first")})
	wantCode(t, "a copy", err, "QuotaExceeded", http.StatusForbidden)
	upload, err := c.mine.CreateMultipartUpload(ctx, &awss3.CreateMultipartUploadInput{Bucket: bucket, Key: key})
	if err != nil {
		t.Fatal(err)
	}
	_, err = c.mine.UploadPart(ctx, &awss3.UploadPartInput{Bucket: bucket, Key: key, UploadId: upload.UploadId, PartNumber: aws.Int32(1), Body: bytes.NewReader([]byte{1})})
	wantCode(t, "a part", err, "QuotaExceeded", http.StatusForbidden)
	_, err = c.mine.UploadPartCopy(ctx, &awss3.UploadPartCopyInput{Bucket: bucket, Key: key, UploadId: upload.UploadId, PartNumber: aws.Int32(1), CopySource: aws.String("three/first")})
	wantCode(t, "a part from an object", err, "QuotaExceeded", http.StatusForbidden)
	policy := `{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Principal":{"AWS":"` + c.accountOf(1) + `"},"Action":"s3:PutObject","Resource":"arn:aws:s3:::one/*"}]}`
	if _, err := c.mine.PutBucketPolicy(ctx, &awss3.PutBucketPolicyInput{Bucket: bucket, Policy: &policy}); err != nil {
		t.Fatal(err)
	}
	wantCode(t, "another account's", put(c.them, "one", "theirs", body), "QuotaExceeded", http.StatusForbidden)
	if _, err := c.mine.DeleteObject(ctx, &awss3.DeleteObjectInput{Bucket: bucket, Key: aws.String("first")}); err != nil {
		t.Fatal(err)
	}
	if err := put(c.them, "one", "theirs", body); err != nil {
		t.Errorf("into what became free: %v", err)
	}
	// Versions count, and deletions are never refused.
	c.limits(t, 0, map[string]int64{"s3:buckettotalsize": quota.None, "s3:bucketsize": quota.None, "s3:bucketobjectnumber": 2})
	c.bucket(t, "versions")
	if _, err := c.mine.PutBucketVersioning(ctx, &awss3.PutBucketVersioningInput{Bucket: aws.String("versions"), VersioningConfiguration: &types.VersioningConfiguration{Status: "Enabled"}}); err != nil {
		t.Fatal(err)
	}
	for i, want := range []bool{true, true, false} {
		if err := put(c.mine, "versions", "k", nil); (err == nil) != want {
			t.Errorf("version %d: %v", i, err)
		}
	}
	if _, err := c.mine.DeleteObject(ctx, &awss3.DeleteObjectInput{Bucket: aws.String("versions"), Key: aws.String("k")}); err != nil {
		t.Error(err)
	}
	if n, err := c.engine.Tally(ctx, store.Buckets.Get(c.store.Snapshot(), "versions").Engine); err != nil || n != (object.Tally{Objects: 3}) {
		t.Errorf("%+v, %v", n, err)
	}
}

// TestQuotasOfUsers: a user's policy limits what the user writes, and, of all buckets, those that the user made.
func TestQuotasOfUsers(t *testing.T) {
	c, ctx := newCloud(t), t.Context()
	user := c.user(t, "marie", `{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":"s3:*","Resource":"*"},
		{"Effect":"Limit","Action":"s3:PutObject","Resource":"*","Condition":{"NumericLessThanEquals":{"s3:quota-buckettotalsize":"1"}}},
		{"Effect":"Limit","Action":"s3:PutObject","Resource":"arn:aws:s3:::small/*","Condition":{"NumericLessThan":{"s3:quota-bucketobjectnumber":"2"}}}]}`)
	c.bucket(t, "large")
	c.bucket(t, "small")
	c.put(t, "large", "root", make([]byte, 3<<20))
	put := func(bucket, key string, size int) error {
		_, err := user.PutObject(ctx, &awss3.PutObjectInput{Bucket: &bucket, Key: &key, Body: bytes.NewReader(make([]byte, size))})
		return err
	}
	name := "hers"
	if _, err := user.CreateBucket(ctx, &awss3.CreateBucketInput{Bucket: &name}); err != nil {
		t.Fatal(err)
	}
	for _, p := range []struct {
		bucket, key string
		size        int
		ok          bool
	}{{"hers", "1", 1 << 20, true}, {"hers", "2", 1, false}, {"large", "3", 0, true}, {"small", "4", 0, true}, {"small", "5", 0, false}} {
		if err := put(p.bucket, p.key, p.size); p.ok && err != nil {
			t.Errorf("%s/%s: %v", p.bucket, p.key, err)
		} else if !p.ok {
			wantCode(t, p.bucket+"/"+p.key, err, "QuotaExceeded", http.StatusForbidden)
		}
	}
	c.put(t, "small", "root's", make([]byte, 2<<20))
}
