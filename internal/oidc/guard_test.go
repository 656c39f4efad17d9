package oidc

import (
	"net/netip"
	"testing"
)

func TestGuard(t *testing.T) {
	own := func() ([]netip.Addr, error) {
		return []netip.Addr{netip.MustParseAddr("10.1.0.5"), netip.MustParseAddr("93.184.216.34")}, nil
	}
	internet := &Guard{Own: own}
	private := &Guard{Own: own, Private: []netip.Prefix{
		netip.MustParsePrefix("10.1.0.0/16"), netip.MustParsePrefix("0.0.0.0/0"), netip.MustParsePrefix("127.0.0.1/32"), netip.MustParsePrefix("fd00::/8"),
	}}
	for address, want := range map[string]struct{ internet, private bool }{
		"8.8.8.8:443":                       {true, true},
		"[2606:4700::1111]:443":             {true, true},
		"8.8.8.8:22":                        {false, true},
		"8.8.8.8:80":                        {false, true},
		"10.1.2.3:443":                      {false, true},
		"10.1.2.3:8443":                     {false, true},
		"192.168.1.1:443":                   {false, true},
		"172.16.0.1:443":                    {false, true},
		"[fd00::1]:443":                     {false, true},
		"[fd00:ec2::254]:443":               {false, true}, // within a network that the operator named
		"100.64.0.1:443":                    {false, true},
		"198.51.100.7:443":                  {false, true},
		"10.1.0.5:443":                      {false, false}, // this machine
		"93.184.216.34:443":                 {false, false},
		"127.0.0.1:443":                     {false, true}, // named by itself
		"127.0.0.1:2379":                    {false, true},
		"127.0.0.2:443":                     {false, false},
		"[::1]:443":                         {false, false},
		"[::ffff:127.0.0.2]:443":            {false, false},
		"169.254.169.254:443":               {false, false},
		"169.254.169.254:80":                {false, false},
		"169.254.169.252:443":               {false, false},
		"[::ffff:169.254.169.254]:443":      {false, false},
		"[fe80::1]:443":                     {false, false},
		"[64:ff9b::a9fe:a9fe]:443":          {false, false}, // 169.254.169.254 behind NAT64
		"[2002:a9fe:a9fe::1]:443":           {false, false}, // and by 6to4
		"[::a9fe:a9fe]:443":                 {false, false},
		"0.0.0.0:443":                       {false, false},
		"[::]:443":                          {false, false},
		"224.0.0.1:443":                     {false, false},
		"255.255.255.255:443":               {false, false},
		"240.0.0.1:443":                     {false, true},
		"[2001:db8::1]:443":                 {false, false},
		"[2001:0:7f00:1:0:0:80ff:fffe]:443": {false, false}, // Teredo
	} {
		to := netip.MustParseAddrPort(address)
		if got := internet.permit(to) == nil; got != want.internet {
			t.Errorf("%s on the internet: %v", address, got)
		}
		if got := private.permit(to) == nil; got != want.private {
			t.Errorf("%s with networks of one's own: %v", address, got)
		}
	}
}
