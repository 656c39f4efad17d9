// Command bench measures the control plane over the real front door: real sockets, signatures checked,
// embedded etcd with fsync, nodes simulated. The server is a process of its own, so that its CPU time and
// allocations are told apart from the client's. The client is cheap: it signs each request once and sends the
// same bytes again (a signature is good for 15 minutes), and looks at little more of an answer than its status.
package main

import (
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"os"
	"os/exec"
	"regexp"
	"strings"
	"syscall"
	"time"
)

func main() {
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

func run() error {
	var b bench
	only := flag.String("run", ".", "regular expression of the benchmarks to run: identity, run, describe, memory")
	flag.DurationVar(&b.length, "time", 10*time.Second, "length of each measurement")
	flag.IntVar(&b.most, "instances", 100_000, "instances in the largest cloud")
	flag.IntVar(&b.nodes, "nodes", 50, "simulated nodes that take the launches; 0: none")
	flag.StringVar(&b.profile, "profile", "", "folder for CPU profiles of the server")
	serve := flag.Bool("serve", false, "be the server (the benchmark starts it)")
	flag.Parse()
	if *serve {
		return serveCloud(b.nodes)
	}
	wanted, err := regexp.Compile(*only)
	if err != nil {
		return err
	}
	b.heading()
	for _, s := range []struct {
		name string
		do   func() error
	}{{"identity", b.identity}, {"run", b.launches}, {"describe", b.describe}, {"memory", b.memory}} {
		if !wanted.MatchString(s.name) {
			continue
		}
		if err := s.do(); err != nil {
			return fmt.Errorf("%s: %w", s.name, err)
		}
	}
	return nil
}

type bench struct {
	length  time.Duration
	most    int
	nodes   int
	profile string
}

// with starts a server for one benchmark and stops it afterwards.
func (b *bench) with(nodes int, do func(*server) error) error {
	dir, err := os.MkdirTemp("", "karri-bench-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	cmd := exec.Command("/proc/self/exe", "-serve", "-nodes", fmt.Sprint(nodes))
	cmd.Dir, cmd.Stderr = dir, os.Stderr
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	in, err := cmd.StdinPipe()
	if err != nil {
		return err
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		return err
	}
	if err := cmd.Start(); err != nil {
		return err
	}
	defer func() {
		in.Close() // which ends it
		_ = cmd.Wait()
	}()
	s := &server{in: in, out: json.NewDecoder(out)}
	if err := s.out.Decode(&s.hello); err != nil {
		return fmt.Errorf("the server does not start: %w", err)
	}
	return do(s)
}

// server is the client's end of the pipes to the server's process.
type server struct {
	in    io.Writer
	out   *json.Decoder
	hello hello
}

func (s *server) do(what string, args ...any) (u usage, err error) {
	if _, err = fmt.Fprintln(s.in, append([]any{what}, args...)...); err != nil {
		return u, err
	}
	if err = s.out.Decode(&u); err == nil && u.Error != "" {
		err = fmt.Errorf("%s: %s", what, u.Error)
	}
	return u, err
}

func (b *bench) heading() {
	fmt.Printf("%s, %s, load %s\n\n", cpu(), time.Now().UTC().Format("2006-01-02 15:04 UTC"), loadAverage())
	fmt.Printf("| what | requests/s | p50 | p99 | server CPU | allocations | bytes |\n| --- | ---: | ---: | ---: | ---: | ---: | ---: |\n")
}

func cpu() string {
	data, _ := os.ReadFile("/proc/cpuinfo")
	cores, model := 0, ""
	for line := range strings.Lines(string(data)) {
		if k, v, ok := strings.Cut(line, ":"); ok && strings.TrimSpace(k) == "model name" {
			model = strings.TrimSpace(v)
			cores++
		}
	}
	return fmt.Sprintf("%d × %s", cores, model)
}

func loadAverage() string {
	data, _ := os.ReadFile("/proc/loadavg")
	f := strings.Fields(string(data))
	if len(f) == 0 {
		return "?"
	}
	return f[0]
}
