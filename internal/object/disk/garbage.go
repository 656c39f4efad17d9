package disk

import (
	"errors"
	"fmt"
	"sync"
	"time"
)

// garbage knows which files nobody may remove yet, and which are to be removed.
type garbage struct {
	// order is held while a commit becomes visible and its garbage known, and while the collector judges a
	// file: so it never sees the one without the other.
	order sync.Mutex

	mu     sync.Mutex
	busy   map[uint64]bool      // files being written; true once the index has taken the file over
	pins   map[uint64]int       // contents being read, by content id
	doomed map[uint64][]content // pinned contents that nothing names any more, with their files
	queue  []content            // files to unlink
	wake   chan struct{}
}

func newGarbage() *garbage {
	return &garbage{
		busy: map[uint64]bool{}, pins: map[uint64]int{}, doomed: map[uint64][]content{}, wake: make(chan struct{}, 1),
	}
}

// doomed is a content that nothing names any more.
type doomed struct {
	id    uint64
	files []content
}

// begin says that a file is about to be made.
func (g *garbage) begin(id uint64) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.busy[id] = false
}

// adopt says that a durable commit names the file now.
func (g *garbage) adopt(id uint64) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.busy[id] = true
}

// end says that its writer is done with a file; it is unlinked unless it was adopted.
func (g *garbage) end(c content) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if !g.busy[c.id] {
		g.unlink(c)
	}
	delete(g.busy, c.id)
}

// pin keeps a content's files until unpin.
func (g *garbage) pin(id uint64) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.pins[id]++
}

func (g *garbage) unpin(id uint64) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.pins[id]--; g.pins[id] > 0 {
		return
	}
	delete(g.pins, id)
	if files, ok := g.doomed[id]; ok {
		delete(g.doomed, id)
		g.unlink(files...)
	}
}

// add takes contents that a durable commit has ceased to name. They go now or with their last reader.
func (g *garbage) add(contents []doomed) {
	if len(contents) == 0 {
		return
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	for _, c := range contents {
		if g.pins[c.id] > 0 {
			g.doomed[c.id] = c.files
		} else {
			g.unlink(c.files...)
		}
	}
}

// unlink queues files; g.mu is held.
func (g *garbage) unlink(files ...content) {
	g.queue = append(g.queue, files...)
	select {
	case g.wake <- struct{}{}:
	default:
	}
}

func (g *garbage) take() []content {
	g.mu.Lock()
	defer g.mu.Unlock()
	q := g.queue
	g.queue = nil
	return q
}

// inUse says whether a file that the index does not name must stay all the same.
func (g *garbage) inUse(id uint64) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	if _, ok := g.busy[id]; ok {
		return true
	}
	if g.pins[id] > 0 {
		return true
	}
	for _, files := range g.doomed {
		for _, f := range files {
			if f.id == id {
				return true
			}
		}
	}
	return false
}

// sweepLoop unlinks what is queued: unlinking a large file takes long, so nobody waits for it.
func (e *Engine) sweepLoop() {
	for {
		for _, c := range e.garbage.take() {
			if files, err := e.place(c.disk); err == nil { // else the collector will find it
				e.unlinkFile(files, c.id)
			}
		}
		select {
		case <-e.garbage.wake:
		case <-e.closing.Done():
			return // the collector finds the rest after the next start
		}
	}
}

func (e *Engine) unlinkFile(files Files, id uint64) {
	if err := files.Remove(e.closing, id); err != nil {
		e.log.Warn("object engine: cannot remove a data file; the collector will try again", "file", fmt.Sprintf("%x", id), "err", err)
	}
}

// collectLoop removes what a crash has left, and what could not be removed.
func (e *Engine) collectLoop() {
	tick := time.NewTicker(e.cfg.CollectEvery)
	defer tick.Stop()
	for {
		if n, err := e.collect(); err != nil {
			e.log.Error("object engine: collect garbage", "err", err)
		} else if n > 0 {
			e.log.Info("object engine: removed files that nothing names", "files", n)
		}
		select {
		case <-tick.C:
		case <-e.closing.Done():
			return
		}
	}
}

// collect removes every file that neither the index names nor anybody uses. One place that fails does not keep it from
// the others.
func (e *Engine) collect() (removed int, err error) {
	for _, p := range e.places {
		files, ferr := p.files()
		if ferr != nil {
			continue // its turn comes when it is back
		}
		ferr = files.Each(e.closing, func(id uint64) error {
			if e.closing.Err() != nil {
				return errClosed
			}
			gone, err := e.collectFile(files, id)
			if err != nil {
				return fmt.Errorf("file %x: %w", id, err)
			}
			if gone {
				removed++
			}
			return nil
		})
		if ferr != nil && e.closing.Err() == nil {
			err = errors.Join(err, ferr)
		}
	}
	return removed, err
}

func (e *Engine) collectFile(files Files, id uint64) (bool, error) {
	garbage, err := e.isGarbage(id)
	if garbage {
		e.unlinkFile(files, id) // a number is never used again, so nobody can take the file over meanwhile
	}
	return garbage, err
}

func (e *Engine) isGarbage(id uint64) (bool, error) {
	e.garbage.order.Lock()
	defer e.garbage.order.Unlock()
	v := e.current.acquire()
	named, err := v.has(fileKey(id))
	err = errors.Join(err, e.current.release(v))
	return err == nil && !named && !e.garbage.inUse(id), err
}
