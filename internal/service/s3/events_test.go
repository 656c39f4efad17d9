package s3_test

import (
	"context"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
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

// told is an event as a webhook gets it.
type told struct {
	Event   string // of a test event
	Records []struct {
		EventName string
		S3        struct {
			ConfigurationID string `json:"configurationId"`
			Bucket          struct{ Name string }
			Object          struct {
				Key, ETag, VersionID, Sequencer string
				Size                            *int64
			}
		}
	}
}

// hook is a webhook that can be told to refuse.
type hook struct {
	url    string
	status chan int // what to answer next; 200 when empty
	events chan told
	auth   chan string
}

func newHook(t *testing.T, c *cloud, name string) (*hook, string) {
	t.Helper()
	h := &hook{status: make(chan int, 10), events: make(chan told, 100), auth: make(chan string, 100)}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		select {
		case code := <-h.status:
			if code == http.StatusFound {
				w.Header().Set("Location", h.url+"/elsewhere")
			}
			w.WriteHeader(code)
			return
		default:
		}
		var e told
		body, _ := io.ReadAll(r.Body)
		if err := json.Unmarshal(body, &e); err != nil || r.URL.Path != "/hook" {
			t.Errorf("%s %s: %v", r.URL, body, err)
		}
		h.auth <- r.Header.Get("Authorization")
		h.events <- e
	}))
	t.Cleanup(server.Close)
	h.url = server.URL
	arn := "arn:aws:sns:us-east-1:" + c.accountOf(0) + ":" + name
	if err := c.store.Update(t.Context(), func(tx *store.Tx) error {
		return store.Webhooks.Put(tx, &resource.Webhook{ARN: arn, AccountID: c.accountOf(0), URL: server.URL + "/hook"})
	}); err != nil {
		t.Fatal(err)
	}
	return h, arn
}

// next gives the next event.
func (h *hook) next(t *testing.T) told {
	t.Helper()
	select {
	case e := <-h.events:
		return e
	case <-time.After(30 * time.Second):
		t.Fatal("no event")
	}
	return told{}
}

// deliver runs the queues until the test ends.
func (c *cloud) deliver(t *testing.T) {
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		defer close(done)
		if err := c.service.RunOutbox(ctx); err != nil {
			t.Error(err)
		}
	}()
	t.Cleanup(func() { cancel(); <-done })
}

func TestEvents(t *testing.T) {
	c, ctx := newCloud(t), t.Context()
	c.aclBucket(t, "told", types.ObjectOwnershipObjectWriter)
	bucket := aws.String("told")
	h, arn := newHook(t, c, "all")
	silent, other := newHook(t, c, "silent")
	configure := func(arn string, skip bool) error {
		_, err := c.mine.PutBucketNotificationConfiguration(ctx, &awss3.PutBucketNotificationConfigurationInput{
			Bucket: bucket, SkipDestinationValidation: &skip, NotificationConfiguration: &types.NotificationConfiguration{TopicConfigurations: []types.TopicConfiguration{
				{Id: aws.String("all"), TopicArn: &arn, Events: []types.Event{"s3:ObjectCreated:*", "s3:ObjectRemoved:*", "s3:ObjectTagging:*", "s3:ObjectAcl:Put"}, Filter: &types.NotificationConfigurationFilter{
					Key: &types.S3KeyFilter{FilterRules: []types.FilterRule{{Name: "prefix", Value: aws.String("a ")}, {Name: "suffix", Value: aws.String("ü")}}},
				}},
				{Id: aws.String("images"), TopicArn: &other, Events: []types.Event{"s3:ObjectCreated:Put"}, Filter: &types.NotificationConfigurationFilter{
					Key: &types.S3KeyFilter{FilterRules: []types.FilterRule{{Name: "prefix", Value: aws.String("images/")}}},
				}},
			}},
		})
		return err
	}
	h.status <- http.StatusInternalServerError
	wantCode(t, "who does not answer is no destination", configure(arn, false), "InvalidArgument", http.StatusBadRequest)
	h.status <- http.StatusFound
	wantCode(t, "nor is who redirects", configure(arn, false), "InvalidArgument", http.StatusBadRequest)
	if err := configure(arn, false); err != nil {
		t.Fatal(err)
	}
	if e := h.next(t); e.Event != "s3:TestEvent" {
		t.Errorf("%+v", e)
	}
	if e := silent.next(t); e.Event != "s3:TestEvent" {
		t.Errorf("%+v", e)
	}

	// What happens while nobody delivers waits.
	key := "a b/ü"
	c.put(t, "told", key, []byte("data"))
	c.put(t, "told", "not told", nil)
	if _, err := c.mine.CopyObject(ctx, &awss3.CopyObjectInput{Bucket: bucket, Key: &key, CopySource: aws.String("told/not%20told")}); err != nil {
		t.Fatal(err)
	}
	if _, err := c.mine.PutObjectTagging(ctx, &awss3.PutObjectTaggingInput{Bucket: bucket, Key: &key, Tagging: &types.Tagging{TagSet: []types.Tag{{Key: aws.String("k"), Value: aws.String("v")}}}}); err != nil {
		t.Fatal(err)
	}
	if _, err := c.mine.PutObjectAcl(ctx, &awss3.PutObjectAclInput{Bucket: bucket, Key: &key, ACL: "public-read"}); err != nil {
		t.Fatal(err)
	}
	if _, err := c.mine.DeleteObject(ctx, &awss3.DeleteObjectInput{Bucket: bucket, Key: &key}); err != nil {
		t.Fatal(err)
	}
	if _, err := c.mine.DeleteObject(ctx, &awss3.DeleteObjectInput{Bucket: bucket, Key: &key}); err != nil { // of nothing
		t.Fatal(err)
	}
	if _, err := c.mine.PutBucketVersioning(ctx, &awss3.PutBucketVersioningInput{Bucket: bucket, VersioningConfiguration: &types.VersioningConfiguration{Status: "Enabled"}}); err != nil {
		t.Fatal(err)
	}
	version := c.put(t, "told", key, nil).VersionId
	if _, err := c.mine.DeleteObjects(ctx, &awss3.DeleteObjectsInput{Bucket: bucket, Delete: &types.Delete{Objects: []types.ObjectIdentifier{{Key: &key}}}}); err != nil {
		t.Fatal(err)
	}
	h.status <- http.StatusServiceUnavailable // once
	c.deliver(t)
	sequence := ""
	for i, want := range []string{
		"ObjectCreated:Put", "ObjectCreated:Copy", "ObjectTagging:Put", "ObjectAcl:Put", "ObjectRemoved:Delete", "ObjectCreated:Put", "ObjectRemoved:DeleteMarkerCreated",
	} {
		e := h.next(t)
		if len(e.Records) != 1 {
			t.Fatalf("%s: %+v", want, e)
		}
		r := e.Records[0]
		o := r.S3.Object
		if r.EventName != want || o.Key != "a+b%2F%C3%BC" || r.S3.Bucket.Name != "told" || r.S3.ConfigurationID != "all" || o.Sequencer <= sequence {
			t.Errorf("%d: %+v, want %s", i, r, want)
		}
		sequence = o.Sequencer
		switch i {
		case 0:
			if o.Size == nil || *o.Size != 4 || o.ETag != "8d777f385d3dfec8815d20f7496026dc" || o.VersionID != "" {
				t.Errorf("%+v", o)
			}
		case 5:
			if o.VersionID != *version {
				t.Errorf("%+v", o)
			}
		}
	}

	// A topic that is refused holds up no other, and is told later.
	for range 2 {
		silent.status <- http.StatusInternalServerError
	}
	c.put(t, "told", "images/1", nil)
	c.put(t, "told", key, nil)
	if e := h.next(t); e.Records[0].EventName != "ObjectCreated:Put" {
		t.Errorf("%+v", e)
	}
	if e := silent.next(t); e.Records[0].S3.Object.Key != "images%2F1" {
		t.Errorf("%+v", e)
	}
	// Without its topic an event ends.
	for range 2 {
		silent.status <- http.StatusInternalServerError
	}
	if err := c.store.Update(ctx, func(tx *store.Tx) error { store.Webhooks.Delete(tx, other); return nil }); err != nil {
		t.Fatal(err)
	}
	c.put(t, "told", "images/2", nil)
	for end := time.Now().Add(30 * time.Second); ; time.Sleep(10 * time.Millisecond) {
		queues, err := c.engine.NoteQueues(ctx)
		if err != nil || time.Now().After(end) {
			t.Fatalf("queues %v: %v", queues, err)
		}
		if !slices.ContainsFunc(queues, func(q string) bool { return strings.HasSuffix(q, ":silent") }) {
			break
		}
	}
	wantCode(t, "nor can it be named", configure(arn, true), "InvalidArgument", http.StatusBadRequest)
	_, err := c.mine.PutBucketNotificationConfiguration(ctx, &awss3.PutBucketNotificationConfigurationInput{
		Bucket: bucket, NotificationConfiguration: &types.NotificationConfiguration{EventBridgeConfiguration: &types.EventBridgeConfiguration{}},
	})
	wantCode(t, "EventBridge", err, "NotImplemented", http.StatusNotImplemented)
}
