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

// How long ahead an image can be deprecated, and how long its protection outlasts a cooldown.
const (
	maxDeprecationYears       = 10
	maxPublicDeprecationYears = 2
	protectionCooldown        = 24 * time.Hour
)

// States of block public access.
const (
	blockNewSharing = "block-new-sharing"
	unblocked       = "unblocked"
)

// changeImage changes an image of the caller's.
func (s *Service) changeImage(ctx context.Context, in any, dryRun *bool, id string, change func(img *resource.Image) error) error {
	info, err := s.begin(ctx, in)
	if err != nil {
		return err
	}
	if id == "" {
		return errMissing("imageId")
	}
	return s.update(ctx, dryRun, func(tx *store.Tx) error {
		img, err := ownImage(tx, info, id)
		if err != nil {
			return err
		}
		next := *img
		if err := change(&next); err != nil {
			return err
		}
		return store.Images.Put(tx, &next)
	})
}

// DisableImage keeps an image from being launched. It is private then, and stays so.
func (s *Service) DisableImage(ctx context.Context, in *shape.DisableImageRequest) (*shape.DisableImageResult, error) {
	err := s.changeImage(ctx, in, in.DryRun, in.ImageId, func(img *resource.Image) error {
		switch {
		case img.Kind != "machine":
			return errUnsupported("The image %s is a %s: only machine images can be disabled.", img.ID, img.Kind)
		case img.State != resource.ImageAvailable && img.State != resource.ImageDisabled:
			return awserr.New("InvalidAMIID.Unavailable", "The image ID '%s' is not available", img.ID)
		}
		img.State, img.Public, img.LaunchAccounts = resource.ImageDisabled, false, nil
		return nil
	})
	if err != nil {
		return nil, err
	}
	return &shape.DisableImageResult{Return: true}, nil
}

// EnableImage takes that back.
func (s *Service) EnableImage(ctx context.Context, in *shape.EnableImageRequest) (*shape.EnableImageResult, error) {
	err := s.changeImage(ctx, in, in.DryRun, in.ImageId, func(img *resource.Image) error {
		if img.State != resource.ImageAvailable && img.State != resource.ImageDisabled {
			return awserr.New("InvalidAMIID.Unavailable", "The image ID '%s' is not available", img.ID)
		}
		img.State = resource.ImageAvailable
		return nil
	})
	if err != nil {
		return nil, err
	}
	return &shape.EnableImageResult{Return: true}, nil
}

// EnableImageDeprecation says from when on an image is old.
func (s *Service) EnableImageDeprecation(ctx context.Context, in *shape.EnableImageDeprecationRequest) (*shape.EnableImageDeprecationResult, error) {
	err := s.changeImage(ctx, in, in.DryRun, in.ImageId, func(img *resource.Image) error {
		now, years := s.now(), maxDeprecationYears
		if img.Public {
			years = maxPublicDeprecationYears
		}
		switch {
		case in.DeprecateAt.IsZero():
			return errMissing("deprecateAt")
		case !in.DeprecateAt.After(now):
			return awserr.New("InvalidParameterValue", "The deprecation date must be in the future.")
		case in.DeprecateAt.After(now.AddDate(years, 0, 0)):
			return awserr.New("InvalidParameterValue", "The deprecation date can be at most %d years from now.", years)
		}
		img.DeprecatedAt = in.DeprecateAt.UTC().Round(time.Minute)
		return nil
	})
	if err != nil {
		return nil, err
	}
	return &shape.EnableImageDeprecationResult{Return: true}, nil
}

// DisableImageDeprecation takes that back.
func (s *Service) DisableImageDeprecation(ctx context.Context, in *shape.DisableImageDeprecationRequest) (*shape.DisableImageDeprecationResult, error) {
	err := s.changeImage(ctx, in, in.DryRun, in.ImageId, func(img *resource.Image) error {
		img.DeprecatedAt = time.Time{}
		return nil
	})
	if err != nil {
		return nil, err
	}
	return &shape.DisableImageDeprecationResult{Return: true}, nil
}

func (s *Service) deprecated(img *resource.Image) bool {
	return !img.DeprecatedAt.IsZero() && !s.now().Before(img.DeprecatedAt)
}

// protection shows whether an image can be deregistered.
func protection(img *resource.Image) string {
	switch {
	case !img.Protected:
		return "disabled"
	case img.Cooldown:
		return "enabled-with-cooldown"
	}
	return "enabled-without-cooldown"
}

// EnableImageDeregistrationProtection keeps an image from being deregistered.
func (s *Service) EnableImageDeregistrationProtection(ctx context.Context, in *shape.EnableImageDeregistrationProtectionRequest) (*shape.EnableImageDeregistrationProtectionResult, error) {
	out := &shape.EnableImageDeregistrationProtectionResult{}
	err := s.changeImage(ctx, in, in.DryRun, in.ImageId, func(img *resource.Image) error {
		img.Protected, img.Cooldown = true, in.WithCooldown != nil && *in.WithCooldown
		out.Return = protection(img)
		return nil
	})
	if err != nil {
		return nil, err
	}
	return out, nil
}

// DisableImageDeregistrationProtection lets an image be deregistered again, at once or when its cooldown is over.
func (s *Service) DisableImageDeregistrationProtection(ctx context.Context, in *shape.DisableImageDeregistrationProtectionRequest) (*shape.DisableImageDeregistrationProtectionResult, error) {
	out := &shape.DisableImageDeregistrationProtectionResult{}
	err := s.changeImage(ctx, in, in.DryRun, in.ImageId, func(img *resource.Image) error {
		if img.Protected && img.Cooldown {
			img.ProtectedUntil = s.now().Add(protectionCooldown)
		}
		img.Protected, img.Cooldown = false, false
		out.Return = protection(img)
		return nil
	})
	if err != nil {
		return nil, err
	}
	return out, nil
}

// blocksPublic says whether the caller's account keeps its images from being public in this region.
func blocksPublic(r store.Reader, info *call.Info) bool {
	set := store.ImageSettings.Get(r, ownerKey(info))
	return set != nil && set.BlockPublic
}

func (s *Service) blockPublic(ctx context.Context, info *call.Info, dryRun *bool, block bool) error {
	return s.update(ctx, dryRun, func(tx *store.Tx) error {
		return store.ImageSettings.Put(tx, &resource.ImageSettings{AccountID: info.AccountID, Region: info.Region, BlockPublic: block})
	})
}

// EnableImageBlockPublicAccess keeps the account's images from being made public. What is public stays so.
func (s *Service) EnableImageBlockPublicAccess(ctx context.Context, in *shape.EnableImageBlockPublicAccessRequest) (*shape.EnableImageBlockPublicAccessResult, error) {
	info, err := s.begin(ctx, in)
	if err != nil {
		return nil, err
	}
	if in.ImageBlockPublicAccessState == "" {
		return nil, errMissing("ImageBlockPublicAccessState")
	}
	if err := oneOf("ImageBlockPublicAccessState", in.ImageBlockPublicAccessState, blockNewSharing); err != nil {
		return nil, err
	}
	if err := s.blockPublic(ctx, info, in.DryRun, true); err != nil {
		return nil, err
	}
	return &shape.EnableImageBlockPublicAccessResult{ImageBlockPublicAccessState: blockNewSharing}, nil
}

// DisableImageBlockPublicAccess lets images be made public.
func (s *Service) DisableImageBlockPublicAccess(ctx context.Context, in *shape.DisableImageBlockPublicAccessRequest) (*shape.DisableImageBlockPublicAccessResult, error) {
	info, err := s.begin(ctx, in)
	if err != nil {
		return nil, err
	}
	if err := s.blockPublic(ctx, info, in.DryRun, false); err != nil {
		return nil, err
	}
	return &shape.DisableImageBlockPublicAccessResult{ImageBlockPublicAccessState: unblocked}, nil
}

// GetImageBlockPublicAccessState answers whether images can be made public.
func (s *Service) GetImageBlockPublicAccessState(ctx context.Context, in *shape.GetImageBlockPublicAccessStateRequest) (*shape.GetImageBlockPublicAccessStateResult, error) {
	info, r, err := s.read(ctx, in, in.DryRun)
	if err != nil {
		return nil, err
	}
	state := unblocked
	if blocksPublic(r, info) {
		state = blockNewSharing
	}
	return &shape.GetImageBlockPublicAccessStateResult{ImageBlockPublicAccessState: state}, nil
}
