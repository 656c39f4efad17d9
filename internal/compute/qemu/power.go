package qemu

import (
	"context"
	"encoding/json"
	"errors"
	"time"

	"karri.dev/internal/qmp"
)

const (
	retryPeriod   = time.Second      // of connecting to a QEMU that does not answer
	resumePeriod  = 10 * time.Second // of continuing a guest that the host's full disk has stopped
	queryDeadline = 5 * time.Second
)

// stop implements Driver.Stop. The lock is held, but not while the guest shuts down.
func (m *machine) stop(ctx context.Context, grace time.Duration) error {
	if m.rec.Phase != running {
		return nil
	}
	p := m.proc
	if grace > 0 && m.ask(ctx, time.Time{}) == nil {
		timer := time.NewTimer(grace)
		defer timer.Stop()
		if err := m.await(ctx, timer.C, func() bool { return m.proc != p }); err != nil {
			return err
		}
	}
	if m.proc != p || p == nil { // ended meanwhile, and the watcher has noted how
		return nil
	}
	if _, err := m.connected(ctx); err != nil {
		m.d.log.Warn("machine does not answer and is killed", "machine", m.id, "err", err)
	}
	if err := m.end(false); err != nil {
		return err
	}
	m.settle(off, "stopped")
	return nil
}

// reboot implements Driver.Reboot. Power-off and reset is how a guest is restarted that only knows a power
// button: QEMU pauses when it has powered off, and the watcher resets it. The request is in the record:
// should we end meanwhile, the next driver carries it out.
func (m *machine) reboot(ctx context.Context, grace time.Duration) error {
	if m.rec.Phase != running {
		return errors.New("not running")
	}
	p := m.proc
	if grace <= 0 {
		c, err := m.connected(ctx)
		if err != nil {
			return err
		}
		return m.reset(ctx, c)
	}
	if err := m.ask(ctx, time.Now().Add(grace)); err != nil {
		return err
	}
	if err := m.await(ctx, nil, func() bool { return m.proc != p || m.rec.RebootBy.IsZero() }); err != nil {
		return err
	}
	if m.proc != p {
		return errors.New("ended while restarting: " + m.rec.Reason)
	}
	return nil
}

// ask presses the power button. rebootBy says until when that means a restart; zero = it does not.
func (m *machine) ask(ctx context.Context, rebootBy time.Time) error {
	if !m.rec.RebootBy.Equal(rebootBy) {
		m.rec.RebootBy = rebootBy
		if err := m.rec.save(m.dir); err != nil {
			return err
		}
	}
	m.guestReset.Store(false)
	m.wake()
	c, err := m.connected(ctx)
	if err != nil {
		return err
	}
	return c.Do(ctx, "system_powerdown", nil, nil)
}

// await gives up the lock until done is true, the context ends (an error) or the timer fires (none).
func (m *machine) await(ctx context.Context, timer <-chan time.Time, done func() bool) error {
	for !done() {
		changed := m.changed
		m.release()
		var err error
		fired := false
		select {
		case <-changed:
		case <-timer:
			fired = true
		case <-ctx.Done():
			err = ctx.Err()
		case <-m.d.ctx.Done():
			err = errors.New("driver is closed")
		}
		<-m.lock
		if err != nil || fired {
			return err
		}
	}
	return nil
}

// reset restarts the guest at once, in the same process.
func (m *machine) reset(ctx context.Context, c *qmp.Client) error {
	m.copyDown(ctx)
	if err := c.Do(ctx, "system_reset", nil, nil); err != nil {
		return err
	}
	if err := c.Do(ctx, "cont", nil, nil); err != nil {
		return err
	}
	if !m.rec.RebootBy.IsZero() {
		// Noted last: to restart twice is better than to take its powering off for an end.
		m.rec.RebootBy = time.Time{}
		if err := m.rec.save(m.dir); err != nil {
			m.d.log.Error("state of a machine not saved", "machine", m.id, "err", err)
		}
	}
	m.publish()
	return nil
}

func (m *machine) wake() {
	select {
	case m.poke <- struct{}{}:
	default:
	}
}

// onEvent runs in the QMP client's reader. Events only say that it is time to look.
func (m *machine) onEvent(e qmp.Event) {
	switch e.Name {
	case "RESET":
		var data struct {
			Guest bool `json:"guest"`
		}
		if json.Unmarshal(e.Data, &data) == nil && data.Guest {
			m.guestReset.Store(true)
		}
		m.resets.Add(1)
		m.wake()
	case "DEVICE_DELETED":
		m.noteUnplugged(e.Data)
	case "SHUTDOWN", "STOP", "GUEST_PANICKED", "JOB_STATUS_CHANGE":
		m.wake()
	}
}

// watch follows one process until it has ended or the driver closes.
func (m *machine) watch(p *process, e *exit) {
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		var lost <-chan struct{}
		if <-m.lock; m.proc != p { // Stop or Remove ended it
			m.release()
			return
		}
		if m.client != nil {
			lost = m.client.Done()
		}
		m.release()
		select {
		case <-m.d.ctx.Done():
			<-m.lock
			if m.proc == p && m.client != nil {
				m.client.Close()
			}
			m.release()
			return
		case <-e.done:
			<-m.lock
			if m.proc == p {
				m.died()
			}
			m.release()
			return
		case <-lost:
		case <-m.poke:
		case <-timer.C:
		}
		<-m.lock
		if m.proc == p && m.rec.Phase == running {
			timer.Reset(m.look())
		} else {
			timer.Reset(retryPeriod)
		}
		m.release()
	}
}

// died notes that the process ended without having been told to.
func (m *machine) died() {
	reason := "hypervisor process " + m.exited.how
	if said := lastErrors(m.stderr); said != "" {
		reason += ": " + said
	}
	m.detach()
	if m.rec.Phase == running {
		m.settle(failed, reason)
		m.d.notify()
	}
}

// look asks QEMU how the guest is, and does what follows from it. It says when to look again at the latest.
// It is the same whether an event has just come or we were away when it did.
func (m *machine) look() time.Duration {
	const whenever = time.Hour
	ctx, cancel := context.WithTimeout(m.d.ctx, queryDeadline)
	defer cancel()
	select {
	case <-m.exited.done: // the watcher's next turn
		return whenever
	default:
	}
	c, err := m.connected(ctx)
	if err != nil {
		return retryPeriod
	}
	var status struct {
		Status string `json:"status"`
	}
	if err := c.Do(ctx, "query-status", nil, &status); err != nil {
		return retryPeriod
	}
	if err := m.settleCopies(ctx, c); err != nil {
		m.d.log.Warn("snapshots not settled", "machine", m.id, "err", err)
		return retryPeriod
	}
	m.settleFills(ctx, c)
	switch status.Status {
	case "shutdown":
		if !m.rec.RebootBy.IsZero() {
			if err := m.reset(ctx, c); err != nil {
				m.d.log.Warn("restart failed", "machine", m.id, "err", err)
				return retryPeriod
			}
			return whenever
		}
		m.finish(off, "guest powered off")
	case "internal-error":
		m.finish(failed, "hypervisor stopped the guest: internal error (KVM could not go on)")
	case "guest-panicked":
		m.finish(failed, "guest panicked")
	case "io-error": // QEMU stops a guest when the host's disk is full
		if m.rec.Reason == "" {
			m.rec.Reason = "paused: the host's disk is full or failing"
			m.publish()
			m.d.notify()
		}
		if err := c.Do(ctx, "cont", nil, nil); err != nil {
			m.d.log.Warn("machine not continued", "machine", m.id, "err", err)
		}
		return resumePeriod
	default:
		m.rec.Reason = ""
		return m.lookRunning(ctx, c)
	}
	return whenever
}

func (m *machine) lookRunning(ctx context.Context, c *qmp.Client) time.Duration {
	const whenever = time.Hour
	defer m.publish()
	if m.rec.RebootBy.IsZero() {
		return whenever
	}
	if m.guestReset.Load() { // it restarted by itself
		m.copyDown(ctx)
		m.rec.RebootBy = time.Time{}
		if err := m.rec.save(m.dir); err != nil {
			m.d.log.Error("state of a machine not saved", "machine", m.id, "err", err)
		}
		return whenever
	}
	if left := time.Until(m.rec.RebootBy); left > 0 {
		return left
	}
	if err := m.reset(ctx, c); err != nil {
		m.d.log.Warn("reset failed", "machine", m.id, "err", err)
		return retryPeriod
	}
	return whenever
}

// finish ends the paused process of a guest that has ended.
func (m *machine) finish(p phase, reason string) {
	if err := m.end(false); err != nil {
		m.d.log.Error("process of an ended machine stays", "machine", m.id, "err", err)
		return
	}
	m.settle(p, reason)
	m.d.notify()
}
