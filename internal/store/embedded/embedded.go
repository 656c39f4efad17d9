// Package embedded runs an etcd server inside the process, without sockets unless asked. It is the only
// package that touches etcd's server configuration, which is no stable API.
package embedded

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/url"
	"os"
	"sync"
	"time"

	"go.etcd.io/etcd/client/pkg/v3/transport"
	clientv3 "go.etcd.io/etcd/client/v3"
	"go.etcd.io/etcd/server/v3/embed"
	"go.etcd.io/etcd/server/v3/etcdserver/api/v3client"
	"golang.org/x/sys/unix"
)

// Config of an embedded server.
type Config struct {
	Dir string // holds all its files; made if missing

	// Listen is a host:port on which other processes can use the server, by mutual TLS. "" means none.
	Listen string
	TLS    TLS

	// MinFree is how many bytes of disk must be free for writes to be taken (default 128 MiB). etcd ends the
	// process when its log cannot grow: this keeps the cloud out of that corner.
	MinFree uint64
}

// TLS is what a listening server needs.
type TLS struct {
	Cert, Key, ClientCA string // files
	// ClientName is a DNS name that clients' certificates must carry, so that not everyone with a
	// certificate of the cloud can read the state. "" lets in all that ClientCA signed.
	ClientName string
}

// ErrNoSpace says that the disk is too full to take writes.
var ErrNoSpace = errors.New("the disk is almost full")

const (
	maxRequest = 16 << 20 // bytes; one transaction
	quota      = 8 << 30  // bytes of database
	minFree    = 128 << 20
	startTime  = 30 * time.Second
)

// Server is a running etcd.
type Server struct {
	cfg    Config
	etcd   *embed.Etcd
	client *clientv3.Client
	once   sync.Once
}

// Start starts a server and waits until it answers.
func Start(ctx context.Context, cfg Config, log *slog.Logger) (*Server, error) {
	if cfg.MinFree == 0 {
		cfg.MinFree = minFree
	}
	if err := os.MkdirAll(cfg.Dir, 0o700); err != nil {
		return nil, fmt.Errorf("make the state folder: %w", err)
	}
	s := &Server{cfg: cfg}
	if err := s.Space(); err != nil {
		return nil, err // etcd would end the process, with less clear words
	}
	c := embed.NewConfig()
	c.Name = "karri"
	c.Dir = cfg.Dir
	c.ZapLoggerBuilder = embed.NewZapLoggerBuilder(zapToSlog(log))
	// One member: nobody listens for peers, the address is only a name.
	c.ListenPeerUrls = nil
	c.AdvertisePeerUrls = []url.URL{{Scheme: "http", Host: "localhost:2380"}}
	c.InitialCluster = "karri=http://localhost:2380"
	c.ListenClientUrls, c.AdvertiseClientUrls = nil, nil
	if cfg.Listen != "" {
		if cfg.TLS.Cert == "" || cfg.TLS.Key == "" || cfg.TLS.ClientCA == "" {
			return nil, errors.New("a listening state store needs a certificate, its key and the clients' CA")
		}
		u := url.URL{Scheme: "https", Host: cfg.Listen}
		c.ListenClientUrls, c.AdvertiseClientUrls = []url.URL{u}, []url.URL{u}
		c.ClientTLSInfo = transport.TLSInfo{
			CertFile: cfg.TLS.Cert, KeyFile: cfg.TLS.Key, TrustedCAFile: cfg.TLS.ClientCA, ClientCertAuth: true,
		}
		if cfg.TLS.ClientName != "" {
			c.ClientTLSInfo.AllowedHostnames = []string{cfg.TLS.ClientName}
		}
		c.EnableGRPCGateway = false
	}
	c.TickMs, c.ElectionMs = 50, 500 // one member elects itself; only the start waits for it
	c.QuotaBackendBytes = quota
	c.MaxRequestBytes = maxRequest
	// A process that is cut off for longer than this loads the state anew. Longer costs disk: each change of
	// a record keeps its past.
	c.AutoCompactionMode = embed.CompactorModePeriodic
	c.AutoCompactionRetention = "1m"
	// The raft log is kept in memory up to a snapshot; group commits make its entries large.
	c.SnapshotCount = 200
	c.SnapshotCatchUpEntries = 10
	c.MaxSnapFiles, c.MaxWalFiles = 2, 2

	e, err := embed.StartEtcd(c)
	if err != nil {
		return nil, fmt.Errorf("start etcd in %s: %w", cfg.Dir, err)
	}
	s.etcd = e
	ctx, cancel := context.WithTimeout(ctx, startTime)
	defer cancel()
	select {
	case <-e.Server.ReadyNotify():
	case <-ctx.Done():
		err = fmt.Errorf("start etcd in %s: not ready: %w", cfg.Dir, ctx.Err())
	case err = <-e.Err():
		err = fmt.Errorf("start etcd in %s: %w", cfg.Dir, err)
	}
	if err != nil {
		e.Close()
		return nil, err
	}
	s.client = v3client.New(e.Server)
	return s, nil
}

// Client talks to the server without a socket. It ends with the server.
func (s *Server) Client() *clientv3.Client { return s.client }

// Space gives an error that wraps ErrNoSpace if writes should not be tried.
func (s *Server) Space() error {
	var fs unix.Statfs_t
	if err := unix.Statfs(s.cfg.Dir, &fs); err != nil {
		return fmt.Errorf("look at the disk of %s: %w", s.cfg.Dir, err)
	}
	if free := fs.Bavail * uint64(fs.Bsize); free < s.cfg.MinFree {
		return fmt.Errorf("%w: %d MiB free at %s, at least %d MiB are needed to change the state",
			ErrNoSpace, free>>20, s.cfg.Dir, s.cfg.MinFree>>20)
	}
	return nil
}

// Close stops the server. What was acknowledged is on disk.
func (s *Server) Close() {
	s.once.Do(func() {
		s.client.Close()
		s.etcd.Close()
	})
}
