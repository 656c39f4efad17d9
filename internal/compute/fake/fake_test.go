package fake_test

import (
	"context"
	"fmt"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"karri.dev/internal/compute"
	"karri.dev/internal/compute/computetest"
	"karri.dev/internal/compute/fake"
)

func spec(id string) compute.Machine {
	return compute.Machine{ID: id, UUID: "ec2d4a71-05c4-4f22-8bd1-6e3a1a2b3c4d", VCPUs: 1, MemoryMiB: 128}
}

func TestContract(t *testing.T) {
	var mu sync.Mutex
	hosts := map[string]*fake.Host{}
	drivers := map[compute.Driver]*fake.Host{}
	host := func(d compute.Driver) *fake.Host {
		mu.Lock()
		defer mu.Unlock()
		return drivers[d]
	}
	computetest.Run(t, computetest.Harness{
		Open: func(_ *testing.T, dir string) compute.Driver {
			mu.Lock()
			defer mu.Unlock()
			if hosts[dir] == nil {
				hosts[dir] = fake.NewHost(fake.Config{GuestLatency: time.Millisecond, StartLatency: time.Millisecond})
			}
			d := hosts[dir].Open()
			drivers[d] = hosts[dir]
			return d
		},
		Machine: func(_ *testing.T, id string, _ computetest.Behaviour) compute.Machine { return spec(id) },
		Act: func(d compute.Driver, id string, b computetest.Behaviour) {
			switch b {
			case computetest.Deaf:
				host(d).Deafen(id)
			case computetest.PowersOff:
				host(d).PowerOff(id)
			case computetest.Restarts:
				host(d).Restart(id)
			}
		},
		Crash: func(t *testing.T, d compute.Driver, id string) {
			if !host(d).Crash(id) {
				t.Error("not running")
			}
		},
	})
}

// TestSeed: the same seed gives the same faults, and a slow host costs no time.
func TestSeed(t *testing.T) {
	run := func() (list []compute.Status) {
		synctest.Test(t, func(t *testing.T) {
			d := fake.NewHost(fake.Config{Seed: 7, StartLatency: time.Minute, StartFailures: 0.3}).Open()
			for n := range 20 {
				_ = d.Start(context.Background(), spec(fmt.Sprintf("i-%d", n)), nil)
			}
			list, _ = d.List(context.Background())
		})
		return list
	}
	a, b := run(), run()
	if diff := cmp.Diff(a, b); diff != "" {
		t.Errorf("the same seed: %s", diff)
	}
	if len(a) == 0 || len(a) == 20 {
		t.Errorf("%d of 20 started", len(a))
	}
}

func BenchmarkStart(b *testing.B) {
	b.ReportAllocs()
	d := fake.NewHost(fake.Config{}).Open()
	for n := 0; b.Loop(); n++ {
		if err := d.Start(b.Context(), spec(fmt.Sprintf("i-%d", n)), nil); err != nil {
			b.Fatal(err)
		}
	}
}
