package s3_test

import (
	"context"
	"errors"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	awss3 "github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"

	"karri.dev/internal/object"
	"karri.dev/internal/object/disk"
	"karri.dev/internal/service/s3"
	"karri.dev/internal/store"
)

// TestStores: a bucket's bytes are where its location says, or where its account's are, and nowhere else.
func TestStores(t *testing.T) {
	c := newCloud(t)
	make := func(name, location string) error {
		in := &awss3.CreateBucketInput{Bucket: &name}
		if location != "" {
			in.CreateBucketConfiguration = &types.CreateBucketConfiguration{LocationConstraint: types.BucketLocationConstraint(location)}
		}
		_, err := c.mine.CreateBucket(t.Context(), in)
		return err
	}
	check := func(name string, in, out *disk.Engine) {
		t.Helper()
		if _, err := c.mine.PutObject(t.Context(), &awss3.PutObjectInput{Bucket: &name, Key: aws.String("k"), Body: strings.NewReader("text")}); err != nil {
			t.Fatal(err)
		}
		b := store.Buckets.Get(c.store.Snapshot(), name)
		if _, err := in.Head(t.Context(), b.Engine, "k", ""); err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if _, err := out.Head(t.Context(), b.Engine, "k", ""); !errors.Is(err, object.ErrNotFound) {
			t.Fatalf("%s is in the other store: %v", name, err)
		}
		if l, err := c.mine.GetBucketLocation(t.Context(), &awss3.GetBucketLocationInput{Bucket: &name}); err != nil || strings.Contains(string(l.LocationConstraint), ":") {
			t.Fatalf("location of %s: %v, %v", name, l, err)
		}
	}
	for name, location := range map[string]string{"far": ":archive", "europe-far": "eu-west-1:archive"} {
		if err := make(name, location); err != nil {
			t.Fatal(name, err)
		}
		check(name, c.archive, c.engine)
	}
	if err := make("near", ""); err != nil {
		t.Fatal(err)
	}
	check("near", c.engine, c.archive)
	for _, bad := range []string{":", ":nowhere", "us-west-9:archive", ":archive:archive", "archive"} {
		wantCode(t, bad, make("bad-bucket", bad), "InvalidLocationConstraint", 400)
	}
	// From one to the other, and the end of a bucket.
	if _, err := c.mine.CopyObject(t.Context(), &awss3.CopyObjectInput{Bucket: aws.String("near"), Key: aws.String("copy"), CopySource: aws.String("far/k")}); err != nil {
		t.Fatal(err)
	}
	_, err := c.mine.DeleteBucket(t.Context(), &awss3.DeleteBucketInput{Bucket: aws.String("far")})
	wantCode(t, "a bucket that is not empty", err, "BucketNotEmpty", 409)
	if _, err := c.mine.DeleteObject(t.Context(), &awss3.DeleteObjectInput{Bucket: aws.String("far"), Key: aws.String("k")}); err != nil {
		t.Fatal(err)
	}
	if _, err := c.mine.DeleteBucket(t.Context(), &awss3.DeleteBucketInput{Bucket: aws.String("far")}); err != nil {
		t.Fatal(err)
	}
	// The administrator's choice for an account.
	set := func(text string) {
		t.Helper()
		d, err := s3.ParseDefaults(text)
		if err != nil {
			t.Fatal(err)
		}
		account := store.Buckets.Get(c.store.Snapshot(), "near").AccountID
		if err := c.store.Update(context.Background(), func(tx *store.Tx) error { return d.Put(tx, account) }); err != nil {
			t.Fatal(err)
		}
	}
	set("store=archive")
	if err := make("by-account", ""); err != nil {
		t.Fatal(err)
	}
	check("by-account", c.archive, c.engine)
	set("store=gone")
	wantCode(t, "a store that is gone", make("other", ""), "ServiceUnavailable", 503)
	for _, bad := range []string{"store", "store=", "acls=x"} {
		if _, err := s3.ParseDefaults(bad); err == nil {
			t.Errorf("%q: no error", bad)
		}
	}
}
