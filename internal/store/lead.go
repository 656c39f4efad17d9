package store

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"sync"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
	"go.etcd.io/etcd/client/v3/concurrency"
)

// Lead waits until this process is the leader of name, then runs fn; its context ends when leadership is lost.
// When fn returns nil or its own error, Lead gives that. When leadership was lost, Lead waits for it again.
// It ends with ctx. A leader that was cut off may go on for a moment beside the next one: what it does
// must be safe then, as transactions are.
func (s *Store) Lead(ctx context.Context, name string, fn func(ctx context.Context) error) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	defer context.AfterFunc(s.closing, cancel)()
	return s.engine.lead(ctx, name, fn)
}

// leadership is a way to agree on leaders.
type leadership interface {
	lead(ctx context.Context, name string, fn func(context.Context) error) error
}

// alone is leadership in one process: one holder a name.
type alone struct {
	mu     sync.Mutex
	tokens map[string]chan struct{} // each holds a token while nobody leads
}

func (a *alone) lead(ctx context.Context, name string, fn func(context.Context) error) error {
	a.mu.Lock()
	token, ok := a.tokens[name]
	if !ok {
		if a.tokens == nil {
			a.tokens = make(map[string]chan struct{})
		}
		token = make(chan struct{}, 1)
		token <- struct{}{}
		a.tokens[name] = token
	}
	a.mu.Unlock()
	select {
	case <-token:
	case <-ctx.Done():
		return ctx.Err()
	}
	defer func() { token <- struct{}{} }()
	return fn(ctx)
}

// election is leadership among processes, by etcd leases.
type election struct {
	log    *slog.Logger
	client *clientv3.Client
	prefix string
}

// leaseSeconds is how long a dead leader holds on.
const leaseSeconds = 5

var errLost = errors.New("leadership was lost")

func (e *election) lead(ctx context.Context, name string, fn func(context.Context) error) error {
	for {
		err := e.term(ctx, name, fn)
		switch {
		case ctx.Err() != nil:
			return ctx.Err()
		case !errors.Is(err, errLost):
			return err
		}
		e.log.Warn("no leader here", "name", name, "err", err)
		pause(ctx, time.Second/2+rand.N(time.Second/2))
	}
}

// term is one candidacy, and the leadership that may come of it. Errors of the election wrap errLost.
func (e *election) term(ctx context.Context, name string, fn func(context.Context) error) error {
	grant, err := e.client.Grant(ctx, leaseSeconds)
	if err != nil {
		return fmt.Errorf("%w: %w", errLost, err)
	}
	session, err := concurrency.NewSession(e.client, concurrency.WithLease(grant.ID), concurrency.WithContext(ctx))
	if err != nil {
		return fmt.Errorf("%w: %w", errLost, err)
	}
	// Give the lease back at once, also when ctx has ended.
	defer func() {
		session.Orphan()
		late, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Second)
		defer cancel()
		e.client.Revoke(late, grant.ID) //nolint:errcheck // it runs out by itself
	}()
	election := concurrency.NewElection(session, e.prefix+"lead/"+name)
	campaign, stop := context.WithCancel(ctx)
	defer stop()
	defer afterDone(session.Done(), stop)()
	if err := election.Campaign(campaign, ""); err != nil {
		return fmt.Errorf("%w: %w", errLost, err)
	}
	term, end := context.WithCancelCause(ctx)
	defer end(nil)
	defer afterDone(session.Done(), func() { end(errLost) })()
	if err := fn(term); context.Cause(term) != errLost {
		return err
	}
	return errLost
}

// afterDone runs f once done is closed, unless release comes first.
func afterDone(done <-chan struct{}, f func()) (release func()) {
	released := make(chan struct{})
	var running sync.WaitGroup
	running.Go(func() {
		select {
		case <-done:
			f()
		case <-released:
		}
	})
	return func() { close(released); running.Wait() }
}
