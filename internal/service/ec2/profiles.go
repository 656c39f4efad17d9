package ec2

import (
	"context"
	"strings"

	"karri.dev/internal/authz"
	"karri.dev/internal/aws/awserr"
	"karri.dev/internal/aws/call"
	shape "karri.dev/internal/aws/shape/ec2"
	"karri.dev/internal/filter"
	"karri.dev/internal/policy"
	"karri.dev/internal/resource"
	"karri.dev/internal/store"
)

// Instance profiles on instances. The cloud makes the credentials (internal/instancerole); here it is only said
// which instance has which profile.

// findProfile gives the caller's instance profile that a request names, nil where it names none.
func findProfile(r store.Reader, info *call.Info, in *shape.IamInstanceProfileSpecification) (*resource.InstanceProfile, error) {
	if in == nil || in.Arn == "" && in.Name == "" {
		return nil, nil
	}
	if in.Arn != "" && in.Name != "" {
		return nil, errCombination("The parameter 'iamInstanceProfile.name' may not be used in combination with 'iamInstanceProfile.arn'")
	}
	member, value, name := "iamInstanceProfile.name", in.Name, in.Name
	if in.Arn != "" {
		member, value = "iamInstanceProfile.arn", in.Arn
		_, name = authz.SplitARN(in.Arn)
	}
	p := store.InstanceProfiles.Get(r, store.UserKey(info.AccountID, name))
	if name == "" || p == nil || in.Arn != "" && p.ARN() != in.Arn || in.Name != "" && !strings.EqualFold(p.Name, in.Name) {
		return nil, awserr.New("InvalidParameterValue", "Value (%.200s) for parameter %s is invalid. Invalid IAM Instance Profile %s", value, member, member[strings.IndexByte(member, '.')+1:])
	}
	return p, nil
}

// shapeProfile shows an instance's profile.
func shapeProfile(r store.Reader, inst *resource.Instance) *shape.IamInstanceProfile {
	if inst.ProfileID == "" {
		return nil
	}
	out := &shape.IamInstanceProfile{Id: inst.ProfileID}
	if p := store.InstanceProfilesByID.One(r, inst.ProfileID); p != nil {
		out.Arn = p.ARN()
	}
	return out
}

func profileAssociation(r store.Reader, inst *resource.Instance, state string) *shape.IamInstanceProfileAssociation {
	return &shape.IamInstanceProfileAssociation{
		AssociationId: inst.ProfileAssociation, InstanceId: inst.ID, IamInstanceProfile: shapeProfile(r, inst), State: state, Timestamp: inst.ProfileSince,
	}
}

// associated finds the caller's instance by its association.
func associated(r store.Reader, info *call.Info, id string) *resource.Instance {
	for inst := range store.InstancesByOwner.By(r, ownerKey(info)) {
		if id != "" && inst.ProfileAssociation == id && inst.State.Alive() {
			return inst
		}
	}
	return nil
}

func noAssociation(id string) error {
	return awserr.New("NoSuchAssociation", "An invalid association-id of '%.64s' was given", id)
}

// mayHaveProfile refuses instances that are ending.
func mayHaveProfile(inst *resource.Instance) error {
	switch inst.State {
	case resource.ShuttingDown, resource.Terminated:
		return errInstanceState(inst.ID, string(inst.State))
	}
	return nil
}

func passAssociated(a *authz.Asking) {
	if p := a.Input.(*shape.AssociateIamInstanceProfileRequest).IamInstanceProfile; p != nil {
		passProfile(a, p.Arn, p.Name)
	}
}

// onAssociated asks for leave on the instance of an association, and for the passing on of the role that it gets.
func onAssociated(a *authz.Asking) {
	id, action := "", "ec2:DisassociateIamInstanceProfile"
	var p *shape.IamInstanceProfileSpecification
	switch in := a.Input.(type) {
	case *shape.DisassociateIamInstanceProfileRequest:
		id = in.AssociationId
	case *shape.ReplaceIamInstanceProfileAssociationRequest:
		id, p, action = in.AssociationId, in.IamInstanceProfile, "ec2:ReplaceIamInstanceProfileAssociation"
	}
	name := ""
	if inst := associated(a.Reader, a.Info, id); inst != nil {
		name = inst.ID
	}
	a.On(policy.MakeAction(action), "instance", name, nil)
	if p != nil {
		passProfile(a, p.Arn, p.Name)
	}
}

// AssociateIamInstanceProfile gives an instance a profile.
func (s *Service) AssociateIamInstanceProfile(ctx context.Context, in *shape.AssociateIamInstanceProfileRequest) (*shape.AssociateIamInstanceProfileResult, error) {
	info, err := s.begin(ctx, in)
	if err != nil {
		return nil, err
	}
	id, now := s.IDs.Resource("iip-assoc-"), s.now()
	var out *shape.IamInstanceProfileAssociation
	err = s.update(ctx, nil, func(tx *store.Tx) error {
		inst, err := instances.find(tx, info, in.InstanceId)
		if err != nil {
			return err
		}
		p, err := findProfile(tx, info, in.IamInstanceProfile)
		if err != nil {
			return err
		}
		if p == nil {
			return errMissing("iamInstanceProfile")
		}
		if err := mayHaveProfile(inst); err != nil {
			return err
		}
		if inst.ProfileID != "" {
			return awserr.New("IncorrectState", "There is an existing association for instance %s", inst.ID)
		}
		next := *inst
		next.ProfileID, next.ProfileAssociation, next.ProfileSince = p.ID, id, now
		out = profileAssociation(tx, &next, "associating")
		return store.Instances.Put(tx, &next)
	})
	if err != nil {
		return nil, err
	}
	return &shape.AssociateIamInstanceProfileResult{IamInstanceProfileAssociation: out}, nil
}

// DisassociateIamInstanceProfile takes an instance's profile away. Credentials that the guest has already stay good
// until they end, as in AWS.
func (s *Service) DisassociateIamInstanceProfile(ctx context.Context, in *shape.DisassociateIamInstanceProfileRequest) (*shape.DisassociateIamInstanceProfileResult, error) {
	info, err := s.begin(ctx, in)
	if err != nil {
		return nil, err
	}
	var out *shape.IamInstanceProfileAssociation
	err = s.update(ctx, nil, func(tx *store.Tx) error {
		inst := associated(tx, info, in.AssociationId)
		if inst == nil {
			return noAssociation(in.AssociationId)
		}
		out = profileAssociation(tx, inst, "disassociating")
		next := *inst
		next.ProfileID, next.ProfileAssociation = "", ""
		next.ProfileSince = resource.Instance{}.ProfileSince
		return store.Instances.Put(tx, &next)
	})
	if err != nil {
		return nil, err
	}
	return &shape.DisassociateIamInstanceProfileResult{IamInstanceProfileAssociation: out}, nil
}

// ReplaceIamInstanceProfileAssociation gives an instance another profile at once.
func (s *Service) ReplaceIamInstanceProfileAssociation(ctx context.Context, in *shape.ReplaceIamInstanceProfileAssociationRequest) (*shape.ReplaceIamInstanceProfileAssociationResult, error) {
	info, err := s.begin(ctx, in)
	if err != nil {
		return nil, err
	}
	id, now := s.IDs.Resource("iip-assoc-"), s.now()
	var out *shape.IamInstanceProfileAssociation
	err = s.update(ctx, nil, func(tx *store.Tx) error {
		inst := associated(tx, info, in.AssociationId)
		if inst == nil {
			return noAssociation(in.AssociationId)
		}
		p, err := findProfile(tx, info, in.IamInstanceProfile)
		if err != nil {
			return err
		}
		if p == nil {
			return errMissing("iamInstanceProfile")
		}
		if err := mayHaveProfile(inst); err != nil {
			return err
		}
		next := *inst
		next.ProfileID, next.ProfileAssociation, next.ProfileSince = p.ID, id, now
		out = profileAssociation(tx, &next, "associating")
		return store.Instances.Put(tx, &next)
	})
	if err != nil {
		return nil, err
	}
	return &shape.ReplaceIamInstanceProfileAssociationResult{IamInstanceProfileAssociation: out}, nil
}

var associationFilters = &filter.Set[*resource.Instance]{
	Fields: map[string]func(*resource.Instance) []string{
		"instance-id": func(i *resource.Instance) []string { return one(i.ID) },
		"state":       func(*resource.Instance) []string { return []string{"associated"} },
	},
}

// DescribeIamInstanceProfileAssociations lists which instances have which profile.
func (s *Service) DescribeIamInstanceProfileAssociations(ctx context.Context, in *shape.DescribeIamInstanceProfileAssociationsRequest) (*shape.DescribeIamInstanceProfileAssociationsResult, error) {
	info, r, err := s.read(ctx, in, nil)
	if err != nil {
		return nil, err
	}
	match, err := compile(associationFilters, in.Filters)
	if err != nil {
		return nil, err
	}
	wanted := map[string]bool{}
	for _, id := range in.AssociationIds {
		if associated(r, info, id) == nil {
			return nil, noAssociation(id)
		}
		wanted[id] = true
	}
	list, next, err := list(s, r, info, instances, selection[resource.Instance]{
		op: "DescribeIamInstanceProfileAssociations", max: in.MaxResults, token: in.NextToken, match: func(i *resource.Instance) bool {
			return i.ProfileID != "" && i.State.Alive() && (len(wanted) == 0 || wanted[i.ProfileAssociation]) && (match == nil || match(i))
		},
	})
	if err != nil {
		return nil, err
	}
	out := &shape.DescribeIamInstanceProfileAssociationsResult{NextToken: next, IamInstanceProfileAssociations: []shape.IamInstanceProfileAssociation{}}
	for _, inst := range list {
		out.IamInstanceProfileAssociations = append(out.IamInstanceProfileAssociations, *profileAssociation(r, inst, "associated"))
	}
	return out, nil
}
