package ec2

import (
	"context"
	"time"

	"karri.dev/internal/aws/awserr"
	"karri.dev/internal/aws/call"
	shape "karri.dev/internal/aws/shape/ec2"
	"karri.dev/internal/resource"
	"karri.dev/internal/store"
)

// Times of AWS.
const (
	transferTime  = 7 * 24 * time.Hour  // to accept an address
	transferShown = 14 * 24 * time.Hour // an accepted one, to the account that had it
)

// transferNow says whether a transfer waits, or is shown at least.
func transferNow(t *resource.AddressTransfer, now time.Time) (waits, shown bool) {
	if t == nil {
		return false, false
	}
	waits = t.AcceptedAt.IsZero() && now.Before(t.ExpiresAt)
	return waits, waits || !t.AcceptedAt.IsZero() && now.Sub(t.AcceptedAt) < transferShown
}

func shapeTransfer(_ store.Reader, t *resource.AddressTransfer) shape.AddressTransfer {
	out := shape.AddressTransfer{PublicIp: t.PublicIP, AllocationId: t.AllocationID, TransferAccountId: t.To, TransferOfferExpirationTimestamp: t.ExpiresAt, AddressTransferStatus: "pending"}
	if !t.AcceptedAt.IsZero() {
		out.TransferOfferAcceptedTimestamp, out.AddressTransferStatus = t.AcceptedAt, "accepted"
	}
	return out
}

// EnableAddressTransfer offers an elastic IP to another account.
func (s *Service) EnableAddressTransfer(ctx context.Context, in *shape.EnableAddressTransferRequest) (*shape.EnableAddressTransferResult, error) {
	info, err := s.begin(ctx, in)
	if err != nil {
		return nil, err
	}
	switch {
	case in.AllocationId == "":
		return nil, errMissing("allocationId")
	case in.TransferAccountId == "":
		return nil, errMissing("transferAccountId")
	case !isAccountID(in.TransferAccountId) || in.TransferAccountId == info.AccountID:
		return nil, errValue(in.TransferAccountId, "transferAccountId")
	}
	now := s.now()
	var made *resource.AddressTransfer
	err = s.update(ctx, in.DryRun, func(tx *store.Tx) error {
		a, err := addresses.find(tx, info, in.AllocationId)
		if err != nil {
			return err
		}
		if a.ManagedBy != "" {
			return errManaged(a)
		}
		s.forgetTransfers(tx, info)
		made = &resource.AddressTransfer{Owned: s.owned(info, nil), AllocationID: a.AllocationID, PublicIP: a.PublicIP, To: in.TransferAccountId, ExpiresAt: now.Add(transferTime)}
		if old := store.AddressTransfers.Get(tx, a.AllocationID); old != nil && old.To == made.To {
			made = old
			return nil
		}
		return store.AddressTransfers.Put(tx, made)
	})
	if err != nil {
		return nil, err
	}
	out := shapeTransfer(nil, made)
	return &shape.EnableAddressTransferResult{AddressTransfer: &out}, nil
}

// forgetTransfers drops those of the caller's that are shown no more.
func (s *Service) forgetTransfers(tx *store.Tx, info *call.Info) {
	var gone []string
	for t := range store.AddressTransfersByOwner.By(tx, ownerKey(info)) {
		if _, shown := transferNow(t, s.now()); !shown {
			gone = append(gone, t.AllocationID)
		}
	}
	for _, id := range gone {
		store.AddressTransfers.Delete(tx, id)
	}
}

// DisableAddressTransfer takes an offer back.
func (s *Service) DisableAddressTransfer(ctx context.Context, in *shape.DisableAddressTransferRequest) (*shape.DisableAddressTransferResult, error) {
	info, err := s.begin(ctx, in)
	if err != nil {
		return nil, err
	}
	if in.AllocationId == "" {
		return nil, errMissing("allocationId")
	}
	var out shape.AddressTransfer
	err = s.update(ctx, in.DryRun, func(tx *store.Tx) error {
		a, err := addresses.find(tx, info, in.AllocationId)
		if err != nil {
			return err
		}
		t := store.AddressTransfers.Get(tx, a.AllocationID)
		if waits, _ := transferNow(t, s.now()); !waits {
			return awserr.New("InvalidAddress.NotTransferring", "The address '%s' is not offered for transfer.", a.AllocationID)
		}
		out = shapeTransfer(tx, t)
		out.AddressTransferStatus = "disabled"
		store.AddressTransfers.Delete(tx, a.AllocationID)
		return nil
	})
	if err != nil {
		return nil, err
	}
	return &shape.DisableAddressTransferResult{AddressTransfer: &out}, nil
}

// AcceptAddressTransfer makes an elastic IP that another account offers the caller's own, under a new allocation.
func (s *Service) AcceptAddressTransfer(ctx context.Context, in *shape.AcceptAddressTransferRequest) (*shape.AcceptAddressTransferResult, error) {
	info, err := s.begin(ctx, in)
	if err != nil {
		return nil, err
	}
	if in.Address == "" {
		return nil, errMissing("address")
	}
	tags, err := tagsOnCreate(in.TagSpecifications, "elastic-ip")
	if err != nil {
		return nil, err
	}
	id := s.IDs.Resource("eipalloc-")
	var out shape.AddressTransfer
	err = s.update(ctx, in.DryRun, func(tx *store.Tx) error {
		a := store.AddressesByIP.One(tx, in.Address)
		if a == nil || a.Region != info.Region {
			return awserr.New("InvalidAddress.NotFound", "Address '%s' not found.", in.Address)
		}
		t := store.AddressTransfers.Get(tx, a.AllocationID)
		waits, _ := transferNow(t, s.now())
		switch {
		case !waits || t.To != info.AccountID:
			return awserr.New("InvalidAddress.NotFound", "Address '%s' not found.", in.Address)
		case a.AssociationID != "":
			return awserr.New("InvalidTransfer.AddressAssociated", "Address '%s' is associated: its owner must disassociate it first.", in.Address)
		case hasPTR(a):
			return awserr.New("InvalidTransfer.AddressCustomPtrSet", "Address '%s' has a reverse DNS record: its owner must remove it first.", in.Address)
		}
		done := *t
		done.AcceptedAt = s.now()
		out = shapeTransfer(tx, &done)
		out.AllocationId = id
		store.Addresses.Delete(tx, a.AllocationID)
		if err := store.AddressTransfers.Put(tx, &done); err != nil {
			return err
		}
		return store.Addresses.Put(tx, &resource.Address{Owned: s.owned(info, tags["elastic-ip"]), AllocationID: id, PublicIP: a.PublicIP})
	})
	if err != nil {
		return nil, err
	}
	return &shape.AcceptAddressTransferResult{AddressTransfer: &out}, nil
}

// DescribeAddressTransfers lists the caller's offers that wait, and those that were accepted lately.
func (s *Service) DescribeAddressTransfers(ctx context.Context, in *shape.DescribeAddressTransfersRequest) (*shape.DescribeAddressTransfersResult, error) {
	info, r, err := s.read(ctx, in, in.DryRun)
	if err != nil {
		return nil, err
	}
	now := s.now()
	list, next, err := list(s, r, info, addressTransfers, selection[resource.AddressTransfer]{
		op: "DescribeAddressTransfers", ids: in.AllocationIds, max: in.MaxResults, token: in.NextToken,
		match: func(t *resource.AddressTransfer) bool { _, shown := transferNow(t, now); return shown },
	})
	if err != nil {
		return nil, err
	}
	return &shape.DescribeAddressTransfersResult{AddressTransfers: showAll(r, list, shapeTransfer), NextToken: next}, nil
}
