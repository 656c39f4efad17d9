// Package networktest is the contract of network.Driver as tests, which every driver passes.
package networktest

import (
	"context"
	"fmt"
	"net/netip"
	"sync"
	"testing"

	"karri.dev/internal/network"
)

// State gives a state of one VPC with n interfaces, all in one group.
func State(n int) network.State {
	v := network.VPC{
		ID: "vpc-contract", VNI: 4242, CIDRs: []netip.Prefix{netip.MustParsePrefix("10.9.0.0/16")},
		Subnets: []network.Subnet{
			{ID: "subnet-1", Index: 1, CIDR: netip.MustParsePrefix("10.9.0.0/20"), RouteTable: "rtb-1"},
		},
		RouteTables: []network.RouteTable{{ID: "rtb-1", Index: 1, Routes: []network.Route{
			{Destination: netip.MustParsePrefix("0.0.0.0/0"), Target: network.InternetGateway},
		}}},
		Groups: []network.Group{{ID: "sg-1", Rules: []network.Rule{
			{Egress: true, Protocol: -1, CIDR: netip.MustParsePrefix("0.0.0.0/0")},
			{Protocol: -1, Group: "sg-1"},
		}}},
		DNS: network.DNS{Domain: "ec2.internal"},
	}
	for i := range n {
		ip := netip.AddrFrom4([4]byte{10, 9, byte(i / 200), byte(10 + i%200)})
		v.Interfaces = append(v.Interfaces, network.Interface{
			ID: ID(i), InstanceID: fmt.Sprintf("i-%017x", i), SubnetID: "subnet-1",
			MAC: fmt.Sprintf("02:00:00:00:%02x:%02x", i>>8, i&255), PrivateIP: ip, Groups: []string{"sg-1"},
			PublicIP: netip.AddrFrom4([4]byte{198, 18, byte(i >> 8), byte(i)}),
		})
		v.Groups[0].Members = append(v.Groups[0].Members, ip)
	}
	return network.State{PublicPool: []netip.Prefix{netip.MustParsePrefix("198.18.0.0/16")}, VPCs: []network.VPC{v}}
}

// ID is the i-th interface's.
func ID(i int) string { return fmt.Sprintf("eni-%017x", i) }

// Run checks the driver that open makes, a fresh one for each test.
func Run(t *testing.T, open func(t *testing.T) network.Driver) {
	opens := func(t *testing.T, d network.Driver, id string, want bool) {
		t.Helper()
		f, err := d.OpenTap(t.Context(), id)
		if (err == nil) != want {
			t.Errorf("OpenTap(%s): %v", id, err)
		}
		if err == nil {
			f.Close()
		}
	}
	apply := func(t *testing.T, d network.Driver, s network.State) {
		t.Helper()
		if err := d.Apply(t.Context(), s); err != nil {
			t.Fatal(err)
		}
	}
	start := func(t *testing.T) network.Driver {
		d := open(t)
		t.Cleanup(func() {
			_ = d.Destroy(context.Background()) // closed already in some tests
			if err := d.Close(); err != nil {
				t.Error(err)
			}
		})
		return d
	}
	t.Run("taps come and go with their interfaces", func(t *testing.T) {
		d := start(t)
		opens(t, d, ID(0), false)
		apply(t, d, State(2))
		opens(t, d, ID(0), true)
		opens(t, d, ID(0), true) // again, after it was closed
		opens(t, d, ID(1), true)
		opens(t, d, ID(2), false)
		apply(t, d, State(1))
		opens(t, d, ID(0), true)
		opens(t, d, ID(1), false)
		apply(t, d, State(3))
		opens(t, d, ID(2), true)
		apply(t, d, network.State{})
		opens(t, d, ID(0), false)
	})
	t.Run("applying twice is applying once", func(t *testing.T) {
		d := start(t)
		apply(t, d, State(2))
		apply(t, d, State(2))
		opens(t, d, ID(1), true)
	})
	t.Run("what is wrong does not hold up the rest", func(t *testing.T) {
		d := start(t)
		s := State(2)
		s.VPCs[0].Interfaces[0].SubnetID = "subnet-unknown"
		if err := d.Apply(t.Context(), s); err == nil {
			t.Error("no error")
		}
		opens(t, d, ID(0), false)
		opens(t, d, ID(1), true)
	})
	t.Run("destroy", func(t *testing.T) {
		d := start(t)
		apply(t, d, State(1))
		for range 2 {
			if err := d.Destroy(t.Context()); err != nil {
				t.Fatal(err)
			}
			opens(t, d, ID(0), false)
		}
		apply(t, d, State(1)) // and begin anew
		opens(t, d, ID(0), true)
	})
	t.Run("closed", func(t *testing.T) {
		d := open(t)
		apply(t, d, State(1))
		if err := d.Destroy(t.Context()); err != nil {
			t.Fatal(err)
		}
		for range 2 {
			if err := d.Close(); err != nil {
				t.Fatal(err)
			}
		}
		if err := d.Apply(t.Context(), State(1)); err == nil {
			t.Error("a closed driver applies")
		}
		opens(t, d, ID(0), false)
	})
	t.Run("called from many sides", func(t *testing.T) {
		d := start(t)
		apply(t, d, State(1))
		var all sync.WaitGroup
		for i := range 8 {
			all.Go(func() {
				if err := d.Apply(t.Context(), State(1+i%2)); err != nil {
					t.Error(err)
				}
				if f, err := d.OpenTap(t.Context(), ID(0)); err == nil { // may be busy: one opener at a time
					f.Close()
				}
			})
		}
		all.Wait()
		if d.MTU() < 1280 || d.MTU() > 9216 {
			t.Errorf("MTU %d", d.MTU())
		}
	})
}
