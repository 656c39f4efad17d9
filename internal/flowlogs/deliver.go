package flowlogs

import (
	"bytes"
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"karri.dev/internal/aws/awserr"
	"karri.dev/internal/ids"
	"karri.dev/internal/network"
	"karri.dev/internal/resource"
	"karri.dev/internal/store"
)

// Bucket takes objects in the name of the log delivery, for an account. What the bucket does not let it write is
// AccessDenied.
type Bucket interface {
	Deliver(ctx context.Context, account, region, bucket, key string, body []byte) error
}

// Deliverer writes records into the buckets of their logs.
type Deliverer struct {
	Store  *store.Store
	Bucket Bucket
	IDs    *ids.Source
	Now    func() time.Time
	Log    *slog.Logger
}

// What AWS says of a log that is not delivered.
const (
	accessError  = "Access error"
	unknownError = "Unknown error"
)

// Deliver writes the records of a node, one object for each log. A log whose bucket refuses them is marked, and its
// records are gone, as in AWS; an error says that the store of objects failed and that they may be given again.
func (d *Deliverer) Deliver(ctx context.Context, node string, records []network.FlowRecord) error {
	snap := d.Store.Snapshot()
	byLog := map[string][]network.FlowRecord{}
	var order []string
	for _, r := range records {
		if !d.believable(snap, node, &r) {
			continue
		}
		if byLog[r.LogID] == nil {
			order = append(order, r.LogID)
		}
		byLog[r.LogID] = append(byLog[r.LogID], r)
	}
	var errs []error
	for _, id := range order {
		l := store.FlowLogs.Get(snap, id)
		failure := ""
		if err := d.put(ctx, snap, l, byLog[id]); err != nil {
			failure = unknownError
			if awserr.Code(err) != "" {
				failure = accessError
			} else {
				errs = append(errs, err)
			}
			d.Log.Warn("a flow log is not delivered", "log", id, "bucket", l.Bucket, "error", err)
		}
		if failure != l.Failure {
			errs = append(errs, d.mark(ctx, id, failure))
		}
	}
	return errors.Join(errs...)
}

// believable says whether the node may speak for the interface and the log.
func (d *Deliverer) believable(r store.Reader, node string, f *network.FlowRecord) bool {
	l := store.FlowLogs.Get(r, f.LogID)
	e := store.Interfaces.Get(r, f.InterfaceID)
	if l == nil || e == nil || !l.Covers(e) || e.InstanceID != f.InstanceID {
		return false
	}
	inst := store.Instances.Get(r, e.InstanceID)
	return inst != nil && inst.Node == node && e.AccountID == l.AccountID
}

func (d *Deliverer) put(ctx context.Context, r store.Reader, l *resource.FlowLog, records []network.FlowRecord) error {
	body := text(l, records, func(f *network.FlowRecord) (primary, zone string) {
		if e := store.Interfaces.Get(r, f.InterfaceID); e != nil {
			primary = e.PrivateIP
			if z := store.Zones.Get(r, e.Zone); z != nil {
				zone = z.ZoneID
			}
		}
		return primary, zone
	})
	var packed bytes.Buffer
	w := gzip.NewWriter(&packed)
	if _, err := w.Write([]byte(body)); err != nil {
		return err
	}
	if err := w.Close(); err != nil {
		return err
	}
	return d.Bucket.Deliver(ctx, l.AccountID, l.Region, l.Bucket, key(l, d.Now(), d.IDs.Hex(8)), packed.Bytes())
}

func (d *Deliverer) mark(ctx context.Context, id, failure string) error {
	err := d.Store.Update(ctx, func(tx *store.Tx) error {
		old := store.FlowLogs.Get(tx, id)
		if old == nil || old.Failure == failure {
			return nil
		}
		next := *old
		next.Failure = failure
		return store.FlowLogs.Put(tx, &next)
	})
	if err != nil {
		return fmt.Errorf("mark flow log %s: %w", id, err)
	}
	return nil
}
