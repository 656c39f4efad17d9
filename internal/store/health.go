package store

import (
	"context"
	"fmt"
	"time"
)

const (
	probePeriod = 2 * time.Second
	lagAllowed  = 10 * time.Second
)

// probe asks the engine now and then whether it is there, and whether the mirror keeps up with it.
func (s *Store) probe() {
	for s.closing.Err() == nil {
		s.report(s.check())
		pause(s.closing, probePeriod)
	}
}

func (s *Store) check() error {
	ctx, cancel := context.WithTimeout(s.closing, lagAllowed)
	defer cancel()
	revision, err := s.engine.current(ctx)
	if s.closing.Err() != nil {
		return nil
	}
	if err != nil {
		return fmt.Errorf("read the head: %w", err)
	}
	if err := s.reach(ctx, revision); err != nil && s.closing.Err() == nil {
		return fmt.Errorf("this process is behind: at revision %d of %d", s.Snapshot().Revision, revision)
	}
	return nil
}
