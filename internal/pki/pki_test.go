package pki

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"net"
	"path/filepath"
	"testing"
	"time"
)

func authority(t *testing.T) *Authority {
	t.Helper()
	a, err := NewAuthority("test", time.Now)
	if err != nil {
		t.Fatal(err)
	}
	return a
}

func leaf(t *testing.T, a *Authority, id Identity, path string) *KeyPair {
	t.Helper()
	key, err := NewKey()
	if err != nil {
		t.Fatal(err)
	}
	cert, err := a.Issue(id, []string{"localhost", "127.0.0.1"}, key.Public())
	if err != nil {
		t.Fatal(err)
	}
	p, err := NewKeyPair(path, key, cert, a.Certificate())
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// handshake gives the errors of both ends, and the client's identity as the server saw it.
func handshake(t *testing.T, server, client *tls.Config) (who Identity, serverErr, clientErr error) {
	t.Helper()
	a, b := net.Pipe()
	defer a.Close()
	defer b.Close()
	done := make(chan error, 1)
	s := tls.Server(a, server)
	go func() {
		err := s.Handshake()
		if err != nil {
			a.Close()
		} else {
			s.Write([]byte("x"))
		}
		done <- err
	}()
	c := tls.Client(b, client)
	clientErr = c.Handshake()
	if clientErr == nil {
		_, clientErr = io.ReadFull(c, make([]byte, 1)) // TLS 1.3: a refused client certificate shows on read
	}
	b.Close()
	serverErr = <-done
	if certs := s.ConnectionState().PeerCertificates; serverErr == nil && len(certs) > 0 {
		who, serverErr = IdentityOf(certs[0])
	}
	return who, serverErr, clientErr
}

func TestMutualTLSTellsWhoOneIs(t *testing.T) {
	a := authority(t)
	zone := leaf(t, a, Identity{Role: "zone", Name: "us-east-1a"}, "")
	want := Identity{Role: "node", Name: "node-1", Zone: "us-east-1a"}
	path := filepath.Join(t.TempDir(), "node.pem")
	leaf(t, a, want, path)
	node, err := LoadKeyPair(path)
	if err != nil {
		t.Fatal(err)
	}
	who, serr, cerr := handshake(t, zone.ServerConfig(a.Pool()), node.ClientConfig(a.Pool(), Identity{Role: "zone", Name: "us-east-1a"}))
	if serr != nil || cerr != nil || who != want {
		t.Fatalf("server %v, client %v, identity %+v", serr, cerr, who)
	}
	// Another member that poses as the zone.
	if _, _, cerr := handshake(t, node.ServerConfig(a.Pool()), node.ClientConfig(a.Pool(), Identity{Role: "zone", Name: "us-east-1a"})); cerr == nil {
		t.Fatal("a node passed as its zone")
	}
}

func TestForeignCertificatesAreRefused(t *testing.T) {
	a, foreign := authority(t), authority(t)
	zone := leaf(t, a, Identity{Role: "zone", Name: "z"}, "")
	intruder := leaf(t, foreign, Identity{Role: "node", Name: "node-1", Zone: "z"}, "")
	cfg := intruder.ClientConfig(a.Pool(), Identity{Role: "zone", Name: "z"})
	if _, serr, cerr := handshake(t, zone.ServerConfig(a.Pool()), cfg); serr == nil || cerr == nil {
		t.Fatalf("a certificate of another authority was let in: %v, %v", serr, cerr)
	}
	// Without any certificate.
	if _, serr, cerr := handshake(t, zone.ServerConfig(a.Pool()), &tls.Config{RootCAs: a.Pool(), ServerName: "localhost"}); serr == nil || cerr == nil {
		t.Fatalf("a peer without a certificate was let in: %v, %v", serr, cerr)
	}
}

func TestPinnedRoot(t *testing.T) {
	a, foreign := authority(t), authority(t)
	good, bad := leaf(t, a, Identity{Role: "cloud"}, ""), leaf(t, foreign, Identity{Role: "cloud"}, "")
	pin := Fingerprint(a.Certificate())
	if _, serr, cerr := handshake(t, good.ServerConfig(nil), PinnedConfig(pin, Identity{Role: "cloud"})); cerr != nil {
		t.Fatalf("pinned root refused: %v, %v", serr, cerr)
	}
	if _, _, cerr := handshake(t, bad.ServerConfig(nil), PinnedConfig(pin, Identity{Role: "cloud"})); cerr == nil {
		t.Fatal("another root was accepted")
	}
	// The pinned root's certificate is public: showing it beside a leaf that it did not sign must not do.
	key, _ := NewKey()
	cert, err := foreign.Issue(Identity{Role: "cloud"}, []string{"localhost"}, key.Public())
	if err != nil {
		t.Fatal(err)
	}
	liar, err := NewKeyPair("", key, cert, a.Certificate())
	if err != nil {
		t.Fatal(err)
	}
	var unknown x509.UnknownAuthorityError
	if _, _, cerr := handshake(t, liar.ServerConfig(nil), PinnedConfig(pin, Identity{Role: "cloud"})); !errors.As(cerr, &unknown) {
		t.Fatalf("a leaf that the pinned root did not sign: %v", cerr)
	}
}

func TestAuthorityRoundTrip(t *testing.T) {
	a := authority(t)
	key, err := a.Key()
	if err != nil {
		t.Fatal(err)
	}
	b, err := LoadAuthority(a.Certificate(), key, time.Now)
	if err != nil {
		t.Fatal(err)
	}
	p := leaf(t, b, Identity{Role: "node", Name: "n"}, "")
	if _, err := p.Leaf().Verify(x509.VerifyOptions{Roots: a.Pool(), DNSName: "localhost"}); err != nil {
		t.Fatal(err)
	}
	if at := p.RenewAt(); !at.After(time.Now().Add(LeafLife/2)) || !at.Before(p.Leaf().NotAfter) {
		t.Fatalf("renewal at %v of a certificate until %v", at, p.Leaf().NotAfter)
	}
}

func TestRequest(t *testing.T) {
	key, _ := NewKey()
	der, err := Request(key)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := RequestKey(der); err != nil {
		t.Fatal(err)
	}
	der[len(der)-1] ^= 1
	if _, err := RequestKey(der); err == nil {
		t.Fatal("a forged signing request passed")
	}
}

func FuzzParseToken(f *testing.F) {
	f.Add("a.b." + Fingerprint(nil))
	f.Add("..")
	f.Fuzz(func(t *testing.T, s string) {
		tok, err := ParseToken(s)
		if err != nil {
			return
		}
		if again, err := ParseToken(tok.String()); err != nil || again != tok {
			t.Fatalf("%q does not round-trip: %v", s, err)
		}
	})
}

func TestHash(t *testing.T) {
	if h := Hash("s3cret"); !HashMatches(h, "s3cret") || HashMatches(h, "other") || HashMatches("", "") {
		t.Fatal("token hashes do not compare")
	}
}
