package s3

import (
	"context"
	"slices"
	"strings"

	"karri.dev/internal/aws/awserr"
	"karri.dev/internal/aws/call"
	shape "karri.dev/internal/aws/shape/s3"
	"karri.dev/internal/resource"
	"karri.dev/internal/store"
)

// Events that happen here, in their families. What AWS has besides (restores, tiers, replication times) does not
// happen and is refused.
var events = []string{
	"s3:ObjectCreated:Put", "s3:ObjectCreated:Post", "s3:ObjectCreated:Copy", "s3:ObjectCreated:CompleteMultipartUpload",
	"s3:ObjectRemoved:Delete", "s3:ObjectRemoved:DeleteMarkerCreated",
	"s3:LifecycleExpiration:Delete", "s3:LifecycleExpiration:DeleteMarkerCreated",
	"s3:ObjectTagging:Put", "s3:ObjectTagging:Delete", "s3:ObjectAcl:Put",
}

// PutBucketNotificationConfiguration sets who is told of what happens in a bucket. An empty one ends it.
func (s *Service) PutBucketNotificationConfiguration(ctx context.Context, in *shape.PutBucketNotificationConfigurationRequest) (*shape.PutBucketNotificationConfigurationResult, error) {
	b, err := s.bucket(ctx, in.Bucket, in.ExpectedBucketOwner, "PutBucketNotification")
	if err != nil {
		return nil, err
	}
	c := in.NotificationConfiguration
	if c == nil {
		return nil, malformedXML()
	}
	if c.EventBridgeConfiguration != nil {
		return nil, awserr.New("NotImplemented", "EventBridge is not implemented").WithStatus(501)
	}
	if len(c.QueueConfigurations)+len(c.LambdaFunctionConfigurations) > 0 { // there are neither queues nor functions
		return nil, unreachable()
	}
	if len(c.TopicConfigurations) == 0 {
		return &shape.PutBucketNotificationConfigurationResult{}, s.dropConfig(ctx, in.Bucket, in.ExpectedBucketOwner, "PutBucketNotification", resource.PartNotification)
	}
	doc := &shape.NotificationConfiguration{TopicConfigurations: slices.Clone(c.TopicConfigurations)}
	if err := s.checkTopics(doc.TopicConfigurations); err != nil {
		return nil, err
	}
	if err := s.tryTopics(ctx, b, doc.TopicConfigurations, in.SkipDestinationValidation != nil && *in.SkipDestinationValidation); err != nil {
		return nil, err
	}
	return &shape.PutBucketNotificationConfigurationResult{}, s.setConfig(ctx, b, resource.PartNotification, doc, func(tx *store.Tx) error {
		for _, t := range doc.TopicConfigurations {
			if w := store.Webhooks.Get(tx, t.TopicArn); w == nil || w.AccountID != b.AccountID {
				return unreachable()
			}
		}
		return nil
	})
}

// tryTopics sends each topic a test event: what cannot be told of anything is no destination.
func (s *Service) tryTopics(ctx context.Context, b *resource.Bucket, topics []shape.TopicConfiguration, skip bool) error {
	body, err := testEvent(call.From(ctx), b.Name, s.now())
	if err != nil {
		return err
	}
	tried := map[string]bool{}
	for _, t := range topics {
		hook := store.Webhooks.Get(s.store.Snapshot(), t.TopicArn)
		if hook == nil || hook.AccountID != b.AccountID {
			return unreachable()
		}
		if skip || tried[hook.ARN] {
			continue
		}
		tried[hook.ARN] = true
		if err := s.tell(ctx, hook, body); err != nil {
			s.log.Warn("s3: a test event was not taken", "bucket", b.Name, "err", err)
			return unreachable()
		}
	}
	return nil
}

func unreachable() error {
	return invalidArgument("Configuration", "", "Unable to validate the following destination configurations")
}

// GetBucketNotificationConfiguration answers who is told of what happens in a bucket.
func (s *Service) GetBucketNotificationConfiguration(ctx context.Context, in *shape.GetBucketNotificationConfigurationRequest) (*shape.GetBucketNotificationConfigurationResult, error) {
	c, err := asked[shape.NotificationConfiguration](ctx, s, in.Bucket, in.ExpectedBucketOwner, "GetBucketNotification", resource.PartNotification, "", "")
	if c == nil || err != nil {
		return &shape.GetBucketNotificationConfigurationResult{}, err
	}
	return &shape.GetBucketNotificationConfigurationResult{TopicConfigurations: c.TopicConfigurations}, nil
}

// checkTopics judges configurations, and gives each an id and its filter AWS's words.
func (s *Service) checkTopics(topics []shape.TopicConfiguration) error {
	if len(topics) > 100 {
		return malformedXML()
	}
	ids := map[string]bool{}
	for i := range topics {
		t := &topics[i]
		if t.Id == "" {
			t.Id = s.ids.UUID()
		}
		if ids[t.Id] || len(t.Id) > 255 {
			return invalidArgument("Id", t.Id, "Same ID used for multiple configurations. IDs must be unique")
		}
		ids[t.Id] = true
		if len(t.Events) == 0 {
			return malformedXML()
		}
		for _, e := range t.Events {
			if !slices.ContainsFunc(events, func(known string) bool { return wild(e, known) }) || strings.Contains(e, "*") && !strings.HasSuffix(e, ":*") {
				return invalidArgument("Event", e, "The event '"+e+"' is not supported for notifications")
			}
		}
		if err := tidyFilter(t); err != nil {
			return err
		}
		for j := range topics[:i] {
			if overlap(t, &topics[j]) {
				return invalidArgument("Configuration", "", "Configurations overlap. Configurations on the same bucket cannot share a common event type.")
			}
		}
	}
	return nil
}

// tidyFilter allows one prefix and one suffix, and writes their names as AWS does.
func tidyFilter(t *shape.TopicConfiguration) error {
	if t.Filter == nil || t.Filter.Key == nil {
		t.Filter = nil
		return nil
	}
	rules := slices.Clone(t.Filter.Key.FilterRules)
	for i := range rules {
		switch strings.ToLower(rules[i].Name) {
		case "prefix":
			rules[i].Name = "Prefix"
		case "suffix":
			rules[i].Name = "Suffix"
		default:
			return invalidArgument("FilterRule", rules[i].Name, "filter rule name must be either prefix or suffix")
		}
		if len(rules[i].Value) > maxKey {
			return invalidArgument("FilterRule", rules[i].Name, "filter value is too long")
		}
		for _, r := range rules[:i] {
			if r.Name == rules[i].Name {
				return invalidArgument("FilterRule", r.Name, "Cannot specify more than one "+strings.ToLower(r.Name)+" rule in a filter.")
			}
		}
	}
	t.Filter = &shape.NotificationConfigurationFilter{Key: &shape.S3KeyFilter{FilterRules: rules}}
	return nil
}

// filterOf gives a configuration's prefix and suffix.
func filterOf(t *shape.TopicConfiguration) (prefix, suffix string) {
	if t.Filter == nil {
		return "", ""
	}
	for _, r := range t.Filter.Key.FilterRules {
		if r.Name == "Prefix" {
			prefix = r.Value
		} else {
			suffix = r.Value
		}
	}
	return prefix, suffix
}

// overlap says that one event of one key could be meant by both.
func overlap(a, b *shape.TopicConfiguration) bool {
	shared := false
	for _, known := range events {
		is := func(e string) bool { return wild(e, known) }
		shared = shared || slices.ContainsFunc(a.Events, is) && slices.ContainsFunc(b.Events, is)
	}
	ap, as := filterOf(a)
	bp, bs := filterOf(b)
	return shared && (strings.HasPrefix(ap, bp) || strings.HasPrefix(bp, ap)) && (strings.HasSuffix(as, bs) || strings.HasSuffix(bs, as))
}
