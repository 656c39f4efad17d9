package rules

import "net/netip"

// Table is one nftables table: all that karri owns in a namespace's ip or arp family.
type Table struct {
	Family string // "ip", "ip6", "arp" or "bridge"
	Name   string
	Sets   []Set
	Chains []Chain
}

// Set is a named set, or a map when Value says what it maps to.
type Set struct {
	Name    string
	Key     []Type
	Value   Type // 0 = a set
	Dynamic bool // filled by packets, by us never; Elements stays empty
	// Lasting: a dynamic one whose elements stay for LearnedFor, and which may begin with some.
	Lasting  bool
	Elements []Element
}

// Element is one member in nft's own syntax, and so comparable: two elements are the same when they read the same.
type Element struct {
	Key   string // parts joined by " . "
	Value string // "", an address, a number or a verdict
}

// Chain holds rules; a base chain hangs on a hook.
type Chain struct {
	Name  string
	Base  *Base
	Rules []Rule
}

// Base says where packets enter a base chain.
type Base struct {
	Type     string // "filter" or "nat"
	Hook     string // "prerouting", "input", "forward", "output", "postrouting"
	Priority int
	Drop     bool // the policy; else accept
}

// Rule is one rule: terms from left to right, the last one decides.
type Rule []Term

// Type is the type of a set's key part or value.
type Type int

// Types, in nft's words (see typeNames).
const (
	None Type = iota
	IfName
	EtherAddr
	IPv4Addr
	IPv6Addr
	DevGroup
	Mark
	Verdict
	Client // a MAC address as a DHCP message has it
)

// Field is something of a packet that can be looked up.
type Field int

// Fields, in nft's words (see fields).
const (
	InName Field = iota + 1
	OutName
	InGroup
	OutGroup
	EtherSource
	IPSource
	IPDest
	ARPEther
	ARPSource
	NextHop // of the route that was taken
	Marked
	IP6Source
	IP6Dest
	NextHop6
	DHCPClient // whom a DHCP message is about
	DHCPYours  // the address that it gives
)

// Fields are up to three fields side by side, as a set's key.
type Fields [3]Field

// Term is one part of a rule: one of the types below, all comparable.
type Term interface{ text() string }

type (
	// Name matches an interface's name: InName or OutName.
	Name struct {
		Field Field
		Name  string
	}
	// Group matches a device group: InGroup or OutGroup.
	Group struct {
		Field Field
		Group uint32
	}
	// Prefix matches an address: IPSource, IPDest or ARPSource.
	Prefix struct {
		Field  Field
		Prefix netip.Prefix
	}
	// In matches when the fields together are in a set.
	In struct {
		Fields Fields
		Set    string
		Not    bool
	}
	// Jump looks the fields up in a verdict map.
	Jump struct {
		Fields Fields
		Map    string
	}
	// Proto matches an IP protocol.
	Proto struct{ Number uint8 }
	// Ports matches the destination port of TCP and UDP, after a Proto.
	Ports struct{ From, To uint16 }
	// ICMP matches type and code, -1 = any, after a Proto. V6: ICMPv6's.
	ICMP struct {
		Type, Code int
		V6         bool
	}
	// State matches what conntrack knows of the packet.
	State struct{ State ConnState }
	// SetMark gives the packet the mark that a map has for a field.
	SetMark struct {
		Field Field
		Map   string
	}
	// MaxSegment makes a TCP connection's segments no longer than this, after a Proto.
	MaxSegment uint16
	// MarkAs gives the packet a mark.
	MarkAs uint32
	// Origin marks the packet's connection with what a map has for the incoming interface.
	Origin struct{ Map string }
	// OneIn matches one packet in so many, at random.
	OneIn uint32
	// SNAT rewrites the source to one address.
	SNAT struct{ To netip.Addr }
	// NAT rewrites the source (or destination) address to what a map has for it.
	NAT struct {
		Source bool
		Map    string
	}
	// Fragment matches fragments of packets. V6: of IPv6 ones.
	Fragment struct{ V6 bool }
	// Over matches packets beyond a rate, counted per incoming interface in a dynamic set.
	Over struct {
		Set         string
		Rate, Burst int  // packets a second, packets
		Bytes       bool // in kilobytes instead
	}
	// Conns matches packets of connections beyond a count per incoming interface.
	Conns struct {
		Set   string
		Count int
	}
	// EtherType matches a frame's type, of the bridge family.
	EtherType uint16
	// SourcePort matches the source port of TCP and UDP, after a Proto.
	SourcePort uint16
	// ARPTarget matches the address that is asked for.
	ARPTarget netip.Addr
	// Gives matches DHCP messages that give an address.
	Gives struct{}
	// Learn notes who was given which address: outgoing interface, MAC, address.
	Learn struct{ Set string }
	// ToSelf hands a frame to the bridge itself, by its MAC.
	ToSelf string
	// Log copies the packet's head to the group that flow logs read, with the word "out" or "in".
	Log string
	// Do ends the rule: "accept", "drop", "return", or "jump X", "goto X".
	Do string
)

// ConnState is a state of conntrack.
type ConnState string

// States that rules ask for.
const (
	Established ConnState = "established,related"
	Invalid     ConnState = "invalid"
	New         ConnState = "new"
	Reply       ConnState = "reply"   // goes back to who began the connection
	Unknown     ConnState = "unknown" // conntrack has no entry yet; new ones have no answer yet
)
