package flowlogs

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"time"

	"karri.dev/internal/network"
	"karri.dev/internal/pki"
	"karri.dev/internal/store"
)

// Zones in processes of their own have the cloud deliver the records of their nodes.
const (
	CarryPath  = "flowlogs" // below the API's own paths
	maxCarried = 16 << 20   // bytes; a node's message has 2,000 records
	carryTime  = time.Minute
)

// carried are records of one node.
type carried struct {
	Node    string               `json:"node"`
	Records []network.FlowRecord `json:"records"`
}

// Carrier gives a zone's way to deliver records: url is the cloud's for CarryPath, client has the zone's certificate.
func Carrier(client *http.Client, url string) func(ctx context.Context, node string, records []network.FlowRecord) error {
	return func(ctx context.Context, node string, records []network.FlowRecord) error {
		body, err := json.Marshal(carried{node, records})
		if err != nil {
			return err
		}
		ctx, cancel := context.WithTimeout(ctx, carryTime)
		defer cancel()
		req, err := http.NewRequestWithContext(ctx, http.MethodPost, url, bytes.NewReader(body))
		if err != nil {
			return err
		}
		res, err := client.Do(req)
		if err != nil {
			return err
		}
		defer res.Body.Close()
		answer, _ := io.ReadAll(io.LimitReader(res.Body, 1<<10))
		if res.StatusCode != http.StatusNoContent {
			return fmt.Errorf("the cloud answers %s: %s", res.Status, bytes.TrimSpace(answer))
		}
		return nil
	}
}

// ServeHTTP takes a zone's records of its own nodes. It must be reached over TLS whose client certificates, where given,
// were verified against the root.
func (d *Deliverer) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	in, err := d.take(w, r)
	if err != nil {
		d.Log.Warn("refused to take records of flow logs", "from", r.RemoteAddr, "error", err)
		http.Error(w, "forbidden", http.StatusForbidden)
		return
	}
	if err := d.Deliver(r.Context(), in.Node, in.Records); err != nil {
		http.Error(w, err.Error(), http.StatusServiceUnavailable)
		return
	}
	w.WriteHeader(http.StatusNoContent)
}

func (d *Deliverer) take(w http.ResponseWriter, r *http.Request) (in carried, err error) {
	if r.TLS == nil || len(r.TLS.VerifiedChains) == 0 {
		return in, errors.New("no certificate")
	}
	who, err := pki.IdentityOf(r.TLS.VerifiedChains[0][0])
	if err != nil {
		return in, err
	}
	if who.Role != "zone" || r.Method != http.MethodPost {
		return in, errors.New("not a zone")
	}
	if err := json.NewDecoder(http.MaxBytesReader(w, r.Body, maxCarried)).Decode(&in); err != nil {
		return in, err
	}
	if n := store.Nodes.Get(d.Store.Snapshot(), in.Node); n == nil || n.Zone != who.Name {
		return in, fmt.Errorf("the node %q is not one of zone %s", in.Node, who.Name)
	}
	return in, nil
}
