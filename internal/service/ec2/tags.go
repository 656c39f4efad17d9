package ec2

import (
	"context"
	"maps"
	"slices"
	"sort"
	"strings"
	"unicode/utf8"

	"karri.dev/internal/authz"
	"karri.dev/internal/aws/awserr"
	"karri.dev/internal/aws/call"
	shape "karri.dev/internal/aws/shape/ec2"
	"karri.dev/internal/filter"
	"karri.dev/internal/resource"
	"karri.dev/internal/store"
)

// Limits of AWS on tags; lengths in characters.
const (
	maxTags     = 50
	maxTagKey   = 128
	maxTagValue = 256
	maxTagged   = 1000 // resources in one call
)

// checkTags checks tags as a caller gave them.
func checkTags(in []shape.Tag) (resource.Tags, error) {
	out := make(resource.Tags, len(in))
	for _, t := range in {
		switch {
		case t.Key == "":
			return nil, errMissing("Tag.Key")
		case utf8.RuneCountInString(t.Key) > maxTagKey:
			return nil, awserr.New("InvalidParameterValue", "Tag key exceeds the maximum length of %d characters", maxTagKey)
		case utf8.RuneCountInString(t.Value) > maxTagValue:
			return nil, awserr.New("InvalidParameterValue", "Tag value exceeds the maximum length of %d characters", maxTagValue)
		case reserved(t.Key):
			return nil, awserr.New("InvalidParameterValue", "Tag keys starting with 'aws:' are reserved for internal use")
		}
		if _, twice := out[t.Key]; twice {
			return nil, awserr.New("InvalidParameterValue", "Duplicate tag key '%s' specified.", t.Key)
		}
		out[t.Key] = t.Value
	}
	if len(out) > maxTags {
		return nil, errTagLimit()
	}
	return out, nil
}

func reserved(key string) bool { return len(key) >= 4 && strings.EqualFold(key[:4], "aws:") }

func errTagLimit() error {
	return awserr.New("TagLimitExceeded", "The maximum number of Tags for a resource has been reached.")
}

// tagsOnCreate checks the TagSpecifications of a call that makes resources of these types.
func tagsOnCreate(specs []shape.TagSpecification, types ...string) (map[string]resource.Tags, error) {
	out := map[string]resource.Tags{}
	for _, spec := range specs {
		if spec.ResourceType == "" {
			return nil, errMissing("ResourceType")
		}
		if !slices.Contains(types, spec.ResourceType) {
			return nil, awserr.New("InvalidParameterValue", "'%s' is not a valid taggable resource type for this operation.", spec.ResourceType)
		}
		if _, twice := out[spec.ResourceType]; twice {
			return nil, awserr.New("InvalidParameterValue", "Duplicate tag specification for '%s'.", spec.ResourceType)
		}
		tags, err := checkTags(spec.Tags)
		if err != nil {
			return nil, err
		}
		out[spec.ResourceType] = tags
	}
	return out, nil
}

// shapeTags gives tags in order of key.
func shapeTags(tags resource.Tags) []shape.Tag {
	if len(tags) == 0 {
		return nil
	}
	out := make([]shape.Tag, 0, len(tags))
	for k, v := range tags {
		out = append(out, shape.Tag{Key: k, Value: v})
	}
	if len(out) > 1 {
		sort.Slice(out, func(i, j int) bool { return out[i].Key < out[j].Key })
	}
	return out
}

// tagged is a kind of resource as the tag operations see it.
type tagged struct {
	prefix, name string
	access       authz.Kind
	// retag replaces the tags of the caller's resource with what edit makes of them.
	retag func(tx *store.Tx, info *call.Info, id string, edit func(resource.Tags) (resource.Tags, error)) error
	// each calls yield with all the caller's resources of the kind, in order of id.
	each func(r store.Reader, info *call.Info, yield func(id string, tags resource.Tags) bool)
}

func (k *kind[T]) tagged() tagged {
	return tagged{
		prefix: k.prefix, name: k.name, access: k.access(),
		retag: func(tx *store.Tx, info *call.Info, id string, edit func(resource.Tags) (resource.Tags, error)) error {
			old, err := k.find(tx, info, id)
			if err != nil {
				return err
			}
			next := *old
			tags, err := edit(k.owned(old).Tags)
			if err != nil {
				return err
			}
			k.owned(&next).Tags = tags
			return k.table.Put(tx, &next)
		},
		each: func(r store.Reader, info *call.Info, yield func(string, resource.Tags) bool) {
			for v := range k.owner.By(r, ownerKey(info)) {
				if !yield(k.id(v), k.owned(v).Tags) {
					return
				}
			}
		},
	}
}

func taggables() []tagged {
	return []tagged{
		instances.tagged(), images.tagged(), importTasks.tagged(), snapshotImports.tagged(), exportTasks.tagged(), keyPairs.tagged(), vpcs.tagged(), subnets.tagged(), groups.tagged(),
		routeTables.tagged(), gateways.tagged(), acls.tagged(), dhcpOptions.tagged(), interfaces.tagged(), addresses.tagged(), volumes.tagged(), snapshots.tagged(), rootTasks.tagged(), prefixLists.tagged(), taggedRules(),
		templates.tagged(), placementGroups.tagged(), cidrReservations.tagged(), natGateways.tagged(), egressGateways.tagged(), flowLogs.tagged(), vpcEndpoints.tagged(), taggedPeerings(), customerGateways.tagged(), vpnGateways.tagged(), vpnConnections.tagged(),
	}
}

// retag edits the tags of the resources with these ids.
func (s *Service) retag(tx *store.Tx, info *call.Info, ids []string, edit func(resource.Tags) (resource.Tags, error)) error {
	kinds := taggables()
	for _, id := range ids {
		id = imageID(id)
		i := slices.IndexFunc(kinds, func(k tagged) bool { return wellFormed(k.prefix, id) })
		if i < 0 {
			return awserr.New("InvalidID", "The ID '%s' is not valid", id)
		}
		if err := kinds[i].retag(tx, info, id, edit); err != nil {
			return err
		}
	}
	return nil
}

func checkResources(ids []string) error {
	if len(ids) == 0 {
		return errMissing("resourceIdSet")
	}
	if len(ids) > maxTagged {
		return awserr.New("InvalidParameterValue", "At most %d resources can be given", maxTagged)
	}
	return nil
}

// CreateTags adds or overwrites tags.
func (s *Service) CreateTags(ctx context.Context, in *shape.CreateTagsRequest) (*shape.CreateTagsResult, error) {
	info, err := s.begin(ctx, in)
	if err != nil {
		return nil, err
	}
	if err := checkResources(in.Resources); err != nil {
		return nil, err
	}
	if len(in.Tags) == 0 {
		return nil, errMissing("Tag")
	}
	add, err := checkTags(in.Tags)
	if err != nil {
		return nil, err
	}
	err = s.update(ctx, in.DryRun, func(tx *store.Tx) error {
		return s.retag(tx, info, in.Resources, func(old resource.Tags) (resource.Tags, error) {
			tags := maps.Clone(old)
			if tags == nil {
				tags = resource.Tags{}
			}
			maps.Copy(tags, add)
			if len(tags) > maxTags {
				return nil, errTagLimit()
			}
			return tags, nil
		})
	})
	if err != nil {
		return nil, err
	}
	return &shape.CreateTagsResult{}, nil
}

// DeleteTags removes tags: all if none are named; one with a value only if it has that value. A Tag that came
// without a value cannot be told from one with an empty value here, and removes whatever its value is.
func (s *Service) DeleteTags(ctx context.Context, in *shape.DeleteTagsRequest) (*shape.DeleteTagsResult, error) {
	info, err := s.begin(ctx, in)
	if err != nil {
		return nil, err
	}
	if err := checkResources(in.Resources); err != nil {
		return nil, err
	}
	for _, t := range in.Tags {
		if t.Key == "" {
			return nil, errMissing("Tag.Key")
		}
		if reserved(t.Key) {
			return nil, awserr.New("InvalidParameterValue", "Tag keys starting with 'aws:' are reserved for internal use")
		}
	}
	err = s.update(ctx, in.DryRun, func(tx *store.Tx) error {
		return s.retag(tx, info, in.Resources, func(old resource.Tags) (resource.Tags, error) {
			tags := resource.Tags{}
			if len(in.Tags) > 0 {
				maps.Copy(tags, old)
			}
			for _, t := range in.Tags {
				if v, ok := tags[t.Key]; ok && (t.Value == "" || t.Value == v) {
					delete(tags, t.Key)
				}
			}
			return tags, nil
		})
	})
	if err != nil {
		return nil, err
	}
	return &shape.DeleteTagsResult{}, nil
}

var tagFilters = &filter.Set[*shape.TagDescription]{
	Fields: map[string]func(*shape.TagDescription) []string{
		"key":           func(t *shape.TagDescription) []string { return []string{t.Key} },
		"resource-id":   func(t *shape.TagDescription) []string { return []string{t.ResourceId} },
		"resource-type": func(t *shape.TagDescription) []string { return []string{t.ResourceType} },
		"value":         func(t *shape.TagDescription) []string { return []string{t.Value} },
	},
	Tags: func(t *shape.TagDescription) map[string]string { return map[string]string{t.Key: t.Value} },
}

// DescribeTags lists the tags of all the caller's resources.
func (s *Service) DescribeTags(ctx context.Context, in *shape.DescribeTagsRequest) (*shape.DescribeTagsResult, error) {
	info, r, err := s.read(ctx, in, in.DryRun)
	if err != nil {
		return nil, err
	}
	match, err := compile(tagFilters, in.Filters)
	if err != nil {
		return nil, err
	}
	limit, start, err := s.page(info, "DescribeTags", in.MaxResults, in.NextToken, 0)
	if err != nil {
		return nil, err
	}
	key := func(t shape.TagDescription) string { return t.ResourceId + "\x00" + t.Key }
	out := []shape.TagDescription{}
	kinds := taggables()
	slices.SortFunc(kinds, func(a, b tagged) int { return strings.Compare(a.prefix, b.prefix) })
	for _, k := range kinds {
		if start != "" && !strings.HasPrefix(start, k.prefix) && k.prefix < start {
			continue // on earlier pages
		}
		k.each(r, info, func(id string, tags resource.Tags) bool {
			for _, t := range shapeTags(tags) {
				d := shape.TagDescription{Key: t.Key, Value: t.Value, ResourceId: id, ResourceType: k.name}
				if key(d) >= start && (match == nil || match(&d)) {
					out = append(out, d)
				}
			}
			return len(out) <= limit
		})
		if len(out) > limit {
			break
		}
	}
	list, next, err := cut(s, info, "DescribeTags", out, limit, key)
	return &shape.DescribeTagsResult{Tags: list, NextToken: next}, err
}
