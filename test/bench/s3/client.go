package main

import (
	"bufio"
	"bytes"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"net"
	"net/http"
	"strconv"
	"time"

	"karri.dev/internal/aws/sigv4"
)

// client sends requests on one connection, one after the other. It shares the cores with the server, so it takes as little of
// them as it can: a signature costs it two digests, an answer's headers are not parsed but for two of them.
type client struct {
	bench  *bench
	addr   string
	conn   net.Conn
	in     *bufio.Reader
	day    time.Time
	key    []byte // signs on that day
	out    []byte
	drains []byte
}

func (b *bench) newClient(addr string) (*client, error) {
	conn, err := net.Dial("tcp", addr)
	if err != nil {
		return nil, err
	}
	return &client{bench: b, addr: addr, conn: conn, in: bufio.NewReaderSize(conn, 16<<10), drains: make([]byte, 256<<10)}, nil
}

func mac(key []byte, text string) []byte {
	m := hmac.New(sha256.New, key)
	m.Write([]byte(text))
	return m.Sum(nil)
}

// signing gives the key of a day.
func (c *client) signing(now time.Time) []byte {
	if day := now.Truncate(24 * time.Hour); !day.Equal(c.day) {
		c.day = day
		c.key = []byte("AWS4" + c.bench.hello.Secret)
		for _, part := range []string{now.Format("20060102"), region, "s3", "aws4_request"} {
			c.key = mac(c.key, part)
		}
	}
	return c.key
}

// do sends a request, whose query is canonical, and reads the answer to its end.
func (c *client) do(method, path, query string, body []byte) error {
	now := time.Now().UTC()
	stamp := now.Format("20060102T150405Z")
	scope := stamp[:8] + "/" + region + "/s3/aws4_request"
	const names = "host;x-amz-content-sha256;x-amz-date"
	canonical := method + "\n" + path + "\n" + query + "\nhost:" + c.addr + "\nx-amz-content-sha256:" + sigv4.UnsignedPayload +
		"\nx-amz-date:" + stamp + "\n\n" + names + "\n" + sigv4.UnsignedPayload
	sum := sha256.Sum256([]byte(canonical))
	signature := mac(c.signing(now), "AWS4-HMAC-SHA256\n"+stamp+"\n"+scope+"\n"+hex.EncodeToString(sum[:]))
	if query != "" {
		path += "?" + query
	}
	c.out = fmt.Appendf(c.out[:0], "%s %s HTTP/1.1\r\nHost: %s\r\nX-Amz-Date: %s\r\nX-Amz-Content-Sha256: %s\r\n"+
		"Authorization: AWS4-HMAC-SHA256 Credential=%s/%s, SignedHeaders=%s, Signature=%x\r\nContent-Length: %d\r\n\r\n",
		method, path, c.addr, stamp, sigv4.UnsignedPayload, c.bench.hello.Key, scope, names, signature, len(body))
	if len(body) <= 64<<10 {
		c.out = append(c.out, body...)
		body = nil
	}
	if _, err := c.conn.Write(c.out); err != nil {
		return err
	}
	if len(body) > 0 {
		if _, err := c.conn.Write(body); err != nil {
			return err
		}
	}
	return c.answer(method, path)
}

var contentLength = []byte("Content-Length: ") // read only

func (c *client) answer(method, path string) error {
	line, err := c.in.ReadSlice('\n')
	if err != nil {
		return err
	}
	status := string(line)
	length := int64(-1)
	for {
		if line, err = c.in.ReadSlice('\n'); err != nil {
			return err
		}
		if line = bytes.TrimRight(line, "\r\n"); len(line) == 0 {
			break
		}
		if value, ok := bytes.CutPrefix(line, contentLength); ok {
			if length, err = strconv.ParseInt(string(value), 10, 64); err != nil {
				return err
			}
		}
	}
	switch {
	case len(status) < 12 || status[9] != '2':
		text, _ := io.ReadAll(io.LimitReader(c.in, min(length, 1000)))
		return fmt.Errorf("%s %s: %s%s", method, path, status, text)
	case method == http.MethodHead || status[9:12] == "204":
		return nil
	case length < 0:
		return fmt.Errorf("%s %s: an answer without its length", method, path)
	}
	for length > 0 {
		n, err := c.in.Read(c.drains[:min(length, int64(len(c.drains)))])
		if length -= int64(n); err != nil {
			return err
		}
	}
	return nil
}
