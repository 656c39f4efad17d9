package sim

import (
	"context"
	"errors"
	"math/rand/v2"
	"sync"
	"time"

	"karri.dev/internal/compute"
)

// Faults say what goes wrong. The zero Faults are a perfect world in which everything happens at once.
type Faults struct {
	StartLatency  time.Duration // a start takes up to twice that
	GuestLatency  time.Duration // so does a guest's answer to its power button
	SlowNodes     int           // every so-many-th node takes twenty times as long; 0: none
	StartFailures float64       // share of starts that fail
	NetworkErrors float64       // share of changes of a node's network that fail
	// Every is the mean time between two of Chaos's acts.
	Every time.Duration
}

var errSimulated = errors.New("simulated network error")

// network gives the network driver's fault, or nil for none.
func (f Faults) network(seed uint64, number int) func(string) error {
	if f.NetworkErrors == 0 {
		return nil
	}
	var mu sync.Mutex
	random := rand.New(rand.NewPCG(seed, uint64(number)))
	return func(string) error {
		mu.Lock()
		defer mu.Unlock()
		if random.Float64() < f.NetworkErrors {
			return errSimulated
		}
		return nil
	}
}

// Chaos lets things go wrong until ctx ends, and then brings back all that is down.
func (c *Cloud) Chaos(ctx context.Context) {
	random := rand.New(rand.NewPCG(c.cfg.Seed, 'c'))
	defer c.heal()
	var back sync.WaitGroup // what comes back later
	defer back.Wait()
	later := func(mean time.Duration, do func()) {
		d := time.Duration(random.ExpFloat64() * float64(mean))
		back.Go(func() {
			select {
			case <-time.After(d):
			case <-ctx.Done():
			}
			do()
		})
	}
	revoked := 0
	for {
		select {
		case <-ctx.Done():
			return
		case <-time.After(time.Duration(random.ExpFloat64() * float64(c.cfg.Faults.Every))):
		}
		n := c.Nodes[random.IntN(len(c.Nodes))]
		switch p := random.IntN(100); {
		case p < 2:
			c.StopZone()
			later(5*time.Second, c.StartZone)
		case p < 3:
			if revoked < len(c.Nodes)/20 && n.Revoke(ctx) == nil {
				revoked++
			}
		case p < 20: // the agent is restarted
			n.Stop()
			later(10*time.Second, n.Start)
		case p < 35: // longer than the zone's patience, now and then
			n.Disconnect()
			later(30*time.Second, n.Reconnect)
		case p < 50:
			n.HangUp()
		case p < 55:
			n.PowerFailure()
			later(time.Minute, n.Start)
		default:
			c.troubleGuest(random, n, p)
		}
	}
}

// troubleGuest lets something happen to a guest of the node.
func (c *Cloud) troubleGuest(random *rand.Rand, n *Node, p int) {
	machines := n.machines()
	if len(machines) == 0 {
		return
	}
	id := machines[random.IntN(len(machines))].ID
	switch {
	case p < 65:
		n.Host.PowerOff(id)
	case p < 80:
		n.Host.Crash(id)
	case p < 90:
		n.Host.Restart(id)
	default:
		n.Host.Deafen(id)
	}
}

// heal brings back what is down.
func (c *Cloud) heal() {
	c.StartZone()
	for _, n := range c.Nodes {
		n.Reconnect()
		n.Start()
	}
}

// Running counts the machines that execute on all hosts.
func (c *Cloud) Running() (count int) {
	for _, n := range c.Nodes {
		for _, m := range n.machines() {
			if m.State == compute.Running {
				count++
			}
		}
	}
	return count
}
