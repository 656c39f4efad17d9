package frontdoor

import (
	"sync"
	"time"

	"golang.org/x/time/rate"

	"karri.dev/internal/aws/awserr"
	"karri.dev/internal/aws/wire"
)

// throttleSize bounds each of the two generations of buckets. An account that falls out begins with a full one.
const throttleSize = 4096

// throttle is a token bucket per account.
type throttle struct {
	rate  rate.Limit
	burst int

	mu         sync.Mutex
	young, old map[string]*rate.Limiter
}

func newThrottle(perSecond float64, burst int) *throttle {
	return &throttle{rate: rate.Limit(perSecond), burst: burst, young: map[string]*rate.Limiter{}}
}

func (t *throttle) allow(who string, now time.Time) bool {
	if t.rate < 0 {
		return true
	}
	t.mu.Lock()
	l := t.young[who]
	if l == nil {
		if l = t.old[who]; l == nil {
			l = rate.NewLimiter(t.rate, t.burst)
		}
		if len(t.young) >= throttleSize {
			t.old, t.young = t.young, map[string]*rate.Limiter{}
		}
		t.young[who] = l
	}
	t.mu.Unlock()
	return l.AllowN(now, 1)
}

// tooFast is the refusal in the service's own words.
func tooFast(s *wire.Service) error {
	switch s.Protocol {
	case wire.RestXML:
		return awserr.New("SlowDown", "Please reduce your request rate.").WithStatus(503)
	case wire.EC2:
		return awserr.New("RequestLimitExceeded", "Request limit exceeded.").WithStatus(503)
	}
	if s.Protocol == wire.RestJSON {
		return awserr.New("RequestThrottledException", "Rate exceeded").With("Reason", "ACCOUNT_THROTTLED")
	}
	return awserr.New("Throttling", "Rate exceeded")
}
