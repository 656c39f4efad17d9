package ec2

import (
	"context"
	"slices"

	"karri.dev/internal/aws/awserr"
	"karri.dev/internal/aws/call"
	shape "karri.dev/internal/aws/shape/ec2"
	"karri.dev/internal/resource"
	"karri.dev/internal/store"
)

const maxTables = 200 // route tables of a VPC

// tableOf gives the route table that a subnet is associated with, and where in its associations; nil if it
// is the main one's by default.
func tableOf(r store.Reader, sub *resource.Subnet) (*resource.RouteTable, int) {
	for t := range store.RouteTablesByVPC.By(r, sub.VPCID) {
		if i := slices.IndexFunc(t.Associations, func(a resource.RouteAssociation) bool { return a.SubnetID == sub.ID }); i >= 0 {
			return t, i
		}
	}
	return nil, 0
}

// CreateRouteTable makes a route table with nothing but local routes.
func (s *Service) CreateRouteTable(ctx context.Context, in *shape.CreateRouteTableRequest) (*shape.CreateRouteTableResult, error) {
	info, err := s.begin(ctx, in)
	if err != nil {
		return nil, err
	}
	if in.VpcId == "" {
		return nil, errMissing("vpcId")
	}
	tags, err := tagsOnCreate(in.TagSpecifications, "route-table")
	if err != nil {
		return nil, err
	}
	token, err := tokenOf(in.ClientToken, in.VpcId, in.TagSpecifications)
	if err != nil {
		return nil, err
	}
	id := s.IDs.Resource("rtb-")
	var made *resource.RouteTable
	err = s.update(ctx, in.DryRun, func(tx *store.Tx) error {
		v, err := vpcs.find(tx, info, in.VpcId)
		if err != nil {
			return err
		}
		count, index := 0, uint32(0)
		for t := range store.RouteTablesByVPC.By(tx, v.ID) {
			if token.same(t.Token) {
				made = t
				return token.check(t.Token)
			}
			count, index = count+1, max(index, t.Index)
		}
		if count >= maxTables {
			return awserr.New("RouteTableLimitExceeded", "The maximum number of route tables has been reached.")
		}
		made = &resource.RouteTable{Owned: s.owned(info, tags["route-table"]), ID: id, VPCID: v.ID, Index: index + 1, Token: token.token}
		return store.RouteTables.Put(tx, made)
	})
	if err != nil {
		return nil, err
	}
	out := shapeTable(s.Store.Snapshot(), made)
	return &shape.CreateRouteTableResult{RouteTable: &out, ClientToken: in.ClientToken}, nil
}

// DeleteRouteTable deletes a route table that no subnet uses.
func (s *Service) DeleteRouteTable(ctx context.Context, in *shape.DeleteRouteTableRequest) (*shape.DeleteRouteTableResult, error) {
	info, err := s.begin(ctx, in)
	if err != nil {
		return nil, err
	}
	if in.RouteTableId == "" {
		return nil, errMissing("routeTableId")
	}
	err = s.update(ctx, in.DryRun, func(tx *store.Tx) error {
		t, err := routeTables.find(tx, info, in.RouteTableId)
		if err != nil {
			return err
		}
		if t.Main || len(t.Associations) > 0 {
			return errDependent("routeTable", t.ID)
		}
		store.RouteTables.Delete(tx, t.ID)
		return nil
	})
	if err != nil {
		return nil, err
	}
	return &shape.DeleteRouteTableResult{}, nil
}

// AssociateRouteTable makes a subnet use a route table.
func (s *Service) AssociateRouteTable(ctx context.Context, in *shape.AssociateRouteTableRequest) (*shape.AssociateRouteTableResult, error) {
	info, err := s.begin(ctx, in)
	if err != nil {
		return nil, err
	}
	switch {
	case in.RouteTableId == "":
		return nil, errMissing("routeTableId")
	case in.SubnetId == "":
		return nil, errMissing("subnetId")
	}
	var id string
	err = s.update(ctx, in.DryRun, func(tx *store.Tx) error {
		t, err := routeTables.find(tx, info, in.RouteTableId)
		if err != nil {
			return err
		}
		sub, err := subnets.find(tx, info, in.SubnetId)
		if err != nil {
			return err
		}
		if sub.VPCID != t.VPCID {
			return awserr.New("InvalidParameterValue", "Route table %s and subnet %s belong to different networks", t.ID, sub.ID)
		}
		if old, i := tableOf(tx, sub); old != nil {
			if old.ID != t.ID {
				return awserr.New("Resource.AlreadyAssociated", "the specified association for route table %s conflicts with an existing association", t.ID)
			}
			id = old.Associations[i].ID
			return nil
		}
		id = s.IDs.Resource("rtbassoc-")
		return associate(tx, t, resource.RouteAssociation{ID: id, SubnetID: sub.ID})
	})
	if err != nil {
		return nil, err
	}
	return &shape.AssociateRouteTableResult{AssociationId: id, AssociationState: &shape.RouteTableAssociationState{State: "associated"}}, nil
}

func associate(tx *store.Tx, t *resource.RouteTable, a resource.RouteAssociation) error {
	next := *t
	next.Associations = append(slices.Clone(t.Associations), a)
	return store.RouteTables.Put(tx, &next)
}

// associationOf finds one of the caller's route table associations. at is -1 for that of a main table.
func associationOf(r store.Reader, info *call.Info, id string) (t *resource.RouteTable, at int, err error) {
	for t := range store.RouteTablesByOwner.By(r, ownerKey(info)) {
		if t.Main && t.MainAssoc == id {
			return t, -1, nil
		}
		if i := slices.IndexFunc(t.Associations, func(a resource.RouteAssociation) bool { return a.ID == id }); i >= 0 {
			return t, i, nil
		}
	}
	return nil, 0, awserr.New("InvalidAssociationID.NotFound", "The association ID '%s' does not exist", id)
}

// DisassociateRouteTable makes a subnet use the main route table again.
func (s *Service) DisassociateRouteTable(ctx context.Context, in *shape.DisassociateRouteTableRequest) (*shape.DisassociateRouteTableResult, error) {
	info, err := s.begin(ctx, in)
	if err != nil {
		return nil, err
	}
	if in.AssociationId == "" {
		return nil, errMissing("associationId")
	}
	err = s.update(ctx, in.DryRun, func(tx *store.Tx) error {
		t, i, err := associationOf(tx, info, in.AssociationId)
		if err != nil {
			return err
		}
		if i < 0 {
			return awserr.New("InvalidParameterValue", "cannot disassociate the main route table association %s", in.AssociationId)
		}
		next := *t
		next.Associations = slices.Delete(slices.Clone(t.Associations), i, i+1)
		return store.RouteTables.Put(tx, &next)
	})
	if err != nil {
		return nil, err
	}
	return &shape.DisassociateRouteTableResult{}, nil
}

// ReplaceRouteTableAssociation makes a subnet use another route table, or makes another one the VPC's main one.
func (s *Service) ReplaceRouteTableAssociation(ctx context.Context, in *shape.ReplaceRouteTableAssociationRequest) (*shape.ReplaceRouteTableAssociationResult, error) {
	info, err := s.begin(ctx, in)
	if err != nil {
		return nil, err
	}
	switch {
	case in.AssociationId == "":
		return nil, errMissing("associationId")
	case in.RouteTableId == "":
		return nil, errMissing("routeTableId")
	}
	id := s.IDs.Resource("rtbassoc-")
	err = s.update(ctx, in.DryRun, func(tx *store.Tx) error {
		old, i, err := associationOf(tx, info, in.AssociationId)
		if err != nil {
			return err
		}
		t, err := routeTables.find(tx, info, in.RouteTableId)
		if err != nil {
			return err
		}
		if t.VPCID != old.VPCID {
			return awserr.New("InvalidParameterValue", "Route table %s and the association %s belong to different networks", t.ID, in.AssociationId)
		}
		if i < 0 {
			return s.replaceMain(tx, old, t, id)
		}
		without := *old
		without.Associations = slices.Delete(slices.Clone(old.Associations), i, i+1)
		if err := store.RouteTables.Put(tx, &without); err != nil {
			return err
		}
		return associate(tx, store.RouteTables.Get(tx, t.ID), resource.RouteAssociation{ID: id, SubnetID: old.Associations[i].SubnetID})
	})
	if err != nil {
		return nil, err
	}
	return &shape.ReplaceRouteTableAssociationResult{NewAssociationId: id, AssociationState: &shape.RouteTableAssociationState{State: "associated"}}, nil
}

// replaceMain makes t the main table in old's place.
func (s *Service) replaceMain(tx *store.Tx, old, t *resource.RouteTable, id string) error {
	was := *old
	was.Main, was.MainAssoc = false, ""
	if err := store.RouteTables.Put(tx, &was); err != nil {
		return err
	}
	is := *store.RouteTables.Get(tx, t.ID)
	is.Main, is.MainAssoc = true, id
	if err := store.RouteTables.Put(tx, &is); err != nil {
		return err
	}
	v := *store.VPCs.Get(tx, t.VPCID)
	v.MainRouteTable = t.ID
	return store.VPCs.Put(tx, &v)
}
