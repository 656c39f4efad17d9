package s3_test

import (
	"errors"
	"net/http"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	awss3 "github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"
	smithyhttp "github.com/aws/smithy-go/transport/http"

	"karri.dev/internal/identity"
	"karri.dev/internal/store"
)

// Who may list a bucket, read an object and write one: its account's root, another account's root, and anybody, by the
// bucket's policy, its ACL and what it blocks.
func TestWhoMayUseABucket(t *testing.T) {
	c := newCloud(t)
	const (
		list    = 1 << iota
		get     // an object
		put     // an object
		nothing = 0
		all     = list | get | put
	)
	open := func(effect, principal, actions string) string {
		return `{"Version":"2012-10-17","Statement":[{"Effect":"` + effect + `","Principal":` + principal + `,"Action":[` + actions + `],"Resource":["arn:aws:s3:::BUCKET","arn:aws:s3:::BUCKET/*"]}]}`
	}
	them := `{"AWS":"` + c.accountOf(1) + `"}`
	canonical := "id=" + c.canonicalOf(1)
	for _, tt := range []struct {
		name             string
		policy           string
		read, write      string // grants of the ACL
		canned           types.BucketCannedACL
		ignore, restrict bool // public access block
		owner, them, any int
	}{
		{name: "nothing said", owner: all},
		{name: "policy for an account", policy: open("Allow", them, `"s3:ListBucket","s3:GetObject"`), owner: all, them: list | get},
		{name: "policy for everyone", policy: open("Allow", `"*"`, `"s3:GetObject"`), owner: all, them: get, any: get},
		{name: "the same, restricted", policy: open("Allow", `"*"`, `"s3:GetObject"`), restrict: true, owner: all},
		{name: "an account is not public", policy: open("Allow", them, `"s3:PutObject"`), restrict: true, owner: all, them: put},
		{name: "a denial is for the owner, too", policy: open("Deny", `"*"`, `"s3:PutObject"`), owner: list | get},
		{name: "ACL lets an account list", read: canonical, owner: all, them: list},
		{name: "ACL lets an account write", write: canonical, owner: all, them: put},
		{name: "public ACL", canned: types.BucketCannedACLPublicRead, owner: all, them: list, any: list},
		{name: "public ACL, ignored", canned: types.BucketCannedACLPublicRead, ignore: true, owner: all},
		{name: "ACL for an account is not public", read: canonical, ignore: true, owner: all, them: list},
		{name: "ACL for who has signed", canned: types.BucketCannedACLAuthenticatedRead, owner: all, them: list},
		{name: "denied by policy, allowed by ACL", policy: open("Deny", them, `"s3:ListBucket"`), canned: types.BucketCannedACLPublicRead, owner: all, any: list},
	} {
		t.Run(tt.name, func(t *testing.T) {
			const bucket = "access"
			ctx := t.Context()
			check := func(err error) {
				t.Helper()
				if err != nil {
					t.Fatal(err)
				}
			}
			_, err := c.mine.CreateBucket(ctx, &awss3.CreateBucketInput{Bucket: aws.String(bucket), ObjectOwnership: types.ObjectOwnershipBucketOwnerPreferred})
			check(err)
			c.put(t, bucket, "key", []byte("data"))
			block := func(ignore, restrict bool) {
				_, err := c.mine.PutPublicAccessBlock(ctx, &awss3.PutPublicAccessBlockInput{
					Bucket:                         aws.String(bucket),
					PublicAccessBlockConfiguration: &types.PublicAccessBlockConfiguration{IgnorePublicAcls: &ignore, RestrictPublicBuckets: &restrict},
				})
				check(err)
			}
			block(false, false)
			if tt.policy != "" {
				_, err := c.mine.PutBucketPolicy(ctx, &awss3.PutBucketPolicyInput{Bucket: aws.String(bucket), Policy: aws.String(strings.ReplaceAll(tt.policy, "BUCKET", bucket))})
				check(err)
			}
			if tt.canned != "" || tt.read != "" || tt.write != "" {
				in := &awss3.PutBucketAclInput{Bucket: aws.String(bucket), ACL: tt.canned}
				if tt.read != "" {
					in.GrantRead = &tt.read
				}
				if tt.write != "" {
					in.GrantWrite = &tt.write
				}
				_, err := c.mine.PutBucketAcl(ctx, in)
				check(err)
			}
			block(tt.ignore, tt.restrict)

			anybody := c.client(0, region, func(o *awss3.Options) { o.Credentials = aws.AnonymousCredentials{} })
			for name, who := range map[string]struct {
				client *awss3.Client
				want   int
			}{"owner": {c.mine, tt.owner}, "another account": {c.them, tt.them}, "anybody": {anybody, tt.any}} {
				got := nothing
				_, listErr := who.client.ListObjectsV2(ctx, &awss3.ListObjectsV2Input{Bucket: aws.String(bucket)})
				_, getErr := who.client.HeadObject(ctx, &awss3.HeadObjectInput{Bucket: aws.String(bucket), Key: aws.String("key")})
				_, putErr := who.client.PutObject(ctx, &awss3.PutObjectInput{Bucket: aws.String(bucket), Key: aws.String("other")})
				for bit, err := range map[int]error{list: listErr, get: getErr, put: putErr} {
					switch {
					case err == nil:
						got |= bit
					case status(err) != http.StatusForbidden:
						t.Errorf("%s: %v", name, err)
					}
				}
				if got != who.want {
					t.Errorf("%s: may %03b, want %03b (put, get, list): %v, %v, %v", name, got, who.want, listErr, getErr, putErr)
				}
			}
			for _, key := range []string{"key", "other"} {
				_, _ = c.mine.DeleteObject(ctx, &awss3.DeleteObjectInput{Bucket: aws.String(bucket), Key: aws.String(key)})
			}
			_, err = c.mine.DeleteBucket(ctx, &awss3.DeleteBucketInput{Bucket: aws.String(bucket)})
			check(err)
		})
	}
}

// accountOf gives the id of account n, canonicalOf its canonical one.
func (c *cloud) accountOf(n int) string {
	return store.AccessKeys.Get(c.store.Snapshot(), c.keys[n].ID).AccountID
}

func (c *cloud) canonicalOf(n int) string {
	return store.Accounts.Get(c.store.Snapshot(), c.accountOf(n)).CanonicalID
}

// status gives the HTTP status of a refused call, 0 for other errors.
func status(err error) int {
	var response *smithyhttp.ResponseError
	if errors.As(err, &response) {
		return response.HTTPStatusCode()
	}
	return 0
}

// A policy means who had a name when it was written, not who has it later.
func TestANewUserInheritsNoPolicy(t *testing.T) {
	c, ctx := newCloud(t), t.Context()
	c.bucket(t, "kept")
	c.put(t, "kept", "key", []byte("data"))
	ann := func() *awss3.Client {
		_, key, err := c.id.CreateUser(ctx, identity.NewUser{Account: c.accountOf(0), Name: "ann", Key: &identity.Key{}})
		if err != nil {
			t.Fatal(err)
		}
		c.keys = append(c.keys, key)
		return c.client(len(c.keys)-1, region)
	}
	get := func(client *awss3.Client) error {
		_, err := client.HeadObject(ctx, &awss3.HeadObjectInput{Bucket: aws.String("kept"), Key: aws.String("key")})
		return err
	}
	first := ann()
	text := `{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Principal":{"AWS":"arn:aws:iam::` + c.accountOf(0) + `:user/ann"},"Action":"s3:GetObject","Resource":"arn:aws:s3:::kept/*"}]}`
	if err := get(first); status(err) != http.StatusForbidden {
		t.Errorf("before the policy: %v", err)
	}
	if _, err := c.mine.PutBucketPolicy(ctx, &awss3.PutBucketPolicyInput{Bucket: aws.String("kept"), Policy: &text}); err != nil {
		t.Fatal(err)
	}
	if err := get(first); err != nil {
		t.Errorf("whom the policy names: %v", err)
	}
	err := c.store.Update(ctx, func(tx *store.Tx) error {
		store.AccessKeys.Delete(tx, c.keys[len(c.keys)-1].ID)
		store.Users.Delete(tx, store.UserKey(c.accountOf(0), "ann"))
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := get(ann()); status(err) != http.StatusForbidden {
		t.Errorf("another user of that name: %v", err)
	}
	if out, err := c.mine.GetBucketPolicy(ctx, &awss3.GetBucketPolicyInput{Bucket: aws.String("kept")}); err != nil || *out.Policy != text {
		t.Errorf("the policy as it was put: %v", err)
	}
}
