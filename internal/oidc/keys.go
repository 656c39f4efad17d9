package oidc

import (
	"context"
	"crypto/ecdsa"
	"crypto/rsa"
	"slices"
	"strings"
	"time"

	"github.com/go-jose/go-jose/v4"
)

// How long a provider's keys count, and how often a provider is asked: a token with a key that nobody has seen
// is cheap to make.
const (
	fresh      = 10 * time.Minute
	stale      = time.Hour // while the provider cannot be reached
	retry      = 10 * time.Second
	maxEntries = 1024
	inFlight   = 4 // refreshes at a time of one account's providers: a slow one is nobody else's trouble
)

// entry is what is known of a provider's keys. It is not changed once it is in the map.
type entry struct {
	keys    []jose.JSONWebKey
	fetched time.Time // zero: never
	tried   time.Time
	err     error // of the last try
}

// name of a provider's keys: what they are trusted by is part of it.
func (p *Provider) name() string {
	return p.AccountID + " " + p.Issuer + " " + strings.Join(p.Thumbprints, " ")
}

// candidates gives the keys that a token's header can mean.
func (v *Verifier) candidates(ctx context.Context, p *Provider, h jose.Header) ([]jose.JSONWebKey, error) {
	name, now := p.name(), v.now()
	v.mu.Lock()
	e := v.entries[name]
	v.mu.Unlock()
	if e != nil {
		found := e.matching(h)
		switch {
		case len(found) > 0 && now.Sub(e.fetched) < fresh:
			return found, nil
		case now.Sub(e.tried) < retry:
			return e.settle(found, now)
		}
	}
	got, err, _ := v.flights.Do(name, func() (any, error) {
		if !v.enter(p.AccountID) {
			return nil, &Error{Communication, "Too many identity providers of this account are being asked at once.", nil}
		}
		defer v.leave(p.AccountID)
		next := entry{tried: v.now()}
		if e != nil {
			next.keys, next.fetched = e.keys, e.fetched
		}
		// Its result is for everybody who waits: the first caller's going away does not end it.
		keys, err := v.fetch(context.WithoutCancel(ctx), p)
		if next.err = err; err == nil {
			next.keys, next.fetched = keys, v.now()
		}
		v.mu.Lock()
		defer v.mu.Unlock()
		if len(v.entries) >= maxEntries {
			clear(v.entries)
		}
		v.entries[name] = &next
		return &next, nil
	})
	if err != nil {
		return nil, err
	}
	e = got.(*entry)
	return e.settle(e.matching(h), v.now())
}

// settle answers with what is known.
func (e *entry) settle(found []jose.JSONWebKey, now time.Time) ([]jose.JSONWebKey, error) {
	switch {
	case e.err != nil && (len(found) == 0 || now.Sub(e.fetched) >= stale):
		return nil, e.err
	case len(found) == 0:
		return nil, &Error{Invalid, couldNot, nil}
	}
	return found, nil
}

func (v *Verifier) enter(account string) bool {
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.busy[account] >= inFlight {
		return false
	}
	v.busy[account]++
	return true
}

func (v *Verifier) leave(account string) {
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.busy[account]--; v.busy[account] == 0 {
		delete(v.busy, account)
	}
}

// matching gives the keys of the header's id and kind. Without an id the one key of the kind is meant.
func (e *entry) matching(h jose.Header) []jose.JSONWebKey {
	var out []jose.JSONWebKey
	for _, k := range e.keys {
		if (h.KeyID == "" || k.KeyID == h.KeyID) && (k.Algorithm == "" || k.Algorithm == h.Algorithm) && fits(&k, jose.SignatureAlgorithm(h.Algorithm)) {
			out = append(out, k)
		}
	}
	if h.KeyID == "" && len(out) > 1 {
		return nil
	}
	return out
}

// algorithms are AWS's. A secret shared with the provider, or none at all, proves nothing.
var algorithms = []jose.SignatureAlgorithm{jose.RS256, jose.RS384, jose.RS512, jose.ES256, jose.ES384, jose.ES512}

// curves of the algorithms on elliptic curves, in bits.
var curves = map[jose.SignatureAlgorithm]int{jose.ES256: 256, jose.ES384: 384, jose.ES512: 521}

// usable says whether a published key can sign tokens: a public key of a kind and size that count.
func usable(k *jose.JSONWebKey) bool {
	return k.Valid() && k.IsPublic() && (k.Use == "" || k.Use == "sig") &&
		slices.ContainsFunc(algorithms, func(a jose.SignatureAlgorithm) bool { return fits(k, a) })
}

// fits says whether a key is of an algorithm's kind: no key is ever used for another one.
func fits(k *jose.JSONWebKey, a jose.SignatureAlgorithm) bool {
	switch key := k.Key.(type) {
	case *rsa.PublicKey:
		return strings.HasPrefix(string(a), "RS") && key.N.BitLen() >= 2048 && key.N.BitLen() <= 8192
	case *ecdsa.PublicKey:
		return curves[a] == key.Curve.Params().BitSize
	}
	return false
}
