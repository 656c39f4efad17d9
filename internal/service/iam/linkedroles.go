package iam

import (
	"context"
	"strings"
	"time"

	"karri.dev/internal/aws/awserr"
	"karri.dev/internal/aws/call"
	shape "karri.dev/internal/aws/shape/iam"
	"karri.dev/internal/policy"
	"karri.dev/internal/resource"
	"karri.dev/internal/store"
)

// linkedService is a service of the cloud, or one that it is to have, that acts with a role of the account's.
type linkedService struct {
	role, policy, description string
	suffix                    bool // may have several
}

var linkedServices = map[string]linkedService{
	"autoscaling.amazonaws.com": {
		"AWSServiceRoleForAutoScaling", "AutoScalingServiceRolePolicy",
		"Default Service-Linked Role enables access to AWS Services and Resources used or managed by Auto Scaling", true,
	},
	"elasticloadbalancing.amazonaws.com": {
		"AWSServiceRoleForElasticLoadBalancing", "AWSElasticLoadBalancingServiceRolePolicy",
		"Allows ELB to call AWS services on your behalf.", false,
	},
}

// CreateServiceLinkedRole makes the role with which a service acts for the account.
func (s *Service) CreateServiceLinkedRole(ctx context.Context, in *shape.CreateServiceLinkedRoleRequest) (*shape.CreateServiceLinkedRoleResult, error) {
	if err := checkDescription(in.Description); err != nil {
		return nil, err
	}
	l, ok := linkedServices[in.AWSServiceName]
	if !ok {
		return nil, noEntity("Cannot find Service Linked Role template for %.128s", in.AWSServiceName)
	}
	name, description := l.role, in.Description
	if in.CustomSuffix != "" {
		if !l.suffix {
			return nil, awserr.New("InvalidInput", "Custom suffix is not allowed for %s", in.AWSServiceName)
		}
		name += "_" + in.CustomSuffix
	}
	if description == "" {
		description = l.description
	}
	r := &resource.IAMRole{
		AccountID: call.From(ctx).AccountID, Name: name, ID: s.identity.NewID("AROA"), Description: description, MaxSession: leastSession, CreatedAt: s.identity.Now(),
		Linked: in.AWSServiceName, Permissions: resource.Permissions{Attached: []string{policy.ManagedPrefix + policy.ServiceRolePath[1:] + l.policy}},
	}
	text := `{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Principal":{"Service":"` + in.AWSServiceName + `"},"Action":"sts:AssumeRole"}]}`
	err := s.update(ctx, func(tx *store.Tx) (err error) {
		if store.Roles.Get(tx, store.UserKey(r.AccountID, name)) != nil {
			return awserr.New("InvalidInput", "Service role name %s has been taken in this account, please try a different suffix.", name)
		}
		if r.Path, err = roleKind.admit(tx, r.AccountID, name, policy.ServiceRolePath+in.AWSServiceName+"/"); err != nil {
			return err
		}
		if r.Trust, err = trust(tx, text); err != nil {
			return err
		}
		return store.Roles.Put(tx, r)
	})
	if err != nil {
		return nil, err
	}
	return &shape.CreateServiceLinkedRoleResult{Role: roleOut(r, true)}, nil
}

// DeleteServiceLinkedRole deletes a service's role. Nothing of the cloud uses one yet, so that it is done at once.
func (s *Service) DeleteServiceLinkedRole(ctx context.Context, in *shape.DeleteServiceLinkedRoleRequest) (*shape.DeleteServiceLinkedRoleResult, error) {
	d := &resource.RoleDeletion{AccountID: call.From(ctx).AccountID, At: s.identity.Now()}
	id := s.identity.NewUUID()
	err := s.update(ctx, func(tx *store.Tx) error {
		r, err := roleKind.find(tx, d.AccountID, in.RoleName)
		if err != nil {
			return err
		}
		if r.Linked == "" {
			return noEntity("The service-linked role with name %s cannot be found.", in.RoleName)
		}
		d.ID = "task" + policy.ServiceRolePath + r.Linked + "/" + r.Name + "/" + id
		lapsed(tx, store.RoleDeletions, d.AccountID, func(d *resource.RoleDeletion) (string, time.Time) { return d.ID, d.At }, d.At)
		store.Roles.Delete(tx, store.UserKey(d.AccountID, r.Name))
		return store.RoleDeletions.Put(tx, d)
	})
	if err != nil {
		return nil, err
	}
	return &shape.DeleteServiceLinkedRoleResult{DeletionTaskId: d.ID}, nil
}

// GetServiceLinkedRoleDeletionStatus says what became of a deletion.
func (s *Service) GetServiceLinkedRoleDeletionStatus(ctx context.Context, in *shape.GetServiceLinkedRoleDeletionStatusRequest) (*shape.GetServiceLinkedRoleDeletionStatusResult, error) {
	if !strings.HasPrefix(in.DeletionTaskId, "task/") || len(in.DeletionTaskId) > 1000 {
		return nil, awserr.New("InvalidInput", "Invalid DeletionTaskId.")
	}
	d := store.RoleDeletions.Get(s.store.Snapshot(), store.UserKey(call.From(ctx).AccountID, in.DeletionTaskId))
	if d == nil {
		return nil, noEntity("The deletion task %.256s cannot be found.", in.DeletionTaskId)
	}
	return &shape.GetServiceLinkedRoleDeletionStatusResult{Status: shape.DeletionTaskStatusTypeSucceeded}, nil
}

// changeable says UnmodifiableEntity for a role that belongs to a service.
func changeable(r *resource.IAMRole) error {
	if r.Linked == "" {
		return nil
	}
	return awserr.New("UnmodifiableEntity", "Cannot perform the operation on the protected role '%s' - this role is only modifiable by AWS", r.Name)
}

// newServiceRole names the role that is to be made: the members are the service and the suffix.
func newServiceRole(_ *call.Info, members []string) string {
	service, suffix := members[0], members[1]
	l, ok := linkedServices[service]
	if !ok {
		return policy.ServiceRolePath[1:] + service + "/*"
	}
	if suffix != "" {
		suffix = "_" + suffix
	}
	return policy.ServiceRolePath[1:] + service + "/" + l.role + suffix
}
