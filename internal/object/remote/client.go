package remote

import (
	"bytes"
	"context"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"net/url"
	"time"

	"karri.dev/internal/aws/sigv4"
	"karri.dev/internal/object"
)

const (
	// answerTime is how long the endpoint may take until it begins to answer.
	answerTime = time.Minute
	// stallTime is how long no byte may move.
	stallTime = time.Minute
	// attempts of what can be repeated.
	attempts = 4
)

// client speaks S3 with one service account.
type client struct {
	base *url.URL
	cfg  Config
	http *http.Client
}

// failure is what the endpoint has answered.
type failure struct {
	Status  int    `xml:"-"`
	Code    string `xml:"Code"`
	Message string `xml:"Message"`
}

func (f *failure) Error() string {
	return fmt.Sprintf("the object store answers %d %s: %s", f.Status, f.Code, f.Message)
}

// Unwrap names what the engine has names for.
func (f *failure) Unwrap() error {
	switch {
	case f.Status == http.StatusNotFound && f.Code != "NoSuchBucket":
		return fs.ErrNotExist
	case f.Status == http.StatusInsufficientStorage || f.Code == "QuotaExceeded":
		return object.ErrNoSpace
	}
	return object.ErrOffline
}

func (f *failure) temporary() bool {
	return f.Status >= 500 && f.Status != http.StatusInsufficientStorage || f.Status == http.StatusTooManyRequests || f.Code == "RequestTimeout"
}

// send sends a request once. The answer is a success.
func (c *client) send(ctx context.Context, method, key string, query url.Values, header http.Header, body io.Reader, size int64) (*http.Response, error) {
	u := *c.base
	u.Path = "/" + c.cfg.Bucket
	if key != "" {
		u.Path += "/" + key
	}
	u.RawQuery = query.Encode()
	r, err := http.NewRequestWithContext(ctx, method, u.String(), body)
	if err != nil {
		return nil, err
	}
	for name, values := range header {
		r.Header[name] = values
	}
	if r.ContentLength = size; size == 0 {
		r.Body = http.NoBody
	}
	// The bytes are sealed: what is changed on its way does not open.
	sigv4.Sign(r, c.cfg.Credentials, c.cfg.Region, "s3", sigv4.UnsignedPayload, c.cfg.Now())
	a, err := c.http.Do(r)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", object.ErrOffline, err)
	}
	if a.StatusCode/100 == 2 {
		return a, nil
	}
	defer a.Body.Close()
	f := &failure{Code: http.StatusText(a.StatusCode)}
	if text, err := io.ReadAll(io.LimitReader(a.Body, 64<<10)); err == nil {
		_ = xml.Unmarshal(text, f) // what is no XML says no more than the status
	}
	f.Status = a.StatusCode
	return nil, f
}

// repeat sends what can be repeated until it is answered.
func (c *client) repeat(ctx context.Context, method, key string, query url.Values, header http.Header, body []byte) (*http.Response, error) {
	pause := 100 * time.Millisecond
	for n := 1; ; n++ {
		a, err := c.send(ctx, method, key, query, header, bytes.NewReader(body), int64(len(body)))
		var f *failure
		if err == nil || n == attempts || ctx.Err() != nil || errors.As(err, &f) && !f.temporary() {
			return a, err
		}
		select {
		case <-time.After(pause):
		case <-ctx.Done():
			return nil, err
		}
		pause *= 4
	}
}

// call is repeat without an answer's body, or with one in XML.
func (c *client) call(ctx context.Context, method, key string, query url.Values, header http.Header, body []byte, out any) (http.Header, error) {
	ctx, cancel := context.WithTimeout(ctx, 2*answerTime)
	defer cancel()
	a, err := c.repeat(ctx, method, key, query, header, body)
	if err != nil {
		return nil, err
	}
	text, err := io.ReadAll(io.LimitReader(a.Body, 16<<20))
	if err := errors.Join(err, a.Body.Close()); err != nil {
		return nil, fmt.Errorf("%w: %w", object.ErrOffline, err)
	}
	// Some answers begin with a 200 and tell of an error then.
	f := &failure{Status: a.StatusCode}
	if err := xml.Unmarshal(text, &struct {
		XMLName xml.Name `xml:"Error"`
		*failure
	}{failure: f}); err == nil {
		return nil, f
	}
	if out == nil {
		return a.Header, nil
	}
	if err := xml.Unmarshal(text, out); err != nil {
		return nil, fmt.Errorf("answer of the object store: %w", err)
	}
	return a.Header, nil
}

func (c *client) list(ctx context.Context, query url.Values, out any) (http.Header, error) {
	return c.call(ctx, http.MethodGet, "", query, nil, nil, out)
}

// objectPage and uploadPage are what listings answer.
type (
	objectPage struct {
		Contents []struct {
			Key string `xml:"Key"`
		} `xml:"Contents"`
		Truncated bool   `xml:"IsTruncated"`
		Next      string `xml:"NextContinuationToken"`
	}
	uploadPage struct {
		Uploads []struct {
			Key string `xml:"Key"`
			ID  string `xml:"UploadId"`
		} `xml:"Upload"`
		Truncated bool   `xml:"IsTruncated"`
		NextKey   string `xml:"NextKeyMarker"`
		NextID    string `xml:"NextUploadIdMarker"`
	}
)

// guard ends a context when nothing has moved for stallTime.
type guard struct {
	cancel context.CancelFunc
	timer  *time.Timer
}

func newGuard(ctx context.Context) (context.Context, *guard) {
	ctx, cancel := context.WithCancel(ctx)
	return ctx, &guard{cancel, time.AfterFunc(stallTime, cancel)}
}

func (g *guard) moved() { g.timer.Reset(stallTime) }

func (g *guard) end() {
	g.timer.Stop()
	g.cancel()
}
