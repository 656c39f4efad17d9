package ec2

import (
	"context"
	"slices"
	"strings"

	"karri.dev/internal/aws/awserr"
	shape "karri.dev/internal/aws/shape/ec2"
	"karri.dev/internal/resource"
	"karri.dev/internal/store"
)

// maxLaunchAccounts bounds whom an image can be shared with.
const maxLaunchAccounts = 1000

// DescribeImageAttribute answers one attribute of an image of the caller's.
func (s *Service) DescribeImageAttribute(ctx context.Context, in *shape.DescribeImageAttributeRequest) (*shape.DescribeImageAttributeResult, error) {
	info, r, err := s.read(ctx, in, in.DryRun)
	if err != nil {
		return nil, err
	}
	switch {
	case in.ImageId == "":
		return nil, errMissing("imageId")
	case in.Attribute == "":
		return nil, errMissing("attribute")
	}
	img, err := ownImage(r, info, in.ImageId)
	if err != nil {
		return nil, err
	}
	out := &shape.DescribeImageAttributeResult{ImageId: img.ID}
	switch in.Attribute {
	case "description":
		out.Description = text(img.Description)
	case "kernel":
		out.KernelId = text(img.KernelID)
	case "ramdisk":
		out.RamdiskId = text(img.RamdiskID)
	case "bootMode":
		out.BootMode = text(img.BootMode)
	case "launchPermission":
		out.LaunchPermissions = []shape.LaunchPermission{}
		if img.Public {
			out.LaunchPermissions = append(out.LaunchPermissions, shape.LaunchPermission{Group: "all"})
		}
		for _, a := range img.LaunchAccounts {
			out.LaunchPermissions = append(out.LaunchPermissions, shape.LaunchPermission{UserId: a})
		}
	case "productCodes":
		out.ProductCodes = shapeCodes(img.ProductCodes)
	case "blockDeviceMapping":
		out.BlockDeviceMappings = shapeMappings(img)
	case "sriovNetSupport":
		out.SriovNetSupport = text(img.SRIOV)
	case "tpmSupport":
		out.TpmSupport = text("")
	case "uefiData":
		out.UefiData = text("")
	case "imdsSupport":
		out.ImdsSupport = text("")
	case "lastLaunchedTime":
		out.LastLaunchedTime = text("")
	case "deregistrationProtection":
		out.DeregistrationProtection = text(protection(img))
	default:
		return nil, errValue(in.Attribute, "attribute")
	}
	return out, nil
}

// imageChange is what a ModifyImageAttribute request changes: one of these.
type imageChange struct {
	description *string
	add, remove []shape.LaunchPermission
	codes       []string
}

// imageChangeOf reads a request's one change, from either of the forms.
func imageChangeOf(in *shape.ModifyImageAttributeRequest) (*imageChange, error) {
	c := &imageChange{}
	given := 0
	if in.Description != nil {
		c.description = &in.Description.Value
		given++
	}
	if in.LaunchPermission != nil {
		c.add, c.remove = in.LaunchPermission.Add, in.LaunchPermission.Remove
		given++
	}
	if in.Attribute != "launchPermission" && (in.OperationType != "" || len(in.UserIds) > 0 || len(in.UserGroups) > 0) {
		return nil, errCombination("The parameters operationType, userId and userGroup go with the attribute launchPermission")
	}
	if len(in.ProductCodes) > 0 {
		if c.codes = in.ProductCodes; in.Attribute != "productCodes" {
			given++
		}
	}
	switch in.Attribute {
	case "":
	case "productCodes":
		given++
	case "description":
		c.description = &in.Value
		given++
	case "launchPermission":
		given++
		var list []shape.LaunchPermission
		for _, u := range in.UserIds {
			list = append(list, shape.LaunchPermission{UserId: u})
		}
		for _, g := range in.UserGroups {
			list = append(list, shape.LaunchPermission{Group: g})
		}
		switch in.OperationType {
		case "add":
			c.add = list
		case "remove":
			c.remove = list
		case "":
			if in.LaunchPermission == nil || len(list) > 0 {
				return nil, errMissing("operationType")
			}
			given-- // launchPermission says it all: as Terraform asks
		default:
			return nil, errValue(in.OperationType, "operationType")
		}
	default:
		return nil, errUnsupported("The attribute '%s' cannot be changed.", in.Attribute)
	}
	switch {
	case given == 0:
		return nil, errCombination("No attributes specified.")
	case given > 1:
		return nil, errCombination("Only one attribute can be modified at a time.")
	case in.Attribute == "productCodes" && len(c.codes) == 0:
		return nil, errMissing("productCode")
	case c.description == nil && len(c.add)+len(c.remove)+len(c.codes) == 0:
		return nil, errMissing("launchPermission")
	case c.description != nil && len(*c.description) > 255:
		return nil, awserr.New("InvalidParameterValue", "The description has more than 255 characters.")
	}
	return c, nil
}

// ModifyImageAttribute changes an image's description, or who may launch it, or adds product codes.
func (s *Service) ModifyImageAttribute(ctx context.Context, in *shape.ModifyImageAttributeRequest) (*shape.ModifyImageAttributeResult, error) {
	info, err := s.begin(ctx, in)
	if err != nil {
		return nil, err
	}
	if in.ImageId == "" {
		return nil, errMissing("imageId")
	}
	change, err := imageChangeOf(in)
	if err != nil {
		return nil, err
	}
	err = s.update(ctx, in.DryRun, func(tx *store.Tx) error {
		img, err := ownImage(tx, info, in.ImageId)
		if err != nil {
			return err
		}
		next := *img
		if change.description != nil {
			next.Description = *change.description
		}
		if err := permit(tx, &next, change); err != nil {
			return err
		}
		if err := addCodes(&next, change.codes); err != nil {
			return err
		}
		if next.Public && !img.Public && blocksPublic(tx, info) {
			return awserr.New("OperationNotPermitted", "You can't publicly share this image because block public access is enabled for this account in this Region. "+
				"To publicly share the image, you must call the DisableImageBlockPublicAccess API.")
		}
		return store.Images.Put(tx, &next)
	})
	if err != nil {
		return nil, err
	}
	return &shape.ModifyImageAttributeResult{}, nil
}

// permit changes an image's launch permissions.
func permit(r store.Reader, img *resource.Image, change *imageChange) error {
	who := slices.Clone(img.LaunchAccounts)
	for i, p := range append(slices.Clone(change.add), change.remove...) {
		adding := i < len(change.add)
		switch {
		case p.Group != "" && p.UserId != "" || p.Group == "" && p.UserId == "":
			return errCombination("A launch permission names a user or a group")
		case p.Group == "all":
			img.Public = adding
		case p.Group != "":
			return awserr.New("InvalidAMIAttributeItemValue", "Invalid attribute item value \"%s\" for group item type.", p.Group)
		case !isAccount(p.UserId) || (adding && store.Accounts.Get(r, p.UserId) == nil):
			return awserr.New("InvalidAMIAttributeItemValue", "Invalid attribute item value \"%s\" for userId item type.", p.UserId)
		case !adding:
			who = slices.DeleteFunc(who, func(a string) bool { return a == p.UserId })
		case !slices.Contains(who, p.UserId):
			who = append(who, p.UserId)
		}
	}
	if len(who) > maxLaunchAccounts {
		return awserr.New("ResourceLimitExceeded", "An image can be shared with at most %d accounts.", maxLaunchAccounts)
	}
	slices.SortFunc(who, strings.Compare)
	img.LaunchAccounts = who
	return nil
}

// ResetImageAttribute takes all launch permissions away.
func (s *Service) ResetImageAttribute(ctx context.Context, in *shape.ResetImageAttributeRequest) (*shape.ResetImageAttributeResult, error) {
	info, err := s.begin(ctx, in)
	if err != nil {
		return nil, err
	}
	switch {
	case in.ImageId == "":
		return nil, errMissing("imageId")
	case in.Attribute != "launchPermission":
		return nil, errValue(in.Attribute, "attribute")
	}
	err = s.update(ctx, in.DryRun, func(tx *store.Tx) error {
		img, err := ownImage(tx, info, in.ImageId)
		if err != nil {
			return err
		}
		next := *img
		next.Public, next.LaunchAccounts = false, nil
		return store.Images.Put(tx, &next)
	})
	if err != nil {
		return nil, err
	}
	return &shape.ResetImageAttributeResult{}, nil
}
