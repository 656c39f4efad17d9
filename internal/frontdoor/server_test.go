package frontdoor_test

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"karri.dev/internal/aws/sigv4"
	"karri.dev/internal/frontdoor"
)

// talk writes text to the server and reads one answer.
func talk(t *testing.T, addr, text string) (*http.Response, string) {
	t.Helper()
	conn, err := net.Dial("tcp", strings.TrimPrefix(addr, "http://"))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if _, err := io.WriteString(conn, text); err != nil {
		t.Fatal(err)
	}
	res, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	body, _ := io.ReadAll(res.Body)
	return res, string(body)
}

// raw gives a signed PUT's head as text.
func (c *cloud) raw(length int, more string) string {
	r := signedS3("PUT", c.url+"/bucket/key", sigv4.UnsignedPayload, "", c.key, nil)
	return fmt.Sprintf("PUT /bucket/key HTTP/1.1\r\nHost: %s\r\nAuthorization: %s\r\nX-Amz-Date: %s\r\nX-Amz-Content-Sha256: %s\r\nContent-Length: %d\r\n%s\r\n",
		r.Host, r.Header.Get("Authorization"), r.Header.Get("X-Amz-Date"), r.Header.Get("X-Amz-Content-Sha256"), length, more)
}

func TestContinueOnlyForTheKnown(t *testing.T) {
	c, _ := newS3(t)
	addr := c.serve(t)
	if res, _ := talk(t, addr, c.raw(4, "Expect: 100-continue\r\n")); res.StatusCode != http.StatusContinue {
		t.Errorf("signed: %s", res.Status)
	}
	forged := strings.Replace(c.raw(4, "Expect: 100-continue\r\n"), "Signature=", "Signature=0", 1)
	if res, body := talk(t, addr, forged); res.StatusCode != 400 || errorCode(body) != "AuthorizationHeaderMalformed" {
		t.Errorf("forged: %s", res.Status)
	}
}

func TestStalledBodyIsCut(t *testing.T) {
	c, o := newS3(t, func(cfg *frontdoor.Config, _ *frontdoor.Deps) { cfg.StallTimeout = 50 * time.Millisecond })
	addr := c.serve(t)
	if res, body := talk(t, addr, c.raw(100_000, "")+"some"); res.StatusCode != 400 || errorCode(body) != "IncompleteBody" || o.calls != 0 {
		t.Errorf("%s %s", res.Status, body)
	}
}

func TestRawRequests(t *testing.T) {
	c, o := newS3(t)
	addr := c.serve(t)
	for name, tt := range map[string]struct {
		text string
		want int
	}{
		"two lengths":        {strings.Replace(c.raw(4, ""), "Content-Length: 4\r\n", "Content-Length: 4\r\nContent-Length: 5\r\n", 1) + "data", 400},
		"length and chunked": {c.raw(4, "Transfer-Encoding: chunked\r\n") + "0\r\n\r\n", 411},
		"two hosts":          {c.raw(4, "Host: other\r\n") + "data", 400},
		"many headers":       {c.raw(4, strings.Repeat("X-Amz-Meta-A: "+strings.Repeat("x", 1000)+"\r\n", 9)) + "data", 400},
		"large header":       {c.raw(4, "X-Large: "+strings.Repeat("x", 100<<10)+"\r\n") + "data", 431},
		"folded header":      {c.raw(4, "X-Folded: a\r\n b\r\n") + "data", 200},
		"space before colon": {c.raw(4, "X-Amz-Acl : private\r\n") + "data", 400},
		"absolute target":    {strings.Replace(c.raw(4, ""), "PUT /", "PUT http://other.test/", 1) + "data", 403},
		"connect":            {"CONNECT /_x HTTP/1.1\r\nHost: x\r\n\r\n", 405},
		"asterisk":           {"OPTIONS * HTTP/1.1\r\nHost: x\r\n\r\n", 200}, // net/http's own
	} {
		if res, body := talk(t, addr, tt.text); res.StatusCode != tt.want {
			t.Errorf("%s: %s %s", name, res.Status, body)
		}
	}
	if o.calls != 1 { // the folded one is legal
		t.Errorf("%d calls", o.calls)
	}
}
