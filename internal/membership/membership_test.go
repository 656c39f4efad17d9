package membership

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"log"
	"log/slog"
	"net/http"
	"net/netip"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"karri.dev/internal/ids"
	"karri.dev/internal/pki"
	"karri.dev/internal/resource"
	"karri.dev/internal/seal"
	"karri.dev/internal/store"
)

// cloud is a membership server behind TLS, as the front door mounts it.
func cloud(t *testing.T, now func() time.Time) (*Server, string) {
	t.Helper()
	ctx := context.Background()
	st := store.OpenMemory(slog.New(slog.DiscardHandler))
	t.Cleanup(func() { st.Close() })
	sealer, err := seal.New(make([]byte, seal.KeySize))
	if err != nil {
		t.Fatal(err)
	}
	root, err := Root(ctx, st, sealer, now)
	if err != nil {
		t.Fatal(err)
	}
	keeper, err := StoreAuthority(filepath.Join(t.TempDir(), "store-ca"), sealer, now)
	if err != nil {
		t.Fatal(err)
	}
	s := &Server{
		Root: root, Keeper: keeper, State: st, IDs: ids.New(nil), Now: now, Log: slog.New(slog.DiscardHandler),
		StoreEndpoints: []string{"https://127.0.0.1:2379"}, ImageKey: []byte("image key"),
		ZoneAdded: func(*store.Tx, *resource.Zone) error { return nil },
	}
	key, _ := pki.NewKey()
	cert, err := root.Issue(Cloud, []string{"127.0.0.1"}, key.Public())
	if err != nil {
		t.Fatal(err)
	}
	pair, err := pki.NewKeyPair("", key, cert, root.Certificate())
	if err != nil {
		t.Fatal(err)
	}
	config := pair.ServerConfig(nil)
	config.ClientAuth, config.ClientCAs = tls.VerifyClientCertIfGiven, root.Pool()
	l, err := tls.Listen("tcp", "127.0.0.1:0", config)
	if err != nil {
		t.Fatal(err)
	}
	h := &http.Server{Handler: s, ErrorLog: log.New(io.Discard, "", 0)}
	go h.Serve(l)
	t.Cleanup(func() { h.Close() })
	return s, "https://" + l.Addr().String()
}

func TestZoneThenNodeJoin(t *testing.T) {
	ctx := context.Background()
	s, url := cloud(t, time.Now)
	if _, err := s.CreateToken(ctx, resource.RoleNode, "us-east-1b", 0); err == nil {
		t.Fatal("a token for a node of a zone that is not there")
	}
	zt, err := s.CreateToken(ctx, resource.RoleZone, "us-east-1b", 0)
	if err != nil {
		t.Fatal(err)
	}
	zone, err := Join(ctx, t.TempDir(), url, zt, "")
	if err != nil {
		t.Fatal(err)
	}
	if zone.Identity != (pki.Identity{Role: "zone", Name: "us-east-1b"}) || zone.StoreKeys == nil || string(zone.Welcome().ImageKey) != "image key" {
		t.Fatalf("zone: %+v", zone.Identity)
	}
	if z := store.Zones.Get(s.State.Snapshot(), "us-east-1b"); z == nil || z.ZoneID != "use1-az2" || z.Region != "us-east-1" {
		t.Fatalf("zone's record: %+v", z)
	}
	nt, err := s.CreateToken(ctx, resource.RoleNode, "us-east-1b", 0)
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	node, err := Join(ctx, dir, url, nt, "rack1")
	if err != nil {
		t.Fatal(err)
	}
	leaf := node.Keys.Leaf()
	if len(leaf.DNSNames)+len(leaf.IPAddresses) != 0 {
		t.Fatalf("a node's certificate is good for %v %v", leaf.DNSNames, leaf.IPAddresses)
	}
	if w := node.Welcome(); len(w.ImageKey) != 0 || len(w.StoreCertificate) != 0 || node.StoreKeys != nil {
		t.Fatal("a node got what only zones may have")
	}
	// A restart with the same command line.
	again, err := Join(ctx, dir, url, nt, "rack1")
	if err != nil || again.Identity != node.Identity {
		t.Fatalf("%+v %v", again, err)
	}
	before := again.Keys.Leaf().SerialNumber
	if err := again.Renew(ctx); err != nil || again.Keys.Leaf().SerialNumber.Cmp(before) == 0 || again.Identity != node.Identity {
		t.Fatalf("renewal: %v", err)
	}
	if err := s.RevokeNode(ctx, node.Identity.Name); err != nil {
		t.Fatal(err)
	}
	if err := again.Renew(ctx); err == nil {
		t.Fatal("a revoked node renewed its certificate")
	}
}

func TestTokensAreGoodOnce(t *testing.T) {
	ctx := context.Background()
	now := time.Now()
	s, url := cloud(t, func() time.Time { return now })
	token, err := s.CreateToken(ctx, resource.RoleZone, "us-east-1a", time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	parsed, _ := pki.ParseToken(token)
	wrongSecret := pki.Token{ID: parsed.ID, Secret: "00", Root: parsed.Root}.String()
	wrongRoot := pki.Token{ID: parsed.ID, Secret: parsed.Secret, Root: strings.Repeat("0", 64)}.String()
	for name, bad := range map[string]string{"wrong secret": wrongSecret, "wrong root": wrongRoot, "not a token": "hello"} {
		if _, err := Join(ctx, t.TempDir(), url, bad, ""); err == nil {
			t.Errorf("%s: joined", name)
		}
	}
	if _, err := Join(ctx, t.TempDir(), url, token, ""); err != nil {
		t.Fatal(err)
	}
	if _, err := Join(ctx, t.TempDir(), url, token, ""); err == nil {
		t.Fatal("a token was good twice")
	}
	late, err := s.CreateToken(ctx, resource.RoleZone, "us-east-1a", time.Minute)
	if err != nil {
		t.Fatal(err)
	}
	now = now.Add(2 * time.Minute)
	if _, err := Join(ctx, t.TempDir(), url, late, ""); err == nil {
		t.Fatal("an expired token was good")
	}
	if _, err := Join(ctx, filepath.Join(t.TempDir(), "x"), "http://127.0.0.1:1", token, ""); err == nil {
		t.Fatal("joined over plain HTTP")
	}
}

func TestZoneNames(t *testing.T) {
	for zone, want := range map[string]string{
		"us-east-1a": "use1-az1", "ap-southeast-2c": "apse2-az3", "eu-central-1b": "euc1-az2", "us-gov-west-1a": "usgw1-az1",
	} {
		region, err := regionOf(zone)
		if err != nil || zoneID(region, zone) != want {
			t.Errorf("%s: %s, %v; want %s", zone, zoneID(region, zone), err, want)
		}
	}
	for _, bad := range []string{"", "a", "us-east-1", "moon", "us-east-a"} {
		if _, err := regionOf(bad); err == nil {
			t.Errorf("%q passed as a zone", bad)
		}
	}
}

// A node brings the requests of its own instances' addresses, by endpoints of their VPC, and nobody else's.
func TestSpeaksFor(t *testing.T) {
	s, _ := cloud(t, time.Now)
	ctx := context.Background()
	err := s.State.Update(ctx, func(tx *store.Tx) error {
		return errors.Join(
			store.Nodes.Put(tx, &resource.Node{ID: "node-1", Zone: "us-east-1a"}), store.Nodes.Put(tx, &resource.Node{ID: "node-2", Zone: "us-east-1a"}),
			store.Nodes.Put(tx, &resource.Node{ID: "node-3", Zone: "us-east-1a", Revoked: true}),
			store.Instances.Put(tx, &resource.Instance{ID: "i-1", Node: "node-1"}), store.Instances.Put(tx, &resource.Instance{ID: "i-3", Node: "node-3"}),
			store.Interfaces.Put(tx, &resource.Interface{ID: "eni-1", VPCID: "vpc-1", PrivateIP: "10.0.0.5", InstanceID: "i-1", Prefixes: []string{"10.0.0.64/28"}}),
			store.Interfaces.Put(tx, &resource.Interface{ID: "eni-2", VPCID: "vpc-1", PrivateIP: "10.0.0.6"}),
			store.Interfaces.Put(tx, &resource.Interface{ID: "eni-3", VPCID: "vpc-1", PrivateIP: "10.0.0.7", InstanceID: "i-3"}),
			store.VPCEndpoints.Put(tx, &resource.VPCEndpoint{ID: "vpce-1", VPCID: "vpc-1"}), store.VPCEndpoints.Put(tx, &resource.VPCEndpoint{ID: "vpce-2", VPCID: "vpc-2"}),
		)
	})
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		role, node, vpc, endpoint, ip string
		ok                            bool
	}{
		{"node", "node-1", "vpc-1", "", "10.0.0.5", true},
		{"node", "node-1", "vpc-1", "vpce-1", "10.0.0.5", true},
		{"node", "node-1", "vpc-1", "vpce-1", "10.0.0.79", true},
		{"node", "node-1", "vpc-1", "vpce-2", "10.0.0.5", false}, // another VPC's endpoint
		{"node", "node-1", "vpc-1", "vpce-9", "10.0.0.5", false},
		{"node", "node-1", "vpc-2", "", "10.0.0.5", false},
		{"node", "node-1", "vpc-1", "", "10.0.0.6", false}, // no instance
		{"node", "node-1", "vpc-1", "", "10.0.0.7", false}, // another node's
		{"node", "node-2", "vpc-1", "", "10.0.0.5", false},
		{"node", "node-3", "vpc-1", "", "10.0.0.7", false}, // revoked
		{"zone", "us-east-1a", "vpc-1", "", "10.0.0.5", false},
	} {
		err := s.SpeaksFor(pki.Identity{Role: c.role, Name: c.node, Zone: "us-east-1a"}, c.vpc, c.endpoint, netip.MustParseAddr(c.ip))
		if (err == nil) != c.ok {
			t.Errorf("%+v: %v", c, err)
		}
	}
}
