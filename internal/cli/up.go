package cli

import (
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"strings"

	"github.com/spf13/cobra"

	"karri.dev/internal/daemon"
)

// cloudFlags adds the flags that say what a cloud is, shared by up and cloud.
func cloudFlags(c *cobra.Command, cfg *daemon.CloudConfig) {
	f := c.Flags()
	f.StringVar(&cfg.APIAddr, "api-addr", "127.0.0.1:8773", "where every AWS API is served; other than on loopback by HTTPS only")
	f.StringVar(&cfg.Region, "region", "us-east-1", "the AWS region that this cloud is")
	f.StringVar(&cfg.Domain, "domain", "karri.internal", "DNS domain of the cloud's names (ec2.REGION.DOMAIN …)")
	f.StringSliceVar(&cfg.Hosts, "host", nil, "further names and addresses that the API's certificate is good for")
	f.StringVar(&cfg.TLSCert, "tls-cert", "", "certificate (PEM) for the API in place of one of the cloud's own authority")
	f.StringVar(&cfg.TLSKey, "tls-key", "", "its private key (PEM)")
	f.StringVar(&cfg.Mail.Admin, "mail-admin", "", "the administrator's mail address, who decides about sign-ups; empty = nobody can sign up")
	f.StringVar(&cfg.Mail.From, "mail-from", "", "sender of the cloud's mails")
	f.StringVar(&cfg.Mail.Server, "smtp-server", "", "HOST:PORT of the mail server (TLS from the first byte on port 465, else STARTTLS)")
	f.StringVar(&cfg.Mail.User, "smtp-user", "", "user at the mail server")
	f.StringVar(&cfg.Mail.PasswordFile, "smtp-password-file", "", "file with the password at the mail server")
	f.StringVar(&cfg.Mail.Dir, "mail-dir", "", "write mails into this folder in place of sending them (development)")
	f.StringVar(&cfg.Mail.Base, "mail-url", "", "the API's URL in mails (default: as clients know it)")
	f.StringVar(&cfg.StoreListen, "store-listen", "", "address on which zone processes reach the embedded state store (mutual TLS); empty = no socket")
	etcdFlags(c, &cfg.Etcd)
	f.StringSliceVar(&cfg.IssuerNetworks, "oidc-networks", nil, "networks of your own in which accounts' OpenID Connect providers may be, beside the internet; an address of this machine only by itself")
	f.StringVar(&cfg.RootDevice, "import-root-device", "instance-store", "what imported images become: ebs or instance-store")
	f.StringSliceVar(&cfg.ObjectDisks, "object-disk", nil, "a folder on a further disk for objects' data (repeatable); it must be there the first time")
	f.StringArrayVar(&cfg.ObjectStores, "object-store", nil, "NAME=FILE: an S3 endpoint for buckets that ask for it, described by FILE (repeatable)")
	f.Var(&poolValue{&cfg.PublicPool}, "public-pool", "addresses for instances' public side and VPCs' IPv6 ranges, comma-separated CIDRs; a family that none is of keeps its default")
	c.MarkFlagsRequiredTogether("tls-cert", "tls-key")
	c.MarkFlagsMutuallyExclusive("store-listen", "store-endpoint")
}

// etcdFlags adds the flags by which a process reaches an etcd cluster that others run.
func etcdFlags(c *cobra.Command, e *daemon.Etcd) {
	f := c.Flags()
	f.StringSliceVar(&e.Endpoints, "store-endpoint", nil, "keep the state in this etcd cluster (https://HOST:2379, repeatable) in place of the embedded one")
	f.StringVar(&e.CA, "store-ca", "", "with --store-endpoint: the cluster's CA (PEM)")
	f.StringVar(&e.Cert, "store-cert", "", "with --store-endpoint: our client certificate (PEM)")
	f.StringVar(&e.Key, "store-key", "", "with --store-endpoint: its key (PEM)")
}

// nodeFlags adds the flags that say what a node offers, shared by up and node.
func nodeFlags(c *cobra.Command, cfg *daemon.NodeConfig) {
	f := c.Flags()
	f.StringVar(&cfg.Name, "node-name", "", "the node's name for people (default: the host's name)")
	f.StringVar(&cfg.PublicInterface, "public-interface", "", "network interface on which instances' public addresses are answered for; empty = reachable from this host only")
	f.IntVar(&cfg.CPUOvercommit, "cpu-overcommit", 16, "virtual CPUs offered for each real one")
	f.IntVar(&cfg.ReserveMiB, "reserve-memory", 512, "memory in MiB kept for the host")
	f.IntVar(&cfg.CacheGiB, "image-cache", 50, "size limit of the image cache in GiB")
	f.StringVar(&cfg.Accel, "accel", "", "kvm or tcg in place of what the probe finds")
}

func upCommand() *cobra.Command {
	var cfg daemon.UpConfig
	c := &cobra.Command{
		Use:   "up",
		Short: "Run a whole cloud on this machine: every role in one process",
		Long: `Run cloud, zone and node in one process, in the foreground. When everything is up it prints one line that
begins with "ready". It writes the administrator's credentials to DIR/credentials/admin: config, credentials
and karrirc, which a shell can source.

SIGTERM or Ctrl-C ends the process and leaves guests running; the next "karri up" finds them again.
"karri down" ends guests too.`,
		Example: "  karri up --data-dir /var/lib/karri\n  karri up --data-dir ./cloud --api-addr 127.0.0.1:9000 --region eu-west-1",
		Args:    cobra.NoArgs,
	}
	dataDirFlag(c, &cfg.Cloud.DataDir)
	cloudFlags(c, &cfg.Cloud)
	nodeFlags(c, &cfg.Node)
	c.Flags().StringVar(&cfg.Zone, "zone", "", "the availability zone (default: the region's first, as in us-east-1a)")
	c.Flags().StringVar(&cfg.Placement, "placement", "least-loaded", "least-loaded or round-robin")
	logged(c, func(log *slog.Logger) error {
		if cfg.Zone == "" {
			cfg.Zone = cfg.Cloud.Region + "a"
		}
		return daemon.Up(c.Context(), cfg, log, c.OutOrStdout())
	})
	return c
}

func cloudCommand() *cobra.Command {
	var cfg daemon.CloudConfig
	c := &cobra.Command{
		Use:   "cloud",
		Short: "Run the cloud role: every AWS API and the objects (cloud controller and Walrus)",
		Long: `Run the cloud role. Zones and nodes join it with tokens that "karri token create" makes. Zone processes
need the state store: give --store-listen, or run on an etcd cluster of your own with --store-endpoint.`,
		Example: "  karri cloud --data-dir /var/lib/karri --api-addr 10.0.0.1:8773 --store-listen 10.0.0.1:2379",
		Args:    cobra.NoArgs,
	}
	dataDirFlag(c, &cfg.DataDir)
	cloudFlags(c, &cfg)
	logged(c, func(log *slog.Logger) error {
		return daemon.Cloud(c.Context(), cfg, log, c.OutOrStdout())
	})
	return c
}

// joinFlags adds the flags by which a process joins.
func joinFlags(c *cobra.Command, j *daemon.JoinConfig) {
	dataDirFlag(c, &j.DataDir)
	c.Flags().StringVar(&j.Cloud, "cloud", "", "the cloud's URL, https://HOST:8773 (the first time)")
	c.Flags().StringVar(&j.Token, "join", "", "a token of `karri token create` (the first time)")
}

func zoneCommand() *cobra.Command {
	var cfg daemon.ZoneConfig
	c := &cobra.Command{
		Use:     "zone",
		Short:   "Run the zone role of one availability zone (cluster controller)",
		Example: "  karri zone --data-dir /var/lib/karri --cloud https://10.0.0.1:8773 --join TOKEN --listen 10.0.0.2:8774",
		Args:    cobra.NoArgs,
	}
	joinFlags(c, &cfg.Join)
	etcdFlags(c, &cfg.Etcd)
	c.Flags().StringVar(&cfg.Listen, "listen", "", "address on which nodes and the cloud reach this zone, HOST:8774")
	c.Flags().StringVar(&cfg.StorageListen, "storage-listen", "", "address on which nodes reach this zone's volumes (default: port 8775 beside --listen)")
	c.Flags().StringVar(&cfg.Placement, "placement", "least-loaded", "least-loaded or round-robin")
	logged(c, func(log *slog.Logger) error {
		host, _, err := net.SplitHostPort(cfg.Listen)
		if err != nil || host == "" || net.ParseIP(host).IsUnspecified() {
			return errors.New("--listen must name the address that nodes dial, as in 10.0.0.2:8774")
		}
		if cfg.StorageListen == "" {
			cfg.StorageListen = net.JoinHostPort(host, "8775")
		}
		if host, _, err := net.SplitHostPort(cfg.StorageListen); err != nil || host == "" || net.ParseIP(host).IsUnspecified() {
			return errors.New("--storage-listen must name the address that nodes dial, as in 10.0.0.2:8775")
		}
		return daemon.Zone(c.Context(), cfg, log, c.OutOrStdout())
	})
	return c
}

// volumeServerCommand is what the zone starts to serve its volumes.
func volumeServerCommand() *cobra.Command {
	var dir, listen string
	c := &cobra.Command{Use: daemon.VolumeServerCommand, Short: "Serve a zone's volumes (the zone starts this)", Args: cobra.NoArgs, Hidden: true}
	dataDirFlag(c, &dir)
	c.Flags().StringVar(&listen, "listen", "", "HOST:PORT")
	logged(c, func(log *slog.Logger) error {
		return daemon.VolumeServer(c.Context(), dir, listen, log)
	})
	return c
}

func nodeCommand() *cobra.Command {
	var cfg daemon.NodeConfig
	c := &cobra.Command{
		Use:     "node",
		Short:   "Run the node role: this machine runs instances (node controller)",
		Long:    "Run the node role. The node dials its zone; it needs no open port but, for traffic between instances on\ndifferent nodes, VXLAN (UDP 4789) on the underlay address.",
		Example: "  karri node --data-dir /var/lib/karri --cloud https://10.0.0.1:8773 --join TOKEN --underlay 10.0.0.3",
		Args:    cobra.NoArgs,
	}
	joinFlags(c, &cfg.Join)
	nodeFlags(c, &cfg)
	c.Flags().StringVar(&cfg.Underlay, "underlay", "", "this machine's address for traffic between nodes")
	logged(c, func(log *slog.Logger) error {
		if ip := net.ParseIP(cfg.Underlay); ip == nil || ip.IsUnspecified() {
			return errors.New("--underlay must be this machine's own address, as in 10.0.0.3")
		}
		return daemon.Node(c.Context(), cfg, log, c.OutOrStdout())
	})
	return c
}

func downCommand() *cobra.Command {
	var dir string
	c := &cobra.Command{
		Use:   "down",
		Short: "End Karri and its guests on this machine and remove what it made on the host",
		Long: `End the Karri process of a data directory, shut its guests down, and remove the network namespaces, taps, rules and
routes that it made. The data directory stays: with the next "karri up" the instances start again.`,
		Args: cobra.NoArgs,
	}
	dataDirFlag(c, &dir)
	logged(c, func(log *slog.Logger) error {
		return daemon.Down(c.Context(), dir, log)
	})
	return c
}

// poolValue is a flag of comma-separated prefixes.
type poolValue struct{ pool *[]netip.Prefix }

func (p *poolValue) Type() string { return "CIDRs" }

func (p *poolValue) String() string {
	if p.pool == nil || len(*p.pool) == 0 {
		return daemon.DefaultPool.String() + "," + daemon.DefaultPool6.String()
	}
	var s []string
	for _, x := range *p.pool {
		s = append(s, x.String())
	}
	return strings.Join(s, ",")
}

func (p *poolValue) Set(s string) error {
	var out []netip.Prefix
	for part := range strings.SplitSeq(s, ",") {
		x, err := netip.ParsePrefix(strings.TrimSpace(part))
		if err != nil {
			return err
		}
		six := x.Addr().Is6()
		if x != x.Masked() || x.Addr().Is4In6() || !six && x.Bits() < 8 || six && (x.Bits() < 16 || x.Bits() > 56 || !x.Addr().IsGlobalUnicast()) {
			return fmt.Errorf("%s: want an IPv4 network, /8 or smaller, as in 198.51.100.0/24, or an IPv6 one of /16 to /56", part)
		}
		out = append(out, x)
	}
	*p.pool = out
	return nil
}
