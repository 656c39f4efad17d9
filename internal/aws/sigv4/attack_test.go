package sigv4

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"karri.dev/internal/aws/awserr"
)

func TestParseRefusals(t *testing.T) {
	const good = "AWS4-HMAC-SHA256 Credential=AKIA/20130524/us-east-1/s3/aws4_request, SignedHeaders=host;x-amz-date, Signature="
	sig := strings.Repeat("a", 64)
	for name, tt := range map[string]struct {
		auth string
		want Reason
	}{
		"fine":               {good + sig, 0},
		"old version":        {"AWS AKIA", OldMalformed},
		"asymmetric":         {strings.Replace(good, "AWS4-HMAC-SHA256", "AWS4-ECDSA-P256-SHA256", 1) + sig, Unsupported},
		"basic":              {"Basic YTpi", Unsupported},
		"nothing after it":   {"AWS4-HMAC-SHA256", Incomplete},
		"empty key":          {strings.Replace(good, "AKIA", "", 1) + sig, Incomplete},
		"key with line end":  {strings.Replace(good, "AKIA", "AK\nIA", 1) + sig, Incomplete},
		"long key":           {strings.Replace(good, "AKIA", strings.Repeat("A", 129), 1) + sig, Incomplete},
		"short scope":        {strings.Replace(good, "us-east-1/", "", 1) + sig, Incomplete},
		"other end of scope": {strings.Replace(good, "aws4_request", "aws4_requesT", 1) + sig, Incomplete},
		"date of scope":      {strings.Replace(good, "20130524", "20130525", 1) + sig, WrongScope},
		"no signature":       {good, Incomplete},
		"short signature":    {good + sig[1:], Incomplete},
		"upper-case digits":  {good + strings.ToUpper(sig), Incomplete},
		"two signatures":     {good + sig + ", Signature=" + sig, Incomplete},
		"unknown part":       {good + sig + ", More=1", Incomplete},
		"header twice":       {strings.Replace(good, "host;", "host;host;", 1) + sig, Incomplete},
		"headers disordered": {strings.Replace(good, "host;x-amz-date", "x-amz-date;host", 1) + sig, Incomplete},
		"upper-case header":  {strings.Replace(good, "host", "Host", 1) + sig, Incomplete},
		"empty header":       {strings.Replace(good, "host;", ";host;", 1) + sig, Incomplete},
	} {
		_, err := Parse(http.Header{"Authorization": {tt.auth}, "X-Amz-Date": {"20130524T000000Z"}}, nil)
		if reason(err) != tt.want {
			t.Errorf("%s: %v", name, err)
		}
	}
	for name, h := range map[string]http.Header{
		"no date":             {},
		"two dates":           {"X-Amz-Date": {"20130524T000000Z", "20130524T000000Z"}},
		"no such day":         {"X-Amz-Date": {"20130532T000000Z"}},
		"extended form":       {"X-Amz-Date": {"2013-05-24T00:00:00Z"}},
		"two payload digests": {"X-Amz-Date": {"20130524T000000Z"}, "X-Amz-Content-Sha256": {EmptyPayload, UnsignedPayload}},
	} {
		h["Authorization"] = []string{good + sig}
		if _, err := Parse(h, nil); reason(err) != Incomplete {
			t.Errorf("%s: %v", name, err)
		}
	}
	h := http.Header{"Authorization": {good + sig, good + sig}, "X-Amz-Date": {"20130524T000000Z"}}
	if _, err := Parse(h, nil); reason(err) != TwoMechanisms {
		t.Errorf("two headers: %v", err)
	}
	if s, err := Parse(http.Header{}, url.Values{"prefix": {"x"}}); s != nil || err != nil {
		t.Errorf("unsigned: %v, %v", s, err)
	}
}

func reason(err error) Reason {
	var e *Error
	if errors.As(err, &e) {
		return e.Reason
	}
	return 0
}

// signed gives a signed S3 request, to be tampered with.
func signed(method, target string, header http.Header, payload string) *http.Request {
	r, _ := http.NewRequest(method, target, nil)
	for k, v := range header {
		r.Header[k] = v
	}
	Sign(r, Credentials{docKey, docSecret, ""}, "us-east-1", "s3", payload, docTime)
	return r
}

func TestTampering(t *testing.T) {
	for name, tt := range map[string]struct {
		change func(r *http.Request)
		want   Reason
	}{
		"nothing":            {func(*http.Request) {}, 0},
		"unsigned plain one": {func(r *http.Request) { r.Header.Set("Accept-Encoding", "gzip") }, 0},
		"host":               {func(r *http.Request) { r.Host = "evil.test" }, Mismatch},
		"path":               {func(r *http.Request) { r.URL.Path = "/bucket/other" }, Mismatch},
		"path's slashes":     {func(r *http.Request) { r.URL.Path = "/bucket//key" }, Mismatch},
		"query":              {func(r *http.Request) { r.URL.RawQuery = "a=2" }, Mismatch},
		"query twice":        {func(r *http.Request) { r.URL.RawQuery = "a=1&a=1" }, Mismatch},
		"query gone":         {func(r *http.Request) { r.URL.RawQuery = "" }, Mismatch},
		"signed header":      {func(r *http.Request) { r.Header.Set("X-Amz-Acl", "public-read-write") }, Mismatch},
		"signed header more": {func(r *http.Request) { r.Header.Add("X-Amz-Acl", "x") }, Mismatch},
		"signed header gone": {func(r *http.Request) { r.Header.Del("X-Amz-Acl") }, Mismatch},
		"amz header added":   {func(r *http.Request) { r.Header.Set("X-Amz-Copy-Source", "/b/k") }, HeadersNotSigned},
		"payload":            {func(r *http.Request) { r.Header.Set("X-Amz-Content-Sha256", UnsignedPayload) }, Mismatch},
		"time":               {func(r *http.Request) { r.Header.Set("X-Amz-Date", "20130524T000001Z") }, Mismatch},
		"region": {func(r *http.Request) {
			r.Header.Set("Authorization", strings.Replace(r.Header.Get("Authorization"), "us-east-1", "us-east-2", 1))
		}, Mismatch},
		"service": {func(r *http.Request) {
			r.Header.Set("Authorization", strings.Replace(r.Header.Get("Authorization"), "/s3/", "/ec2/", 1))
		}, Mismatch},
		"key": {func(r *http.Request) {
			r.Header.Set("Authorization", strings.Replace(r.Header.Get("Authorization"), docKey, "AKIAOTHER", 1))
		}, 0}, // the key id is not signed: it only says whose secret to take
		"host not signed": {func(r *http.Request) {
			r.Header.Set("Authorization", strings.Replace(r.Header.Get("Authorization"), "host;", "", 1))
		}, HeadersNotSigned},
	} {
		r := signed("PUT", "http://s3.test/bucket/key?a=1", http.Header{"X-Amz-Acl": {"private"}}, EmptyPayload)
		r.Host = r.URL.Host
		tt.change(r)
		_, _, err := verify(t, r.Method, r.URL.RequestURI(), r.Host, r.Header, "", docSecret)
		if reason(err) != tt.want {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestSkew(t *testing.T) {
	s := &Signature{Time: docTime}
	for d, want := range map[time.Duration]Reason{
		0: 0, MaxSkew: 0, -MaxSkew: 0, MaxSkew + time.Second: Skewed, -MaxSkew - time.Second: Skewed,
	} {
		if err := s.CheckTime(docTime.Add(d)); reason(err) != want {
			t.Errorf("%v: %v", d, err)
		}
	}
}

// stream is a chunked upload under construction.
type stream struct {
	proof    *Proof
	previous string
	bytes.Buffer
}

func newStream(h http.Header, payload string, n int) (*stream, http.Header) {
	if h == nil {
		h = http.Header{}
	}
	h.Set("X-Amz-Decoded-Content-Length", fmt.Sprint(n))
	r := signed("PUT", "http://s3.test/bucket/key", h, payload)
	a := r.Header.Get("Authorization")
	s := &stream{previous: a[len(a)-64:]}
	s.proof = &Proof{stamp: "20130524T000000Z", scope: "20130524/us-east-1/s3/aws4_request", seed: s.previous, payload: payload}
	s.proof.key = deriveKey(docSecret, Scope{docKey, "20130524", "us-east-1", "s3"})
	return s, r.Header
}

func (s *stream) sign(kind, tail string) string {
	m := mac(&s.proof.key, []byte(kind+"\n"+s.proof.stamp+"\n"+s.proof.scope+"\n"+s.previous+"\n"+tail))
	s.previous = hex.EncodeToString(m[:])
	return s.previous
}

func (s *stream) chunk(data string) string {
	sum := sha256.Sum256([]byte(data))
	sig := s.sign("AWS4-HMAC-SHA256-PAYLOAD", EmptyPayload+"\n"+hex.EncodeToString(sum[:]))
	return fmt.Sprintf("%x;chunk-signature=%s\r\n%s", len(data), sig, data)
}

func TestChunkAttacks(t *testing.T) {
	big := strings.Repeat("x", 8192)
	s, h := newStream(nil, streamingSigned, 8192*2+3)
	one, two, three, end := s.chunk(big)+"\r\n", s.chunk(strings.Repeat("y", 8192))+"\r\n", s.chunk("zzz")+"\r\n", s.chunk("")+"\r\n"
	for name, tt := range map[string]struct{ body, want string }{
		"fine":               {one + two + three + end, ""},
		"end without line":   {one + two + three + strings.TrimSuffix(end, "\r\n"), ""},
		"reordered":          {two + one + three + end, "SignatureDoesNotMatch"},
		"left out":           {one + three + end, "SignatureDoesNotMatch"},
		"twice":              {one + one + two + three + end, "SignatureDoesNotMatch"},
		"truncated":          {one + two, "IncompleteBody"},
		"truncated in chunk": {one + two[:5000], "IncompleteBody"},
		"no end":             {one + two + three, "IncompleteBody"},
		"early end":          {one + end, "IncompleteBody"},
		"data after end":     {one + two + three + end + "more", "IncompleteBody"},
		"changed data":       {one + strings.Replace(two, "y", "z", 1) + three + end, "SignatureDoesNotMatch"},
		"changed last":       {one + two + strings.Replace(three, "zzz", "zzy", 1) + end, "SignatureDoesNotMatch"},
		"forged end":         {one + two + three + strings.Replace(end, "=", "=0", 1)[:len(end)], "IncompleteBody"},
		"no signatures":      {"2000\r\n" + big + "\r\n", "IncompleteBody"},
		"huge size":          {"7fffffffffffffff;chunk-signature=" + EmptyPayload + "\r\n", "IncompleteBody"},
		"larger than said":   {"ffffff;chunk-signature=" + EmptyPayload + "\r\n", "IncompleteBody"},
		"negative size":      {"-1;chunk-signature=" + EmptyPayload + "\r\n", "IncompleteBody"},
		"size with prefix":   {"0x2000;chunk-signature=" + EmptyPayload + "\r\n", "IncompleteBody"},
		"long header":        {"2000;" + strings.Repeat("x", 100_000), "IncompleteBody"},
		"long header line":   {"2000;" + strings.Repeat("x", 300) + "\r\n", "IncompleteBody"},
		"empty":              {"", "IncompleteBody"},
		"no line end":        {strings.Replace(one, "x\r\n", "xab", 1) + two, "IncompleteBody"},
	} {
		for _, step := range []int{1 << 20, 7} {
			b, err := NewBody(strings.NewReader(tt.body), int64(len(tt.body)), h, streamingSigned, s.proof)
			var got []byte
			if err == nil {
				got, err = readSteps(b, step)
			}
			if awserr.Code(err) != tt.want || tt.want == "" && (err != nil || len(got) != 8192*2+3) {
				t.Errorf("%s: %d bytes, %v", name, len(got), err)
			}
			if tt.want != "" && len(got) == 8192*2+3 {
				t.Errorf("%s: all of a bad payload was handed out", name)
			}
		}
	}
	s, h = newStream(nil, streamingSigned, 6)
	if _, err := readChunks(s.chunk("abc")+"\r\n"+s.chunk("def")+"\r\n"+s.chunk("")+"\r\n", h, streamingSigned, s.proof); awserr.Code(err) != "InvalidChunkSizeError" {
		t.Errorf("small chunks: %v", err)
	}
	s, h = newStream(nil, streamingSigned, 0)
	if got, err := readChunks(s.chunk("")+"\r\n", h, streamingSigned, s.proof); err != nil || len(got) != 0 {
		t.Errorf("no data: %v", err)
	}
	h.Del("X-Amz-Decoded-Content-Length")
	if _, err := readChunks("", h, streamingSigned, s.proof); awserr.Code(err) != "MissingContentLength" {
		t.Errorf("no length: %v", err)
	}
	if _, err := readChunks("", http.Header{"X-Amz-Decoded-Content-Length": {"1"}}, streamingSigned, nil); awserr.Code(err) != "AccessDenied" {
		t.Errorf("anonymous: %v", err)
	}
}

func readSteps(r io.Reader, step int) ([]byte, error) {
	var all []byte
	buf := make([]byte, step)
	for {
		n, err := r.Read(buf)
		all = append(all, buf[:n]...)
		if err == io.EOF {
			return all, nil
		}
		if err != nil {
			return all, err
		}
	}
}

func readChunks(body string, h http.Header, payload string, p *Proof) ([]byte, error) {
	b, err := NewBody(strings.NewReader(body), int64(len(body)), h, payload, p)
	if err != nil {
		return nil, err
	}
	return io.ReadAll(b)
}

func TestTrailerAttacks(t *testing.T) {
	const crc = "x-amz-checksum-crc32:AAAAAA=="
	for name, tt := range map[string]struct{ body, declared, want string }{
		"fine":             {"3\r\nabc\r\n0\r\n" + crc + "\r\n\r\n", "x-amz-checksum-crc32", ""},
		"spaces":           {"3\r\nabc\r\n0\r\nX-Amz-Checksum-Crc32: AAAAAA== \r\n\r\n", "x-amz-checksum-crc32", ""},
		"none":             {"3\r\nabc\r\n0\r\n\r\n", "", ""},
		"not declared":     {"3\r\nabc\r\n0\r\n" + crc + "\r\n\r\n", "", "MalformedTrailerError"},
		"not sent":         {"3\r\nabc\r\n0\r\n\r\n", "x-amz-checksum-crc32", "MalformedTrailerError"},
		"other":            {"3\r\nabc\r\n0\r\nx-amz-acl:public-read\r\n\r\n", "x-amz-checksum-crc32", "MalformedTrailerError"},
		"twice":            {"3\r\nabc\r\n0\r\n" + crc + "\r\n" + crc + "\r\n\r\n", "x-amz-checksum-crc32", "MalformedTrailerError"},
		"odd announcement": {"3\r\nabc\r\n0\r\n\r\n", "x-amz-acl", "InvalidRequest"},
		"no colon":         {"3\r\nabc\r\n0\r\nx-amz-checksum-crc32\r\n\r\n", "x-amz-checksum-crc32", "MalformedTrailerError"},
		"endless":          {"3\r\nabc\r\n0\r\n" + strings.Repeat("x", 20_000), "x-amz-checksum-crc32", "IncompleteBody"},
		"after it":         {"3\r\nabc\r\n0\r\n" + crc + "\r\n\r\nGET / HTTP/1.1\r\n", "x-amz-checksum-crc32", "IncompleteBody"},
		"chunk extension":  {"3;a=b\r\nabc\r\n0\r\n" + crc + "\r\n\r\n", "x-amz-checksum-crc32", "IncompleteBody"},
		"too much data":    {"4\r\nabcd\r\n0\r\n" + crc + "\r\n\r\n", "x-amz-checksum-crc32", "IncompleteBody"},
		"too little data":  {"2\r\nab\r\n0\r\n" + crc + "\r\n\r\n", "x-amz-checksum-crc32", "IncompleteBody"},
	} {
		h := http.Header{"X-Amz-Decoded-Content-Length": {"3"}}
		if tt.declared != "" {
			h.Set("X-Amz-Trailer", tt.declared)
		}
		got, err := readChunks(tt.body, h, streamingUnsignedTrailer, &Proof{payload: streamingUnsignedTrailer})
		if awserr.Code(err) != tt.want || tt.want == "" && (err != nil || string(got) != "abc") {
			t.Errorf("%s: %q, %v", name, got, err)
		}
	}
	h := http.Header{"X-Amz-Trailer": {"x-amz-checksum-crc32"}}
	s, h := newStream(h, streamingSignedTrailer, 3)
	good := s.chunk("abc") + "\r\n" + s.chunk("") + crc + "\r\n"
	sum := sha256.Sum256([]byte(crc + "\n"))
	sig := "x-amz-trailer-signature:" + s.sign("AWS4-HMAC-SHA256-TRAILER", hex.EncodeToString(sum[:])) + "\r\n\r\n"
	for name, tt := range map[string]struct{ body, want string }{
		"fine":            {good + sig, ""},
		"changed":         {strings.Replace(good, "AAAAAA", "BAAAAA", 1) + sig, "SignatureDoesNotMatch"},
		"not signed":      {good + "\r\n", "IncompleteBody"},
		"after signature": {good + strings.TrimSuffix(sig, "\r\n") + "x-amz-checksum-sha1:AAAA\r\n\r\n", "MalformedTrailerError"},
	} {
		got, err := readChunks(tt.body, h, streamingSignedTrailer, s.proof)
		if awserr.Code(err) != tt.want || tt.want == "" && string(got) != "abc" {
			t.Errorf("signed, %s: %q, %v", name, got, err)
		}
	}
}

func TestDigest(t *testing.T) {
	for _, n := range []int{0, 1, prompt, prompt + 1, 1 << 20} {
		data := bytes.Repeat([]byte("d"), n)
		sum := sha256.Sum256(data)
		payload := hex.EncodeToString(sum[:])
		read := func(data []byte, length int64) ([]byte, error) {
			b, err := NewBody(bytes.NewReader(data), length, nil, payload, &Proof{payload: payload})
			if err != nil {
				return nil, err
			}
			if length >= 0 { // a reader that never asks for EOF must not get all of a bad payload
				out := make([]byte, length)
				n, err := io.ReadFull(b, out)
				return out[:n], err
			}
			return io.ReadAll(b)
		}
		for _, length := range []int64{int64(n), -1} {
			if got, err := read(data, length); err != nil || !bytes.Equal(got, data) {
				t.Errorf("%d of %d: %d bytes, %v", n, length, len(got), err)
			}
			if n == 0 {
				continue
			}
			bad := bytes.Clone(data)
			bad[n-1]++
			if got, err := read(bad, length); awserr.Code(err) != "XAmzContentSHA256Mismatch" || length > 0 && len(got) == n {
				t.Errorf("%d of %d, changed: %d bytes, %v", n, length, len(got), err)
			}
		}
	}
	for payload, want := range map[string]string{
		"": "InvalidRequest", "abc": "InvalidArgument", strings.ToUpper(EmptyPayload): "InvalidArgument",
		"STREAMING-AWS4-ECDSA-P256-SHA256-PAYLOAD": "NotImplemented",
	} {
		if _, err := NewBody(strings.NewReader(""), 0, nil, payload, &Proof{payload: payload}); awserr.Code(err) != want {
			t.Errorf("%q: %v", payload, err)
		}
	}
}

func FuzzParse(f *testing.F) {
	f.Add("AWS4-HMAC-SHA256 Credential=AKIA/20130524/us-east-1/s3/aws4_request, SignedHeaders=host;x-amz-date, Signature="+EmptyPayload, "20130524T000000Z", "")
	f.Add("", "", "X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Credential=A%2F20130524%2Fr%2Fs3%2Faws4_request&X-Amz-Date=20130524T000000Z&X-Amz-Expires=86400&X-Amz-SignedHeaders=host&X-Amz-Signature="+EmptyPayload)
	f.Fuzz(func(t *testing.T, auth, date, query string) {
		q, err := url.ParseQuery(query)
		if err != nil {
			return
		}
		h := http.Header{"X-Amz-Date": {date}}
		if auth != "" {
			h.Set("Authorization", auth)
		}
		s, err := Parse(h, q)
		if err != nil || s == nil {
			return
		}
		if s.AccessKeyID == "" || len(s.Hex) != 64 || len(s.Signed) == 0 || s.Expires < 0 || s.Expires > MaxExpires || s.Date != s.stamp[:8] {
			t.Fatalf("%+v", s)
		}
		_ = s.CheckTime(docTime)
		if _, err := NewVerifier().Verify(s, &Request{Method: "GET", Path: "/", Query: q, Host: "h", Header: h, Payload: s.Payload}, "secret"); err == nil {
			t.Fatal("a made-up signature passed")
		}
	})
}

func FuzzChunked(f *testing.F) {
	s, h := newStream(nil, streamingSigned, 3)
	f.Add([]byte(s.chunk("abc")+"\r\n"+s.chunk("")+"\r\n"), true)
	f.Add([]byte("3\r\nabc\r\n0\r\nx-amz-checksum-crc32:AAAAAA==\r\n\r\n"), false)
	f.Fuzz(func(t *testing.T, body []byte, signing bool) {
		payload, proof := streamingUnsignedTrailer, &Proof{payload: streamingUnsignedTrailer}
		header := http.Header{"X-Amz-Decoded-Content-Length": {"3"}, "X-Amz-Trailer": {"x-amz-checksum-crc32"}}
		if signing {
			payload, proof, header = streamingSigned, s.proof, h
		}
		got, err := readChunks(string(body), header, payload, proof)
		if err == nil && len(got) != 3 || len(got) > 3 || signing && err == nil && string(got) != "abc" {
			t.Fatalf("%q, %v", got, err)
		}
		if err != nil && awserr.Code(err) == "" {
			t.Fatalf("not an AWS error: %v", err)
		}
	})
}
