package s3_test

import (
	"bytes"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	awss3 "github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"

	"karri.dev/internal/resource"
	"karri.dev/internal/store"
)

func TestReplication(t *testing.T) {
	c, ctx := newCloud(t), t.Context()
	version := func(client *awss3.Client, name string, status types.BucketVersioningStatus) error {
		_, err := client.PutBucketVersioning(ctx, &awss3.PutBucketVersioningInput{Bucket: &name, VersioningConfiguration: &types.VersioningConfiguration{Status: status}})
		return err
	}
	check := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	for _, name := range []string{"from", "dest", "plain"} {
		c.bucket(t, name)
	}
	_, err := c.them.CreateBucket(ctx, &awss3.CreateBucketInput{Bucket: aws.String("theirs")})
	check(err)
	check(version(c.mine, "dest", "Enabled"))
	check(version(c.them, "theirs", "Enabled"))
	role := &resource.IAMRole{AccountID: c.accountOf(0), Name: "copy", ID: "AROACOPYCOPYCOPYCOPY1", Path: "/", Trust: resource.Bound{
		Text: `{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Principal":{"Service":"s3.amazonaws.com"},"Action":"sts:AssumeRole"}]}`,
	}}
	role.Inline = map[string]string{"copy": `{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":["s3:GetObjectVersionForReplication","s3:Replicate*"],"Resource":["arn:aws:s3:::from/*","arn:aws:s3:::dest/*","arn:aws:s3:::theirs/*"]}]}`}
	put := func(r *resource.IAMRole) {
		t.Helper()
		check(c.store.Update(ctx, func(tx *store.Tx) error { return store.Roles.Put(tx, r) }))
	}
	put(role)
	rule := func(id string, priority int32, prefix, to string) types.ReplicationRule {
		return types.ReplicationRule{
			ID: &id, Priority: &priority, Status: "Enabled", Filter: &types.ReplicationRuleFilter{Prefix: &prefix},
			DeleteMarkerReplication: &types.DeleteMarkerReplication{Status: "Enabled"}, Destination: &types.Destination{Bucket: aws.String("arn:aws:s3:::" + to)},
		}
	}
	set := func(arn string, rules ...types.ReplicationRule) error {
		_, err := c.mine.PutBucketReplication(ctx, &awss3.PutBucketReplicationInput{
			Bucket: aws.String("from"), ReplicationConfiguration: &types.ReplicationConfiguration{Role: &arn, Rules: rules},
		})
		return err
	}
	wantCode(t, "without versioning", set(role.ARN(), rule("a", 1, "", "dest")), "InvalidRequest", http.StatusBadRequest)
	check(version(c.mine, "from", "Enabled"))
	tagged := rule("a", 1, "", "dest")
	tagged.Filter = &types.ReplicationRuleFilter{Tag: &types.Tag{Key: aws.String("k"), Value: aws.String("v")}}
	classed := rule("a", 1, "", "dest")
	classed.Destination.StorageClass = "GLACIER"
	for name, tt := range map[string]struct {
		role  string
		rules []types.ReplicationRule
		code  string
	}{
		"no role":                  {"arn:aws:iam::" + c.accountOf(0) + ":role/none", []types.ReplicationRule{rule("a", 1, "", "dest")}, "InvalidArgument"},
		"another account's":        {"arn:aws:iam::" + c.accountOf(1) + ":role/copy", []types.ReplicationRule{rule("a", 1, "", "dest")}, "InvalidArgument"},
		"to a bucket without":      {role.ARN(), []types.ReplicationRule{rule("a", 1, "", "plain")}, "InvalidRequest"},
		"to nothing":               {role.ARN(), []types.ReplicationRule{rule("a", 1, "", "nothing")}, "InvalidRequest"},
		"to itself":                {role.ARN(), []types.ReplicationRule{rule("a", 1, "", "from")}, "InvalidRequest"},
		"priority twice":           {role.ARN(), []types.ReplicationRule{rule("a", 1, "", "dest"), rule("b", 1, "x", "dest")}, "InvalidRequest"},
		"id twice":                 {role.ARN(), []types.ReplicationRule{rule("a", 1, "", "dest"), rule("a", 2, "x", "dest")}, "InvalidArgument"},
		"delete markers with tags": {role.ARN(), []types.ReplicationRule{tagged}, "InvalidRequest"},
	} {
		wantCode(t, name, set(tt.role, tt.rules...), tt.code, http.StatusBadRequest)
	}
	wantCode(t, "a storage class", set(role.ARN(), classed), "NotImplemented", http.StatusNotImplemented)
	check(set(role.ARN(), rule("mine", 1, "a/", "dest"), rule("theirs", 2, "b/", "theirs")))
	wantCode(t, "versioning goes", version(c.mine, "from", "Suspended"), "InvalidBucketState", http.StatusConflict)

	status := func(client *awss3.Client, bucket, key string) string {
		t.Helper()
		out, err := client.HeadObject(ctx, &awss3.HeadObjectInput{Bucket: &bucket, Key: &key})
		check(err)
		return string(out.ReplicationStatus)
	}
	settled := func() {
		t.Helper()
		for end := time.Now().Add(30 * time.Second); ; time.Sleep(10 * time.Millisecond) {
			queues, err := c.engine.NoteQueues(ctx)
			if err != nil || time.Now().After(end) {
				t.Fatalf("queues %v: %v", queues, err)
			}
			if len(queues) == 0 {
				return
			}
		}
	}
	_, err = c.mine.PutObject(ctx, &awss3.PutObjectInput{
		Bucket: aws.String("from"), Key: aws.String("a/1"), Body: strings.NewReader("data"), ContentType: aws.String("x/y"), Metadata: map[string]string{"k": "v"}, Tagging: aws.String("t=1"),
	})
	check(err)
	big := bytes.Repeat([]byte("0123456789abcdef"), 8<<10)
	c.put(t, "from", "a/big", big)
	c.put(t, "from", "other", nil)
	c.put(t, "from", "b/1", []byte("data"))
	if got := status(c.mine, "from", "a/1") + status(c.mine, "from", "other"); got != "PENDING" {
		t.Errorf("before: %q", got)
	}
	c.deliver(t)
	settled()
	if got := status(c.mine, "from", "a/1") + " " + status(c.mine, "dest", "a/1") + " " + status(c.mine, "from", "b/1"); got != "COMPLETED REPLICA FAILED" {
		t.Errorf("after: %q", got) // the other account has let nobody in
	}
	copied, err := c.mine.GetObject(ctx, &awss3.GetObjectInput{Bucket: aws.String("dest"), Key: aws.String("a/1")})
	check(err)
	if string(read(t, copied.Body)) != "data" || *copied.ContentType != "x/y" || copied.Metadata["k"] != "v" || *copied.TagCount != 1 || len(copied.Metadata) != 1 {
		t.Errorf("%+v", copied)
	}
	if !bytes.Equal(c.get(t, "dest", "a/big"), big) {
		t.Error("a large object is another one")
	}
	policy := `{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Principal":{"AWS":"` + role.ARN() + `"},"Action":"s3:ReplicateObject","Resource":"arn:aws:s3:::theirs/*"}]}`
	_, err = c.them.PutBucketPolicy(ctx, &awss3.PutBucketPolicyInput{Bucket: aws.String("theirs"), Policy: &policy})
	check(err)
	c.put(t, "from", "b/1", []byte("data"))
	settled()
	if got := status(c.mine, "from", "b/1") + " " + status(c.them, "theirs", "b/1"); got != "COMPLETED REPLICA" {
		t.Errorf("to another account: %q", got)
	}

	// Delete markers go along, deleted versions do not.
	first := c.put(t, "from", "a/1", []byte("second")).VersionId
	settled()
	_, err = c.mine.DeleteObject(ctx, &awss3.DeleteObjectInput{Bucket: aws.String("from"), Key: aws.String("a/1"), VersionId: first})
	check(err)
	_, err = c.mine.DeleteObject(ctx, &awss3.DeleteObjectInput{Bucket: aws.String("from"), Key: aws.String("a/1")})
	check(err)
	settled()
	list, err := c.mine.ListObjectVersions(ctx, &awss3.ListObjectVersionsInput{Bucket: aws.String("dest"), Prefix: aws.String("a/1")})
	check(err)
	if len(list.Versions) != 2 || len(list.DeleteMarkers) != 1 || !*list.DeleteMarkers[0].IsLatest {
		t.Errorf("%d versions, %d markers", len(list.Versions), len(list.DeleteMarkers))
	}

	// A role that S3 may not take copies nothing.
	distrusted := *role
	distrusted.Trust.Text = strings.Replace(role.Trust.Text, "s3.amazonaws.com", "ec2.amazonaws.com", 1)
	put(&distrusted)
	c.put(t, "from", "a/2", nil)
	settled()
	if got := status(c.mine, "from", "a/2"); got != "FAILED" {
		t.Errorf("without trust: %q", got)
	}
	_, err = c.mine.DeleteBucketReplication(ctx, &awss3.DeleteBucketReplicationInput{Bucket: aws.String("from")})
	check(err)
	c.put(t, "from", "a/3", nil)
	if got := status(c.mine, "from", "a/3"); got != "" {
		t.Errorf("without rules: %q", got)
	}
	check(version(c.mine, "from", "Suspended"))
	if queues, err := c.engine.NoteQueues(ctx); err != nil || slices.ContainsFunc(queues, func(q string) bool { return strings.HasPrefix(q, "copy:") }) {
		t.Errorf("%q: %v", queues, err)
	}
}
