package zone

import (
	"net/netip"
	"slices"
	"testing"

	"karri.dev/internal/network"
	"karri.dev/internal/resource"
	"karri.dev/internal/store"
)

// What was compiled from a snapshot before a change is not kept after it.
func TestNeighbourhood(t *testing.T) {
	snap := world(t)
	h := &neighbourhood{vpcs: map[string]*neighbours{}, since: map[string]int64{}}
	one, two := store.VPCs.Get(snap, "vpc-1"), store.VPCs.Get(snap, "vpc-2")
	get := func(v *resource.VPC) *neighbours { return h.of(snap, v) }
	a, b := get(one), get(two)
	if get(one) != a || get(two) != b {
		t.Error("compiled twice without a reason")
	}
	h.forget("vpc-1", snap.Revision)
	if get(one) == a || get(two) != b {
		t.Error("what was to be forgotten was kept, or more")
	}
	h.forget("vpc-1", snap.Revision+1)
	if first, second := get(one), get(one); first == second {
		t.Error("an old snapshot's are kept")
	}
	h.forget("", snap.Revision+1)
	if first, second := get(two), get(two); first == second {
		t.Error("an old snapshot's are kept")
	}
	if len(a.remotes("node-1")) != 1 || len(a.remotes("node-2")) != 2 || len(a.remotes("node-3")) != 3 {
		t.Error(a.placed)
	}
}

// A delegated prefix is told to its own node and to the others, and its addresses are members of the interface's groups.
func TestDelegatedPrefixes(t *testing.T) {
	st := worldIn(t)
	err := st.Update(t.Context(), func(tx *store.Tx) error {
		e := *store.Interfaces.Get(tx, "eni-i-1")
		e.Prefixes = []string{"10.0.0.64/28"}
		return store.Interfaces.Put(tx, &e)
	})
	if err != nil {
		t.Fatal(err)
	}
	want := netip.MustParsePrefix("10.0.0.64/28")
	home := store.Instances.Get(st.Snapshot(), "i-1").Node
	for _, node := range []string{"node-1", "node-2"} {
		v := vpcsOn(st, node)["vpc-1"]
		var got []netip.Prefix
		for _, i := range v.Interfaces {
			got = append(got, i.Prefixes...)
		}
		for _, r := range v.Remotes {
			got = append(got, r.Others...)
		}
		if got = slices.DeleteFunc(got, func(p netip.Prefix) bool { return p.Addr().Is6() }); !slices.Equal(got, []netip.Prefix{want}) {
			t.Errorf("%s (it is on %s) knows %v", node, home, got)
		}
		i := slices.IndexFunc(v.Groups, func(g network.Group) bool { return slices.Contains(g.Members, netip.MustParseAddr("10.0.0.79")) })
		if i < 0 {
			t.Errorf("%s: the last address is in no group: %+v", node, v.Groups)
		}
	}
}
