package s3_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	awss3 "github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"

	"karri.dev/internal/resource"
	"karri.dev/internal/service/s3"
	"karri.dev/internal/store"
)

// versioned makes a bucket with versions.
func (c *cloud) versioned(t *testing.T, name string) {
	t.Helper()
	c.bucket(t, name)
	if _, err := c.mine.PutBucketVersioning(t.Context(), &awss3.PutBucketVersioningInput{Bucket: &name, VersioningConfiguration: &types.VersioningConfiguration{Status: "Enabled"}}); err != nil {
		t.Fatal(err)
	}
}

// target names another endpoint for the first account, with the first account's key there.
func (c *cloud) target(t *testing.T, name, endpoint string, there *cloud) {
	t.Helper()
	target, err := s3.NewReplicaTarget(c.sealer, c.accountOf(0), name, endpoint, region, there.keys[0].ID, there.keys[0].Secret, "", c.now())
	if err == nil {
		err = c.store.Update(t.Context(), func(tx *store.Tx) error { return store.ReplicaTargets.Put(tx, target) })
	}
	if err != nil {
		t.Fatal(err)
	}
}

// copier makes a role that may replicate everything.
func (c *cloud) copier(t *testing.T) string {
	t.Helper()
	role := &resource.IAMRole{AccountID: c.accountOf(0), Name: "copy", ID: "AROACOPYCOPYCOPYCOPY1", Path: "/", Trust: resource.Bound{
		Text: `{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Principal":{"Service":"s3.amazonaws.com"},"Action":"sts:AssumeRole"}]}`,
	}}
	role.Inline = map[string]string{"copy": `{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":["s3:GetObjectVersionForReplication","s3:Replicate*"],"Resource":"*"},
		{"Effect":"Deny","Action":"s3:Replicate*","Resource":"arn:aws:s3:::dest@backup/denied/*"}]}`}
	if err := c.store.Update(t.Context(), func(tx *store.Tx) error { return store.Roles.Put(tx, role) }); err != nil {
		t.Fatal(err)
	}
	return role.ARN()
}

// replicating sets rules: everything to each destination.
func (c *cloud) replicating(ctx context.Context, role, bucket string, to ...string) error {
	config := &types.ReplicationConfiguration{Role: &role}
	for i, dest := range to {
		config.Rules = append(config.Rules, types.ReplicationRule{
			ID: aws.String(fmt.Sprint(i)), Priority: aws.Int32(int32(i)), Status: "Enabled", Filter: &types.ReplicationRuleFilter{Prefix: aws.String("")},
			DeleteMarkerReplication: &types.DeleteMarkerReplication{Status: "Enabled"}, Destination: &types.Destination{Bucket: aws.String("arn:aws:s3:::" + dest)},
		})
	}
	_, err := c.mine.PutBucketReplication(ctx, &awss3.PutBucketReplicationInput{Bucket: &bucket, ReplicationConfiguration: config})
	return err
}

func (c *cloud) head(t *testing.T, bucket, key string) *awss3.HeadObjectOutput {
	t.Helper()
	out, err := c.mine.HeadObject(t.Context(), &awss3.HeadObjectInput{Bucket: &bucket, Key: &key})
	if err != nil {
		t.Fatalf("%s/%s: %v", bucket, key, err)
	}
	return out
}

// until waits for what happens in the background.
func until(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(time.Minute); !ok(); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal("still not: " + what)
		}
	}
}

// TestReplicationAway copies to another cloud and, at the same time, back: nothing goes round in circles.
func TestReplicationAway(t *testing.T) {
	c, d, ctx := newCloud(t), newCloud(t), t.Context()
	var down atomic.Bool
	at, _ := url.Parse(d.url)
	proxy := &httputil.ReverseProxy{Rewrite: func(r *httputil.ProxyRequest) {
		r.Out.URL.Scheme, r.Out.URL.Host, r.Out.Host = at.Scheme, at.Host, r.In.Host // what was signed
	}}
	gate := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if down.Load() {
			w.WriteHeader(http.StatusServiceUnavailable)
			return
		}
		proxy.ServeHTTP(w, r)
	}))
	t.Cleanup(gate.Close)
	c.versioned(t, "from")
	c.versioned(t, "near")
	d.versioned(t, "dest")
	d.bucket(t, "plain")
	role, back := c.copier(t), d.copier(t)
	for name, dest := range map[string]string{"no target": "dest@backup", "no bucket": "nothing@other", "no versions": "plain@other", "no name": "@other", "a path": "../x@other"} {
		if strings.HasSuffix(dest, "other") {
			c.target(t, "other", gate.URL, d)
		}
		wantCode(t, name, c.replicating(ctx, role, "from", dest), "InvalidRequest", http.StatusBadRequest)
	}
	c.target(t, "backup", gate.URL, d)
	d.target(t, "home", c.url, c)
	if err := c.replicating(ctx, role, "from", "dest@backup", "near"); err != nil {
		t.Fatal(err)
	}
	if err := d.replicating(ctx, back, "dest", "from@home"); err != nil {
		t.Fatal(err)
	}
	c.deliver(t)
	d.deliver(t)

	// A target that is down holds up no other, and is told later.
	down.Store(true)
	key, big := "a//b/../ü+ %?", bytes.Repeat([]byte("0123456789abcdef"), 12<<20/16)
	if _, err := c.mine.PutObject(ctx, &awss3.PutObjectInput{
		Bucket: aws.String("from"), Key: &key, Body: strings.NewReader("data"), ContentType: aws.String("x/y"), CacheControl: aws.String("max-age=1"), Metadata: map[string]string{"k": "v w"}, Tagging: aws.String("t=1&u=%20"),
	}); err != nil {
		t.Fatal(err)
	}
	c.put(t, "from", "big", big)
	c.put(t, "from", "denied/1", nil)
	until(t, "copied near", func() bool {
		_, err := c.mine.HeadObject(ctx, &awss3.HeadObjectInput{Bucket: aws.String("near"), Key: aws.String("denied/1")})
		return err == nil
	})
	if s := c.head(t, "from", "big").ReplicationStatus; s != "PENDING" {
		t.Errorf("while one destination is down: %s", s)
	}
	until(t, "told why", func() bool {
		queues, err := c.service.Queues(ctx)
		if err != nil {
			t.Fatal(err)
		}
		return len(queues) == 1 && queues[0].Name == "from to dest@backup" && queues[0].Waiting == 3 && queues[0].Attempts > 0 && strings.Contains(queues[0].Problem, "503")
	})
	down.Store(false)
	settled := func(key, want string) {
		t.Helper()
		defer func() {
			if t.Failed() {
				q, err := c.service.Queues(ctx)
				t.Log(q, err)
			}
		}()
		until(t, key+" "+want, func() bool { return string(c.head(t, "from", key).ReplicationStatus) == want })
	}
	settled(key, "COMPLETED")
	settled("big", "COMPLETED")
	settled("denied/1", "FAILED")
	got := d.head(t, "dest", key)
	if got.ReplicationStatus != "REPLICA" || *got.ContentType != "x/y" || *got.CacheControl != "max-age=1" || got.Metadata["k"] != "v w" || len(got.Metadata) != 1 || *got.TagCount != 2 {
		t.Errorf("%+v", got)
	}
	if string(d.get(t, "dest", key)) != "data" || !bytes.Equal(d.get(t, "dest", "big"), big) {
		t.Error("other bytes have arrived")
	}
	if h := d.head(t, "dest", "big"); !strings.HasSuffix(*h.ETag, `-3"`) {
		t.Errorf("in one part: %s", *h.ETag)
	}

	// The other way; a delete marker, and back it does not come.
	d.put(t, "dest", "there", []byte("new"))
	until(t, "copied back", func() bool { return d.head(t, "dest", "there").ReplicationStatus == "COMPLETED" })
	if h := c.head(t, "from", "there"); h.ReplicationStatus != "REPLICA" {
		t.Errorf("back: %s", h.ReplicationStatus)
	}
	if _, err := c.mine.DeleteObject(ctx, &awss3.DeleteObjectInput{Bucket: aws.String("from"), Key: &key}); err != nil {
		t.Fatal(err)
	}
	until(t, "marked there", func() bool {
		_, err := d.mine.HeadObject(ctx, &awss3.HeadObjectInput{Bucket: aws.String("dest"), Key: &key})
		return status(err) == http.StatusNotFound
	})
	until(t, "quiet", func() bool {
		a, err := c.engine.NoteQueues(ctx)
		b, err2 := d.engine.NoteQueues(ctx)
		if err = errors.Join(err, err2); err != nil {
			t.Fatal(err)
		}
		return len(a)+len(b) == 0
	})
	for _, x := range []struct {
		at     *cloud
		bucket string
		n      int
	}{{c, "from", 5}, {d, "dest", 4}} { // versions and markers
		n, err := x.at.engine.Tally(ctx, store.Buckets.Get(x.at.store.Snapshot(), x.bucket).Engine)
		if err != nil || n.Objects != int64(x.n) {
			t.Errorf("%s holds %+v, want %d: %v", x.bucket, n, x.n, err)
		}
	}

	// Who may not replicate cannot say that it does.
	user := d.user(t, "marie", `{"Version":"2012-10-17","Statement":{"Effect":"Allow","Action":"s3:PutObject","Resource":"*"}}`)
	in := &awss3.PutObjectInput{Bucket: aws.String("dest"), Key: aws.String("claimed")}
	_, err := user.PutObject(ctx, in, func(o *awss3.Options) {
		o.HTTPClient = withHeader{o.HTTPClient, "X-Amz-Replication-Status", "REPLICA"}
	})
	wantCode(t, "a claimed replica", err, "AccessDenied", http.StatusForbidden)
	if _, err := user.PutObject(ctx, in); err != nil {
		t.Error(err)
	}

	// A key that is refused fails for good; without its target nothing is copied.
	c.keys[0].Secret, d.keys[0].Secret = d.keys[0].Secret, "another"
	c.target(t, "backup", gate.URL, d)
	c.put(t, "from", "refused", nil)
	settled("refused", "FAILED")
}

type withHeader struct {
	awss3.HTTPClient
	name, value string
}

func (w withHeader) Do(r *http.Request) (*http.Response, error) {
	r.Header.Set(w.name, w.value)
	return w.HTTPClient.Do(r)
}

// TestDeadDestinations: what nobody takes is given up, the oldest first, and counted.
func TestDeadDestinations(t *testing.T) {
	c, d, ctx := newCloud(t), newCloud(t), t.Context()
	c.versioned(t, "from")
	d.versioned(t, "dest")
	dead := httptest.NewServer(d.handler)
	c.target(t, "dead", dead.URL, d)
	if err := c.replicating(ctx, c.copier(t), "from", "dest@dead"); err != nil {
		t.Fatal(err)
	}
	dead.Close()
	h, arn := newHook(t, c, "gone")
	if _, err := c.mine.PutBucketNotificationConfiguration(ctx, &awss3.PutBucketNotificationConfigurationInput{
		Bucket: aws.String("from"), SkipDestinationValidation: aws.Bool(true), NotificationConfiguration: &types.NotificationConfiguration{
			TopicConfigurations: []types.TopicConfiguration{{TopicArn: &arn, Events: []types.Event{"s3:ObjectCreated:*"}}},
		},
	}); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		h.status <- http.StatusInternalServerError
	}
	const written = 50 // and 20 may wait
	for i := range written {
		c.put(t, "from", fmt.Sprintf("%02d", i), nil)
	}
	c.deliver(t)
	queues := func() map[string]s3.Queue {
		t.Helper()
		out := map[string]s3.Queue{}
		list, err := c.service.Queues(ctx)
		if err != nil {
			t.Fatal(err)
		}
		for _, q := range list {
			out[q.Name] = q
		}
		return out
	}
	away := "from to dest@dead"
	until(t, "shortened", func() bool { return queues()[away].Waiting == 20 && queues()[away].GivenUp == written-20 })
	until(t, "failed", func() bool { return c.head(t, "from", "29").ReplicationStatus == "FAILED" })
	if s := c.head(t, "from", "30").ReplicationStatus; s != "PENDING" {
		t.Errorf("what still waits: %s", s)
	}
	// The hook comes back: what was kept is told, in order.
	for want := written - 20; want < written; want++ {
		if e := h.next(t); len(e.Records) != 1 || e.Records[0].S3.Object.Key != fmt.Sprint(want) {
			t.Fatalf("%+v, want %d", e, want)
		}
	}
	until(t, "told", func() bool { q := queues()[arn]; return q.Waiting == 0 && q.GivenUp == written-20 })
}
