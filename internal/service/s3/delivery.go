package s3

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"strings"

	"karri.dev/internal/aws/awserr"
	shape "karri.dev/internal/aws/shape/s3"
	"karri.dev/internal/object"
	"karri.dev/internal/resource"
)

// deliveryService writes the logs of other services, where a bucket's policy lets it.
const deliveryService = "delivery.logs.amazonaws.com"

// Deliver writes a log of an account's as the log delivery. The object is the bucket owner's.
func (s *Service) Deliver(ctx context.Context, account, region, bucket, key string, body []byte) error {
	to, err := s.mayDeliver(ctx, account, region, bucket, key)
	if err != nil {
		return err
	}
	return s.putLog(ctx, to, key, "application/x-gzip", owned(s.canonical(s.store.Snapshot(), to.AccountID)), body)
}

// mayDeliver asks whether the log delivery may write an object for an account.
func (s *Service) mayDeliver(ctx context.Context, account, region, bucket, key string) (*resource.Bucket, error) {
	to := s.visible(s.store.Snapshot(), bucket)
	if to == nil || to.Region != region {
		return nil, awserr.New("NoSuchBucket", "The specified bucket does not exist").WithStatus(404)
	}
	return to, s.mayServe(ctx, to, key, deliveryService, fmt.Sprintf("arn:aws:logs:%s:%s:*", region, account), account, "bucket-owner-full-control")
}

// LetDeliver sees to it that the log delivery may write an account's logs below a folder. Where the bucket's policy
// does not let it, the caller's leave to change that is used, as AWS does.
func (s *Service) LetDeliver(ctx context.Context, account, region, bucket, folder string) error {
	b, err := s.mayDeliver(ctx, account, region, bucket, folder+"x")
	if err == nil || b == nil || b.AccountID != account {
		return err
	}
	text := ""
	if got, err := s.GetBucketPolicy(ctx, &shape.GetBucketPolicyRequest{Bucket: bucket}); err == nil {
		text = got.Policy
	} else if awserr.Code(err) != "NoSuchBucketPolicy" {
		return err
	}
	if text, err = withDelivery(text, account, region, bucket, folder); err != nil {
		return err
	}
	if _, err := s.PutBucketPolicy(ctx, &shape.PutBucketPolicyRequest{Bucket: bucket, Policy: text}); err != nil {
		return err
	}
	_, err = s.mayDeliver(ctx, account, region, bucket, folder+"x")
	return err
}

// withDelivery adds to a policy what AWS adds.
func withDelivery(text, account, region, bucket, folder string) (string, error) {
	doc := map[string]any{"Version": "2012-10-17", "Id": "AWSLogDeliveryWrite20150319"}
	if text != "" {
		doc = map[string]any{}
		if err := json.Unmarshal([]byte(text), &doc); err != nil {
			return "", err
		}
	}
	var statements []any
	switch old := doc["Statement"].(type) {
	case []any:
		statements = old
	case map[string]any:
		statements = []any{old}
	}
	source := map[string]any{"aws:SourceArn": fmt.Sprintf("arn:aws:logs:%s:%s:*", region, account)}
	sid := strings.Map(func(r rune) rune {
		if r >= '0' && r <= '9' || r|0x20 >= 'a' && r|0x20 <= 'z' {
			return r
		}
		return -1
	}, folder)
	who := map[string]any{"Service": deliveryService}
	doc["Statement"] = append(statements,
		map[string]any{
			"Sid": "AWSLogDeliveryWrite" + sid, "Effect": "Allow", "Principal": who, "Action": "s3:PutObject", "Resource": bucketARN(bucket) + "/" + folder + "*",
			"Condition": map[string]any{"StringEquals": map[string]any{"aws:SourceAccount": account, "s3:x-amz-acl": "bucket-owner-full-control"}, "ArnLike": source},
		},
		map[string]any{
			"Sid": "AWSLogDeliveryAclCheck" + sid, "Effect": "Allow", "Principal": who, "Action": "s3:GetBucketAcl", "Resource": bucketARN(bucket),
			"Condition": map[string]any{"StringEquals": map[string]any{"aws:SourceAccount": account}, "ArnLike": source},
		})
	out, err := json.Marshal(doc)
	return string(out), err
}

// putLog writes an object of a log.
func (s *Service) putLog(ctx context.Context, to *resource.Bucket, key, contentType string, a *acl, body []byte) (err error) {
	p := object.Put{Key: key, Versioning: versioning(to), Owner: a.Owner, Headers: headers{contentType: contentType}.stored()}
	if p.Attributes.ACL, err = storedACL(a); err != nil {
		return err
	}
	sum, err := newSums(bytes.NewReader(body), given{}, "", "")
	if err != nil {
		return err
	}
	p.Body, p.Size, p.Checksum = sum, int64(len(body)), sum.result
	if p.Notes, err = s.writes(ctx, to, key, "ObjectCreated:Put"); err != nil {
		return err
	}
	if p.Room, err = s.room(ctx, to, key); err != nil {
		return err
	}
	_, err = s.engine.Put(ctx, to.Engine, p)
	s.noted()
	return err
}
