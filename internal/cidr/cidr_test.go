package cidr

import (
	"net/netip"
	"testing"

	"pgregory.net/rapid"
)

func TestRanges(t *testing.T) {
	for _, c := range []struct {
		got         Range
		first, last string
		size        uint32
	}{
		{Subnet(netip.MustParsePrefix("172.31.16.0/20")), "172.31.16.4", "172.31.31.254", 4091},
		{Subnet(netip.MustParsePrefix("10.0.0.0/28")), "10.0.0.4", "10.0.0.14", 11},
		{Pool(netip.MustParsePrefix("203.0.113.0/24")), "203.0.113.1", "203.0.113.254", 254},
		{Pool(netip.MustParsePrefix("203.0.113.9/32")), "203.0.113.9", "203.0.113.9", 1},
		{Pool(netip.MustParsePrefix("203.0.113.8/31")), "203.0.113.8", "203.0.113.9", 2},
	} {
		if c.got.First.String() != c.first || c.got.Last.String() != c.last || c.got.Size() != c.size {
			t.Errorf("%v (%d), want %s-%s (%d)", c.got, c.got.Size(), c.first, c.last, c.size)
		}
	}
}

func TestSplit(t *testing.T) {
	vpc := netip.MustParsePrefix("172.31.0.0/16")
	if p, ok := Split(vpc, 20, 15); !ok || p.String() != "172.31.240.0/20" {
		t.Errorf("%v %v", p, ok)
	}
	if _, ok := Split(vpc, 20, 16); ok {
		t.Error("a 17th /20 in a /16")
	}
	if Nth(vpc, 2).String() != "172.31.0.2" {
		t.Error(Nth(vpc, 2))
	}
}

// Whatever the starts, a range gives each of its addresses once and then none.
func TestFreeIsABijection(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		p := netip.PrefixFrom(netip.MustParseAddr("10.9.8.0"), rapid.IntRange(24, 29).Draw(t, "bits"))
		r := Subnet(p)
		used := map[netip.Addr]bool{}
		taken := func(a netip.Addr) bool { return used[a] }
		for range r.Size() {
			ip, ok := r.Free(rapid.Uint32().Draw(t, "start"), taken)
			if !ok || used[ip] || !r.Contains(ip) || !p.Contains(ip) {
				t.Fatalf("%v %v", ip, ok)
			}
			used[ip] = true
		}
		if ip, ok := r.Free(0, taken); ok {
			t.Fatalf("%v from a full range", ip)
		}
	})
}
