package ec2

import (
	"context"

	"karri.dev/internal/aws/awserr"
	shape "karri.dev/internal/aws/shape/ec2"
	"karri.dev/internal/filter"
	"karri.dev/internal/resource"
)

// What there is none of yet, or no choice in. Clients that manage instances and addresses ask for it.

var creditFilters = &filter.Set[*resource.Instance]{
	Fields: map[string]func(*resource.Instance) []string{"instance-id": func(i *resource.Instance) []string { return one(i.ID) }},
}

// DescribeInstanceCreditSpecifications says of burstable instances that they are unlimited: nobody counts
// CPU credits here. Without ids AWS lists just those.
func (s *Service) DescribeInstanceCreditSpecifications(ctx context.Context, in *shape.DescribeInstanceCreditSpecificationsRequest) (*shape.DescribeInstanceCreditSpecificationsResult, error) {
	info, r, err := s.read(ctx, in, in.DryRun)
	if err != nil {
		return nil, err
	}
	match, err := compile(creditFilters, in.Filters)
	if err != nil {
		return nil, err
	}
	types, err := s.Types.At(r)
	if err != nil {
		return nil, err
	}
	burstable := func(name string) bool {
		t := types.Get(name)
		return t != nil && t.Burstable
	}
	list, next, err := s.selectInstances(r, info, selection[resource.Instance]{
		op: "DescribeInstanceCreditSpecifications", ids: in.InstanceIds, max: in.MaxResults, token: in.NextToken,
		match: func(i *resource.Instance) bool {
			return i.State.Alive() && (len(in.InstanceIds) > 0 || burstable(i.Type)) && (match == nil || match(i))
		},
	})
	if err != nil {
		return nil, err
	}
	out := make([]shape.InstanceCreditSpecification, 0, len(list))
	for _, i := range list {
		if !burstable(i.Type) {
			return nil, awserr.New("InvalidInstanceID.NotBurstable", "The instance '%s' is not a burstable performance instance", i.ID)
		}
		out = append(out, shape.InstanceCreditSpecification{InstanceId: i.ID, CpuCredits: "unlimited"})
	}
	return &shape.DescribeInstanceCreditSpecificationsResult{InstanceCreditSpecifications: out, NextToken: next}, nil
}
