package netns

import (
	"fmt"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"time"

	"karri.dev/internal/network"
	"karri.dev/internal/nodeapi"
)

// logged are records added up.
type logged struct {
	mu   sync.Mutex
	sums map[string]network.FlowRecord
}

func (l *logged) take(list []network.FlowRecord) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, r := range list {
		way, action := "in", "ACCEPT"
		if r.Egress {
			way = "out"
		}
		if r.Rejected {
			action = "REJECT"
		}
		port := r.DestPort
		if r.SourcePort < port && r.SourcePort != 0 {
			port = r.SourcePort
		}
		k := fmt.Sprintf("%s %s %s %s>%s %d:%d %s", r.LogID, r.InterfaceID[len(r.InterfaceID)-1:], way, r.Source, r.Dest, r.Protocol, port, action)
		if r.Status != "" {
			k = r.LogID + " " + r.InterfaceID[len(r.InterfaceID)-1:] + " " + r.Status
		}
		s := l.sums[k]
		s.Packets, s.Bytes = s.Packets+r.Packets, s.Bytes+r.Bytes
		l.sums[k] = s
	}
}

func (l *logged) get(k string) network.FlowRecord {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.sums[k]
}

func TestFlowLogs(t *testing.T) {
	t.Parallel()
	h := newHostile(t, metadata{"vpc-h 10.0.0.10": nodeapi.Metadata{}})
	seen := &logged{sums: map[string]network.FlowRecord{}}
	h.d.deps.Flows, h.d.cfg.Flows = seen.take, 50*time.Millisecond
	a, b, c := h.a.nic.ID, h.b.nic.ID, h.c.nic.ID
	h.v.FlowLogs = []network.FlowLog{
		{ID: "fl-all", Interfaces: []string{a, b, c}, Accepted: true, Rejected: true, Seconds: 60},
		{ID: "fl-reject", Interfaces: []string{b}, Rejected: true, Seconds: 60},
	}
	before, _, err := h.c.dial("10.0.0.11:7", 10*time.Second) // goes on from before there were logs
	if err != nil {
		t.Fatal(err)
	}
	defer before.Close()
	apply(t, h.d, state(h.v))
	wait := func(key string, ok func(network.FlowRecord) bool) {
		t.Helper()
		eventually(t, key, func() bool { r := seen.get(key); return r.Packets > 0 && ok(r) })
	}
	some := func(network.FlowRecord) bool { return true }

	h.a.reaches("10.0.0.11:7") // and is over: its end is told by an event
	wait("fl-all 1 out 10.0.0.10>10.0.0.11 6:7 ACCEPT", some)
	wait("fl-all 1 in 10.0.0.11>10.0.0.10 6:7 ACCEPT", some)
	wait("fl-all 2 in 10.0.0.10>10.0.0.11 6:7 ACCEPT", some)
	wait("fl-all 2 out 10.0.0.11>10.0.0.10 6:7 ACCEPT", some)

	// Exact counts: datagrams of 100 bytes, on a connection that lasts.
	for i := range 40 {
		h.attacker.send(h.honest(17, udpTo(5000, 9, make([]byte, 72))))
		if i == 20 {
			time.Sleep(120 * time.Millisecond) // over more than one interval
		}
	}
	exact := func(r network.FlowRecord) bool { return r.Packets == 40 && r.Bytes == 4000 }
	wait("fl-all 1 out 10.0.0.10>10.0.0.11 17:9 ACCEPT", exact)
	wait("fl-all 2 in 10.0.0.10>10.0.0.11 17:9 ACCEPT", exact)

	// What the receiver's group denies, the sender's had let out.
	for range 5 {
		h.attacker.send(h.honest(17, udpTo(5001, 8, make([]byte, 72))))
	}
	five := func(r network.FlowRecord) bool { return r.Packets == 5 && r.Bytes == 500 }
	wait("fl-all 2 in 10.0.0.10>10.0.0.11 17:8 REJECT", five)
	wait("fl-all 1 out 10.0.0.10>10.0.0.11 17:8 ACCEPT", five)
	wait("fl-reject 2 in 10.0.0.10>10.0.0.11 17:8 REJECT", five)

	// From outside, to the private address; the router's own services are nobody's.
	h.a.listen(7)
	h.host.reaches("198.51.100.1:7")
	wait("fl-all 1 in 100.64.0.2>10.0.0.10 6:7 ACCEPT", some)
	h.a.get("/latest/meta-data/")
	h.attacker.send(ether(broadcastMAC, h.a.nic.MAC, 0x0800, ip4("0.0.0.0", "255.255.255.255", 17, 1, 0, false, udpTo(68, 67, nil))))
	echo(t, before)
	wait("fl-all 3 out 10.0.0.12>10.0.0.11 6:7 ACCEPT", some)
	eventually(t, "an interval without a flow is told", func() bool {
		seen.mu.Lock()
		defer seen.mu.Unlock()
		_, ok := seen.sums["fl-all 3 NODATA"]
		return ok
	})

	// What the sender's own group denies, and what an ACL does.
	h.v.Groups[0].Rules = h.v.Groups[0].Rules[1:]
	h.v.Subnets[1].ACL = "acl-none"
	h.v.ACLs = []network.ACL{{ID: "acl-none"}}
	d := nic(4, "subnet-b", "10.0.1.10", "sg-h")
	h.v.Interfaces = append(h.v.Interfaces, d)
	h.v.FlowLogs[0].Interfaces = append(h.v.FlowLogs[0].Interfaces, d.ID)
	apply(t, h.d, state(h.v))
	h.attacker.send(h.honest(17, udpTo(5002, 9, nil)))
	wait("fl-all 1 out 10.0.0.10>10.0.0.11 17:9 REJECT", some)
	h.attacker.send(ether("0e:6b:61:72:72:69", h.a.nic.MAC, 0x0800, ip4("10.0.0.10", "10.0.1.10", 17, 1, 0, false, udpTo(5003, 9, nil))))
	wait("fl-all 4 in 10.0.0.10>10.0.1.10 17:9 REJECT", some)
	seen.mu.Lock()
	for k := range seen.sums {
		if k[:9] == "fl-reject" && k[len(k)-6:] != "REJECT" && k[len(k)-6:] != "NODATA" {
			t.Errorf("a log of rejected flows has %s", k)
		}
		for _, own := range []netip.Addr{netip.MustParseAddr("169.254.169.254"), netip.MustParseAddr("10.0.0.2"), broadcast} {
			if strings.Contains(k, own.String()) {
				t.Errorf("the router's services are logged: %s", k)
			}
		}
	}
	seen.mu.Unlock()
	h.v.FlowLogs = nil
	apply(t, h.d, state(h.v))
	if h.d.vpcs["vpc-h"].flows.stop != nil {
		t.Error("flow logs go on without any")
	}
}
