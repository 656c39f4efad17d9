package s3

import (
	"context"
	"reflect"
	"strings"
	"time"

	"karri.dev/internal/authz"
	"karri.dev/internal/aws/call"
	shape "karri.dev/internal/aws/shape/s3"
	"karri.dev/internal/object"
	"karri.dev/internal/policy"
	"karri.dev/internal/resource"
)

// requestKeys says which condition key a member of a request is, in every operation that has it.
var requestKeys = []struct{ member, key string }{
	{"Prefix", "s3:prefix"},
	{"Delimiter", "s3:delimiter"},
	{"MaxKeys", "s3:max-keys"},
	{"VersionId", "s3:VersionId"},
	{"ACL", "s3:x-amz-acl"},
	{"GrantFullControl", "s3:x-amz-grant-full-control"},
	{"GrantRead", "s3:x-amz-grant-read"},
	{"GrantReadACP", "s3:x-amz-grant-read-acp"},
	{"GrantWrite", "s3:x-amz-grant-write"},
	{"GrantWriteACP", "s3:x-amz-grant-write-acp"},
	{"ServerSideEncryption", "s3:x-amz-server-side-encryption"},
	{"SSEKMSKeyId", "s3:x-amz-server-side-encryption-aws-kms-key-id"},
	{"SSECustomerAlgorithm", "s3:x-amz-server-side-encryption-customer-algorithm"},
	{"MetadataDirective", "s3:x-amz-metadata-directive"},
	{"StorageClass", "s3:x-amz-storage-class"},
	{"WebsiteRedirectLocation", "s3:x-amz-website-redirect-location"},
	{"ObjectOwnership", "s3:x-amz-object-ownership"},
	{"IfMatch", "s3:if-match"},
	{"IfNoneMatch", "s3:if-none-match"},
	{"ObjectLockMode", "s3:object-lock-mode"},
	{"Retention.Mode", "s3:object-lock-mode"},
	{"ObjectLockLegalHoldStatus", "s3:object-lock-legal-hold"},
	{"LegalHold.Status", "s3:object-lock-legal-hold"},
	{"CreateBucketConfiguration.LocationConstraint", "s3:LocationConstraint"},
}

// keysOf gives those of an operation as an authz.Entry has them.
func keysOf(api reflect.Type, operation string) string {
	method, ok := api.MethodByName(operation)
	if !ok {
		return ""
	}
	in := method.Type.In(1).Elem()
	var words []string
	for _, k := range requestKeys {
		if hasMember(in, k.member) {
			words = append(words, k.key+"="+k.member)
		}
	}
	return strings.Join(words, " ")
}

func hasMember(in reflect.Type, path string) bool {
	for name := range strings.SplitSeq(path, ".") {
		if in.Kind() == reflect.Pointer {
			in = in.Elem()
		}
		if in.Kind() != reflect.Struct {
			return false
		}
		f, ok := in.FieldByName(name)
		if !ok {
			return false
		}
		in = f.Type
	}
	return true
}

// keysFor gives the condition keys that no member of the request is by itself. m is the object where it is known; nil
// looks for it when it is asked for.
func (s *Service) keysFor(ctx context.Context, b *resource.Bucket, key string, act action, m *object.Meta, more authz.Keys) authz.Keys {
	in := call.From(ctx).Input
	return func(k policy.Key) (policy.Value, bool) {
		if more != nil {
			if v, ok := more(k); ok {
				return v, true
			}
		}
		switch k.Name {
		case "s3:existingobjecttag":
			if m == nil {
				if m = s.present(ctx, b, key, act, in); m == nil {
					m = &object.Meta{}
				}
			}
			v, ok := m.Tags[k.Arg]
			return policy.String(v), ok
		case "s3:requestobjecttag":
			v, ok := tagsAsked(in)[k.Arg]
			return policy.String(v), ok
		case "s3:requestobjecttagkeys":
			var names []string
			for name := range tagsAsked(in) {
				names = append(names, name)
			}
			return policy.Strings(names), names != nil
		case "s3:prefix", "s3:delimiter": // a listing without one is one of everything: that has a value, too
			switch l := in.(type) {
			case *shape.ListObjectsRequest:
				return policy.String(pickKey(k.Name, l.Prefix, l.Delimiter)), true
			case *shape.ListObjectsV2Request:
				return policy.String(pickKey(k.Name, l.Prefix, l.Delimiter)), true
			case *shape.ListObjectVersionsRequest:
				return policy.String(pickKey(k.Name, l.Prefix, l.Delimiter)), true
			}
		case "s3:x-amz-copy-source":
			return copyKey(in)
		case "aws:requesttag", "aws:tagkeys":
			if r, ok := in.(*shape.CreateBucketRequest); ok && r.CreateBucketConfiguration != nil {
				return newBucketTag(r.CreateBucketConfiguration.Tags, k)
			}
		case "s3:resourceaccount":
			if b != nil {
				return policy.String(b.AccountID), true
			}
			return policy.String(call.From(ctx).AccountID), true
		case "s3:objectcreationoperation":
			if act == actPutObject {
				return policy.Bool(makesObject(in)), true
			}
		case "s3:object-lock-retain-until-date":
			if until := untilAsked(in); !until.IsZero() {
				return policy.Time(until), true
			}
		case "s3:object-lock-remaining-retention-days":
			if until := untilAsked(in); !until.IsZero() {
				return policy.Int(int64(until.Sub(s.now()) / (24 * time.Hour))), true
			}
		}
		return policy.Value{}, false
	}
}

func pickKey(name, prefix, delimiter string) string {
	if name == "s3:prefix" {
		return prefix
	}
	return delimiter
}

// present looks for the object whose tags an action may depend on; nil: there is none, or the action does not.
func (s *Service) present(ctx context.Context, b *resource.Bucket, key string, act action, in any) *object.Meta {
	name := string(act)
	if key == "" || !strings.HasPrefix(name, "GetObject") && !strings.HasSuffix(name, "Tagging") && !strings.HasSuffix(name, "Acl") {
		return nil
	}
	version := ""
	if v := reflect.ValueOf(in); v.Kind() == reflect.Pointer && strings.Contains(name, "Version") {
		if f := v.Elem().FieldByName("VersionId"); f.IsValid() && f.Kind() == reflect.String {
			version = f.String()
		}
	}
	m, err := s.engine.Head(ctx, b.Engine, key, version)
	if err != nil {
		return nil
	}
	return &m
}

// tagsAsked gives the tags that a request gives an object. Ill-formed ones are for the handler to refuse.
func tagsAsked(in any) resource.Tags {
	header := ""
	switch r := in.(type) {
	case *shape.PutObjectRequest:
		header = r.Tagging
	case *shape.CreateMultipartUploadRequest:
		header = r.Tagging
	case *shape.CopyObjectRequest:
		header = r.Tagging
	case *shape.PutObjectTaggingRequest:
		if r.Tagging == nil {
			return nil
		}
		tags := resource.Tags{}
		for _, t := range r.Tagging.TagSet {
			tags[t.Key] = t.Value
		}
		return tags
	}
	tags, err := tagHeader(header)
	if err != nil {
		return nil
	}
	return tags
}

// copyKey gives a copy's source as "bucket/key", whatever way it was written.
func copyKey(in any) (policy.Value, bool) {
	text := ""
	switch r := in.(type) {
	case *shape.CopyObjectRequest:
		text = r.CopySource
	case *shape.UploadPartCopyRequest:
		text = r.CopySource
	}
	if text == "" {
		return policy.Value{}, false
	}
	bucket, key, _, err := copySource(text)
	return policy.String(bucket + "/" + key), err == nil
}

// newBucketTag gives aws:RequestTag/… and aws:TagKeys of a bucket that is to be made.
func newBucketTag(tags []shape.Tag, k policy.Key) (policy.Value, bool) {
	names := make([]string, len(tags))
	for i, t := range tags {
		if names[i] = t.Key; k.Name == "aws:requesttag" && strings.EqualFold(t.Key, k.Arg) {
			return policy.String(t.Value), true
		}
	}
	return policy.Strings(names), k.Name == "aws:tagkeys" && len(tags) > 0
}

// makesObject says whether a call that needs s3:PutObject ends with an object: the parts of an upload do not.
func makesObject(in any) bool {
	switch in.(type) {
	case *shape.CreateMultipartUploadRequest, *shape.UploadPartRequest, *shape.UploadPartCopyRequest:
		return false
	}
	return true
}

func untilAsked(in any) time.Time {
	switch r := in.(type) {
	case *shape.PutObjectRequest:
		return r.ObjectLockRetainUntilDate
	case *shape.CopyObjectRequest:
		return r.ObjectLockRetainUntilDate
	case *shape.CreateMultipartUploadRequest:
		return r.ObjectLockRetainUntilDate
	case *shape.PutObjectRetentionRequest:
		if r.Retention != nil {
			return r.Retention.RetainUntilDate
		}
	}
	return time.Time{}
}
