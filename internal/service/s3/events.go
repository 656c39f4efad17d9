package s3

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"net/url"
	"slices"
	"strings"
	"time"

	"karri.dev/internal/aws/call"
	shape "karri.dev/internal/aws/shape/s3"
	"karri.dev/internal/object"
	"karri.dev/internal/resource"
)

// Event notifications. An event becomes durable in the same commit as the change that it tells of, as a note for each
// topic that wants it; outbox.go delivers the notes.

// hookQueue is the queue of a topic's notes.
const hookQueue = "hook:"

// eventRecord is one of AWS's event message structure.
type eventRecord struct {
	Version  string    `json:"eventVersion"`
	Source   string    `json:"eventSource"`
	Region   string    `json:"awsRegion"`
	Time     string    `json:"eventTime"`
	Name     string    `json:"eventName"`
	Identity principal `json:"userIdentity"`
	Request  struct {
		SourceIP string `json:"sourceIPAddress"`
	} `json:"requestParameters"`
	Response struct {
		RequestID string `json:"x-amz-request-id"`
		HostID    string `json:"x-amz-id-2"`
	} `json:"responseElements"`
	S3 struct {
		Schema        string `json:"s3SchemaVersion"`
		Configuration string `json:"configurationId"`
		Bucket        struct {
			Name  string    `json:"name"`
			Owner principal `json:"ownerIdentity"`
			ARN   string    `json:"arn"`
		} `json:"bucket"`
		Object struct {
			Key       string `json:"key"`
			Size      *int64 `json:"size,omitempty"`
			ETag      string `json:"eTag,omitempty"`
			VersionID string `json:"versionId,omitempty"`
			Sequencer string `json:"sequencer"`
		} `json:"object"`
	} `json:"s3"`
}

type principal struct {
	ID string `json:"principalId"`
}

// eventTime is how events say times.
const eventTime = "2006-01-02T15:04:05.000Z"

// topics gives the configurations that want an event ("ObjectCreated:Put") of a key.
func (s *Service) topics(b *resource.Bucket, event, key string) ([]shape.TopicConfiguration, error) {
	c, err := config[shape.NotificationConfiguration](s, s.store.Snapshot(), b, resource.PartNotification)
	if c == nil || err != nil {
		return nil, err
	}
	var want []shape.TopicConfiguration
	for i := range c.TopicConfigurations {
		t := &c.TopicConfigurations[i]
		prefix, suffix := filterOf(t)
		if strings.HasPrefix(key, prefix) && strings.HasSuffix(key, suffix) && slices.ContainsFunc(t.Events, func(e string) bool { return wild(e, "s3:"+event) }) {
			want = append(want, *t)
		}
	}
	return want, nil
}

// eventNotes makes the notes of an event about a version, in the moment of its change.
func (s *Service) eventNotes(info *call.Info, b *resource.Bucket, event string, topics []shape.TopicConfiguration, m object.Meta) []object.Note {
	now := s.now().UTC()
	r := eventRecord{Version: "2.1", Source: "aws:s3", Region: b.Region, Time: now.Format(eventTime), Name: event}
	if family, _, _ := strings.Cut(event, ":"); family != "ObjectCreated" && family != "ObjectRemoved" {
		r.Version = "2.3"
	}
	r.Identity.ID, r.Request.SourceIP = "s3.amazonaws.com", "s3.amazonaws.com"
	if info.Service != "" {
		r.Identity.ID, r.Request.SourceIP = "Anonymous", info.SourceIP.String()
		if !info.Anonymous() {
			r.Identity.ID = "AWS:" + info.UserID
		}
	}
	r.Response.RequestID, r.Response.HostID = info.RequestID, info.HostID
	r.S3.Schema = "1.0"
	r.S3.Bucket.Name, r.S3.Bucket.ARN, r.S3.Bucket.Owner.ID = b.Name, bucketARN(b.Name), b.AccountID
	o := &r.S3.Object
	o.Key, o.VersionID, o.ETag, o.Sequencer = url.QueryEscape(m.Key), shownVersion(b, m), m.ETag, fmt.Sprintf("%018X", now.UnixNano())
	switch {
	case strings.HasSuffix(event, ":DeleteMarkerCreated"):
		o.ETag = "d41d8cd98f00b204e9800998ecf8427e" // of no bytes
	case strings.HasSuffix(event, "Removed:Delete"), strings.HasSuffix(event, "Expiration:Delete"):
		o.ETag = ""
	case strings.HasPrefix(event, "ObjectCreated:"):
		o.Size = &m.Size
	}
	notes := make([]object.Note, 0, len(topics))
	for i := range topics {
		r.S3.Configuration = topics[i].Id
		body, err := json.Marshal(map[string][]eventRecord{"Records": {r}})
		if err != nil {
			s.log.Error("s3: write an event", "err", err)
			continue
		}
		notes = append(notes, object.Note{Queue: hookQueue + topics[i].TopicArn, Body: body})
	}
	return notes
}

// writes gives the notes of a write, nil if nobody wants any.
func (s *Service) writes(ctx context.Context, b *resource.Bucket, key, event string) (func(object.Meta) []object.Note, error) {
	topics, err := s.topics(b, event, key)
	if err != nil {
		return nil, err
	}
	replicated, err := config[shape.ReplicationConfiguration](s, s.store.Snapshot(), b, resource.PartReplication)
	if topics == nil && replicated == nil || err != nil {
		return nil, err
	}
	created := strings.HasPrefix(event, "ObjectCreated:")
	info := call.From(ctx)
	return func(m object.Meta) []object.Note {
		notes := s.eventNotes(info, b, event, topics, m)
		if created && m.Replication == "PENDING" {
			notes = append(notes, s.copyNotes(b, m, m.Awaits)...)
		}
		return notes
	}, nil
}

// removes gives the notes of a deletion of a family: "ObjectRemoved" or "LifecycleExpiration".
func (s *Service) removes(ctx context.Context, b *resource.Bucket, d object.Delete, family string) (func(object.Deleted, *object.Meta) []object.Note, error) {
	marked, err := s.topics(b, family+":DeleteMarkerCreated", d.Key)
	if err != nil {
		return nil, err
	}
	deleted, err := s.topics(b, family+":Delete", d.Key)
	if err != nil {
		return nil, err
	}
	_, to, err := s.replication(s.store.Snapshot(), b, d.Key, nil, true)
	if marked == nil && deleted == nil && to == nil || err != nil {
		return nil, err
	}
	info := call.From(ctx)
	return func(done object.Deleted, m *object.Meta) []object.Note {
		if done.Marker && d.VersionID == "" {
			notes := s.eventNotes(info, b, family+":DeleteMarkerCreated", marked, *m)
			if to != nil && family == "ObjectRemoved" { // not what lifecycle rules do
				notes = append(notes, s.copyNotes(b, *m, slices.Sorted(maps.Keys(to)))...)
			}
			return notes
		}
		return s.eventNotes(info, b, family+":Delete", deleted, *m)
	}, nil
}

// changes is writes for changes of attributes.
func (s *Service) changes(ctx context.Context, b *resource.Bucket, key, event string) (func(object.Meta) []object.Note, error) {
	f, err := s.writes(ctx, b, key, event)
	if f == nil {
		f = func(object.Meta) []object.Note { return nil }
	}
	return f, err
}

// testEvent is what a topic gets when a configuration that names it is put.
func testEvent(info *call.Info, bucket string, now time.Time) ([]byte, error) {
	body, err := json.Marshal(struct {
		Service, Event, Time, Bucket, RequestId, HostId string
	}{"Amazon S3", "s3:TestEvent", now.UTC().Format(eventTime), bucket, info.RequestID, info.HostID})
	if err != nil {
		return nil, fmt.Errorf("write a test event: %w", err)
	}
	return body, nil
}
