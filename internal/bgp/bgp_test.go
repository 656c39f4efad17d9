package bgp

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"reflect"
	"testing"
	"time"

	wire "github.com/osrg/gobgp/v4/pkg/packet/bgp"
)

func prefixes(list ...string) (out []netip.Prefix) {
	for _, p := range list {
		out = append(out, netip.MustParsePrefix(p))
	}
	return out
}

// pair runs two ends and gives what the first one learns, and both outcomes.
func pair(t *testing.T, a, b Config) (chan []Route, chan error, chan error, context.CancelFunc) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	ctx, cancel := context.WithCancel(t.Context())
	t.Cleanup(cancel)
	learned, one, two := make(chan []Route, 100), make(chan error, 1), make(chan error, 1)
	near, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	far, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	go func() { one <- Serve(t.Context(), near, a, func(r []Route) { learned <- r }) }()
	go func() { two <- Serve(ctx, far, b, func([]Route) {}) }()
	return learned, one, two, cancel
}

func TestSession(t *testing.T) {
	for _, as := range []uint32{65010, 4200000001} {
		a := Config{LocalAS: 64512, PeerAS: as, ID: netip.MustParseAddr("169.254.10.1"), Announce: prefixes("10.0.0.0/16")}
		b := Config{LocalAS: as, PeerAS: 64512, ID: netip.MustParseAddr("169.254.10.2"), Announce: prefixes("192.168.7.0/24", "0.0.0.0/0")}
		learned, one, _, cancel := pair(t, a, b)
		want := []Route{{Prefix: b.Announce[1], Length: 1}, {Prefix: b.Announce[0], Length: 1}}
		if got := <-learned; !reflect.DeepEqual(got, want) {
			t.Errorf("%v", got)
		}
		cancel()
		if err := <-one; err == nil {
			t.Error("the session does not end")
		}
	}
}

func TestRefusals(t *testing.T) {
	id := netip.MustParseAddr("169.254.10.1")
	var many []netip.Prefix
	for i := range 101 {
		many = append(many, netip.MustParsePrefix(fmt.Sprintf("192.168.%d.0/24", i)))
	}
	for name, c := range map[string]struct {
		peer Config
		want error
	}{
		"another AS":      {Config{LocalAS: 65011, PeerAS: 64512, ID: id}, errPeerAS},
		"too many routes": {Config{LocalAS: 65010, PeerAS: 64512, ID: id, Announce: many}, errPrefix},
	} {
		_, one, _, _ := pair(t, Config{LocalAS: 64512, PeerAS: 65010, ID: id}, c.peer)
		if err := <-one; !errors.Is(err, c.want) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// TestLoop: a route with our own number in its path is none.
func TestLoop(t *testing.T) {
	s := &session{cfg: Config{LocalAS: 64512, Max: 100}, routes: map[netip.Prefix]Route{}}
	update := func(path ...uint32) *wire.BGPUpdate {
		n, err := wire.NewIPAddrPrefix(netip.MustParsePrefix("192.168.0.0/24"))
		if err != nil {
			t.Fatal(err)
		}
		as := wire.NewPathAttributeAsPath([]wire.AsPathParamInterface{wire.NewAs4PathParam(2, path)})
		return wire.NewBGPUpdateMessage(nil, []wire.PathAttributeInterface{as}, []wire.PathNLRI{{NLRI: n}}).Body.(*wire.BGPUpdate)
	}
	if changed, err := s.take(update(65010, 65011)); err != nil || !changed || s.list()[0].Length != 2 {
		t.Error(changed, err, s.list())
	}
	if changed, err := s.take(update(65010, 64512)); err != nil || !changed || len(s.list()) != 0 {
		t.Error(changed, err, s.list())
	}
}

func FuzzParse(f *testing.F) {
	b, _ := wire.NewBGPKeepAliveMessage().Serialize()
	f.Add(b)
	b, _ = wire.NewEndOfRib(wire.RF_IPv4_UC).Serialize()
	f.Add(b)
	f.Fuzz(func(t *testing.T, b []byte) {
		if len(b) < headerLen {
			return
		}
		m, err := parse(b)
		if err != nil {
			return
		}
		if u, ok := m.Body.(*wire.BGPUpdate); ok {
			s := &session{cfg: Config{LocalAS: 64512, Max: 100}, routes: map[netip.Prefix]Route{}}
			_, _ = s.take(u)
			for _, r := range s.list() {
				if r.Prefix != r.Prefix.Masked() || !r.Prefix.Addr().Is4() {
					t.Errorf("learned %v", r)
				}
			}
		}
	})
}

func TestSilence(t *testing.T) {
	near, far := net.Pipe()
	defer far.Close()
	go func() { // takes all and says nothing
		b := make([]byte, 100)
		for {
			if _, err := far.Read(b); err != nil {
				return
			}
		}
	}()
	err := Serve(t.Context(), near, Config{LocalAS: 1, PeerAS: 2, ID: netip.MustParseAddr("10.0.0.1"), Hold: 100 * time.Millisecond}, func([]Route) {})
	if !errors.Is(err, errHold) {
		t.Error(err)
	}
}
