// Package daemon is the composition root: it builds roles from their configuration, starts them in order and
// stops them in reverse. Whatever touches the host beside the engines (files, listeners, locks) is here.
package daemon

import (
	"fmt"
	"net/netip"
	"path/filepath"
	"slices"

	"karri.dev/internal/store"
)

// DefaultPool is where instances' public addresses come from unless told otherwise: a range for
// documentation (RFC 5737), which is routed nowhere.
var DefaultPool = netip.MustParsePrefix("198.51.100.0/24")

// DefaultPool6 is where VPCs' IPv6 ranges come from unless told otherwise: of the range for documentation (RFC 3849),
// too. Unlike unique local addresses, which guests would use after IPv4 (RFC 6724), it is to them what AWS's ranges are.
var DefaultPool6 = netip.MustParsePrefix("2001:db8:ec00::/40")

// CloudConfig is what an operator says of the cloud role.
type CloudConfig struct {
	DataDir string
	APIAddr string
	Region  string
	Domain  string
	Hosts   []string // further names and addresses of the API

	TLSCert, TLSKey string // files; "" = a certificate of the cloud's own authority

	StoreListen string // embedded etcd's address for zone processes
	Etcd        Etcd   // in place of the embedded one

	ObjectDisks  []string // folders on further disks for objects' data
	ObjectStores []string // NAME=FILE: S3 endpoints that keep the bytes of some buckets

	PublicPool []netip.Prefix
	RootDevice string // of imported images: "ebs", or "instance-store" (also "")

	// IssuerNetworks are addresses and networks that are not the internet, in which accounts' OpenID Connect providers may be.
	IssuerNetworks []string

	Mail Mail

	issuers []netip.Prefix // of IssuerNetworks

	guests string // socket on which guests of a node in the same process reach the API; "" = none
}

func (c *CloudConfig) defaults() error {
	var err error
	if c.DataDir, err = filepath.Abs(c.DataDir); err != nil {
		return err
	}
	for i := range c.ObjectDisks {
		if c.ObjectDisks[i], err = filepath.Abs(c.ObjectDisks[i]); err != nil {
			return err
		}
	}
	if c.RootDevice != "" && c.RootDevice != "ebs" && c.RootDevice != "instance-store" {
		return fmt.Errorf("--import-root-device is %q: want ebs or instance-store", c.RootDevice)
	}
	for _, text := range c.IssuerNetworks {
		p, err := netip.ParsePrefix(text)
		if a, bad := netip.ParseAddr(text); bad == nil {
			p, err = netip.PrefixFrom(a, a.BitLen()), nil
		}
		if err != nil || p != p.Masked() {
			return fmt.Errorf("--oidc-networks: %s: want an address or a network, as in 10.1.0.0/16", text)
		}
		c.issuers = append(c.issuers, p)
	}
	for _, d := range []netip.Prefix{DefaultPool, DefaultPool6} {
		if !slices.ContainsFunc(c.PublicPool, func(p netip.Prefix) bool { return p.Addr().Is6() == d.Addr().Is6() }) {
			c.PublicPool = append(slices.Clip(c.PublicPool), d)
		}
	}
	return nil
}

// Mail says how the cloud sends mails, and who decides about sign-ups. Without From there are none.
type Mail struct {
	From         string
	Admin        string // the administrator's address
	Dir          string // write mails into this folder instead (development)
	Server       string // SMTP, HOST:PORT
	User         string
	PasswordFile string
	Base         string // URL of the API in links; "" = as clients know it
}

// Etcd is a cluster that others run; without endpoints, none.
type Etcd = store.External

// JoinConfig says how a process joins the cloud.
type JoinConfig struct{ DataDir, Cloud, Token string }

// ZoneConfig is what an operator says of the zone role.
type ZoneConfig struct {
	Join   JoinConfig
	Listen string // HOST:PORT that nodes and the cloud dial
	// StorageListen is HOST:PORT on which nodes reach the zone's volumes.
	StorageListen string
	Etcd          Etcd // where the cloud's state is in one
	Placement     string
}

// NodeConfig is what an operator says of the node role.
type NodeConfig struct {
	Join            JoinConfig
	Name            string
	Underlay        string
	PublicInterface string
	CPUOvercommit   int
	ReserveMiB      int
	CacheGiB        int
	Accel           string // "" = what the probe finds
}

// UpConfig is a whole cloud on one machine.
type UpConfig struct {
	Cloud     CloudConfig
	Node      NodeConfig
	Zone      string
	Placement string
}

// under gives a path in a data directory.
func under(dir string, parts ...string) string {
	return filepath.Join(append([]string{dir}, parts...)...)
}

// ready is the one line that says that a process is up.
func ready(role, what string, args ...any) string {
	return fmt.Sprintf("ready %s %s\n", role, fmt.Sprintf(what, args...))
}
