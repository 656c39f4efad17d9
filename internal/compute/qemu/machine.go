package qemu

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"sync/atomic"
	"time"

	"karri.dev/internal/compute"
	"karri.dev/internal/qmp"
)

// machine is one machine of the driver. What is below the lock is read and written by whoever holds it;
// nobody keeps it while waiting for a guest.
type machine struct {
	d      *Driver
	id     string
	dir    string
	status atomic.Pointer[compute.Status] // as List says
	uid    int                            // under the driver's mu

	lock    chan struct{} // holds one word while free
	gone    bool
	rec     record
	proc    *process // nil = none runs
	exited  *exit    // of proc
	client  *qmp.Client
	stderr  *os.File
	changed chan struct{} // closed, and replaced, whenever something changed

	poke       chan struct{}        // wakes the watcher; holds one word
	exports    map[string]*export   // of what others serve, by socket
	unplugged  chan string          // holds the device that QEMU said last was unplugged
	fillAgain  map[string]time.Time // when to try again to fill a disk
	resets     atomic.Int32
	guestReset atomic.Bool // the guest has restarted since it was asked to
}

// exit is the end of a process: how is set when done is closed.
type exit struct {
	done chan struct{}
	how  string
}

func (d *Driver) newMachine(id string) *machine {
	m := &machine{
		d: d, id: id, dir: filepath.Join(d.cfg.Dir, id),
		exports: map[string]*export{}, fillAgain: map[string]time.Time{}, unplugged: make(chan string, 1),
		lock: make(chan struct{}, 1), changed: make(chan struct{}), poke: make(chan struct{}, 1),
	}
	m.status.Store(&compute.Status{ID: id, State: compute.Absent, Reason: "starting"})
	m.lock <- struct{}{}
	return m
}

func (m *machine) acquire(ctx context.Context) error {
	select {
	case <-m.lock:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (m *machine) release() { m.lock <- struct{}{} }

// publish makes the record's state what List says, and wakes whoever waits for a change.
func (m *machine) publish() {
	s := compute.Status{ID: m.id, Reason: m.rec.Reason, StartedAt: m.rec.StartedAt}
	switch m.rec.Phase {
	case running:
		s.State, s.PID, s.Resets = compute.Running, m.rec.Process.PID, int(m.resets.Load())
		s.Disks, s.NICs = m.rec.Machine.Disks, m.rec.Machine.NICs // replaced, never changed in place
		if unnoted := m.rec.unnoted(); unnoted != nil {
			s.Disks = append(slices.Clone(s.Disks), unnoted...)
		}
	case off:
		s.State = compute.Off
	default:
		s.State = compute.Failed
	}
	m.status.Store(&s)
	close(m.changed)
	m.changed = make(chan struct{})
}

// settle ends a run in the record: the machine is off, or failed for a reason.
func (m *machine) settle(p phase, reason string) {
	m.rec.Phase, m.rec.Reason = p, reason
	m.rec.Process, m.rec.RebootBy = identity{}, time.Time{}
	m.loseCopies()
	// Unsaved, the next driver sees a process that is gone and says failed: worse, but safe.
	if err := m.rec.save(m.dir); err != nil {
		m.d.log.Error("state of a machine not saved", "machine", m.id, "err", err)
	}
	if err := m.d.cgroups.remove(m.id); err != nil {
		m.d.log.Warn("machine left something", "machine", m.id, "err", err)
	}
	m.d.log.Info("machine ended", "machine", m.id, "phase", p, "reason", reason)
	m.publish()
}

// adopt takes over what the directory says, before anybody else knows the machine. It only looks at
// processes, but for those of a start that was interrupted: they are ended.
func (m *machine) adopt() {
	<-m.lock // its watcher begins at once
	defer m.release()
	rec, err := loadRecord(m.dir)
	if err != nil { // so that it is listed and can be removed
		m.rec = record{Phase: failed, Reason: fmt.Sprintf("record not readable: %v", err)}
		m.publish()
		return
	}
	m.rec, m.uid = rec, rec.UID
	switch rec.Phase {
	case running:
		p, err := openProcess(rec.Process)
		if err != nil {
			reason := "hypervisor process ended while nobody watched"
			if boot, err := bootID(); err == nil && boot != rec.Process.Boot {
				reason = "host restarted"
			}
			m.settle(failed, reason)
			return
		}
		m.stderr, _ = os.Open(fmt.Sprintf("/proc/%d/fd/2", p.PID))
		for _, d := range rec.Machine.Disks {
			if err := m.export(d); err != nil {
				m.d.log.Error("volume not reachable", "machine", m.id, "disk", d.Name, "err", err)
			}
		}
		m.run(p)
		m.publish()
	case starting:
		if err := m.killLaunch(); err != nil {
			m.d.log.Error("process of an interrupted start not ended", "machine", m.id, "err", err)
		}
		m.settle(failed, "start was interrupted")
	default:
		m.publish()
	}
}

// killLaunch ends a process of the machine, if there is one, that the record does not name.
func (m *machine) killLaunch() error {
	id, ok := findLaunch(m.dir)
	// One that is not hypervisor yet cannot be told from others, but it holds the socket already.
	for deadline := time.Now().Add(10 * time.Second); !ok && listening(m.dir) && time.Now().Before(deadline); id, ok = findLaunch(m.dir) {
		time.Sleep(time.Millisecond)
	}
	if !ok {
		return nil
	}
	p, err := openProcess(id)
	if errors.Is(err, os.ErrProcessDone) {
		return nil
	}
	if err != nil {
		return err
	}
	defer p.pidfd.Close()
	if err := p.kill(); err != nil {
		return err
	}
	_, err = p.wait()
	return err
}

// run begins to watch a process.
func (m *machine) run(p *process) {
	e := &exit{done: make(chan struct{})}
	m.proc, m.exited = p, e
	m.resets.Store(0)
	m.guestReset.Store(false)
	m.d.wg.Add(2)
	go func() {
		defer m.d.wg.Done()
		if how, err := p.wait(); err == nil {
			e.how = how
			close(e.done)
		}
	}()
	go func() {
		defer m.d.wg.Done()
		defer p.pidfd.Close() // lets the waiter go
		m.watch(p, e)
	}()
}

// end ends the process and takes the console's last words. The lock is held; afterwards none runs.
func (m *machine) end(kill bool) error {
	if m.proc == nil {
		return nil
	}
	if c := m.client; c != nil && !kill {
		m.awaitCopies(c)
		ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
		defer cancel()
		if err := drainConsole(ctx, c, m.dir); err != nil {
			m.d.log.Warn("end of the console lost", "machine", m.id, "err", err)
		}
		// Even when we could kill: quit writes out what the guest wrote and did not flush.
		if c.Do(ctx, "quit", nil, nil) == nil {
			select {
			case <-m.exited.done:
			case <-time.After(10 * time.Second):
			}
		}
	}
	if err := m.proc.kill(); err != nil && !errors.Is(err, os.ErrClosed) {
		return fmt.Errorf("process %d not ended: %w", m.proc.PID, err)
	}
	select {
	case <-m.exited.done:
	case <-time.After(30 * time.Second): // stuck in the kernel
		return fmt.Errorf("process %d does not end", m.proc.PID)
	}
	m.detach()
	return nil
}

// detach lets go of a process that has ended. Its watcher sees that and ends too.
func (m *machine) detach() {
	if m.client != nil {
		m.client.Close()
	}
	if m.stderr != nil {
		m.stderr.Close()
	}
	m.proc, m.exited, m.client, m.stderr = nil, nil, nil, nil
	clear(m.fillAgain)
	for name := range m.exports {
		m.unexportOne(name)
	}
}

// connected gives the client of a running machine, waiting a moment for an adopted one's.
func (m *machine) connected(ctx context.Context) (*qmp.Client, error) {
	if m.client != nil && m.client.Err() == nil {
		return m.client, nil
	}
	m.client = nil
	c, err := m.dial(ctx)
	if err != nil {
		return nil, err
	}
	m.client = c
	m.wake()
	return c, nil
}

func (m *machine) dial(ctx context.Context) (c *qmp.Client, err error) {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	err = atSocket(m.dir, func(path string) error {
		c, err = qmp.Dial(ctx, path, m.onEvent)
		return err
	})
	return c, err
}

// remove ends the machine and deletes what is left of it.
func (m *machine) remove() error {
	if err := m.end(true); err != nil {
		return err
	}
	if m.rec.Phase == starting || m.rec.Phase == failed {
		if err := m.killLaunch(); err != nil {
			return err
		}
	}
	m.loseCopies()
	if err := m.d.cgroups.remove(m.id); err != nil {
		return err
	}
	if err := os.RemoveAll(m.dir); err != nil {
		return err
	}
	m.rec = record{}
	m.publish()
	return nil
}
