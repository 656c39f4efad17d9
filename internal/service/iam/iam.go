// Package iam serves AWS's Identity and Access Management: users and their access keys, groups, roles, managed and
// inline policies, instance profiles.
//
// Every operation works on the caller's own account; names of other accounts' users and keys are not found.
package iam

import (
	"context"
	"encoding/base64"
	"slices"
	"strings"

	"karri.dev/internal/aws/awserr"
	"karri.dev/internal/aws/call"
	shape "karri.dev/internal/aws/shape/iam"
	"karri.dev/internal/identity"
	"karri.dev/internal/quota"
	"karri.dev/internal/resource"
	"karri.dev/internal/store"
)

// Service implements the operations.
type Service struct {
	quotas   *quota.Keeper
	store    *store.Store
	identity *identity.Identity
	issuers  Issuers
	cloud    []*resource.Policy // the cloud's own, in order of name
}

var _ shape.API = (*Service)(nil)

// New makes a Service.
func New(s *store.Store, id *identity.Identity, issuers Issuers, quotas *quota.Keeper) *Service {
	return &Service{quotas: quotas, store: s, identity: id, issuers: issuers, cloud: cloudPolicies()}
}

// update runs fn in a transaction, within the caller's quotas.
func (s *Service) update(ctx context.Context, fn func(*store.Tx) error) error {
	info := call.From(ctx)
	return s.store.Update(ctx, func(tx *store.Tx) error { return s.quotas.Within(tx, info, fn) })
}

// pageSize is IAM's default and mostItems its limit of items in a page.
const (
	pageSize  = 100
	mostItems = 1000
)

// page is where a listing goes on and how much is wanted.
type page struct {
	after string
	max   int
}

func newPage(marker string, maxItems *int) (page, error) {
	p := page{max: pageSize}
	if maxItems != nil {
		if *maxItems < 1 || *maxItems > mostItems {
			return p, invalid("1 validation error detected: Value '%d' at 'maxItems' failed to satisfy constraint: Member must have value between 1 and %d", *maxItems, mostItems)
		}
		p.max = *maxItems
	}
	if marker == "" {
		return p, nil
	}
	after, err := base64.RawURLEncoding.DecodeString(marker)
	if err != nil || len(after) == 0 || len(after) > 256 {
		return p, invalid("Invalid Marker.")
	}
	p.after = string(after)
	return p, nil
}

// marker makes the text that a client hands back to go on after a name.
func marker(name string) string { return base64.RawURLEncoding.EncodeToString([]byte(name)) }

func invalid(format string, args ...any) error { return awserr.New("ValidationError", format, args...) }

// checkStatus checks what a key or certificate is to be.
func checkStatus(status string) error {
	if status != shape.StatusTypeActive && status != shape.StatusTypeInactive {
		return invalid("1 validation error detected: Value '%.64s' at 'status' failed to satisfy constraint: Member must satisfy enum value set: [Active, Inactive]", status)
	}
	return nil
}

func status(active bool) string {
	if active {
		return shape.StatusTypeActive
	}
	return shape.StatusTypeInactive
}

// maxTags is IAM's quota per user.
const maxTags = 50

func tagsIn(in []shape.Tag) (resource.Tags, error) {
	if len(in) > maxTags {
		return nil, awserr.New("LimitExceeded", "The number of tags has reached the maximum limit of %d.", maxTags).WithStatus(409)
	}
	var tags resource.Tags
	seen := map[string]bool{}
	for _, t := range in {
		switch {
		case t.Key == "" || len([]rune(t.Key)) > 128 || len([]rune(t.Value)) > 256:
			return nil, invalid("1 validation error detected: Value at 'tags' failed to satisfy constraint: keys have 1 to 128 characters, values at most 256")
		case len(t.Key) >= 4 && strings.EqualFold(t.Key[:4], "aws:"):
			return nil, awserr.New("InvalidInput", "Tag keys cannot start with 'aws:', which is reserved.")
		}
		if tags == nil {
			tags = resource.Tags{}
		}
		if folded := strings.ToLower(t.Key); !seen[folded] {
			seen[folded] = true
		} else {
			return nil, awserr.New("InvalidInput", "Duplicate tag keys found. Please note that Tag keys are case insensitive.")
		}
		tags[t.Key] = t.Value
	}
	return tags, nil
}

func tagsOut(tags resource.Tags) []shape.Tag {
	var out []shape.Tag
	for k, v := range tags {
		out = append(out, shape.Tag{Key: k, Value: v})
	}
	slices.SortFunc(out, func(a, b shape.Tag) int {
		if a.Key < b.Key {
			return -1
		}
		return 1
	})
	return out
}
