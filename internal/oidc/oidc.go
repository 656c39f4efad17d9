// Package oidc verifies the tokens of OpenID Connect providers: of an issuer that somebody registered, signed with a key that the
// issuer publishes, meant for one of the clients registered with it, and in force.
//
// Everybody who has an account chooses issuers, so what is behind one's name is taken for an attacker: Guard says where it
// may be, and what it sends is bounded in size, time and number.
package oidc

import (
	"context"
	"crypto/x509"
	"encoding/json"
	"fmt"
	"net"
	"net/url"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/go-jose/go-jose/v4/jwt"
	"golang.org/x/sync/singleflight"
)

// Provider is who vouches.
type Provider struct {
	AccountID   string // of whom registered it
	Issuer      string // "https://HOST[/PATH]"
	ClientIDs   []string
	Thumbprints []string // lower-case hex
}

// Config is what a Verifier may do.
type Config struct {
	Guard Guard
	Roots *x509.CertPool // nil: the system's
	// Timeout is for everything that one refresh of a provider's keys needs; 0 is eight seconds.
	Timeout time.Duration
}

// Verifier verifies tokens. It keeps providers' keys.
type Verifier struct {
	cfg     Config
	now     func() time.Time
	flights singleflight.Group

	mu      sync.Mutex
	entries map[string]*entry
	busy    map[string]int // refreshes under way, by account
}

// New makes a Verifier.
func New(cfg Config, now func() time.Time) *Verifier {
	if now == nil {
		now = time.Now
	}
	if cfg.Timeout == 0 {
		cfg.Timeout = fetchTime
	}
	return &Verifier{cfg: cfg, now: now, entries: map[string]*entry{}, busy: map[string]int{}}
}

// Ports says whether an issuer's URL may have a port: AWS's may not, an operator's own networks are another matter.
func (v *Verifier) Ports() bool { return len(v.cfg.Guard.Private) > 0 }

// Reason is the kind of a refusal.
type Reason uint8

// Reasons.
const (
	Invalid       Reason = iota + 1 // the token, or what the provider publishes
	Expired                         // the token was good once
	Communication                   // the provider cannot be reached now
)

// Error is a refusal.
type Error struct {
	Reason  Reason
	Message string // for the caller
	Err     error  // for the log; nil: no more to say
}

func (e *Error) Error() string {
	if e.Err != nil {
		return e.Message + ": " + e.Err.Error()
	}
	return e.Message
}

func (e *Error) Unwrap() error { return e.Err }

const couldNot = "Couldn't retrieve verification key from your identity provider,  please reference AssumeRoleWithWebIdentity documentation for requirements"

func invalid(format string, args ...any) error {
	return &Error{Invalid, fmt.Sprintf(format, args...), nil}
}

// Claims is what a token says.
type Claims struct {
	Issuer   string           `json:"iss"`
	Subject  string           `json:"sub"`
	Audience jwt.Audience     `json:"aud"`
	Party    string           `json:"azp"` // for whom it was made, where there are several audiences
	Expiry   *jwt.NumericDate `json:"exp"`
	Before   *jwt.NumericDate `json:"nbf"`
	IssuedAt *jwt.NumericDate `json:"iat"`
	Methods  methods          `json:"amr"`
	Tags     *Tags            `json:"https://aws.amazon.com/tags"`
	Source   string           `json:"https://aws.amazon.com/source_identity"`
}

// Tags is AWS's claim about session tags.
type Tags struct {
	Principal  map[string][]string `json:"principal_tags"`
	Transitive []string            `json:"transitive_tag_keys"`
}

// methods is amr: a list, or one string as some providers have it.
type methods []string

func (m *methods) UnmarshalJSON(b []byte) error {
	var one string
	if json.Unmarshal(b, &one) == nil {
		*m = methods{one}
		return nil
	}
	return json.Unmarshal(b, (*[]string)(m))
}

// Client gives whom the token was made for: azp where it is there, else aud.
func (c *Claims) Client() string {
	if c.Party != "" || len(c.Audience) == 0 {
		return c.Party
	}
	return c.Audience[0]
}

const (
	leeway   = time.Minute    // between the provider's clock and ours
	longest  = 24 * time.Hour // from iat to exp, as AWS has it
	maxToken = 20000

	maxSubject = 255 // AWS's; sessions carry it
)

// Issuer gives what a token says of its issuer. Nothing is verified: it is for finding the provider.
func Issuer(token string) (string, error) {
	t, err := parse(token)
	if err != nil {
		return "", err
	}
	var c struct {
		Issuer string `json:"iss"`
	}
	if err := t.UnsafeClaimsWithoutVerification(&c); err != nil {
		return "", malformed(err)
	}
	if c.Issuer == "" {
		return "", invalid("Missing a required claim: iss")
	}
	return c.Issuer, nil
}

func parse(token string) (*jwt.JSONWebToken, error) {
	if len(token) > maxToken {
		return nil, invalid("The ID Token provided is too long")
	}
	t, err := jwt.ParseSigned(token, algorithms)
	if err != nil {
		return nil, malformed(err)
	}
	return t, nil
}

func malformed(err error) error {
	return &Error{Invalid, "The ID Token provided is not a valid JWT. (You may see this error if you sent an Access Token)", err}
}

// Verify gives the claims of a token that p vouches for.
func (v *Verifier) Verify(ctx context.Context, p *Provider, token string) (*Claims, error) {
	t, err := parse(token)
	if err != nil {
		return nil, err
	}
	// What needs no key first: a token that is wrong anyway makes nobody ask the provider.
	var said Claims
	if err := t.UnsafeClaimsWithoutVerification(&said); err != nil {
		return nil, malformed(err)
	}
	if err := v.check(p, &said); err != nil {
		return nil, err
	}
	keys, err := v.candidates(ctx, p, t.Headers[0])
	if err != nil {
		return nil, err
	}
	for _, k := range keys {
		var c Claims
		if t.Claims(k.Key, &c) == nil {
			return &c, v.check(p, &c)
		}
	}
	return nil, invalid("The signature of the ID Token provided is not valid")
}

// check looks at what a token says.
func (v *Verifier) check(p *Provider, c *Claims) error {
	now := v.now()
	switch {
	case c.Issuer != p.Issuer:
		return invalid("The issuer of the ID Token provided is not the provider's")
	case c.Subject == "":
		return invalid("Missing a required claim: sub")
	case len(c.Subject) > maxSubject:
		return invalid("The subject of the ID Token provided is longer than %d characters", maxSubject)
	case len(c.Audience) == 0:
		return invalid("Missing a required claim: aud")
	case c.Expiry == nil:
		return invalid("Missing a required claim: exp")
	case c.IssuedAt == nil:
		return invalid("Missing a required claim: iat")
	case !now.Before(c.Expiry.Time()):
		return &Error{Expired, fmt.Sprintf("Token expired: current date/time %d must be before the expiration date/time %d", now.Unix(), c.Expiry.Time().Unix()), nil}
	case c.IssuedAt.Time().After(now.Add(leeway)) || c.Before != nil && c.Before.Time().After(now.Add(leeway)):
		return invalid("The ID Token provided is not yet valid")
	case c.Expiry.Time().Sub(c.IssuedAt.Time()) > longest:
		return invalid("The ID Token provided is valid for longer than %d seconds", longest/time.Second)
	}
	// With azp the token is that client's, whatever other audiences it has.
	known := func(id string) bool { return slices.Contains(p.ClientIDs, id) }
	if c.Party != "" && !known(c.Party) || c.Party == "" && !slices.ContainsFunc(c.Audience, known) {
		return invalid("Incorrect token audience")
	}
	if c.Party == "" { // the audience that counts goes first
		i := slices.IndexFunc(c.Audience, known)
		c.Audience[0], c.Audience[i] = c.Audience[i], c.Audience[0]
	}
	return nil
}

// CheckURL says whether an issuer's URL is one that can be registered, and gives it without the scheme, the host
// in lower case.
func CheckURL(text string, ports bool) (string, error) {
	u, err := url.Parse(text)
	rest, ok := strings.CutPrefix(text, "https://")
	switch {
	case err != nil || !ok || u.Hostname() == "" || u.User != nil || u.Opaque != "":
		return "", fmt.Errorf("the URL must begin with https:// and name a host")
	case u.RawQuery != "" || u.ForceQuery || u.Fragment != "" || strings.Contains(text, "#"):
		return "", fmt.Errorf("the URL must not contain a query or a fragment")
	case u.Port() != "" && !ports || strings.HasSuffix(u.Host, ":"):
		return "", fmt.Errorf("the URL must not contain a port number")
	case net.ParseIP(u.Hostname()) != nil || strings.Trim(u.Hostname(), "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789.-") != "":
		return "", fmt.Errorf("the host is not a name")
	case strings.Trim(u.Path, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._~!$&'()+,;=:@/-") != "" || u.RawPath != "" || strings.Contains(rest, "%"):
		return "", fmt.Errorf("the path has characters that it cannot have")
	case slices.ContainsFunc(strings.Split(u.Path, "/"), func(s string) bool { return s == "." || s == ".." }):
		return "", fmt.Errorf("the path has relative parts")
	}
	return strings.ToLower(u.Host) + u.Path, nil
}
