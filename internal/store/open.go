package store

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"strings"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/zap"
	"google.golang.org/grpc"
	"google.golang.org/grpc/keepalive"

	"karri.dev/internal/store/embedded"
)

// Config says where the state is: in Dir by an etcd inside this process, or at Endpoints.
type Config struct {
	Dir      string       // of the embedded etcd
	Listen   string       // host:port on which the embedded etcd serves other processes; "" means none
	Server   embedded.TLS // for Listen
	MinFree  uint64       // bytes of disk below which the embedded etcd refuses writes; 0 means 128 MiB
	Prefix   string       // of all keys; "" means "/karri/"
	External External
}

// External is an etcd cluster that others run. Its operator sees to compaction and backups.
type External struct {
	Endpoints     []string // https://host:port
	Cert, Key, CA string   // files; of this client, and to check the servers; "" for plain HTTP
}

// Open opens the state and loads it. It waits for an external etcd as long as ctx allows.
func Open(ctx context.Context, cfg Config, log *slog.Logger) (*Store, error) {
	if cfg.Prefix == "" {
		cfg.Prefix = "/karri/"
	}
	if !strings.HasSuffix(cfg.Prefix, "/") {
		return nil, fmt.Errorf("state prefix %q must end in a slash", cfg.Prefix)
	}
	if (cfg.Dir == "") == (len(cfg.External.Endpoints) == 0) {
		return nil, errors.New("the state needs either a folder or endpoints of an etcd")
	}
	var e *etcd
	var err error
	if cfg.Dir != "" {
		e, err = openEmbedded(ctx, cfg, log)
	} else {
		e, err = openExternal(ctx, cfg, log)
	}
	if err != nil {
		return nil, err
	}
	s, err := open(ctx, log, e)
	if err != nil {
		e.close() //nolint:errcheck // the first error counts
		return nil, err
	}
	s.running.Go(s.probe)
	return s, nil
}

func openEmbedded(ctx context.Context, cfg Config, log *slog.Logger) (*etcd, error) {
	server, err := embedded.Start(ctx, embedded.Config{Dir: cfg.Dir, Listen: cfg.Listen, TLS: cfg.Server, MinFree: cfg.MinFree}, log)
	if err != nil {
		return nil, err
	}
	e := &etcd{
		client: server.Client(), prefix: cfg.Prefix, space: server.Space,
		end: func() error { server.Close(); return nil },
	}
	if cfg.Listen == "" {
		e.leader = &alone{} // nobody else can reach this etcd; leases of the process before must not be waited for
	} else {
		e.leader = &election{log, e.client, cfg.Prefix}
	}
	return e, nil
}

func openExternal(ctx context.Context, cfg Config, log *slog.Logger) (*etcd, error) {
	c := clientv3.Config{
		Endpoints:            cfg.External.Endpoints,
		DialKeepAliveTime:    10 * time.Second,
		DialKeepAliveTimeout: 5 * time.Second,
		MaxCallSendMsgSize:   16 << 20,
		Logger:               zap.NewNop(),
		DialOptions: []grpc.DialOption{grpc.WithKeepaliveParams(keepalive.ClientParameters{
			Time: 10 * time.Second, Timeout: 5 * time.Second, PermitWithoutStream: true,
		})},
	}
	if x := cfg.External; x.CA != "" || x.Cert != "" {
		var err error
		if c.TLS, err = x.tls(); err != nil {
			return nil, err
		}
	}
	client, err := clientv3.New(c)
	if err != nil {
		return nil, fmt.Errorf("connect to etcd: %w", err)
	}
	for { // an etcd that is just starting is no reason to give up
		try, cancel := context.WithTimeout(ctx, 5*time.Second)
		_, err = client.Get(try, cfg.Prefix, clientv3.WithKeysOnly())
		cancel()
		if err == nil || ctx.Err() != nil {
			break
		}
		log.Warn("etcd does not answer yet", "endpoints", c.Endpoints, "err", err)
		pause(ctx, time.Second)
	}
	if err != nil {
		client.Close() //nolint:errcheck // the first error counts
		return nil, fmt.Errorf("connect to etcd at %s: %w", strings.Join(c.Endpoints, ", "), err)
	}
	return &etcd{client: client, prefix: cfg.Prefix, leader: &election{log, client, cfg.Prefix}, end: client.Close}, nil
}

func (x External) tls() (*tls.Config, error) {
	out := &tls.Config{MinVersion: tls.VersionTLS12}
	if x.CA != "" {
		pem, err := os.ReadFile(x.CA)
		if err != nil {
			return nil, fmt.Errorf("read etcd's CA: %w", err)
		}
		out.RootCAs = x509.NewCertPool()
		if !out.RootCAs.AppendCertsFromPEM(pem) {
			return nil, fmt.Errorf("read etcd's CA: no certificate in %s", x.CA)
		}
	}
	if x.Cert != "" {
		if _, err := tls.LoadX509KeyPair(x.Cert, x.Key); err != nil {
			return nil, fmt.Errorf("read the certificate for etcd: %w", err)
		}
		// Read at every connection: certificates are renewed while we run.
		out.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) {
			c, err := tls.LoadX509KeyPair(x.Cert, x.Key)
			return &c, err
		}
	}
	return out, nil
}
