// Package dns is a VPC's resolver: the names of its own interfaces and their reverse, public names of the place,
// and, where configured, everything else from an upstream server.
package dns

import (
	"net/netip"
	"strings"

	"github.com/miekg/dns"
)

// Record is one name and its address.
type Record struct {
	Name string // fully qualified, without the last dot; "*.NAME" = all below NAME without a record of their own
	IP   netip.Addr
	// Reverse says that only the address has the name, the name not this address: whose it is decides somebody else.
	Reverse bool
}

// Zone is an immutable set of records under one domain. It answers for all of the domain and for the reverse
// names of its addresses.
type Zone struct {
	domain string // "ec2.internal."
	names  map[string]addresses
	ptr    map[string]string // reverse name → name
}

// addresses are those of a name, one of a family.
type addresses struct{ v4, v6 netip.Addr }

// NewZone makes a zone. The first name of an address is its reverse name.
func NewZone(domain string, records []Record) *Zone {
	z := &Zone{domain: canonical(domain), names: map[string]addresses{}, ptr: map[string]string{}}
	for _, r := range records {
		name := canonical(r.Name)
		if _, ok := dns.IsDomainName(name); !ok || !r.IP.IsValid() {
			continue
		}
		if r.Reverse {
			if rev, err := dns.ReverseAddr(r.IP.String()); err == nil {
				z.ptr[rev] = name
			}
			continue
		}
		at := z.names[name]
		if r.IP.Is4() && !at.v4.IsValid() {
			at.v4 = r.IP
		} else if r.IP.Is6() && !at.v6.IsValid() {
			at.v6 = r.IP
		}
		z.names[name] = at
		if strings.HasPrefix(name, "*") {
			continue
		}
		if rev, err := dns.ReverseAddr(r.IP.String()); err == nil && z.ptr[rev] == "" {
			z.ptr[rev] = name
		}
	}
	return z
}

func canonical(name string) string { return strings.ToLower(dns.Fqdn(name)) }

// ttl of our answers, in seconds: EC2's own.
const ttl = 60

// answer fills in the answer to one question; false if the zone does not decide this name.
func (z *Zone) answer(m *dns.Msg, q dns.Question) bool {
	name := canonical(q.Name)
	head := dns.RR_Header{Name: q.Name, Rrtype: q.Qtype, Class: dns.ClassINET, Ttl: ttl}
	if at, ok := z.find(name); ok {
		switch {
		case q.Qtype == dns.TypeA && at.v4.IsValid():
			m.Answer = []dns.RR{&dns.A{Hdr: head, A: at.v4.AsSlice()}}
		case q.Qtype == dns.TypeAAAA && at.v6.IsValid():
			m.Answer = []dns.RR{&dns.AAAA{Hdr: head, AAAA: at.v6.AsSlice()}}
		default:
			m.Ns = z.authority(name) // the name exists, the type does not
		}
		return true
	}
	if target, ok := z.ptr[name]; ok {
		if q.Qtype == dns.TypePTR {
			m.Answer = []dns.RR{&dns.PTR{Hdr: head, Ptr: target}}
		} else {
			m.Ns = z.authority(name)
		}
		return true
	}
	if !dns.IsSubDomain(z.domain, name) && !private(name) {
		return false
	}
	if name != z.domain {
		m.Rcode = dns.RcodeNameError
	}
	m.Ns = z.authority(name)
	return true
}

// find gives a name's addresses, or those of the nearest wildcard above it.
func (z *Zone) find(name string) (addresses, bool) {
	at, ok := z.names[name]
	for i := strings.IndexByte(name, '.'); !ok && i >= 0 && i+1 < len(name); i = strings.IndexByte(name, '.') {
		name = name[i+1:]
		at, ok = z.names["*."+name]
	}
	return at, ok
}

// private says whether a reverse name is of a range that nobody outside could know.
func private(name string) bool {
	for _, zone := range []string{"10.in-addr.arpa.", "168.192.in-addr.arpa.", "254.169.in-addr.arpa."} {
		if dns.IsSubDomain(zone, name) {
			return true
		}
	}
	for i := 16; i < 32; i++ {
		octet := []byte{'0' + byte(i/10), '0' + byte(i%10)}
		if dns.IsSubDomain(string(octet)+".172.in-addr.arpa.", name) {
			return true
		}
	}
	return false
}

// authority is the record by which a client may remember that there is nothing.
func (z *Zone) authority(name string) []dns.RR {
	zone := z.domain
	if !dns.IsSubDomain(zone, name) {
		zone = "in-addr.arpa."
	}
	return []dns.RR{&dns.SOA{
		Hdr: dns.RR_Header{Name: zone, Rrtype: dns.TypeSOA, Class: dns.ClassINET, Ttl: ttl},
		Ns:  "ns0." + z.domain, Mbox: "hostmaster." + z.domain,
		Serial: 1, Refresh: 3600, Retry: 600, Expire: 86400, Minttl: ttl,
	}}
}
