package daemon

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"os"
	"slices"
	"time"

	"karri.dev/internal/frontdoor"
	"karri.dev/internal/guestapi"
	"karri.dev/internal/membership"
	"karri.dev/internal/mixedlisten"
	"karri.dev/internal/network/rules"
	"karri.dev/internal/pki"
	"karri.dev/internal/resource"
)

// api is the listening side of the front door.
type api struct {
	listener net.Listener
	guests   net.Listener // for the guests of this process's node; nil: none
	gate     *guestapi.Gate
	tunnels  net.Listener // of gate: for the guests of other nodes
	keys     *pki.KeyPair
	issue    func() error // renews keys
	loopback bool
}

// hosts gives the names and addresses that the API's certificate is good for.
func (c *CloudConfig) hosts() ([]string, error) {
	host, _, err := net.SplitHostPort(c.APIAddr)
	if err != nil {
		return nil, fmt.Errorf("--api-addr: %w", err)
	}
	hosts := []string{"localhost", "127.0.0.1", "::1", rules.APIAddr.String(), "api." + resource.PrivateDomain(c.Region)}
	if ip := net.ParseIP(host); host != "" && (ip == nil || !ip.IsUnspecified()) {
		hosts = append(hosts, host)
	} else if addrs, err := net.InterfaceAddrs(); err == nil {
		for _, a := range addrs {
			if n, ok := a.(*net.IPNet); ok && !n.IP.IsLinkLocalUnicast() {
				hosts = append(hosts, n.IP.String())
			}
		}
	}
	if c.Domain != "" {
		at := "." + c.Region + "." + c.Domain
		hosts = append(hosts, c.Domain, "ec2"+at, "s3"+at, "*.s3"+at, "sts"+at, "iam."+c.Domain)
	}
	hosts = append(hosts, c.Hosts...)
	slices.Sort(hosts)
	return slices.Compact(hosts), nil
}

// listenAPI opens the API's port: HTTP and HTTPS on loopback, HTTPS alone elsewhere.
func listenAPI(cfg CloudConfig, root *pki.Authority, log *slog.Logger) (*api, error) {
	hosts, err := cfg.hosts()
	if err != nil {
		return nil, err
	}
	a := new(api)
	a.issue = func() error {
		key, err := pki.NewKey()
		if err != nil {
			return err
		}
		cert, err := root.Issue(membership.Cloud, hosts, key.Public())
		if err != nil {
			return err
		}
		if a.keys == nil {
			a.keys, err = pki.NewKeyPair("", key, cert, root.Certificate())
			return err
		}
		return a.keys.Replace(key, cert, root.Certificate())
	}
	if err := a.issue(); err != nil {
		return nil, err
	}
	config := a.keys.ServerConfig(nil)
	config.ClientAuth, config.ClientCAs = tls.VerifyClientCertIfGiven, root.Pool()
	if cfg.TLSCert != "" {
		own := config.GetCertificate
		given, err := tls.LoadX509KeyPair(cfg.TLSCert, cfg.TLSKey)
		if err != nil {
			return nil, fmt.Errorf("--tls-cert: %w", err)
		}
		config.GetCertificate = func(h *tls.ClientHelloInfo) (*tls.Certificate, error) {
			if h.ServerName == pki.MemberName {
				return own(h)
			}
			return &given, nil
		}
	}
	l, err := net.Listen("tcp", cfg.APIAddr)
	if err != nil {
		return nil, fmt.Errorf("API: %w", err)
	}
	if tcp, ok := l.Addr().(*net.TCPAddr); ok && tcp.IP.IsLoopback() {
		a.loopback, a.listener = true, mixedlisten.New(l, config)
	} else {
		a.listener = tls.NewListener(l, config)
	}
	a.gate = guestapi.NewGate(log)
	a.tunnels = mixedlisten.New(a.gate, config) // plain HTTP comes within a node's TLS
	if cfg.guests != "" {
		g, err := guestapi.Listen(cfg.guests)
		if err != nil {
			l.Close()
			return nil, err
		}
		a.guests = mixedlisten.New(g, config) // plain HTTP stays within this machine
	}
	return a, nil
}

// url gives the API's URL as clients use it.
func (a *api) url(cfg CloudConfig) string {
	addr := a.listener.Addr().(*net.TCPAddr)
	host, _, _ := net.SplitHostPort(cfg.APIAddr)
	if ip := net.ParseIP(host); host == "" || ip != nil && ip.IsUnspecified() {
		host, _ = os.Hostname()
		if len(cfg.Hosts) > 0 {
			host = cfg.Hosts[0]
		}
	}
	scheme := "https"
	if a.loopback {
		scheme = "http"
	}
	return fmt.Sprintf("%s://%s", scheme, net.JoinHostPort(host, fmt.Sprint(addr.Port)))
}

// serve answers on the port until ctx ends; then calls under way get some seconds to finish.
func (a *api) serve(ctx context.Context, handler http.Handler, log *slog.Logger) error {
	s := frontdoor.NewServer(handler, log)
	s.ConnContext = guestapi.ConnContext
	done := make(chan error, 3)
	go func() { done <- s.Serve(a.listener) }()
	go func() { done <- s.Serve(a.tunnels) }()
	if a.guests != nil {
		go func() { done <- s.Serve(a.guests) }()
	}
	renew := time.NewTimer(time.Until(a.keys.RenewAt()))
	defer renew.Stop()
	for {
		select {
		case err := <-done:
			return fmt.Errorf("API: %w", err)
		case <-renew.C:
			if err := a.issue(); err != nil {
				log.Error("cannot renew the API's certificate", "error", err)
			}
			renew.Reset(max(time.Until(a.keys.RenewAt()), time.Minute))
		case <-ctx.Done():
			grace, cancel := context.WithTimeout(context.WithoutCancel(ctx), 5*time.Second)
			defer cancel()
			if err := s.Shutdown(grace); errors.Is(err, context.DeadlineExceeded) {
				s.Close()
			}
			return ctx.Err()
		}
	}
}
