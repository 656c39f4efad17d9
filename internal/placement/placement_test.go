package placement

import (
	"testing"

	"pgregory.net/rapid"

	"karri.dev/internal/resource"
)

func nodes(n int) []Node {
	var out []Node
	for i := range n {
		out = append(out, Node{ID: string(rune('a' + i)), Total: resource.Capacity{VCPUs: 8, MemoryMiB: 4096, DiskGiB: 100}})
	}
	return out
}

func placeAll(p *Planner, need resource.Capacity, times int) string {
	var s string
	for range times {
		id := p.Place(need, Wish{})
		if id == "" {
			id = "-"
		}
		s += id
	}
	return s
}

func TestPolicies(t *testing.T) {
	small := resource.Capacity{VCPUs: 1, MemoryMiB: 512, DiskGiB: 1}
	used := nodes(3)
	used[0].Used.MemoryMiB = 1024
	for _, c := range []struct {
		name   string
		policy Policy
		nodes  []Node
		last   string
		times  int
		want   string
	}{
		{"least loaded spreads", LeastLoaded, nodes(3), "", 6, "abcabc"},
		{"least loaded fills the empty first", LeastLoaded, used, "", 5, "bcbca"},
		{"round robin goes on after the last", RoundRobin, nodes(3), "b", 4, "cabc"},
		{"round robin after a node that left", RoundRobin, nodes(2), "aa", 3, "bab"},
		{"full", RoundRobin, nodes(1), "", 9, "aaaaaaaa-"},
		{"no nodes", LeastLoaded, nil, "", 1, "-"},
	} {
		if got := placeAll(NewPlanner(c.policy, c.nodes, c.last), small, c.times); got != c.want {
			t.Errorf("%s: %s, want %s", c.name, got, c.want)
		}
	}
}

func TestNeverBeyondCapacity(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		ns := nodes(rapid.IntRange(0, 5).Draw(t, "nodes"))
		p := NewPlanner(rapid.SampledFrom([]Policy{LeastLoaded, RoundRobin}).Draw(t, "policy"), ns, rapid.StringN(0, 1, 1).Draw(t, "last"))
		sum := map[string]resource.Capacity{}
		for range rapid.IntRange(1, 60).Draw(t, "demands") {
			need := resource.Capacity{VCPUs: rapid.IntRange(1, 9).Draw(t, "cpu"), MemoryMiB: rapid.IntRange(1, 4096).Draw(t, "mem"), DiskGiB: rapid.IntRange(0, 50).Draw(t, "disk")}
			id := p.Place(need, Wish{})
			if id == "" {
				for _, n := range ns { // refused only if it truly fits nowhere
					u := sum[n.ID]
					if u.VCPUs+need.VCPUs <= 8 && u.MemoryMiB+need.MemoryMiB <= 4096 && u.DiskGiB+need.DiskGiB <= 100 {
						t.Fatalf("%+v refused though %s has %+v in use", need, n.ID, u)
					}
				}
				continue
			}
			u := sum[id]
			u.VCPUs, u.MemoryMiB, u.DiskGiB = u.VCPUs+need.VCPUs, u.MemoryMiB+need.MemoryMiB, u.DiskGiB+need.DiskGiB
			if u.VCPUs > 8 || u.MemoryMiB > 4096 || u.DiskGiB > 100 {
				t.Fatalf("%s is beyond its capacity: %+v", id, u)
			}
			sum[id] = u
		}
	})
}

func TestParsePolicy(t *testing.T) {
	for _, s := range []string{"", "least-loaded", "round-robin"} {
		if _, err := ParsePolicy(s); err != nil {
			t.Error(err)
		}
	}
	if _, err := ParsePolicy("random"); err == nil {
		t.Error("an unknown policy passed")
	}
}

func TestWishes(t *testing.T) {
	nodes := func() []Node {
		var out []Node
		for _, id := range []string{"a", "b", "c"} {
			out = append(out, Node{ID: id, Total: resource.Capacity{VCPUs: 2, MemoryMiB: 1000, DiskGiB: 10}})
		}
		return out
	}
	need := resource.Capacity{VCPUs: 1, MemoryMiB: 100, DiskGiB: 1}
	for _, policy := range []Policy{LeastLoaded, RoundRobin} {
		p := NewPlanner(policy, nodes(), "")
		avoid := map[string]bool{}
		for range 3 { // a spread
			id := p.Place(need, Wish{Avoid: avoid})
			if id == "" || avoid[id] {
				t.Fatalf("%s: placed on %q", policy, id)
			}
			avoid[id] = true
		}
		if id := p.Place(need, Wish{Avoid: avoid, Prefer: avoid}); id != "" {
			t.Errorf("%s: a fourth of a spread on %q", policy, id)
		}
		if id := p.Place(need, Wish{Prefer: map[string]bool{"b": true}}); id != "b" {
			t.Errorf("%s: preferred b, got %q", policy, id)
		}
		if id := p.Place(need, Wish{Prefer: map[string]bool{"b": true}}); id == "b" || id == "" {
			t.Errorf("%s: b is full, got %q", policy, id)
		}
	}
}
