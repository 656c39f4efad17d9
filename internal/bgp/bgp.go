// Package bgp speaks BGP-4 with one neighbour over one connection: it says which IPv4 ranges are here and learns
// which are there. Messages are gobgp's; the session is this package's, since it must run on a connection of another
// network namespace.
package bgp

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"slices"
	"sync"
	"time"

	wire "github.com/osrg/gobgp/v4/pkg/packet/bgp"
)

// Config is what a session needs to know.
type Config struct {
	LocalAS, PeerAS uint32
	ID              netip.Addr     // this side's address, and the next hop to what is here
	Announce        []netip.Prefix // what is here
	Hold            time.Duration  // after which silence counts as the end; 0 = 30 s
	Max             int            // of routes that the other side may announce; 0 = 100
}

// Route is one that the neighbour announces.
type Route struct {
	Prefix netip.Prefix `json:"prefix"`
	Length int          `json:"length"` // of the AS path
	MED    uint32       `json:"med,omitempty"`
}

const (
	headerLen  = 19
	maxMessage = 4096
	asTrans    = 23456
	// restartTime is for how many seconds the neighbour may keep our routes while this process starts again.
	restartTime = 120
)

// fault is an error that the neighbour is told of.
type fault struct {
	code, sub uint8
	text      string
}

func (f fault) Error() string { return f.text }

// Errors by RFC 4271 and 4486.
var (
	errHold   = fault{4, 0, "bgp: the neighbour is silent"}
	errPrefix = fault{6, 1, "bgp: the neighbour announces too many routes"}
	errPeerAS = fault{2, 2, "bgp: the neighbour is of another autonomous system"}
)

// session is one conversation.
type session struct {
	cfg    Config
	conn   net.Conn
	wide   bool // the neighbour knows AS numbers of four bytes
	routes map[netip.Prefix]Route

	write sync.Mutex
}

// Serve speaks on a connection until it ends. learned is called with all routes, in order, once the neighbour has
// said its first ones, and whenever they change.
func Serve(ctx context.Context, conn net.Conn, cfg Config, learned func([]Route)) error {
	if cfg.Hold == 0 {
		cfg.Hold = 30 * time.Second
	}
	if cfg.Max == 0 {
		cfg.Max = 100
	}
	s := &session{cfg: cfg, conn: conn, routes: map[netip.Prefix]Route{}}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	stop := context.AfterFunc(ctx, func() { conn.Close() })
	defer stop()
	defer conn.Close()
	err := s.run(ctx, learned)
	var f fault
	var m *wire.MessageError
	switch {
	case errors.As(err, &f):
		_ = s.send(wire.NewBGPNotificationMessage(f.code, f.sub, nil))
	case errors.As(err, &m):
		_ = s.send(wire.NewBGPNotificationMessage(m.TypeCode, m.SubTypeCode, nil))
	}
	if ctx.Err() != nil {
		return ctx.Err()
	}
	return err
}

func (s *session) run(ctx context.Context, learned func([]Route)) error {
	hold, err := s.open()
	if err != nil {
		return err
	}
	if err := s.announce(); err != nil {
		return err
	}
	var alive sync.WaitGroup
	defer alive.Wait()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	if hold > 0 {
		alive.Go(func() {
			tick := time.NewTicker(hold / 3)
			defer tick.Stop()
			for {
				select {
				case <-ctx.Done():
					return
				case <-tick.C:
					_ = s.send(wire.NewBGPKeepAliveMessage())
				}
			}
		})
	}
	told := false
	for {
		m, err := s.receive(hold)
		if err != nil {
			return err
		}
		changed := false
		switch body := m.Body.(type) {
		case *wire.BGPNotification:
			return fmt.Errorf("bgp: the neighbour ends the session: error %d/%d", body.ErrorCode, body.ErrorSubcode)
		case *wire.BGPUpdate:
			if changed, err = s.take(body); err != nil {
				return err
			}
			end, _ := body.IsEndOfRib()
			changed = changed || end && !told
		case *wire.BGPKeepAlive:
			changed = !told
		}
		if changed {
			told = true
			learned(s.list())
		}
	}
}

// open exchanges OPEN messages and gives the hold time that was agreed on.
func (s *session) open() (time.Duration, error) {
	ipv4 := wire.RF_IPv4_UC
	m, err := wire.NewBGPOpenMessage(as2(s.cfg.LocalAS), uint16(s.cfg.Hold/time.Second), s.cfg.ID, []wire.OptionParameterInterface{
		wire.NewOptionParameterCapability([]wire.ParameterCapabilityInterface{
			wire.NewCapMultiProtocol(ipv4), wire.NewCapFourOctetASNumber(s.cfg.LocalAS),
			wire.NewCapGracefulRestart(false, false, restartTime, []*wire.CapGracefulRestartTuple{wire.NewCapGracefulRestartTuple(ipv4, true)}),
		}),
	})
	if err != nil {
		return 0, err
	}
	if err := s.send(m); err != nil {
		return 0, err
	}
	m, err = s.receive(s.cfg.Hold)
	if err != nil {
		return 0, err
	}
	body, ok := m.Body.(*wire.BGPOpen)
	if !ok {
		return 0, fault{5, 1, "bgp: the neighbour does not begin with an OPEN"}
	}
	if body.Version != 4 {
		return 0, fault{2, 1, "bgp: the neighbour does not speak version 4"}
	}
	peer := uint32(body.MyAS)
	for _, p := range body.OptParams {
		capabilities, ok := p.(*wire.OptionParameterCapability)
		if !ok {
			continue
		}
		for _, c := range capabilities.Capability {
			if four, ok := c.(*wire.CapFourOctetASNumber); ok {
				peer, s.wide = four.CapValue, true
			}
		}
	}
	if peer != s.cfg.PeerAS {
		return 0, errPeerAS
	}
	hold := min(time.Duration(body.HoldTime)*time.Second, s.cfg.Hold)
	if hold > 0 && hold < 3*time.Second {
		return 0, fault{2, 6, "bgp: the neighbour wants an unacceptable hold time"}
	}
	if err := s.send(wire.NewBGPKeepAliveMessage()); err != nil {
		return 0, err
	}
	m, err = s.receive(s.cfg.Hold)
	if err != nil {
		return 0, err
	}
	if n, ok := m.Body.(*wire.BGPNotification); ok {
		return 0, fmt.Errorf("bgp: the neighbour refuses: error %d/%d", n.ErrorCode, n.ErrorSubcode)
	}
	if _, ok := m.Body.(*wire.BGPKeepAlive); !ok {
		return 0, fault{5, 2, "bgp: the neighbour does not confirm"}
	}
	return hold, nil
}

// as2 is a number as those say it who know two bytes only.
func as2(as uint32) uint16 {
	if as > 1<<16-1 {
		return asTrans
	}
	return uint16(as)
}

// announce says what is here, and that this is all.
func (s *session) announce() error {
	var list []wire.PathNLRI
	for _, p := range s.cfg.Announce {
		n, err := wire.NewIPAddrPrefix(p)
		if err != nil {
			return err
		}
		list = append(list, wire.PathNLRI{NLRI: n})
	}
	if len(list) > 0 {
		hop, err := wire.NewPathAttributeNextHop(s.cfg.ID)
		if err != nil {
			return err
		}
		var path wire.AsPathParamInterface = wire.NewAs4PathParam(wire.BGP_ASPATH_ATTR_TYPE_SEQ, []uint32{s.cfg.LocalAS})
		if !s.wide {
			path = wire.NewAsPathParam(wire.BGP_ASPATH_ATTR_TYPE_SEQ, []uint16{as2(s.cfg.LocalAS)})
		}
		err = s.send(wire.NewBGPUpdateMessage(nil, []wire.PathAttributeInterface{
			wire.NewPathAttributeOrigin(0), wire.NewPathAttributeAsPath([]wire.AsPathParamInterface{path}), hop,
		}, list))
		if err != nil {
			return err
		}
	}
	return s.send(wire.NewEndOfRib(wire.RF_IPv4_UC))
}

// take takes in an update.
func (s *session) take(u *wire.BGPUpdate) (changed bool, err error) {
	for _, w := range u.WithdrawnRoutes {
		if p, ok := prefixOf(w); ok {
			_, had := s.routes[p]
			changed = changed || had
			delete(s.routes, p)
		}
	}
	route := Route{}
	loop := false
	for _, a := range u.PathAttributes {
		switch a := a.(type) {
		case *wire.PathAttributeAsPath:
			for _, v := range a.Value {
				route.Length += v.ASLen()
				loop = loop || slices.Contains(v.GetAS(), s.cfg.LocalAS)
			}
		case *wire.PathAttributeMultiExitDisc:
			route.MED = a.Value
		}
	}
	for _, n := range u.NLRI {
		p, ok := prefixOf(n)
		if !ok {
			continue
		}
		old, had := s.routes[p]
		if loop { // our own, come back: as good as withdrawn
			changed = changed || had
			delete(s.routes, p)
			continue
		}
		if route.Prefix = p; !had || old != route {
			s.routes[p], changed = route, true
		}
	}
	if len(s.routes) > s.cfg.Max {
		return false, errPrefix
	}
	return changed, nil
}

func prefixOf(n wire.PathNLRI) (netip.Prefix, bool) {
	p, err := netip.ParsePrefix(n.NLRI.String())
	return p.Masked(), err == nil && p.Addr().Is4()
}

func (s *session) list() []Route {
	out := make([]Route, 0, len(s.routes))
	for _, r := range s.routes {
		out = append(out, r)
	}
	slices.SortFunc(out, func(a, b Route) int { return a.Prefix.Compare(b.Prefix) })
	return out
}

func (s *session) send(m *wire.BGPMessage) error {
	b, err := m.Serialize()
	if err != nil {
		return err
	}
	s.write.Lock()
	defer s.write.Unlock()
	if err := s.conn.SetWriteDeadline(time.Now().Add(s.cfg.Hold)); err != nil {
		return err
	}
	_, err = s.conn.Write(b)
	return err
}

// receive reads a message that must come within the hold time; 0 = whenever.
func (s *session) receive(hold time.Duration) (*wire.BGPMessage, error) {
	deadline := time.Time{}
	if hold > 0 {
		deadline = time.Now().Add(hold)
	}
	if err := s.conn.SetReadDeadline(deadline); err != nil {
		return nil, err
	}
	b := make([]byte, headerLen, maxMessage)
	if _, err := io.ReadFull(s.conn, b); err != nil {
		return nil, silence(err)
	}
	n := int(b[16])<<8 | int(b[17])
	if n < headerLen || n > maxMessage {
		return nil, fault{1, 2, fmt.Sprintf("bgp: a message of %d bytes", n)}
	}
	b = b[:n]
	if _, err := io.ReadFull(s.conn, b[headerLen:]); err != nil {
		return nil, silence(err)
	}
	return parse(b)
}

func silence(err error) error {
	var timeout net.Error
	if errors.As(err, &timeout) && timeout.Timeout() {
		return errHold
	}
	return err
}

// parse reads a message. Whatever a stranger sends, this process goes on.
func parse(b []byte) (m *wire.BGPMessage, err error) {
	defer func() {
		if r := recover(); r != nil {
			m, err = nil, fault{1, 0, fmt.Sprintf("bgp: an unreadable message: %v", r)}
		}
	}()
	m, err = wire.ParseBGPMessage(b)
	if err == nil && m.Body == nil {
		err = fault{1, 3, "bgp: a message of an unknown kind"}
	}
	return m, err
}
