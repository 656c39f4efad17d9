package netns

import (
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"karri.dev/internal/network"
)

// Benchmarks of issue 5: `test/bench/network` runs them. Guests are namespaces on veth pairs in the places of taps: no
// program copies their packets, so that the ratio is that of the kernel's two ways.

// loaded is a VPC of 1,000 interfaces in 5 of 200 groups each, of 10 rules.
func loaded() network.State {
	v := plainVPC("vpc-load", 1)
	v.CIDRs = []netip.Prefix{netip.MustParsePrefix("10.0.0.0/16")}
	v.Subnets[0].CIDR = netip.MustParsePrefix("10.0.0.0/20")
	v.Subnets[1].CIDR = netip.MustParsePrefix("10.0.240.0/24")
	v.Groups = nil
	for g := range 200 {
		group := network.Group{ID: fmt.Sprintf("sg-%03d", g), Rules: []network.Rule{all(true)}}
		for r := range 8 {
			group.Rules = append(group.Rules, tcp(2000+r, fmt.Sprintf("192.0.%d.0/24", r)))
		}
		group.Rules = append(group.Rules, network.Rule{Protocol: -1, Group: group.ID})
		v.Groups = append(v.Groups, group)
	}
	for n := range 1000 {
		ip := fmt.Sprintf("10.0.%d.%d", 1+n/200, 10+n%200)
		var groups []string
		for k := range 5 {
			g := (n/2 + k*37) % 200 // two by two in the same groups
			groups = append(groups, v.Groups[g].ID)
			v.Groups[g].Members = append(v.Groups[g].Members, netip.MustParseAddr(ip))
		}
		v.Interfaces = append(v.Interfaces, nic(n, "subnet-a", ip, groups...))
	}
	return state(v)
}

// wired puts a guest on an applied interface without a program between.
func wired(b testing.TB, d *Driver, vpc string, n network.Interface, subnet netip.Prefix) *lab {
	b.Helper()
	g := newLab(b)
	s := &lab{d.vpcs[vpc].space, b}
	tap := "eni" + n.ID[len(n.ID)-12:]
	s.run("ip", "link", "del", tap)
	s.run("ip", "link", "add", tap, "type", "veth", "peer", "name", "eth0", "netns", g.name)
	g.run("ip", "link", "set", "eth0", "address", n.MAC, "mtu", fmt.Sprint(d.MTU()), "up")
	g.run("ip", "addr", "add", netip.PrefixFrom(n.PrivateIP, subnet.Bits()).String(), "dev", "eth0")
	g.run("ip", "route", "add", "default", "via", subnet.Masked().Addr().Next().String())
	return g
}

// bridged gives two guests on a plain bridge.
func bridged(b testing.TB) (one, two *lab) {
	b.Helper()
	br := newLab(b)
	br.run("ip", "link", "add", "br0", "type", "bridge")
	br.run("ip", "link", "set", "br0", "up")
	var out []*lab
	for i := range 2 {
		g := newLab(b)
		p := fmt.Sprintf("p%d", i)
		br.run("ip", "link", "add", p, "type", "veth", "peer", "name", "eth0", "netns", g.name)
		br.run("ip", "link", "set", p, "master", "br0", "up")
		g.run("ip", "link", "set", "eth0", "up")
		g.run("ip", "addr", "add", fmt.Sprintf("10.0.1.%d/20", 10+i), "dev", "eth0")
		out = append(out, g)
	}
	return out[0], out[1]
}

// sink serves TCP that is read and thrown away.
func (l *lab) sink(port int) {
	var s net.Listener
	if err := l.enter(func() (err error) { s, err = net.Listen("tcp4", fmt.Sprintf("0.0.0.0:%d", port)); return err }); err != nil {
		l.t.Fatal(err)
	}
	l.t.Cleanup(func() { s.Close() })
	go func() {
		for {
			c, err := s.Accept()
			if err != nil {
				return
			}
			go func() {
				defer c.Close()
				_, _ = io.CopyBuffer(struct{ io.Writer }{io.Discard}, struct{ io.Reader }{c}, make([]byte, 256<<10))
			}()
		}
	}()
}

// throughput gives bytes a second of one TCP stream.
func (l *lab) throughput(to string, long time.Duration) float64 {
	c, err := l.knock(to)
	if err != nil {
		l.t.Fatal(err)
	}
	defer c.Close()
	buf := make([]byte, 256<<10)
	began, n := time.Now(), 0
	for time.Since(began) < long {
		m, err := c.Write(buf)
		if err != nil {
			l.t.Fatal(err)
		}
		n += m
	}
	return float64(n) / time.Since(began).Seconds()
}

// connections gives new TCP connections a second, from four callers.
func (l *lab) connections(to string, long time.Duration) float64 {
	var n atomic.Int64
	var all sync.WaitGroup
	began := time.Now()
	for range 4 {
		all.Go(func() {
			_ = l.enter(func() error {
				for time.Since(began) < long {
					c, err := (&net.Dialer{Timeout: 5 * time.Second}).Dial("tcp4", to)
					if err != nil {
						return err
					}
					_ = c.(*net.TCPConn).SetLinger(0)
					c.Close()
					n.Add(1)
				}
				return nil
			})
		})
	}
	all.Wait()
	return float64(n.Load()) / time.Since(began).Seconds()
}

func median(list []float64) float64 {
	slices.Sort(list)
	return list[len(list)/2]
}

// inTurns measures two ways by turns and reports the first one's share of the second one's: in time, and in this
// process's CPU time (the packets' way through the kernel is part of it), which others' work on the machine hardly moves.
func inTurns(b *testing.B, what string, one, other func() float64) {
	var a, o, byTime, byCPU []float64
	measure := func(way func() float64) (perSecond, perCPU float64) {
		before, began := cpu(b), time.Now()
		perSecond = way()
		long := time.Since(began).Seconds()
		return perSecond, perSecond * long / (cpu(b) - before)
	}
	for range 15 {
		x, xc := measure(one)
		y, yc := measure(other)
		a, o, byTime, byCPU = append(a, x), append(o, y), append(byTime, x/y), append(byCPU, xc/yc)
	}
	b.ReportMetric(median(byTime), what+"-ratio")
	b.ReportMetric(median(byCPU), what+"-ratio-by-CPU")
	b.ReportMetric(median(a), what+"/s")
	b.ReportMetric(median(o), what+"-base/s")
}

// cpu is the process's CPU time in seconds.
func cpu(b *testing.B) float64 {
	b.Helper()
	var u unix.Rusage
	if err := unix.Getrusage(unix.RUSAGE_SELF, &u); err != nil {
		b.Fatal(err)
	}
	return float64(u.Utime.Nano()+u.Stime.Nano()) / 1e9
}

// BenchmarkPath: two guests of one subnet among 1,000, against a plain bridge.
func BenchmarkPath(b *testing.B) {
	d := benchDriver(b)
	s := loaded()
	mustApply(b, d, s)
	v := s.VPCs[0]
	one, two := wired(b, d, v.ID, v.Interfaces[0], v.Subnets[0].CIDR), wired(b, d, v.ID, v.Interfaces[1], v.Subnets[0].CIDR)
	mustApply(b, d, s) // the links' groups, routes and neighbours
	three, four := bridged(b)
	two.sink(9)
	four.sink(9)
	ours, theirs := v.Interfaces[1].PrivateIP.String()+":9", "10.0.1.11:9"
	for b.Loop() {
		inTurns(b, "bytes", func() float64 { return one.throughput(ours, 300*time.Millisecond) }, func() float64 { return three.throughput(theirs, 300*time.Millisecond) })
		inTurns(b, "connections", func() float64 { return one.connections(ours, 300*time.Millisecond) }, func() float64 { return three.connections(theirs, 300*time.Millisecond) })
	}
}

// BenchmarkAcrossHosts: two guests on two hosts (VXLAN over a veth pair), against two on one host.
func BenchmarkAcrossHosts(b *testing.B) {
	first, second := newLab(b), newLab(b)
	first.run("ip", "link", "add", "u0", "type", "veth", "peer", "name", "u0", "netns", second.name)
	first.run("sh", "-c", "ip addr add 172.16.0.1/24 dev u0; ip link set u0 mtu 1550 up")
	second.run("sh", "-c", "ip addr add 172.16.0.2/24 dev u0; ip link set u0 mtu 1550 up")
	u1, u2 := netip.MustParseAddr("172.16.0.1"), netip.MustParseAddr("172.16.0.2")
	d1, d2 := newDriver(b, first, Config{Underlay: u1}, nil), newDriver(b, second, Config{Underlay: u2}, nil)
	v := plainVPC("vpc-x", 5)
	v.Groups = []network.Group{{ID: "sg-all", Rules: []network.Rule{all(true), all(false)}}}
	x, y, z := nic(1, "subnet-a", "10.0.0.10", "sg-all"), nic(2, "subnet-a", "10.0.0.11", "sg-all"), nic(3, "subnet-a", "10.0.0.12", "sg-all")
	far := func(i network.Interface, u netip.Addr) network.Remote {
		return network.Remote{ID: i.ID, PrivateIP: i.PrivateIP, MAC: i.MAC, Underlay: u, SubnetID: i.SubnetID}
	}
	v1, v2 := v, v
	v1.Interfaces, v1.Remotes = []network.Interface{x, y}, []network.Remote{far(z, u2)}
	v2.Interfaces, v2.Remotes = []network.Interface{z}, []network.Remote{far(x, u1), far(y, u1)}
	mustApply(b, d1, state(v1))
	mustApply(b, d2, state(v2))
	gx, gy, gz := wired(b, d1, v.ID, x, subnetA), wired(b, d1, v.ID, y, subnetA), wired(b, d2, v.ID, z, subnetA)
	mustApply(b, d1, state(v1))
	mustApply(b, d2, state(v2))
	gy.sink(9)
	gz.sink(9)
	for b.Loop() {
		inTurns(b, "bytes", func() float64 { return gx.throughput("10.0.0.12:9", 300*time.Millisecond) }, func() float64 { return gx.throughput("10.0.0.11:9", 300*time.Millisecond) })
		inTurns(b, "connections", func() float64 { return gx.connections("10.0.0.12:9", 300*time.Millisecond) }, func() float64 { return gx.connections("10.0.0.11:9", 300*time.Millisecond) })
	}
}

// received is a state as a node gets it: nothing of it is shared with an earlier one.
func received(b *testing.B, s network.State) (out network.State) {
	b.Helper()
	data, err := json.Marshal(s)
	if err == nil {
		err = json.Unmarshal(data, &out)
	}
	if err != nil {
		b.Fatal(err)
	}
	return out
}

// BenchmarkChange: what a change costs among 1,000 interfaces in 5 of 200 groups, from the new state to the kernel's
// answer; and what the kernel's part of it is.
func BenchmarkChange(b *testing.B) {
	d := benchDriver(b)
	s := loaded()
	mustApply(b, d, s)
	try := func(name string, next network.State) {
		b.Run(name, func(b *testing.B) {
			spent := 0.0
			for b.Loop() {
				b.StopTimer()
				to, back := received(b, next), received(b, s)
				runtime.GC() // of what made them
				before := cpu(b)
				b.StartTimer()
				mustApply(b, d, to)
				b.StopTimer()
				spent += cpu(b) - before
				mustApply(b, d, back)
				b.StartTimer()
			}
			b.ReportMetric(spent/float64(b.N)*1000, "ms-CPU/op")
		})
	}
	one := s
	one.VPCs = slices.Clone(s.VPCs)
	one.VPCs[0].Interfaces = append(slices.Clone(s.VPCs[0].Interfaces), nic(2000, "subnet-a", "10.0.9.9", "sg-001", "sg-002", "sg-003", "sg-004", "sg-005"))
	try("interface", one)
	member := s
	member.VPCs = slices.Clone(s.VPCs)
	member.VPCs[0].Groups = slices.Clone(s.VPCs[0].Groups)
	member.VPCs[0].Groups[7].Members = append(slices.Clone(s.VPCs[0].Groups[7].Members), netip.MustParseAddr("10.0.8.8"))
	try("member", member)
	rule := s
	rule.VPCs = slices.Clone(s.VPCs)
	rule.VPCs[0].Groups = slices.Clone(s.VPCs[0].Groups)
	rule.VPCs[0].Groups[7].Rules = append(slices.Clone(s.VPCs[0].Groups[7].Rules), tcp(99, "0.0.0.0/0"))
	try("rule", rule)
}

// BenchmarkMemory: what the machine has less for each interface and each VPC. Needs a machine that is otherwise quiet.
func BenchmarkMemory(b *testing.B) {
	d := benchDriver(b)
	s := loaded()
	s.VPCs[0].Interfaces = nil
	for b.Loop() {
		mustApply(b, d, s)
		runtime.GC()
		rss, kernel := resident(b), kernelMemory(b)
		mustApply(b, d, loaded())
		runtime.GC()
		b.ReportMetric(float64(resident(b)-rss)/1000, "kB-process/ENI")
		b.ReportMetric(float64(kernelMemory(b)-kernel)/1000, "kB-kernel/ENI")
	}
}

// kernelMemory is what the kernel holds in slabs, per CPU and by vmalloc, in kB.
func kernelMemory(b *testing.B) (kb int) {
	b.Helper()
	data, err := os.ReadFile("/proc/meminfo")
	if err != nil {
		b.Fatal(err)
	}
	for _, line := range strings.Split(string(data), "\n") {
		var n int
		for _, what := range []string{"Slab", "Percpu", "VmallocUsed", "KernelStack"} {
			if _, err := fmt.Sscanf(line, what+": %d kB", &n); err == nil {
				kb += n
			}
		}
	}
	return kb
}
