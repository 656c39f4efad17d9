package iam

import (
	"context"
	"maps"
	"strings"

	"karri.dev/internal/aws/awserr"
	"karri.dev/internal/aws/call"
	shape "karri.dev/internal/aws/shape/iam"
	"karri.dev/internal/identity"
	"karri.dev/internal/resource"
	"karri.dev/internal/store"
)

// ListUserTags lists a user's tags in order of key.
func (s *Service) ListUserTags(ctx context.Context, in *shape.ListUserTagsRequest) (*shape.ListUserTagsResult, error) {
	p, err := newPage(in.Marker, in.MaxItems)
	if err != nil {
		return nil, err
	}
	u, err := identity.FindUser(s.store.Snapshot(), call.From(ctx).AccountID, in.UserName)
	if err != nil {
		return nil, err
	}
	out := &shape.ListUserTagsResult{Tags: []shape.Tag{}}
	for _, t := range tagsOut(u.Tags) {
		if p.after != "" && t.Key <= p.after {
			continue
		}
		if len(out.Tags) == p.max {
			out.IsTruncated, out.Marker = true, marker(out.Tags[p.max-1].Key)
			break
		}
		out.Tags = append(out.Tags, t)
	}
	return out, nil
}

// TagUser adds tags; one whose key is there already, in whatever case, is replaced.
func (s *Service) TagUser(ctx context.Context, in *shape.TagUserRequest) (*shape.TagUserResult, error) {
	add, err := tagsIn(in.Tags)
	if err != nil {
		return nil, err
	}
	err = s.retag(ctx, in.UserName, func(tags resource.Tags) error {
		return addTags(tags, add)
	})
	if err != nil {
		return nil, err
	}
	return &shape.TagUserResult{}, nil
}

// UntagUser removes tags; keys that are not there do not matter.
func (s *Service) UntagUser(ctx context.Context, in *shape.UntagUserRequest) (*shape.UntagUserResult, error) {
	if err := checkTagKeys(in.TagKeys); err != nil {
		return nil, err
	}
	err := s.retag(ctx, in.UserName, func(tags resource.Tags) error {
		for _, k := range in.TagKeys {
			dropTag(tags, k)
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	return &shape.UntagUserResult{}, nil
}

// addTags adds to tags in place.
func addTags(tags, add resource.Tags) error {
	for k, v := range add {
		dropTag(tags, k)
		tags[k] = v
	}
	if len(tags) > maxTags {
		return awserr.New("LimitExceeded", "The number of tags has reached the maximum limit of %d.", maxTags).WithStatus(409)
	}
	return nil
}

func checkTagKeys(keys []string) error {
	if len(keys) > maxTags {
		return invalid("1 validation error detected: Value at 'tagKeys' failed to satisfy constraint: Member must have length less than or equal to %d", maxTags)
	}
	return nil
}

// dropTag removes a tag: keys are case-insensitive.
func dropTag(tags resource.Tags, key string) {
	maps.DeleteFunc(tags, func(k, _ string) bool { return strings.EqualFold(k, key) })
}

func (s *Service) retag(ctx context.Context, user string, change func(resource.Tags) error) error {
	account := call.From(ctx).AccountID
	return s.store.Update(ctx, func(tx *store.Tx) error {
		u, err := identity.FindUser(tx, account, user)
		if err != nil {
			return err
		}
		next := *u
		if next.Tags = maps.Clone(u.Tags); next.Tags == nil {
			next.Tags = resource.Tags{}
		}
		if err := change(next.Tags); err != nil {
			return err
		}
		return store.Users.Put(tx, &next)
	})
}
