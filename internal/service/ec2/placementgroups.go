package ec2

import (
	"context"
	"slices"
	"strconv"

	"karri.dev/internal/aws/awserr"
	"karri.dev/internal/aws/call"
	shape "karri.dev/internal/aws/shape/ec2"
	"karri.dev/internal/filter"
	"karri.dev/internal/resource"
	"karri.dev/internal/store"
)

// Limits of AWS on placement groups.
const (
	maxPlacementGroups = 500
	maxPartitions      = 7
)

func shapePlacementGroup(_ store.Reader, g *resource.PlacementGroup) shape.PlacementGroup {
	out := shape.PlacementGroup{
		GroupName: g.Name, State: "available", Strategy: g.Strategy, PartitionCount: g.Partitions, GroupId: g.ID, Tags: shapeTags(g.Tags),
		GroupArn: "arn:aws:ec2:" + g.Region + ":" + g.AccountID + ":placement-group/" + g.Name,
	}
	if g.Strategy == "spread" {
		out.SpreadLevel = "rack"
	}
	return out
}

// CreatePlacementGroup makes a placement group.
func (s *Service) CreatePlacementGroup(ctx context.Context, in *shape.CreatePlacementGroupRequest) (*shape.CreatePlacementGroupResult, error) {
	info, err := s.begin(ctx, in)
	if err != nil {
		return nil, err
	}
	strategy := in.Strategy
	if strategy == "" {
		strategy = "cluster"
	}
	switch {
	case in.GroupName == "":
		return nil, errMissing("groupName")
	case len(in.GroupName) > 255:
		return nil, errValue(in.GroupName, "groupName")
	}
	if err := oneOf("strategy", strategy, "cluster", "spread", "partition"); err != nil {
		return nil, err
	}
	if err := oneOf("spreadLevel", in.SpreadLevel, "rack", "host"); err != nil {
		return nil, err
	}
	partitions := 0
	switch {
	case in.SpreadLevel != "" && strategy != "spread":
		return nil, errCombination("The parameter spreadLevel can only be used with the strategy spread.")
	case in.SpreadLevel == "host":
		return nil, errUnsupported("The spread level host is for Outposts only.")
	case in.PartitionCount != nil && strategy != "partition":
		return nil, errCombination("The parameter partitionCount can only be used with the strategy partition.")
	case in.PartitionCount != nil && (*in.PartitionCount < 1 || *in.PartitionCount > maxPartitions):
		return nil, errValue(strconv.Itoa(*in.PartitionCount), "partitionCount")
	case in.PartitionCount != nil:
		partitions = *in.PartitionCount
	case strategy == "partition":
		partitions = 2
	}
	tags, err := tagsOnCreate(in.TagSpecifications, "placement-group")
	if err != nil {
		return nil, err
	}
	made := &resource.PlacementGroup{
		Owned: s.owned(info, tags["placement-group"]), ID: s.IDs.Resource("pg-"), Name: in.GroupName, Strategy: strategy, Partitions: partitions,
	}
	err = s.update(ctx, in.DryRun, func(tx *store.Tx) error {
		if store.PlacementGroupsByName.One(tx, ownerKey(info)+"/"+in.GroupName) != nil {
			return awserr.New("InvalidPlacementGroup.Duplicate", "The placement group '%s' already exists.", in.GroupName)
		}
		count := 0
		for range store.PlacementGroupsByOwner.By(tx, ownerKey(info)) {
			count++
		}
		if count >= maxPlacementGroups {
			return awserr.New("PlacementGroupLimitExceeded", "At most %d placement groups can be made.", maxPlacementGroups)
		}
		return store.PlacementGroups.Put(tx, made)
	})
	if err != nil {
		return nil, err
	}
	out := shapePlacementGroup(nil, made)
	return &shape.CreatePlacementGroupResult{PlacementGroup: &out}, nil
}

func errNoPlacementGroup(name string) error {
	return awserr.New("InvalidPlacementGroup.Unknown", "The Placement Group '%s' is unknown.", name)
}

// DeletePlacementGroup deletes a group that has no instances.
func (s *Service) DeletePlacementGroup(ctx context.Context, in *shape.DeletePlacementGroupRequest) (*shape.DeletePlacementGroupResult, error) {
	info, err := s.begin(ctx, in)
	if err != nil {
		return nil, err
	}
	if in.GroupName == "" {
		return nil, errMissing("groupName")
	}
	err = s.update(ctx, in.DryRun, func(tx *store.Tx) error {
		g := store.PlacementGroupsByName.One(tx, ownerKey(info)+"/"+in.GroupName)
		if g == nil {
			return errNoPlacementGroup(in.GroupName)
		}
		if store.InstancesByPlacement.One(tx, g.ID) != nil {
			return awserr.New("InvalidPlacementGroup.InUse", "The placement group '%s' is in use and may not be deleted.", g.Name)
		}
		store.PlacementGroups.Delete(tx, g.ID)
		return nil
	})
	if err != nil {
		return nil, err
	}
	return &shape.DeletePlacementGroupResult{}, nil
}

var placementFilters = &filter.Set[*resource.PlacementGroup]{
	Fields: map[string]func(*resource.PlacementGroup) []string{
		"group-name": func(g *resource.PlacementGroup) []string { return one(g.Name) },
		"group-arn":  func(g *resource.PlacementGroup) []string { return one(shapePlacementGroup(nil, g).GroupArn) },
		"spread-level": func(g *resource.PlacementGroup) []string {
			return one(shapePlacementGroup(nil, g).SpreadLevel)
		},
		"state":    constant[*resource.PlacementGroup]("available"),
		"strategy": func(g *resource.PlacementGroup) []string { return one(g.Strategy) },
	},
	Tags: func(g *resource.PlacementGroup) map[string]string { return g.Tags },
}

// DescribePlacementGroups lists placement groups.
func (s *Service) DescribePlacementGroups(ctx context.Context, in *shape.DescribePlacementGroupsRequest) (*shape.DescribePlacementGroupsResult, error) {
	info, r, err := s.read(ctx, in, in.DryRun)
	if err != nil {
		return nil, err
	}
	match, err := compile(placementFilters, in.Filters)
	if err != nil {
		return nil, err
	}
	ids := slices.Clone(in.GroupIds)
	for _, name := range in.GroupNames {
		g := store.PlacementGroupsByName.One(r, ownerKey(info)+"/"+name)
		if g == nil {
			return nil, errNoPlacementGroup(name)
		}
		ids = append(ids, g.ID)
	}
	list, _, err := list(s, r, info, placementGroups, selection[resource.PlacementGroup]{op: "DescribePlacementGroups", ids: ids, match: match})
	if err != nil {
		return nil, err
	}
	return &shape.DescribePlacementGroupsResult{PlacementGroups: showAll(r, list, shapePlacementGroup)}, nil
}

// findPlacement gives the plan its placement group.
func (p *plan) findPlacement(r store.Reader, info *call.Info) error {
	ask := p.in.Placement
	if ask == nil {
		return nil
	}
	switch {
	case ask.GroupName != "" && ask.GroupId != "":
		return errCombination("The parameters placement.groupName and placement.groupId cannot be used together.")
	case ask.GroupName != "":
		if p.placement = store.PlacementGroupsByName.One(r, ownerKey(info)+"/"+ask.GroupName); p.placement == nil {
			return errNoPlacementGroup(ask.GroupName)
		}
	case ask.GroupId != "":
		g, err := placementGroups.find(r, info, ask.GroupId)
		if err != nil {
			return err
		}
		p.placement = g
	}
	if n := ask.PartitionNumber; n != nil {
		switch {
		case p.placement == nil || p.placement.Strategy != "partition":
			return errCombination("A partition number can only be used with a placement group of the strategy partition.")
		case *n < 1 || *n > p.placement.Partitions:
			return errValue(strconv.Itoa(*n), "partitionNumber")
		}
	}
	if p.placement == nil || p.placement.Strategy != "cluster" {
		return nil
	}
	for inst := range store.InstancesByPlacement.By(r, p.placement.ID) {
		if inst.Zone != p.subnet.Zone {
			return awserr.New("InvalidParameterCombination", "The placement group '%s' is in the availability zone %s: a cluster does not span zones.", p.placement.Name, inst.Zone)
		}
	}
	return nil
}

// join makes an instance a member of the plan's placement group: of the partition asked for, else of the one in
// its zone with fewest instances.
func (p *plan) join(r store.Reader, inst *resource.Instance) {
	if p.placement == nil {
		return
	}
	inst.PlacementGroup = p.placement.ID
	if p.placement.Strategy != "partition" {
		return
	}
	if n := p.in.Placement.PartitionNumber; n != nil {
		inst.Partition = *n
		return
	}
	count := make([]int, p.placement.Partitions+1)
	for other := range store.InstancesByPlacement.By(r, p.placement.ID) {
		if other.Zone == inst.Zone && other.Partition < len(count) {
			count[other.Partition]++
		}
	}
	inst.Partition = 1
	for i := 2; i < len(count); i++ {
		if count[i] < count[inst.Partition] {
			inst.Partition = i
		}
	}
}
