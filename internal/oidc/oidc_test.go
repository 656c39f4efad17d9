package oidc_test

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"

	"karri.dev/internal/oidc"
	"karri.dev/internal/oidc/oidctest"
)

// bench is a verifier that lets issuers be on this machine, with a clock that tests move.
type bench struct {
	*oidc.Verifier
	issuer *oidctest.Issuer
	ahead  time.Duration
}

func newBench(t testing.TB) *bench { return newBenchWith(t, time.Minute) }

func newBenchWith(t testing.TB, timeout time.Duration) *bench {
	b := &bench{issuer: oidctest.New(t)}
	b.Verifier = oidc.New(oidc.Config{Guard: oidc.Guard{Private: []netip.Prefix{netip.MustParsePrefix("127.0.0.1/32")}}, Timeout: timeout},
		func() time.Time { return time.Now().Add(b.ahead) })
	return b
}

func (b *bench) provider() *oidc.Provider {
	return &oidc.Provider{AccountID: "111122223333", Issuer: b.issuer.URL, ClientIDs: []string{"app", "other"}, Thumbprints: []string{b.issuer.Thumbprint}}
}

// outcome is "" or the reason of a refusal.
func outcome(err error) oidc.Reason {
	var e *oidc.Error
	if errors.As(err, &e) {
		return e.Reason
	}
	if err != nil {
		return 99
	}
	return 0
}

func TestVerify(t *testing.T) {
	b, i := newBench(t), (*oidctest.Issuer)(nil)
	i = b.issuer
	now := time.Now()
	for name, tt := range map[string]struct {
		change map[string]any
		want   oidc.Reason
	}{
		"good":                      {nil, 0},
		"several audiences":         {map[string]any{"aud": []string{"stranger", "app"}}, 0},
		"for one of the audiences":  {map[string]any{"aud": []string{"stranger", "app"}, "azp": "app"}, 0},
		"for another one":           {map[string]any{"aud": []string{"stranger", "app"}, "azp": "stranger"}, oidc.Invalid},
		"no audience of ours":       {map[string]any{"aud": "stranger"}, oidc.Invalid},
		"no audience":               {map[string]any{"aud": nil}, oidc.Invalid},
		"audience in another case":  {map[string]any{"aud": "APP"}, oidc.Invalid},
		"expired":                   {map[string]any{"exp": now.Add(-time.Second).Unix()}, oidc.Expired},
		"never expires":             {map[string]any{"exp": nil}, oidc.Invalid},
		"no iat":                    {map[string]any{"iat": nil}, oidc.Invalid},
		"of the future":             {map[string]any{"iat": now.Add(5 * time.Minute).Unix()}, oidc.Invalid},
		"not yet":                   {map[string]any{"nbf": now.Add(5 * time.Minute).Unix()}, oidc.Invalid},
		"a little early":            {map[string]any{"nbf": now.Add(20 * time.Second).Unix()}, 0},
		"good for two days":         {map[string]any{"exp": now.Add(48 * time.Hour).Unix()}, oidc.Invalid},
		"a subject without end":     {map[string]any{"sub": strings.Repeat("a", 256)}, oidc.Invalid},
		"no subject":                {map[string]any{"sub": nil}, oidc.Invalid},
		"foreign issuer, same path": {map[string]any{"iss": "https://evil.example/realm"}, oidc.Invalid},
		"issuer with a slash":       {map[string]any{"iss": i.URL + "/"}, oidc.Invalid},
		"exp is text":               {map[string]any{"exp": "tomorrow"}, oidc.Invalid},
	} {
		if _, err := b.Verify(t.Context(), b.provider(), i.Token(t, tt.change)); outcome(err) != tt.want {
			t.Errorf("%s: %v", name, err)
		}
	}
	c, err := b.Verify(t.Context(), b.provider(), oidctest.Sign(t, jose.ES256, i.EC, "ec", i.Claims(map[string]any{
		"aud": []string{"stranger", "app"}, "amr": "mfa", "https://aws.amazon.com/source_identity": "alice",
		"https://aws.amazon.com/tags": map[string]any{"principal_tags": map[string][]string{"team": {"blue"}}, "transitive_tag_keys": []string{"team"}},
	})))
	if err != nil || c.Client() != "app" || c.Subject != "alice" || c.Methods[0] != "mfa" || c.Source != "alice" || c.Tags.Principal["team"][0] != "blue" || c.Tags.Transitive[0] != "team" {
		t.Errorf("%+v, %v", c, err)
	}
	if n := i.Asked(oidctest.Keys); n != 1 {
		t.Errorf("the keys were read %d times", n)
	}
}

// Nothing but a signature of the issuer's own key, of the key's own algorithm, counts.
func TestForgedTokens(t *testing.T) {
	b := newBench(t)
	i := b.issuer
	good := i.Token(t, nil)
	part := strings.Split(good, ".")
	header := func(h map[string]any) string {
		text, err := json.Marshal(h)
		if err != nil {
			t.Fatal(err)
		}
		return base64.RawURLEncoding.EncodeToString(text)
	}
	foreign, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.MarshalPKIXPublicKey(i.RSA.Public())
	if err != nil {
		t.Fatal(err)
	}
	public := pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der})
	withKey := func() string { // a token that brings the key to verify it with
		s, err := jose.NewSigner(jose.SigningKey{Algorithm: jose.RS256, Key: foreign}, &jose.SignerOptions{EmbedJWK: true})
		if err != nil {
			t.Fatal(err)
		}
		text, err := json.Marshal(i.Claims(nil))
		if err != nil {
			t.Fatal(err)
		}
		signed, err := s.Sign(text)
		if err != nil {
			t.Fatal(err)
		}
		out, err := signed.CompactSerialize()
		if err != nil {
			t.Fatal(err)
		}
		return out
	}
	changed := strings.Split(i.Token(t, map[string]any{"sub": "root"}), ".")
	for name, token := range map[string]string{
		"none":                      header(map[string]any{"alg": "none"}) + "." + part[1] + ".",
		"none, otherwise spelt":     header(map[string]any{"alg": "nOnE", "kid": "rsa"}) + "." + part[1] + ".",
		"none with a signature":     header(map[string]any{"alg": "none"}) + "." + part[1] + "." + part[2],
		"secret = the public key":   oidctest.Sign(t, jose.HS256, public, "rsa", i.Claims(nil)),
		"secret = the key's DER":    oidctest.Sign(t, jose.HS256, der, "rsa", i.Claims(nil)),
		"foreign key, our kid":      oidctest.Sign(t, jose.RS256, foreign, "rsa", i.Claims(nil)),
		"foreign key, kid of EC":    oidctest.Sign(t, jose.RS256, foreign, "ec", i.Claims(nil)),
		"our EC key as RSA's":       oidctest.Sign(t, jose.ES256, i.EC, "rsa", i.Claims(nil)),
		"another algorithm":         oidctest.Sign(t, jose.RS512, i.RSA, "rsa", i.Claims(nil)),
		"PSS":                       oidctest.Sign(t, jose.PS256, i.RSA, "rsa", i.Claims(nil)),
		"unknown kid":               oidctest.Sign(t, jose.RS256, foreign, "../../rsa", i.Claims(nil)),
		"brings its key":            withKey(),
		"another's content":         part[0] + "." + changed[1] + "." + part[2],
		"no signature":              part[0] + "." + part[1] + ".",
		"two parts":                 part[0] + "." + part[1],
		"JSON in place of a token":  `{"payload":"` + part[1] + `","signatures":[{"protected":"` + part[0] + `","signature":"` + part[2] + `"}]}`,
		"critical header":           header(map[string]any{"alg": "RS256", "kid": "rsa", "crit": []string{"x"}, "x": 1}) + "." + part[1] + "." + part[2],
		"claims twice":              part[0] + "." + base64.RawURLEncoding.EncodeToString([]byte(`{"iss":"`+i.URL+`","iss":"https://x"}`)) + "." + part[2],
		"nothing":                   "....",
		"far too long":              good + strings.Repeat("A", 30_000),
		"claims that are not JSON":  part[0] + "." + base64.RawURLEncoding.EncodeToString([]byte("hello")) + "." + part[2],
		"padding":                   good + "==",
		"white space at the end":    good + "\n.",
		"signature of the header's": part[0] + "." + part[1] + "." + changed[2],
	} {
		if c, err := b.Verify(t.Context(), b.provider(), token); outcome(err) != oidc.Invalid {
			t.Errorf("%s: %+v, %v", name, c, err)
		}
	}
	if _, err := b.Verify(t.Context(), b.provider(), good); err != nil {
		t.Error(err)
	}
}

// Keys that an issuer should not publish are none: secrets, private keys, small ones, those for encryption.
func TestBadKeys(t *testing.T) {
	b := newBench(t)
	i := b.issuer
	small, err := rsa.GenerateKey(rand.Reader, 1024)
	if err != nil {
		t.Skip(err) // a Go that refuses to make one
	}
	secret := bytes.Repeat([]byte{7}, 32)
	p384, err := ecdsa.GenerateKey(elliptic.P384(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	i.Publish(
		jose.JSONWebKey{Key: secret, KeyID: "secret"}, jose.JSONWebKey{Key: small.Public(), KeyID: "small"},
		jose.JSONWebKey{Key: i.RSA.Public(), KeyID: "enc", Use: "enc"}, jose.JSONWebKey{Key: p384.Public(), KeyID: "p384"},
	)
	for kid, token := range map[string]string{
		"secret": oidctest.Sign(t, jose.HS256, secret, "secret", i.Claims(nil)),
		"small":  oidctest.Sign(t, jose.RS256, small, "small", i.Claims(nil)),
		"enc":    oidctest.Sign(t, jose.RS256, i.RSA, "enc", i.Claims(nil)),
		"p384":   oidctest.Sign(t, jose.ES256, i.EC, "p384", i.Claims(nil)),
	} {
		if _, err := b.Verify(t.Context(), b.provider(), token); outcome(err) != oidc.Invalid {
			t.Errorf("%s: %v", kid, err)
		}
	}
	if _, err := b.Verify(t.Context(), b.provider(), oidctest.Sign(t, jose.ES384, p384, "p384", i.Claims(nil))); err != nil {
		t.Error(err)
	}
}

// A new key is found, and unknown ones do not make the issuer be asked again and again.
func TestRotation(t *testing.T) {
	b := newBench(t)
	i := b.issuer
	token := i.Token(t, nil)
	if _, err := b.Verify(t.Context(), b.provider(), token); err != nil {
		t.Fatal(err)
	}
	next, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	i.Publish(jose.JSONWebKey{Key: next.Public(), KeyID: "next"})
	rotated := oidctest.Sign(t, jose.RS256, next, "next", i.Claims(nil))
	for range 20 {
		if _, err := b.Verify(t.Context(), b.provider(), rotated); outcome(err) != oidc.Invalid {
			t.Fatal(err)
		}
	}
	if n := i.Asked(oidctest.Keys); n != 1 {
		t.Errorf("asked %d times", n)
	}
	b.ahead = 11 * time.Second
	if _, err := b.Verify(t.Context(), b.provider(), rotated); err != nil {
		t.Error(err)
	}
	if _, err := b.Verify(t.Context(), b.provider(), token); outcome(err) != oidc.Invalid {
		t.Errorf("a key that was withdrawn: %v", err)
	}
	// While the issuer is away what it said last counts, for an hour.
	i.Answer(oidctest.Discovery, func(w http.ResponseWriter, _ *http.Request) { panic(http.ErrAbortHandler) })
	later := func(d time.Duration) error {
		b.ahead = d
		now := time.Now().Add(d)
		_, err := b.Verify(t.Context(), b.provider(), oidctest.Sign(t, jose.RS256, next, "next", i.Claims(map[string]any{"iat": now.Unix(), "exp": now.Add(time.Minute).Unix()})))
		return err
	}
	if err := later(30 * time.Minute); err != nil {
		t.Error(err)
	}
	if err := later(2 * time.Hour); outcome(err) != oidc.Communication {
		t.Error(err)
	}
}

// Providers are hostile: what they answer costs them more than us.
func TestHostileProviders(t *testing.T) {
	elsewhere := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { t.Error("the redirect was followed") }))
	t.Cleanup(elsewhere.Close)
	write := func(text string) http.HandlerFunc {
		return func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, text) }
	}
	stuck := func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() }
	discovery := func(issuer, keys string) http.HandlerFunc {
		return write(fmt.Sprintf(`{"issuer":%q,"jwks_uri":%q}`, issuer, keys))
	}
	many := `{"keys":[` + strings.TrimSuffix(strings.Repeat(`{"kty":"x"},`, 300), ",") + `]}`
	for name, tt := range map[string]struct {
		change func(*oidctest.Issuer)
		want   oidc.Reason
	}{
		"redirects": {func(i *oidctest.Issuer) {
			i.Answer(oidctest.Discovery, func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, elsewhere.URL, http.StatusFound) })
		}, oidc.Invalid},
		"redirects to its keys": {func(i *oidctest.Issuer) {
			i.Answer(oidctest.Keys, func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, elsewhere.URL, http.StatusFound) })
		}, oidc.Invalid},
		"endless configuration": {func(i *oidctest.Issuer) {
			i.Answer(oidctest.Discovery, func(w http.ResponseWriter, r *http.Request) {
				for r.Context().Err() == nil {
					if _, err := w.Write(bytes.Repeat([]byte{' '}, 1<<16)); err != nil {
						return
					}
				}
			})
		}, oidc.Invalid},
		"never answers":        {func(i *oidctest.Issuer) { i.Answer(oidctest.Discovery, stuck) }, oidc.Communication},
		"never gives its keys": {func(i *oidctest.Issuer) { i.Answer(oidctest.Keys, stuck) }, oidc.Communication},
		"keys over HTTP":       {func(i *oidctest.Issuer) { i.Answer(oidctest.Discovery, discovery(i.URL, elsewhere.URL)) }, oidc.Invalid},
		"keys of the metadata service": {func(i *oidctest.Issuer) {
			i.Answer(oidctest.Discovery, discovery(i.URL, "https://169.254.169.254/latest"))
		}, oidc.Invalid},
		"keys at another address": {func(i *oidctest.Issuer) { i.Answer(oidctest.Discovery, discovery(i.URL, "https://127.0.0.2/keys")) }, oidc.Invalid},
		"keys in a file":          {func(i *oidctest.Issuer) { i.Answer(oidctest.Discovery, discovery(i.URL, "file:///etc/passwd")) }, oidc.Invalid},
		"another's configuration": {func(i *oidctest.Issuer) { i.Answer(oidctest.Discovery, discovery("https://good.example", i.URL)) }, oidc.Invalid},
		"not JSON":                {func(i *oidctest.Issuer) { i.Answer(oidctest.Keys, write("<html>")) }, oidc.Invalid},
		"an error":                {func(i *oidctest.Issuer) { i.Answer(oidctest.Keys, http.NotFound) }, oidc.Invalid},
		"too many keys":           {func(i *oidctest.Issuer) { i.Answer(oidctest.Keys, write(many)) }, oidc.Invalid},
		"hangs up": {func(i *oidctest.Issuer) {
			i.Answer(oidctest.Keys, func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) })
		}, oidc.Communication},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			timeout := time.Minute
			if strings.HasPrefix(name, "never") {
				timeout = 200 * time.Millisecond
			}
			b := newBenchWith(t, timeout)
			tt.change(b.issuer)
			if _, err := b.Verify(context.Background(), b.provider(), b.issuer.Token(t, nil)); outcome(err) != tt.want {
				t.Error(err)
			}
		})
	}
}

// Who the provider is, its certificate says: by an authority, or by a thumbprint together with the name.
func TestCertificates(t *testing.T) {
	b := newBench(t)
	i := b.issuer
	p := b.provider()
	p.Thumbprints = []string{strings.Repeat("0", 40)}
	if _, err := b.Verify(t.Context(), p, i.Token(t, nil)); outcome(err) != oidc.Invalid || !strings.Contains(err.Error(), "thumbprint") {
		t.Error(err)
	}
	trusting := oidc.New(oidc.Config{Guard: oidc.Guard{Private: []netip.Prefix{netip.MustParsePrefix("127.0.0.1/32")}}, Roots: i.Roots}, nil)
	if _, err := trusting.Verify(t.Context(), p, i.Token(t, nil)); err != nil {
		t.Error(err)
	}
	// By its address in place of its name nobody can check the certificate.
	p = b.provider()
	p.Issuer = strings.Replace(i.URL, "localhost", "127.0.0.1", 1)
	if _, err := b.Verify(t.Context(), p, i.Token(t, map[string]any{"iss": p.Issuer})); outcome(err) != oidc.Invalid {
		t.Error(err)
	}
	got, err := b.Thumbprints(t.Context(), i.URL)
	if err != nil || len(got) != 1 || got[0] != i.Thumbprint {
		t.Error(got, err)
	}
}

// Slow providers of one account are that account's trouble: only so many are asked at once, and others' are asked all the same.
func TestBusy(t *testing.T) {
	b := newBench(t)
	reached, release := make(chan struct{}, 4), make(chan struct{})
	done := make(chan error, 4)
	for range 4 {
		slow := oidctest.New(t)
		slow.Answer(oidctest.Discovery, func(w http.ResponseWriter, _ *http.Request) {
			reached <- struct{}{}
			<-release
			panic(http.ErrAbortHandler)
		})
		p := &oidc.Provider{AccountID: "111122223333", Issuer: slow.URL, ClientIDs: []string{"app"}, Thumbprints: []string{slow.Thumbprint}}
		token := slow.Token(t, nil)
		go func() {
			_, err := b.Verify(context.Background(), p, token)
			done <- err
		}()
	}
	for range 4 {
		<-reached
	}
	token := b.issuer.Token(t, nil)
	if _, err := b.Verify(t.Context(), b.provider(), token); outcome(err) != oidc.Communication {
		t.Errorf("a fifth: %v", err)
	}
	other := b.provider()
	other.AccountID = "444455556666"
	if _, err := b.Verify(t.Context(), other, token); err != nil {
		t.Errorf("another account's: %v", err)
	}
	close(release)
	for range 4 {
		if err := <-done; outcome(err) != oidc.Communication {
			t.Error(err)
		}
	}
	if _, err := b.Verify(t.Context(), b.provider(), token); err != nil {
		t.Errorf("afterwards: %v", err)
	}
}

func TestCheckURL(t *testing.T) {
	for in, want := range map[string]string{
		"https://IDP.example.com":            "idp.example.com",
		"https://idp.example.com/":           "idp.example.com/",
		"https://idp.example.com/realms/A_b": "idp.example.com/realms/A_b",
		"https://idp.example.com:8443/x":     "idp.example.com:8443/x",
		"http://idp.example.com":             "",
		"HTTPS://idp.example.com":            "",
		"idp.example.com":                    "",
		"https://":                           "",
		"https://user@idp.example.com":       "",
		"https://idp.example.com?x=1":        "",
		"https://idp.example.com?":           "",
		"https://idp.example.com/#x":         "",
		"https://idp.example.com/a%2fb":      "",
		"https://idp.example.com/a/../b":     "",
		"https://idp.example.com/a*":         "a*",
		"https://169.254.169.254/latest":     "",
		"https://[::1]/":                     "",
		"https://idp.example.com:/":          "",
		"https://idp.exa mple.com":           "",
		"https://idp.example.com/ a":         "",
		"https://idp*.example.com":           "",
		"https://идп.example":                "",
	} {
		got, err := oidc.CheckURL(in, true)
		if want == "a*" {
			want = ""
			if err == nil && strings.Contains(got, "*") {
				t.Errorf("%s is a pattern", in)
				continue
			}
		}
		if got != want || (err == nil) != (want != "") {
			t.Errorf("%s: %q, %v", in, got, err)
		}
	}
	if _, err := oidc.CheckURL("https://idp.example.com:8443", false); err == nil {
		t.Error("a port")
	}
}

func FuzzIssuer(f *testing.F) {
	f.Add("a.b.c")
	f.Add("eyJhbGciOiJSUzI1NiJ9.eyJpc3MiOiJ4In0.AA")
	f.Fuzz(func(t *testing.T, token string) {
		if issuer, err := oidc.Issuer(token); err == nil && issuer == "" {
			t.Error("an issuer without a name")
		}
	})
}
