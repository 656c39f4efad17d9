package frontdoor_test

import (
	"bufio"
	"fmt"
	"net"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"

	"karri.dev/internal/aws/sigv4"
)

// Whoever expects "100 Continue" gets it, also before an empty body, and then its answer.
func TestExpectContinue(t *testing.T) {
	c, _ := newS3(t)
	c.serve(t)
	host := strings.TrimPrefix(c.url, "http://")
	conn, err := net.Dial("tcp", host)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	lines := bufio.NewScanner(conn)
	for _, body := range []string{"", "data", ""} {
		r := httptest.NewRequest("PUT", c.url+"/bucket/key", strings.NewReader(body))
		sigv4.Sign(r, sigv4.Credentials{AccessKeyID: c.key.ID, Secret: c.key.Secret}, "us-east-1", "s3", sigv4.UnsignedPayload, time.Now())
		fmt.Fprintf(conn, "PUT /bucket/key HTTP/1.1\r\nHost: %s\r\nExpect: 100-continue\r\nContent-Length: %d\r\n", host, len(body))
		for name, v := range r.Header {
			fmt.Fprintf(conn, "%s: %s\r\n", name, v[0])
		}
		fmt.Fprint(conn, "\r\n")
		for _, want := range []string{"HTTP/1.1 100 Continue", "HTTP/1.1 200 OK"} {
			lines.Scan()
			if lines.Text() != want {
				t.Fatalf("body %q: %s, want %s (%v)", body, lines.Text(), want, lines.Err())
			}
			for lines.Scan() && lines.Text() != "" {
			}
			if want == "HTTP/1.1 100 Continue" {
				fmt.Fprint(conn, body)
			}
		}
	}
}

// SDKs put the checksum of an empty body into presigned URLs; it means nothing.
func TestPresignedChecksum(t *testing.T) {
	c, o := newS3(t)
	u, err := url.Parse("http://127.0.0.1:8773/bucket/key?x-amz-checksum-crc32=AAAAAA%3D%3D&x-amz-sdk-checksum-algorithm=CRC32")
	if err != nil {
		t.Fatal(err)
	}
	link := sigv4.Presign("PUT", u, sigv4.Credentials{AccessKeyID: c.key.ID, Secret: c.key.Secret}, "us-east-1", "s3", time.Minute, time.Now())
	if w := c.do(httptest.NewRequest("PUT", link.String(), strings.NewReader("data"))); w.Code != 200 || o.sum != "" {
		t.Errorf("%d %s, checksum %q", w.Code, w.Body, o.sum)
	}
}
