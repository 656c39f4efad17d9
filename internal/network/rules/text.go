package rules

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"time"
)

var typeNames = map[Type]string{
	IfName: "ifname", EtherAddr: "ether_addr", IPv4Addr: "ipv4_addr", IPv6Addr: "ipv6_addr",
	DevGroup: "devgroup", Mark: "mark", Verdict: "verdict", Client: "@th,288,48",
}

var fields = map[Field]struct {
	text string
	typ  Type
}{
	InName: {"iifname", IfName}, OutName: {"oifname", IfName},
	InGroup: {"iifgroup", DevGroup}, OutGroup: {"oifgroup", DevGroup},
	EtherSource: {"ether saddr", EtherAddr},
	IPSource:    {"ip saddr", IPv4Addr}, IPDest: {"ip daddr", IPv4Addr},
	IP6Source: {"ip6 saddr", IPv6Addr}, IP6Dest: {"ip6 daddr", IPv6Addr},
	NextHop6: {"rt ip6 nexthop", IPv6Addr},
	NextHop:  {"rt ip nexthop", IPv4Addr}, Marked: {"meta mark", Mark},
	ARPEther: {"arp saddr ether", EtherAddr}, ARPSource: {"arp saddr ip", IPv4Addr},
	DHCPClient: {"@th,288,48", Client}, DHCPYours: {"@th,192,32", IPv4Addr},
}

// Type says what type of value the field has.
func (f Field) Type() Type { return fields[f].typ }

func (f Field) String() string { return fields[f].text }

func (fs Fields) String() string {
	var words []string
	for _, f := range fs {
		if f != 0 {
			words = append(words, f.String())
		}
	}
	return strings.Join(words, " . ")
}

func (t Name) text() string  { return fmt.Sprintf("%s %q", t.Field, t.Name) }
func (t Group) text() string { return fmt.Sprintf("%s %d", t.Field, t.Group) }
func (t Prefix) text() string {
	if t.Prefix.IsSingleIP() {
		return fmt.Sprintf("%s %s", t.Field, t.Prefix.Addr())
	}
	return fmt.Sprintf("%s %s", t.Field, t.Prefix)
}

func (t In) text() string {
	if t.Not {
		return t.Fields.String() + " != @" + t.Set
	}
	return t.Fields.String() + " @" + t.Set
}

func (t Jump) text() string  { return t.Fields.String() + " vmap @" + t.Map }
func (t Proto) text() string { return fmt.Sprintf("meta l4proto %d", t.Number) }
func (t Ports) text() string {
	if t.From == t.To {
		return fmt.Sprintf("th dport %d", t.From)
	}
	return fmt.Sprintf("th dport %d-%d", t.From, t.To)
}

func (t ICMP) text() string {
	word := "icmp"
	if t.V6 {
		word = "icmpv6"
	}
	s := fmt.Sprintf("%s type %d", word, t.Type)
	if t.Code >= 0 {
		s += fmt.Sprintf(" %s code %d", word, t.Code)
	}
	return s
}

func (t State) text() string {
	if t.State == Unknown {
		return "ct status ! confirmed"
	}
	if t.State == Reply {
		return "ct direction reply"
	}
	return "ct state " + string(t.State)
}
func (t SetMark) text() string { return fmt.Sprintf("meta mark set %s map @%s", t.Field, t.Map) }
func (t MarkAs) text() string  { return fmt.Sprintf("meta mark set %d", uint32(t)) }
func (t OneIn) text() string   { return fmt.Sprintf("numgen random mod %d 0", uint32(t)) }
func (t SNAT) text() string    { return "snat to " + t.To.String() }
func (t NAT) text() string {
	if t.Source {
		return "snat to ip saddr map @" + t.Map
	}
	return "dnat to ip daddr map @" + t.Map
}

func (t Fragment) text() string {
	if t.V6 {
		return "exthdr frag exists"
	}
	return "ip frag-off & 16383 != 0"
}
func (t Origin) text() string { return "ct mark set iifname map @" + t.Map }

func (t Over) text() string {
	if t.Bytes {
		return fmt.Sprintf("update @%s { iifname limit rate over %d kbytes/second burst %d kbytes }", t.Set, t.Rate, t.Burst)
	}
	return fmt.Sprintf("update @%s { iifname limit rate over %d/second burst %d packets }", t.Set, t.Rate, t.Burst)
}

func (t Conns) text() string {
	return fmt.Sprintf("add @%s { iifname ct count over %d }", t.Set, t.Count)
}

func (t EtherType) text() string  { return fmt.Sprintf("ether type 0x%04x", uint16(t)) }
func (t SourcePort) text() string { return fmt.Sprintf("th sport %d", uint16(t)) }
func (t ARPTarget) text() string  { return "arp daddr ip " + netip.Addr(t).String() }
func (Gives) text() string        { return "@th,192,32 != 0" }
func (t Learn) text() string {
	return fmt.Sprintf("update @%s { %s }", t.Set, Fields{OutName, DHCPClient, DHCPYours})
}
func (t ToSelf) text() string { return "meta pkttype set host ether daddr set " + string(t) }

func (t Log) text() string {
	return fmt.Sprintf("log prefix %q group %d snaplen %d", string(t), LogGroup, LogBytes)
}
func (t Do) text() string { return string(t) }

// Equal says whether two rules are the same.
func (r Rule) Equal(o Rule) bool { return slices.Equal(r, o) }

// String gives the rule in nft's syntax.
func (r Rule) String() string {
	words := make([]string, len(r))
	for i, t := range r {
		words[i] = t.text()
	}
	return strings.Join(words, " ")
}

// head is the set without its elements.
func (s Set) head() string {
	var b strings.Builder
	kind := "set"
	keys := make([]string, len(s.Key))
	for i, k := range s.Key {
		keys[i] = typeNames[k]
	}
	typ := strings.Join(keys, " . ")
	if s.Value != None {
		kind = "map"
		typ += " : " + typeNames[s.Value]
	}
	if slices.Contains(s.Key, Client) { // which has no name as a type
		typ = "of iifname . @th,288,48"
	} else {
		typ = " " + typ
	}
	fmt.Fprintf(&b, "\t%s %s {\n\t\ttype%s\n", kind, s.Name, typ)
	if s.Lasting {
		fmt.Fprintf(&b, "\t\tsize %d\n\t\tflags dynamic,timeout\n\t\ttimeout %ds\n", DynamicSize, int(LearnedFor.Seconds()))
	} else if s.Dynamic {
		fmt.Fprintf(&b, "\t\tsize %d\n\t\tflags dynamic\n", DynamicSize)
	}
	return b.String()
}

// LearnedFor is how long what packets taught stays by itself.
const LearnedFor = 90 * 24 * time.Hour

// DynamicSize is how many members a dynamic set can hold.
const DynamicSize = 65535

// SameKind says whether two sets differ at most in their elements.
func (s Set) SameKind(o Set) bool { return s.head() == o.head() }

func (s Set) elementText(e Element) string {
	parts := strings.Split(e.Key, " . ")
	for i, k := range s.Key {
		if k == IfName {
			parts[i] = fmt.Sprintf("%q", parts[i])
		}
		if k == Client {
			parts[i] = "0x" + strings.ReplaceAll(parts[i], ":", "")
		}
	}
	t := strings.Join(parts, " . ")
	if e.Value != "" {
		t += " : " + e.Value
	}
	return t
}

// String gives the table as nft -f reads it.
func (t Table) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "table %s %s {\n", t.Family, t.Name)
	for _, c := range t.Chains { // named first, so that maps can lead to them
		if c.Base == nil {
			fmt.Fprintf(&b, "\tchain %s { }\n", c.Name)
			continue
		}
		policy := "accept"
		if c.Base.Drop {
			policy = "drop"
		}
		fmt.Fprintf(&b, "\tchain %s { type %s hook %s priority %d; policy %s; }\n", c.Name, c.Base.Type, c.Base.Hook, c.Base.Priority, policy)
	}
	for _, s := range t.Sets {
		b.WriteString(s.head())
		if len(s.Elements) > 0 {
			b.WriteString("\t\telements = {\n")
			for _, e := range s.Elements {
				fmt.Fprintf(&b, "\t\t\t%s,\n", s.elementText(e))
			}
			b.WriteString("\t\t}\n")
		}
		b.WriteString("\t}\n")
	}
	for _, c := range t.Chains {
		fmt.Fprintf(&b, "\tchain %s {\n", c.Name)
		for _, r := range c.Rules {
			fmt.Fprintf(&b, "\t\t%s\n", r)
		}
		b.WriteString("\t}\n")
	}
	b.WriteString("}\n")
	return b.String()
}
