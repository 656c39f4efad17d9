package zone

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"karri.dev/internal/compute"
	"karri.dev/internal/nodeapi"
	"karri.dev/internal/pki"
	"karri.dev/internal/resource"
	"karri.dev/internal/store"
)

// session is the conversation with one connected node.
type session struct {
	zone  *Zone
	node  string
	link  nodeapi.ZoneLink
	end   context.CancelCauseFunc
	done  <-chan struct{} // closed at the session's end
	wake  chan struct{}   // holds at most one word: the desired state may have changed
	asks  chan nodeapi.Ask
	taken chan uint64 // flow records that are delivered

	mu      sync.Mutex
	nextAsk uint64
	waiting map[uint64]chan *nodeapi.Answer
}

// Attach implements nodeapi.Server.
func (z *Zone) Attach(ctx context.Context, who pki.Identity, link nodeapi.ZoneLink) error {
	node, err := z.admit(who)
	if err != nil {
		return err
	}
	first, err := link.Recv()
	if err != nil {
		return err
	}
	if first.Hello == nil {
		return errors.New("a node's first message must be its hello")
	}
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	s := &session{
		zone: z, node: node.ID, link: link, end: cancel, done: ctx.Done(),
		wake: make(chan struct{}, 1), asks: make(chan nodeapi.Ask), taken: make(chan uint64), waiting: map[uint64]chan *nodeapi.Answer{},
	}
	// The session is known before the record says so: a revocation finds either the one or the other, and
	// nobody marks as down what is here.
	z.mu.Lock()
	if old := z.sessions[node.ID]; old != nil {
		old.end(errors.New("the node connected again"))
	}
	z.sessions[node.ID] = s
	z.mu.Unlock()
	defer z.left(s)
	if err := z.arrived(ctx, node.ID, first.Hello); err != nil {
		return err
	}
	z.deps.Log.Info("node connected", "node", node.ID, "name", first.Hello.Name, "accel", first.Hello.Accel.Name)
	z.place.Poke()
	s.poke()
	// Recv cannot be interrupted but by the stream's end, which follows from our return.
	received := make(chan error, 1)
	go func(ctx context.Context) { received <- s.receive(ctx) }(ctx)
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error { return s.send(ctx) })
	g.Go(func() error {
		select {
		case err := <-received:
			return fmt.Errorf("node %s: %w", s.node, err)
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	})
	return g.Wait()
}

// arrived records what a node says of itself.
func (z *Zone) arrived(ctx context.Context, id string, h *nodeapi.Hello) error {
	return z.deps.Store.Update(ctx, func(tx *store.Tx) error {
		old := store.Nodes.Get(tx, id)
		if old == nil || old.Revoked {
			return errRevoked
		}
		n := *old
		n.Name, n.Underlay, n.Capacity, n.Version = h.Name, h.Underlay, h.Capacity, h.Version
		n.Accel, n.AccelWhy, n.VPN, n.Up = h.Accel.Name, h.Accel.Reason, h.VPN, true
		if n == *old {
			return nil
		}
		return store.Nodes.Put(tx, &n)
	})
}

func (z *Zone) left(s *session) {
	z.mu.Lock()
	defer z.mu.Unlock()
	if z.sessions[s.node] == s {
		delete(z.sessions, s.node)
	}
	z.deps.Log.Info("node disconnected", "node", s.node)
}

// watchNodes marks nodes as down that have been away for longer than the grace time.
func (z *Zone) watchNodes(ctx context.Context) error {
	away := map[string]time.Time{}
	tick := time.NewTicker(max(z.cfg.NodeGrace/4, 10*time.Millisecond))
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-tick.C:
		}
		now := z.deps.Now()
		for n := range store.NodesByZone.By(z.deps.Store.Snapshot(), z.cfg.Name) {
			z.mu.Lock()
			_, here := z.sessions[n.ID]
			z.mu.Unlock()
			if here || !n.Up {
				delete(away, n.ID)
				continue
			}
			since, known := away[n.ID]
			if !known {
				away[n.ID] = now
			} else if now.Sub(since) >= z.cfg.NodeGrace {
				delete(away, n.ID)
				if err := z.markDown(ctx, n.ID); err != nil {
					z.deps.Log.Warn("cannot mark a node as down", "node", n.ID, "error", err)
				}
			}
		}
	}
}

func (z *Zone) markDown(ctx context.Context, id string) error {
	z.deps.Log.Warn("node is down", "node", id)
	return z.deps.Store.Update(ctx, func(tx *store.Tx) error {
		old := store.Nodes.Get(tx, id)
		if old == nil || !old.Up || z.connected(id) {
			return nil
		}
		n := *old
		n.Up = false
		return store.Nodes.Put(tx, &n)
	})
}

// poke says that the desired state may have changed.
func (s *session) poke() {
	select {
	case s.wake <- struct{}{}:
	default:
	}
}

// sendPause is the least time between two desired states for a node. The first after a quiet time goes out at
// once; a thousand launches a second must not make each node take in a thousand states.
const sendPause = 200 * time.Millisecond

// send is the only sender on the link. It compiles at the moment of sending, so that changes that came
// while an earlier state was under way go out together.
func (s *session) send(ctx context.Context) error {
	wake := s.wake
	var rested <-chan time.Time
	for {
		var m nodeapi.FromZone
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-rested:
			wake, rested = s.wake, nil
			continue
		case <-wake:
			snap := s.zone.deps.Store.Snapshot()
			s.zone.makeFor(ctx, snap, s.node)
			node := store.Nodes.Get(snap, s.node)
			if node == nil {
				return errRevoked
			}
			if !s.zone.exportsKnown() {
				continue // woken when they are
			}
			m.Desired = desired(snap, s.node, s.zone.cfg, func(v *resource.VPC) *neighbours { return s.zone.near.of(snap, v) }, s.zone.whereFor(node))
			wake, rested = nil, time.After(sendPause)
		case ask := <-s.asks:
			m.Ask = &ask
		case m.FlowsTaken = <-s.taken:
		}
		if err := s.link.Send(&m); err != nil {
			return fmt.Errorf("send to node %s: %w", s.node, err)
		}
	}
}

func (s *session) receive(ctx context.Context) error {
	for {
		m, err := s.link.Recv()
		if err != nil {
			return err
		}
		switch {
		case m.Report != nil:
			if err := s.zone.observe(ctx, s.node, m.Report); err != nil {
				return err
			}
		case m.Flows != nil:
			if s.zone.deps.Flows != nil {
				go s.deliver(ctx, m.Flows)
			}
		case m.Answer != nil:
			s.mu.Lock()
			c := s.waiting[m.Answer.ID]
			delete(s.waiting, m.Answer.ID)
			s.mu.Unlock()
			if c != nil {
				c <- m.Answer
			}
		}
	}
}

// askTime is how long a node may think about a question.
const askTime = 10 * time.Second

// ask puts a question to the node and waits for its answer.
func (s *session) ask(ctx context.Context, q nodeapi.Ask) ([]byte, error) {
	ctx, cancel := context.WithTimeout(ctx, askTime)
	defer cancel()
	c := make(chan *nodeapi.Answer, 1)
	s.mu.Lock()
	s.nextAsk++
	q.ID = s.nextAsk
	s.waiting[q.ID] = c
	s.mu.Unlock()
	defer func() {
		s.mu.Lock()
		delete(s.waiting, q.ID)
		s.mu.Unlock()
	}()
	select {
	case s.asks <- q:
	case <-s.done:
		return nil, fmt.Errorf("node %s is not connected", s.node)
	case <-ctx.Done():
		return nil, fmt.Errorf("ask node %s: %w", s.node, ctx.Err())
	}
	select {
	case a := <-c:
		if a.Error != "" {
			return nil, errors.New(a.Error)
		}
		if a.NoScreen {
			return nil, compute.ErrNoScreen
		}
		return a.Data, nil
	case <-s.done:
		return nil, fmt.Errorf("node %s has disconnected", s.node)
	case <-ctx.Done():
		return nil, fmt.Errorf("node %s does not answer: %w", s.node, ctx.Err())
	}
}

// placeAll gives every waiting instance and NAT gateway of the zone a node, and ends what can have none any more.
func (z *Zone) placeAll(ctx context.Context) error {
	snap := z.deps.Store.Snapshot()
	if store.InstancesUnplaced.One(snap, z.cfg.Name) == nil && len(z.lost(snap)) == 0 && !z.natsWaiting(snap) && !z.vpnsWaiting(snap) {
		return nil
	}
	return z.deps.Store.Update(ctx, func(tx *store.Tx) error {
		if err := z.endLost(tx); err != nil {
			return err
		}
		if err := z.placeNATs(tx); err != nil {
			return err
		}
		if err := z.placeVPNs(tx); err != nil {
			return err
		}
		return z.placeIn(tx)
	})
}

// connected says whether the node has a session.
func (z *Zone) connected(id string) bool {
	z.mu.Lock()
	defer z.mu.Unlock()
	return z.sessions[id] != nil
}

var _ nodeapi.Server = (*Zone)(nil)

// nodes gives the zone's nodes that take instances, with what they hold.
func (z *Zone) candidates(r store.Reader) []*resource.Node {
	var out []*resource.Node
	for n := range store.NodesByZone.By(r, z.cfg.Name) {
		if n.Up && !n.Revoked && z.connected(n.ID) {
			out = append(out, n)
		}
	}
	return out
}
