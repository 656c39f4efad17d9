package frontdoor

import (
	"crypto/tls"
	"log/slog"
	"net/http"
	"time"
)

// NewServer makes the http.Server for a Door with limits against slow and greedy clients. Bodies have no
// limit in total: the Door cuts those that stop moving.
func NewServer(h http.Handler, log *slog.Logger) *http.Server {
	return &http.Server{
		Handler:           h,
		ReadHeaderTimeout: 15 * time.Second,
		IdleTimeout:       2 * time.Minute,
		MaxHeaderBytes:    64 << 10,
		ErrorLog:          slog.NewLogLogger(log.Handler(), slog.LevelDebug),
		// HTTP/1.1 only, like AWS's own endpoints of these services.
		TLSNextProto: map[string]func(*http.Server, *tls.Conn, http.Handler){},
	}
}
