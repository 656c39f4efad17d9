package s3

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"time"

	"karri.dev/internal/aws/sigv4"
	"karri.dev/internal/resource"
	"karri.dev/internal/seal"
	"karri.dev/internal/store"
)

// Targets are S3 endpoints elsewhere that the administrator has named for an account. A replication rule names a bucket there
// as arn:aws:s3:::BUCKET@TARGET: no bucket here can have such a name.

const targetMark = "@"

// NewReplicaTarget makes a target. ca, if not "", has the certificates to trust.
func NewReplicaTarget(sealer *seal.Sealer, account, name, endpoint, region, accessKey, secret, ca string, now time.Time) (*resource.ReplicaTarget, error) {
	u, err := url.Parse(endpoint)
	switch {
	case !hookName.MatchString(name):
		return nil, fmt.Errorf("%q is no name of a target: letters, digits, - and _", name)
	case err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" || u.User != nil || strings.Trim(u.Path, "/") != "" || u.RawQuery != "":
		return nil, fmt.Errorf("endpoint %q: want https://HOST", endpoint)
	case accessKey == "" || secret == "":
		return nil, errors.New("an access key and its secret are needed")
	case ca != "" && !x509.NewCertPool().AppendCertsFromPEM([]byte(ca)):
		return nil, errors.New("there is no certificate in what is to be trusted")
	}
	if region == "" {
		region = usEast1
	}
	t := &resource.ReplicaTarget{AccountID: account, Name: name, Endpoint: u.Scheme + "://" + u.Host, Region: region, AccessKey: accessKey, CA: ca, CreatedAt: now.UTC()}
	t.Sealed = sealer.Seal([]byte(secret), "replica "+t.Key())
	return t, nil
}

// elsewhere takes the name of a bucket at a target apart.
func elsewhere(name string) (bucket, target string, ok bool) { return strings.Cut(name, targetMark) }

// targets keeps a client for each target as it is now.
type targets struct {
	mu   sync.Mutex
	made map[string]*targetClient
}

type targetClient struct {
	of   *resource.ReplicaTarget
	http *http.Client
	keys sigv4.Credentials
}

// target finds a target of an account; nil if there is none.
func (s *Service) target(r store.Reader, account, name string) (*targetClient, error) {
	t := store.ReplicaTargets.Get(r, account+"/"+name)
	if t == nil {
		return nil, nil
	}
	s.targets.mu.Lock()
	defer s.targets.mu.Unlock()
	if c := s.targets.made[t.Key()]; c != nil && c.of == t {
		return c, nil
	}
	secret, err := s.sealer.Open(t.Sealed, "replica "+t.Key())
	if err != nil {
		return nil, fmt.Errorf("secret key of target %s: %w", t.Name, err)
	}
	c := &targetClient{of: t, keys: sigv4.Credentials{AccessKeyID: t.AccessKey, Secret: string(secret)}}
	transport := (*http.Transport)(nil)
	c.http, transport = caller()
	transport.ResponseHeaderTimeout = stallTime
	if t.CA != "" {
		pool := x509.NewCertPool()
		pool.AppendCertsFromPEM([]byte(t.CA))
		transport.TLSClientConfig = &tls.Config{RootCAs: pool, MinVersion: tls.VersionTLS12}
	}
	if s.targets.made == nil {
		s.targets.made = map[string]*targetClient{}
	}
	if old := s.targets.made[t.Key()]; old != nil {
		old.http.CloseIdleConnections()
	}
	s.targets.made[t.Key()] = c
	return c, nil
}

// stallTime is how long no byte may move, and how long an answer may take.
const stallTime = time.Minute

// targetError is what a target has answered.
type targetError struct {
	status        int
	Code, Message string
}

func (e *targetError) Error() string {
	return fmt.Sprintf("the target answers %d %s: %s", e.status, e.Code, e.Message)
}

// forGood says that asking again will not help.
func (e *targetError) forGood() bool {
	return e.status == http.StatusNotImplemented || e.status/100 == 4 && e.status != http.StatusRequestTimeout && e.status != http.StatusTooManyRequests &&
		e.Code != "RequestTimeout" && e.Code != "RequestTimeTooSkewed" && e.Code != "SlowDown" && e.Code != "OperationAborted"
}

// call sends one request; an answer that is no success is a *targetError. out, if not nil, takes the answer's XML.
func (c *targetClient) call(ctx context.Context, now time.Time, method, bucket, key string, query url.Values, header http.Header, body io.Reader, size int64, out any) (http.Header, error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	stalled := time.AfterFunc(2*stallTime, cancel)
	defer stalled.Stop()
	u, err := url.Parse(c.of.Endpoint)
	if err != nil {
		return nil, err
	}
	u.Path = "/" + bucket
	if key != "" {
		u.Path += "/" + key
	}
	u.RawQuery = query.Encode()
	if body != nil {
		body = &moving{body, stalled}
	}
	r, err := http.NewRequestWithContext(ctx, method, u.String(), body)
	if err != nil {
		return nil, err
	}
	if header != nil {
		r.Header = header.Clone()
	}
	if r.ContentLength = size; size == 0 {
		r.Body = http.NoBody
	}
	sigv4.Sign(r, c.keys, c.of.Region, "s3", sigv4.UnsignedPayload, now)
	a, err := c.http.Do(r)
	if err != nil {
		return nil, fmt.Errorf("target %s: %w", c.of.Name, err)
	}
	defer a.Body.Close()
	text, err := io.ReadAll(io.LimitReader(a.Body, 1<<20))
	if err != nil {
		return nil, fmt.Errorf("target %s: %w", c.of.Name, err)
	}
	failed := &targetError{status: a.StatusCode, Code: http.StatusText(a.StatusCode)}
	if a.StatusCode/100 != 2 {
		_ = xml.Unmarshal(text, failed) // what is no XML says no more than the status
		return nil, failed
	}
	if bytes.Contains(text, []byte("<Error>")) { // some answers begin with a 200
		_ = xml.Unmarshal(text, failed)
		failed.status = http.StatusInternalServerError
		return nil, failed
	}
	if out != nil {
		if err := xml.Unmarshal(text, out); err != nil {
			return nil, fmt.Errorf("answer of target %s: %w", c.of.Name, err)
		}
	}
	return a.Header, nil
}

// moving puts a timer off while bytes move.
type moving struct {
	io.Reader
	stalled *time.Timer
}

func (m *moving) Read(p []byte) (int, error) {
	m.stalled.Reset(2 * stallTime)
	return m.Reader.Read(p)
}

// versioned says whether a bucket there keeps versions.
func (c *targetClient) versioned(ctx context.Context, now time.Time, bucket string) (bool, error) {
	var v struct{ Status string }
	ctx, cancel := context.WithTimeout(ctx, hookTime)
	defer cancel()
	_, err := c.call(ctx, now, http.MethodGet, bucket, "", url.Values{"versioning": {""}}, nil, nil, 0, &v)
	return v.Status == enabled, err
}
