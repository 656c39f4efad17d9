package store

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"go.etcd.io/etcd/api/v3/mvccpb"
	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"
)

// etcd keeps the pairs below PREFIX/state/: "head", and "r/TABLE/KEY" for each record.
type etcd struct {
	client *clientv3.Client
	prefix string       // ends in "/"
	space  func() error // refuses writes; nil: never
	leader leadership
	end    func() error
}

const (
	pageSize = 4000 // records a page of load; etcd counts the whole range anew for each
	fanout   = 40   // operations at each level of a transaction: three levels stay under etcd's default of 128
	depth    = 3
)

func (e *etcd) state() string   { return e.prefix + "state/" }
func (e *etcd) headKey() string { return e.prefix + "state/head" }

func (e *etcd) recordKey(table, key string) string {
	return e.prefix + "state/r/" + table + "/" + key
}

// parse tells what a stored key is; ok=false for the head.
func (e *etcd) parse(key []byte) (table, name string, ok bool, err error) {
	rest := string(key[len(e.state()):])
	if rest == "head" {
		return "", "", false, nil
	}
	rest, record := strings.CutPrefix(rest, "r/")
	table, name, split := strings.Cut(rest, "/")
	if !record || !split {
		return "", "", false, fmt.Errorf("unknown key %q: the store was written by a newer Karri", key)
	}
	return table, name, true, nil
}

func (e *etcd) load(ctx context.Context, each func(pair) error) (h headValue, at int64, err error) {
	key, end := e.state(), clientv3.GetPrefixRangeEnd(e.state())
	for {
		// The first page is linearizable and settles the revision for the others.
		page, err := e.client.Get(ctx, key, clientv3.WithRange(end), clientv3.WithLimit(pageSize), clientv3.WithRev(at))
		if err != nil {
			return h, 0, err
		}
		if at == 0 {
			at = page.Header.Revision
		}
		for _, kv := range page.Kvs {
			table, name, ok, err := e.parse(kv.Key)
			if err != nil {
				return h, 0, err
			}
			if !ok {
				h = headValue{kv.ModRevision, kv.Value}
			} else if err := each(pair{table, name, kv.Value}); err != nil {
				return h, 0, err
			}
		}
		if !page.More {
			return h, at, nil
		}
		key = string(page.Kvs[len(page.Kvs)-1].Key) + "\x00"
	}
}

func (e *etcd) commit(ctx context.Context, guard int64, value []byte, pairs []pair) (headValue, bool, error) {
	if e.space != nil {
		if err := e.space(); err != nil {
			return headValue{}, false, fmt.Errorf("%w: %w: %w", errRefused, ErrUnavailable, err)
		}
	}
	ops := make([]clientv3.Op, len(pairs))
	for i, p := range pairs {
		if key := e.recordKey(p.table, p.key); p.value == nil {
			ops[i] = clientv3.OpDelete(key)
		} else {
			ops[i] = clientv3.OpPut(key, string(p.value))
		}
	}
	ops, err := nest(ops)
	if err != nil {
		return headValue{}, false, fmt.Errorf("%w: %w", errRefused, err)
	}
	answer, err := e.client.Txn(ctx).
		If(clientv3.Compare(clientv3.ModRevision(e.headKey()), "=", guard)).
		Then(append(ops, clientv3.OpPut(e.headKey(), string(value)))...).
		Else(clientv3.OpGet(e.headKey())).Commit()
	if err != nil {
		return headValue{}, false, classify(err)
	}
	if answer.Succeeded {
		return headValue{answer.Header.Revision, value}, true, nil
	}
	for _, kv := range answer.Responses[0].GetResponseRange().Kvs {
		return headValue{kv.ModRevision, kv.Value}, false, nil
	}
	return headValue{}, false, nil // the head is gone: somebody emptied the store
}

// nest folds many operations into transactions inside the transaction.
func nest(ops []clientv3.Op) ([]clientv3.Op, error) {
	for level := 1; len(ops) > fanout; level++ {
		if level == depth {
			return nil, ErrTooLarge
		}
		outer := make([]clientv3.Op, 0, len(ops)/fanout+1)
		for chunk := range slices.Chunk(ops, fanout) {
			outer = append(outer, clientv3.OpTxn(nil, chunk, nil))
		}
		ops = outer
	}
	return ops, nil
}

// classify tells refusals, after which nothing was written, from failures whose outcome is unknown.
func classify(err error) error {
	switch {
	case errors.Is(err, rpctypes.ErrRequestTooLarge), errors.Is(err, rpctypes.ErrTooManyOps),
		strings.Contains(err.Error(), "message larger than max"):
		return fmt.Errorf("%w: %w: %w", errRefused, ErrTooLarge, err)
	case errors.Is(err, rpctypes.ErrNoSpace):
		return fmt.Errorf("%w: %w: etcd's quota is used up: %w", errRefused, ErrUnavailable, err)
	case errors.Is(err, rpctypes.ErrPermissionDenied), errors.Is(err, rpctypes.ErrUserEmpty):
		return fmt.Errorf("%w: %w: %w", errRefused, ErrUnavailable, err)
	}
	return err
}

func (e *etcd) current(ctx context.Context) (int64, error) {
	answer, err := e.client.Get(ctx, e.headKey(), clientv3.WithKeysOnly())
	if err != nil {
		return 0, err
	}
	for _, kv := range answer.Kvs {
		return kv.ModRevision, nil
	}
	return 0, nil
}

func (e *etcd) follow(ctx context.Context, revision int64, each func(commitEvent) error) error {
	ctx, cancel := context.WithCancel(clientv3.WithRequireLeader(ctx))
	defer cancel()
	watch := e.client.Watch(ctx, e.state(), clientv3.WithPrefix(), clientv3.WithRev(revision+1),
		clientv3.WithFragment(), clientv3.WithProgressNotify())
	for answer := range watch {
		if err := answer.Err(); err != nil {
			if answer.CompactRevision != 0 || errors.Is(err, rpctypes.ErrCompacted) {
				return fmt.Errorf("%w: %w", errCompacted, err)
			}
			return err
		}
		for events := answer.Events; len(events) > 0; {
			n := slices.IndexFunc(events, func(ev *clientv3.Event) bool { return ev.Kv.ModRevision != events[0].Kv.ModRevision })
			if n < 0 {
				n = len(events)
			}
			ev, err := e.event(events[:n])
			if err != nil {
				return err
			}
			if err := each(ev); err != nil {
				return err
			}
			events = events[n:]
		}
	}
	if ctx.Err() != nil {
		return ctx.Err()
	}
	return errors.New("the watch ended")
}

// event makes one revision's events a commit.
func (e *etcd) event(events []*clientv3.Event) (ev commitEvent, err error) {
	for _, x := range events {
		table, name, ok, err := e.parse(x.Kv.Key)
		switch {
		case err != nil:
			return ev, unreadable{err}
		case !ok && x.Type == mvccpb.PUT:
			ev.head = headValue{x.Kv.ModRevision, bytes.Clone(x.Kv.Value)}
		case ok && x.Type == mvccpb.PUT:
			ev.pairs = append(ev.pairs, pair{table, name, x.Kv.Value})
		case ok:
			ev.pairs = append(ev.pairs, pair{table, name, nil})
		}
	}
	if ev.head.revision == 0 {
		return ev, fmt.Errorf("%w: something other than Karri changed the state", errCompacted)
	}
	return ev, nil
}

func (e *etcd) lead(ctx context.Context, name string, fn func(context.Context) error) error {
	return e.leader.lead(ctx, name, fn)
}

func (e *etcd) close() error { return e.end() }
