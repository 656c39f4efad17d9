package ec2

import (
	"context"
	"encoding/base64"
	"errors"

	"karri.dev/internal/aws/awserr"
	"karri.dev/internal/aws/call"
	shape "karri.dev/internal/aws/shape/ec2"
	"karri.dev/internal/compute"
	"karri.dev/internal/lifecycle"
	"karri.dev/internal/resource"
	"karri.dev/internal/store"
)

// maxConsole is how much of the console EC2 answers, in bytes.
const maxConsole = 64 << 10

// maxInstances is how many instances one call may name.
const maxInstances = 1000

func checkInstanceIDs(ids []string) error {
	if len(ids) == 0 {
		return errMissing("InstanceId")
	}
	if len(ids) > maxInstances {
		return awserr.New("InvalidParameterValue", "At most %d instances can be named in one request.", maxInstances)
	}
	return nil
}

// findInstances gives each instance once, in the order given. One that is not there fails all.
func findInstances(r store.Reader, info *call.Info, ids []string) ([]*resource.Instance, error) {
	var out []*resource.Instance
	seen := make(map[string]bool, len(ids))
	for _, id := range ids {
		if seen[id] {
			continue
		}
		seen[id] = true
		inst, err := instances.find(r, info, id)
		if err != nil {
			return nil, err
		}
		out = append(out, inst)
	}
	return out, nil
}

func shapeState(s resource.InstanceState) *shape.InstanceState {
	return &shape.InstanceState{Code: s.Code(), Name: string(s)}
}

// TerminateInstances ends instances: all that are named, or none.
func (s *Service) TerminateInstances(ctx context.Context, in *shape.TerminateInstancesRequest) (*shape.TerminateInstancesResult, error) {
	info, err := s.begin(ctx, in)
	if err != nil {
		return nil, err
	}
	if err := checkInstanceIDs(in.InstanceIds); err != nil {
		return nil, err
	}
	var out []shape.InstanceStateChange
	err = s.update(ctx, in.DryRun, func(tx *store.Tx) error {
		out = nil
		list, err := findInstances(tx, info, in.InstanceIds)
		if err != nil {
			return err
		}
		for _, inst := range list {
			if inst.APITermination && inst.Power != resource.PowerGone {
				return awserr.New("OperationNotPermitted", "The instance '%s' may not be terminated. Modify its 'disableApiTermination' instance attribute and try again.", inst.ID)
			}
		}
		now := s.now()
		for _, inst := range list {
			next, err := lifecycle.End(tx, inst, lifecycle.ByUser, now)
			if err != nil {
				return err
			}
			out = append(out, shape.InstanceStateChange{InstanceId: inst.ID, CurrentState: shapeState(next.State), PreviousState: shapeState(inst.State)})
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	return &shape.TerminateInstancesResult{TerminatingInstances: out}, nil
}

// RebootInstances asks guests to restart.
func (s *Service) RebootInstances(ctx context.Context, in *shape.RebootInstancesRequest) (*shape.RebootInstancesResult, error) {
	info, err := s.begin(ctx, in)
	if err != nil {
		return nil, err
	}
	if err := checkInstanceIDs(in.InstanceIds); err != nil {
		return nil, err
	}
	err = s.update(ctx, in.DryRun, func(tx *store.Tx) error {
		list, err := findInstances(tx, info, in.InstanceIds)
		if err != nil {
			return err
		}
		for _, inst := range list {
			if inst.Power != resource.PowerOn {
				return errInstanceState(inst.ID, string(inst.State))
			}
			next := *inst
			next.Reboots++
			if err := store.Instances.Put(tx, &next); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	return &shape.RebootInstancesResult{}, nil
}

// GetConsoleOutput answers the end of the serial console, live.
func (s *Service) GetConsoleOutput(ctx context.Context, in *shape.GetConsoleOutputRequest) (*shape.GetConsoleOutputResult, error) {
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
	out := &shape.GetConsoleOutputResult{InstanceId: inst.ID, Timestamp: s.now()}
	if inst.Node == "" || !inst.State.Alive() {
		return out, nil
	}
	data, err := s.Console.Console(ctx, inst.ID, maxConsole)
	if err != nil && !errors.Is(err, compute.ErrNotFound) {
		return nil, awserr.New("Unavailable", "The console of the instance '%s' cannot be read at the moment.", inst.ID).WithStatus(503).Because(err)
	}
	out.Output = base64.StdEncoding.EncodeToString(data)
	return out, nil
}
