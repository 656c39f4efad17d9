package dns

import (
	"context"
	"net"
	"net/netip"
	"sync"
	"time"

	"github.com/miekg/dns"

	"karri.dev/internal/callers"
)

// Config says how a resolver answers.
type Config struct {
	Zone      func() *Zone // the zone of the moment
	Upstreams []netip.AddrPort
	// Forwards gives servers inside the VPC for some domains; nil = none. DialVPC connects to them.
	Forwards func() []Forward
	DialVPC  func(ctx context.Context, network, address string) (net.Conn, error)
	// Disabled says that the VPC has no resolver just now: questions get no answer. nil = never.
	Disabled func() bool
	// Dial connects to upstreams; nil = net.Dialer.
	Dial func(ctx context.Context, network, address string) (net.Conn, error)
	Now  func() time.Time
}

// Forward sends questions about a domain and all below it to servers of somebody's own.
type Forward struct {
	Domain  string
	Servers []netip.AddrPort
}

// Limits. One caller's flood must leave the others their answers.
const (
	callerRate  = 500 // questions a second and caller, EC2's limit being 1024 packets
	callerBurst = 500
	maxForwards = 256 // at a time
	callerOpen  = 16  // questions of one caller that wait for somebody else's answer
	upstreamFor = 3 * time.Second
	idleFor     = 5 * time.Second // of a TCP connection
	maxUDP      = 1232            // bytes of an answer by UDP
	maxTCP      = 16              // questions on one TCP connection
)

// Resolver answers one VPC's questions. It is a dns.Handler.
type Resolver struct {
	cfg      Config
	limits   *callers.Limits
	forwards chan struct{}

	mu   sync.Mutex
	open map[netip.Addr]int // questions of a caller that are being answered
}

// New makes a Resolver.
func New(cfg Config) *Resolver {
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	if cfg.Dial == nil {
		cfg.Dial = (&net.Dialer{}).DialContext
	}
	return &Resolver{cfg: cfg, limits: callers.New(callerRate, callerBurst, cfg.Now), forwards: make(chan struct{}, maxForwards), open: map[netip.Addr]int{}}
}

// Servers gives a server for each socket; whoever starts one ends it with Shutdown.
func (r *Resolver) Servers(packets []net.PacketConn, listeners []net.Listener) []*dns.Server {
	var servers []*dns.Server
	for _, p := range packets {
		servers = append(servers, &dns.Server{PacketConn: p, Handler: r, UDPSize: dns.MinMsgSize})
	}
	for _, l := range listeners {
		servers = append(servers, &dns.Server{
			Listener: l, Handler: r, MaxTCPQueries: maxTCP, ReadTimeout: idleFor, WriteTimeout: idleFor,
			IdleTimeout: func() time.Duration { return idleFor },
		})
	}
	return servers
}

// ServeDNS answers one message.
func (r *Resolver) ServeDNS(w dns.ResponseWriter, q *dns.Msg) {
	from, _ := netip.ParseAddrPort(w.RemoteAddr().String())
	if !r.limits.Allow(from.Addr()) || !r.enter(from.Addr()) {
		return
	}
	defer r.leave(from.Addr())
	_, tcp := w.RemoteAddr().(*net.TCPAddr)
	m := r.Answer(q, tcp)
	if m == nil {
		return
	}
	_ = w.WriteMsg(m) // a client that is gone needs no answer
}

// enter counts a caller's questions, so that one whose servers do not answer leaves room for the others.
func (r *Resolver) enter(caller netip.Addr) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.open[caller] >= callerOpen {
		return false
	}
	r.open[caller]++
	return true
}

func (r *Resolver) leave(caller netip.Addr) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.open[caller]--; r.open[caller] == 0 {
		delete(r.open, caller)
	}
}

// Answer gives the answer to a message, nil for silence.
func (r *Resolver) Answer(q *dns.Msg, tcp bool) *dns.Msg {
	if q.Response || r.cfg.Disabled != nil && r.cfg.Disabled() {
		return nil
	}
	m := new(dns.Msg)
	m.SetReply(q)
	m.RecursionAvailable = true
	size := dns.MinMsgSize
	if o := q.IsEdns0(); o != nil {
		size = min(max(int(o.UDPSize()), dns.MinMsgSize), maxUDP)
		m.SetEdns0(maxUDP, false)
		if o.Version() != 0 {
			m.Rcode = dns.RcodeBadVers
			return m
		}
	}
	switch {
	case q.Opcode != dns.OpcodeQuery:
		m.Rcode = dns.RcodeNotImplemented
	case len(q.Question) != 1:
		m.Rcode = dns.RcodeFormatError
	case q.Question[0].Qclass != dns.ClassINET || q.Question[0].Qtype == dns.TypeAXFR || q.Question[0].Qtype == dns.TypeIXFR:
		m.Rcode = dns.RcodeRefused
	case r.mine(q.Question[0].Name) != nil:
		return r.forward(q, m, tcp, size, r.mine(q.Question[0].Name), r.cfg.DialVPC)
	case r.cfg.Zone().answer(m, q.Question[0]):
		m.Authoritative = true
	case len(r.cfg.Upstreams) > 0:
		return r.forward(q, m, tcp, size, r.cfg.Upstreams, r.cfg.Dial)
	default:
		m.Rcode = dns.RcodeNameError
		m.Ns = r.cfg.Zone().authority(canonical(q.Question[0].Name))
	}
	if !tcp {
		m.Truncate(size)
	}
	return m
}

// mine gives the servers of the longest forwarded domain that a name is in.
func (r *Resolver) mine(name string) (servers []netip.AddrPort) {
	if r.cfg.Forwards == nil {
		return nil
	}
	longest := -1
	for _, f := range r.cfg.Forwards() {
		if d := canonical(f.Domain); len(d) > longest && dns.IsSubDomain(d, canonical(name)) {
			longest, servers = len(d), f.Servers
		}
	}
	return servers
}

type dialer func(ctx context.Context, network, address string) (net.Conn, error)

// forward asks servers in turn.
func (r *Resolver) forward(q, m *dns.Msg, tcp bool, size int, servers []netip.AddrPort, dial dialer) *dns.Msg {
	m.Rcode = dns.RcodeServerFailure
	select {
	case r.forwards <- struct{}{}:
		defer func() { <-r.forwards }()
	default:
		return m
	}
	ctx, cancel := context.WithTimeout(context.Background(), upstreamFor)
	defer cancel()
	out := new(dns.Msg)
	out.SetQuestion(q.Question[0].Name, q.Question[0].Qtype)
	out.SetEdns0(maxUDP, false)
	for _, u := range servers {
		for _, network := range []string{"udp", "tcp"} {
			a, err := r.exchange(ctx, dial, network, u.String(), out)
			if err != nil {
				break
			}
			if a.Truncated && network == "udp" {
				continue
			}
			m.Rcode, m.Answer, m.Ns = a.Rcode, a.Answer, a.Ns
			if !tcp {
				m.Truncate(size)
			}
			return m
		}
	}
	return m
}

func (r *Resolver) exchange(ctx context.Context, dial dialer, network, address string, q *dns.Msg) (*dns.Msg, error) {
	c, err := dial(ctx, network, address)
	if err != nil {
		return nil, err
	}
	defer c.Close()
	a, _, err := (&dns.Client{Net: network, Timeout: upstreamFor / 2, UDPSize: maxUDP}).ExchangeWithConnContext(ctx, q, &dns.Conn{Conn: c, UDPSize: maxUDP})
	return a, err
}

var _ dns.Handler = (*Resolver)(nil)
