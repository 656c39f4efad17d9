package store

import (
	"fmt"
	"log/slog"
	"os"
	"runtime"
	"runtime/debug"
	"sync/atomic"
	"testing"
	"time"

	"karri.dev/internal/resource"
)

func benchStore(b *testing.B) *Store {
	s, err := Open(b.Context(), Config{Dir: b.TempDir()}, slog.New(slog.DiscardHandler))
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { s.Close() })
	return s
}

// launch is a transaction like RunInstances: an instance and its interface.
func launch(tx *Tx, n int64) error {
	owned := resource.Owned{AccountID: fmt.Sprintf("%012d", n%100), Region: "us-east-1", CreatedAt: time.Unix(n, 0).UTC()}
	i := &resource.Instance{
		Owned: owned, ID: fmt.Sprintf("i-%017x", n), ReservationID: fmt.Sprintf("r-%017x", n), ImageID: fmt.Sprintf("ami-%017x", n%10),
		Type: "t3.micro", Zone: "us-east-1a", VPCID: fmt.Sprintf("vpc-%017x", n%100), SubnetID: fmt.Sprintf("subnet-%017x", n%100),
		Interfaces: []string{fmt.Sprintf("eni-%017x", n)}, Power: resource.PowerOn, State: resource.Pending, LaunchedAt: owned.CreatedAt,
		Node: fmt.Sprintf("node-%017x", n%1000), KeyName: "key", PublicKey: "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIB9dG4kjRhQTtWTVzd2t27+t0DEHBPW7iOD23TUiYLio",
	}
	e := &resource.Interface{
		Owned: owned, ID: i.Interfaces[0], VPCID: i.VPCID, SubnetID: i.SubnetID, Zone: i.Zone, MAC: fmt.Sprintf("02:%010x", n),
		PrivateIP: fmt.Sprintf("10.%d.%d.%d", n>>16&255, n>>8&255, n&255), Groups: []string{fmt.Sprintf("sg-%017x", n%100)},
		InstanceID: i.ID, AttachmentID: fmt.Sprintf("eni-attach-%017x", n), DeleteOnEnd: true, AttachedAt: owned.CreatedAt,
		PublicIP: fmt.Sprintf("198.%d.%d.%d", n>>16&255, n>>8&255, n&255),
	}
	if err := Instances.Put(tx, i); err != nil {
		return err
	}
	return Interfaces.Put(tx, e)
}

// BenchmarkUpdate is durable launches of 64 callers at once.
func BenchmarkUpdate(b *testing.B) {
	for _, callers := range []int{1, 64} {
		b.Run(fmt.Sprint("callers=", callers), func(b *testing.B) {
			s := benchStore(b)
			var n atomic.Int64
			b.SetParallelism(max(1, callers/runtime.GOMAXPROCS(0)))
			if callers == 1 {
				b.ReportAllocs()
				for b.Loop() {
					if err := s.Update(b.Context(), func(tx *Tx) error { return launch(tx, n.Add(1)) }); err != nil {
						b.Fatal(err)
					}
				}
			} else {
				b.ReportAllocs()
				b.RunParallel(func(p *testing.PB) {
					for p.Next() {
						if err := s.Update(b.Context(), func(tx *Tx) error { return launch(tx, n.Add(1)) }); err != nil {
							b.Error(err)
						}
					}
				})
			}
			b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "tx/s")
			b.ReportMetric(float64(b.N)/float64(s.Snapshot().Revision), "tx/commit")
		})
	}
}

// BenchmarkSnapshot reads one of 10,000 instances, and the first of an owner's.
func BenchmarkSnapshot(b *testing.B) {
	s := OpenMemory(quiet)
	defer s.Close()
	fillUp(b, s, 10000)
	id, owner := fmt.Sprintf("i-%017x", 5000), fmt.Sprintf("%012d/us-east-1", 50)
	b.Run("get", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			if Instances.Get(s.Snapshot(), id) == nil {
				b.Fatal("gone")
			}
		}
	})
	b.Run("index", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			if InstancesByOwner.One(s.Snapshot(), owner) == nil {
				b.Fatal("gone")
			}
		}
	})
	b.Run("walk100", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			for range InstancesByOwner.By(s.Snapshot(), owner) {
			}
		}
	})
}

func fillUp(b *testing.B, s *Store, n int64) {
	for at := int64(0); at < n; at += 500 {
		if err := s.Update(b.Context(), func(tx *Tx) error {
			for i := at; i < min(at+500, n); i++ {
				if err := launch(tx, i); err != nil {
					return err
				}
			}
			return nil
		}); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkMemory holds 100,000 instances with their interfaces on an embedded etcd: as they were written,
// and as they are after a restart.
func BenchmarkMemory(b *testing.B) {
	const n = 100_000
	dir := b.TempDir()
	open := func() *Store {
		s, err := Open(b.Context(), Config{Dir: dir}, quiet)
		if err != nil {
			b.Fatal(err)
		}
		return s
	}
	for b.Loop() {
		s := open()
		heap0, rss0 := memory0()
		began := time.Now()
		fillUp(b, s, n)
		b.ReportMetric(time.Since(began).Seconds(), "s-to-write")
		heap1, rss1 := memory0()
		b.ReportMetric(float64(heap1-heap0)/n, "heapB/instance")
		b.ReportMetric(float64(rss1-rss0)/n, "rssB/instance")
		s.Close()
		s = nil
		_, rss2 := memory0()
		began = time.Now()
		s = open()
		b.ReportMetric(time.Since(began).Seconds(), "s-to-load")
		heap3, rss3 := memory0()
		b.ReportMetric(float64(heap3-heap0)/n, "heapB/instance-loaded")
		b.Log("rss MiB: empty", rss0>>20, "filled", rss1>>20, "closed", rss2>>20, "loaded", rss3>>20, "instances", Instances.Len(s.Snapshot()))
		s.Close()
	}
}

// memory0 gives the bytes of heap in use and the resident set, after a collection.
func memory0() (heap, rss int64) {
	debug.FreeOSMemory()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	data, _ := os.ReadFile("/proc/self/statm")
	var size, pages int64
	fmt.Sscan(string(data), &size, &pages)
	return int64(m.HeapAlloc), pages * int64(os.Getpagesize())
}
