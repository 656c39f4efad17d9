package s3

import (
	"context"
	"errors"
	"net/netip"
	"slices"
	"strings"

	"karri.dev/internal/authz"
	"karri.dev/internal/aws/awserr"
	shape "karri.dev/internal/aws/shape/s3"
	"karri.dev/internal/policy"
	"karri.dev/internal/resource"
	"karri.dev/internal/store"
)

// PutBucketPolicy sets a bucket's policy.
func (s *Service) PutBucketPolicy(ctx context.Context, in *shape.PutBucketPolicyRequest) (*shape.PutBucketPolicyResult, error) {
	b, err := s.bucket(ctx, in.Bucket, in.ExpectedBucketOwner, "PutBucketPolicy")
	if err != nil {
		return nil, err
	}
	p, err := readPolicy(in.Policy, b.Name)
	if err != nil {
		return nil, err
	}
	bound, missing, err := authz.Bind(s.store.Snapshot(), in.Policy, policy.Resource)
	switch {
	case err != nil:
		return nil, err
	case missing != "":
		return nil, awserr.New("MalformedPolicy", "Invalid principal in policy").With("Detail", missing)
	}
	return &shape.PutBucketPolicyResult{}, s.setConfig(ctx, b, resource.PartPolicy, bound, func(tx *store.Tx) error {
		block, err := s.block(tx, b)
		if err == nil && block.policy && public(p) {
			err = awserr.New("AccessDenied", "User is not authorized to perform: s3:PutBucketPolicy on resource: %q because public policies are blocked by the BlockPublicPolicy block public access setting.", bucketARN(b.Name)).
				WithStatus(403)
		}
		return err
	})
}

// GetBucketPolicy gives a bucket's policy, as it was put.
func (s *Service) GetBucketPolicy(ctx context.Context, in *shape.GetBucketPolicyRequest) (*shape.GetBucketPolicyResult, error) {
	doc, err := asked[resource.Bound](ctx, s, in.Bucket, in.ExpectedBucketOwner, "GetBucketPolicy", resource.PartPolicy,
		"NoSuchBucketPolicy", "The bucket policy does not exist")
	if err != nil {
		return nil, err
	}
	return &shape.GetBucketPolicyResult{Policy: doc.Text}, nil
}

// DeleteBucketPolicy removes a bucket's policy.
func (s *Service) DeleteBucketPolicy(ctx context.Context, in *shape.DeleteBucketPolicyRequest) (*shape.DeleteBucketPolicyResult, error) {
	return &shape.DeleteBucketPolicyResult{}, s.dropConfig(ctx, in.Bucket, in.ExpectedBucketOwner, "DeleteBucketPolicy", resource.PartPolicy)
}

// GetBucketPolicyStatus says whether a bucket's policy makes it public.
func (s *Service) GetBucketPolicyStatus(ctx context.Context, in *shape.GetBucketPolicyStatusRequest) (*shape.GetBucketPolicyStatusResult, error) {
	doc, err := asked[resource.Bound](ctx, s, in.Bucket, in.ExpectedBucketOwner, "GetBucketPolicyStatus", resource.PartPolicy,
		"NoSuchBucketPolicy", "The bucket policy does not exist")
	if err != nil {
		return nil, err
	}
	p, err := policy.Parse(doc.Text, policy.Resource)
	if err != nil {
		return nil, err
	}
	return &shape.GetBucketPolicyStatusResult{PolicyStatus: &shape.PolicyStatus{IsPublic: public(p)}}, nil
}

// policyOf gives a bucket's policy compiled, nil if there is none. A text that no longer parses is an error: leaving
// it out could lose a Deny.
func (s *Service) policyOf(r store.Reader, b *resource.Bucket) (*bucketPolicy, error) {
	c := store.BucketConfigs.Get(r, store.BucketConfigKey(b.Engine, resource.PartPolicy))
	if c == nil {
		return nil, nil
	}
	return once(&s.policies, c, func(*resource.BucketConfig) (*bucketPolicy, error) {
		doc, err := config[resource.Bound](s, r, b, resource.PartPolicy)
		if err != nil {
			return nil, err
		}
		written, err := policy.Parse(doc.Text, policy.Resource)
		if err != nil {
			return nil, err
		}
		bound, err := authz.BoundPolicy(*doc, policy.Resource)
		if err != nil {
			return nil, err
		}
		return &bucketPolicy{bound, public(written)}, nil
	})
}

// bucketPolicy is a bucket's policy, compiled, with the unique ids of the users and roles that it named when it was put:
// who is made later under such a name inherits nothing.
type bucketPolicy struct {
	*policy.Policy
	public bool
}

// readPolicy judges the text of a policy for a bucket.
func readPolicy(text, bucket string) (*policy.Policy, error) {
	malformed := func(message string) error { return awserr.New("MalformedPolicy", "%s", message) }
	if text == "" {
		return nil, awserr.New("MissingRequestBodyError", "Request Body is empty")
	}
	if len(text) > policy.BucketSize {
		return nil, awserr.New("PolicyTooLarge", "Policy document is larger than %d bytes", policy.BucketSize)
	}
	if !strings.HasPrefix(strings.TrimSpace(text), "{") {
		return nil, malformed("Policies must be valid JSON and the first byte must be '{'")
	}
	p, err := policy.Parse(text, policy.Resource)
	var bad *policy.Error
	switch {
	case errors.As(err, &bad):
		return nil, malformed(bad.Error())
	case err != nil:
		return nil, err
	}
	for _, st := range p.Document().Statements {
		for _, r := range slices.Concat(st.Resource, st.NotResource) {
			_, name, _ := strings.Cut(r, ":s3:::")
			if head, _, _ := strings.Cut(name, "/"); !wildcards(head, bucket) {
				return nil, malformed("Policy has invalid resource")
			}
		}
		for _, a := range slices.Concat(st.Action, st.NotAction) {
			if vendor, _, _ := strings.Cut(a, ":"); vendor != "*" && !strings.EqualFold(vendor, "s3") {
				return nil, malformed("Policy has invalid action")
			}
		}
	}
	return p, nil
}

// wildcards matches a name against a pattern of asterisks and question marks, in time of their product.
func wildcards(pattern, s string) bool {
	star, mark := -1, 0 // the last asterisk, and what it has taken so far
	i, j := 0, 0
	for j < len(s) {
		switch {
		case i < len(pattern) && pattern[i] == '*':
			star, mark = i, j
			i++
		case i < len(pattern) && (pattern[i] == '?' || pattern[i] == s[j]):
			i, j = i+1, j+1
		case star >= 0:
			mark++
			i, j = star+1, mark
		default:
			return false
		}
	}
	return strings.Trim(pattern[i:], "*") == ""
}

// limiting are the condition keys that, compared with fixed values, keep a policy from being public
// (access-control-block-public-access).
var limiting = []string{
	"aws:sourcearn", "aws:sourcevpc", "aws:sourcevpce", "aws:sourceowner", "aws:sourceaccount", "aws:principalorgid", "aws:principalorgpaths",
	"aws:principalarn", "aws:principalaccount", "aws:userid", "aws:vpcsourceip", "s3:dataaccesspointarn", "s3:dataaccesspointaccount", "s3:x-amz-server-side-encryption-aws-kms-key-id",
}

// public says whether a policy grants anything to everyone.
func public(p *policy.Policy) bool {
	for _, st := range p.Document().Statements {
		if st.Effect != policy.Allow {
			continue
		}
		everyone := st.NotPrincipal != nil || st.Principal != nil && (st.Principal.Everyone || slices.Contains(st.Principal.AWS, "*"))
		if everyone && !slices.ContainsFunc(st.Condition, limits) {
			return true
		}
	}
	return false
}

// limits says whether a condition holds for fixed values only.
func limits(c policy.Condition) bool {
	key := strings.ToLower(c.Key)
	switch c.Operator {
	case "StringEquals", "StringEqualsIgnoreCase", "StringLike", "ArnEquals", "ArnLike":
		return slices.Contains(limiting, key) && !slices.ContainsFunc(c.Values, func(v string) bool { return strings.ContainsAny(v, "*?$") })
	case "IpAddress":
		return key == "aws:sourceip" && !slices.ContainsFunc(c.Values, wide)
	}
	return false
}

// wide says that a range of addresses is as good as everyone's.
func wide(v string) bool {
	if strings.Contains(v, "$") {
		return true
	}
	p, err := netip.ParsePrefix(v)
	if err != nil {
		return false // one address
	}
	if p.Addr().Is4() {
		return p.Bits() < 8
	}
	return p.Bits() < 32
}
