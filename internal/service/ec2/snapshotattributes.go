package ec2

import (
	"context"
	"slices"
	"strings"

	"karri.dev/internal/aws/awserr"
	"karri.dev/internal/aws/call"
	shape "karri.dev/internal/aws/shape/ec2"
	"karri.dev/internal/resource"
	"karri.dev/internal/store"
)

// snapshotAttribute checks the attribute's name and gives the caller's snapshot.
func snapshotAttribute(r store.Reader, info *call.Info, id, attribute string) (*resource.Snapshot, error) {
	switch {
	case id == "":
		return nil, errMissing("SnapshotId")
	case attribute == "":
		return nil, errMissing("attribute")
	case attribute != "createVolumePermission" && attribute != "productCodes":
		return nil, errValue(attribute, "attribute")
	}
	return ownSnapshot(r, info, id)
}

// ownSnapshot gives a snapshot that the caller may change: of another account's it may know no more than that.
func ownSnapshot(r store.Reader, info *call.Info, id string) (*resource.Snapshot, error) {
	snap, err := findSnapshot(r, info, id)
	if err != nil {
		return nil, err
	}
	if snap.AccountID != info.AccountID {
		return nil, awserr.New("AuthFailure", "Not authorized for snapshot:%s", id).WithStatus(403)
	}
	return snap, nil
}

// DescribeSnapshotAttribute says who may make volumes of a snapshot.
func (s *Service) DescribeSnapshotAttribute(ctx context.Context, in *shape.DescribeSnapshotAttributeRequest) (*shape.DescribeSnapshotAttributeResult, error) {
	info, r, err := s.read(ctx, in, in.DryRun)
	if err != nil {
		return nil, err
	}
	snap, err := snapshotAttribute(r, info, in.SnapshotId, in.Attribute)
	if err != nil {
		return nil, err
	}
	out := &shape.DescribeSnapshotAttributeResult{SnapshotId: snap.ID}
	if in.Attribute == "productCodes" {
		out.ProductCodes = []shape.ProductCode{}
		return out, nil
	}
	out.CreateVolumePermissions = []shape.CreateVolumePermission{}
	if snap.Public {
		out.CreateVolumePermissions = append(out.CreateVolumePermissions, shape.CreateVolumePermission{Group: "all"})
	}
	for _, a := range snap.Accounts {
		out.CreateVolumePermissions = append(out.CreateVolumePermissions, shape.CreateVolumePermission{UserId: a})
	}
	return out, nil
}

// ModifySnapshotAttribute lets others make volumes of a snapshot, or no longer.
func (s *Service) ModifySnapshotAttribute(ctx context.Context, in *shape.ModifySnapshotAttributeRequest) (*shape.ModifySnapshotAttributeResult, error) {
	info, err := s.begin(ctx, in)
	if err != nil {
		return nil, err
	}
	attribute := pick(in.Attribute, "createVolumePermission")
	if attribute == "productCodes" {
		return nil, errUnsupported("Product codes cannot be changed.")
	}
	var add, remove []shape.CreateVolumePermission
	if p := in.CreateVolumePermission; p != nil {
		add, remove = p.Add, p.Remove
	}
	if len(in.UserIds)+len(in.GroupNames) > 0 {
		var list []shape.CreateVolumePermission
		for _, u := range in.UserIds {
			list = append(list, shape.CreateVolumePermission{UserId: u})
		}
		for _, g := range in.GroupNames {
			list = append(list, shape.CreateVolumePermission{Group: g})
		}
		switch {
		case in.CreateVolumePermission != nil:
			return nil, errCombination("The permissions are given in two ways at once.")
		case in.OperationType == "add":
			add = list
		case in.OperationType == "remove":
			remove = list
		case in.OperationType == "":
			return nil, errMissing("operationType")
		default:
			return nil, errValue(in.OperationType, "operationType")
		}
	}
	if len(add)+len(remove) == 0 {
		return nil, errMissing("createVolumePermission")
	}
	err = s.update(ctx, in.DryRun, func(tx *store.Tx) error {
		snap, err := snapshotAttribute(tx, info, in.SnapshotId, attribute)
		if err != nil {
			return err
		}
		next := *snap
		if err := shareSnapshot(tx, &next, add, remove); err != nil {
			return err
		}
		if snap.Encrypted && len(add) > 0 {
			return awserr.New("OperationNotPermitted", "Encrypted snapshots with EBS default key cannot be shared")
		}
		if next.Public && !snap.Public && publicSnapshots(tx, info) != "unblocked" {
			return awserr.New("OperationNotPermitted", "Snapshots of this account cannot be made public: block public access is enabled for them.")
		}
		return store.Snapshots.Put(tx, &next)
	})
	if err != nil {
		return nil, err
	}
	return &shape.ModifySnapshotAttributeResult{}, nil
}

// shareSnapshot changes a snapshot's permissions.
func shareSnapshot(r store.Reader, snap *resource.Snapshot, add, remove []shape.CreateVolumePermission) error {
	who := slices.Clone(snap.Accounts)
	for i, p := range append(slices.Clone(add), remove...) {
		adding := i < len(add)
		switch {
		case p.Group != "" && p.UserId != "" || p.Group == "" && p.UserId == "":
			return errCombination("A permission names a user or a group")
		case p.Group == "all":
			snap.Public = adding
		case p.Group != "":
			return awserr.New("InvalidParameterValue", "Invalid attribute item value \"%s\" for group item type.", p.Group)
		case !isAccount(p.UserId) || adding && store.Accounts.Get(r, p.UserId) == nil:
			return awserr.New("InvalidParameterValue", "Invalid attribute item value \"%s\" for userId item type.", p.UserId)
		case !adding:
			who = slices.DeleteFunc(who, func(a string) bool { return a == p.UserId })
		case !slices.Contains(who, p.UserId):
			who = append(who, p.UserId)
		}
	}
	if len(who) > maxLaunchAccounts {
		return awserr.New("ResourceLimitExceeded", "A snapshot can be shared with at most %d accounts.", maxLaunchAccounts)
	}
	slices.SortFunc(who, strings.Compare)
	snap.Accounts = who
	return nil
}

// ResetSnapshotAttribute takes all permissions away.
func (s *Service) ResetSnapshotAttribute(ctx context.Context, in *shape.ResetSnapshotAttributeRequest) (*shape.ResetSnapshotAttributeResult, error) {
	info, err := s.begin(ctx, in)
	if err != nil {
		return nil, err
	}
	if in.Attribute == "productCodes" {
		return nil, errValue(in.Attribute, "attribute")
	}
	err = s.update(ctx, in.DryRun, func(tx *store.Tx) error {
		snap, err := snapshotAttribute(tx, info, in.SnapshotId, in.Attribute)
		if err != nil {
			return err
		}
		next := *snap
		next.Public, next.Accounts = false, nil
		return store.Snapshots.Put(tx, &next)
	})
	if err != nil {
		return nil, err
	}
	return &shape.ResetSnapshotAttributeResult{}, nil
}

// publicSnapshotsSetting names the cloud setting that holds an account's block of public snapshots in a region.
func publicSnapshotsSetting(info *call.Info) string {
	return "snapshot-block-public-access/" + ownerKey(info)
}

// publicSnapshots gives it: "unblocked", "block-new-sharing" or "block-all-sharing".
func publicSnapshots(r store.Reader, info *call.Info) string {
	return publicSnapshotsOf(r, ownerKey(info))
}

func publicSnapshotsOf(r store.Reader, owner string) string {
	if set := store.Settings.Get(r, "snapshot-block-public-access/"+owner); set != nil {
		return set.Value
	}
	return "unblocked"
}

// GetSnapshotBlockPublicAccessState says whether the account's snapshots can be made public.
func (s *Service) GetSnapshotBlockPublicAccessState(ctx context.Context, in *shape.GetSnapshotBlockPublicAccessStateRequest) (*shape.GetSnapshotBlockPublicAccessStateResult, error) {
	info, r, err := s.read(ctx, in, in.DryRun)
	if err != nil {
		return nil, err
	}
	return &shape.GetSnapshotBlockPublicAccessStateResult{State: publicSnapshots(r, info)}, nil
}

// EnableSnapshotBlockPublicAccess forbids to make the account's snapshots public, and hides those that are, if wanted.
func (s *Service) EnableSnapshotBlockPublicAccess(ctx context.Context, in *shape.EnableSnapshotBlockPublicAccessRequest) (*shape.EnableSnapshotBlockPublicAccessResult, error) {
	info, err := s.begin(ctx, in)
	if err != nil {
		return nil, err
	}
	if in.State == "" {
		return nil, errMissing("State")
	}
	if err := oneOf("State", in.State, "block-all-sharing", "block-new-sharing"); err != nil {
		return nil, err
	}
	err = s.update(ctx, in.DryRun, func(tx *store.Tx) error {
		return store.Settings.Put(tx, &resource.Setting{Name: publicSnapshotsSetting(info), Value: in.State})
	})
	if err != nil {
		return nil, err
	}
	return &shape.EnableSnapshotBlockPublicAccessResult{State: in.State}, nil
}

// DisableSnapshotBlockPublicAccess allows it again.
func (s *Service) DisableSnapshotBlockPublicAccess(ctx context.Context, in *shape.DisableSnapshotBlockPublicAccessRequest) (*shape.DisableSnapshotBlockPublicAccessResult, error) {
	info, err := s.begin(ctx, in)
	if err != nil {
		return nil, err
	}
	err = s.update(ctx, in.DryRun, func(tx *store.Tx) error {
		store.Settings.Delete(tx, publicSnapshotsSetting(info))
		return nil
	})
	if err != nil {
		return nil, err
	}
	return &shape.DisableSnapshotBlockPublicAccessResult{State: "unblocked"}, nil
}
