package ec2

import (
	"context"
	"slices"
	"strconv"
	"strings"

	"karri.dev/internal/aws/awserr"
	"karri.dev/internal/aws/call"
	shape "karri.dev/internal/aws/shape/ec2"
	"karri.dev/internal/filter"
	"karri.dev/internal/resource"
	"karri.dev/internal/store"
)

// imageID turns a Eucalyptus image id (emi-, eki-, eri-) into the AWS one that it stands for.
func imageID(id string) string {
	for _, alias := range [][2]string{{"emi-", "ami-"}, {"eki-", "aki-"}, {"eri-", "ari-"}} {
		if rest, ok := strings.CutPrefix(id, alias[0]); ok {
			return alias[1] + rest
		}
	}
	return id
}

// ImageID is imageID for others.
func ImageID(id string) string { return imageID(id) }

// imagePrefix is the id prefix of a kind of image.
func imagePrefix(kind string) string {
	switch kind {
	case "kernel":
		return "aki-"
	case "ramdisk":
		return "ari-"
	}
	return "ami-"
}

// visible says whether the caller may see and launch an image.
func visible(info *call.Info, img *resource.Image) bool {
	if img.Region != info.Region || img.State == resource.ImageDeregistered {
		return false
	}
	return img.AccountID == info.AccountID || img.Public || slices.Contains(img.LaunchAccounts, info.AccountID)
}

// findImage gives an image that the caller may see. id may be a Eucalyptus one.
func findImage(r store.Reader, info *call.Info, id string) (*resource.Image, error) {
	id = imageID(id)
	if !wellFormed("ami-", id) && !wellFormed("aki-", id) && !wellFormed("ari-", id) {
		return nil, awserr.New("InvalidAMIID.Malformed", "Invalid id: \"%s\" (expecting \"ami-...\")", id)
	}
	img := store.Images.Get(r, id)
	if img == nil || !visible(info, img) {
		return nil, images.notFound(id)
	}
	return img, nil
}

// ownImage gives an image that the caller may change: another account's is denied if it can be seen, and else
// not found.
func ownImage(r store.Reader, info *call.Info, id string) (*resource.Image, error) {
	img, err := findImage(r, info, id)
	if err != nil {
		return nil, err
	}
	if img.AccountID != info.AccountID {
		return nil, awserr.New("AuthFailure", "Not authorized for image:%s", img.ID).WithStatus(403)
	}
	return img, nil
}

// shapeImage shows an image.
func shapeImage(info *call.Info, img *resource.Image) shape.Image {
	out := shape.Image{
		Architecture: img.Architecture, CreationDate: awsTime(img.CreatedAt), ImageId: img.ID, ImageLocation: img.Location, ImageType: img.Kind,
		Public: img.Public, KernelId: img.KernelID, OwnerId: img.AccountID, PlatformDetails: "Linux/UNIX", UsageOperation: "RunInstances",
		RamdiskId: img.RamdiskID, State: string(img.State), BlockDeviceMappings: shapeMappings(img), Description: img.Description,
		EnaSupport: img.ENA, SriovNetSupport: img.SRIOV, Hypervisor: "xen", Name: img.Name, RootDeviceName: img.RootDeviceName, RootDeviceType: img.RootDeviceType,
		VirtualizationType: "hvm", BootMode: img.BootMode, ProductCodes: shapeCodes(img.ProductCodes),
	}
	if strings.EqualFold(img.Platform, "windows") {
		out.Platform, out.PlatformDetails, out.UsageOperation = "windows", "Windows", "RunInstances:0002"
	}
	if img.StateReason != "" {
		out.StateReason = &shape.StateReason{Code: "Client.InvalidBundle", Message: img.StateReason}
	}
	if !img.DeprecatedAt.IsZero() {
		out.DeprecationTime = awsTime(img.DeprecatedAt)
	}
	out.DeregistrationProtection = protection(img)
	if img.AccountID == info.AccountID {
		out.Tags = shapeTags(img.Tags) // tags are seen by their owner alone
	}
	return out
}

var imageFilters = &filter.Set[*shape.Image]{
	Fields: map[string]func(*shape.Image) []string{
		"architecture":       func(i *shape.Image) []string { return one(i.Architecture) },
		"boot-mode":          func(i *shape.Image) []string { return one(i.BootMode) },
		"creation-date":      func(i *shape.Image) []string { return one(i.CreationDate) },
		"description":        func(i *shape.Image) []string { return []string{i.Description} },
		"ena-support":        func(i *shape.Image) []string { return yes(i.EnaSupport) },
		"free-tier-eligible": constant[*shape.Image]("false"),
		"hypervisor":         func(i *shape.Image) []string { return one(i.Hypervisor) },
		"image-id":           func(i *shape.Image) []string { return one(i.ImageId) },
		"image-type":         func(i *shape.Image) []string { return one(i.ImageType) },
		"is-public":          func(i *shape.Image) []string { return yes(i.Public) },
		"kernel-id":          func(i *shape.Image) []string { return one(i.KernelId) },
		"manifest-location":  func(i *shape.Image) []string { return one(i.ImageLocation) },
		"name":               func(i *shape.Image) []string { return one(i.Name) },
		"owner-id":           func(i *shape.Image) []string { return one(i.OwnerId) },
		"platform":           func(i *shape.Image) []string { return one(i.Platform) },
		"product-code":       func(i *shape.Image) []string { return codesShown(i) },
		"product-code.type":  func(i *shape.Image) []string { return codeTypes(codesShown(i)) },
		"state-reason-code": func(i *shape.Image) []string {
			return stateReason(i, func(r *shape.StateReason) string { return r.Code })
		},
		"state-reason-message": func(i *shape.Image) []string {
			return stateReason(i, func(r *shape.StateReason) string { return r.Message })
		},
		"block-device-mapping.delete-on-termination": ofDisks(func(e *shape.EbsBlockDevice) []string { return yes(isTrue(e.DeleteOnTermination)) }),
		"block-device-mapping.device-name": func(i *shape.Image) (out []string) {
			for _, m := range i.BlockDeviceMappings {
				out = append(out, m.DeviceName)
			}
			return out
		},
		"block-device-mapping.snapshot-id": ofDisks(func(e *shape.EbsBlockDevice) []string { return one(e.SnapshotId) }),
		"block-device-mapping.volume-type": ofDisks(func(e *shape.EbsBlockDevice) []string { return one(e.VolumeType) }),
		"block-device-mapping.encrypted":   ofDisks(func(e *shape.EbsBlockDevice) []string { return yes(isTrue(e.Encrypted)) }),
		"block-device-mapping.volume-size": ofDisks(func(e *shape.EbsBlockDevice) []string {
			if e.VolumeSize == nil {
				return nil
			}
			return one(strconv.Itoa(*e.VolumeSize))
		}),
		"ramdisk-id":          func(i *shape.Image) []string { return one(i.RamdiskId) },
		"root-device-name":    func(i *shape.Image) []string { return one(i.RootDeviceName) },
		"root-device-type":    func(i *shape.Image) []string { return one(i.RootDeviceType) },
		"state":               func(i *shape.Image) []string { return one(i.State) },
		"virtualization-type": func(i *shape.Image) []string { return one(i.VirtualizationType) },
	},
	Never: []string{
		"image-allowed", "owner-alias", "source-image-id", "source-image-region", "source-instance-id", "sriov-net-support", "public-ssm-parameter-name",
	},
	Tags: func(i *shape.Image) map[string]string { return mapTags(i.Tags) },
}

// ofDisks is a filter on an image's mappings.
func ofDisks(value func(*shape.EbsBlockDevice) []string) func(*shape.Image) []string {
	return func(i *shape.Image) (out []string) {
		for _, m := range i.BlockDeviceMappings {
			if m.Ebs != nil {
				out = append(out, value(m.Ebs)...)
			}
		}
		return out
	}
}

func stateReason(i *shape.Image, value func(*shape.StateReason) string) []string {
	if i.StateReason == nil {
		return nil
	}
	return one(value(i.StateReason))
}

// launchers gives the words of ExecutableUsers that fit an image: explicit permissions of the caller.
func launchers(info *call.Info, img *resource.Image) (out []string) {
	if img.Public {
		out = append(out, "all")
	}
	for _, a := range img.LaunchAccounts {
		out = append(out, a)
		if a == info.AccountID {
			out = append(out, "self")
		}
	}
	return out
}

// owners gives the words of Owners that fit an image.
func owners(info *call.Info, img *resource.Image) []string {
	if img.AccountID == info.AccountID {
		return []string{img.AccountID, "self"}
	}
	return []string{img.AccountID}
}

// DescribeImages lists the images that the caller may see.
func (s *Service) DescribeImages(ctx context.Context, in *shape.DescribeImagesRequest) (*shape.DescribeImagesResult, error) {
	info, r, err := s.read(ctx, in, in.DryRun)
	if err != nil {
		return nil, err
	}
	match, err := compile(imageFilters, in.Filters)
	if err != nil {
		return nil, err
	}
	if in.MaxResults != nil && len(in.ImageIds) > 0 {
		return nil, errCombination("The parameter imageIdsSet cannot be used with the parameter maxResults")
	}
	limit, start, err := s.page(info, "DescribeImages", in.MaxResults, in.NextToken, 1)
	if err != nil {
		return nil, err
	}
	for _, o := range in.Owners {
		if !isAccount(o) && !slices.Contains([]string{"self", "amazon", "aws-marketplace", "aws-backup-vault"}, o) {
			return nil, awserr.New("InvalidUserID.Malformed", "Invalid user id: \"%s\"", o)
		}
	}
	for _, u := range in.ExecutableUsers {
		if !isAccount(u) && u != "self" && u != "all" {
			return nil, awserr.New("InvalidUserID.Malformed", "Invalid user id: \"%s\"", u)
		}
	}
	var candidates []*resource.Image
	for _, id := range in.ImageIds {
		img, err := findImage(r, info, id)
		if err != nil {
			return nil, err
		}
		candidates = append(candidates, img)
	}
	if len(in.ImageIds) == 0 {
		for img := range store.ImagesByOwner.By(r, ownerKey(info)) {
			candidates = append(candidates, img)
		}
		for _, who := range []string{"all", info.AccountID} {
			for img := range store.ImagesShared.By(r, info.Region+"/"+who) {
				candidates = append(candidates, img)
			}
		}
	}
	slices.SortFunc(candidates, func(a, b *resource.Image) int { return strings.Compare(a.ID, b.ID) })
	candidates = slices.Compact(candidates)
	out := []shape.Image{}
	for _, img := range candidates {
		if len(in.ImageIds) == 0 && img.AccountID != info.AccountID && s.deprecated(img) && (in.IncludeDeprecated == nil || !*in.IncludeDeprecated) {
			continue
		}
		if len(in.ImageIds) == 0 && img.State == resource.ImageDisabled && !isTrue(in.IncludeDisabled) {
			continue
		}
		if img.ID < start || !visible(info, img) || !fits(in.Owners, owners(info, img)) || !fits(in.ExecutableUsers, launchers(info, img)) {
			continue
		}
		if show := shapeImage(info, img); match == nil || match(&show) {
			if out = append(out, show); len(out) > limit {
				break
			}
		}
	}
	list, next, err := cut(s, info, "DescribeImages", out, limit, func(i shape.Image) string { return i.ImageId })
	return &shape.DescribeImagesResult{Images: list, NextToken: next}, err
}

// fits says whether one of the words is wanted; nothing wanted is everything.
func fits(wanted, words []string) bool {
	return len(wanted) == 0 || slices.ContainsFunc(words, func(w string) bool { return slices.Contains(wanted, w) })
}

func isAccount(id string) bool {
	return len(id) == 12 && strings.Trim(id, "0123456789") == ""
}

// DeregisterImage takes an image away. What runs from it goes on; the record goes with its last instance.
func (s *Service) DeregisterImage(ctx context.Context, in *shape.DeregisterImageRequest) (*shape.DeregisterImageResult, error) {
	info, err := s.begin(ctx, in)
	if err != nil {
		return nil, err
	}
	if in.ImageId == "" {
		return nil, errMissing("imageId")
	}
	err = s.update(ctx, in.DryRun, func(tx *store.Tx) error {
		img, err := ownImage(tx, info, in.ImageId)
		if err != nil {
			return err
		}
		if img.Protected || s.now().Before(img.ProtectedUntil) {
			return awserr.New("OperationNotPermitted", "The image %s is protected from deregistration: switch its deregistration protection off first; with a cooldown it lasts a day longer.", img.ID)
		}
		if store.InstancesByImage.One(tx, img.ID) == nil {
			store.Images.Delete(tx, img.ID)
			return nil
		}
		next := *img
		next.State, next.Public, next.LaunchAccounts = resource.ImageDeregistered, false, nil
		return store.Images.Put(tx, &next)
	})
	if err != nil {
		return nil, err
	}
	return &shape.DeregisterImageResult{Return: true}, nil
}
