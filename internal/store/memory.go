package store

import (
	"context"
	"log/slog"
	"sync"
)

// OpenMemory gives an empty store that lives in memory: for tests and simulation.
func OpenMemory(log *slog.Logger) *Store {
	s, err := open(context.Background(), log, newMemory())
	if err != nil {
		panic(err) // an empty memory engine cannot fail
	}
	return s
}

// memory is an engine without durability. Several stores may share one.
type memory struct {
	mu      sync.Mutex
	head    headValue
	pairs   map[feedKey][]byte
	log     []commitEvent // the last ones, for followers
	changed chan struct{}
	alone   // every process is the leader, one at a time
}

// memoryLog is how many commits a follower may be behind.
const memoryLog = 1024

func newMemory() *memory {
	return &memory{pairs: make(map[feedKey][]byte), changed: make(chan struct{})}
}

func (m *memory) load(_ context.Context, each func(pair) error) (headValue, int64, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for k, v := range m.pairs {
		if err := each(pair{k.table, k.key, v}); err != nil {
			return headValue{}, 0, err
		}
	}
	return m.head, m.head.revision, nil
}

func (m *memory) commit(_ context.Context, guard int64, value []byte, pairs []pair) (headValue, bool, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if guard != m.head.revision {
		return m.head, false, nil
	}
	for _, p := range pairs {
		k := feedKey{p.table, p.key}
		if p.value == nil {
			delete(m.pairs, k)
		} else {
			m.pairs[k] = p.value
		}
	}
	m.head = headValue{guard + 1, value}
	if len(m.log) >= 2*memoryLog {
		m.log = append([]commitEvent(nil), m.log[memoryLog:]...)
	}
	m.log = append(m.log, commitEvent{m.head, pairs})
	close(m.changed)
	m.changed = make(chan struct{})
	return m.head, true, nil
}

func (m *memory) current(context.Context) (int64, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.head.revision, nil
}

func (m *memory) follow(ctx context.Context, revision int64, each func(commitEvent) error) error {
	for {
		m.mu.Lock()
		if revision+int64(len(m.log)) < m.head.revision {
			m.mu.Unlock()
			return errCompacted
		}
		events := m.log[len(m.log)-int(m.head.revision-revision):]
		changed := m.changed
		m.mu.Unlock()
		for _, ev := range events {
			if err := each(ev); err != nil {
				return err
			}
			revision = ev.head.revision
		}
		if len(events) > 0 {
			continue
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

func (m *memory) close() error { return nil }
