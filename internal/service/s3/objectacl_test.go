package s3_test

import (
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	awss3 "github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"
)

// The people of TestWhoMayUseAnObject.
const (
	owner  = "owner"  // of the bucket
	writer = "writer" // another account, that was let write
	third  = "third"
	anyone = "anyone" // anonymous
)

// aclCase is one object in one bucket: where it is, who wrote it, how.
type aclCase struct {
	ownership types.ObjectOwnership
	by        string
	acl       types.ObjectCannedACL // "grant": third may read it and its ACL
	policy    string                // of the bucket: what it says of everyone and s3:GetObject, "" for nothing
	ignore    bool                  // IgnorePublicAcls
}

// may is AWS's rule, written down once more: who owns the object, what the bucket's owner forbids, what the policy allows
// of what is the bucket owner's, what the ACL grants where ACLs are on.
func (a aclCase) may(who, action string) bool {
	off := a.ownership == types.ObjectOwnershipBucketOwnerEnforced
	holder := a.by
	if off || a.ownership == types.ObjectOwnershipBucketOwnerPreferred && a.acl == types.ObjectCannedACLBucketOwnerFullControl {
		holder = owner
	}
	switch {
	case a.policy == "Deny" && action == "get":
		return false
	case who == holder:
		return true
	case a.policy == "Allow" && action == "get" && holder == owner:
		return true
	case off:
		return false
	}
	switch a.acl {
	case types.ObjectCannedACLPublicRead, types.ObjectCannedACLPublicReadWrite:
		return action == "get" && !a.ignore
	case types.ObjectCannedACLAuthenticatedRead:
		return action == "get" && !a.ignore && who != anyone
	case types.ObjectCannedACLBucketOwnerRead:
		return action == "get" && who == owner
	case types.ObjectCannedACLBucketOwnerFullControl:
		return who == owner
	case "grant":
		return who == third && action != "putACL"
	}
	return false
}

// Every combination of ownership, writer, ACL, policy, block and caller.
func TestWhoMayUseAnObject(t *testing.T) {
	c, ctx := newCloud(t), t.Context()
	clients := map[string]*awss3.Client{
		owner: c.mine, writer: c.them, third: c.account(t, "third"),
		anyone: c.client(0, region, func(o *awss3.Options) { o.Credentials = aws.AnonymousCredentials{} }),
	}
	grant := "id=" + c.canonicalOf(2)
	let := func(effect, principal, actions string) string {
		return `{"Version":"2012-10-17","Statement":[{"Effect":"` + effect + `","Principal":` + principal + `,"Action":[` + actions + `],"Resource":"arn:aws:s3:::acls/*"}]}`
	}
	check := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	policy := func(text string) {
		t.Helper()
		_, err := c.mine.PutBucketPolicy(ctx, &awss3.PutBucketPolicyInput{Bucket: aws.String("acls"), Policy: &text})
		check(err)
	}
	c.bucket(t, "acls")
	block := func(ignore bool) {
		_, err := c.mine.PutPublicAccessBlock(ctx, &awss3.PutPublicAccessBlockInput{
			Bucket: aws.String("acls"), PublicAccessBlockConfiguration: &types.PublicAccessBlockConfiguration{IgnorePublicAcls: &ignore},
		})
		check(err)
	}
	cases := 0
	for _, ownership := range types.ObjectOwnership("").Values() {
		_, err := c.mine.PutBucketOwnershipControls(ctx, &awss3.PutBucketOwnershipControlsInput{
			Bucket: aws.String("acls"), OwnershipControls: &types.OwnershipControls{Rules: []types.OwnershipControlsRule{{ObjectOwnership: ownership}}},
		})
		check(err)
		block(false)
		policy(let("Allow", `{"AWS":"`+c.accountOf(1)+`"}`, `"s3:PutObject","s3:PutObjectAcl"`))
		objects := map[string]aclCase{}
		for _, by := range []string{owner, writer} {
			for _, acl := range append(types.ObjectCannedACL("").Values(), "", "grant") {
				enforced := ownership == types.ObjectOwnershipBucketOwnerEnforced
				taken := !enforced || slices.Contains([]types.ObjectCannedACL{"", "private", "bucket-owner-full-control"}, acl)
				key := by + "/" + string(acl)
				in := &awss3.PutObjectInput{Bucket: aws.String("acls"), Key: &key, ACL: acl}
				if acl == "grant" {
					in.ACL, in.GrantRead, in.GrantReadACP = "", &grant, &grant
				}
				_, err := clients[by].PutObject(ctx, in)
				if !taken {
					wantCode(t, key, err, "AccessControlListNotSupported", http.StatusBadRequest)
					continue
				}
				check(err)
				objects[key] = aclCase{ownership: ownership, by: by, acl: acl}
			}
		}
		for _, effect := range []string{"", "Allow", "Deny"} {
			if effect == "" {
				_, err := c.mine.DeleteBucketPolicy(ctx, &awss3.DeleteBucketPolicyInput{Bucket: aws.String("acls")})
				check(err)
			} else {
				policy(let(effect, `"*"`, `"s3:GetObject"`))
			}
			for _, ignore := range []bool{false, true} {
				block(ignore)
				for key, a := range objects {
					a.policy, a.ignore = effect, ignore
					for who, client := range clients {
						for action, err := range ask(t, client, key) {
							cases++
							if err != nil && status(err) != http.StatusForbidden {
								t.Errorf("%+v: %s %s: %v", a, who, action, err)
							}
							if want := a.may(who, action); want != (err == nil) {
								t.Errorf("%+v: %s may %s: %v, want %v (%v)", a, who, action, err == nil, want, err)
							}
						}
					}
				}
			}
		}
	}
	if cases < 3000 {
		t.Errorf("%d combinations only", cases)
	}
}

// ask tries everything that an object's ACL can allow; nil errors mean that the caller may.
func ask(t *testing.T, client *awss3.Client, key string) map[string]error {
	bucket := aws.String("acls")
	_, get := client.HeadObject(t.Context(), &awss3.HeadObjectInput{Bucket: bucket, Key: &key})
	_, getACL := client.GetObjectAcl(t.Context(), &awss3.GetObjectAclInput{Bucket: bucket, Key: &key})
	// Both kinds of ACL at once are refused, but only to who may set one.
	_, putACL := client.PutObjectAcl(t.Context(), &awss3.PutObjectAclInput{Bucket: bucket, Key: &key, ACL: "private", GrantRead: aws.String("id=1")})
	if status(putACL) == http.StatusBadRequest {
		putACL = nil
	}
	return map[string]error{"get": get, "getACL": getACL, "putACL": putACL}
}

// aclBucket makes a bucket with ACLs on and nothing blocked.
func (c *cloud) aclBucket(t *testing.T, name string, ownership types.ObjectOwnership) {
	t.Helper()
	if _, err := c.mine.CreateBucket(t.Context(), &awss3.CreateBucketInput{Bucket: &name, ObjectOwnership: ownership}); err != nil {
		t.Fatal(err)
	}
	if _, err := c.mine.DeletePublicAccessBlock(t.Context(), &awss3.DeletePublicAccessBlockInput{Bucket: &name}); err != nil {
		t.Fatal(err)
	}
}

// grantsOf writes an ACL in short.
func grantsOf(grants []types.Grant) string {
	var list []string
	for _, g := range grants {
		list = append(list, aws.ToString(g.Grantee.ID)+aws.ToString(g.Grantee.URI)+" "+string(g.Permission))
	}
	return strings.Join(list, ", ")
}

func TestObjectACLs(t *testing.T) {
	c, ctx := newCloud(t), t.Context()
	c.aclBucket(t, "bkt", types.ObjectOwnershipObjectWriter)
	bucket := aws.String("bkt")
	me, them := c.canonicalOf(0), c.canonicalOf(1)
	acl := func(key string) string {
		t.Helper()
		out, err := c.mine.GetObjectAcl(ctx, &awss3.GetObjectAclInput{Bucket: bucket, Key: &key})
		if err != nil {
			t.Fatal(err)
		}
		return aws.ToString(out.Owner.ID) + ": " + grantsOf(out.Grants)
	}
	mine := me + ": " + me + " FULL_CONTROL"
	want := func(what, got, want string) {
		t.Helper()
		if got != want {
			t.Errorf("%s: %s\nwant %s", what, got, want)
		}
	}
	c.put(t, "bkt", "plain", nil)
	want("without ACL", acl("plain"), mine)
	_, err := c.mine.PutObjectAcl(ctx, &awss3.PutObjectAclInput{Bucket: bucket, Key: aws.String("plain"), ACL: "public-read"})
	if err != nil {
		t.Fatal(err)
	}
	public := mine + ", http://acs.amazonaws.com/groups/global/AllUsers READ"
	want("set", acl("plain"), public)

	// Neither a copy nor a new version inherits an ACL.
	if _, err := c.mine.CopyObject(ctx, &awss3.CopyObjectInput{Bucket: bucket, Key: aws.String("copy"), CopySource: aws.String("bkt/plain")}); err != nil {
		t.Fatal(err)
	}
	want("copied", acl("copy"), mine)
	if _, err := c.mine.CopyObject(ctx, &awss3.CopyObjectInput{Bucket: bucket, Key: aws.String("copy"), CopySource: aws.String("bkt/plain"), ACL: "public-read"}); err != nil {
		t.Fatal(err)
	}
	want("copied with an ACL", acl("copy"), public)
	c.put(t, "bkt", "copy", nil)
	want("written again", acl("copy"), mine)

	up, err := c.mine.CreateMultipartUpload(ctx, &awss3.CreateMultipartUploadInput{Bucket: bucket, Key: aws.String("parts"), GrantFullControl: aws.String("id=" + them)})
	if err != nil {
		t.Fatal(err)
	}
	part, err := c.mine.UploadPart(ctx, &awss3.UploadPartInput{Bucket: bucket, Key: aws.String("parts"), UploadId: up.UploadId, PartNumber: aws.Int32(1), Body: strings.NewReader("x")})
	if err != nil {
		t.Fatal(err)
	}
	_, err = c.mine.CompleteMultipartUpload(ctx, &awss3.CompleteMultipartUploadInput{
		Bucket: bucket, Key: aws.String("parts"), UploadId: up.UploadId,
		MultipartUpload: &types.CompletedMultipartUpload{Parts: []types.CompletedPart{{PartNumber: aws.Int32(1), ETag: part.ETag}}},
	})
	if err != nil {
		t.Fatal(err)
	}
	want("of an upload", acl("parts"), me+": "+them+" FULL_CONTROL")
	if _, err := c.them.HeadObject(ctx, &awss3.HeadObjectInput{Bucket: bucket, Key: aws.String("parts")}); err != nil {
		t.Errorf("granted: %v", err)
	}

	// An owner cannot be made another, an id that nobody has gets nothing, a public ACL is blocked.
	xml := func(owner, grantee string) error {
		_, err := c.mine.PutObjectAcl(ctx, &awss3.PutObjectAclInput{Bucket: bucket, Key: aws.String("plain"), AccessControlPolicy: &types.AccessControlPolicy{
			Owner:  &types.Owner{ID: &owner},
			Grants: []types.Grant{{Grantee: &types.Grantee{ID: &grantee, Type: types.TypeCanonicalUser}, Permission: types.PermissionRead}},
		}})
		return err
	}
	wantCode(t, "another owner", xml(them, me), "AccessDenied", http.StatusForbidden)
	wantCode(t, "nobody's id", xml(me, strings.Repeat("0", 64)), "InvalidArgument", http.StatusBadRequest)
	if err := xml(me, them); err != nil {
		t.Fatal(err)
	}
	want("as XML", acl("plain"), me+": "+them+" READ")
	_, err = c.mine.PutPublicAccessBlock(ctx, &awss3.PutPublicAccessBlockInput{Bucket: bucket, PublicAccessBlockConfiguration: &types.PublicAccessBlockConfiguration{BlockPublicAcls: aws.Bool(true)}})
	if err != nil {
		t.Fatal(err)
	}
	_, err = c.mine.PutObject(ctx, &awss3.PutObjectInput{Bucket: bucket, Key: aws.String("plain"), ACL: "public-read"})
	wantCode(t, "blocked", err, "AccessDenied", http.StatusForbidden)
	_, err = c.mine.PutObjectAcl(ctx, &awss3.PutObjectAclInput{Bucket: bucket, Key: aws.String("plain"), ACL: "authenticated-read"})
	wantCode(t, "blocked", err, "AccessDenied", http.StatusForbidden)
	_, err = c.mine.PutObjectAcl(ctx, &awss3.PutObjectAclInput{Bucket: bucket, Key: aws.String("nothing"), ACL: "private"})
	wantCode(t, "of nothing", err, "NoSuchKey", http.StatusNotFound)
	_, err = c.mine.PutObjectAcl(ctx, &awss3.PutObjectAclInput{Bucket: bucket, Key: aws.String("plain"), ACL: "log-delivery-write"})
	wantCode(t, "a bucket's ACL", err, "InvalidArgument", http.StatusBadRequest)
}

// Who may write into a bucket by its ACL owns what it writes: it alone may read it and delete it, beside the
// bucket's owner, who may delete everything and read nothing of it.
func TestBucketsOfMany(t *testing.T) {
	c, ctx := newCloud(t), t.Context()
	third := c.account(t, "third")
	c.aclBucket(t, "many", types.ObjectOwnershipObjectWriter)
	bucket := aws.String("many")
	if _, err := c.mine.PutBucketAcl(ctx, &awss3.PutBucketAclInput{Bucket: bucket, ACL: "public-read-write"}); err != nil {
		t.Fatal(err)
	}
	anybody := c.client(0, region, func(o *awss3.Options) { o.Credentials = aws.AnonymousCredentials{} })
	for key, client := range map[string]*awss3.Client{"theirs": c.them, "anonymous": anybody, "mine": c.mine} {
		if _, err := client.PutObject(ctx, &awss3.PutObjectInput{Bucket: bucket, Key: &key}); err != nil {
			t.Fatal(err)
		}
	}
	list, err := third.ListObjectsV2(ctx, &awss3.ListObjectsV2Input{Bucket: bucket, FetchOwner: aws.Bool(true)})
	if err != nil {
		t.Fatal(err)
	}
	for _, o := range list.Contents {
		want := map[string]string{"theirs": c.canonicalOf(1), "mine": c.canonicalOf(0), "anonymous": "65a011a29cdf8ec533ec3d1ccaae921c"}[*o.Key]
		if *o.Owner.ID != want {
			t.Errorf("%s belongs to %s, want %s", *o.Key, *o.Owner.ID, want)
		}
	}
	read := func(client *awss3.Client, key string) int {
		_, err := client.HeadObject(ctx, &awss3.HeadObjectInput{Bucket: bucket, Key: &key})
		return status(err)
	}
	remove := func(client *awss3.Client, key string) int {
		_, err := client.DeleteObject(ctx, &awss3.DeleteObjectInput{Bucket: bucket, Key: &key})
		return status(err)
	}
	_, copied := c.mine.CopyObject(ctx, &awss3.CopyObjectInput{Bucket: bucket, Key: aws.String("stolen"), CopySource: aws.String("many/theirs")})
	for what, got := range map[string]int{
		"the bucket's owner reads what is another's": read(c.mine, "theirs"),
		"copies it":                                    status(copied),
		"a third reads it":                             read(third, "theirs"),
		"anybody reads what nobody signed":             read(anybody, "anonymous"),
		"a third deletes what is another's":            remove(third, "theirs"),
		"anybody deletes what is another's":            remove(anybody, "theirs"),
		"another deletes what is the bucket's owner's": remove(c.them, "mine"),
	} {
		if got != http.StatusForbidden {
			t.Errorf("%s: %d", what, got)
		}
	}
	if read(third, "nothing") != http.StatusNotFound {
		t.Error("who may list does not see that there is nothing")
	}
	if _, err := c.mine.PutBucketAcl(ctx, &awss3.PutBucketAclInput{Bucket: bucket, GrantWrite: aws.String("id=" + c.canonicalOf(1))}); err != nil {
		t.Fatal(err)
	}
	if got := read(third, "nothing"); got != http.StatusForbidden {
		t.Errorf("who may not list asks for nothing: %d", got)
	}
	for what, got := range map[string]int{
		"its owner reads it": read(c.them, "theirs"), "its owner deletes it": remove(c.them, "theirs"), "the bucket's owner deletes everything": remove(c.mine, "anonymous"),
	} {
		if got != 0 {
			t.Errorf("%s: %d", what, got)
		}
	}
}

// Requesters who pay say so, or are refused.
func TestRequesterPays(t *testing.T) {
	c, ctx := newCloud(t), t.Context()
	c.aclBucket(t, "dear", types.ObjectOwnershipObjectWriter)
	bucket, key := aws.String("dear"), aws.String("key")
	c.put(t, "dear", "key", []byte("data"))
	policy := `{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Principal":"*","Action":"s3:*","Resource":["arn:aws:s3:::dear","arn:aws:s3:::dear/*"]}]}`
	if _, err := c.mine.PutBucketPolicy(ctx, &awss3.PutBucketPolicyInput{Bucket: bucket, Policy: &policy}); err != nil {
		t.Fatal(err)
	}
	_, err := c.mine.PutBucketRequestPayment(ctx, &awss3.PutBucketRequestPaymentInput{Bucket: bucket, RequestPaymentConfiguration: &types.RequestPaymentConfiguration{Payer: types.PayerRequester}})
	if err != nil {
		t.Fatal(err)
	}
	if out, err := c.them.GetBucketRequestPayment(ctx, &awss3.GetBucketRequestPaymentInput{Bucket: bucket}); status(err) != http.StatusForbidden {
		t.Errorf("a request of another account that cannot pay: %v %v", out, err)
	}
	anybody := c.client(0, region, func(o *awss3.Options) { o.Credentials = aws.AnonymousCredentials{} })
	for _, tt := range []struct {
		name    string
		client  *awss3.Client
		payer   types.RequestPayer
		refused bool
		charged types.RequestCharged
	}{
		{"the owner", c.mine, "", false, ""},
		{"the owner, who offers to pay", c.mine, "requester", false, ""},
		{"another", c.them, "", true, ""},
		{"another, who pays", c.them, "requester", false, "requester"},
		{"nobody", anybody, "", true, ""},
		{"nobody, who says to pay", anybody, "requester", true, ""},
	} {
		get, getErr := tt.client.GetObject(ctx, &awss3.GetObjectInput{Bucket: bucket, Key: key, RequestPayer: tt.payer})
		put, putErr := tt.client.PutObject(ctx, &awss3.PutObjectInput{Bucket: bucket, Key: aws.String("other"), RequestPayer: tt.payer})
		list, listErr := tt.client.ListObjectsV2(ctx, &awss3.ListObjectsV2Input{Bucket: bucket, RequestPayer: tt.payer})
		many, manyErr := tt.client.DeleteObjects(ctx, &awss3.DeleteObjectsInput{Bucket: bucket, RequestPayer: tt.payer, Delete: &types.Delete{Objects: []types.ObjectIdentifier{{Key: aws.String("other")}}}})
		one, oneErr := tt.client.DeleteObject(ctx, &awss3.DeleteObjectInput{Bucket: bucket, Key: aws.String("other"), RequestPayer: tt.payer})
		for op, err := range map[string]error{"get": getErr, "put": putErr, "list": listErr, "delete many": manyErr, "delete": oneErr} {
			if tt.refused && status(err) != http.StatusForbidden || !tt.refused && err != nil {
				t.Errorf("%s: %s: %v", tt.name, op, err)
			}
		}
		if tt.refused || getErr != nil || putErr != nil || listErr != nil || manyErr != nil || oneErr != nil {
			continue
		}
		get.Body.Close()
		for op, charged := range map[string]types.RequestCharged{"get": get.RequestCharged, "put": put.RequestCharged, "list": list.RequestCharged, "delete many": many.RequestCharged, "delete": one.RequestCharged} {
			if charged != tt.charged {
				t.Errorf("%s: %s: charged %q", tt.name, op, charged)
			}
		}
	}
	// In a presigned URL it is a parameter.
	url, err := awss3.NewPresignClient(c.them).PresignGetObject(ctx, &awss3.GetObjectInput{Bucket: bucket, Key: key, RequestPayer: "requester"})
	if err != nil {
		t.Fatal(err)
	}
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, url.URL, nil)
	if err != nil {
		t.Fatal(err)
	}
	for name, v := range url.SignedHeader {
		r.Header[name] = v
	}
	answer, err := http.DefaultClient.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	answer.Body.Close()
	if answer.StatusCode != http.StatusOK || answer.Header.Get("X-Amz-Request-Charged") != "requester" {
		t.Errorf("presigned: %s, charged %q", answer.Status, answer.Header.Get("X-Amz-Request-Charged"))
	}
}
