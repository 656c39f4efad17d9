// Package frontdoor takes AWS requests in over HTTP and calls services with typed values.
//
// One endpoint serves every service. Which service, region and operation are meant is read from the host
// name, the credential scope and the request itself; then the signature is checked, the input decoded, the
// call authorised, throttled, recorded and made, and the answer or the AWS error written in the service's
// own protocol.
//
// What is not AWS's lives under /_karri/: an underscore cannot occur in a bucket's name.
package frontdoor

import (
	"context"
	"errors"
	"iter"
	"log/slog"
	"maps"
	"net/http"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"karri.dev/internal/audit"
	"karri.dev/internal/aws/call"
	"karri.dev/internal/aws/sigv4"
	"karri.dev/internal/aws/wire"
	"karri.dev/internal/identity"
	"karri.dev/internal/ids"
)

// Own is the path prefix of what is Karri's own.
const Own = "/_karri/"

// Config is what an operator chooses. Zero values mean the defaults said.
type Config struct {
	Domain  string   // DNS domain of ec2.REGION.DOMAIN, BUCKET.s3.REGION.DOMAIN …; "" for none
	Regions []string // regions served, the default one first; us-east-1

	// Throttle, per account.
	RatePerSecond float64 // 50,000; negative: none
	Burst         int     // twice the rate

	Timeout      time.Duration  // of a call that does not stream; a minute
	StallTimeout time.Duration  // within which some bytes of a body must move; a minute
	MetricsFrom  []netip.Prefix // clients that may read the metrics, besides those on this host
}

// Authenticator finds the owner of an access key.
type Authenticator interface {
	// Lookup takes the session token, "" where the client sent none. Errors are identity.ErrNoKey,
	// identity.ErrBadToken and session.ErrExpired.
	Lookup(accessKeyID, token string, now time.Time) (*identity.Principal, error)
	Used(c *call.Caller, service, region string, at time.Time)
}

// Deps are what a Door works with. Authenticator and Authorizer are required.
type Deps struct {
	Authenticator Authenticator
	Authorizer    Authorizer
	Audit         audit.Sink // nil: none
	Health        func() error
	Registry      *prometheus.Registry // nil: a new one
	IDs           *ids.Source
	Now           func() time.Time
	Log           *slog.Logger
}

// Door is the http.Handler of a cloud. Register services before it serves.
type Door struct {
	cfg      Config
	deps     Deps
	verifier *sigv4.Verifier
	services map[string]*service
	byAction map[string]*service // of query services, for unsigned requests
	own      *http.ServeMux
	throttle *throttle
	metrics  *metrics
	buffers  sync.Pool // *[]byte for answers
}

// service is a registered service.
type service struct {
	*wire.Service
	api        any
	operations map[string]*operation
}

type operation struct {
	*wire.Operation
	metrics *operationMetrics
}

// New makes a Door without services.
func New(cfg Config, deps Deps) *Door {
	if len(cfg.Regions) == 0 {
		cfg.Regions = []string{"us-east-1"}
	}
	cfg.Domain = strings.ToLower(strings.Trim(cfg.Domain, "."))
	if cfg.RatePerSecond == 0 {
		cfg.RatePerSecond = 50_000
	}
	if cfg.Burst == 0 {
		cfg.Burst = int(2 * cfg.RatePerSecond)
	}
	if cfg.Timeout == 0 {
		cfg.Timeout = time.Minute
	}
	if cfg.StallTimeout == 0 {
		cfg.StallTimeout = time.Minute
	}
	if deps.Authorizer == nil || deps.Authenticator == nil {
		panic("frontdoor: somebody has to say who calls, and whether they may")
	}
	if deps.Registry == nil {
		deps.Registry = prometheus.NewRegistry()
	}
	if deps.IDs == nil {
		deps.IDs = ids.New(nil)
	}
	if deps.Now == nil {
		deps.Now = time.Now
	}
	if deps.Log == nil {
		deps.Log = slog.New(slog.DiscardHandler)
	}
	d := &Door{
		cfg: cfg, deps: deps, verifier: sigv4.NewVerifier(),
		services: map[string]*service{}, byAction: map[string]*service{},
		own: http.NewServeMux(), throttle: newThrottle(cfg.RatePerSecond, cfg.Burst), metrics: newMetrics(deps.Registry),
	}
	d.buffers.New = func() any { b := make([]byte, 0, 4<<10); return &b }
	d.Handle("healthz", http.HandlerFunc(d.healthz))
	d.Handle("metrics", d.metricsHandler())
	return d
}

// Register serves a service with api, which implements the service's generated API interface.
func (d *Door) Register(svc *wire.Service, api any) {
	s := &service{Service: svc, api: api, operations: make(map[string]*operation, len(svc.Operations))}
	for i := range svc.Operations {
		op := &svc.Operations[i]
		s.operations[op.Name] = &operation{op, d.metrics.of(svc.Name, op.Name)}
	}
	if svc.Protocol == wire.EC2 || svc.Protocol == wire.Query {
		for _, r := range svc.Known {
			if _, taken := d.byAction[r.Name]; !taken {
				d.byAction[r.Name] = s
			}
		}
	}
	d.services[svc.Name] = s
}

// Handle serves h under Own + pattern, without AWS authentication: h has its own.
func (d *Door) Handle(pattern string, h http.Handler) { d.own.Handle(Own+pattern, h) }

// Region is the default region.
func (d *Door) Region() string { return d.cfg.Regions[0] }

func (d *Door) knowsRegion(region string) bool { return slices.Contains(d.cfg.Regions, region) }

// ServeHTTP serves one request.
func (d *Door) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if strings.HasPrefix(r.URL.Path, Own) {
		d.own.ServeHTTP(w, r)
		return
	}
	x := d.begin(w, r)
	defer x.end()
	defer x.recover()
	x.fail(x.serve())
}

func (d *Door) healthz(w http.ResponseWriter, _ *http.Request) {
	if d.deps.Health != nil {
		if err := d.deps.Health(); err != nil {
			d.deps.Log.Warn("not healthy", "err", err)
			http.Error(w, "not healthy", http.StatusServiceUnavailable)
			return
		}
	}
	w.Write([]byte("ok\n"))
}

// canceled says that the client went away or the call took too long.
func canceled(err error) bool {
	return errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded)
}

// Services gives every service and what implements it, in order of name: for those who make calls without HTTP.
func (d *Door) Services() iter.Seq2[*wire.Service, any] {
	return func(yield func(*wire.Service, any) bool) {
		for _, name := range slices.Sorted(maps.Keys(d.services)) {
			if s := d.services[name]; !yield(s.Service, s.api) {
				return
			}
		}
	}
}
