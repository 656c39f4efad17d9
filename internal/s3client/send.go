package s3client

import (
	"context"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"time"

	"karri.dev/internal/aws/sigv4"
)

// Endpoint is an S3 endpoint and who speaks to it.
type Endpoint struct {
	Base        *url.URL // without a path
	Region      string
	Credentials sigv4.Credentials
	HTTP        *http.Client
	Now         func() time.Time
}

// Request is a request to S3.
type Request struct {
	Method      string
	Bucket, Key string // Key "": of the bucket
	Query       url.Values
	Header      http.Header
	Body        io.Reader
	Size        int64  // of Body, in bytes
	SHA256      string // of Body, as hex; "" leaves it unsigned
}

// Error is what S3 answered.
type Error struct {
	Status  int    `xml:"-"`
	Code    string `xml:"Code"`
	Message string `xml:"Message"`
}

func (e *Error) Error() string { return fmt.Sprintf("%s (%d): %s", e.Code, e.Status, e.Message) }

// Send sends a request once. The answer is a success: any other is an *Error.
func (e *Endpoint) Send(ctx context.Context, q Request) (*http.Response, error) {
	u := *e.Base
	u.Path = "/" + q.Bucket
	if q.Key != "" {
		u.Path += "/" + q.Key
	}
	u.RawQuery = q.Query.Encode()
	r, err := http.NewRequestWithContext(ctx, q.Method, u.String(), q.Body)
	if err != nil {
		return nil, err
	}
	for name, values := range q.Header {
		r.Header[name] = values
	}
	if r.ContentLength = q.Size; q.Size == 0 {
		r.Body = http.NoBody
	}
	sum := q.SHA256
	if sum == "" {
		sum = sigv4.UnsignedPayload
	}
	return e.do(r, "s3", sum)
}

// do signs a request and sends it.
func (e *Endpoint) do(r *http.Request, service, sha256 string) (*http.Response, error) {
	sigv4.Sign(r, e.Credentials, e.Region, service, sha256, e.Now())
	a, err := e.HTTP.Do(r)
	if err != nil {
		return nil, err
	}
	if a.StatusCode/100 == 2 {
		return a, nil
	}
	defer a.Body.Close()
	failed := &Error{Code: http.StatusText(a.StatusCode)}
	if text, err := io.ReadAll(io.LimitReader(a.Body, 64<<10)); err == nil {
		_ = xml.Unmarshal(text, failed) // what is no XML says no more than the status
		var ec2 struct {
			Errors []*Error `xml:"Errors>Error"`
		}
		if xml.Unmarshal(text, &ec2) == nil && len(ec2.Errors) > 0 {
			failed = ec2.Errors[0]
		}
	}
	failed.Status = a.StatusCode
	return nil, failed
}

// Read reads an answer, 16 MiB of it at most, and closes it. Some answers begin as a success and tell of an *Error then.
func Read(a *http.Response) ([]byte, error) {
	text, err := io.ReadAll(io.LimitReader(a.Body, 16<<20))
	if err = errors.Join(err, a.Body.Close()); err != nil {
		return nil, err
	}
	failed := &Error{Status: a.StatusCode}
	if xml.Unmarshal(text, &struct {
		XMLName xml.Name `xml:"Error"`
		*Error
	}{Error: failed}) == nil {
		return nil, failed
	}
	return text, nil
}

// Guard ends a context when nothing has moved for some time.
type Guard struct {
	cancel context.CancelFunc
	timer  *time.Timer
	idle   time.Duration
}

// NewGuard gives such a context. End is to be called.
func NewGuard(ctx context.Context, idle time.Duration) (context.Context, *Guard) {
	ctx, cancel := context.WithCancel(ctx)
	return ctx, &Guard{cancel, time.AfterFunc(idle, cancel), idle}
}

// Moved says that something has moved.
func (g *Guard) Moved() { g.timer.Reset(g.idle) }

// End ends the context.
func (g *Guard) End() {
	g.timer.Stop()
	g.cancel()
}

// Reader gives r, whose reads move something.
func (g *Guard) Reader(r io.Reader) io.Reader { return &guarded{r, g} }

type guarded struct {
	io.Reader
	guard *Guard
}

func (r *guarded) Read(p []byte) (int, error) {
	n, err := r.Reader.Read(p)
	r.guard.Moved()
	return n, err
}
