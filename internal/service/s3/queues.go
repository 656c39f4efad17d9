package s3

import (
	"context"
	"encoding/json"
	"slices"
	"strings"
	"time"

	"karri.dev/internal/object"
	"karri.dev/internal/store"
)

// shorten gives the oldest notes of a queue up.
func (s *Service) shorten(ctx context.Context, queue string, count int) error {
	for count > 0 {
		notes, err := s.engine.Notes(ctx, queue, min(count, noteBatch))
		if err != nil || len(notes) == 0 {
			return err
		}
		if err := s.giveUp(ctx, queue, notes); err != nil {
			return err
		}
		count -= len(notes)
	}
	return nil
}

// age gives the notes of a queue up that are too old.
func (s *Service) age(ctx context.Context, queue string) error {
	for {
		notes, err := s.engine.Notes(ctx, queue, noteBatch)
		if err != nil {
			return err
		}
		old := 0
		for old < len(notes) && s.now().Sub(noteTime(notes[old])) > maxNoteAge {
			old++
		}
		if old == 0 {
			return nil
		}
		if err := s.giveUp(ctx, queue, notes[:old]); err != nil {
			return err
		}
	}
}

func (s *Service) giveUp(ctx context.Context, queue string, notes []object.Note) error {
	done := make([]uint64, 0, len(notes))
	for _, n := range notes {
		if strings.HasPrefix(queue, copyQueue) {
			var c copyNote
			if err := json.Unmarshal(n.Body, &c); err == nil {
				if err := s.replicated(ctx, c, false); err != nil {
					return err
				}
			}
		}
		done = append(done, n.ID)
	}
	s.log.Warn("s3: a queue's oldest notes were given up", "queue", queue, "notes", len(done))
	s.outbox.mu.Lock()
	s.outbox.lost[queue] += len(done)
	s.outbox.mu.Unlock()
	return s.engine.DropNotes(ctx, queue, done...)
}

// noteTime says when a note was written.
func noteTime(n object.Note) time.Time {
	var body struct {
		Time    time.Time
		Records []struct {
			EventTime time.Time `json:"eventTime"`
		}
	}
	if err := json.Unmarshal(n.Body, &body); err != nil {
		return time.Time{}
	}
	if len(body.Records) > 0 {
		return body.Records[0].EventTime
	}
	return body.Time
}

// Queue is how a queue of events or replicas is.
type Queue struct {
	Name     string    `json:"Name"` // a topic's ARN, or "BUCKET to DESTINATION"
	Waiting  int       `json:"Waiting"`
	Oldest   time.Time `json:"Oldest,omitzero"`
	Attempts int       `json:"Attempts,omitempty"` // that failed, in a row
	Next     time.Time `json:"Next,omitzero"`
	Problem  string    `json:"Problem,omitempty"`
	GivenUp  int       `json:"GivenUp,omitempty"` // since the process was started
}

// Queues tells of all queues that hold anything, or have given something up.
func (s *Service) Queues(ctx context.Context) ([]Queue, error) {
	names, err := s.engine.NoteQueues(ctx)
	if err != nil {
		return nil, err
	}
	buckets := map[string]string{}
	for b := range store.Buckets.All(s.store.Snapshot()) {
		buckets[b.Engine] = b.Name
	}
	o := s.outbox
	o.mu.Lock()
	for name := range o.lost {
		if !slices.Contains(names, name) {
			names = append(names, name)
		}
	}
	o.mu.Unlock()
	out := []Queue{}
	for _, name := range names {
		q := Queue{Name: strings.TrimPrefix(name, hookQueue)}
		if engine, to, ok := copied(name); ok {
			q.Name = buckets[engine] + " to " + to
		}
		if q.Waiting, err = s.engine.NoteCount(ctx, name); err != nil {
			return nil, err
		}
		first, err := s.engine.Notes(ctx, name, 1)
		if err != nil {
			return nil, err
		}
		if len(first) > 0 {
			q.Oldest = noteTime(first[0])
		}
		o.mu.Lock()
		q.Attempts, q.Next, q.Problem, q.GivenUp = o.fail[name], o.next[name], o.why[name], o.lost[name]
		o.mu.Unlock()
		out = append(out, q)
	}
	return out, nil
}
