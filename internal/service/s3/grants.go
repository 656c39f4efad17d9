package s3

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"slices"

	"karri.dev/internal/policy"
	"karri.dev/internal/resource"
	"karri.dev/internal/store"
)

// What a bucket itself says on who may use it: its policy, and its ACL where ACLs are on. The ACL becomes a policy,
// so that one engine decides over all of it. The public access block takes away what would make it public.

// bucketGrants is a bucket's ACL as policies.
type bucketGrants struct {
	all     *policy.Policy
	private *policy.Policy // without what is granted to everyone; nil: nothing
}

// grantsOf gives what a bucket's ACL grants, nil for nothing.
func (s *Service) grantsOf(r store.Reader, b *resource.Bucket, ignorePublic bool) (*policy.Policy, error) {
	c := store.BucketConfigs.Get(r, store.BucketConfigKey(b.Engine, resource.PartACL))
	if c == nil {
		return nil, nil
	}
	ownership, err := s.ownership(r, b)
	if err != nil || ownership == ownerEnforced {
		return nil, err
	}
	g, err := once(&s.grants, c, func(*resource.BucketConfig) (*bucketGrants, error) {
		a, err := config[acl](s, r, b, resource.PartACL)
		if err != nil {
			return nil, err
		}
		g := &bucketGrants{}
		if g.all, err = aclPolicy(b.Name, a, bucketActions, false); err == nil {
			g.private, err = aclPolicy(b.Name, a, bucketActions, true)
		}
		return g, err
	})
	switch {
	case err != nil:
		return nil, err
	case ignorePublic:
		return g.private, nil
	}
	return g.all, nil
}

// statement is one of a policy that is made here.
type statement struct {
	Effect    string
	Principal any
	Action    []string
	Resource  []string
	Condition map[string]map[string]string `json:",omitempty"`
}

// bucketActions are what a grant on a bucket allows (acl-overview, "Mapping of ACL permissions"). Who may write an object
// may write it with an ACL; an object that is there is not asked for here (see mayVersion).
func bucketActions(permission string) (onBucket, onObjects []string) {
	switch permission {
	case "READ":
		return []string{"s3:ListBucket", "s3:ListBucketVersions", "s3:ListBucketMultipartUploads"}, nil
	case "WRITE":
		return nil, []string{"s3:PutObject", "s3:PutObjectAcl"}
	case "READ_ACP":
		return []string{"s3:GetBucketAcl"}, nil
	case "WRITE_ACP":
		return []string{"s3:PutBucketAcl"}, nil
	case "FULL_CONTROL":
		return []string{"s3:ListBucket", "s3:ListBucketVersions", "s3:ListBucketMultipartUploads", "s3:GetBucketAcl", "s3:PutBucketAcl"}, []string{"s3:PutObject", "s3:PutObjectAcl"}
	}
	return nil, nil
}

// ownObject is a condition key of ours: the caller wrote the object that is to be deleted.
const ownObject = "karri:ownobject"

// mayDelete asks whether the caller may delete an object.
func (s *Service) mayDelete(ctx context.Context, b *resource.Bucket, key, version string) error {
	return s.may(ctx, b, key, versioned(actDeleteObject, version), func(k policy.Key) (policy.Value, bool) {
		switch k.Name {
		case ownObject:
		case "s3:versionid":
			return policy.String(version), version != ""
		default:
			return policy.Value{}, false
		}
		m, err := s.engine.Head(ctx, b.Engine, key, version)
		return policy.Bool(err == nil && m.Owner == callerID(ctx)), true
	})
}

// aclPolicy writes an ACL as a policy, nil if it grants nothing.
func aclPolicy(bucket string, a *acl, allowed func(permission string) (onBucket, onObjects []string), private bool) (*policy.Policy, error) {
	var statements []statement
	for _, g := range a.Grants {
		st := statement{Effect: "Allow"}
		switch {
		case g.Grantee.ID == anonymousID: // nobody is
			continue
		case g.Grantee.Type == "CanonicalUser":
			st.Principal = map[string]string{"CanonicalUser": g.Grantee.ID}
		case g.Grantee.URI == groupLogDelivery:
			st.Principal = map[string]string{"Service": "logging.s3.amazonaws.com"}
		case private:
			continue
		default:
			st.Principal = "*"
			if g.Grantee.URI == groupUsers {
				st.Condition = map[string]map[string]string{"StringNotEquals": {"aws:PrincipalType": "Anonymous"}}
			}
		}
		onBucket, onObjects := allowed(g.Permission)
		if slices.Contains(onObjects, string("s3:"+actPutObject)) { // who may write may delete what is its own
			own := st
			own.Action, own.Resource, own.Condition = []string{"s3:DeleteObject"}, []string{bucketARN(bucket) + "/*"}, maps.Clone(st.Condition)
			if own.Condition == nil {
				own.Condition = map[string]map[string]string{}
			}
			own.Condition["Bool"] = map[string]string{ownObject: "true"}
			statements = append(statements, own)
		}
		for resource, actions := range map[string][]string{bucketARN(bucket): onBucket, bucketARN(bucket) + "/*": onObjects} {
			if actions != nil {
				st.Action, st.Resource = actions, []string{resource}
				statements = append(statements, st)
			}
		}
	}
	if statements == nil {
		return nil, nil
	}
	text, err := json.Marshal(map[string]any{"Version": policy.Version2012, "Statement": statements})
	if err != nil {
		return nil, fmt.Errorf("write an ACL as a policy: %w", err)
	}
	p, err := policy.Parse(string(text), policy.Resource)
	if err != nil {
		return nil, fmt.Errorf("ACL of bucket %s: %w", bucket, err)
	}
	return p, nil
}
