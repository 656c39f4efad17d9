// Package cidr picks free addresses from IPv4 ranges.
package cidr

import (
	"encoding/binary"
	"net/netip"
)

// Range is a run of consecutive IPv4 addresses.
type Range struct{ First, Last netip.Addr }

// Subnet gives the addresses of a subnet that instances can have: AWS keeps the first four and the last.
func Subnet(p netip.Prefix) Range {
	base, size := number(p.Masked().Addr()), uint32(1)<<(32-p.Bits())
	return Range{address(base + 4), address(base + size - 2)}
}

// Pool gives the addresses of a public range that can be handed out: all but network and broadcast address
// where there are such.
func Pool(p netip.Prefix) Range {
	base, size := number(p.Masked().Addr()), uint64(1)<<(32-p.Bits())
	last := uint32(uint64(base) + size - 1)
	if p.Bits() < 31 {
		return Range{address(base + 1), address(last - 1)}
	}
	return Range{address(base), address(last)}
}

// Size counts the range's addresses.
func (r Range) Size() uint32 { return number(r.Last) - number(r.First) + 1 }

// Contains says whether ip is in the range.
func (r Range) Contains(ip netip.Addr) bool {
	return ip.Is4() && !ip.Less(r.First) && !r.Last.Less(ip)
}

// Free gives an address of the range that is not taken, and false if there is none. start (any number)
// says where the search begins: give a random one, and it is short until the range is nearly full.
func (r Range) Free(start uint32, taken func(netip.Addr) bool) (netip.Addr, bool) {
	first, size := number(r.First), r.Size()
	for i := uint32(0); i < size; i++ {
		if ip := address(first + uint32((uint64(start)+uint64(i))%uint64(size))); !taken(ip) {
			return ip, true
		}
	}
	return netip.Addr{}, false
}

// Nth gives the address n after the first of a prefix: 1 is a subnet's gateway.
func Nth(p netip.Prefix, n uint32) netip.Addr { return address(number(p.Masked().Addr()) + n) }

// Split gives the n-th part of p with the given length, counting from 0; false if p has no such part.
func Split(p netip.Prefix, bits, n int) (netip.Prefix, bool) {
	if bits < p.Bits() || bits > 32 || n < 0 || uint64(n) >= uint64(1)<<(bits-p.Bits()) {
		return netip.Prefix{}, false
	}
	return netip.PrefixFrom(address(number(p.Masked().Addr())+uint32(n)<<(32-bits)), bits), true
}

func number(a netip.Addr) uint32 { b := a.As4(); return binary.BigEndian.Uint32(b[:]) }

func address(n uint32) netip.Addr {
	var b [4]byte
	binary.BigEndian.PutUint32(b[:], n)
	return netip.AddrFrom4(b)
}
