package netns

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"

	"karri.dev/internal/network"
	"karri.dev/internal/network/rules"
)

// flows makes the records of one VPC's flow logs. What passes is counted by conntrack: its table is read once in an
// interval, and its events tell of connections that end between. What is denied comes by the kernel's packet log.
// Traffic with the router's own services is not logged, as in EC2.
type flows struct {
	d     *Driver
	space *space
	vpc   string
	view  atomic.Pointer[flowView]
	stop  context.CancelFunc // nil = it does not run
	done  sync.WaitGroup

	// Of the goroutine that runs:
	counted map[uint32]entry // what has been taken from each connection, by id
	sums    map[flowKey]*flowSum
	skipped bool
	began   time.Time // of the interval
}

// flowView is what records are made with; it is replaced as a whole.
type flowView struct {
	logs    []network.FlowLog
	owners  map[string]flowOwner // by tap
	byMark  map[uint32]string    // tap
	byIndex map[int]string
	byAddr  map[netip.Addr]string
	ranges  map[netip.Prefix]string // delegated prefixes
	own     map[netip.Addr]bool     // the router's addresses
}

type flowOwner struct{ eni, instance, subnet string }

type flowKey struct {
	tap              string
	packet           tuple
	egress, rejected bool
}

type flowSum struct {
	packets, bytes uint64
	first          time.Time
}

// maxFlows bounds the memory of one VPC's interval; what is beyond is told as skipped.
const maxFlows = 200_000

var broadcast = netip.AddrFrom4([4]byte{255, 255, 255, 255})

// groupDestroy is the multicast group of connections that end.
const groupDestroy = 3

// update tells of a new state; it starts and ends the work.
func (f *flows) update(state network.VPC, want rules.VPC, index map[string]int) {
	if len(state.FlowLogs) == 0 || f.d.deps.Flows == nil {
		f.close()
		return
	}
	v := &flowView{
		logs: state.FlowLogs, owners: map[string]flowOwner{}, byMark: map[uint32]string{}, byIndex: map[int]string{}, byAddr: map[netip.Addr]string{},
		ranges: map[netip.Prefix]string{}, own: map[netip.Addr]bool{},
	}
	for _, a := range want.Addresses {
		v.own[a] = true
	}
	for _, i := range state.Interfaces {
		tap := rules.TapName(i.ID)
		v.owners[tap] = flowOwner{i.ID, i.InstanceID, i.SubnetID}
		v.byMark[rules.ConnMark(tap)], v.byIndex[index[tap]], v.byAddr[i.PrivateIP] = tap, tap, tap
		for _, a := range i.Secondary {
			v.byAddr[a.Private] = tap
		}
		for _, a := range i.IPv6 {
			v.byAddr[a] = tap
		}
		for _, p := range i.Prefixes {
			v.ranges[p] = tap
		}
	}
	f.view.Store(v)
	if f.stop == nil {
		ctx, cancel := context.WithCancel(context.Background())
		f.stop = cancel
		counting := make(chan struct{})
		f.done.Go(func() {
			begun := sync.OnceFunc(func() { close(counting) })
			for err := f.run(ctx, begun); err != nil && ctx.Err() == nil; err = f.run(ctx, begun) {
				f.d.deps.Log.Error("flow logs begin anew", "vpc", f.vpc, "error", err)
				f.skipped = true // what passed meanwhile
				select {
				case <-ctx.Done():
				case <-time.After(time.Second):
				}
			}
		})
		<-counting // what comes after the state is in force is logged
	}
}

func (f *flows) close() {
	if f.stop != nil {
		f.stop()
		f.done.Wait()
		f.stop = nil
	}
}

// run collects until ctx ends, and hands over the last interval then. It calls counting once, when it has begun.
func (f *flows) run(ctx context.Context, counting func()) error {
	defer counting() // also when it could not begin
	table, err := f.space.openConntrack()
	if err != nil {
		return err
	}
	defer table.close()
	ends, err := f.space.openConntrack(groupDestroy)
	if err != nil {
		return err
	}
	defer ends.close()
	_ = unix.SetsockoptInt(ends.fd, unix.SOL_SOCKET, unix.SO_RCVBUFFORCE, 4<<20)
	drops, err := f.space.openPacketLog()
	if err != nil {
		return err
	}
	defer drops.close()
	f.counted, f.sums, f.began = map[uint32]entry{}, map[flowKey]*flowSum{}, f.d.deps.Now()
	if err := table.dump(func(e entry) { f.counted[e.id] = e }); err != nil { // what was before is nobody's
		return err
	}
	counting()
	next := time.Now().Add(f.d.cfg.Flows)
	buf := make([]byte, 64<<10)
	for ctx.Err() == nil {
		fds := []unix.PollFd{{Fd: int32(ends.fd), Events: unix.POLLIN}, {Fd: int32(drops.fd), Events: unix.POLLIN}}
		if _, err := unix.Poll(fds, int(max(1, min(time.Until(next), pollTime).Milliseconds()))); err != nil && !errors.Is(err, unix.EINTR) {
			return fmt.Errorf("wait for connections: %w", err)
		}
		if fds[0].Revents != 0 {
			f.lost(ends.receive(buf, func(_ uint8, body []byte) (bool, error) {
				e := parseEntry(body)
				f.passed(e)
				delete(f.counted, e.id)
				return true, nil
			}))
		}
		if fds[1].Revents != 0 {
			f.lost(drops.receive(buf, func(_ uint8, body []byte) (bool, error) {
				f.denied(parseDenied(body))
				return true, nil
			}))
		}
		if time.Now().Before(next) {
			continue
		}
		next = next.Add(f.d.cfg.Flows)
		if err := f.interval(table); err != nil {
			return err
		}
	}
	return f.interval(table)
}

// pollTime is how soon the end is noticed.
const pollTime = 200 * time.Millisecond

// lost notes that the kernel had more to say than was read.
func (f *flows) lost(_ bool, err error) {
	if err != nil && !errors.Is(err, unix.EAGAIN) {
		f.skipped = true
	}
}

// interval ends an interval: it reads the table and hands over the records.
func (f *flows) interval(table *conntrack) error {
	live := make(map[uint32]entry, len(f.counted))
	err := table.dump(func(e entry) {
		f.passed(e)
		live[e.id] = e
	})
	if err != nil {
		return err
	}
	f.counted = live
	now := f.d.deps.Now()
	if records := f.records(now); len(records) > 0 {
		f.d.deps.Flows(records)
	}
	f.sums, f.skipped, f.began = map[flowKey]*flowSum{}, false, now
	return nil
}

// passed takes what is new of a connection, for the interfaces at both ends.
func (f *flows) passed(e entry) {
	v, was := f.view.Load(), f.counted[e.id]
	if was.orig != e.orig { // the id is another connection's by now
		was = entry{}
	}
	there := tuple{e.orig.source, e.reply.source, e.orig.protocol, e.orig.sourcePort, e.reply.sourcePort}
	if v.own[there.source] || v.own[there.dest] || v.own[e.orig.dest] || there.dest == broadcast { // services, DHCP with them
		return
	}
	back := tuple{there.dest, there.source, there.protocol, there.destPort, there.sourcePort}
	from, ok := v.byMark[e.mark]
	if !ok {
		from = v.tapOf(there.source)
	}
	for tap, egress := range map[string]bool{from: true, v.tapOf(there.dest): false} {
		f.add(flowKey{tap, there, egress, false}, e.packets-was.packets, e.bytes-was.bytes)
		f.add(flowKey{tap, back, !egress, false}, e.replyPackets-was.replyPackets, e.replyBytes-was.replyBytes)
	}
}

// denied takes a packet that was dropped. What the receiver's side denies, the sender's had let out.
func (f *flows) denied(d denied) {
	v := f.view.Load()
	if v.own[d.packet.dest] {
		return
	}
	from, to := v.byIndex[d.in], v.byIndex[d.out]
	if d.word == rules.DeniedOut {
		f.add(flowKey{from, d.packet, true, true}, 1, d.bytes)
		return
	}
	f.add(flowKey{from, d.packet, true, false}, 1, d.bytes)
	f.add(flowKey{to, d.packet, false, true}, 1, d.bytes)
}

func (f *flows) add(k flowKey, packets, bytes uint64) {
	if k.tap == "" || packets == 0 || packets > 1<<62 { // nobody here, nothing, or counters that began anew
		return
	}
	s := f.sums[k]
	if s == nil {
		if len(f.sums) >= maxFlows {
			f.skipped = true
			return
		}
		s = &flowSum{first: f.d.deps.Now()}
		if !k.rejected { // seen when the interval ends
			s.first = f.began
		}
		f.sums[k] = s
	}
	s.packets += packets
	s.bytes += bytes
}

func (v *flowView) tapOf(a netip.Addr) string {
	if tap, ok := v.byAddr[a]; ok {
		return tap
	}
	for p, tap := range v.ranges {
		if p.Contains(a) {
			return tap
		}
	}
	return ""
}

// records gives the interval's records, log by log.
func (f *flows) records(now time.Time) (out []network.FlowRecord) {
	v := f.view.Load()
	byTap := map[string][]flowKey{}
	for k := range f.sums {
		byTap[k.tap] = append(byTap[k.tap], k)
	}
	for _, l := range v.logs {
		for _, eni := range l.Interfaces {
			tap := rules.TapName(eni)
			who, ok := v.owners[tap]
			if !ok {
				continue
			}
			r := network.FlowRecord{LogID: l.ID, VPCID: f.vpc, SubnetID: who.subnet, InterfaceID: who.eni, InstanceID: who.instance, Start: f.began, End: now}
			n := len(out)
			for _, k := range byTap[tap] {
				if k.rejected && !l.Rejected || !k.rejected && !l.Accepted {
					continue
				}
				s, r := f.sums[k], r
				r.Source, r.Dest, r.SourcePort, r.DestPort, r.Protocol = k.packet.source, k.packet.dest, k.packet.sourcePort, k.packet.destPort, k.packet.protocol
				r.Packets, r.Bytes, r.Start, r.Rejected, r.Egress = s.packets, s.bytes, s.first, k.rejected, k.egress
				out = append(out, r)
			}
			if f.skipped {
				r.Status = network.SkipData
				out = append(out, r)
			} else if n == len(out) {
				r.Status = network.NoData
				out = append(out, r)
			}
		}
	}
	return out
}
