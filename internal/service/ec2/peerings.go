package ec2

import (
	"context"
	"slices"
	"strings"
	"time"

	"karri.dev/internal/authz"
	"karri.dev/internal/aws/awserr"
	"karri.dev/internal/aws/call"
	shape "karri.dev/internal/aws/shape/ec2"
	"karri.dev/internal/filter"
	"karri.dev/internal/policy"
	"karri.dev/internal/resource"
	"karri.dev/internal/store"
)

// Limits and times of AWS.
const (
	maxPeerings       = 50 // active ones of a VPC
	maxPending        = 25 // requests of a VPC that wait
	peeringTime       = 7 * 24 * time.Hour
	peeringShown      = 2 * time.Hour // deleted ones, to both sides
	peeringShownFails = 48 * time.Hour
)

// peeringBetween gives the active peering of two VPCs, or nil.
func peeringBetween(r store.Reader, a, b string) *resource.Peering {
	for p := range store.PeeringsByVPC.By(r, a) {
		if p.State == resource.PeeringActive && p.Other(a) == b {
			return p
		}
	}
	return nil
}

// peeringNow gives a peering as it is at this time: requests expire, and what ended is shown for a while.
// nil says that it is shown no more.
func peeringNow(p *resource.Peering, now time.Time) *resource.Peering {
	next := *p
	if next.State == resource.PeeringPending && !now.Before(next.ExpiresAt) {
		next.State, next.Message, next.EndedAt = resource.PeeringExpired, "Expired", next.ExpiresAt
	}
	keep := peeringShownFails
	if next.State == resource.PeeringDeleted {
		keep = peeringShown
	}
	if !next.EndedAt.IsZero() && now.Sub(next.EndedAt) > keep {
		return nil
	}
	return &next
}

// peering finds a peering of which the caller owns a side.
func (s *Service) peering(r store.Reader, info *call.Info, id string) (*resource.Peering, error) {
	if id == "" {
		return nil, errMissing("vpcPeeringConnectionId")
	}
	if !wellFormed("pcx-", id) {
		return nil, awserr.New("InvalidVpcPeeringConnectionId.Malformed", "Invalid id: \"%s\" (expecting \"pcx-...\")", id)
	}
	if p := store.Peerings.Get(r, id); p != nil && sideOf(p, info) != nil {
		if p = peeringNow(p, s.now()); p != nil {
			return p, nil
		}
	}
	return nil, errNoPeering(id)
}

func errNoPeering(id string) error {
	return awserr.New("InvalidVpcPeeringConnectionID.NotFound", "The vpcPeeringConnection ID '%s' does not exist", id)
}

// sideOf gives the side of a peering that the caller owns: the requester's if both.
func sideOf(p *resource.Peering, info *call.Info) *resource.PeeringSide {
	for _, side := range []*resource.PeeringSide{&p.Requester, &p.Accepter} {
		if side.AccountID == info.AccountID && side.Region == info.Region {
			return side
		}
	}
	return nil
}

// CreateVpcPeeringConnection asks for a peering.
func (s *Service) CreateVpcPeeringConnection(ctx context.Context, in *shape.CreateVpcPeeringConnectionRequest) (*shape.CreateVpcPeeringConnectionResult, error) {
	info, err := s.begin(ctx, in)
	if err != nil {
		return nil, err
	}
	switch {
	case in.VpcId == "":
		return nil, errMissing("vpcId")
	case in.PeerVpcId == "":
		return nil, errMissing("peerVpcId")
	case in.PeerRegion != "" && in.PeerRegion != info.Region:
		return nil, errUnsupported("Peering between regions is not supported by this cloud.")
	}
	tags, err := tagsOnCreate(in.TagSpecifications, "vpc-peering-connection")
	if err != nil {
		return nil, err
	}
	id, now := s.IDs.Resource("pcx-"), s.now()
	var made *resource.Peering
	err = s.update(ctx, in.DryRun, func(tx *store.Tx) error {
		v, err := vpcs.find(tx, info, in.VpcId)
		if err != nil {
			return err
		}
		owner := in.PeerOwnerId
		if owner == "" {
			owner = info.AccountID
		}
		if v.ID == in.PeerVpcId {
			return awserr.New("InvalidParameterValue", "A VPC cannot be peered with itself: %s", v.ID)
		}
		peer := store.VPCs.Get(tx, in.PeerVpcId)
		made = &resource.Peering{
			Owned: s.owned(info, tags["vpc-peering-connection"]), ID: id,
			Requester: resource.PeeringSide{AccountID: info.AccountID, VPCID: v.ID, Region: info.Region},
			Accepter:  resource.PeeringSide{AccountID: owner, VPCID: in.PeerVpcId, Region: info.Region},
			State:     resource.PeeringPending, Message: "Pending Acceptance by " + owner, ExpiresAt: now.Add(peeringTime),
		}
		waiting := 0
		for p := range store.PeeringsByVPC.By(tx, v.ID) {
			if p = peeringNow(p, now); p == nil || p.State != resource.PeeringPending && p.State != resource.PeeringActive {
				continue
			}
			if p.Other(v.ID) == in.PeerVpcId {
				return awserr.New("VpcPeeringConnectionAlreadyExists", "A VPC peering connection already exists between %s and %s: %s", v.ID, in.PeerVpcId, p.ID)
			}
			if p.State == resource.PeeringPending && p.Requester.VPCID == v.ID {
				waiting++
			}
		}
		if waiting >= maxPending {
			return awserr.New("OutstandingVpcPeeringConnectionLimitExceeded", "The maximum number of outstanding VPC peering connection requests has been reached.")
		}
		// As in AWS, a request that cannot be is there and has failed: what others have is not told.
		if peer == nil || peer.AccountID != owner || peer.Region != info.Region || overlap(v, peer) {
			made.State, made.Message, made.EndedAt = resource.PeeringFailed, "Failed due to incorrect VPC-ID, Account ID, or overlapping CIDR range", now
		}
		return store.Peerings.Put(tx, made)
	})
	if err != nil {
		return nil, err
	}
	out := s.shapePeering(s.Store.Snapshot(), info, made)
	if made.State == resource.PeeringPending {
		out.Status = &shape.VpcPeeringConnectionStateReason{Code: "initiating-request", Message: "Initiating Request to " + made.Accepter.AccountID}
	}
	return &shape.CreateVpcPeeringConnectionResult{VpcPeeringConnection: &out}, nil
}

// overlap says whether two VPCs have addresses in common.
func overlap(a, b *resource.VPC) bool {
	all := func(v *resource.VPC) []string {
		out := v.Blocks()
		for _, block := range v.IPv6 {
			out = append(out, block.CIDR)
		}
		return out
	}
	for _, x := range all(a) {
		for _, y := range all(b) {
			if prefixOf(x).Overlaps(prefixOf(y)) {
				return true
			}
		}
	}
	return false
}

func errPeeringState(p *resource.Peering) error {
	return awserr.New("InvalidStateTransition", "Invalid state transition for %s, attempted to transition from %s", p.ID, p.State)
}

// AcceptVpcPeeringConnection accepts a request.
func (s *Service) AcceptVpcPeeringConnection(ctx context.Context, in *shape.AcceptVpcPeeringConnectionRequest) (*shape.AcceptVpcPeeringConnectionResult, error) {
	info, err := s.begin(ctx, in)
	if err != nil {
		return nil, err
	}
	var next *resource.Peering
	err = s.update(ctx, in.DryRun, func(tx *store.Tx) error {
		if next, err = s.peering(tx, info, in.VpcPeeringConnectionId); err != nil {
			return err
		}
		switch {
		case next.Accepter.AccountID != info.AccountID:
			return awserr.New("OperationNotPermitted", "User %s cannot accept peering %s", info.AccountID, next.ID)
		case next.State == resource.PeeringActive:
			return nil
		case next.State != resource.PeeringPending:
			return errPeeringState(next)
		}
		mine, theirs := store.VPCs.Get(tx, next.Accepter.VPCID), store.VPCs.Get(tx, next.Requester.VPCID)
		if mine == nil || theirs == nil || overlap(mine, theirs) {
			return awserr.New("InvalidVpcPeeringConnectionState.Failed", "The VPCs of %s are gone or have overlapping CIDR blocks", next.ID)
		}
		for _, v := range []*resource.VPC{mine, theirs} {
			active := 0
			for p := range store.PeeringsByVPC.By(tx, v.ID) {
				if p.State == resource.PeeringActive {
					active++
				}
			}
			if active >= maxPeerings {
				return awserr.New("VpcPeeringConnectionsPerVpcLimitExceeded", "The maximum number of VPC peering connections of %s has been reached.", v.ID)
			}
		}
		next.State, next.Message, next.ExpiresAt = resource.PeeringActive, "Active", time.Time{}
		return store.Peerings.Put(tx, next)
	})
	if err != nil {
		return nil, err
	}
	out := s.shapePeering(s.Store.Snapshot(), info, next)
	return &shape.AcceptVpcPeeringConnectionResult{VpcPeeringConnection: &out}, nil
}

// RejectVpcPeeringConnection turns a request down.
func (s *Service) RejectVpcPeeringConnection(ctx context.Context, in *shape.RejectVpcPeeringConnectionRequest) (*shape.RejectVpcPeeringConnectionResult, error) {
	info, err := s.begin(ctx, in)
	if err != nil {
		return nil, err
	}
	err = s.update(ctx, in.DryRun, func(tx *store.Tx) error {
		p, err := s.peering(tx, info, in.VpcPeeringConnectionId)
		if err != nil {
			return err
		}
		switch {
		case p.Accepter.AccountID != info.AccountID:
			return awserr.New("OperationNotPermitted", "User %s cannot reject peering %s", info.AccountID, p.ID)
		case p.State != resource.PeeringPending:
			return errPeeringState(p)
		}
		p.State, p.Message, p.EndedAt = resource.PeeringRejected, "Rejected by "+info.AccountID, s.now()
		return store.Peerings.Put(tx, p)
	})
	if err != nil {
		return nil, err
	}
	return &shape.RejectVpcPeeringConnectionResult{Return: true}, nil
}

// DeleteVpcPeeringConnection ends a peering, from either side, or takes a request back.
func (s *Service) DeleteVpcPeeringConnection(ctx context.Context, in *shape.DeleteVpcPeeringConnectionRequest) (*shape.DeleteVpcPeeringConnectionResult, error) {
	info, err := s.begin(ctx, in)
	if err != nil {
		return nil, err
	}
	err = s.update(ctx, in.DryRun, func(tx *store.Tx) error {
		p, err := s.peering(tx, info, in.VpcPeeringConnectionId)
		if err != nil {
			return err
		}
		switch p.State {
		case resource.PeeringActive:
		case resource.PeeringPending:
			if p.Requester.AccountID != info.AccountID {
				return errPeeringState(p) // the accepter rejects
			}
		case resource.PeeringDeleted:
			return nil
		default:
			return errPeeringState(p)
		}
		return endPeering(tx, p, info.AccountID, s.now())
	})
	if err != nil {
		return nil, err
	}
	return &shape.DeleteVpcPeeringConnectionResult{Return: true}, nil
}

func endPeering(tx *store.Tx, p *resource.Peering, by string, now time.Time) error {
	next := *p
	next.State, next.Message, next.EndedAt = resource.PeeringDeleted, "Deleted by "+by, now
	return store.Peerings.Put(tx, &next)
}

// ModifyVpcPeeringConnectionOptions says whether public names of one side resolve privately on the other.
func (s *Service) ModifyVpcPeeringConnectionOptions(ctx context.Context, in *shape.ModifyVpcPeeringConnectionOptionsRequest) (*shape.ModifyVpcPeeringConnectionOptionsResult, error) {
	info, err := s.begin(ctx, in)
	if err != nil {
		return nil, err
	}
	if in.AccepterPeeringConnectionOptions == nil && in.RequesterPeeringConnectionOptions == nil {
		return nil, awserr.New("MissingParameter", "Options of the accepter or the requester must be given")
	}
	out := &shape.ModifyVpcPeeringConnectionOptionsResult{}
	err = s.update(ctx, in.DryRun, func(tx *store.Tx) error {
		p, err := s.peering(tx, info, in.VpcPeeringConnectionId)
		if err != nil {
			return err
		}
		if p.State != resource.PeeringActive {
			return awserr.New("OperationNotPermitted", "Peering %s is not active. Peering options can be added only to active peerings.", p.ID)
		}
		set := func(side *resource.PeeringSide, in *shape.PeeringConnectionOptionsRequest) (*shape.PeeringConnectionOptions, error) {
			if in == nil {
				return nil, nil
			}
			if side.AccountID != info.AccountID {
				return nil, awserr.New("OperationNotPermitted", "User %s cannot modify options of %s in peering %s", info.AccountID, side.VPCID, p.ID)
			}
			if in.AllowDnsResolutionFromRemoteVpc != nil {
				side.RemoteDNS = *in.AllowDnsResolutionFromRemoteVpc
			}
			return &shape.PeeringConnectionOptions{AllowDnsResolutionFromRemoteVpc: side.RemoteDNS}, nil
		}
		if out.RequesterPeeringConnectionOptions, err = set(&p.Requester, in.RequesterPeeringConnectionOptions); err != nil {
			return err
		}
		if out.AccepterPeeringConnectionOptions, err = set(&p.Accepter, in.AccepterPeeringConnectionOptions); err != nil {
			return err
		}
		return store.Peerings.Put(tx, p)
	})
	if err != nil {
		return nil, err
	}
	return out, nil
}

// shapePeering shows a peering to one of its sides.
func (s *Service) shapePeering(r store.Reader, info *call.Info, p *resource.Peering) shape.VpcPeeringConnection {
	out := shape.VpcPeeringConnection{
		VpcPeeringConnectionId: p.ID, ExpirationTime: p.ExpiresAt, Status: &shape.VpcPeeringConnectionStateReason{Code: p.State, Message: p.Message},
		RequesterVpcInfo: shapeSide(r, p, &p.Requester), AccepterVpcInfo: shapeSide(r, p, &p.Accepter), Tags: shapeTags(peeringTags(p, info)),
	}
	if p.State != resource.PeeringPending {
		out.ExpirationTime = time.Time{}
	}
	return out
}

func peeringTags(p *resource.Peering, info *call.Info) resource.Tags {
	if p.AccountID == info.AccountID {
		return p.Tags
	}
	return p.Accepter.Tags
}

// shapeSide shows a side; the accepter's ranges only when it accepted.
func shapeSide(r store.Reader, p *resource.Peering, side *resource.PeeringSide) *shape.VpcPeeringConnectionVpcInfo {
	out := &shape.VpcPeeringConnectionVpcInfo{OwnerId: side.AccountID, VpcId: side.VPCID, Region: side.Region}
	v := store.VPCs.Get(r, side.VPCID)
	if v == nil || p.State != resource.PeeringActive && (side.AccountID != p.AccountID || v.AccountID != p.AccountID) {
		return out
	}
	out.CidrBlock = v.CIDR
	for _, block := range v.Blocks() {
		out.CidrBlockSet = append(out.CidrBlockSet, shape.CidrBlock{CidrBlock: block})
	}
	for _, b := range v.IPv6 {
		out.Ipv6CidrBlockSet = append(out.Ipv6CidrBlockSet, shape.Ipv6CidrBlock{Ipv6CidrBlock: b.CIDR})
	}
	out.PeeringOptions = &shape.VpcPeeringConnectionOptionsDescription{AllowDnsResolutionFromRemoteVpc: side.RemoteDNS}
	return out
}

var peeringFilters = func() *filter.Set[*shape.VpcPeeringConnection] {
	type pcx = *shape.VpcPeeringConnection
	set := &filter.Set[pcx]{
		Fields: map[string]func(pcx) []string{
			"expiration-time":           func(p pcx) []string { return one(awsTime(p.ExpirationTime)) },
			"status-code":               func(p pcx) []string { return one(p.Status.Code) },
			"status-message":            func(p pcx) []string { return one(p.Status.Message) },
			"vpc-peering-connection-id": func(p pcx) []string { return one(p.VpcPeeringConnectionId) },
		},
		Tags: func(p pcx) map[string]string { return mapTags(p.Tags) },
	}
	for name, side := range map[string]func(pcx) *shape.VpcPeeringConnectionVpcInfo{
		"accepter-vpc-info.":  func(p pcx) *shape.VpcPeeringConnectionVpcInfo { return p.AccepterVpcInfo },
		"requester-vpc-info.": func(p pcx) *shape.VpcPeeringConnectionVpcInfo { return p.RequesterVpcInfo },
	} {
		set.Fields[name+"cidr-block"] = func(p pcx) []string { return one(side(p).CidrBlock) }
		set.Fields[name+"owner-id"] = func(p pcx) []string { return one(side(p).OwnerId) }
		set.Fields[name+"vpc-id"] = func(p pcx) []string { return one(side(p).VpcId) }
	}
	return set
}()

// DescribeVpcPeeringConnections lists peerings of which the caller owns a side.
func (s *Service) DescribeVpcPeeringConnections(ctx context.Context, in *shape.DescribeVpcPeeringConnectionsRequest) (*shape.DescribeVpcPeeringConnectionsResult, error) {
	info, r, err := s.read(ctx, in, in.DryRun)
	if err != nil {
		return nil, err
	}
	match, err := compile(peeringFilters, in.Filters)
	if err != nil {
		return nil, err
	}
	limit, start, err := s.page(info, "DescribeVpcPeeringConnections", in.MaxResults, in.NextToken, 0)
	if err != nil {
		return nil, err
	}
	var all []*resource.Peering
	for _, id := range in.VpcPeeringConnectionIds {
		p, err := s.peering(r, info, id)
		if err != nil {
			return nil, err
		}
		all = append(all, p)
	}
	if len(in.VpcPeeringConnectionIds) == 0 {
		all = slices.AppendSeq(all, store.PeeringsBySide.By(r, ownerKey(info)))
	}
	slices.SortFunc(all, func(a, b *resource.Peering) int { return strings.Compare(a.ID, b.ID) })
	out := []shape.VpcPeeringConnection{}
	for _, p := range all {
		if p = peeringNow(p, s.now()); p == nil || p.ID < start {
			continue
		}
		if view := s.shapePeering(r, info, p); match == nil || match(&view) {
			out = append(out, view)
		}
	}
	list, next, err := cut(s, info, "DescribeVpcPeeringConnections", out, limit, func(p shape.VpcPeeringConnection) string { return p.VpcPeeringConnectionId })
	return &shape.DescribeVpcPeeringConnectionsResult{VpcPeeringConnections: list, NextToken: next}, err
}

// taggedPeerings lets the tag operations see peerings: each account has its own tags on one.
func taggedPeerings() tagged {
	find := func(r store.Reader, info *call.Info, id string) *resource.Peering {
		if p := store.Peerings.Get(r, id); p != nil && sideOf(p, info) != nil {
			return p
		}
		return nil
	}
	return tagged{
		prefix: "pcx-", name: "vpc-peering-connection",
		access: authz.Kind{
			ARN: func(b []byte, info *call.Info, name string) []byte {
				return appendARN(b, info, "vpc-peering-connection", name)
			},
			Find: func(r store.Reader, info *call.Info, name string) authz.Resource {
				if p := find(r, info, name); p != nil {
					return peeringKeys{p, info}
				}
				return nil
			},
		},
		retag: func(tx *store.Tx, info *call.Info, id string, edit func(resource.Tags) (resource.Tags, error)) error {
			p := find(tx, info, id)
			if p == nil {
				return errNoPeering(id)
			}
			tags, err := edit(peeringTags(p, info))
			if err != nil {
				return err
			}
			next := *p
			if p.AccountID == info.AccountID {
				next.Tags = tags
			} else {
				next.Accepter.Tags = tags
			}
			return store.Peerings.Put(tx, &next)
		},
		each: func(r store.Reader, info *call.Info, yield func(string, resource.Tags) bool) {
			for p := range store.PeeringsBySide.By(r, ownerKey(info)) {
				if !yield(p.ID, peeringTags(p, info)) {
					return
				}
			}
		},
	}
}

// peeringKeys gives a peering's condition keys to one of its sides.
type peeringKeys struct {
	*resource.Peering
	info *call.Info
}

// Value implements authz.Resource.
func (p peeringKeys) Value(k policy.Key) (policy.Value, bool) {
	switch k.Name {
	case "aws:resourcetag", "ec2:resourcetag":
		return authz.Tag(peeringTags(p.Peering, p.info), k.Arg)
	case "ec2:resourceid", "ec2:vpcpeeringconnectionid":
		return policy.String(p.ID), true
	case "ec2:requestervpc":
		return policy.String(sideARN(&p.Requester)), true
	case "ec2:acceptervpc":
		return policy.String(sideARN(&p.Accepter)), true
	}
	return policy.Value{}, false
}

func sideARN(s *resource.PeeringSide) string {
	return "arn:aws:ec2:" + s.Region + ":" + s.AccountID + ":vpc/" + s.VPCID
}
