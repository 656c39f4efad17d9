package main

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"runtime"
	"runtime/pprof"
	"syscall"
	"time"

	shape "karri.dev/internal/aws/shape/s3"
	"karri.dev/internal/frontdoor"
	"karri.dev/internal/identity"
	"karri.dev/internal/resource"
	"karri.dev/internal/role/cloud"
	"karri.dev/internal/service/s3"
	"karri.dev/internal/store"
)

// hello is what the server says first.
type hello struct{ Addr, Plain, Key, Secret string }

// usage is the server's answer to every line on its stdin, which may name a file for a profile until the next one.
type usage struct {
	CPU time.Duration // user and system, of the process
	RSS int64         // in bytes, now
	// Allocations and their bytes, since the beginning.
	Allocations, Allocated int
}

const region = "us-east-1"

// serve is the server's process: the front door and S3 over the disk engine, as in a cloud, and the floor beside them.
func serve(dir string) error {
	log := slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelError}))
	st := store.OpenMemory(log)
	defer st.Close()
	engine, sealer, err := openEngine(dir)
	if err != nil {
		return err
	}
	defer engine.Close()
	id := identity.New(identity.Config{}, identity.Deps{Store: st, Sealer: sealer, Log: log})
	account, key, err := id.Bootstrap(context.Background(), identity.Key{})
	if err != nil {
		return err
	}
	err = st.Update(context.Background(), func(tx *store.Tx) error {
		return store.Buckets.Put(tx, &resource.Bucket{Name: scaled, AccountID: account.ID, Region: region, Engine: scaled})
	})
	if err != nil {
		return err
	}
	decide := cloud.NewAuthz(st, nil, log)
	service := s3.New(s3.Config{Regions: []string{region}}, s3.Deps{Store: st, Engine: engine, Authz: decide, Log: log})
	door := frontdoor.New(frontdoor.Config{Regions: []string{region}, RatePerSecond: -1}, frontdoor.Deps{Authenticator: id, Authorizer: decide})
	door.Register(shape.Service(), service)
	addr, err := listen(frontdoor.NewServer(door, log))
	if err != nil {
		return err
	}
	bare, err := newFloor(filepath.Join(dir, "floor"))
	if err != nil {
		return err
	}
	plain, err := listen(&http.Server{Handler: bare, ReadHeaderTimeout: time.Minute})
	if err != nil {
		return err
	}
	out := json.NewEncoder(os.Stdout)
	if err := out.Encode(hello{addr, plain, key.ID, key.Secret}); err != nil {
		return err
	}
	for in := bufio.NewScanner(os.Stdin); in.Scan(); {
		if err := profile(in.Text()); err != nil {
			return err
		}
		var u syscall.Rusage
		if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
			return err
		}
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		answer := usage{time.Duration(u.Utime.Nano() + u.Stime.Nano()), resident(), int(m.Mallocs), int(m.TotalAlloc)}
		if err := out.Encode(answer); err != nil {
			return err
		}
	}
	return nil
}

// profile ends the CPU profile under way, and begins one in the file that is named.
func profile(name string) error {
	pprof.StopCPUProfile()
	if name == "" {
		return nil
	}
	f, err := os.Create(name) // the profiler holds it
	if err != nil {
		return err
	}
	return pprof.StartCPUProfile(f)
}

func listen(s *http.Server) (string, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	go s.Serve(l)
	return l.Addr().String(), nil
}

func resident() int64 {
	var size, pages int64
	if b, err := os.ReadFile("/proc/self/statm"); err == nil {
		_, _ = fmt.Sscan(string(b), &size, &pages)
	}
	return pages * int64(os.Getpagesize())
}
