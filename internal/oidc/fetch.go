package oidc

import (
	"context"
	"crypto/sha1"
	"crypto/tls"
	"crypto/x509"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/go-jose/go-jose/v4"
)

// What a provider may take and give.
const (
	fetchTime   = 8 * time.Second // for everything that one refresh needs, unless Config says otherwise
	maxDocument = 256 << 10
	maxKeys     = 200 // AWS: a hundred of each kind
)

// discovery is what is used of a provider's configuration document.
type discovery struct {
	Issuer  string `json:"issuer"`
	JWKSURI string `json:"jwks_uri"`
}

// client speaks with a provider whose certificate the system's authorities, or one of the thumbprints, vouch for.
func (v *Verifier) client(thumbprints []string) *http.Client {
	return &http.Client{
		Transport: &http.Transport{
			DialContext:            v.cfg.Guard.dial,
			TLSClientConfig:        v.tlsConfig(thumbprints),
			DisableKeepAlives:      true,
			MaxResponseHeaderBytes: 16 << 10,
		},
		// A redirect is the way around every check of the first URL.
		CheckRedirect: func(*http.Request, []*http.Request) error {
			return &Error{Invalid, couldNot, errors.New("the provider redirects")}
		},
	}
}

const mismatch = "OpenIDConnect provider's HTTPS certificate doesn't match configured thumbprint"

// tlsConfig checks certificates as AWS does: the system's authorities first, then the thumbprints.
func (v *Verifier) tlsConfig(thumbprints []string) *tls.Config {
	return &tls.Config{
		MinVersion:         tls.VersionTLS12,
		InsecureSkipVerify: true, // VerifyConnection does it, on every connection
		VerifyConnection: func(s tls.ConnectionState) error {
			if len(s.PeerCertificates) == 0 || s.ServerName == "" { // an address in place of a name: it could not be checked
				return &Error{Invalid, mismatch, nil}
			}
			leaf, o := s.PeerCertificates[0], x509.VerifyOptions{DNSName: s.ServerName, Roots: v.cfg.Roots, Intermediates: x509.NewCertPool(), CurrentTime: v.now()}
			for _, c := range s.PeerCertificates[1:] {
				o.Intermediates.AddCert(c)
			}
			_, err := leaf.Verify(o)
			if err == nil {
				return nil
			}
			o.Roots = x509.NewCertPool()
			for _, c := range s.PeerCertificates {
				if slices.Contains(thumbprints, thumbprint(c)) {
					o.Roots.AddCert(c)
				}
			}
			if _, again := leaf.Verify(o); again != nil {
				return &Error{Invalid, mismatch, err}
			}
			return nil
		},
	}
}

// thumbprint is AWS's: SHA-1 of the certificate. It picks one of a chain that has to verify in full besides.
func thumbprint(c *x509.Certificate) string {
	sum := sha1.Sum(c.Raw)
	return hex.EncodeToString(sum[:])
}

// get reads a JSON document.
func get(ctx context.Context, c *http.Client, from string, into any) error {
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, from, nil)
	if err != nil {
		return err
	}
	r.Header.Set("Accept", "application/json")
	resp, err := c.Do(r)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return &Error{Invalid, couldNot, fmt.Errorf("%s answers %s", from, resp.Status)}
	}
	text, err := io.ReadAll(io.LimitReader(resp.Body, maxDocument+1))
	switch {
	case err != nil:
		return err
	case len(text) > maxDocument:
		return &Error{Invalid, couldNot, fmt.Errorf("%s is larger than %d bytes", from, maxDocument)}
	}
	if err := json.Unmarshal(text, into); err != nil {
		return &Error{Invalid, couldNot, fmt.Errorf("%s: %w", from, err)}
	}
	return nil
}

// discover reads the provider's configuration and gives where its keys are.
func discover(ctx context.Context, c *http.Client, issuer string) (*url.URL, error) {
	var d discovery
	if err := get(ctx, c, strings.TrimSuffix(issuer, "/")+"/.well-known/openid-configuration", &d); err != nil {
		return nil, err
	}
	if d.Issuer != issuer {
		return nil, &Error{Invalid, couldNot, fmt.Errorf("the configuration of %s is that of %.256q", issuer, d.Issuer)}
	}
	u, err := url.Parse(d.JWKSURI)
	if err != nil || u.Scheme != "https" || u.Host == "" || u.User != nil {
		return nil, &Error{Invalid, couldNot, fmt.Errorf("jwks_uri is %.256q", d.JWKSURI)}
	}
	return u, nil
}

// fetch reads a provider's keys: those that can sign.
func (v *Verifier) fetch(ctx context.Context, p *Provider) ([]jose.JSONWebKey, error) {
	ctx, cancel := context.WithTimeout(ctx, v.cfg.Timeout)
	defer cancel()
	c := v.client(p.Thumbprints)
	from, err := discover(ctx, c, p.Issuer)
	if err != nil {
		return nil, unreachable(err)
	}
	var set struct {
		Keys []json.RawMessage `json:"keys"`
	}
	if err := get(ctx, c, from.String(), &set); err != nil {
		return nil, unreachable(err)
	}
	if len(set.Keys) > maxKeys {
		return nil, &Error{Invalid, couldNot, fmt.Errorf("%d keys", len(set.Keys))}
	}
	var keys []jose.JSONWebKey
	for _, raw := range set.Keys {
		var k jose.JSONWebKey
		if k.UnmarshalJSON(raw) == nil && usable(&k) { // others may serve something else
			keys = append(keys, k)
		}
	}
	return keys, nil
}

// unreachable tells a provider that cannot be reached, for now, from one that never will do.
func unreachable(err error) error {
	var e *Error
	if errors.As(err, &e) {
		return err
	}
	if errors.Is(err, ErrAddress) {
		return &Error{Invalid, couldNot, err}
	}
	return &Error{Communication, "The identity provider could not be reached to verify the incoming identity token.", err}
}

// Thumbprints gives those of the authorities at the top of the chains that a provider and the host of its keys show.
func (v *Verifier) Thumbprints(ctx context.Context, issuer string) ([]string, error) {
	ctx, cancel := context.WithTimeout(ctx, v.cfg.Timeout)
	defer cancel()
	u, err := url.Parse(issuer)
	if err != nil {
		return nil, err
	}
	first, err := v.top(ctx, u)
	if err != nil {
		return nil, err
	}
	keys, err := discover(ctx, v.client([]string{first}), issuer)
	if err != nil {
		return nil, err
	}
	if keys.Host == u.Host {
		return []string{first}, nil
	}
	second, err := v.top(ctx, keys)
	if err != nil || second == first {
		return []string{first}, err
	}
	return []string{first, second}, nil
}

// top gives the thumbprint of the last certificate that a host shows.
func (v *Verifier) top(ctx context.Context, u *url.URL) (string, error) {
	port := u.Port()
	if port == "" {
		port = "443"
	}
	raw, err := v.cfg.Guard.dial(ctx, "tcp", net.JoinHostPort(u.Hostname(), port))
	if err != nil {
		return "", err
	}
	defer raw.Close()
	c := tls.Client(raw, &tls.Config{ServerName: u.Hostname(), MinVersion: tls.VersionTLS12, InsecureSkipVerify: true}) // to see it is the purpose
	if err := c.HandshakeContext(ctx); err != nil {
		return "", err
	}
	shown := c.ConnectionState().PeerCertificates
	return thumbprint(shown[len(shown)-1]), nil
}
