package membership

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"slices"
	"strings"
	"time"

	"karri.dev/internal/ids"
	"karri.dev/internal/pki"
	"karri.dev/internal/resource"
	"karri.dev/internal/store"
)

// Paths of the exchange, below the API address.
const (
	JoinPath  = "/_karri/join"
	RenewPath = "/_karri/renew"
)

// request is what a process sends to join or to renew. Joining it shows a token, renewing its certificate.
type request struct {
	Token   string `json:"token,omitempty"`
	Name    string `json:"name,omitempty"`  // a node's name for people
	Signing []byte `json:"signing"`         // certificate request
	Store   []byte `json:"store,omitempty"` // a zone's certificate request for the store
}

// Welcome is what a process learns when it joins or renews.
type Welcome struct {
	Identity     pki.Identity `json:"identity"`
	Certificate  []byte       `json:"certificate"`
	Root         []byte       `json:"root"`
	ZoneEndpoint string       `json:"zone_endpoint,omitempty"` // for nodes

	// For zones.
	StoreEndpoints   []string        `json:"store_endpoints,omitempty"`
	StoreCertificate []byte          `json:"store_certificate,omitempty"`
	StoreRoot        []byte          `json:"store_root,omitempty"`
	ImageKey         []byte          `json:"image_key,omitempty"` // for links to images
	Settings         json.RawMessage `json:"settings,omitempty"`  // of the cloud, as zones need them
}

// Server lets processes in.
type Server struct {
	Root           *pki.Authority
	Keeper         *pki.Authority // of the embedded store; nil where zones bring their own certificates
	State          *store.Store
	IDs            *ids.Source
	Now            func() time.Time
	Log            *slog.Logger
	StoreEndpoints []string
	ImageKey       []byte
	Settings       json.RawMessage
	// ZoneAdded is called inside the transaction that makes a zone's record.
	ZoneAdded func(tx *store.Tx, z *resource.Zone) error
}

// TokenLife is how long a join token is good for unless said otherwise.
const TokenLife = time.Hour

// CreateToken makes a one-time token for a zone, or for a node of a zone.
func (s *Server) CreateToken(ctx context.Context, role resource.Role, zone string, life time.Duration) (string, error) {
	if role != resource.RoleZone && role != resource.RoleNode {
		return "", fmt.Errorf("no token for role %q: want zone or node", role)
	}
	if _, err := regionOf(zone); err != nil {
		return "", err
	}
	if life <= 0 {
		life = TokenLife
	}
	t := pki.Token{ID: s.IDs.Hex(8), Secret: s.IDs.Hex(24), Root: pki.Fingerprint(s.Root.Certificate())}
	err := s.State.Update(ctx, func(tx *store.Tx) error {
		if role == resource.RoleNode && store.Zones.Get(tx, zone) == nil {
			return fmt.Errorf("there is no zone %q", zone)
		}
		for _, old := range slices.Collect(store.JoinTokens.All(tx)) {
			if s.Now().After(old.ExpiresAt) {
				store.JoinTokens.Delete(tx, old.ID)
			}
		}
		return store.JoinTokens.Put(tx, &resource.JoinToken{ID: t.ID, Hash: pki.Hash(t.Secret), Role: role, Zone: zone, ExpiresAt: s.Now().Add(life)})
	})
	return t.String(), err
}

// regionOf gives the region of a zone's name: "us-east-1a" → "us-east-1".
func regionOf(zone string) (string, error) {
	if n := len(zone); n > 2 && zone[n-1] >= 'a' && zone[n-1] <= 'z' && zone[n-2] >= '0' && zone[n-2] <= '9' {
		return zone[:n-1], nil
	}
	return "", fmt.Errorf("%q is not the name of an availability zone: want a region and a letter, as in us-east-1a", zone)
}

// RevokeNode shuts a node out for good.
func (s *Server) RevokeNode(ctx context.Context, id string) error {
	return s.State.Update(ctx, func(tx *store.Tx) error {
		old := store.Nodes.Get(tx, id)
		if old == nil {
			return fmt.Errorf("there is no node %q", id)
		}
		n := *old
		n.Revoked, n.Up = true, false
		return store.Nodes.Put(tx, &n)
	})
}

// AddZone makes the record of a zone if there is none.
func (s *Server) AddZone(tx *store.Tx, name string) error {
	if store.Zones.Get(tx, name) != nil {
		return nil
	}
	region, err := regionOf(name)
	if err != nil {
		return err
	}
	z := &resource.Zone{Name: name, Region: region, ZoneID: zoneID(region, name), CreatedAt: s.Now()}
	if err := store.Zones.Put(tx, z); err != nil {
		return err
	}
	return s.ZoneAdded(tx, z)
}

// zoneID shortens a zone's name as AWS does: "us-east-1a" → "use1-az1".
func zoneID(region, zone string) string {
	parts := strings.Split(region, "-")
	short := parts[0]
	for _, p := range parts[1 : len(parts)-1] {
		switch p {
		case "southeast", "northeast", "southwest", "northwest":
			short += p[:1] + p[5:6]
		default:
			short += p[:1]
		}
	}
	return fmt.Sprintf("%s%s-az%d", short, parts[len(parts)-1], zone[len(zone)-1]-'a'+1)
}

var errToken = errors.New("the join token is unknown, used or expired")

// join uses a token up and gives the identity that it stands for.
func (s *Server) join(ctx context.Context, r request) (pki.Identity, error) {
	token, err := pki.ParseToken(r.Token)
	if err != nil {
		return pki.Identity{}, errToken
	}
	var who pki.Identity
	err = s.State.Update(ctx, func(tx *store.Tx) error {
		t := store.JoinTokens.Get(tx, token.ID)
		if t == nil || !pki.HashMatches(t.Hash, token.Secret) || s.Now().After(t.ExpiresAt) {
			return errToken
		}
		store.JoinTokens.Delete(tx, t.ID)
		if t.Role == resource.RoleZone {
			who = pki.Identity{Role: "zone", Name: t.Zone}
			return s.AddZone(tx, t.Zone)
		}
		n, err := s.AddNode(tx, r.Name, t.Zone)
		if err != nil {
			return err
		}
		who = pki.Identity{Role: "node", Name: n.ID, Zone: t.Zone}
		return nil
	})
	return who, err
}

// AddNode registers a node.
func (s *Server) AddNode(tx *store.Tx, name, zone string) (*resource.Node, error) {
	n := &resource.Node{ID: s.IDs.Resource("node-"), Name: name, Zone: zone, CreatedAt: s.Now()}
	return n, store.Nodes.Put(tx, n)
}

// welcome signs the certificates of who.
func (s *Server) welcome(who pki.Identity, r request) (*Welcome, error) {
	key, err := pki.RequestKey(r.Signing)
	if err != nil {
		return nil, err
	}
	w := &Welcome{Identity: who, Root: s.Root.Certificate()}
	// No host names: members know one another by identity, and with a name in its certificate a member
	// could pose as the API before clients.
	if w.Certificate, err = s.Root.Issue(who, nil, key); err != nil {
		return nil, err
	}
	if who.Role == "node" {
		if z := store.Zones.Get(s.State.Snapshot(), who.Zone); z != nil {
			w.ZoneEndpoint = z.Endpoint
		}
		return w, nil
	}
	w.ImageKey, w.Settings = s.ImageKey, s.Settings
	if s.Keeper == nil {
		return w, nil
	}
	if key, err = pki.RequestKey(r.Store); err != nil {
		return nil, err
	}
	w.StoreRoot, w.StoreEndpoints = s.Keeper.Certificate(), s.StoreEndpoints
	w.StoreCertificate, err = s.Keeper.Issue(who, nil, key)
	return w, err
}

// good says whether a process that shows a certificate may renew it.
func (s *Server) good(who pki.Identity) bool {
	snap := s.State.Snapshot()
	switch who.Role {
	case "node":
		n := store.Nodes.Get(snap, who.Name)
		return n != nil && !n.Revoked && n.Zone == who.Zone
	case "zone":
		return store.Zones.Get(snap, who.Name) != nil
	}
	return false
}

// ServeHTTP answers JoinPath and RenewPath. It must be reached over TLS whose client certificates, where
// given, were verified against the root.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	var in request
	if r.Method != http.MethodPost || json.NewDecoder(http.MaxBytesReader(w, r.Body, 64<<10)).Decode(&in) != nil {
		http.Error(w, "bad request", http.StatusBadRequest)
		return
	}
	var who pki.Identity
	var err error
	switch {
	case r.TLS == nil:
		err = errors.New("only over TLS")
	case r.URL.Path == JoinPath:
		if _, err = pki.RequestKey(in.Signing); err == nil { // before the token is used up
			who, err = s.join(r.Context(), in)
		}
	case r.URL.Path == RenewPath && len(r.TLS.VerifiedChains) > 0:
		who, err = pki.IdentityOf(r.TLS.VerifiedChains[0][0])
		if err == nil && !s.good(who) {
			err = errors.New("this process is not a member any more")
		}
	default:
		err = errors.New("no certificate")
	}
	var out *Welcome
	if err == nil {
		out, err = s.welcome(who, in)
	}
	if err != nil {
		s.Log.Warn("refused to let a process in", "from", r.RemoteAddr, "path", r.URL.Path, "error", err)
		http.Error(w, err.Error(), http.StatusForbidden)
		return
	}
	s.Log.Info("certificate issued", "role", who.Role, "name", who.Name, "path", r.URL.Path)
	w.Header().Set("Content-Type", "application/json")
	json.NewEncoder(w).Encode(out)
}
