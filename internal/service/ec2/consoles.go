package ec2

import (
	"context"
	"encoding/base64"
	"errors"
	"regexp"

	"karri.dev/internal/aws/awserr"
	"karri.dev/internal/aws/call"
	shape "karri.dev/internal/aws/shape/ec2"
	"karri.dev/internal/compute"
	"karri.dev/internal/resource"
	"karri.dev/internal/store"
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

// computeSettings gives an account's settings in the caller's region.
func computeSettings(r store.Reader, info *call.Info) resource.ComputeSettings {
	if set := store.ComputeSettings.Get(r, ownerKey(info)); set != nil {
		return *set
	}
	return resource.ComputeSettings{Owner: ownerKey(info)}
}

func (s *Service) setCompute(ctx context.Context, in any, dryRun *bool, change func(*resource.ComputeSettings)) error {
	info, err := s.begin(ctx, in)
	if err != nil {
		return err
	}
	return s.update(ctx, dryRun, func(tx *store.Tx) error {
		set := computeSettings(tx, info)
		change(&set)
		return store.ComputeSettings.Put(tx, &set)
	})
}

// GetSerialConsoleAccessStatus says whether the account allows serial console sessions.
func (s *Service) GetSerialConsoleAccessStatus(ctx context.Context, in *shape.GetSerialConsoleAccessStatusRequest) (*shape.GetSerialConsoleAccessStatusResult, error) {
	info, r, err := s.read(ctx, in, in.DryRun)
	if err != nil {
		return nil, err
	}
	return &shape.GetSerialConsoleAccessStatusResult{SerialConsoleAccessEnabled: computeSettings(r, info).SerialConsole}, nil
}

// EnableSerialConsoleAccess allows serial console sessions in the account.
func (s *Service) EnableSerialConsoleAccess(ctx context.Context, in *shape.EnableSerialConsoleAccessRequest) (*shape.EnableSerialConsoleAccessResult, error) {
	if err := s.setCompute(ctx, in, in.DryRun, func(set *resource.ComputeSettings) { set.SerialConsole = true }); err != nil {
		return nil, err
	}
	return &shape.EnableSerialConsoleAccessResult{SerialConsoleAccessEnabled: true}, nil
}

// DisableSerialConsoleAccess forbids them.
func (s *Service) DisableSerialConsoleAccess(ctx context.Context, in *shape.DisableSerialConsoleAccessRequest) (*shape.DisableSerialConsoleAccessResult, error) {
	if err := s.setCompute(ctx, in, in.DryRun, func(set *resource.ComputeSettings) { set.SerialConsole = false }); err != nil {
		return nil, err
	}
	return &shape.DisableSerialConsoleAccessResult{}, nil
}
