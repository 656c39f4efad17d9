package s3_test

import (
	"net/http"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	awss3 "github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"

	"karri.dev/internal/identity"
	"karri.dev/internal/store"
)

// Condition keys of S3: a user may do everything, but for what one statement denies under a condition.
func TestConditionKeys(t *testing.T) {
	c, ctx := newCloud(t), t.Context()
	c.bucket(t, "kept")
	c.put(t, "kept", "home/a", []byte("data"))
	if _, err := c.mine.PutObjectTagging(ctx, &awss3.PutObjectTaggingInput{
		Bucket: aws.String("kept"), Key: aws.String("home/a"), Tagging: &types.Tagging{TagSet: []types.Tag{{Key: aws.String("class"), Value: aws.String("red")}}},
	}); err != nil {
		t.Fatal(err)
	}
	_, key, err := c.id.CreateUser(ctx, identity.NewUser{Account: c.accountOf(0), Name: "ann", Key: &identity.Key{}})
	if err != nil {
		t.Fatal(err)
	}
	c.keys = append(c.keys, key)
	ann := c.client(len(c.keys)-1, region)
	policy := func(statements string) {
		err := c.store.Update(ctx, func(tx *store.Tx) error {
			u := *store.Users.Get(tx, store.UserKey(c.accountOf(0), "ann"))
			u.Inline = map[string]string{"p": `{"Version":"2012-10-17","Statement":[` + statements + `]}`}
			return store.Users.Put(tx, &u)
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	list := func(prefix string) error {
		_, err := ann.ListObjectsV2(ctx, &awss3.ListObjectsV2Input{Bucket: aws.String("kept"), Prefix: &prefix, MaxKeys: aws.Int32(5)})
		return err
	}
	get := func() error {
		_, err := ann.HeadObject(ctx, &awss3.HeadObjectInput{Bucket: aws.String("kept"), Key: aws.String("home/a")})
		return err
	}
	put := func(change func(*awss3.PutObjectInput)) error {
		in := &awss3.PutObjectInput{Bucket: aws.String("kept"), Key: aws.String("new"), Body: strings.NewReader("x")}
		change(in)
		_, err := ann.PutObject(ctx, in)
		return err
	}
	copyOf := func(source string) error {
		_, err := ann.CopyObject(ctx, &awss3.CopyObjectInput{Bucket: aws.String("kept"), Key: aws.String("copy"), CopySource: &source})
		return err
	}
	for _, tt := range []struct {
		condition       string
		denied, allowed func() error
	}{
		{`"StringLike":{"s3:prefix":"home/*"}`, func() error { return list("home/a") }, func() error { return list("other") }},
		{`"StringEquals":{"s3:prefix":""}`, func() error { return list("") }, func() error { return list("home/") }},
		{`"NumericLessThan":{"s3:max-keys":"10"}`, func() error { return list("") }, get},
		{`"StringEquals":{"s3:ExistingObjectTag/class":"red"}`, get, func() error { return list("") }},
		{`"StringEquals":{"s3:RequestObjectTag/a":"b"}`, func() error { return put(func(in *awss3.PutObjectInput) { in.Tagging = aws.String("%61=b") }) }, func() error { return put(func(in *awss3.PutObjectInput) { in.Tagging = aws.String("a=c") }) }},
		{`"ForAnyValue:StringEquals":{"s3:RequestObjectTagKeys":"a"}`, func() error { return put(func(in *awss3.PutObjectInput) { in.Tagging = aws.String("b=1&a=2") }) }, func() error { return put(func(in *awss3.PutObjectInput) { in.Tagging = aws.String("b=1") }) }},
		{`"StringEquals":{"s3:x-amz-server-side-encryption":"AES256"}`, func() error {
			return put(func(in *awss3.PutObjectInput) { in.ServerSideEncryption = types.ServerSideEncryptionAes256 })
		}, func() error { return put(func(*awss3.PutObjectInput) {}) }},
		{`"StringEquals":{"s3:x-amz-storage-class":"STANDARD"}`, func() error {
			return put(func(in *awss3.PutObjectInput) { in.StorageClass = types.StorageClassStandard })
		}, func() error { return put(func(*awss3.PutObjectInput) {}) }},
		{`"StringLike":{"s3:x-amz-copy-source":"kept/home/*"}`, func() error { return copyOf("/kept/%68ome/a") }, func() error { return copyOf("kept/new") }},
		{`"StringEquals":{"s3:signatureversion":"AWS4-HMAC-SHA256"}`, get, nil},
		{`"StringEquals":{"s3:authType":"REST-HEADER"}`, get, nil},
	} {
		policy(`{"Effect":"Allow","Action":"s3:*","Resource":"*"}`)
		if err := put(func(*awss3.PutObjectInput) {}); err != nil {
			t.Fatal(err)
		}
		policy(`{"Effect":"Allow","Action":"s3:*","Resource":"*"},{"Effect":"Deny","Action":"s3:*","Resource":"*","Condition":{` + tt.condition + `}}`)
		if err := tt.denied(); status(err) != http.StatusForbidden {
			t.Errorf("%s: %v", tt.condition, err)
		}
		if tt.allowed == nil {
			continue
		}
		if err := tt.allowed(); err != nil {
			t.Errorf("%s, which does not hold: %v", tt.condition, err)
		}
	}

	// Who may not list is not told that there is no such object.
	missing := func() error {
		_, err := ann.HeadObject(ctx, &awss3.HeadObjectInput{Bucket: aws.String("kept"), Key: aws.String("missing")})
		return err
	}
	policy(`{"Effect":"Allow","Action":["s3:GetObject","s3:ListBucket"],"Resource":"*"}`)
	if err := missing(); status(err) != http.StatusNotFound {
		t.Errorf("who may list: %v", err)
	}
	policy(`{"Effect":"Allow","Action":"s3:GetObject","Resource":"*"}`)
	if err := missing(); status(err) != http.StatusForbidden {
		t.Errorf("who may not list: %v", err)
	}
	if err := get(); err != nil {
		t.Errorf("what is there: %v", err)
	}
}
