package netns

import (
	"errors"
	"fmt"
	"net"
	"os"
	"slices"
	"strings"

	"github.com/google/nftables"
	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"karri.dev/internal/network/rules"
)

// rootOwner says what of the host's own namespace is this driver's: what goes over its link, and routes with
// its own metric.
func (d *Driver) rootOwner() owner {
	metric := rules.Metric(d.rules.Link)
	return owner{
		route:    func(r rules.Route) bool { return r.Device == d.rules.Link || r.Metric == metric },
		neighbor: func(n rules.Neighbor) bool { return n.Device == d.rules.Link },
		proxies:  d.cfg.PublicInterface,
	}
}

// applyRoot brings the host's own namespace to what it should be.
func (d *Driver) applyRoot(want rules.Namespace, same bool) error {
	if !d.root.six {
		want = withoutSix(want)
	}
	if err := d.root.filter.apply(want.Tables); err != nil {
		return err
	}
	have, devices, err := d.look(d.root, d.rootOwner(), same)
	if err != nil {
		return err
	}
	if devices != nil {
		if err := d.setUpRoot(devices); err != nil {
			return err
		}
	}
	_, fresh := differ(have.Proxies, want.Proxies)
	if err := d.bring(d.root, have, want); err != nil {
		return err
	}
	return d.announceAll(fresh)
}

// setUpRoot gives the link its address and, with a public interface, lets packets pass between the two.
func (d *Driver) setUpRoot(devices map[string]device) error {
	l, err := d.root.links.LinkByName(d.rules.Link)
	if err != nil {
		return fmt.Errorf("find %s: %w", d.rules.Link, err)
	}
	addrs, err := retry(func() ([]netlink.Addr, error) { return d.root.links.AddrList(l, netlink.FAMILY_V4) })
	if err != nil {
		return err
	}
	if len(addrs) == 0 {
		d.writes.Add(1)
		if err := d.root.links.AddrAdd(l, address(rules.HostAddr)); err != nil && !errors.Is(err, unix.EEXIST) {
			return fmt.Errorf("add address to %s: %w", d.rules.Link, err)
		}
	}
	if d.root.six {
		if err := d.setUpRoot6(l); err != nil {
			return err
		}
	}
	p := d.cfg.PublicInterface
	if p == "" {
		return nil
	}
	if _, ok := devices[p]; !ok {
		return fmt.Errorf("the host has no interface %s", p)
	}
	noted := strings.Fields(l.Attrs().Alias)
	return d.root.enter(func() error {
		// How it was is kept with the link: it lives exactly as long as the change.
		var fresh []hostSetting
		for _, s := range d.rootSettings() {
			if slices.ContainsFunc(noted, func(was string) bool { return strings.HasPrefix(was, s.path+"=") }) {
				continue // done before
			}
			b, err := os.ReadFile("/proc/sys/net/" + s.path)
			if err != nil {
				return err
			}
			noted, fresh = append(noted, s.path+"="+strings.TrimSpace(string(b))), append(fresh, s)
		}
		if len(fresh) == 0 {
			return nil
		}
		d.writes.Add(1)
		if err := d.root.links.LinkSetAlias(l, strings.Join(noted, " ")); err != nil {
			return fmt.Errorf("note settings: %w", err)
		}
		for _, s := range fresh {
			if err := setting(s.path, s.value); err != nil {
				return err
			}
		}
		return setting("ipv4/conf/"+d.rules.Link+"/forwarding", "1")
	})
}

type hostSetting struct{ path, value string }

// rootSettings are called in the host's namespace.
func (d *Driver) rootSettings() []hostSetting {
	p := d.cfg.PublicInterface
	out := []hostSetting{{"ipv4/conf/" + p + "/forwarding", "1"}, {"ipv4/neigh/" + p + "/proxy_delay", "0"}}
	if d.root.six {
		out = append(out, forwarding6(p, d.rules.Link)...)
	}
	return out
}

// announceAll tells the public link of addresses that are here now.
func (d *Driver) announceAll(list []rules.Neighbor) error {
	if len(list) == 0 {
		return nil
	}
	l, err := d.root.links.LinkByName(d.cfg.PublicInterface)
	if err != nil {
		return fmt.Errorf("find %s: %w", d.cfg.PublicInterface, err)
	}
	a := l.Attrs()
	if len(a.HardwareAddr) != 6 || a.Flags&net.FlagUp == 0 {
		return nil // nobody to tell
	}
	return d.root.enter(func() error {
		for _, e := range list {
			if e.IP.Is6() {
				continue // neighbours notice by themselves that the old one is gone
			}
			if err := announce(a.Index, a.HardwareAddr, e.IP); err != nil {
				return fmt.Errorf("announce %s: %w", e.IP, err)
			}
		}
		return nil
	})
}

// clearRoot removes what the driver made in the host's own namespace.
func (d *Driver) clearRoot() error {
	var errs []error
	have, _, err := d.look(d.root, d.rootOwner(), true)
	if err == nil {
		err = d.bring(d.root, have, rules.Namespace{})
	}
	errs = append(errs, err)
	if l, err := d.root.links.LinkByName(d.rules.Link); err == nil {
		errs = append(errs, d.restore(l.Attrs().Alias), d.root.links.LinkDel(l))
	}
	conn, err := nftables.New(nftables.WithNetNSFd(int(d.root.file.Fd())))
	if err != nil {
		return errors.Join(append(errs, err)...)
	}
	t := &nftables.Table{Family: nftables.TableFamilyIPv4, Name: rules.RootTable(d.rules.Link)}
	conn.AddTable(t) // so that there is one to delete
	conn.DelTable(t)
	if d.root.six {
		t := &nftables.Table{Family: nftables.TableFamilyIPv6, Name: t.Name}
		conn.AddTable(t)
		conn.DelTable(t)
	}
	d.root.filter.gen, d.root.known = 0, false
	return errors.Join(append(errs, conn.Flush())...)
}

// restore sets back what setUpRoot changed.
func (d *Driver) restore(was string) error {
	return d.root.enter(func() error {
		for _, s := range strings.Fields(was) {
			path, value, _ := strings.Cut(s, "=")
			if err := setting(path, value); err != nil && !errors.Is(err, os.ErrNotExist) {
				return err
			}
		}
		return nil
	})
}

// removeRunDir takes the mount that named namespaces need away again if nobody else uses it.
func removeRunDir() {
	if names, err := namedSpaces(""); err == nil && len(names) == 0 {
		if unix.Unmount(runDir, 0) == nil {
			_ = os.Remove(runDir)
		}
	}
}
