// Package qemu runs machines as QEMU processes of this host: each its own process, user, session, network
// namespace and control group, driven over a QMP socket. A machine's directory holds all that is kept of it;
// its QEMU gets open files and needs no right to any path. Processes outlive the driver, and the next
// driver over the same directory adopts them.
package qemu

import (
	"context"
	"crypto/sha256"
	"fmt"
	"log/slog"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"

	"karri.dev/internal/compute"
	"karri.dev/internal/durable"
)

var _ compute.Driver = (*Driver)(nil)

// Config says where and how machines run. Only Dir is required.
type Config struct {
	Dir string // one directory a machine in it; made if missing
	// Accel is what kvmprobe found; empty = TCG.
	Accel    compute.Accel
	Binary   string // default qemu-system-x86_64
	Firmware string // UEFI code, default Debian's OVMF; its variables are beside it
	// UIDBase and up are the users of machines, one each, when we run as root. The default range is one
	// that neither distributions nor systemd give to anything.
	UIDBase int
	// TranslationMiB is the size of TCG's code buffer for each machine, default 32. (QEMU's own default lets it grow
	// to 1 GiB.)
	TranslationMiB int
	// Dial reaches a volume that another host serves, by its Export; nil = there are none.
	Dial func(ctx context.Context, export string) (net.Conn, error)
}

// Driver implements compute.Driver.
type Driver struct {
	cfg     Config
	log     *slog.Logger
	host    host
	root    bool
	groups  []int // supplementary, for /dev/kvm
	cgroups cgroups
	lock    *os.File // held while the driver lives: one driver a directory

	ctx    context.Context // ends the watchers
	cancel context.CancelFunc
	wg     sync.WaitGroup
	events chan struct{}

	mu       sync.Mutex
	machines map[string]*machine
}

// New takes over the directory and adopts the machines in it. It does not wait for them.
func New(cfg Config, log *slog.Logger) (*Driver, error) {
	if cfg.Binary == "" {
		cfg.Binary = "qemu-system-x86_64"
	}
	if cfg.Firmware == "" {
		cfg.Firmware = "/usr/share/OVMF/OVMF_CODE_4M.fd"
	}
	if cfg.UIDBase == 0 {
		cfg.UIDBase = 0x70000000
	}
	if cfg.TranslationMiB == 0 {
		cfg.TranslationMiB = 32
	}
	if cfg.Accel.Name == "" {
		cfg.Accel = compute.Accel{Name: "tcg", Reason: "by configuration"}
	}
	binary, err := exec.LookPath(cfg.Binary)
	if err != nil {
		return nil, fmt.Errorf("compute: %w", err)
	}
	if cfg.Binary, err = filepath.Abs(binary); err != nil {
		return nil, fmt.Errorf("compute: %w", err)
	}
	if cfg.Dir, err = filepath.Abs(cfg.Dir); err != nil {
		return nil, fmt.Errorf("compute: %w", err)
	}
	d := &Driver{
		cfg: cfg, log: log, root: os.Geteuid() == 0,
		events: make(chan struct{}, 1), machines: map[string]*machine{},
	}
	if cfg.Accel.Name == "kvm" {
		if d.groups, err = kvmGroups(d.root); err != nil {
			d.cfg.Accel = compute.Accel{Name: "tcg", Reason: "KVM works, but " + err.Error()}
		}
	}
	d.host = host{accel: d.cfg.Accel.Name, translationMiB: cfg.TranslationMiB, firmware: cfg.Firmware}
	if err := os.MkdirAll(cfg.Dir, 0o700); err != nil {
		return nil, fmt.Errorf("compute: %w", err)
	}
	if d.lock, err = durable.Lock(filepath.Join(cfg.Dir, ".lock"), durable.Handover); err != nil {
		return nil, fmt.Errorf("compute: %w", err)
	}
	if d.root {
		self, _ := os.ReadFile("/proc/self/cgroup")
		mounts, _ := os.ReadFile("/proc/self/mounts")
		d.cgroups = findCgroups(string(self), string(mounts), fmt.Sprintf("karri-%x", sha256.Sum256([]byte(cfg.Dir)))[:22], runtime.NumCPU())
	}
	log.Info("compute engine", "accel", d.cfg.Accel.Name, "reason", d.cfg.Accel.Reason, "own_users", d.root, "cgroups", len(d.cgroups.parents))
	d.ctx, d.cancel = context.WithCancel(context.Background())
	if err := d.adopt(); err != nil {
		d.Close()
		return nil, fmt.Errorf("compute: %w", err)
	}
	return d, nil
}

// kvmGroups gives the group through which an unprivileged process may open /dev/kvm, none if all may.
func kvmGroups(root bool) ([]int, error) {
	fi, err := os.Stat("/dev/kvm")
	if err != nil {
		return nil, err
	}
	st, ok := fi.Sys().(*syscall.Stat_t)
	switch {
	case !root || fi.Mode()&0o006 == 0o006:
		return nil, nil
	case ok && fi.Mode()&0o060 == 0o060 && st.Gid != 0:
		return []int{int(st.Gid)}, nil
	default:
		return nil, fmt.Errorf("/dev/kvm (mode %04o, group %d) is open to root only and machines do not run as root: chgrp kvm /dev/kvm && chmod 660 /dev/kvm", fi.Mode().Perm(), st.Gid)
	}
}

// adopt makes a machine of every directory.
func (d *Driver) adopt() error {
	entries, err := os.ReadDir(d.cfg.Dir)
	if err != nil {
		return err
	}
	for _, e := range entries {
		if strings.HasPrefix(e.Name(), ".") {
			continue
		}
		m := d.newMachine(e.Name())
		m.adopt()
		d.machines[m.id] = m
	}
	return nil
}

// acquire gives the machine, locked. It is nil if there is none and make is false.
func (d *Driver) acquire(ctx context.Context, id string, make bool) (*machine, error) {
	for {
		d.mu.Lock()
		m := d.machines[id]
		if m == nil && make {
			m = d.newMachine(id)
			d.machines[id] = m
		}
		d.mu.Unlock()
		if m == nil {
			return nil, nil
		}
		if err := m.acquire(ctx); err != nil {
			return nil, err
		}
		if !m.gone {
			return m, nil
		}
		m.release() // removed while we waited
	}
}

// forget drops a locked machine of which nothing is left.
func (d *Driver) forget(m *machine) {
	m.gone = true
	d.mu.Lock()
	delete(d.machines, m.id)
	d.mu.Unlock()
}

// newUID gives a user that no machine has; ours if we are not root.
func (d *Driver) newUID(m *machine) int {
	if !d.root {
		return 0
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	used := map[int]bool{}
	for _, other := range d.machines {
		used[other.uid] = true
	}
	uid := d.cfg.UIDBase
	for used[uid] {
		uid++
	}
	m.uid = uid
	return uid
}

// Start implements compute.Driver.
func (d *Driver) Start(ctx context.Context, spec compute.Machine, taps []*os.File) error {
	if err := check(spec); err != nil {
		return fmt.Errorf("start %s: %w", spec.ID, err)
	}
	if len(taps) != len(spec.NICs) {
		return fmt.Errorf("start %s: %d taps for %d network cards", spec.ID, len(taps), len(spec.NICs))
	}
	m, err := d.acquire(ctx, spec.ID, true)
	if err != nil {
		return fmt.Errorf("start %s: %w", spec.ID, err)
	}
	defer m.release()
	if m.rec.Phase == running {
		return nil
	}
	if err := m.start(ctx, spec, taps); err != nil {
		return fmt.Errorf("start %s: %w", spec.ID, err)
	}
	return nil
}

// Stop implements compute.Driver.
func (d *Driver) Stop(ctx context.Context, id string, grace time.Duration) error {
	m, err := d.acquire(ctx, id, false)
	if err != nil || m == nil {
		return err
	}
	defer m.release()
	if err := m.stop(ctx, grace); err != nil {
		return fmt.Errorf("stop %s: %w", id, err)
	}
	return nil
}

// Reboot implements compute.Driver.
func (d *Driver) Reboot(ctx context.Context, id string, grace time.Duration) error {
	m, err := d.acquire(ctx, id, false)
	if err == nil && m == nil {
		err = compute.ErrNotFound
	}
	if err != nil {
		return fmt.Errorf("reboot %s: %w", id, err)
	}
	defer m.release()
	if err := m.reboot(ctx, grace); err != nil {
		return fmt.Errorf("reboot %s: %w", id, err)
	}
	return nil
}

// SetDisk implements compute.Driver.
func (d *Driver) SetDisk(ctx context.Context, id string, disk compute.Disk) error {
	return d.withRunning(ctx, id, "set disk "+disk.Name+" of", func(m *machine) error { return m.setDisk(ctx, disk) })
}

// DropDisk implements compute.Driver.
func (d *Driver) DropDisk(ctx context.Context, id, name string, force bool) error {
	return d.withRunning(ctx, id, "drop disk "+name+" of", func(m *machine) error { return m.dropDisk(ctx, name, force) })
}

// SetNIC implements compute.Driver.
func (d *Driver) SetNIC(ctx context.Context, id string, n compute.NIC, tap *os.File) error {
	return d.withRunning(ctx, id, "plug "+n.ID+" into", func(m *machine) error { return m.setNIC(ctx, n, tap) })
}

// DropNIC implements compute.Driver.
func (d *Driver) DropNIC(ctx context.Context, id, nic string) error {
	return d.withRunning(ctx, id, "unplug "+nic+" from", func(m *machine) error { return m.dropNIC(ctx, nic) })
}

// Snapshot implements compute.Driver.
func (d *Driver) Snapshot(ctx context.Context, id string, copies []compute.Copy, reboot time.Duration) error {
	return d.withRunning(ctx, id, "snapshot disks of", func(m *machine) error {
		if reboot > 0 {
			return m.snapshotDown(ctx, copies, reboot)
		}
		return m.snapshot(ctx, copies)
	})
}

// withRunning does something with a running machine, locked.
func (d *Driver) withRunning(ctx context.Context, id, what string, do func(*machine) error) error {
	m, err := d.acquire(ctx, id, false)
	if err == nil && m == nil {
		err = compute.ErrNotFound
	}
	if err != nil {
		return fmt.Errorf("%s %s: %w", what, id, err)
	}
	defer m.release()
	if m.rec.Phase != running {
		return fmt.Errorf("%s %s: not running", what, id)
	}
	if err := do(m); err != nil {
		return fmt.Errorf("%s %s: %w", what, id, err)
	}
	return nil
}

// Remove implements compute.Driver.
func (d *Driver) Remove(ctx context.Context, id string) error {
	m, err := d.acquire(ctx, id, false)
	if err != nil || m == nil {
		return err
	}
	defer m.release()
	if err := m.remove(); err != nil {
		return fmt.Errorf("remove %s: %w", id, err)
	}
	d.forget(m)
	return nil
}

// List implements compute.Driver.
func (d *Driver) List(context.Context) ([]compute.Status, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	list := make([]compute.Status, 0, len(d.machines))
	for _, m := range d.machines {
		list = append(list, *m.status.Load())
	}
	slices.SortFunc(list, func(a, b compute.Status) int { return strings.Compare(a.ID, b.ID) })
	return list, nil
}

// Console implements compute.Driver.
func (d *Driver) Console(ctx context.Context, id string, limit int) ([]byte, error) {
	m, err := d.acquire(ctx, id, false)
	if err == nil && m == nil {
		err = compute.ErrNotFound
	}
	if err != nil {
		return nil, fmt.Errorf("console of %s: %w", id, err)
	}
	defer m.release()
	if m.proc != nil {
		c, err := m.connected(ctx)
		if err == nil {
			err = drainConsole(ctx, c, m.dir)
		}
		if err != nil { // what was read before is better than nothing
			d.log.Warn("console not read", "machine", id, "err", err)
		}
	}
	b, err := readConsole(filepath.Join(m.dir, consoleFile), min(max(limit, 0), 2*consoleRing))
	if err != nil {
		return nil, fmt.Errorf("console of %s: %w", id, err)
	}
	return b, nil
}

// Events implements compute.Driver.
func (d *Driver) Events() <-chan struct{} { return d.events }

// Accel implements compute.Driver.
func (d *Driver) Accel() compute.Accel { return d.cfg.Accel }

// Close implements compute.Driver.
func (d *Driver) Close() error {
	d.cancel()
	d.wg.Wait()
	d.cgroups.removeParents()
	return d.lock.Close()
}

func (d *Driver) notify() {
	select {
	case d.events <- struct{}{}:
	default:
	}
}
