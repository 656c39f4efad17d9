package s3_test

import (
	"bytes"
	"crypto/md5"
	"encoding/base64"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	awss3 "github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"
)

func TestEncryption(t *testing.T) {
	c, ctx := newCloud(t), t.Context()
	c.bucket(t, "bkt")
	bucket, key := aws.String("bkt"), aws.String("o")
	conf, err := c.mine.GetBucketEncryption(ctx, &awss3.GetBucketEncryptionInput{Bucket: bucket})
	if err != nil || conf.ServerSideEncryptionConfiguration.Rules[0].ApplyServerSideEncryptionByDefault.SSEAlgorithm != "AES256" {
		t.Fatalf("%+v, %v", conf, err)
	}
	configure := func(algorithm types.ServerSideEncryption, kmsKey *string) error {
		_, err := c.mine.PutBucketEncryption(ctx, &awss3.PutBucketEncryptionInput{Bucket: bucket, ServerSideEncryptionConfiguration: &types.ServerSideEncryptionConfiguration{
			Rules: []types.ServerSideEncryptionRule{{BucketKeyEnabled: aws.Bool(true), ApplyServerSideEncryptionByDefault: &types.ServerSideEncryptionByDefault{SSEAlgorithm: algorithm, KMSMasterKeyID: kmsKey}}},
		}})
		return err
	}
	wantCode(t, "kms", configure("aws:kms", nil), "NotImplemented", 501)
	wantCode(t, "unknown", configure("ROT13", nil), "MalformedXML", 400)
	wantCode(t, "key", configure("AES256", aws.String("k")), "InvalidArgument", 400)
	if err := configure("AES256", nil); err != nil {
		t.Fatal(err)
	}
	if conf, err = c.mine.GetBucketEncryption(ctx, &awss3.GetBucketEncryptionInput{Bucket: bucket}); err != nil || !*conf.ServerSideEncryptionConfiguration.Rules[0].BucketKeyEnabled {
		t.Fatalf("%+v, %v", conf, err)
	}
	if _, err := c.mine.DeleteBucketEncryption(ctx, &awss3.DeleteBucketEncryptionInput{Bucket: bucket}); err != nil {
		t.Fatal(err)
	}
	_, err = c.them.DeleteBucketEncryption(ctx, &awss3.DeleteBucketEncryptionInput{Bucket: bucket})
	wantCode(t, "another account", err, "AccessDenied", 403)
	for _, asked := range []types.ServerSideEncryption{"", "AES256"} {
		put, err := c.mine.PutObject(ctx, &awss3.PutObjectInput{Bucket: bucket, Key: key, Body: strings.NewReader("body"), ServerSideEncryption: asked})
		if err != nil || put.ServerSideEncryption != "AES256" {
			t.Fatalf("put: %+v, %v", put, err)
		}
	}
	head, err := c.mine.HeadObject(ctx, &awss3.HeadObjectInput{Bucket: bucket, Key: key})
	if err != nil || head.ServerSideEncryption != "AES256" || string(c.get(t, "bkt", "o")) != "body" {
		t.Fatalf("head: %+v, %v", head, err)
	}
	up, err := c.mine.CreateMultipartUpload(ctx, &awss3.CreateMultipartUploadInput{Bucket: bucket, Key: key})
	if err != nil || up.ServerSideEncryption != "AES256" {
		t.Fatalf("upload: %+v, %v", up, err)
	}
}

func TestCustomerKeys(t *testing.T) {
	c, ctx := newCloud(t), t.Context()
	c.bucket(t, "bkt")
	bucket, name, algorithm := aws.String("bkt"), aws.String("o"), aws.String("AES256")
	encoded := func(b []byte) *string { s := base64.StdEncoding.EncodeToString(b); return &s }
	digest := func(b []byte) *string { s := md5.Sum(b); return encoded(s[:]) }
	key, other := bytes.Repeat([]byte{1}, 32), bytes.Repeat([]byte{2}, 32)
	put, err := c.mine.PutObject(ctx, &awss3.PutObjectInput{
		Bucket: bucket, Key: name, Body: strings.NewReader("body"), SSECustomerAlgorithm: algorithm, SSECustomerKey: encoded(key), SSECustomerKeyMD5: digest(key),
	})
	if err != nil || *put.SSECustomerAlgorithm != "AES256" || *put.SSECustomerKeyMD5 != *digest(key) || put.ServerSideEncryption != "" {
		t.Fatalf("put: %+v, %v", put, err)
	}
	if plain := md5.Sum([]byte("body")); strings.Contains(*put.ETag, string(plain[:])) {
		t.Fatal("the ETag tells of the body")
	}
	get := func(name string, k []byte) (*awss3.GetObjectOutput, error) {
		in := &awss3.GetObjectInput{Bucket: bucket, Key: &name}
		if k != nil {
			in.SSECustomerAlgorithm, in.SSECustomerKey, in.SSECustomerKeyMD5 = algorithm, encoded(k), digest(k)
		}
		return c.mine.GetObject(ctx, in)
	}
	out, err := get("o", key)
	if err != nil || string(read(t, out.Body)) != "body" || *out.SSECustomerKeyMD5 != *digest(key) {
		t.Fatalf("get: %+v, %v", out, err)
	}
	_, err = get("o", nil)
	wantCode(t, "no key", err, "InvalidRequest", 400)
	_, err = get("o", other)
	wantCode(t, "another key", err, "AccessDenied", 403)
	c.put(t, "bkt", "plain", []byte("x"))
	_, err = get("plain", key)
	wantCode(t, "needless key", err, "InvalidRequest", 400)
	_, err = c.mine.HeadObject(ctx, &awss3.HeadObjectInput{Bucket: bucket, Key: name})
	if err == nil || !strings.Contains(err.Error(), "StatusCode: 400") {
		t.Fatalf("head without the key: %v", err)
	}
	for what, in := range map[string]awss3.PutObjectInput{
		"algorithm": {SSECustomerAlgorithm: aws.String("ROT13"), SSECustomerKey: encoded(key), SSECustomerKeyMD5: digest(key)},
		"short":     {SSECustomerAlgorithm: algorithm, SSECustomerKey: encoded(key[:31]), SSECustomerKeyMD5: digest(key[:31])},
		"md5":       {SSECustomerAlgorithm: algorithm, SSECustomerKey: encoded(key), SSECustomerKeyMD5: digest(other)},
		"alone":     {SSECustomerAlgorithm: algorithm},
		"both":      {SSECustomerAlgorithm: algorithm, SSECustomerKey: encoded(key), SSECustomerKeyMD5: digest(key), ServerSideEncryption: "AES256"},
	} {
		in.Bucket, in.Key, in.Body = bucket, name, strings.NewReader("x")
		_, err := c.mine.PutObject(ctx, &in)
		wantCode(t, what, err, "InvalidArgument", 400)
	}
	// A copy changes the key, and a copy without the source's does not go.
	_, err = c.mine.CopyObject(ctx, &awss3.CopyObjectInput{Bucket: bucket, Key: name, CopySource: aws.String("bkt/o"), SSECustomerAlgorithm: algorithm, SSECustomerKey: encoded(other), SSECustomerKeyMD5: digest(other)})
	wantCode(t, "copy without key", err, "InvalidRequest", 400)
	_, err = c.mine.CopyObject(ctx, &awss3.CopyObjectInput{
		Bucket: bucket, Key: name, CopySource: aws.String("bkt/o"), SSECustomerAlgorithm: algorithm, SSECustomerKey: encoded(other), SSECustomerKeyMD5: digest(other),
		CopySourceSSECustomerAlgorithm: algorithm, CopySourceSSECustomerKey: encoded(key), CopySourceSSECustomerKeyMD5: digest(key),
	})
	if err != nil {
		t.Fatal(err)
	}
	if out, err = get("o", other); err != nil || string(read(t, out.Body)) != "body" {
		t.Fatalf("after the copy: %v", err)
	}
	up, err := c.mine.CreateMultipartUpload(ctx, &awss3.CreateMultipartUploadInput{Bucket: bucket, Key: aws.String("m"), SSECustomerAlgorithm: algorithm, SSECustomerKey: encoded(key), SSECustomerKeyMD5: digest(key)})
	if err != nil || *up.SSECustomerKeyMD5 != *digest(key) {
		t.Fatalf("%+v, %v", up, err)
	}
	part := func(k []byte) (*awss3.UploadPartOutput, error) {
		in := &awss3.UploadPartInput{Bucket: bucket, Key: aws.String("m"), UploadId: up.UploadId, PartNumber: aws.Int32(1), Body: strings.NewReader("part")}
		if k != nil {
			in.SSECustomerAlgorithm, in.SSECustomerKey, in.SSECustomerKeyMD5 = algorithm, encoded(k), digest(k)
		}
		return c.mine.UploadPart(ctx, in)
	}
	_, err = part(nil)
	wantCode(t, "part without key", err, "InvalidRequest", 400)
	_, err = part(other)
	wantCode(t, "part with another key", err, "InvalidRequest", 400)
	p, err := part(key)
	if err != nil {
		t.Fatal(err)
	}
	_, err = c.mine.CompleteMultipartUpload(ctx, &awss3.CompleteMultipartUploadInput{
		Bucket: bucket, Key: aws.String("m"), UploadId: up.UploadId, MultipartUpload: &types.CompletedMultipartUpload{Parts: []types.CompletedPart{{PartNumber: aws.Int32(1), ETag: p.ETag}}},
	})
	if err != nil {
		t.Fatal(err)
	}
	if out, err = get("m", key); err != nil || string(read(t, out.Body)) != "part" {
		t.Fatalf("multipart: %v", err)
	}
}
