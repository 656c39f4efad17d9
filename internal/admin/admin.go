// Package admin is how the karri command speaks to a running Karri process on the same machine: JSON over
// HTTP on a unix socket in the data directory, which only the directory's owner can open.
package admin

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"time"

	"karri.dev/internal/aws/awserr"
)

// Socket is the socket's path for a data directory.
func Socket(dataDir string) string { return filepath.Join(dataDir, "run", "admin.sock") }

// maxSocketPath is the kernel's limit (sun_path, with its final zero).
const maxSocketPath = 107

// ErrNotRunning says that no Karri process answers for a data directory.
var ErrNotRunning = errors.New("no Karri process is running")

// Status says how a process and what it knows of are.
type Status struct {
	Version    string      `json:"version"`
	Healthy    bool        `json:"healthy"`
	Components []Component `json:"components"`
}

// Component is one part.
type Component struct {
	Role    string            `json:"role"` // "store", "api", "objects", "zone", "node", …
	Name    string            `json:"name"`
	Healthy bool              `json:"healthy"`
	Detail  string            `json:"detail,omitempty"`
	Facts   map[string]string `json:"facts,omitempty"`
}

// Method answers one kind of request.
type Method func(ctx context.Context, in json.RawMessage) (any, error)

// Handle makes a Method of a typed function.
func Handle[In, Out any](f func(ctx context.Context, in In) (Out, error)) Method {
	return func(ctx context.Context, raw json.RawMessage) (any, error) {
		var in In
		if err := json.Unmarshal(raw, &in); err != nil {
			return nil, fmt.Errorf("bad request: %w", err)
		}
		return f(ctx, in)
	}
}

// Serve answers on the data directory's socket until ctx ends.
func Serve(ctx context.Context, dataDir string, log *slog.Logger, methods map[string]Method) error {
	path := Socket(dataDir)
	if len(path) > maxSocketPath {
		return fmt.Errorf("the data directory's path is too long for a socket in it: %s has more than %d bytes", path, maxSocketPath)
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return err
	}
	if err := os.Remove(path); err != nil && !errors.Is(err, os.ErrNotExist) { // of a process that was killed
		return err
	}
	l, err := net.Listen("unix", path)
	if err != nil {
		return fmt.Errorf("admin socket: %w", err)
	}
	s := &http.Server{Handler: handler(log, methods), ReadHeaderTimeout: 10 * time.Second}
	stop := context.AfterFunc(ctx, func() {
		grace, cancel := context.WithTimeout(context.WithoutCancel(ctx), 2*time.Second)
		defer cancel()
		if s.Shutdown(grace) != nil {
			s.Close()
		}
	})
	defer stop()
	if err := s.Serve(l); !errors.Is(err, http.ErrServerClosed) {
		return fmt.Errorf("admin socket: %w", err)
	}
	return ctx.Err()
}

func handler(log *slog.Logger, methods map[string]Method) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		m, ok := methods[r.URL.Path[1:]]
		if !ok {
			http.Error(w, "this process does not know how to do that: is it the right data directory?", http.StatusNotFound)
			return
		}
		in, err := io.ReadAll(http.MaxBytesReader(w, r.Body, 1<<20))
		var out any
		if err == nil {
			out, err = m(r.Context(), in)
		}
		if err != nil {
			log.Warn("admin request failed", "method", r.URL.Path[1:], "error", err)
			msg := err.Error()
			var a *awserr.Error
			if errors.As(err, &a) {
				msg = a.Message
			}
			http.Error(w, msg, http.StatusBadRequest)
			return
		}
		w.Header().Set("Content-Type", "application/json")
		json.NewEncoder(w).Encode(out)
	})
}

// Call sends one request to the process that serves a data directory.
func Call(ctx context.Context, dataDir, method string, in, out any) error {
	body, err := json.Marshal(in)
	if err != nil {
		return err
	}
	client := &http.Client{Transport: &http.Transport{
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			var d net.Dialer
			return d.DialContext(ctx, "unix", Socket(dataDir))
		},
		DisableKeepAlives: true,
	}}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, "http://karri/"+method, bytes.NewReader(body))
	if err != nil {
		return err
	}
	res, err := client.Do(req)
	if err != nil {
		var op *net.OpError
		if errors.As(err, &op) && op.Op == "dial" {
			return fmt.Errorf("%w with data directory %s", ErrNotRunning, dataDir)
		}
		return err
	}
	defer res.Body.Close()
	answer, err := io.ReadAll(res.Body)
	if err != nil {
		return err
	}
	if res.StatusCode != http.StatusOK {
		return errors.New(string(bytes.TrimSpace(answer)))
	}
	return json.Unmarshal(answer, out)
}
