package policy

import (
	"cmp"
	"math"
	"net/netip"
	"strconv"
	"strings"
	"time"
)

// number is an integer, exactly, or else a decimal. Sizes and quotas are integers beyond what a float holds.
type number struct {
	exact bool
	i     int64
	f     float64
}

// parseNumber reads a decimal number as JSON writes it, with an optional sign and leading zeros.
func parseNumber(s string) (number, bool) {
	if s == "" || strings.Trim(s, "0123456789.eE+-") != "" {
		return number{}, false
	}
	if i, err := strconv.ParseInt(s, 10, 64); err == nil {
		return number{exact: true, i: i, f: float64(i)}, true
	}
	f, err := strconv.ParseFloat(s, 64)
	return number{f: f}, err == nil && !math.IsInf(f, 0)
}

func (n number) compare(m number) int {
	if n.exact && m.exact {
		return cmp.Compare(n.i, m.i)
	}
	return cmp.Compare(n.f, m.f)
}

// parseDate reads W3C's profile of ISO 8601 (condition_operators, Date) or seconds since 1970, to microseconds.
func parseDate(s string) (int64, bool) {
	for _, layout := range [...]string{
		"2006-01-02T15:04:05Z07:00", "2006-01-02T15:04Z07:00", "2006-01-02", "2006-01",
		"2006-01-02T15:04:05Z0700", "2006-01-02T15:04:05", // without a zone: UTC
	} {
		if t, err := time.Parse(layout, s); err == nil {
			return t.UnixMicro(), true
		}
	}
	if len(s) == 4 { // a year; four digits would also be a moment of 1970, which nobody means
		if t, err := time.Parse("2006", s); err == nil {
			return t.UnixMicro(), true
		}
	}
	n, err := strconv.ParseInt(s, 10, 64)
	return n * 1e6, err == nil && n > -1e11 && n < 1e11
}

// parsePrefix reads a range or an address. An address inside the range stands for the range, as AWS has it.
func parsePrefix(s string) (netip.Prefix, bool) {
	if p, err := netip.ParsePrefix(s); err == nil {
		if p.Addr().Is4In6() && p.Bits() >= 96 {
			p = netip.PrefixFrom(p.Addr().Unmap(), p.Bits()-96)
		}
		return p.Masked(), true
	}
	a, err := netip.ParseAddr(s)
	if err != nil || a.Zone() != "" {
		return netip.Prefix{}, false
	}
	a = a.Unmap()
	return netip.PrefixFrom(a, a.BitLen()), true
}

func (v *Value) number() (number, bool) {
	switch v.kind {
	case integer:
		return number{exact: true, i: v.num, f: float64(v.num)}, true
	case oneString:
		return parseNumber(v.str)
	}
	return number{}, false
}

func (v *Value) date() (int64, bool) {
	switch v.kind {
	case instant:
		return v.num, true
	case integer:
		return v.num * 1e6, v.num > -1e11 && v.num < 1e11
	case oneString:
		return parseDate(v.str)
	}
	return 0, false
}

func (v *Value) address() (netip.Addr, bool) {
	switch v.kind {
	case address:
		return v.addr, v.addr.IsValid()
	case oneString:
		a, err := netip.ParseAddr(v.str)
		return a.Unmap().WithZone(""), err == nil
	}
	return netip.Addr{}, false
}
