package sim

import (
	"context"
	"errors"
	"flag"
	"math/rand/v2"
	"net/url"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"karri.dev/internal/resource"
	"karri.dev/internal/store"
)

var (
	seed     = flag.Uint64("sim.seed", 0, "run this seed only")
	seeds    = flag.Int("sim.seeds", 1, "how many seeds to run")
	nodes    = flag.Int("sim.nodes", 1000, "nodes of the large cloud")
	launches = flag.Int("sim.launches", 1000, "launches in the large cloud")
)

// inCloud runs a test in a cloud of its own, in its own time.
func inCloud(t *testing.T, cfg Config, test func(t *testing.T, c *Cloud)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		c, err := New(t.Context(), cfg)
		if err != nil {
			t.Fatal(err)
		}
		ctx, stop := context.WithCancel(t.Context())
		done := make(chan error)
		started := make(chan struct{})
		go func() {
			close(started)
			done <- c.Run(ctx)
		}()
		<-started
		synctest.Wait()
		defer func() {
			stop()
			if err := <-done; err != nil && !errors.Is(err, context.Canceled) {
				t.Error(err)
			}
			if err := c.Close(); err != nil {
				t.Error(err)
			}
		}()
		test(t, c)
		if err := c.Check(); err != nil {
			t.Error(err)
		}
	})
}

// settle waits until every instance is as it should be, in the state and on its host.
func settle(t *testing.T, c *Cloud, patience time.Duration) {
	t.Helper()
	for end := time.Now().Add(patience); time.Now().Before(end); time.Sleep(5 * time.Second) {
		if len(c.Unsettled()) == 0 && c.CheckSettled() == nil {
			return
		}
	}
	left := c.Unsettled()
	t.Fatalf("not settled after %v:\n%s\n%v", patience, strings.Join(left[:min(len(left), 20)], "\n"), c.CheckSettled())
}

// endAll terminates what lives, and checks that nothing is left.
func endAll(t *testing.T, c *Cloud) {
	t.Helper()
	for _, a := range c.Accounts {
		var ids []string
		for inst := range store.InstancesByOwner.By(c.Store.Snapshot(), a.ID+"/"+Region) {
			if inst.State.Alive() {
				ids = append(ids, inst.ID)
			}
		}
		for len(ids) > 0 {
			n := min(len(ids), 1000)
			if err := c.Terminate(t.Context(), a, ids[:n]...); err != nil {
				t.Fatal(err)
			}
			ids = ids[n:]
		}
	}
	settle(t, c, 5*time.Minute)
	snap := c.Store.Snapshot()
	for inst := range store.Instances.All(snap) {
		if inst.State != resource.Terminated {
			t.Errorf("%s is %s", inst.ID, inst.State)
		}
	}
	if n := store.Interfaces.Len(snap); n != 0 {
		t.Errorf("%d interfaces are left", n)
	}
	for _, n := range c.Nodes {
		if m := n.machines(); len(m) > 0 && !n.Revoked() {
			t.Errorf("node %s still has %v", n.ID, m)
		}
	}
}

// TestLaunch is the plain story through the front door.
func TestLaunch(t *testing.T) {
	inCloud(t, Config{Nodes: 3, Accounts: 2}, func(t *testing.T, c *Cloud) {
		code, body, err := c.Call(t.Context(), c.Accounts[1], "ec2", url.Values{
			"Action": {"RunInstances"}, "Version": {"2016-11-15"}, "ImageId": {c.Image}, "InstanceType": {"t3.nano"}, "MinCount": {"6"}, "MaxCount": {"6"},
		})
		if err != nil || code != 200 {
			t.Fatal(code, body, err)
		}
		settle(t, c, time.Minute)
		if n := c.Running(); n != 6 {
			t.Errorf("%d machines run", n)
		}
		for _, n := range c.Nodes {
			if len(n.machines()) != 2 {
				t.Errorf("node %s has %d machines", n.ID, len(n.machines()))
			}
		}
		_, body, err = c.Call(t.Context(), c.Accounts[1], "ec2", url.Values{"Action": {"DescribeInstances"}, "Version": {"2016-11-15"}})
		if err != nil || strings.Count(body, "<name>running</name>") != 6 {
			t.Error(body, err)
		}
		_, body, err = c.Call(t.Context(), c.Accounts[0], "ec2", url.Values{"Action": {"DescribeInstances"}, "Version": {"2016-11-15"}})
		if err != nil || strings.Contains(body, "<instanceId>") {
			t.Error("another account sees them:", body, err)
		}
		endAll(t, c)
	})
}

// TestFaults runs a large cloud in which everything goes wrong.
func TestFaults(t *testing.T) {
	for i := range uint64(*seeds) {
		s := i + 1
		if *seed != 0 {
			s = *seed
		}
		cfg := Config{Nodes: *nodes, Accounts: max(2, *launches/50), Seed: s, Faults: Faults{
			StartLatency: time.Second, GuestLatency: 2 * time.Second, SlowNodes: 50, StartFailures: 0.15, NetworkErrors: 0.01,
			Every: 100 * time.Millisecond,
		}}
		began := time.Now()
		inCloud(t, cfg, func(t *testing.T, c *Cloud) { chaos(t, c, *launches) })
		t.Logf("seed %d: %d nodes, %d launches, in %v", s, *nodes, *launches, time.Since(began).Round(time.Millisecond))
		if t.Failed() {
			t.Fatalf("again with: go test ./internal/sim -run TestFaults -sim.seed=%d -sim.nodes=%d -sim.launches=%d", s, *nodes, *launches)
		}
		if *seed != 0 {
			return
		}
	}
}

// chaos uses a cloud for two minutes while it breaks.
func chaos(t *testing.T, c *Cloud, launches int) {
	ctx, stop := context.WithCancel(t.Context())
	var running sync.WaitGroup
	running.Go(func() { c.Chaos(ctx) })
	running.Go(func() {
		for ctx.Err() == nil {
			if err := c.Check(); err != nil {
				t.Error(err)
				return
			}
			time.Sleep(5 * time.Second)
		}
	})
	const length = 2 * time.Minute
	var users sync.WaitGroup
	for i, a := range c.Accounts {
		users.Go(func() { use(t, c, a, rand.New(rand.NewPCG(c.cfg.Seed, uint64(i))), launches/len(c.Accounts), length) })
	}
	users.Wait()
	stop()
	running.Wait()
	settle(t, c, 5*time.Minute)
	ended := map[string]int{}
	for inst := range store.Instances.All(c.Store.Snapshot()) {
		ended[string(inst.State)+" "+inst.StateReason.Code]++
	}
	t.Log(ended)
	endAll(t, c)
}

// use is what one account does.
func use(t *testing.T, c *Cloud, a Account, random *rand.Rand, launches int, length time.Duration) {
	var ids []string
	kinds := []string{"t3.nano", "t3.micro", "t3.medium", "m5.large", "m5.xlarge"}
	for left := launches; left > 0; {
		time.Sleep(time.Duration(random.ExpFloat64() * float64(length) / float64(launches)))
		switch p := random.IntN(10); {
		case p < 6:
			n := min(left, 1+random.IntN(4))
			got, err := c.Launch(t.Context(), a, kinds[random.IntN(len(kinds))], n)
			if err != nil {
				t.Error(err)
				return
			}
			ids = append(ids, got...)
			left -= n
		case len(ids) == 0:
		case p < 8:
			i := random.IntN(len(ids))
			if err := c.Terminate(t.Context(), a, ids[i]); err != nil {
				t.Error(err)
				return
			}
			ids = append(ids[:i], ids[i+1:]...)
		default:
			_ = c.Reboot(t.Context(), a, ids[random.IntN(len(ids))]) // it may have ended
		}
	}
}
