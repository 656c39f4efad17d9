package frontdoor_test

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"

	"karri.dev/internal/aws/sigv4"
	"karri.dev/internal/frontdoor"
	"karri.dev/internal/identity"
)

const identityForm = "Action=GetCallerIdentity&Version=2011-06-15"

// signedForm gives a signed POST of a form.
func signedForm(target, service, form string, k identity.Key, now time.Time) *http.Request {
	r := httptest.NewRequest("POST", target, strings.NewReader(form))
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded; charset=utf-8")
	digest := sha256.Sum256([]byte(form))
	sigv4.Sign(r, sigv4.Credentials{AccessKeyID: k.ID, Secret: k.Secret}, "us-east-1", service, hex.EncodeToString(digest[:]), now)
	return r
}

// bare leaves out what would cap or add to the figure.
func bare(cfg *frontdoor.Config, d *frontdoor.Deps) { cfg.RatePerSecond, d.Audit = -1, nil }

// nowhere is a ResponseWriter that keeps nothing but the status.
type nowhere struct {
	h      http.Header
	status int
}

func (n *nowhere) Header() http.Header         { return n.h }
func (n *nowhere) Write(p []byte) (int, error) { return len(p), nil }
func (n *nowhere) WriteHeader(status int)      { n.status = status }

// BenchmarkGetCallerIdentity is the whole way through the handler, without HTTP parsing.
func BenchmarkGetCallerIdentity(b *testing.B) {
	c := newCloud(b, bare)
	r := signedForm("http://127.0.0.1:8773/", "sts", identityForm, c.key, time.Now())
	b.ReportAllocs()
	b.ResetTimer()
	for b.Loop() {
		r.Body = io.NopCloser(strings.NewReader(identityForm))
		w := &nowhere{h: http.Header{}}
		c.ServeHTTP(w, r)
		if w.status != 200 {
			b.Fatal(w.status)
		}
	}
}

// BenchmarkGetCallerIdentityHTTP is the same over loopback with keep-alive, client included, signed once.
func BenchmarkGetCallerIdentityHTTP(b *testing.B) {
	c := newCloud(b, bare)
	target := c.serve(b)
	u, _ := url.Parse(target)
	signed := signedForm(target+"/", "sts", identityForm, c.key, time.Now())
	client := &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: 64}}
	b.ReportAllocs()
	b.SetParallelism(8)
	b.ResetTimer()
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			r, _ := http.NewRequestWithContext(context.Background(), "POST", target+"/", strings.NewReader(identityForm))
			r.Header, r.Host = signed.Header, u.Host
			res, err := client.Do(r)
			if err != nil {
				b.Error(err)
				return
			}
			io.Copy(io.Discard, res.Body)
			res.Body.Close()
			if res.StatusCode != 200 {
				b.Error(res.Status)
				return
			}
		}
	})
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "req/s")
}
