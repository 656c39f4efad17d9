// Package fake is a compute driver that only pretends: for clouds of a thousand nodes in one test process.
// It has no goroutines; what takes time waits on the injected clock, and faults come from a seed.
package fake

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path"
	"slices"
	"strings"
	"sync"
	"time"

	"karri.dev/internal/compute"
)

var _ compute.Driver = (*Driver)(nil)

// Clock is how time passes.
type Clock interface {
	Now() time.Time
	After(d time.Duration) <-chan time.Time
}

type wallClock struct{}

func (wallClock) Now() time.Time                         { return time.Now() }
func (wallClock) After(d time.Duration) <-chan time.Time { return time.After(d) }

// Config says how a host behaves. The zero Config does everything at once and never fails.
type Config struct {
	Seed          uint64
	Clock         Clock         // default: the wall's; inside testing/synctest that is the bubble's
	StartLatency  time.Duration // each start takes up to twice that
	GuestLatency  time.Duration // a guest's answer to its power button, likewise
	StartFailures float64       // share of starts that fail
}

// Host is what outlives drivers: the machines.
type Host struct {
	cfg Config

	mu       sync.Mutex
	rand     *rand.Rand
	machines map[string]*machine
	lastPID  int
	driver   *Driver // the one that is open
}

type machine struct {
	spec    compute.Machine
	status  compute.Status
	console []byte
	deaf    bool
	changed chan struct{} // closed, and replaced, at each change
}

// NewHost makes an empty host.
func NewHost(cfg Config) *Host {
	if cfg.Clock == nil {
		cfg.Clock = wallClock{}
	}
	return &Host{cfg: cfg, rand: rand.New(rand.NewPCG(cfg.Seed, 1)), machines: map[string]*machine{}}
}

// Driver implements compute.Driver on a host.
type Driver struct {
	host   *Host
	events chan struct{}
}

// Open gives a driver, which adopts the host's machines. An earlier one gets no more events.
func (h *Host) Open() *Driver {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.driver = &Driver{host: h, events: make(chan struct{}, 1)}
	return h.driver
}

// delay waits about d on the clock.
func (h *Host) delay(ctx context.Context, d time.Duration) error {
	if d <= 0 {
		return ctx.Err()
	}
	h.mu.Lock()
	d = time.Duration(h.rand.Int64N(int64(2 * d)))
	h.mu.Unlock()
	select {
	case <-h.cfg.Clock.After(d):
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// change tells everybody about a machine's change. mu is held.
func (h *Host) change(m *machine, byItself bool) {
	close(m.changed)
	m.changed = make(chan struct{})
	if byItself && h.driver != nil {
		select {
		case h.driver.events <- struct{}{}:
		default:
		}
	}
}

func (h *Host) end(m *machine, state compute.State, reason string, byItself bool) {
	m.status.State, m.status.Reason, m.status.PID, m.status.Disks = state, reason, 0, nil
	h.change(m, byItself)
}

// act does something to a running machine; false if it does not run.
func (h *Host) act(id string, do func(*machine)) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	m := h.machines[id]
	if m == nil || m.status.State != compute.Running {
		return false
	}
	do(m)
	return true
}

// PowerOff is the guest powering itself off. These five say whether the machine was running.
func (h *Host) PowerOff(id string) bool {
	return h.act(id, func(m *machine) { h.end(m, compute.Off, "guest powered off", true) })
}

// Crash is the hypervisor's sudden death.
func (h *Host) Crash(id string) bool {
	return h.act(id, func(m *machine) { h.end(m, compute.Failed, "hypervisor process was killed", true) })
}

// Restart is the guest restarting itself.
func (h *Host) Restart(id string) bool {
	return h.act(id, func(m *machine) { m.status.Resets++; h.change(m, false) })
}

// Deafen makes the guest ignore its power button.
func (h *Host) Deafen(id string) bool { return h.act(id, func(m *machine) { m.deaf = true }) }

// Say makes the guest write to its console.
func (h *Host) Say(id, text string) bool {
	return h.act(id, func(m *machine) { m.say(text) })
}

// say keeps the last 64 KiB.
func (m *machine) say(text string) {
	m.console = append(m.console, text...)
	m.console = m.console[max(0, len(m.console)-64<<10):]
}

// Start implements compute.Driver.
func (d *Driver) Start(ctx context.Context, spec compute.Machine, taps []*os.File) error {
	switch {
	case spec.ID == "" || path.Base(spec.ID) != spec.ID || spec.ID == "..":
		return fmt.Errorf("start: machine id %q is not valid", spec.ID)
	case len(spec.UUID) != 36 || spec.VCPUs < 1 || spec.MemoryMiB < 16:
		return fmt.Errorf("start %s: machine is not possible", spec.ID)
	case taps != nil && len(taps) != len(spec.NICs) || taps == nil && len(spec.NICs) > 0:
		return fmt.Errorf("start %s: %d taps for %d network cards", spec.ID, len(taps), len(spec.NICs))
	}
	h := d.host
	if h.act(spec.ID, func(*machine) {}) {
		return nil
	}
	if err := h.delay(ctx, h.cfg.StartLatency); err != nil {
		return fmt.Errorf("start %s: %w", spec.ID, err)
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	m := h.machines[spec.ID]
	if m != nil && m.status.State == compute.Running { // meanwhile
		return nil
	}
	if h.rand.Float64() < h.cfg.StartFailures {
		if m != nil {
			h.end(m, compute.Failed, "start failed by the seed", false)
		}
		return fmt.Errorf("start %s: failed by the seed", spec.ID)
	}
	if m == nil {
		m = &machine{changed: make(chan struct{})}
		h.machines[spec.ID] = m
	}
	h.lastPID++
	spec.Disks = slices.Clone(spec.Disks)
	for i := range spec.Disks {
		spec.Disks[i].BaseExport = "" // without bytes it is filled at once
	}
	m.spec, m.deaf = spec, false
	m.status = compute.Status{ID: spec.ID, State: compute.Running, StartedAt: h.cfg.Clock.Now().UTC(), PID: h.lastPID, Disks: spec.Disks, NICs: spec.NICs}
	m.say("KARRI-UP\n")
	h.change(m, false)
	return nil
}

// press presses the power button and waits until the guest has answered, at most for grace.
func (d *Driver) press(ctx context.Context, id string, grace time.Duration) (*machine, error) {
	h := d.host
	h.mu.Lock()
	m := h.machines[id]
	h.mu.Unlock()
	if m == nil {
		return nil, compute.ErrNotFound
	}
	h.mu.Lock()
	changed, deaf, pid := m.changed, m.deaf, m.status.PID
	answer := time.Duration(0)
	if h.cfg.GuestLatency > 0 {
		answer = time.Duration(h.rand.Int64N(int64(2 * h.cfg.GuestLatency)))
	}
	h.mu.Unlock()
	if deaf || answer > grace {
		answer = grace
	}
	var waited <-chan time.Time
	if answer > 0 {
		waited = h.cfg.Clock.After(answer)
	}
	for answer > 0 {
		select {
		case <-waited:
			return m, nil
		case <-ctx.Done():
			return nil, ctx.Err()
		case <-changed:
		}
		h.mu.Lock()
		over := m.status.PID != pid
		changed = m.changed
		h.mu.Unlock()
		if over {
			break
		}
	}
	return m, nil
}

// Stop implements compute.Driver.
func (d *Driver) Stop(ctx context.Context, id string, grace time.Duration) error {
	m, err := d.press(ctx, id, grace)
	if errors.Is(err, compute.ErrNotFound) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("stop %s: %w", id, err)
	}
	d.host.mu.Lock()
	defer d.host.mu.Unlock()
	if m.status.State == compute.Running {
		d.host.end(m, compute.Off, "stopped", false)
	}
	return nil
}

// Reboot implements compute.Driver.
func (d *Driver) Reboot(ctx context.Context, id string, grace time.Duration) error {
	m, err := d.press(ctx, id, grace)
	if err == nil {
		d.host.mu.Lock()
		defer d.host.mu.Unlock()
		if m.status.State != compute.Running {
			err = errors.New("not running")
		} else {
			m.status.Resets++
			m.say("KARRI-UP\n")
			d.host.change(m, false)
		}
	}
	if err != nil {
		return fmt.Errorf("reboot %s: %w", id, err)
	}
	return nil
}

// SetDisk implements compute.Driver.
func (d *Driver) SetDisk(_ context.Context, id string, disk compute.Disk) error {
	return d.devices(id, func(m *machine) error {
		disks := slices.Clone(m.status.Disks)
		i := slices.IndexFunc(disks, func(have compute.Disk) bool { return have.Name == disk.Name })
		disk.BaseExport = "" // without bytes it is filled at once
		if i < 0 {
			disks = append(disks, disk)
		} else {
			disks[i].SizeBytes, disks[i].Limits = max(disks[i].SizeBytes, disk.SizeBytes), disk.Limits
		}
		m.status.Disks = disks
		return nil
	})
}

// DropDisk implements compute.Driver. A deaf guest never lets go of a disk.
func (d *Driver) DropDisk(_ context.Context, id, name string, _ bool) error {
	return d.devices(id, func(m *machine) error {
		return letGo(m, &m.status.Disks, func(have compute.Disk) bool { return have.Name == name })
	})
}

// letGo takes a device out of a machine's list, if it is there.
func letGo[T any](m *machine, list *[]T, is func(T) bool) error {
	i := slices.IndexFunc(*list, is)
	switch {
	case i < 0:
		return nil
	case m.deaf:
		return compute.ErrHeld
	}
	*list = slices.Delete(slices.Clone(*list), i, i+1)
	return nil
}

// SetNIC implements compute.Driver.
func (d *Driver) SetNIC(_ context.Context, id string, n compute.NIC, _ *os.File) error {
	return d.devices(id, func(m *machine) error {
		if !slices.ContainsFunc(m.status.NICs, func(have compute.NIC) bool { return have.ID == n.ID }) {
			m.status.NICs = append(slices.Clone(m.status.NICs), n)
		}
		return nil
	})
}

// DropNIC implements compute.Driver. A deaf guest never lets go of a card.
func (d *Driver) DropNIC(_ context.Context, id, nic string) error {
	return d.devices(id, func(m *machine) error {
		return letGo(m, &m.status.NICs, func(have compute.NIC) bool { return have.ID == nic })
	})
}

// Snapshot implements compute.Driver: the copies of disks without bytes are whole at once, and nowhere.
func (d *Driver) Snapshot(_ context.Context, id string, copies []compute.Copy, _ time.Duration) error {
	return d.devices(id, func(m *machine) error {
		for _, c := range copies {
			if !slices.ContainsFunc(m.status.Disks, func(have compute.Disk) bool { return have.Name == c.Disk }) {
				return fmt.Errorf("snapshot of %s: no disk %q", id, c.Disk)
			}
		}
		return nil
	})
}

func (d *Driver) devices(id string, do func(*machine) error) error {
	d.host.mu.Lock()
	defer d.host.mu.Unlock()
	m := d.host.machines[id]
	switch {
	case m == nil:
		return fmt.Errorf("devices of %s: %w", id, compute.ErrNotFound)
	case m.status.State != compute.Running:
		return fmt.Errorf("devices of %s: not running", id)
	}
	return do(m)
}

// Remove implements compute.Driver.
func (d *Driver) Remove(_ context.Context, id string) error {
	h := d.host
	h.mu.Lock()
	defer h.mu.Unlock()
	if m := h.machines[id]; m != nil {
		h.end(m, compute.Absent, "removed", false)
		delete(h.machines, id)
	}
	return nil
}

// List implements compute.Driver.
func (d *Driver) List(context.Context) ([]compute.Status, error) {
	h := d.host
	h.mu.Lock()
	defer h.mu.Unlock()
	list := make([]compute.Status, 0, len(h.machines))
	for _, m := range h.machines {
		list = append(list, m.status)
	}
	slices.SortFunc(list, func(a, b compute.Status) int { return strings.Compare(a.ID, b.ID) })
	return list, nil
}

// Screen implements compute.Driver: the machines here have no display.
func (d *Driver) Screen(_ context.Context, id string) ([]byte, error) {
	return nil, fmt.Errorf("screen of %s: %w", id, compute.ErrNoScreen)
}

// Console implements compute.Driver.
func (d *Driver) Console(_ context.Context, id string, limit int) ([]byte, error) {
	h := d.host
	h.mu.Lock()
	defer h.mu.Unlock()
	m := h.machines[id]
	if m == nil {
		return nil, fmt.Errorf("console of %s: %w", id, compute.ErrNotFound)
	}
	return slices.Clone(m.console[max(0, len(m.console)-max(0, limit)):]), nil
}

// Events implements compute.Driver.
func (d *Driver) Events() <-chan struct{} { return d.events }

// Accel implements compute.Driver.
func (d *Driver) Accel() compute.Accel {
	return compute.Accel{Name: "fake", Reason: "machines are simulated"}
}

// Close implements compute.Driver.
func (d *Driver) Close() error {
	d.host.mu.Lock()
	defer d.host.mu.Unlock()
	if d.host.driver == d {
		d.host.driver = nil
	}
	return nil
}
