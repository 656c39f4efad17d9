package frontdoor

import (
	"net/http"
	"net/netip"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"karri.dev/internal/guestapi"
)

// metrics counts requests. Labels come from the tables of operations and from error codes, never from clients.
type metrics struct {
	requests *prometheus.CounterVec
	seconds  *prometheus.HistogramVec
	other    *operationMetrics // calls of what is not served
}

// operationMetrics has an operation's series at hand.
type operationMetrics struct {
	requests *prometheus.CounterVec // by code
	ok       prometheus.Counter
	seconds  prometheus.Observer

	mu    sync.Mutex
	codes map[string]prometheus.Counter
}

func newMetrics(reg *prometheus.Registry) *metrics {
	m := &metrics{
		requests: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "karri_api_requests_total", Help: "API requests by service, operation and error code (OK for none).",
		}, []string{"service", "operation", "code"}),
		seconds: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "karri_api_request_seconds", Help: "Time from a request's first byte to its answer's last, in seconds.",
			Buckets: []float64{.0005, .001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 10, 60},
		}, []string{"service", "operation"}),
	}
	reg.MustRegister(m.requests, m.seconds)
	m.other = m.of("other", "other")
	return m
}

func (m *metrics) of(service, operation string) *operationMetrics {
	labels := prometheus.Labels{"service": service, "operation": operation}
	requests := m.requests.MustCurryWith(labels)
	return &operationMetrics{
		requests: requests, ok: requests.WithLabelValues("OK"),
		seconds: m.seconds.With(labels), codes: map[string]prometheus.Counter{},
	}
}

func (o *operationMetrics) observe(code string, took time.Duration) {
	o.seconds.Observe(took.Seconds())
	if code == "" {
		o.ok.Inc()
		return
	}
	o.mu.Lock()
	c := o.codes[code]
	if c == nil {
		c = o.requests.WithLabelValues(code)
		o.codes[code] = c
	}
	o.mu.Unlock()
	c.Inc()
}

// metricsHandler serves the registry to this host and to the prefixes configured.
func (d *Door) metricsHandler() http.Handler {
	h := promhttp.HandlerFor(d.deps.Registry, promhttp.HandlerOpts{})
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		ip := sourceIP(r)
		guest := guestapi.From(r.Context()).VPC != ""
		allowed := ip.IsLoopback() && !guest
		for _, p := range d.cfg.MetricsFrom {
			allowed = allowed || p.Contains(ip) && !guest
		}
		if !allowed {
			http.Error(w, "forbidden", http.StatusForbidden)
			return
		}
		h.ServeHTTP(w, r)
	})
}

func sourceIP(r *http.Request) netip.Addr {
	ap, _ := netip.ParseAddrPort(r.RemoteAddr)
	return ap.Addr().Unmap()
}
