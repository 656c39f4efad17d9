package iam

import (
	"bytes"
	"context"
	"image/png"
	"slices"
	"strings"
	"time"

	"rsc.io/qr"

	"karri.dev/internal/aws/call"
	shape "karri.dev/internal/aws/shape/iam"
	"karri.dev/internal/identity"
	"karri.dev/internal/resource"
	"karri.dev/internal/store"
	"karri.dev/internal/totp"
)

var deviceKind = &kind[resource.MFADevice]{
	"MFA device", "virtualMFADeviceName", 226, "VirtualMFADevicesPerAccount", 10_000, store.MFADevices,
	func(d *resource.MFADevice) string { return d.AccountID }, func(d *resource.MFADevice) string { return d.Name }, func(d *resource.MFADevice) string { return d.Path },
}

// findDevice gives the account's virtual device of a serial number, which is an ARN. There are no devices of hardware.
func findDevice(r store.Reader, account, serial string) (*resource.MFADevice, error) {
	if len(serial) < 9 || len(serial) > 256 {
		return nil, invalid("1 validation error detected: Value at 'serialNumber' failed to satisfy constraint: Member must have length between 9 and 256")
	}
	if d := store.MFADevices.Get(r, store.UserKey(account, last(serial))); d != nil && d.ARN() == serial {
		return d, nil
	}
	return nil, noEntity("VirtualMFADevice with serial number %s doesn't exist.", serial)
}

// CreateVirtualMFADevice makes a device and shows its seed, this once.
func (s *Service) CreateVirtualMFADevice(ctx context.Context, in *shape.CreateVirtualMFADeviceRequest) (*shape.CreateVirtualMFADeviceResult, error) {
	tags, err := tagsIn(in.Tags)
	if err != nil {
		return nil, err
	}
	path := in.Path
	if path == "" {
		path = "/"
	}
	d := &resource.MFADevice{AccountID: call.From(ctx).AccountID, Name: in.VirtualMFADeviceName, Path: path, CreatedAt: s.identity.Now(), Tags: tags}
	seed := s.identity.NewSeed(d)
	label := ""
	err = s.update(ctx, func(tx *store.Tx) error {
		if _, err := deviceKind.admit(tx, d.AccountID, d.Name, d.Path); err != nil {
			return err
		}
		if a := store.Accounts.Get(tx, d.AccountID); a != nil {
			label = a.AliasName()
		}
		return store.MFADevices.Put(tx, d)
	})
	if err != nil {
		return nil, err
	}
	if label == "" {
		label = d.AccountID
	}
	picture, err := qrCode(totp.URL(seed, d.Name, label))
	if err != nil {
		return nil, err
	}
	return &shape.CreateVirtualMFADeviceResult{VirtualMFADevice: &shape.VirtualMFADevice{
		SerialNumber: d.ARN(), Base32StringSeed: []byte(totp.Base32(seed)), QRCodePNG: picture, Tags: tagsOut(d.Tags),
	}}, nil
}

func qrCode(text string) ([]byte, error) {
	code, err := qr.Encode(text, qr.M)
	if err != nil {
		return nil, err
	}
	var out bytes.Buffer
	err = png.Encode(&out, code.Image())
	return out.Bytes(), err
}

// DeleteVirtualMFADevice deletes a device that is nobody's.
func (s *Service) DeleteVirtualMFADevice(ctx context.Context, in *shape.DeleteVirtualMFADeviceRequest) (*shape.DeleteVirtualMFADeviceResult, error) {
	err := s.update(ctx, func(tx *store.Tx) error {
		d, err := findDevice(tx, call.From(ctx).AccountID, in.SerialNumber)
		if err != nil {
			return err
		}
		if d.UserID != "" {
			return conflict("Cannot delete entity, must deactivate MFA device first.")
		}
		store.MFADevices.Delete(tx, store.UserKey(d.AccountID, d.Name))
		return nil
	})
	if err != nil {
		return nil, err
	}
	return &shape.DeleteVirtualMFADeviceResult{}, nil
}

// EnableMFADevice gives a user a device, after two codes of it in a row.
func (s *Service) EnableMFADevice(ctx context.Context, in *shape.EnableMFADeviceRequest) (*shape.EnableMFADeviceResult, error) {
	c := call.From(ctx).Caller
	find := func(r store.Reader) (*resource.MFADevice, error) {
		if _, _, err := identity.DeviceHolder(r, c, in.UserName); err != nil {
			return nil, err
		}
		return findDevice(r, c.AccountID, in.SerialNumber)
	}
	err := s.identity.SyncDevice(ctx, find, func(tx *store.Tx, d *resource.MFADevice) error {
		holder, _, err := identity.DeviceHolder(tx, c, in.UserName)
		if err != nil {
			return err
		}
		if d.UserID != "" {
			return exists("MFA Device is already in use")
		}
		n := 0
		for range identity.DevicesOf(tx, holder) {
			n++
		}
		if n >= identity.MaxDevices {
			return identity.OverQuota("MFADevicesPerUser", identity.MaxDevices)
		}
		d.UserID, d.EnabledAt = holder, s.identity.Now()
		return nil
	}, in.AuthenticationCode1, in.AuthenticationCode2)
	if err != nil {
		return nil, err
	}
	return &shape.EnableMFADeviceResult{}, nil
}

// findUsers gives a user's device.
func findUsers(c call.Caller, user, serial string) func(store.Reader) (*resource.MFADevice, error) {
	return func(r store.Reader) (*resource.MFADevice, error) {
		holder, _, err := identity.DeviceHolder(r, c, user)
		if err != nil {
			return nil, err
		}
		d, err := findDevice(r, c.AccountID, serial)
		if err == nil && d.UserID != holder {
			err = noEntity("MFA Device invalid for user.")
		}
		return d, err
	}
}

// ResyncMFADevice follows a device whose clock has gone wrong.
func (s *Service) ResyncMFADevice(ctx context.Context, in *shape.ResyncMFADeviceRequest) (*shape.ResyncMFADeviceResult, error) {
	nothing := func(*store.Tx, *resource.MFADevice) error { return nil }
	find := findUsers(call.From(ctx).Caller, in.UserName, in.SerialNumber)
	if err := s.identity.SyncDevice(ctx, find, nothing, in.AuthenticationCode1, in.AuthenticationCode2); err != nil {
		return nil, err
	}
	return &shape.ResyncMFADeviceResult{}, nil
}

// DeactivateMFADevice takes a device from its user.
func (s *Service) DeactivateMFADevice(ctx context.Context, in *shape.DeactivateMFADeviceRequest) (*shape.DeactivateMFADeviceResult, error) {
	err := s.update(ctx, func(tx *store.Tx) error {
		d, err := findUsers(call.From(ctx).Caller, in.UserName, in.SerialNumber)(tx)
		if err != nil {
			return err
		}
		next := *d
		next.UserID, next.EnabledAt, next.Drift = "", time.Time{}, 0
		return store.MFADevices.Put(tx, &next)
	})
	if err != nil {
		return nil, err
	}
	return &shape.DeactivateMFADeviceResult{}, nil
}

// ListMFADevices lists a user's devices.
func (s *Service) ListMFADevices(ctx context.Context, in *shape.ListMFADevicesRequest) (*shape.ListMFADevicesResult, error) {
	p, err := newPage(in.Marker, in.MaxItems)
	if err != nil {
		return nil, err
	}
	c, snap := call.From(ctx).Caller, s.store.Snapshot()
	if _, err := owner(c, in.UserName); err != nil {
		return nil, err
	}
	holder, name, err := identity.DeviceHolder(snap, c, in.UserName)
	if err != nil {
		return nil, err
	}
	var all []shape.MFADevice
	for d := range identity.DevicesOf(snap, holder) {
		all = append(all, shape.MFADevice{UserName: name, SerialNumber: d.ARN(), EnableDate: d.EnabledAt})
	}
	slices.SortFunc(all, func(a, b shape.MFADevice) int { return strings.Compare(a.SerialNumber, b.SerialNumber) })
	out := &shape.ListMFADevicesResult{}
	out.MFADevices, out.Marker = cut(p, all, func(d shape.MFADevice) string { return d.SerialNumber })
	out.IsTruncated = out.Marker != ""
	return out, nil
}

// GetMFADevice gives one of a user's devices.
func (s *Service) GetMFADevice(ctx context.Context, in *shape.GetMFADeviceRequest) (*shape.GetMFADeviceResult, error) {
	c, snap := call.From(ctx).Caller, s.store.Snapshot()
	if _, err := owner(c, in.UserName); err != nil {
		return nil, err
	}
	d, err := findUsers(c, in.UserName, in.SerialNumber)(snap)
	if err != nil {
		return nil, err
	}
	_, name, err := identity.DeviceHolder(snap, c, in.UserName)
	if err != nil {
		return nil, err
	}
	return &shape.GetMFADeviceResult{UserName: name, SerialNumber: d.ARN(), EnableDate: d.EnabledAt}, nil
}

// ListVirtualMFADevices lists the account's devices in order of name.
func (s *Service) ListVirtualMFADevices(ctx context.Context, in *shape.ListVirtualMFADevicesRequest) (*shape.ListVirtualMFADevicesResult, error) {
	p, err := newPage(in.Marker, in.MaxItems)
	if err != nil {
		return nil, err
	}
	switch in.AssignmentStatus {
	case "", shape.AssignmentStatusTypeAny, shape.AssignmentStatusTypeAssigned, shape.AssignmentStatusTypeUnassigned:
	default:
		return nil, invalid("1 validation error detected: Value '%.64s' at 'assignmentStatus' failed to satisfy constraint: Member must satisfy enum value set: [Assigned, Unassigned, Any]", in.AssignmentStatus)
	}
	snap := s.store.Snapshot()
	list, next, err := deviceKind.list(snap, call.From(ctx).AccountID, "", p, func(d *resource.MFADevice) bool {
		return in.AssignmentStatus == "" || in.AssignmentStatus == shape.AssignmentStatusTypeAny || (in.AssignmentStatus == shape.AssignmentStatusTypeAssigned) == (d.UserID != "")
	})
	if err != nil {
		return nil, err
	}
	out := &shape.ListVirtualMFADevicesResult{VirtualMFADevices: []shape.VirtualMFADevice{}, Marker: next, IsTruncated: next != ""}
	for _, d := range list {
		v := shape.VirtualMFADevice{SerialNumber: d.ARN(), EnableDate: d.EnabledAt}
		if u := store.UsersByID.One(snap, d.UserID); u != nil && d.UserID != "" {
			v.User = userOut(u, false)
		} else if d.UserID == d.AccountID {
			v.User = rootOut(snap, d.AccountID)
		}
		out.VirtualMFADevices = append(out.VirtualMFADevices, v)
	}
	return out, nil
}

// retagDevice gives a device other tags.
func (s *Service) retagDevice(ctx context.Context, serial string, change retag) error {
	return s.update(ctx, func(tx *store.Tx) error {
		d, err := findDevice(tx, call.From(ctx).AccountID, serial)
		if err != nil {
			return err
		}
		next := *d
		if next.Tags, err = change(d.Tags); err != nil {
			return err
		}
		return store.MFADevices.Put(tx, &next)
	})
}

// TagMFADevice adds tags to a device.
func (s *Service) TagMFADevice(ctx context.Context, in *shape.TagMFADeviceRequest) (*shape.TagMFADeviceResult, error) {
	change, err := adding(in.Tags)
	if err != nil {
		return nil, err
	}
	if err := s.retagDevice(ctx, in.SerialNumber, change); err != nil {
		return nil, err
	}
	return &shape.TagMFADeviceResult{}, nil
}

// UntagMFADevice removes tags of a device.
func (s *Service) UntagMFADevice(ctx context.Context, in *shape.UntagMFADeviceRequest) (*shape.UntagMFADeviceResult, error) {
	change, err := removing(in.TagKeys)
	if err != nil {
		return nil, err
	}
	if err := s.retagDevice(ctx, in.SerialNumber, change); err != nil {
		return nil, err
	}
	return &shape.UntagMFADeviceResult{}, nil
}

// ListMFADeviceTags lists a device's tags in order of key.
func (s *Service) ListMFADeviceTags(ctx context.Context, in *shape.ListMFADeviceTagsRequest) (*shape.ListMFADeviceTagsResult, error) {
	p, err := newPage(in.Marker, in.MaxItems)
	if err != nil {
		return nil, err
	}
	d, err := findDevice(s.store.Snapshot(), call.From(ctx).AccountID, in.SerialNumber)
	if err != nil {
		return nil, err
	}
	out := &shape.ListMFADeviceTagsResult{}
	out.Tags, out.Marker = cut(p, tagsOut(d.Tags), tagKey)
	out.IsTruncated = out.Marker != ""
	return out, nil
}
