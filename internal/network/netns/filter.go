package netns

import (
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"slices"
	"sync/atomic"

	"github.com/google/nftables"
	"github.com/mdlayher/netlink"
	"golang.org/x/sys/unix"

	"karri.dev/internal/network/rules"
)

const (
	nftBuffer = 64 << 20 // bytes that one transaction and its answers may take; used only while needed
	nftChunk  = 250      // set elements a message: a netlink attribute holds 64 kB
)

// filter keeps the nftables of one namespace. The kernel counts every change of a namespace's rules by a
// generation number: while it is the one of our own last change, what we last wrote is what is there, and only
// the difference to it is sent. Otherwise all is written anew, still in one transaction, so that no packet
// ever meets half a rule set and no connection is forgotten.
type filter struct {
	file   *os.File // the namespace
	shared bool     // others have tables here too
	have   []rules.Table
	gen    uint32 // 0 = unknown
	setID  uint32
	writes *atomic.Int64
}

// apply makes the tables be want.
func (f *filter) apply(want []rules.Table) error {
	gen, err := f.generation()
	if err != nil {
		return fmt.Errorf("read nftables generation: %w", err)
	}
	known := f.gen != 0 && gen == f.gen
	b, err := f.begin()
	if err != nil {
		return err
	}
	if !known || !compatible(f.have, want) {
		b.everything(f.have, want, f.shared)
	} else {
		b.difference(f.have, want)
	}
	return f.send(b, gen, want)
}

// send writes a batch that was made at a generation and leads to want.
func (f *filter) send(b *batch, gen uint32, want []rules.Table) error {
	if b.err != nil {
		return b.err
	}
	if b.count == 0 {
		f.have = want
		return nil
	}
	f.writes.Add(int64(b.count))
	f.gen = 0
	if err := b.conn.Flush(); err != nil {
		return fmt.Errorf("write nftables: %w", err)
	}
	after, err := f.generation()
	if err != nil {
		return fmt.Errorf("read nftables generation: %w", err)
	}
	f.have = want
	if after == gen+1 { // else somebody wrote in between: unknown, and written anew next time
		f.gen = after
	}
	return nil
}

func (f *filter) begin() (*batch, error) {
	conn, err := nftables.New(nftables.WithNetNSFd(int(f.file.Fd())), nftables.WithSockOptions(func(c *netlink.Conn) error {
		return errors.Join(c.SetReadBuffer(nftBuffer), c.SetWriteBuffer(nftBuffer))
	}))
	if err != nil {
		return nil, fmt.Errorf("open nftables: %w", err)
	}
	return &batch{conn: conn, setID: &f.setID}, nil
}

// generation reads the namespace's rule set generation.
func (f *filter) generation() (uint32, error) {
	c, err := netlink.Dial(unix.NETLINK_NETFILTER, &netlink.Config{NetNS: int(f.file.Fd())})
	if err != nil {
		return 0, err
	}
	defer c.Close()
	answers, err := c.Execute(netlink.Message{
		Header: netlink.Header{
			Type:  unix.NFNL_SUBSYS_NFTABLES<<8 | unix.NFT_MSG_GETGEN,
			Flags: netlink.Request,
		},
		Data: []byte{unix.AF_UNSPEC, unix.NFNETLINK_V0, 0, 0},
	})
	if err != nil {
		return 0, err
	}
	for _, a := range answers {
		if len(a.Data) < 4 {
			continue
		}
		d, err := netlink.NewAttributeDecoder(a.Data[4:])
		if err != nil {
			return 0, err
		}
		d.ByteOrder = binary.BigEndian
		for d.Next() {
			if d.Type() == unix.NFTA_GEN_ID {
				return d.Uint32(), d.Err()
			}
		}
	}
	return 0, errors.New("no generation in the answer")
}

// batch is one transaction being written.
type batch struct {
	conn  *nftables.Conn
	setID *uint32
	count int // changes in it
	err   error
}

// everything replaces all that is there.
func (b *batch) everything(have, want []rules.Table, shared bool) {
	if !shared {
		b.conn.FlushRuleset()
		b.count++
	}
	for _, h := range have {
		if shared && !slices.ContainsFunc(want, func(w rules.Table) bool { return w.Family == h.Family && w.Name == h.Name }) {
			t := &nftables.Table{Family: encodeFamily(h.Family), Name: h.Name}
			b.conn.AddTable(t)
			b.conn.DelTable(t)
			b.count++
		}
	}
	for _, w := range want {
		t := &nftables.Table{Family: encodeFamily(w.Family), Name: w.Name}
		if shared {
			b.conn.AddTable(t) // so that there is one to delete
			b.conn.DelTable(t)
		}
		b.conn.AddTable(t)
		b.count++
		b.table(t, rules.Table{}, w)
	}
}

// compatible says whether tables can be changed into others piece by piece.
func compatible(have, want []rules.Table) bool {
	return slices.EqualFunc(have, want, func(h, w rules.Table) bool {
		return h.Family == w.Family && h.Name == w.Name && sameFrame(h, w)
	})
}

// difference writes what leads from have to want.
func (b *batch) difference(have, want []rules.Table) {
	for i, w := range want {
		b.table(&nftables.Table{Family: encodeFamily(w.Family), Name: w.Name}, have[i], w)
	}
}

// sameFrame says whether sets and base chains that both have are of the same kind.
func sameFrame(have, want rules.Table) bool {
	sets, chains := byName(have.Sets, setName), byName(have.Chains, chainName)
	for _, w := range want.Sets {
		if h := sets[w.Name]; h != nil && !h.SameKind(w) {
			return false
		}
	}
	for _, w := range want.Chains {
		h := chains[w.Name]
		if h != nil && ((h.Base == nil) != (w.Base == nil) || h.Base != nil && *h.Base != *w.Base) {
			return false
		}
	}
	return true
}

func setName(s rules.Set) string     { return s.Name }
func chainName(c rules.Chain) string { return c.Name }

// byName indexes a list, for tables of thousands of chains.
func byName[T any](list []T, of func(T) string) map[string]*T {
	m := make(map[string]*T, len(list))
	for i := range list {
		m[of(list[i])] = &list[i]
	}
	return m
}

// table writes one table's changes in an order that never leaves a name dangling: new sets and chains, elements
// that go, rules, elements that come, then chains and sets that go.
func (b *batch) table(t *nftables.Table, have, want rules.Table) {
	haveSets, haveChains := byName(have.Sets, setName), byName(have.Chains, chainName)
	wantSets, wantChains := byName(want.Sets, setName), byName(want.Chains, chainName)
	encoded := map[string]*nftables.Set{}
	for _, s := range want.Sets {
		*b.setID++
		e := encodeSet(t, s, *b.setID)
		encoded[s.Name] = e
		if haveSets[s.Name] == nil {
			b.fail(b.conn.AddSet(e, nil))
			b.count++
		} else {
			e.ID = 0 // it is found by its name
		}
	}
	for _, c := range want.Chains {
		if haveChains[c.Name] == nil {
			b.conn.AddChain(encodeChain(t, c))
			b.count++
		}
	}
	type change struct {
		set rules.Set
		in  []rules.Element
	}
	var additions []change
	for _, s := range want.Sets {
		h := haveSets[s.Name]
		if h == nil {
			additions = append(additions, change{s, s.Elements})
			continue
		}
		out, in := differ(h.Elements, s.Elements)
		b.elements(b.conn.SetDeleteElements, encoded[s.Name], s, out)
		additions = append(additions, change{s, in})
	}
	for _, c := range want.Chains {
		h := haveChains[c.Name]
		if h != nil && slices.EqualFunc(h.Rules, c.Rules, rules.Rule.Equal) {
			continue
		}
		n := encodeChain(t, c)
		if h != nil {
			b.conn.FlushChain(n)
			b.count++
		}
		for _, r := range c.Rules {
			b.conn.AddRule(&nftables.Rule{Table: t, Chain: n, Exprs: encodeRule(r)})
			b.count++
		}
	}
	for _, a := range additions {
		b.elements(b.conn.SetAddElements, encoded[a.set.Name], a.set, a.in)
	}
	var gone []*nftables.Chain
	for _, c := range have.Chains {
		if wantChains[c.Name] == nil {
			n := encodeChain(t, c)
			b.conn.FlushChain(n)
			gone = append(gone, n)
			b.count++
		}
	}
	for _, n := range gone {
		b.conn.DelChain(n)
	}
	for _, s := range have.Sets {
		if wantSets[s.Name] == nil {
			b.conn.DelSet(encodeSet(t, s, 0))
			b.count++
		}
	}
}

func (b *batch) elements(send func(*nftables.Set, []nftables.SetElement) error, n *nftables.Set, s rules.Set, list []rules.Element) {
	for part := range slices.Chunk(list, nftChunk) {
		out := make([]nftables.SetElement, len(part))
		for i, e := range part {
			var err error
			out[i], err = encodeElement(s, e)
			b.fail(err)
		}
		b.fail(send(n, out))
		b.count++
	}
}

func (b *batch) fail(err error) { b.err = errors.Join(b.err, err) }

func encodeChain(t *nftables.Table, c rules.Chain) *nftables.Chain {
	out := &nftables.Chain{Name: c.Name, Table: t}
	if c.Base == nil {
		return out
	}
	hooks := map[string]*nftables.ChainHook{
		"prerouting": nftables.ChainHookPrerouting, "input": nftables.ChainHookInput,
		"forward": nftables.ChainHookForward, "output": nftables.ChainHookOutput, "postrouting": nftables.ChainHookPostrouting,
	}
	out.Type = nftables.ChainType(c.Base.Type)
	out.Hooknum = hooks[c.Base.Hook]
	if t.Family == nftables.TableFamilyARP {
		out.Hooknum = nftables.ChainHookRef(0) // the arp family's "input"
	}
	out.Priority = nftables.ChainPriorityRef(nftables.ChainPriority(c.Base.Priority))
	policy := nftables.ChainPolicyAccept
	if c.Base.Drop {
		policy = nftables.ChainPolicyDrop
	}
	out.Policy = &policy
	return out
}

// differ says which of have must go and which of want must come; order does not count.
func differ[T comparable](have, want []T) (out, in []T) {
	h, w := make(map[T]bool, len(have)), make(map[T]bool, len(want))
	for _, v := range have {
		h[v] = true
	}
	for _, v := range want {
		w[v] = true
		if !h[v] {
			in = append(in, v)
		}
	}
	for _, v := range have {
		if !w[v] {
			out = append(out, v)
		}
	}
	return out, in
}
