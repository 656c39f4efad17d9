package resource

import (
	"errors"
	"fmt"
	"math/bits"
	"net"
	"net/netip"
	"slices"
	"strings"
)

// NetworkMode is what kind of network a zone's guests get.
type NetworkMode string

// Modes. All but the first are Eucalyptus's, for operators with a flat network.
const (
	ModeVPC           NetworkMode = "VPC"
	ModeSystem        NetworkMode = "SYSTEM"         // the operator's network and its DHCP server
	ModeStatic        NetworkMode = "STATIC"         // the operator's network, addresses from a list
	ModeManagedNoVLAN NetworkMode = "MANAGED-NOVLAN" // one network of ours for all accounts, with groups and elastic IPs
	ModeManaged       NetworkMode = "MANAGED"        // the same, each group with a slice of it
)

// NetworkModes are all.
var NetworkModes = []NetworkMode{ModeVPC, ModeSystem, ModeStatic, ModeManagedNoVLAN, ModeManaged}

// ZoneNetwork is the network of a zone. The zero value is ModeVPC.
type ZoneNetwork struct {
	Mode   NetworkMode `json:"mode,omitempty"`
	Bridge string      `json:"bridge,omitempty"` // of every node's host: SYSTEM and STATIC
	// Subnet is the range that guests' addresses are in: the operator's in STATIC, ours in MANAGED-NOVLAN and MANAGED.
	Subnet string   `json:"subnet,omitempty"`
	Router string   `json:"router,omitempty"` // STATIC
	DNS    []string `json:"dns,omitempty"`    // STATIC
	Domain string   `json:"domain,omitempty"` // STATIC
	// MACs are the cards that STATIC gives, each with its address.
	MACs []MACAddress `json:"macs,omitempty"`
	// GroupAddresses is how many addresses a group's slice has in MANAGED: a power of two.
	GroupAddresses int `json:"group_addresses,omitempty"`
}

// MACAddress is a card and its address.
type MACAddress struct {
	MAC string `json:"mac"`
	IP  string `json:"ip"`
}

// VPC says that the zone has VPCs, and nothing else.
func (n ZoneNetwork) VPC() bool { return n.Mode == "" || n.Mode == ModeVPC }

// Flat says that guests stand on the operator's network.
func (n ZoneNetwork) Flat() bool { return n.Mode == ModeSystem || n.Mode == ModeStatic }

// Managed says that guests stand on one network of ours.
func (n ZoneNetwork) Managed() bool { return n.Mode == ModeManagedNoVLAN || n.Mode == ModeManaged }

// FlatID and ClassicID name what instances' and interfaces' VPCID holds where guests are in no VPC: the zone's flat network, and
// the region's one network of the modes MANAGED-NOVLAN and MANAGED. The latter is a VPC that nobody owns.
func FlatID(zone string) string { return "flat-" + zone }

// ClassicID is explained at FlatID.
func ClassicID(region string) string { return "classic-" + region }

// InVPC says that a VPCID is a VPC's, and not that of a network of the old modes.
func InVPC(id string) bool {
	return !strings.HasPrefix(id, "flat-") && !strings.HasPrefix(id, "classic-")
}

// Limits of settings.
const (
	minGroupAddresses = 16 // as a subnet of a VPC
	maxMACs           = 4096
)

// Check says what is wrong with the settings.
func (n ZoneNetwork) Check() error {
	if n.Mode != "" && !slices.Contains(NetworkModes, n.Mode) {
		return fmt.Errorf("there is no network mode %q", n.Mode)
	}
	if n.Managed() {
		return fmt.Errorf("the network mode %s is not offered yet", n.Mode) // it is untried with guests
	}
	only := func(what string, given bool, modes ...NetworkMode) error {
		switch {
		case given && !slices.Contains(modes, n.Mode):
			return fmt.Errorf("the mode %s has no %s", n.Mode, what)
		case !given && slices.Contains(modes, n.Mode):
			return fmt.Errorf("the mode %s needs a %s", n.Mode, what)
		}
		return nil
	}
	err := errors.Join(
		only("bridge", n.Bridge != "", ModeSystem, ModeStatic),
		only("subnet", n.Subnet != "", ModeStatic, ModeManagedNoVLAN, ModeManaged),
		only("list of MAC addresses", len(n.MACs) > 0, ModeStatic),
		only("size of groups", n.GroupAddresses != 0, ModeManaged))
	if n.Mode != ModeStatic && (n.Router != "" || len(n.DNS) > 0 || n.Domain != "") {
		err = errors.Join(err, fmt.Errorf("the mode %s has no router, name servers or domain", n.Mode))
	}
	if err != nil {
		return err
	}
	if len(n.Bridge) > 15 || strings.ContainsAny(n.Bridge, "/ \t\n:") || n.Bridge == "." || n.Bridge == ".." {
		return fmt.Errorf("%q is not the name of a bridge", n.Bridge)
	}
	if n.Subnet == "" {
		return nil
	}
	subnet, err := netip.ParsePrefix(n.Subnet)
	if err != nil || !subnet.Addr().Is4() || subnet != subnet.Masked() {
		return fmt.Errorf("%q is not an IPv4 subnet", n.Subnet)
	}
	if n.Managed() {
		return n.checkManaged(subnet)
	}
	return n.checkStatic(subnet)
}

func (n ZoneNetwork) checkManaged(subnet netip.Prefix) error {
	if subnet.Bits() < 8 || subnet.Bits() > 28 {
		return fmt.Errorf("the subnet %s is not between /8 and /28", subnet)
	}
	if !subnet.Addr().IsPrivate() {
		return fmt.Errorf("the subnet %s is not one of private addresses", subnet)
	}
	if n.Mode == ModeManaged && (bits.OnesCount(uint(n.GroupAddresses)) != 1 || n.GroupAddresses < minGroupAddresses || n.SliceBits() < subnet.Bits()) {
		return fmt.Errorf("a group cannot have %d addresses: it is a power of two, from %d to all of the subnet", n.GroupAddresses, minGroupAddresses)
	}
	return nil
}

// SliceBits is the length of the prefix of a group's slice.
func (n ZoneNetwork) SliceBits() int { return 33 - bits.Len(uint(n.GroupAddresses)) }

func (n ZoneNetwork) checkStatic(subnet netip.Prefix) error {
	var router netip.Addr
	if n.Router != "" {
		var err error
		if router, err = netip.ParseAddr(n.Router); err != nil || !subnet.Contains(router) {
			return fmt.Errorf("the router %q is not in %s", n.Router, subnet)
		}
	}
	for _, s := range n.DNS {
		if ip, err := netip.ParseAddr(s); err != nil || !ip.Is4() {
			return fmt.Errorf("%q is not a name server's address", s)
		}
	}
	if len(n.MACs) > maxMACs {
		return fmt.Errorf("there are %d MAC addresses, more than %d", len(n.MACs), maxMACs)
	}
	seen := map[string]bool{}
	for _, m := range n.MACs {
		mac, err := net.ParseMAC(m.MAC)
		if err != nil || len(mac) != 6 || mac[0]&1 != 0 || mac.String() != m.MAC {
			return fmt.Errorf("%q is not a card's MAC address in lower case", m.MAC)
		}
		ip, err := netip.ParseAddr(m.IP)
		if err != nil || !subnet.Contains(ip) || ip == subnet.Addr() || ip == router || ip.String() != m.IP {
			return fmt.Errorf("the address %q of %s is not for guests of %s", m.IP, m.MAC, subnet)
		}
		if seen[m.MAC] || seen[m.IP] {
			return fmt.Errorf("%s or %s is there twice", m.MAC, m.IP)
		}
		seen[m.MAC], seen[m.IP] = true, true
	}
	return nil
}
