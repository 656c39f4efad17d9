// Package callers shares a service out between its callers: each address has its own token bucket, so that a
// busy one spends only its own share.
package callers

import (
	"net/netip"
	"sync"
	"time"

	"golang.org/x/time/rate"
)

// maxKnown bounds the memory that callers take.
const maxKnown = 8192

// Limits holds one bucket per caller.
type Limits struct {
	rate  rate.Limit
	burst int
	now   func() time.Time

	mu      sync.Mutex
	buckets map[netip.Addr]*rate.Limiter
}

// New makes Limits of perSecond requests a caller, and burst at once.
func New(perSecond, burst int, now func() time.Time) *Limits {
	return &Limits{rate: rate.Limit(perSecond), burst: burst, now: now, buckets: map[netip.Addr]*rate.Limiter{}}
}

// Allow says whether the caller may have one request more now.
func (l *Limits) Allow(caller netip.Addr) bool {
	now := l.now()
	l.mu.Lock()
	defer l.mu.Unlock()
	b := l.buckets[caller]
	if b == nil {
		if len(l.buckets) >= maxKnown {
			l.forget(now)
		}
		b = rate.NewLimiter(l.rate, l.burst)
		l.buckets[caller] = b
	}
	return b.AllowN(now, 1)
}

// forget drops callers that have been quiet long enough to have a full bucket: they lose nothing by it.
func (l *Limits) forget(now time.Time) {
	for a, b := range l.buckets {
		if b.TokensAt(now) >= float64(l.burst) {
			delete(l.buckets, a)
		}
	}
}
