package ec2

import (
	"context"
	"encoding/base64"
	"errors"
	"regexp"

	"karri.dev/internal/aws/awserr"
	shape "karri.dev/internal/aws/shape/ec2"
	"karri.dev/internal/compute"
	"karri.dev/internal/resource"
)

// GetConsoleScreenshot answers what the instance's display shows, as a JPEG.
func (s *Service) GetConsoleScreenshot(ctx context.Context, in *shape.GetConsoleScreenshotRequest) (*shape.GetConsoleScreenshotResult, error) {
	info, r, err := s.read(ctx, in, in.DryRun)
	if err != nil {
		return nil, err
	}
	if in.InstanceId == "" {
		return nil, errMissing("InstanceId")
	}
	inst, err := instances.find(r, info, in.InstanceId)
	if err != nil {
		return nil, err
	}
	if inst.State != resource.Running {
		return nil, errInstanceState(inst.ID, string(inst.State))
	}
	picture, err := s.Console.Screen(ctx, inst.ID)
	switch {
	case errors.Is(err, compute.ErrNoScreen):
		return nil, errUnsupported("The instance '%s' has no display.", inst.ID)
	case err != nil || len(picture) == 0:
		return nil, awserr.New("Unavailable", "The display of the instance '%s' cannot be read at the moment.", inst.ID).WithStatus(503).Because(err)
	}
	return &shape.GetConsoleScreenshotResult{InstanceId: inst.ID, ImageData: base64.StdEncoding.EncodeToString(picture)}, nil
}

// password is how a Windows guest tells its administrator's password on the serial console, encrypted for the
// key pair: AWS's own agents write it so.
var password = regexp.MustCompile(`(?s)<Password>\s*([A-Za-z0-9+/=\s]{1,1000}?)\s*</Password>`)

// GetPasswordData answers the encrypted password that a Windows guest wrote on its console; "" until it has,
// and for guests that never do.
func (s *Service) GetPasswordData(ctx context.Context, in *shape.GetPasswordDataRequest) (*shape.GetPasswordDataResult, error) {
	info, r, err := s.read(ctx, in, in.DryRun)
	if err != nil {
		return nil, err
	}
	if in.InstanceId == "" {
		return nil, errMissing("InstanceId")
	}
	inst, err := instances.find(r, info, in.InstanceId)
	if err != nil {
		return nil, err
	}
	out := &shape.GetPasswordDataResult{InstanceId: inst.ID, Timestamp: s.now()}
	if inst.Node == "" || !inst.State.Alive() {
		return out, nil
	}
	data, err := s.Console.Console(ctx, inst.ID, 1<<20)
	if err != nil && !errors.Is(err, compute.ErrNotFound) {
		return nil, awserr.New("Unavailable", "The console of the instance '%s' cannot be read at the moment.", inst.ID).WithStatus(503).Because(err)
	}
	if all := password.FindAllSubmatch(data, -1); len(all) > 0 {
		out.PasswordData = string(all[len(all)-1][1])
	}
	return out, nil
}

// GetSerialConsoleAccessStatus says that there are no serial console sessions.
func (s *Service) GetSerialConsoleAccessStatus(ctx context.Context, in *shape.GetSerialConsoleAccessStatusRequest) (*shape.GetSerialConsoleAccessStatusResult, error) {
	if _, _, err := s.read(ctx, in, in.DryRun); err != nil {
		return nil, err
	}
	return &shape.GetSerialConsoleAccessStatusResult{}, nil
}

// EnableSerialConsoleAccess refuses: nothing here could be allowed by it.
func (s *Service) EnableSerialConsoleAccess(ctx context.Context, in *shape.EnableSerialConsoleAccessRequest) (*shape.EnableSerialConsoleAccessResult, error) {
	if _, err := s.begin(ctx, in); err != nil {
		return nil, err
	}
	return nil, errUnsupported("Serial console sessions are not supported by this cloud.")
}

// DisableSerialConsoleAccess leaves it at that.
func (s *Service) DisableSerialConsoleAccess(ctx context.Context, in *shape.DisableSerialConsoleAccessRequest) (*shape.DisableSerialConsoleAccessResult, error) {
	if _, _, err := s.read(ctx, in, in.DryRun); err != nil {
		return nil, err
	}
	return &shape.DisableSerialConsoleAccessResult{}, nil
}
