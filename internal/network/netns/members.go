package netns

import (
	"errors"
	"fmt"
	"reflect"
	"slices"

	"github.com/google/nftables"

	"karri.dev/internal/network"
	"karri.dev/internal/network/rules"
)

// The commonest change by far is that somebody elsewhere enters or leaves a group: every node whose rules name the
// group hears of it. It changes elements of a set and nothing else, so it need not be compiled.

// newMembers gives the groups, by VPC, whose members differ between two states; nil if anything else differs, or
// nothing.
func newMembers(was, is network.State) map[string][]network.Group {
	if !slices.Equal(was.PublicPool, is.PublicPool) || len(was.VPCs) != len(is.VPCs) || !reflect.DeepEqual(was.Flat, is.Flat) {
		return nil
	}
	out := map[string][]network.Group{}
	for i := range is.VPCs {
		a, b := &was.VPCs[i], &is.VPCs[i]
		if !sameButMembers(a, b) {
			return nil
		}
		for j, g := range b.Groups {
			if !slices.Equal(a.Groups[j].Members, g.Members) {
				out[b.ID] = append(out[b.ID], g)
			}
		}
	}
	if len(out) == 0 {
		return nil
	}
	return out
}

// sameButMembers compares what there can be thousands of by hand.
func sameButMembers(a, b *network.VPC) bool {
	if !slices.EqualFunc(a.Groups, b.Groups, func(a, b network.Group) bool { return a.ID == b.ID && slices.Equal(a.Rules, b.Rules) }) ||
		!slices.EqualFunc(a.Interfaces, b.Interfaces, sameInterface) || !slices.EqualFunc(a.Remotes, b.Remotes, sameRemote) || !slices.Equal(a.DNS.Names, b.DNS.Names) {
		return false
	}
	x, y := *a, *b
	for _, v := range []*network.VPC{&x, &y} {
		v.Groups, v.Interfaces, v.Remotes, v.DNS.Names = nil, nil, nil, nil
	}
	return reflect.DeepEqual(x, y)
}

func sameInterface(a, b network.Interface) bool {
	return a.ID == b.ID && a.InstanceID == b.InstanceID && a.SubnetID == b.SubnetID && a.MAC == b.MAC && a.PrivateIP == b.PrivateIP && a.PublicIP == b.PublicIP &&
		slices.Equal(a.Groups, b.Groups) && a.NoSourceCheck == b.NoSourceCheck && a.Hostname == b.Hostname &&
		slices.Equal(a.Secondary, b.Secondary) && slices.Equal(a.IPv6, b.IPv6) && slices.Equal(a.Prefixes, b.Prefixes)
}

func sameRemote(a, b network.Remote) bool {
	return a.ID == b.ID && a.PrivateIP == b.PrivateIP && a.MAC == b.MAC && a.Underlay == b.Underlay && a.SubnetID == b.SubnetID && slices.Equal(a.Others, b.Others)
}

// applyMembers applies a state that differs from the last one in groups' members only; false if it does not, or if it
// is not sure that the last one is in force.
func (d *Driver) applyMembers(state network.State) (bool, error) {
	if d.last == nil || !d.whole {
		return false, nil
	}
	changed := newMembers(*d.last, state)
	if changed == nil {
		return false, nil
	}
	for id, groups := range changed {
		v := d.vpcs[id]
		if v == nil || !v.known {
			return false, nil
		}
		err := v.filter.members(groups)
		if errors.Is(err, errForeign) {
			return false, nil
		}
		if err != nil {
			d.whole = false
			return false, fmt.Errorf("netns: %s: %w", id, err)
		}
	}
	d.last = &state
	return true, nil
}

// errForeign says that the rules are not known to be what was last written.
var errForeign = errors.New("somebody else has changed the rules")

// members writes groups' members.
func (f *filter) members(groups []network.Group) error {
	gen, err := f.generation()
	if err != nil {
		return fmt.Errorf("read nftables generation: %w", err)
	}
	if f.gen == 0 || gen != f.gen {
		return errForeign
	}
	b, err := f.begin()
	if err != nil {
		return err
	}
	next := slices.Clone(f.have)
	for i := range next {
		t := &nftables.Table{Family: encodeFamily(next[i].Family), Name: next[i].Name}
		next[i].Sets = slices.Clone(next[i].Sets)
		for _, g := range groups {
			at := slices.IndexFunc(next[i].Sets, func(s rules.Set) bool { return s.Name == rules.MemberSet(g.ID) })
			if at < 0 {
				continue // no rule here names the group
			}
			was := next[i].Sets[at]
			is := was.WithMembers(g.Members)
			out, in := differ(was.Elements, is.Elements)
			b.elements(b.conn.SetDeleteElements, encodeSet(t, is, 0), is, out)
			b.elements(b.conn.SetAddElements, encodeSet(t, is, 0), is, in)
			next[i].Sets[at] = is
		}
	}
	return f.send(b, gen, next)
}
