package sigv4

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	v4 "github.com/aws/aws-sdk-go-v2/aws/signer/v4"
	"pgregory.net/rapid"
)

type drawn struct {
	req     *http.Request
	service string
	region  string
	payload string
	cred    Credentials
	now     time.Time
}

// target is the request's path and query as they stand on the wire.
func (d *drawn) target() string { return d.req.URL.RequestURI() }

func draw(t *rapid.T) *drawn {
	d := &drawn{
		service: rapid.SampledFrom([]string{"s3", "ec2", "iam", "sts"}).Draw(t, "service"),
		region:  rapid.SampledFrom([]string{"us-east-1", "eu-west-1"}).Draw(t, "region"),
		cred: Credentials{
			AccessKeyID: rapid.StringMatching(`[A-Z0-9]{16,32}`).Draw(t, "key"),
			Secret:      rapid.StringMatching(`[A-Za-z0-9/+]{16,90}`).Draw(t, "secret"),
		},
		now: time.Unix(rapid.Int64Range(1e9, 2e9).Draw(t, "time"), 0).UTC(),
	}
	text := rapid.StringOfN(rapid.RuneFrom([]rune("abzAZ09-._~ /+%=&?#;:@!$'()*,ñ鍵\"<>[]\\^`{|}")), 0, 12, -1)
	u := &url.URL{Scheme: "https", Host: rapid.SampledFrom([]string{"bucket.s3.us-east-1.cloud.test", "127.0.0.1:8773"}).Draw(t, "host"), Path: "/"}
	if d.service == "s3" {
		u.Path += text.Draw(t, "path")
		// The SDK's clients put every byte that is not plain in its percent form.
		u.RawPath = string(appendEscaped(nil, u.Path, true))
	}
	q := url.Values{}
	for range rapid.IntRange(0, 4).Draw(t, "params") {
		q.Add(text.Draw(t, "name"), text.Draw(t, "value"))
	}
	u.RawQuery = strings.ReplaceAll(q.Encode(), "+", "%20")
	d.req = &http.Request{Method: rapid.SampledFrom([]string{"GET", "PUT", "POST", "DELETE", "HEAD"}).Draw(t, "method"), URL: u, Host: u.Host, Header: http.Header{}}
	word := rapid.StringMatching(`[A-Za-z][a-z]{0,8}`)
	value := rapid.StringMatching(`[ !-~]{0,20}`)
	for range rapid.IntRange(0, 4).Draw(t, "headers") {
		name := http.CanonicalHeaderKey("X-Amz-Meta-" + word.Draw(t, "header"))
		if d.req.Header[name] == nil {
			d.req.Header.Set(name, strings.TrimSpace(value.Draw(t, "headerValue")))
		}
	}
	sum := sha256.Sum256([]byte(text.Draw(t, "body")))
	d.payload = hex.EncodeToString(sum[:])
	if d.service == "s3" && rapid.Bool().Draw(t, "unsigned") {
		d.payload = UnsignedPayload
	}
	return d
}

func (d *drawn) signer() *v4.Signer {
	return v4.NewSigner(func(o *v4.SignerOptions) { o.DisableURIPathEscaping = d.service == "s3" })
}

func (d *drawn) awsCredentials() aws.Credentials {
	return aws.Credentials{AccessKeyID: d.cred.AccessKeyID, SecretAccessKey: d.cred.Secret}
}

// received is the request as a server parses it.
func (d *drawn) received(t *rapid.T, target string) (*url.URL, url.Values) {
	u, err := url.ParseRequestURI(target)
	if err != nil {
		t.Fatal(err)
	}
	q, err := url.ParseQuery(u.RawQuery)
	if err != nil {
		t.Fatal(err)
	}
	return u, q
}

func (d *drawn) verify(t *rapid.T, target string, header http.Header) (*Signature, error) {
	u, q := d.received(t, target)
	s, err := Parse(header, q)
	if err != nil {
		return nil, err
	}
	payload := d.payload
	if s.Presigned && d.service == "s3" {
		payload = UnsignedPayload
	}
	_, err = NewVerifier().Verify(s, &Request{
		Method: d.req.Method, Path: SignedPath(u, s.Service), Query: q, Host: d.req.Host, Header: header, ContentLength: -1, Payload: payload,
	}, d.cred.Secret)
	return s, err
}

// TestSDKSignaturesVerify: whatever the SDK signs, we accept; changed, we do not.
func TestSDKSignaturesVerify(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		d := draw(t)
		if d.service == "s3" {
			d.req.Header.Set("X-Amz-Content-Sha256", d.payload)
		}
		if err := d.signer().SignHTTP(context.Background(), d.awsCredentials(), d.req, d.payload, d.service, d.region, d.now); err != nil {
			t.Fatal(err)
		}
		s, err := d.verify(t, d.target(), d.req.Header)
		if err != nil {
			bad, _ := err.(*Error)
			t.Fatalf("%v %s: %v\n%s", d.req.Method, d.target(), err, bad.CanonicalRequest)
		}
		if err := s.CheckTime(d.now); err != nil {
			t.Fatal(err)
		}
		if s.Region != d.region || s.Service != d.service || s.AccessKeyID != d.cred.AccessKeyID {
			t.Fatalf("scope %+v", s.Scope)
		}
		// One character of the signature, of the secret, of the path.
		forged := d.req.Header.Clone()
		a := []byte(forged.Get("Authorization"))
		at := len(a) - 1 - rapid.IntRange(0, 63).Draw(t, "digit")
		a[at] = "0123456789abcdef"[(strings.IndexByte("0123456789abcdef", a[at])+1)%16]
		forged.Set("Authorization", string(a))
		if _, err := d.verify(t, d.target(), forged); err == nil {
			t.Fatal("a forged signature passed")
		}
		d.req.Method += "X"
		if _, err := d.verify(t, d.target(), d.req.Header); err == nil {
			t.Fatal("another method passed")
		}
	})
}

func TestSDKPresignedVerify(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		d := draw(t)
		q := d.req.URL.Query()
		q.Set("X-Amz-Expires", "60")
		d.req.URL.RawQuery = strings.ReplaceAll(q.Encode(), "+", "%20")
		d.req.Header = http.Header{}
		payload := d.payload
		if d.service == "s3" {
			payload = UnsignedPayload
		}
		link, header, err := d.signer().PresignHTTP(context.Background(), d.awsCredentials(), d.req, payload, d.service, d.region, d.now)
		if err != nil {
			t.Fatal(err)
		}
		u, err := url.Parse(link)
		if err != nil {
			t.Fatal(err)
		}
		s, err := d.verify(t, u.RequestURI(), header)
		if err != nil {
			bad, _ := err.(*Error)
			t.Fatalf("%s: %v\n%s", link, err, bad.CanonicalRequest)
		}
		for after, ok := range map[time.Duration]bool{0: true, 59 * time.Second: true, time.Minute: false, -14 * time.Minute: true, -16 * time.Minute: false} {
			if err := s.CheckTime(d.now.Add(after)); (err == nil) != ok {
				t.Fatalf("after %v: %v", after, err)
			}
		}
		if _, err := d.verify(t, u.RequestURI()+"&more=1", header); err == nil {
			t.Fatal("another parameter passed")
		}
	})
}

// TestOwnSignatures: what we sign is what the SDK signs.
func TestOwnSignatures(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		d := draw(t)
		mine := d.req.Clone(context.Background())
		Sign(mine, d.cred, d.region, d.service, d.payload, d.now)
		if _, err := d.verify(t, d.target(), mine.Header); err != nil {
			t.Fatal(err)
		}
		if d.service == "s3" {
			d.req.Header.Set("X-Amz-Content-Sha256", d.payload)
		}
		if err := d.signer().SignHTTP(context.Background(), d.awsCredentials(), d.req, d.payload, d.service, d.region, d.now); err != nil {
			t.Fatal(err)
		}
		last := func(h http.Header) string { a := h.Get("Authorization"); return a[len(a)-64:] }
		if last(mine.Header) != last(d.req.Header) {
			t.Fatalf("%s\n%s", mine.Header.Get("Authorization"), d.req.Header.Get("Authorization"))
		}
		link := Presign(d.req.Method, d.req.URL, d.cred, d.region, d.service, time.Hour, d.now)
		if d.service != "s3" {
			d.payload = EmptyPayload
		}
		s, err := d.verify(t, link.RequestURI(), http.Header{})
		if err != nil || s.Expires != time.Hour {
			t.Fatal(err)
		}
	})
}
