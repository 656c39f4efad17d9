package dhcp

import (
	"bytes"
	"net"
	"net/netip"
	"testing"
	"time"

	"github.com/insomniacslk/dhcp/dhcpv6"
	"github.com/insomniacslk/dhcp/iana"
)

func lease6() Lease6 {
	return Lease6{
		IP: netip.MustParseAddr("2001:db8::5"), Router: net.HardwareAddr{2, 0, 0, 0, 0, 1}, MTU: 1450, Duration: time.Hour,
	}
}

var (
	us   = &dhcpv6.DUIDLL{HWType: iana.HWTypeEthernet, LinkLayerAddr: lease6().Router}
	them = &dhcpv6.DUIDLL{HWType: iana.HWTypeEthernet, LinkLayerAddr: net.HardwareAddr{2, 0, 0, 0, 0, 9}}
)

func request6(t testing.TB, kind dhcpv6.MessageType, mods ...dhcpv6.Modifier) []byte {
	t.Helper()
	m, err := dhcpv6.NewMessage(mods...)
	if err != nil {
		t.Fatal(err)
	}
	m.MessageType = kind
	return m.ToBytes()
}

func TestAnswer6(t *testing.T) {
	guest := dhcpv6.WithClientID(&dhcpv6.DUIDLL{HWType: iana.HWTypeEthernet, LinkLayerAddr: net.HardwareAddr{2, 0, 0, 0, 0, 5}})
	one := dhcpv6.WithIAID([4]byte{1})
	has := func(ip string) dhcpv6.Modifier {
		return dhcpv6.WithIANA(dhcpv6.OptIAAddress{IPv6Addr: net.ParseIP(ip)})
	}
	two := func(d dhcpv6.DHCPv6) { d.AddOption(&dhcpv6.OptIANA{IaId: [4]byte{2}}) }
	none := lease6()
	none.IP = netip.Addr{}
	for _, c := range []struct {
		name    string
		message []byte
		lease   Lease6
		want    dhcpv6.MessageType // 0 = silence
		given   string             // addresses and states
	}{
		{"solicit", request6(t, dhcpv6.MessageTypeSolicit, guest, one), lease6(), dhcpv6.MessageTypeAdvertise, "2001:db8::5/1h0m0s "},
		{"solicit, at once", request6(t, dhcpv6.MessageTypeSolicit, guest, one, dhcpv6.WithRapidCommit), lease6(), dhcpv6.MessageTypeReply, "2001:db8::5/1h0m0s "},
		{"request", request6(t, dhcpv6.MessageTypeRequest, guest, dhcpv6.WithServerID(us), one), lease6(), dhcpv6.MessageTypeReply, "2001:db8::5/1h0m0s "},
		{"request of another's", request6(t, dhcpv6.MessageTypeRequest, guest, dhcpv6.WithServerID(us), has("2001:db8::6")), lease6(), dhcpv6.MessageTypeReply, "2001:db8::5/1h0m0s 2001:db8::6/0s "},
		{"two at once", request6(t, dhcpv6.MessageTypeRequest, guest, dhcpv6.WithServerID(us), one, two), lease6(), dhcpv6.MessageTypeReply, "2001:db8::5/1h0m0s NoAddrsAvail "},
		{"renew", request6(t, dhcpv6.MessageTypeRenew, guest, dhcpv6.WithServerID(us), has("2001:db8::5")), lease6(), dhcpv6.MessageTypeReply, "2001:db8::5/1h0m0s "},
		{"rebind", request6(t, dhcpv6.MessageTypeRebind, guest, has("2001:db8::5")), lease6(), dhcpv6.MessageTypeReply, "2001:db8::5/1h0m0s "},
		{"none to give", request6(t, dhcpv6.MessageTypeSolicit, guest, one), none, dhcpv6.MessageTypeAdvertise, "NoAddrsAvail "},
		{"confirm", request6(t, dhcpv6.MessageTypeConfirm, guest, has("2001:db8::5")), lease6(), dhcpv6.MessageTypeReply, "Success"},
		{"confirm another's", request6(t, dhcpv6.MessageTypeConfirm, guest, has("2001:db8::6")), lease6(), dhcpv6.MessageTypeReply, "NotOnLink"},
		{"information", request6(t, dhcpv6.MessageTypeInformationRequest, guest), lease6(), dhcpv6.MessageTypeReply, ""},
		{"no client", request6(t, dhcpv6.MessageTypeSolicit, one), lease6(), 0, ""},
		{"another server", request6(t, dhcpv6.MessageTypeRequest, guest, dhcpv6.WithServerID(them), one), lease6(), 0, ""},
		{"release", request6(t, dhcpv6.MessageTypeRelease, guest, dhcpv6.WithServerID(us), has("2001:db8::5")), lease6(), 0, ""},
		{"a rogue server's", request6(t, dhcpv6.MessageTypeAdvertise, guest, dhcpv6.WithServerID(us), one), lease6(), 0, ""},
		{"nothing", nil, lease6(), 0, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			b, ok := Answer6(c.message, c.lease)
			if !ok {
				if c.want != 0 {
					t.Fatal("no answer")
				}
				return
			}
			a, err := dhcpv6.MessageFromBytes(b)
			if err != nil {
				t.Fatal(err)
			}
			var given string
			if s := a.Options.Status(); s != nil {
				given = s.StatusCode.String()
			}
			for _, ia := range a.Options.IANA() {
				for _, ip := range ia.Options.Addresses() {
					given += ip.IPv6Addr.String() + "/" + ip.ValidLifetime.String() + " "
				}
				if s := ia.Options.Status(); s != nil {
					given += s.StatusCode.String() + " "
				}
			}
			if a.MessageType != c.want || given != c.given || !a.Options.ServerID().Equal(us) {
				t.Errorf("%s with %q, want %s with %q", a.MessageType, given, c.want, c.given)
			}
		})
	}
}

func TestAdvertisement(t *testing.T) {
	want := []byte{134, 0, 0, 0, 64, 0xc0, 7, 8, 0, 0, 0, 0, 0, 0, 0, 0, 1, 1, 2, 0, 0, 0, 0, 1, 5, 1, 0, 0, 0, 0, 5, 0xaa}
	if got := Advertisement(lease6()); !bytes.Equal(got, want) {
		t.Errorf("% x", got)
	}
}

func FuzzAnswer6(f *testing.F) {
	f.Add(request6(f, dhcpv6.MessageTypeSolicit, dhcpv6.WithClientID(them), dhcpv6.WithIAID([4]byte{1})))
	f.Add([]byte{12, 0})
	f.Fuzz(func(t *testing.T, message []byte) {
		b, ok := Answer6(message, lease6())
		if !ok {
			return
		}
		a, err := dhcpv6.MessageFromBytes(b)
		if err != nil {
			t.Fatalf("the answer cannot be read: %v", err)
		}
		for _, ia := range a.Options.IANA() {
			for _, ip := range ia.Options.Addresses() {
				if ip.ValidLifetime > 0 && ip.IPv6Addr.String() != "2001:db8::5" {
					t.Fatalf("gave away %s", ip.IPv6Addr)
				}
			}
		}
	})
}
