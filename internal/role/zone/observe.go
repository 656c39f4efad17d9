package zone

import (
	"context"
	"time"

	"karri.dev/internal/compute"
	"karri.dev/internal/lifecycle"
	"karri.dev/internal/nodeapi"
	"karri.dev/internal/resource"
	"karri.dev/internal/store"
)

// observe takes in a node's report: what it says of instances that are the node's becomes their state.
func (z *Zone) observe(ctx context.Context, node string, report *nodeapi.Report) error {
	snap := z.deps.Store.Snapshot()
	news := false
	for _, o := range report.Instances {
		if inst := store.Instances.Get(snap, o.ID); inst != nil && inst.Node == node && (next(inst, o, time.Time{}) != nil || volumesNews(snap, inst, o) || nicNews(snap, inst, o)) {
			news = true
			break
		}
	}
	for _, o := range report.Gateways {
		news = news || gatewayNews(snap, node, o) != nil
	}
	news = news || vpnNews(snap, node, report) || z.anyLearned(snap, node, report)
	if !news {
		return nil
	}
	return z.deps.Store.Update(ctx, func(tx *store.Tx) error {
		for _, o := range report.Gateways {
			if err := observeGateway(tx, node, o); err != nil {
				return err
			}
		}
		if err := observeVPN(tx, node, report, z.deps.Now()); err != nil {
			return err
		}
		if err := z.observeLearned(tx, node, report); err != nil {
			return err
		}
		for _, o := range report.Instances {
			inst := store.Instances.Get(tx, o.ID)
			if inst == nil || inst.Node != node {
				continue // no node speaks for another's instances
			}
			if err := observeNICs(tx, inst, o); err != nil {
				return err
			}
			inst = store.Instances.Get(tx, o.ID)
			change := next(inst, o, z.deps.Now())
			if inst.State.Alive() {
				if err := observeVolumes(tx, inst, o, z.deps.Now()); err != nil {
					return err
				}
			}
			if change == nil {
				continue
			}
			z.deps.Log.Info("instance changed", "instance", inst.ID, "from", inst.State, "to", change.State, "reason", change.StateReason.Code)
			if change.State == resource.Terminated {
				if _, err := lifecycle.Finish(tx, change, z.deps.Now()); err != nil {
					return err
				}
			} else if change.State == resource.Stopped {
				if err := lifecycle.Stopped(tx, change); err != nil {
					return err
				}
			} else if err := store.Instances.Put(tx, change); err != nil {
				return err
			}
		}
		return nil
	})
}

// next gives the instance as it becomes by an observation, or nil where nothing changes. It is pure.
func next(inst *resource.Instance, o nodeapi.Observed, now time.Time) *resource.Instance {
	if !inst.State.Alive() || o.Power != inst.Power {
		return nil
	}
	n := *inst
	switch inst.Power {
	case resource.PowerOn:
		switch {
		case o.State == compute.Running && inst.State != resource.Running:
			n.State, n.StateReason, n.HasRun = resource.Running, resource.StateReason{}, inst.RootDevice != ""
		case o.State == compute.Off: // the guest powered itself off
			n.StateReason = lifecycle.ByGuest
			n.StateReason.At = now
			if inst.OnShutdown == "stop" {
				n.Power, n.State = resource.PowerOff, resource.Stopped
			} else {
				n.Power, n.State = resource.PowerGone, resource.ShuttingDown
			}
		case o.State == compute.Failed && o.Final && inst.HasRun:
			n.Power, n.State = resource.PowerOff, resource.Stopping // until its node says that it is off
			n.StateReason = resource.StateReason{Code: "Server.InternalError", Message: "Server.InternalError: " + o.Reason, At: now}
		case o.State == compute.Failed && o.Final:
			n.Power, n.State = resource.PowerGone, resource.ShuttingDown
			n.StateReason = resource.StateReason{Code: "Server.InternalError", Message: "Server.InternalError: " + o.Reason, At: now}
		default:
			return nil
		}
	case resource.PowerOff:
		if o.State == compute.Running || inst.State == resource.Stopped {
			return nil
		}
		n.State = resource.Stopped
	case resource.PowerGone:
		if o.State != compute.Absent {
			return nil
		}
		n.State = resource.Terminated
	}
	return &n
}
