package ec2

import (
	"context"
	"regexp"
	"slices"

	"karri.dev/internal/aws/awserr"
	shape "karri.dev/internal/aws/shape/ec2"
	"karri.dev/internal/resource"
	"karri.dev/internal/store"
)

// Product codes mark an image as somebody's product; its instances have them too, and the one who gave them can ask
// whether an instance has. All are of one type here, since there is no market.
const (
	codeType = "devpay"
	maxCodes = 32
)

var codeForm = regexp.MustCompile(`^[A-Za-z0-9-]{1,64}$`)

func shapeCodes(codes []string) []shape.ProductCode {
	out := []shape.ProductCode{}
	for _, c := range codes {
		out = append(out, shape.ProductCode{ProductCodeId: c, ProductCodeType: codeType})
	}
	return out
}

// codesOf gives an image's codes; nil is an image that is forgotten.
func codesOf(img *resource.Image) []string {
	if img == nil {
		return nil
	}
	return img.ProductCodes
}

func codesShown(i *shape.Image) (out []string) {
	for _, c := range i.ProductCodes {
		out = append(out, c.ProductCodeId)
	}
	return out
}

func codeTypes(codes []string) []string {
	if len(codes) == 0 {
		return nil
	}
	return []string{codeType}
}

// addCodes gives an image more product codes.
func addCodes(img *resource.Image, codes []string) error {
	list := slices.Clone(img.ProductCodes)
	for _, c := range codes {
		if !codeForm.MatchString(c) {
			return awserr.New("InvalidAMIAttributeItemValue", "Invalid attribute item value \"%s\" for productCode item type.", c)
		}
		if !slices.Contains(list, c) {
			list = append(list, c)
		}
	}
	if len(list) > maxCodes {
		return awserr.New("ResourceLimitExceeded", "An image can have at most %d product codes.", maxCodes)
	}
	img.ProductCodes = list
	return nil
}

// ConfirmProductInstance says whether an instance is of an image with a product code: of the image's owner only.
func (s *Service) ConfirmProductInstance(ctx context.Context, in *shape.ConfirmProductInstanceRequest) (*shape.ConfirmProductInstanceResult, error) {
	info, r, err := s.read(ctx, in, in.DryRun)
	if err != nil {
		return nil, err
	}
	switch {
	case in.InstanceId == "":
		return nil, errMissing("instanceId")
	case in.ProductCode == "":
		return nil, errMissing("productCode")
	case !wellFormed(instances.prefix, in.InstanceId):
		return nil, awserr.New(instances.malformed, "Invalid id: \"%s\" (expecting \"i-...\")", in.InstanceId)
	}
	no := &shape.ConfirmProductInstanceResult{Return: false}
	inst := store.Instances.Get(r, in.InstanceId)
	if inst == nil || inst.Region != info.Region {
		return no, nil
	}
	img := store.Images.Get(r, inst.ImageID)
	if img == nil || img.AccountID != info.AccountID || !slices.Contains(img.ProductCodes, in.ProductCode) {
		return no, nil
	}
	return &shape.ConfirmProductInstanceResult{OwnerId: inst.AccountID, Return: true}, nil
}
