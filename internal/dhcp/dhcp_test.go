package dhcp

import (
	"net"
	"net/netip"
	"testing"
	"time"

	"github.com/insomniacslk/dhcp/dhcpv4"
)

func lease() Lease {
	return Lease{
		MAC: net.HardwareAddr{2, 0, 0, 0, 0, 5}, IP: netip.MustParseAddr("10.0.0.5"),
		Subnet: netip.MustParsePrefix("10.0.0.0/24"), Router: netip.MustParseAddr("10.0.0.1"),
		Servers: []netip.Addr{netip.MustParseAddr("10.0.0.2")}, Domain: "ec2.internal", Hostname: "ip-10-0-0-5",
		MTU: 1450, Duration: time.Hour, NTP: []netip.Addr{netip.MustParseAddr("169.254.169.123")},
		NetBIOS: []netip.Addr{netip.MustParseAddr("10.0.0.7")}, NodeType: 2,
	}
}

func request(t testing.TB, kind dhcpv4.MessageType, mods ...dhcpv4.Modifier) []byte {
	t.Helper()
	m, err := dhcpv4.New(append([]dhcpv4.Modifier{dhcpv4.WithHwAddr(lease().MAC), dhcpv4.WithMessageType(kind)}, mods...)...)
	if err != nil {
		t.Fatal(err)
	}
	return m.ToBytes()
}

func asks(ip string) dhcpv4.Modifier {
	return dhcpv4.WithOption(dhcpv4.OptRequestedIPAddress(net.ParseIP(ip)))
}

func TestAnswer(t *testing.T) {
	other := dhcpv4.WithHwAddr(net.HardwareAddr{2, 0, 0, 0, 0, 6})
	for _, c := range []struct {
		name    string
		message []byte
		want    dhcpv4.MessageType // None = silence
		to      string
	}{
		{"discover", request(t, dhcpv4.MessageTypeDiscover), dhcpv4.MessageTypeOffer, "10.0.0.5"},
		{"discover by broadcast", request(t, dhcpv4.MessageTypeDiscover, dhcpv4.WithBroadcast(true)), dhcpv4.MessageTypeOffer, "255.255.255.255"},
		{"request", request(t, dhcpv4.MessageTypeRequest, asks("10.0.0.5")), dhcpv4.MessageTypeAck, "10.0.0.5"},
		{"renew", request(t, dhcpv4.MessageTypeRequest, dhcpv4.WithClientIP(net.IPv4(10, 0, 0, 5))), dhcpv4.MessageTypeAck, "10.0.0.5"},
		{"request of another's address", request(t, dhcpv4.MessageTypeRequest, asks("10.0.0.6")), dhcpv4.MessageTypeNak, "255.255.255.255"},
		{"request without address", request(t, dhcpv4.MessageTypeRequest), dhcpv4.MessageTypeNak, "255.255.255.255"},
		{"inform", request(t, dhcpv4.MessageTypeInform, dhcpv4.WithClientIP(net.IPv4(10, 0, 0, 5))), dhcpv4.MessageTypeAck, "10.0.0.5"},
		{"foreign MAC", request(t, dhcpv4.MessageTypeDiscover, other), dhcpv4.MessageTypeNone, ""},
		{"other server", request(t, dhcpv4.MessageTypeRequest, asks("10.0.0.5"), dhcpv4.WithOption(dhcpv4.OptServerIdentifier(net.IPv4(1, 2, 3, 4)))), dhcpv4.MessageTypeNone, ""},
		{"relayed", request(t, dhcpv4.MessageTypeDiscover, dhcpv4.WithGatewayIP(net.IPv4(10, 0, 0, 9))), dhcpv4.MessageTypeNone, ""},
		{"release", request(t, dhcpv4.MessageTypeRelease), dhcpv4.MessageTypeNone, ""},
		{"decline", request(t, dhcpv4.MessageTypeDecline), dhcpv4.MessageTypeNone, ""},
		{"offer from a rogue server", request(t, dhcpv4.MessageTypeOffer), dhcpv4.MessageTypeNone, ""},
		{"nothing", nil, dhcpv4.MessageTypeNone, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			b, to, ok := Answer(c.message, lease())
			if !ok {
				if c.want != dhcpv4.MessageTypeNone {
					t.Fatal("no answer")
				}
				return
			}
			a, err := dhcpv4.FromBytes(b)
			if err != nil {
				t.Fatal(err)
			}
			if a.MessageType() != c.want || to.String() != c.to {
				t.Fatalf("got %s to %s, want %s to %s", a.MessageType(), to, c.want, c.to)
			}
			if c.want == dhcpv4.MessageTypeNak {
				return
			}
			if got := a.YourIPAddr.String(); c.name != "inform" && got != "10.0.0.5" {
				t.Errorf("address %s", got)
			}
			if a.Router()[0].String() != "10.0.0.1" || a.DNS()[0].String() != "10.0.0.2" || a.DomainName() != "ec2.internal" ||
				a.HostName() != "ip-10-0-0-5" || net.IP(a.SubnetMask()).String() != "255.255.255.0" {
				t.Errorf("options: %s", a.Summary())
			}
			if a.NTPServers()[0].String() != "169.254.169.123" || a.NetBIOSNameServers()[0].String() != "10.0.0.7" ||
				string(a.Options.Get(dhcpv4.OptionNetBIOSOverTCPIPNodeType)) != "\x02" {
				t.Errorf("options: %s", a.Summary())
			}
			if mtu := a.Options.Get(dhcpv4.OptionInterfaceMTU); len(mtu) != 2 || int(mtu[0])<<8|int(mtu[1]) != 1450 {
				t.Errorf("MTU %v", mtu)
			}
		})
	}
}

func FuzzAnswer(f *testing.F) {
	f.Add(request(f, dhcpv4.MessageTypeDiscover))
	f.Add(request(f, dhcpv4.MessageTypeRequest, asks("10.0.0.5")))
	f.Add([]byte{1, 1, 6, 0})
	f.Fuzz(func(t *testing.T, message []byte) {
		b, to, ok := Answer(message, lease())
		if !ok {
			return
		}
		a, err := dhcpv4.FromBytes(b)
		if err != nil {
			t.Fatalf("the answer cannot be read: %v", err)
		}
		if a.ClientHWAddr.String() != lease().MAC.String() || to != lease().IP && to != broadcast {
			t.Fatalf("answer for %s to %s", a.ClientHWAddr, to)
		}
		if !a.YourIPAddr.IsUnspecified() && !a.YourIPAddr.Equal(lease().IP.AsSlice()) {
			t.Fatalf("gave away %s", a.YourIPAddr)
		}
	})
}
