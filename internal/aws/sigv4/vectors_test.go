package sigv4

import (
	"io"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"
)

// The examples of AWS's own documentation.
const (
	docKey    = "AKIAIOSFODNN7EXAMPLE"
	docSecret = "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY"
)

var docTime = time.Date(2013, 5, 24, 0, 0, 0, 0, time.UTC)

// verify does what a server does, and gives the parsed signature too.
func verify(t testing.TB, method, target, host string, h http.Header, payload, secret string) (*Signature, *Proof, error) {
	t.Helper()
	u, err := url.ParseRequestURI(target)
	if err != nil {
		t.Fatal(err)
	}
	query, err := url.ParseQuery(u.RawQuery)
	if err != nil {
		t.Fatal(err)
	}
	s, err := Parse(h, query)
	if err != nil {
		return nil, nil, err
	}
	if s == nil {
		t.Fatal("no signature found")
	}
	if payload == "" {
		payload = s.Payload
	}
	p, err := NewVerifier().Verify(s, &Request{
		Method: method, Path: SignedPath(u, s.Service), Query: query, Host: host, Header: h, ContentLength: -1, Payload: payload,
	}, secret)
	return s, p, err
}

func headers(lines ...string) http.Header {
	h := http.Header{}
	for _, l := range lines {
		name, value, _ := strings.Cut(l, ": ")
		h.Add(name, value)
	}
	return h
}

func TestDocumentedVectors(t *testing.T) {
	const scope = "AWS4-HMAC-SHA256 Credential=" + docKey + "/20130524/us-east-1/s3/aws4_request,"
	for _, c := range []struct {
		name, method, target, host, payload string
		h                                   http.Header
	}{
		{
			name: "get object", method: "GET", target: "/test.txt", host: "examplebucket.s3.amazonaws.com",
			h: headers("Range: bytes=0-9", "x-amz-content-sha256: "+EmptyPayload, "x-amz-date: 20130524T000000Z",
				"Authorization: "+scope+"SignedHeaders=host;range;x-amz-content-sha256;x-amz-date,Signature=f0e8bdb87c964420e857bd35b5d6ed310bd44f0170aba48dd91039c6036bdb41"),
		},
		{
			name: "put object", method: "PUT", target: "/test$file.text", host: "examplebucket.s3.amazonaws.com",
			h: headers("Date: Fri, 24 May 2013 00:00:00 GMT", "x-amz-date: 20130524T000000Z", "x-amz-storage-class: REDUCED_REDUNDANCY",
				"x-amz-content-sha256: 44ce7dd67c959e0d3524ffac1771dfbba87d2b6b4b4e99e42034a8b803f8b072",
				"Authorization: "+scope+"SignedHeaders=date;host;x-amz-content-sha256;x-amz-date;x-amz-storage-class,Signature=98ad721746da40c64f1a55b78f14c238d841ea1380cd77a1b5971af0ece108bd"),
		},
		{
			name: "get lifecycle", method: "GET", target: "/?lifecycle", host: "examplebucket.s3.amazonaws.com",
			h: headers("x-amz-content-sha256: "+EmptyPayload, "x-amz-date: 20130524T000000Z",
				"Authorization: "+scope+"SignedHeaders=host;x-amz-content-sha256;x-amz-date,Signature=fea454ca298b7da1c68078a5d1bdbfbbe0d65c699e0f91ac7a200a0136783543"),
		},
		{
			name: "list objects", method: "GET", target: "/?max-keys=2&prefix=J", host: "examplebucket.s3.amazonaws.com",
			h: headers("x-amz-content-sha256: "+EmptyPayload, "x-amz-date: 20130524T000000Z",
				"Authorization: "+scope+"SignedHeaders=host;x-amz-content-sha256;x-amz-date,Signature=34b48302e7b5fa45bde8084f4b7868a86f0a534bc59db6670ed5711ef69dc6f7"),
		},
		{
			name: "presigned", method: "GET", host: "examplebucket.s3.amazonaws.com", payload: UnsignedPayload,
			target: "/test.txt?X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Credential=AKIAIOSFODNN7EXAMPLE%2F20130524%2Fus-east-1%2Fs3%2Faws4_request&X-Amz-Date=20130524T000000Z&X-Amz-Expires=86400&X-Amz-SignedHeaders=host&X-Amz-Signature=aeeed9bbccd4d02ee5c0109b86d86835f995330da4c265957d157751f604d404",
			h:      http.Header{},
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			s, _, err := verify(t, c.method, c.target, c.host, c.h, c.payload, docSecret)
			if err != nil {
				t.Fatalf("%v\n%s", err, err.(*Error).CanonicalRequest)
			}
			if err := s.CheckTime(docTime.Add(14 * time.Minute)); err != nil {
				t.Error(err)
			}
		})
	}
}

func TestDocumentedChunks(t *testing.T) {
	const auth = "AWS4-HMAC-SHA256 Credential=" + docKey + "/20130524/us-east-1/s3/aws4_request,"
	a := func(n int) string { return strings.Repeat("a", n) }
	for _, c := range []struct {
		name, body string
		h          http.Header
	}{
		{
			name: "signed",
			h: headers("x-amz-date: 20130524T000000Z", "x-amz-storage-class: REDUCED_REDUNDANCY", "x-amz-content-sha256: STREAMING-AWS4-HMAC-SHA256-PAYLOAD",
				"Content-Encoding: aws-chunked", "x-amz-decoded-content-length: 66560", "Content-Length: 66824",
				"Authorization: "+auth+"SignedHeaders=content-encoding;content-length;host;x-amz-content-sha256;x-amz-date;x-amz-decoded-content-length;x-amz-storage-class,Signature=4f232c4386841ef735655705268965c44a0e4690baa4adea153f7db9fa80a0a9"),
			body: "10000;chunk-signature=ad80c730a21e5b8d04586a2213dd63b9a0e99e0e2307b0ade35a65485a288648\r\n" + a(65536) + "\r\n" +
				"400;chunk-signature=0055627c9e194cb4542bae2aa5492e3c1575bbb81b612b7d234b86a503ef5497\r\n" + a(1024) + "\r\n" +
				"0;chunk-signature=b6c6ea8a5354eaf15b3cb7646744f4275b71ea724fed81ceb9323e279d449df9\r\n\r\n",
		},
		{
			name: "signed trailer",
			h: headers("x-amz-date: 20130524T000000Z", "x-amz-storage-class: REDUCED_REDUNDANCY", "x-amz-content-sha256: STREAMING-AWS4-HMAC-SHA256-PAYLOAD-TRAILER",
				"Content-Encoding: aws-chunked", "x-amz-decoded-content-length: 66560", "x-amz-trailer: x-amz-checksum-crc32c",
				"Authorization: "+auth+"SignedHeaders=content-encoding;host;x-amz-content-sha256;x-amz-date;x-amz-decoded-content-length;x-amz-storage-class;x-amz-trailer,Signature=106e2a8a18243abcf37539882f36619c00e2dfc72633413f02d3b74544bfeb8e"),
			body: "10000;chunk-signature=b474d8862b1487a5145d686f57f013e54db672cee1c953b3010fb58501ef5aa2\r\n" + a(65536) + "\r\n" +
				"400;chunk-signature=1c1344b170168f8e65b41376b44b20fe354e373826ccbbe2c1d40a8cae51e5c7\r\n" + a(1024) + "\r\n" +
				"0;chunk-signature=2ca2aba2005185cf7159c6277faf83795951dd77a3a99e6e65d5c9f85863f992\r\n" +
				"x-amz-checksum-crc32c:sOO8/Q==\n\r\n" + "x-amz-trailer-signature:d81f82fc3505edab99d459891051a732e8730629a2e4a59689829ca17fe2e435\r\n\r\n",
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			s, p, err := verify(t, "PUT", "/examplebucket/chunkObject.txt", "s3.amazonaws.com", c.h, "", docSecret)
			if err != nil {
				t.Fatalf("%v\n%s", err, err.(*Error).CanonicalRequest)
			}
			b, err := NewBody(strings.NewReader(c.body), int64(len(c.body)), c.h, s.Payload, p)
			if err != nil {
				t.Fatal(err)
			}
			got, err := io.ReadAll(b)
			if err != nil || string(got) != a(66560) {
				t.Fatalf("read %d bytes, %v", len(got), err)
			}
			if c.name == "signed trailer" && b.Trailer().Get("x-amz-checksum-crc32c") != "sOO8/Q==" {
				t.Errorf("trailer: %v", b.Trailer())
			}
		})
	}
}
