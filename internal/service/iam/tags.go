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
	out := &shape.ListUserTagsResult{}
	out.Tags, out.Marker = cut(p, tagsOut(u.Tags), tagKey)
	out.IsTruncated = out.Marker != ""
	return out, nil
}

// TagUser adds tags; one whose key is there already, in whatever case, is replaced.
func (s *Service) TagUser(ctx context.Context, in *shape.TagUserRequest) (*shape.TagUserResult, error) {
	change, err := adding(in.Tags)
	if err != nil {
		return nil, err
	}
	if err := s.retagUser(ctx, in.UserName, change); err != nil {
		return nil, err
	}
	return &shape.TagUserResult{}, nil
}

// UntagUser removes tags; keys that are not there do not matter.
func (s *Service) UntagUser(ctx context.Context, in *shape.UntagUserRequest) (*shape.UntagUserResult, error) {
	change, err := removing(in.TagKeys)
	if err != nil {
		return nil, err
	}
	if err := s.retagUser(ctx, in.UserName, change); err != nil {
		return nil, err
	}
	return &shape.UntagUserResult{}, nil
}

func (s *Service) retagUser(ctx context.Context, user string, change retag) error {
	account := call.From(ctx).AccountID
	return s.update(ctx, func(tx *store.Tx) error {
		u, err := identity.FindUser(tx, account, user)
		if err != nil {
			return err
		}
		next := *u
		if next.Tags, err = change(u.Tags); err != nil {
			return err
		}
		return store.Users.Put(tx, &next)
	})
}

func tagKey(t shape.Tag) string { return t.Key }

// retag makes other tags of some; those that it gets stay as they are.
type retag func(have resource.Tags) (resource.Tags, error)

// adding checks tags and gives what adds them.
func adding(in []shape.Tag) (retag, error) {
	add, err := tagsIn(in)
	if err != nil {
		return nil, err
	}
	return func(have resource.Tags) (resource.Tags, error) {
		next := maps.Clone(have)
		if next == nil {
			next = resource.Tags{}
		}
		for k, v := range add {
			dropTag(next, k)
			next[k] = v
		}
		if len(next) > maxTags {
			return nil, awserr.New("LimitExceeded", "The number of tags has reached the maximum limit of %d.", maxTags).WithStatus(409)
		}
		return next, nil
	}, nil
}

// removing checks keys and gives what takes their tags away; keys that are not there do not matter.
func removing(keys []string) (retag, error) {
	if len(keys) > maxTags {
		return nil, invalid("1 validation error detected: Value at 'tagKeys' failed to satisfy constraint: Member must have length less than or equal to %d", maxTags)
	}
	return func(have resource.Tags) (resource.Tags, error) {
		next := maps.Clone(have)
		for _, k := range keys {
			dropTag(next, k)
		}
		return next, nil
	}, nil
}

// dropTag removes a tag: keys are case-insensitive.
func dropTag(tags resource.Tags, key string) {
	maps.DeleteFunc(tags, func(k, _ string) bool { return strings.EqualFold(k, key) })
}
