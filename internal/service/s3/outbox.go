package s3

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"time"

	"karri.dev/internal/object"
	"karri.dev/internal/resource"
	"karri.dev/internal/store"
)

// The engine keeps notes of what remains to be done. Each queue is worked off by one goroutine, in order; a queue that
// cannot go on waits, ever longer, and holds up no other. A note is dropped when it is done, so what a kill interrupts
// is done again. Nobody is waited for for ever: what is older than a day, or more than a queue may hold, is given up, the
// oldest first.

const (
	shortWait = time.Second
	longWait  = 5 * time.Minute
	noteBatch = 100
	hookTime  = 10 * time.Second // for one delivery

	maxNotes   = 100_000 // of a queue
	maxNoteAge = 24 * time.Hour
)

// outbox is the state of the queues.
type outbox struct {
	poke chan struct{}
	mu   sync.Mutex
	busy map[string]bool
	most int                  // notes that a queue may hold
	fail map[string]int       // attempts in a row
	next map[string]time.Time // no earlier
	why  map[string]string    // the last attempt's error
	lost map[string]int       // notes that were given up since the start
}

func newOutbox() *outbox {
	return &outbox{
		poke: make(chan struct{}, 1), most: maxNotes, busy: map[string]bool{}, fail: map[string]int{}, next: map[string]time.Time{},
		why: map[string]string{}, lost: map[string]int{},
	}
}

// noted says that there are new notes.
func (s *Service) noted() {
	select {
	case s.outbox.poke <- struct{}{}:
	default:
	}
}

// begin says whether a queue may be worked on now, or, if it holds too much, whether it may be shortened; who is told so
// calls end.
func (o *outbox) begin(queue string, held, most int, now time.Time) (work, shorten bool) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.busy[queue] {
		return false, false
	}
	work, shorten = !now.Before(o.next[queue]), held > most
	o.busy[queue] = work || shorten
	return work, shorten
}

func (o *outbox) end(queue string, now time.Time, progress bool, err error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	delete(o.busy, queue)
	if err == nil {
		delete(o.fail, queue)
		delete(o.next, queue)
		delete(o.why, queue)
		return
	}
	if progress {
		o.fail[queue] = 0
	}
	wait := min(shortWait<<min(o.fail[queue], 16), longWait)
	o.fail[queue]++
	o.next[queue], o.why[queue] = now.Add(wait), err.Error()
}

// pause ends work that has not tried anything.
func (o *outbox) pause(queue string) {
	o.mu.Lock()
	defer o.mu.Unlock()
	delete(o.busy, queue)
}

// RunOutbox works queues off until ctx ends.
func (s *Service) RunOutbox(ctx context.Context) error {
	var wg sync.WaitGroup
	defer wg.Wait()
	again := time.NewTicker(shortWait)
	defer again.Stop()
	allowed := &allowance{store: s.store, most: s.outbox.most}
	for {
		queues, err := s.engine.NoteQueues(ctx)
		if err != nil && ctx.Err() == nil {
			s.log.Error("s3: look for notes", "err", err)
		}
		mostOf := allowed.of(queues)
		for _, queue := range queues {
			most := mostOf(queue)
			held, err := s.engine.NoteCount(ctx, queue)
			if err != nil {
				continue // closing
			}
			work, shorten := s.outbox.begin(queue, held, most, s.now())
			if !work && !shorten {
				continue
			}
			wg.Go(func() {
				var err error
				if shorten {
					err = s.shorten(ctx, queue, held-most)
				}
				if !work {
					s.outbox.pause(queue)
					return
				}
				progress := false
				if err == nil {
					progress, err = s.workOff(ctx, queue)
				}
				if err != nil && ctx.Err() == nil {
					s.log.Warn("s3: a queue waits", "queue", queue, "err", err)
				}
				s.outbox.end(queue, s.now(), progress, err)
			})
		}
		select {
		case <-s.outbox.poke:
		case <-again.C:
		case <-ctx.Done():
			return nil
		}
	}
}

// workOff does what a queue asks for until it is empty or something fails, and says whether anything was done.
func (s *Service) workOff(ctx context.Context, queue string) (progress bool, err error) {
	for {
		notes, err := s.engine.Notes(ctx, queue, noteBatch)
		if err != nil || len(notes) == 0 {
			return progress, err
		}
		var done []uint64
		for _, n := range notes {
			if err = s.carryOut(ctx, n); err != nil {
				break
			}
			done = append(done, n.ID)
		}
		if len(done) > 0 {
			progress = true
			err = errors.Join(err, s.engine.DropNotes(ctx, queue, done...))
		}
		if err != nil {
			return progress, errors.Join(err, s.age(ctx, queue))
		}
	}
}

// carryOut does what one note asks for.
func (s *Service) carryOut(ctx context.Context, n object.Note) error {
	if arn, ok := strings.CutPrefix(n.Queue, hookQueue); ok {
		hook := store.Webhooks.Get(s.store.Snapshot(), arn)
		if hook == nil { // taken away: nobody is to be told any more
			return nil
		}
		return s.tell(ctx, hook, n.Body)
	}
	if strings.HasPrefix(n.Queue, copyQueue) {
		return s.replicate(ctx, n.Body)
	}
	s.log.Error("s3: a note that nobody knows", "queue", n.Queue)
	return nil
}

// tell posts an event to a webhook. Its URL is the administrator's; where it redirects to nobody has chosen, so that is
// not followed.
func (s *Service) tell(ctx context.Context, hook *resource.Webhook, body []byte) error {
	ctx, cancel := context.WithTimeout(ctx, hookTime)
	defer cancel()
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, hook.URL, bytes.NewReader(body))
	if err != nil {
		return fmt.Errorf("webhook %s: %w", hook.ARN, err)
	}
	r.Header.Set("Content-Type", "application/json")
	r.Header.Set("User-Agent", "karri")
	if hook.Sealed != nil {
		token, err := s.sealer.Open(hook.Sealed, hook.ARN)
		if err != nil {
			return fmt.Errorf("token of webhook %s: %w", hook.ARN, err)
		}
		r.Header.Set("Authorization", "Bearer "+string(token))
	}
	answer, err := s.http.Do(r)
	if err != nil {
		return fmt.Errorf("webhook %s: %w", hook.ARN, err)
	}
	defer answer.Body.Close()
	_, _ = io.CopyN(io.Discard, answer.Body, 64<<10) // so that the connection can be used again
	if answer.StatusCode/100 != 2 {
		return fmt.Errorf("webhook %s answers %s", hook.ARN, answer.Status)
	}
	return nil
}
