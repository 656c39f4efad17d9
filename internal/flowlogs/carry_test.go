package flowlogs

import (
	"crypto/tls"
	"errors"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"karri.dev/internal/ids"
	"karri.dev/internal/network"
	"karri.dev/internal/pki"
	"karri.dev/internal/resource"
	"karri.dev/internal/store"
)

// A zone's process has its own nodes' records delivered, nobody else's; what failed is given again.
func TestCarry(t *testing.T) {
	st := store.OpenMemory(slog.New(slog.DiscardHandler))
	defer st.Close()
	owner := resource.Owned{AccountID: "111122223333", Region: "us-east-1"}
	put(t, st, store.FlowLogs, resource.FlowLog{Owned: owner, ID: "fl-1", VPCID: "vpc-1", Kind: "VPC", ResourceID: "vpc-1", Bucket: "logs", Format: DefaultFormat})
	put(t, st, store.Interfaces, resource.Interface{Owned: owner, ID: "eni-1", VPCID: "vpc-1", SubnetID: "subnet-1", PrivateIP: "10.0.0.10", InstanceID: "i-1", Zone: "us-east-1a"})
	put(t, st, store.Instances, resource.Instance{Owned: owner, ID: "i-1", Node: "node-1"})
	put(t, st, store.Nodes, resource.Node{ID: "node-1", Zone: "us-east-1a"})
	b := &bucket{objects: map[string]string{}}
	d := &Deliverer{Store: st, Bucket: b, IDs: ids.New(nil), Now: time.Now, Log: slog.New(slog.DiscardHandler)}

	root, err := pki.NewAuthority("root", time.Now)
	if err != nil {
		t.Fatal(err)
	}
	cloud := pki.Identity{Role: "cloud", Name: "api"}
	pair := func(who pki.Identity) *pki.KeyPair {
		key, err := pki.NewKey()
		if err != nil {
			t.Fatal(err)
		}
		cert, err := root.Issue(who, []string{"127.0.0.1"}, key.Public())
		if err != nil {
			t.Fatal(err)
		}
		p, err := pki.NewKeyPair("", key, cert, root.Certificate())
		if err != nil {
			t.Fatal(err)
		}
		return p
	}
	server := httptest.NewUnstartedServer(d)
	server.TLS = pair(cloud).ServerConfig(nil)
	server.TLS.ClientAuth, server.TLS.ClientCAs = tls.VerifyClientCertIfGiven, root.Pool()
	server.StartTLS()
	defer server.Close()
	deliver := func(who pki.Identity, node string) error {
		client := &http.Client{Transport: &http.Transport{TLSClientConfig: pair(who).ClientConfig(root.Pool(), cloud)}}
		defer client.CloseIdleConnections()
		return Carrier(client, server.URL+"/"+CarryPath)(t.Context(), node, []network.FlowRecord{record()})
	}
	own := pki.Identity{Role: "zone", Name: "us-east-1a"}
	for name, err := range map[string]error{
		"another zone": deliver(pki.Identity{Role: "zone", Name: "us-east-1b"}, "node-1"),
		"a node":       deliver(pki.Identity{Role: "node", Name: "node-1", Zone: "us-east-1a"}, "node-1"),
		"no node":      deliver(own, "node-9"),
	} {
		if err == nil || !strings.Contains(err.Error(), "403") {
			t.Errorf("%s: %v", name, err)
		}
	}
	open := &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true}}}
	if res, err := open.Post(server.URL, "application/json", strings.NewReader("{}")); err != nil || res.StatusCode != http.StatusForbidden {
		t.Errorf("without a certificate: %v %v", res, err)
	}
	if len(b.objects) != 0 {
		t.Errorf("%v", b.objects)
	}
	b.err = errors.New("the disk is gone")
	if err := deliver(own, "node-1"); err == nil || !strings.Contains(err.Error(), "503") {
		t.Errorf("a failure is told as %v", err)
	}
	b.err = nil
	if err := deliver(own, "node-1"); err != nil || len(b.objects) != 1 {
		t.Errorf("%v, %v", err, b.objects)
	}
	for _, text := range b.objects {
		if !strings.Contains(text, "10.0.0.77") && !strings.Contains(text, "10.0.0.10 192.0.2.1 40000 443 6 3 180") {
			t.Error(text)
		}
	}
}
