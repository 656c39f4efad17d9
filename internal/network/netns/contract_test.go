package netns

import (
	"context"
	"errors"
	"fmt"
	"os"
	"runtime"
	"strings"
	"testing"

	"karri.dev/internal/network"
	"karri.dev/internal/network/netlab"
	"karri.dev/internal/network/networktest"
)

func TestContract(t *testing.T) {
	t.Parallel()
	netlab.NeedRoot(t)
	networktest.Run(t, func(t *testing.T) network.Driver { return newDriver(t, newLab(t), Config{}, nil) })
}

func TestName(t *testing.T) {
	t.Parallel()
	for _, name := range []string{"", "UPPER", "a-b", "../etc", "ninechars"} {
		if _, err := New(Config{Name: name}, Deps{}); err == nil {
			t.Errorf("%q is taken", name)
		}
	}
}

// benchDriver makes a driver on a host of its own.
func benchDriver(b *testing.B) *Driver {
	host := newLab(b)
	d := newDriver(b, host, Config{}, nil)
	return d
}

func mustApply(b *testing.B, d *Driver, s network.State) {
	b.Helper()
	if err := d.Apply(context.Background(), s); err != nil && !errors.Is(err, context.Canceled) {
		b.Fatal(err)
	}
}

// BenchmarkAddInterface: one interface more, and one less, on a VPC that has so many.
func BenchmarkAddInterface(b *testing.B) {
	for _, n := range []int{100, 1000} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			d := benchDriver(b)
			less, more := networktest.State(n), networktest.State(n+1)
			mustApply(b, d, less)
			for b.Loop() {
				mustApply(b, d, more)
				b.StopTimer()
				mustApply(b, d, less)
				b.StartTimer()
			}
		})
	}
}

// BenchmarkUnchanged: the same state again, compared with the kernel.
func BenchmarkUnchanged(b *testing.B) {
	for _, n := range []int{100, 1000} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			d := benchDriver(b)
			s := networktest.State(n)
			mustApply(b, d, s)
			for b.Loop() {
				mustApply(b, d, s)
			}
		})
	}
}

// BenchmarkFullLoad: from nothing to one VPC with so many interfaces.
func BenchmarkFullLoad(b *testing.B) {
	for _, n := range []int{100, 1000} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			s := networktest.State(n)
			for b.Loop() {
				b.StopTimer()
				d := benchDriver(b)
				b.StartTimer()
				mustApply(b, d, s)
				b.StopTimer()
				_ = d.Destroy(context.Background())
				b.StartTimer()
			}
		})
	}
}

// BenchmarkManyVPCs: 100 VPCs of one interface with all their services; reports memory.
func BenchmarkManyVPCs(b *testing.B) {
	one := networktest.State(1).VPCs[0]
	s := network.State{}
	for i := range 100 {
		v := one
		v.ID, v.VNI = fmt.Sprintf("vpc-%03d", i), uint32(i+1)
		v.Interfaces = []network.Interface{one.Interfaces[0]}
		v.Interfaces[0].ID = networktest.ID(i)
		v.RouteTables = []network.RouteTable{{ID: "rtb-1", Index: 1}}
		s.VPCs = append(s.VPCs, v)
	}
	for b.Loop() {
		b.StopTimer()
		d := benchDriver(b)
		before := resident(b)
		b.StartTimer()
		mustApply(b, d, s)
		b.StopTimer()
		b.ReportMetric(float64(resident(b)-before)/100, "kB/VPC")
		b.ReportMetric(float64(runtime.NumGoroutine())/100, "goroutines/VPC")
		_ = d.Destroy(context.Background())
		b.StartTimer()
	}
}

// resident is the process's resident memory in kB.
func resident(b *testing.B) int {
	b.Helper()
	data, err := os.ReadFile("/proc/self/status")
	if err != nil {
		b.Fatal(err)
	}
	for _, line := range strings.Split(string(data), "\n") {
		var kb int
		if _, err := fmt.Sscanf(line, "VmRSS: %d kB", &kb); err == nil {
			return kb
		}
	}
	return 0
}
