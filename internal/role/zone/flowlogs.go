package zone

import (
	"context"
	"slices"
	"time"

	"karri.dev/internal/network"
	"karri.dev/internal/nodeapi"
	"karri.dev/internal/resource"
	"karri.dev/internal/store"
)

// flowLogs gives the flow logs of a VPC that concern the node's own interfaces.
func flowLogs(r store.Reader, v *resource.VPC, local []*resource.Interface) (out []network.FlowLog) {
	for l := range store.FlowLogsByVPC.By(r, v.ID) {
		f := network.FlowLog{ID: l.ID, Accepted: l.Traffic != "REJECT", Rejected: l.Traffic != "ACCEPT", Seconds: l.Seconds}
		for _, e := range local {
			if l.Covers(e) && e.AccountID == l.AccountID {
				f.Interfaces = append(f.Interfaces, e.ID)
			}
		}
		if slices.Sort(f.Interfaces); len(f.Interfaces) > 0 {
			out = append(out, f)
		}
	}
	return out
}

// flowRetry is how long a zone waits after records could not be delivered. The node keeps them.
const flowRetry = 10 * time.Second

// deliver has a node's records delivered, and tells the node when they are. One node has one message under way.
func (s *session) deliver(ctx context.Context, f *nodeapi.Flows) {
	for {
		err := s.zone.deps.Flows(ctx, s.node, f.Records)
		if err == nil {
			break
		}
		s.zone.deps.Log.Warn("flow logs are not delivered, will try again", "node", s.node, "error", err)
		select {
		case <-ctx.Done():
			return
		case <-time.After(flowRetry):
		}
	}
	select {
	case s.taken <- f.ID:
	case <-ctx.Done():
	}
}
