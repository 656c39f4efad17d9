package main

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"net"
	"os"
	"runtime"
	"runtime/debug"
	"runtime/pprof"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sync/errgroup"

	"karri.dev/internal/audit"
	"karri.dev/internal/frontdoor"
	"karri.dev/internal/resource"
	"karri.dev/internal/sim"
	"karri.dev/internal/store"
)

// hello is what the server says first.
type hello struct {
	Addr     string
	Image    string
	Accounts []account
}

type account struct{ ID, Key, Secret string }

// usage is the server's answer to every command.
type usage struct {
	CPU     time.Duration // user and system, of the process
	Mallocs uint64
	Bytes   uint64 // allocated
	Heap    uint64 // in use after a collection; only for "collect"
	RSS     uint64
	IDs     []string // some instances of the second account; only for "populate"
	Running int      // machines; only for "settled"
	Error   string
}

// perAccount is how many instances an account gets at most: its default subnet has 4,091 addresses.
const perAccount = 4000

// accounts are enough for 100,000 instances, and one for each client that launches.
const accounts = 64

// serveCloud is the server's process: commands come on stdin, one a line; its end is the end.
func serveCloud(nodes int) error {
	log := slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelError}))
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	st, err := store.Open(ctx, store.Config{Dir: "state"}, log)
	if err != nil {
		return err
	}
	events, err := os.Create("audit.json")
	if err != nil {
		return err
	}
	defer events.Close()
	sink := audit.NewWriter(events)
	c, err := sim.New(ctx, sim.Config{
		Unchecked: true,
		Nodes:     nodes, Accounts: accounts + 1, Seed: 1, Store: st, Log: log, Audit: sink, RatePerSecond: -1,
		Capacity: resource.Capacity{VCPUs: 1 << 20, MemoryMiB: 1 << 30, DiskGiB: 1 << 30},
	})
	if err != nil {
		return err
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	g, gctx := errgroup.WithContext(ctx)
	g.Go(func() error { return c.Run(gctx) })
	g.Go(func() error { return sink.Run(gctx) })
	s := frontdoor.NewServer(c.Handler(), log)
	go s.Serve(l) //nolint:errcheck // it ends with the process
	h := hello{Addr: l.Addr().String(), Image: c.Image}
	for _, a := range c.Accounts[1:] {
		h.Accounts = append(h.Accounts, account{a.ID, a.Key.ID, a.Key.Secret})
	}
	out := json.NewEncoder(os.Stdout)
	if err := out.Encode(h); err != nil {
		return err
	}
	p := &populated{cloud: c}
	for lines := bufio.NewScanner(os.Stdin); lines.Scan(); {
		u, err := p.command(ctx, strings.Fields(lines.Text()))
		if err != nil {
			u.Error = err.Error()
		}
		if err := out.Encode(u); err != nil {
			return err
		}
	}
	s.Close()
	cancel()
	_ = g.Wait()
	return c.Close()
}

// populated is the server's cloud with what the benchmark put into it.
type populated struct {
	cloud   *sim.Cloud
	total   int
	sample  []string
	profile *os.File
}

func (p *populated) command(ctx context.Context, args []string) (u usage, err error) {
	switch args[0] {
	case "usage":
	case "collect":
		runtime.GC()
		debug.FreeOSMemory() // what a quiet process gives back in time anyway
	case "populate":
		var n int
		fmt.Sscan(args[1], &n)
		if err := p.populate(ctx, n); err != nil {
			return u, err
		}
	case "settled": // wait until every launch has come up
		for {
			time.Sleep(100 * time.Millisecond)
			if len(p.cloud.Unsettled()) == 0 {
				break
			}
		}
		if err := p.cloud.CheckSettled(); err != nil {
			return u, err
		}
	case "profile":
		if p.profile, err = os.Create(args[1]); err == nil {
			err = pprof.StartCPUProfile(p.profile)
		}
	case "stop":
		pprof.StopCPUProfile()
		err = p.profile.Close()
	default:
		err = fmt.Errorf("unknown command %q", args[0])
	}
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	var r syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &r); err != nil {
		return u, err
	}
	u.CPU = time.Duration(r.Utime.Nano() + r.Stime.Nano())
	u.Mallocs, u.Bytes, u.Heap = m.Mallocs, m.TotalAlloc, m.HeapAlloc
	u.RSS, u.IDs, u.Running = rss(), p.sample, p.cloud.Running()
	return u, err
}

// rss reads the process's resident memory in bytes.
func rss() uint64 {
	data, _ := os.ReadFile("/proc/self/statm")
	var size, resident uint64
	fmt.Sscan(string(data), &size, &resident)
	return resident * uint64(os.Getpagesize())
}

// populate launches until there are n instances and marks them as running on nodes that are not there: what
// simulated nodes take is none of the control plane's.
func (p *populated) populate(ctx context.Context, n int) error {
	c := p.cloud
	node := "node-00000000000000000"
	for p.total < n {
		// The first account gets exactly 1,000, for answers of that length.
		number, room := 0, 1000-p.total
		if p.total >= 1000 {
			number, room = 1+(p.total-1000)/perAccount, perAccount-(p.total-1000)%perAccount
		}
		ids, err := c.Launch(ctx, c.Accounts[1+number], "t3.nano", min(200, room, n-p.total))
		if err != nil {
			return err
		}
		p.total += len(ids)
		if len(p.sample) < 1000 {
			p.sample = append(p.sample, ids...)
		}
		err = c.Store.Update(ctx, func(tx *store.Tx) error {
			for _, id := range ids {
				inst := *store.Instances.Get(tx, id)
				inst.State, inst.Node, inst.StateReason = resource.Running, node, resource.StateReason{}
				if err := store.Instances.Put(tx, &inst); err != nil {
					return err
				}
			}
			return nil
		})
		if err != nil {
			return err
		}
	}
	return nil
}
