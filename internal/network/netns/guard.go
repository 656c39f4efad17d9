package netns

import (
	"net/netip"
	"slices"
	"strings"

	"karri.dev/internal/network/rules"
)

// A namespace's connections are in one table of the kernel, which one guest could fill: nobody else in the VPC would
// get a new connection then. So they are counted, and an interface that has more than its share gets no new ones,
// neither out nor in, until it has fewer again; those that it has go on. Between two counts a rule limits how many
// can come. (The kernel's own count per set element walks all connections of the element with every packet that
// begins one.)

// guard counts from time to time.
func (d *Driver) guard() {
	d.every(d.cfg.Count, func() {
		for _, v := range d.vpcs {
			if err := v.count(d); err != nil {
				d.deps.Log.Warn("cannot count a VPC's connections", "vpc", v.services.vpcID, "error", err)
			}
		}
	})
}

// count finds out which of the VPC's taps are full.
func (v *vpc) count(d *Driver) error {
	c, err := v.openConntrack()
	if err != nil {
		return err
	}
	defer c.close()
	entries, room, err := c.size()
	if err != nil {
		return err
	}
	share := uint32(d.cfg.Conns)
	if share == 0 {
		share = room / 4
	}
	low := share / 10 * 9
	if entries <= low && len(v.full) == 0 {
		return nil
	}
	var full []string
	if entries > low {
		taps, err := v.shares(c)
		if err != nil {
			return err
		}
		for tap, n := range taps {
			if n >= share || n >= low && slices.Contains(v.full, tap) {
				full = append(full, tap)
			}
		}
		slices.Sort(full)
	}
	if slices.Equal(full, v.full) || v.filter.have == nil {
		return nil
	}
	d.deps.Log.Warn("interfaces have as many connections as they may", "vpc", v.services.vpcID, "taps", full, "were", v.full, "share", share)
	v.full = full
	return v.filter.apply(withFull(v.filter.have, full))
}

// shares counts connections by tap: whoever began one, and if that is nobody here, whose it ends at.
func (v *vpc) shares(c *conntrack) (map[string]uint32, error) {
	begins, ends := map[uint32]string{}, map[netip.Addr]string{}
	for _, t := range v.have.Taps {
		begins[rules.ConnMark(t.Name)] = t.Name
	}
	for _, r := range v.have.Routes {
		if strings.HasPrefix(r.Device, "eni") && r.Table == rules.MainTable && r.Destination.IsSingleIP() {
			ends[r.Destination.Addr()] = r.Device
		}
	}
	taps := map[string]uint32{}
	err := c.dump(func(e entry) {
		tap, ok := begins[e.mark]
		if !ok {
			tap, ok = ends[e.reply.source]
		}
		if ok {
			taps[tap]++
		}
	})
	return taps, err
}

// withFull gives the tables with the taps that are full.
func withFull(tables []rules.Table, full []string) []rules.Table {
	out := slices.Clone(tables)
	for i, t := range out {
		at := slices.IndexFunc(t.Sets, func(s rules.Set) bool { return s.Name == rules.Full })
		if at < 0 {
			continue
		}
		out[i].Sets = slices.Clone(t.Sets)
		out[i].Sets[at].Elements = nil
		for _, tap := range full {
			out[i].Sets[at].Elements = append(out[i].Sets[at].Elements, rules.Element{Key: tap})
		}
	}
	return out
}
