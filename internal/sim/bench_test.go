package sim

import (
	"context"
	"fmt"
	"net/netip"
	"slices"
	"sync"
	"testing"
	"time"

	shape "karri.dev/internal/aws/shape/ec2"
	"karri.dev/internal/network"
	networkfake "karri.dev/internal/network/fake"
	"karri.dev/internal/placement"
	"karri.dev/internal/store"
)

// told is a network that notes when a group got a rule for a port.
type told struct {
	network.Driver
	all *waiters
}

// waiters counts the nodes that have the rule of the moment.
type waiters struct {
	mu   sync.Mutex
	port int
	when map[*told]time.Time
}

func (n *told) Apply(ctx context.Context, s network.State) error {
	err := n.Driver.Apply(ctx, s)
	n.all.mu.Lock()
	defer n.all.mu.Unlock()
	for _, v := range s.VPCs {
		for _, g := range v.Groups {
			if slices.ContainsFunc(g.Rules, func(r network.Rule) bool { return n.all.port > 0 && r.Ports.From == n.all.port }) && n.all.when[n].IsZero() {
				n.all.when[n] = time.Now()
			}
		}
	}
	return err
}

// BenchmarkRuleInForce: from the answer of AuthorizeSecurityGroupIngress until the last of 100 nodes, each with an
// instance of the group, has applied the rule (its simulated network takes no time for it).
func BenchmarkRuleInForce(b *testing.B) {
	const nodes = 100
	all := &waiters{when: map[*told]time.Time{}}
	c, err := New(b.Context(), Config{
		Nodes: nodes, Accounts: 2, Placement: placement.RoundRobin, RatePerSecond: -1,
		Network: func(int, netip.Addr) (network.Driver, error) {
			return &told{networkfake.New(networkfake.Config{}), all}, nil
		},
	})
	if err != nil {
		b.Fatal(err)
	}
	ctx, stop := context.WithCancel(b.Context())
	ended := make(chan error, 1)
	go func() { ended <- c.Run(ctx) }()
	defer func() { stop(); <-ended; c.Close() }()
	who := c.As(ctx, c.Accounts[1])
	must := func(err error) {
		b.Helper()
		if err != nil {
			b.Fatal(err)
		}
	}
	vpc, err := c.Role.EC2.CreateVpc(who, &shape.CreateVpcRequest{CidrBlock: "10.0.0.0/16"})
	must(err)
	sub, err := c.Role.EC2.CreateSubnet(who, &shape.CreateSubnetRequest{VpcId: vpc.Vpc.VpcId, CidrBlock: "10.0.0.0/20"})
	must(err)
	group := store.VPCs.Get(c.Store.Snapshot(), vpc.Vpc.VpcId).DefaultGroup
	_, err = c.Role.EC2.RunInstances(who, &shape.RunInstancesRequest{ImageId: c.Image, InstanceType: "t3.small", MinCount: nodes, MaxCount: nodes, SubnetId: sub.Subnet.SubnetId})
	must(err)
	on := func() int {
		seen := map[string]bool{}
		for _, n := range c.Nodes {
			for range store.InstancesByNode.By(c.Store.Snapshot(), n.ID) {
				seen[n.ID] = true
			}
		}
		return len(seen)
	}
	for end := time.Now().Add(time.Minute); on() < nodes; time.Sleep(50 * time.Millisecond) {
		if time.Now().After(end) {
			b.Fatalf("instances are on %d nodes", on())
		}
	}
	time.Sleep(2 * time.Second) // launches have settled
	var each, last []float64
	port := 1000
	for b.Loop() {
		port++
		all.mu.Lock()
		all.port, all.when = port, map[*told]time.Time{}
		all.mu.Unlock()
		_, err := c.Role.EC2.AuthorizeSecurityGroupIngress(who, &shape.AuthorizeSecurityGroupIngressRequest{GroupId: group, IpPermissions: []shape.IpPermission{
			{IpProtocol: "tcp", FromPort: &port, ToPort: &port, IpRanges: []shape.IpRange{{CidrIp: "0.0.0.0/0"}}},
		}})
		must(err)
		answered := time.Now()
		for {
			all.mu.Lock()
			n := len(all.when)
			all.mu.Unlock()
			if n == nodes {
				break
			}
			if time.Since(answered) > time.Minute {
				b.Fatal(fmt.Errorf("%d of %d nodes have the rule", n, nodes))
			}
			time.Sleep(time.Millisecond)
		}
		slowest := 0.0
		for _, at := range all.when {
			ms := float64(at.Sub(answered).Microseconds()) / 1000
			each, slowest = append(each, ms), max(slowest, ms)
		}
		last = append(last, slowest)
		time.Sleep(500 * time.Millisecond) // nodes are told at most so often
	}
	slices.Sort(each)
	slices.Sort(last)
	b.ReportMetric(each[len(each)/2], "ms-median")
	b.ReportMetric(each[len(each)*99/100], "ms-p99")
	b.ReportMetric(last[len(last)/2], "ms-all-nodes-median")
}
