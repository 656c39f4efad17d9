package mixedlisten

import (
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"sync"
	"testing"
	"time"
)

// certificate borrows httptest's.
func certificate(t *testing.T) *tls.Config {
	s := httptest.NewTLSServer(nil)
	defer s.Close()
	return &tls.Config{Certificates: s.TLS.Certificates}
}

func serve(t *testing.T, config *tls.Config) string {
	t.Helper()
	inner, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	l := New(inner, config)
	s := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		io.Copy(io.Discard, r.Body)
		fmt.Fprint(w, r.TLS != nil)
	})}
	var served sync.WaitGroup
	served.Go(func() { s.Serve(l) })
	t.Cleanup(func() { s.Close(); served.Wait() })
	return inner.Addr().String()
}

func get(c *http.Client, url string) string {
	res, err := c.Get(url)
	if err != nil {
		return "error"
	}
	defer res.Body.Close()
	b, _ := io.ReadAll(res.Body)
	return string(b)
}

func TestBothOnOnePort(t *testing.T) {
	addr := serve(t, certificate(t))
	silent, err := net.Dial("tcp", addr) // holds nobody up
	if err != nil {
		t.Fatal(err)
	}
	defer silent.Close()
	var clients sync.WaitGroup
	for range 20 {
		clients.Go(func() {
			c := &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true}}}
			defer c.CloseIdleConnections()
			if got := get(c, "http://"+addr); got != "false" {
				t.Errorf("plain: %s", got)
			}
			if got := get(c, "https://"+addr); got != "true" {
				t.Errorf("TLS: %s", got)
			}
		})
	}
	clients.Wait()
}

func TestPlainOnly(t *testing.T) {
	addr := serve(t, nil)
	c := &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true}}}
	defer c.CloseIdleConnections()
	if got := get(c, "http://"+addr) + get(c, "https://"+addr); got != "falseerror" {
		t.Error(got)
	}
}

func TestCloseEndsTheSilent(t *testing.T) {
	inner, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	l := New(inner, nil)
	silent, err := net.Dial("tcp", inner.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer silent.Close()
	talking, err := net.Dial("tcp", inner.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer talking.Close()
	talking.Write([]byte("G"))
	c, err := l.Accept() // both are in: they are accepted in order
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if err := l.Close(); err != nil {
		t.Error(err)
	}
	if _, err := l.Accept(); err == nil {
		t.Error("Accept after Close")
	}
	silent.SetReadDeadline(time.Now().Add(patience / 2))
	if _, err := silent.Read(make([]byte, 1)); err == nil {
		t.Error("silent connection got something")
	} else if ne, ok := err.(net.Error); ok && ne.Timeout() {
		t.Error("silent connection was left open")
	}
}
