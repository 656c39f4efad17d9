package sigv4

import (
	"crypto/sha256"
	"encoding/hex"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Credentials are an access key with its secret, and a session's token.
type Credentials struct{ AccessKeyID, Secret, Token string }

// Sign signs a request in its Authorization header, with every header that it has. payload is the body's
// digest in hex, or UnsignedPayload.
func Sign(r *http.Request, c Credentials, region, service, payload string, now time.Time) {
	s := &Signature{Time: now.UTC().Truncate(time.Second), Scope: Scope{AccessKeyID: c.AccessKeyID, Region: region, Service: service}}
	s.stamp = s.Time.Format(stampLayout)
	s.Date = s.stamp[:8]
	r.Header.Set("X-Amz-Date", s.stamp)
	if service == "s3" {
		r.Header.Set("X-Amz-Content-Sha256", payload)
	}
	if c.Token != "" {
		r.Header.Set("X-Amz-Security-Token", c.Token)
	}
	s.Signed = []string{"host"}
	for name := range r.Header {
		s.Signed = append(s.Signed, strings.ToLower(name))
	}
	slices.Sort(s.Signed)
	s.sign(r, r.URL.Query(), c.Secret, payload)
	r.Header.Set("Authorization", algorithm+" Credential="+c.AccessKeyID+"/"+s.Scope.String()+
		", SignedHeaders="+strings.Join(s.Signed, ";")+", Signature="+s.Hex)
}

// Presign gives a URL that is good for one method until expires has passed.
func Presign(method string, u *url.URL, c Credentials, region, service string, expires time.Duration, now time.Time) *url.URL {
	s := &Signature{Time: now.UTC().Truncate(time.Second), Scope: Scope{AccessKeyID: c.AccessKeyID, Region: region, Service: service}}
	s.stamp = s.Time.Format(stampLayout)
	s.Date = s.stamp[:8]
	s.Signed = []string{"host"}
	query := u.Query()
	query.Set("X-Amz-Algorithm", algorithm)
	query.Set("X-Amz-Credential", c.AccessKeyID+"/"+s.Scope.String())
	query.Set("X-Amz-Date", s.stamp)
	query.Set("X-Amz-Expires", strconv.FormatInt(int64(expires/time.Second), 10))
	query.Set("X-Amz-SignedHeaders", "host")
	if c.Token != "" {
		query.Set("X-Amz-Security-Token", c.Token)
	}
	payload := EmptyPayload
	if service == "s3" {
		payload = UnsignedPayload
		query.Set("X-Amz-Content-Sha256", payload)
	}
	s.sign(&http.Request{Method: method, URL: u, Host: u.Host}, query, c.Secret, payload)
	query.Set("X-Amz-Signature", s.Hex)
	out := *u
	out.RawQuery = query.Encode()
	return &out
}

func (s *Signature) sign(r *http.Request, query url.Values, secret, payload string) {
	host := r.Host
	if host == "" {
		host = r.URL.Host
	}
	req := &Request{Method: r.Method, Path: SignedPath(r.URL, s.Service), Query: query, Host: host, Header: r.Header, ContentLength: r.ContentLength, Payload: payload}
	digest := sha256.Sum256(appendCanonical(nil, req, s.Signed))
	key := deriveKey(secret, s.Scope)
	sum := mac(&key, appendStringToSign(nil, s.stamp, s.Scope.String(), digest))
	s.Hex = hex.EncodeToString(sum[:])
}

// SignedPath gives the path of u as Request.Path wants it for the service.
func SignedPath(u *url.URL, service string) string {
	if service == "s3" {
		return u.Path
	}
	return u.EscapedPath()
}
