package zone

import (
	"testing"

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
