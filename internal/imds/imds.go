// Package imds is the instance metadata service: what answers guests on 169.254.169.254. It is a plain
// http.Handler; who asks is known from the address alone, as the network has proven it.
package imds

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"strconv"
	"strings"
	"time"

	"golang.org/x/net/ipv4"

	"karri.dev/internal/callers"
	"karri.dev/internal/nodeapi"
)

// Caller is the instance that asks.
type Caller struct {
	InstanceID string
	Metadata   nodeapi.Metadata
}

// Config is what a Handler needs.
type Config struct {
	Find func(ip netip.Addr) (Caller, bool) // by the address that the request came from
	Now  func() time.Time
	Key  []byte // secret that signs tokens
}

// Limits of one caller, and of a token's life in seconds.
const (
	perSecond   = 200
	burst       = 600
	maxTokenTTL = 21600
	defaultHops = 1
	normalHops  = 64
)

// Handler answers one VPC's instances.
type Handler struct {
	cfg    Config
	limits *callers.Limits
}

// NewKey reads a key for Config.
func NewKey(random io.Reader) ([]byte, error) {
	key := make([]byte, 32)
	if _, err := io.ReadFull(random, key); err != nil {
		return nil, fmt.Errorf("make a key for metadata tokens: %w", err)
	}
	return key, nil
}

// New makes a Handler.
func New(cfg Config) *Handler {
	return &Handler{cfg: cfg, limits: callers.New(perSecond, burst, cfg.Now)}
}

type connKey struct{}

// Server gives an HTTP server for the handler that keeps answers to token requests within the hop limit.
func (h *Handler) Server() *http.Server {
	return &http.Server{
		Handler: h, ReadHeaderTimeout: 5 * time.Second, ReadTimeout: 10 * time.Second, WriteTimeout: 20 * time.Second,
		IdleTimeout: 10 * time.Second, MaxHeaderBytes: 16 << 10,
		ConnContext: func(ctx context.Context, c net.Conn) context.Context { return context.WithValue(ctx, connKey{}, c) },
	}
}

// setHops says how far the answer to this request may travel.
func setHops(r *http.Request, n int) {
	if c, ok := r.Context().Value(connKey{}).(*net.TCPConn); ok {
		_ = ipv4.NewConn(c).SetTTL(n) // else it travels as far as any packet
	}
}

// ServeHTTP answers one request.
func (h *Handler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	from, err := netip.ParseAddrPort(r.RemoteAddr)
	if err != nil {
		refuse(w, http.StatusBadRequest)
		return
	}
	w.Header().Set("Server", "EC2ws")
	c, ok := h.cfg.Find(from.Addr().Unmap())
	switch {
	case !ok:
		refuse(w, http.StatusNotFound)
	case !h.limits.Allow(from.Addr().Unmap()):
		refuse(w, http.StatusServiceUnavailable)
	case c.Metadata.Options.Disabled:
		refuse(w, http.StatusForbidden)
	case r.Method == http.MethodPut:
		h.token(w, r, c)
	case r.Method != http.MethodGet && r.Method != http.MethodHead:
		w.Header().Set("Allow", "GET, HEAD, OPTIONS, PUT")
		refuse(w, http.StatusMethodNotAllowed)
	default:
		setHops(r, normalHops)
		h.get(w, r, c)
	}
}

// refuse answers an error the way EC2's service does.
func refuse(w http.ResponseWriter, code int) {
	text := http.StatusText(code)
	w.Header().Set("Content-Type", "text/html")
	w.WriteHeader(code)
	fmt.Fprintf(w, `<?xml version="1.0" encoding="iso-8859-1"?>
<!DOCTYPE html PUBLIC "-//W3C//DTD XHTML 1.0 Transitional//EN"
	"http://www.w3.org/TR/xhtml1/DTD/xhtml1-transitional.dtd">
<html xmlns="http://www.w3.org/1999/xhtml" xml:lang="en" lang="en">
 <head>
  <title>%d - %s</title>
 </head>
 <body>
  <h1>%d - %s</h1>
 </body>
</html>
`, code, text, code, text)
}

const (
	tokenHeader = "X-Aws-Ec2-Metadata-Token"
	ttlHeader   = "X-Aws-Ec2-Metadata-Token-Ttl-Seconds"
)

// token gives out a session token. A request that came through a proxy gets none: the header gives it away.
func (h *Handler) token(w http.ResponseWriter, r *http.Request, c Caller) {
	if strings.Trim(r.URL.Path, "/") != "latest/api/token" {
		refuse(w, http.StatusNotFound)
		return
	}
	if len(r.Header.Values("X-Forwarded-For")) > 0 {
		refuse(w, http.StatusForbidden)
		return
	}
	ttl, err := strconv.Atoi(r.Header.Get(ttlHeader))
	if err != nil || ttl < 1 || ttl > maxTokenTTL {
		refuse(w, http.StatusBadRequest)
		return
	}
	hops := c.Metadata.Options.HopLimit
	if hops < 1 || hops > normalHops {
		hops = defaultHops
	}
	setHops(r, hops)
	w.Header().Set(ttlHeader, strconv.Itoa(ttl))
	w.Header().Set("Content-Type", "text/plain")
	_, _ = io.WriteString(w, h.sign(c.InstanceID, h.cfg.Now().Add(time.Duration(ttl)*time.Second)))
}

// sign makes a token: its end in seconds, and a proof that it was made here for this instance.
func (h *Handler) sign(instance string, until time.Time) string {
	b := binary.BigEndian.AppendUint64(nil, uint64(until.Unix()))
	return base64.URLEncoding.EncodeToString(append(b, h.proof(instance, b)...))
}

func (h *Handler) proof(instance string, end []byte) []byte {
	m := hmac.New(sha256.New, h.cfg.Key)
	m.Write(end)
	m.Write([]byte(instance))
	return m.Sum(nil)
}

var errToken = errors.New("the token is not good")

func (h *Handler) check(instance, token string) error {
	b, err := base64.URLEncoding.DecodeString(token)
	if err != nil || len(b) != 8+sha256.Size || !hmac.Equal(b[8:], h.proof(instance, b[:8])) {
		return errToken
	}
	if h.cfg.Now().Unix() >= int64(binary.BigEndian.Uint64(b)) {
		return errToken
	}
	return nil
}

// get answers a read.
func (h *Handler) get(w http.ResponseWriter, r *http.Request, c Caller) {
	token := r.Header.Get(tokenHeader)
	if token == "" && c.Metadata.Options.TokensNeeded || token != "" && h.check(c.InstanceID, token) != nil {
		refuse(w, http.StatusUnauthorized)
		return
	}
	body, kind, ok := Read(c, r.URL.Path)
	if !ok {
		refuse(w, http.StatusNotFound)
		return
	}
	w.Header().Set("Content-Type", kind)
	w.Header().Set("Content-Length", strconv.Itoa(len(body)))
	w.Header().Set("Accept-Ranges", "none")
	if !c.Metadata.PendingTime.IsZero() {
		w.Header().Set("Last-Modified", c.Metadata.PendingTime.UTC().Format(http.TimeFormat))
	}
	_, _ = w.Write(body) // net/http sends none for HEAD
}
