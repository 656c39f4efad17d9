package s3_test

import (
	"net/http"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	awss3 "github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"
	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
)

// Terraform and others read every setting of a bucket: those that no bucket can have are answered as AWS
// answers them of a bucket that never got one.
func TestSettings(t *testing.T) {
	c, ctx := newCloud(t), t.Context()
	c.bucket(t, "bkt")
	ask := map[string]func(*awss3.Client, *string) (any, error){
		"NoSuchBucketPolicy": func(a *awss3.Client, b *string) (any, error) {
			return a.GetBucketPolicy(ctx, &awss3.GetBucketPolicyInput{Bucket: b})
		},
		"NoSuchBucketPolicy ": func(a *awss3.Client, b *string) (any, error) {
			return a.GetBucketPolicyStatus(ctx, &awss3.GetBucketPolicyStatusInput{Bucket: b})
		},
		"NoSuchCORSConfiguration": func(a *awss3.Client, b *string) (any, error) {
			return a.GetBucketCors(ctx, &awss3.GetBucketCorsInput{Bucket: b})
		},
		"NoSuchWebsiteConfiguration": func(a *awss3.Client, b *string) (any, error) {
			return a.GetBucketWebsite(ctx, &awss3.GetBucketWebsiteInput{Bucket: b})
		},
		"NoSuchLifecycleConfiguration": func(a *awss3.Client, b *string) (any, error) {
			return a.GetBucketLifecycleConfiguration(ctx, &awss3.GetBucketLifecycleConfigurationInput{Bucket: b})
		},
		"ReplicationConfigurationNotFoundError": func(a *awss3.Client, b *string) (any, error) {
			return a.GetBucketReplication(ctx, &awss3.GetBucketReplicationInput{Bucket: b})
		},
		"ObjectLockConfigurationNotFoundError": func(a *awss3.Client, b *string) (any, error) {
			return a.GetObjectLockConfiguration(ctx, &awss3.GetObjectLockConfigurationInput{Bucket: b})
		},
		"NoSuchTagSet": func(a *awss3.Client, b *string) (any, error) {
			return a.GetBucketTagging(ctx, &awss3.GetBucketTaggingInput{Bucket: b})
		},
	}
	given := map[string]func(*awss3.Client, *string) (any, error){
		"encryption": func(a *awss3.Client, b *string) (any, error) {
			return a.GetBucketEncryption(ctx, &awss3.GetBucketEncryptionInput{Bucket: b})
		},
		"acceleration": func(a *awss3.Client, b *string) (any, error) {
			return a.GetBucketAccelerateConfiguration(ctx, &awss3.GetBucketAccelerateConfigurationInput{Bucket: b})
		},
		"logging": func(a *awss3.Client, b *string) (any, error) {
			return a.GetBucketLogging(ctx, &awss3.GetBucketLoggingInput{Bucket: b})
		},
		"notification": func(a *awss3.Client, b *string) (any, error) {
			return a.GetBucketNotificationConfiguration(ctx, &awss3.GetBucketNotificationConfigurationInput{Bucket: b})
		},
		"payment": func(a *awss3.Client, b *string) (any, error) {
			return a.GetBucketRequestPayment(ctx, &awss3.GetBucketRequestPaymentInput{Bucket: b})
		},
		"ownership": func(a *awss3.Client, b *string) (any, error) {
			return a.GetBucketOwnershipControls(ctx, &awss3.GetBucketOwnershipControlsInput{Bucket: b})
		},
		"public access": func(a *awss3.Client, b *string) (any, error) {
			return a.GetPublicAccessBlock(ctx, &awss3.GetPublicAccessBlockInput{Bucket: b})
		},
		"acl": func(a *awss3.Client, b *string) (any, error) {
			return a.GetBucketAcl(ctx, &awss3.GetBucketAclInput{Bucket: b})
		},
	}
	for code, f := range ask {
		_, err := f(c.mine, aws.String("bkt"))
		for code[len(code)-1] == ' ' {
			code = code[:len(code)-1]
		}
		wantCode(t, code, err, code, http.StatusNotFound)
		given[code] = f
	}
	for name, f := range given {
		if ask[name] == nil {
			if _, err := f(c.mine, aws.String("bkt")); err != nil {
				t.Errorf("%s: %v", name, err)
			}
		}
		_, err := f(c.them, aws.String("bkt"))
		wantCode(t, name+" of another account", err, "AccessDenied", http.StatusForbidden)
		_, err = f(c.mine, aws.String("none"))
		wantCode(t, name+" of no bucket", err, "NoSuchBucket", http.StatusNotFound)
	}
	acl, err := c.mine.GetBucketAcl(ctx, &awss3.GetBucketAclInput{Bucket: aws.String("bkt")})
	if err != nil {
		t.Fatal(err)
	}
	if g := acl.Grants; len(g) != 1 || g[0].Permission != types.PermissionFullControl || g[0].Grantee.Type != types.TypeCanonicalUser || *g[0].Grantee.ID != *acl.Owner.ID {
		t.Errorf("acl: %+v", acl)
	}
	c.put(t, "bkt", "key", []byte("x"))
	if _, err := c.mine.GetObjectAcl(ctx, &awss3.GetObjectAclInput{Bucket: aws.String("bkt"), Key: aws.String("key")}); err != nil {
		t.Error(err)
	}
	tags, err := c.mine.GetObjectTagging(ctx, &awss3.GetObjectTaggingInput{Bucket: aws.String("bkt"), Key: aws.String("key")})
	if err != nil || len(tags.TagSet) != 0 {
		t.Errorf("tags: %v, %v", tags, err)
	}
	_, err = c.mine.GetObjectTagging(ctx, &awss3.GetObjectTaggingInput{Bucket: aws.String("bkt"), Key: aws.String("none")})
	wantCode(t, "tags of no object", err, "NoSuchKey", http.StatusNotFound)
}

func TestBucketTags(t *testing.T) {
	c, ctx := newCloud(t), t.Context()
	tag := func(k, v string) types.Tag { return types.Tag{Key: &k, Value: &v} }
	name := aws.String("bkt")
	_, err := c.mine.CreateBucket(ctx, &awss3.CreateBucketInput{Bucket: name, CreateBucketConfiguration: &types.CreateBucketConfiguration{Tags: []types.Tag{tag("made", "with")}}})
	if err != nil {
		t.Fatal(err)
	}
	want := func(tags ...types.Tag) {
		t.Helper()
		out, err := c.mine.GetBucketTagging(ctx, &awss3.GetBucketTaggingInput{Bucket: name})
		if len(tags) == 0 {
			wantCode(t, "no tags", err, "NoSuchTagSet", 404)
			return
		}
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(tags, out.TagSet, cmpopts.IgnoreUnexported(types.Tag{})); diff != "" {
			t.Error(diff)
		}
	}
	put := func(tags ...types.Tag) error {
		_, err := c.mine.PutBucketTagging(ctx, &awss3.PutBucketTaggingInput{Bucket: name, Tagging: &types.Tagging{TagSet: tags}})
		return err
	}
	want(tag("made", "with"))
	if err := put(tag("b", ""), tag("a", "ü <&>")); err != nil {
		t.Fatal(err)
	}
	want(tag("a", "ü <&>"), tag("b", ""))
	many := make([]types.Tag, 51)
	for i := range many {
		many[i] = tag(string(rune('a'+i)), "")
	}
	wantCode(t, "51", put(many...), "BadRequest", 400)
	wantCode(t, "system", put(tag("AWS:x", "")), "InvalidTag", 400)
	wantCode(t, "twice", put(tag("x", "1"), tag("x", "2")), "InvalidTag", 400)
	_, err = c.them.PutBucketTagging(ctx, &awss3.PutBucketTaggingInput{Bucket: name, Tagging: &types.Tagging{TagSet: []types.Tag{tag("x", "")}}})
	wantCode(t, "another account", err, "AccessDenied", 403)
	_, err = c.them.DeleteBucketTagging(ctx, &awss3.DeleteBucketTaggingInput{Bucket: name})
	wantCode(t, "another account", err, "AccessDenied", 403)
	want(tag("a", "ü <&>"), tag("b", ""))
	if _, err := c.mine.DeleteBucketTagging(ctx, &awss3.DeleteBucketTaggingInput{Bucket: name}); err != nil {
		t.Fatal(err)
	}
	want()
}
