package s3

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/xml"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"time"

	"karri.dev/internal/aws/sigv4"
	"karri.dev/internal/resource"
	"karri.dev/internal/s3client"
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
	s3client.Endpoint
	of *resource.ReplicaTarget
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
	base, err := url.Parse(t.Endpoint)
	if err != nil {
		return nil, fmt.Errorf("endpoint of target %s: %w", t.Name, err)
	}
	client, transport := caller()
	c := &targetClient{s3client.Endpoint{Base: base, Region: t.Region, Credentials: sigv4.Credentials{AccessKeyID: t.AccessKey, Secret: string(secret)}, HTTP: client, Now: s.now}, t}
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
		old.HTTP.CloseIdleConnections()
	}
	s.targets.made[t.Key()] = c
	return c, nil
}

// stallTime is how long no byte may move, and how long an answer may take.
const stallTime = time.Minute

// forGood says that asking again will not help.
func forGood(e *s3client.Error) bool {
	return e.Status == http.StatusNotImplemented || e.Status/100 == 4 && e.Status != http.StatusRequestTimeout && e.Status != http.StatusTooManyRequests &&
		e.Code != "RequestTimeout" && e.Code != "RequestTimeTooSkewed" && e.Code != "SlowDown" && e.Code != "OperationAborted"
}

// call sends one request; an answer that is no success is an *s3client.Error. out, if not nil, takes the answer's XML.
func (c *targetClient) call(ctx context.Context, q s3client.Request, out any) (http.Header, error) {
	ctx, guard := s3client.NewGuard(ctx, 2*stallTime)
	defer guard.End()
	if q.Body != nil {
		q.Body = guard.Reader(q.Body)
	}
	a, err := c.Send(ctx, q)
	if err != nil {
		return nil, fmt.Errorf("target %s: %w", c.of.Name, err)
	}
	text, err := s3client.Read(a)
	if err != nil {
		return nil, fmt.Errorf("target %s: %w", c.of.Name, err)
	}
	if out != nil {
		if err := xml.Unmarshal(text, out); err != nil {
			return nil, fmt.Errorf("answer of target %s: %w", c.of.Name, err)
		}
	}
	return a.Header, nil
}

// versioned says whether a bucket there keeps versions.
func (c *targetClient) versioned(ctx context.Context, bucket string) (bool, error) {
	var v struct{ Status string }
	ctx, cancel := context.WithTimeout(ctx, hookTime)
	defer cancel()
	_, err := c.call(ctx, s3client.Request{Method: http.MethodGet, Bucket: bucket, Query: url.Values{"versioning": {""}}}, &v)
	return v.Status == enabled, err
}
