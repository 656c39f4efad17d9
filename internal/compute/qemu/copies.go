package qemu

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"karri.dev/internal/compute"
	"karri.dev/internal/durable"
	"karri.dev/internal/luks"
	"karri.dev/internal/qcow2"
	"karri.dev/internal/qmp"
)

// Snapshots of running machines: a backup job of QEMU copies a disk into a file beside it. Before the guest overwrites
// what is not copied yet, that is copied first. All of a call's jobs begin in one transaction, with which a bitmap
// begins, too, that marks what the guest writes from then on: the next snapshot copies that only.

func copyName(c compute.Copy) string { return filepath.Base(c.To) }

// snapshot implements Driver.Snapshot. The lock is held.
func (m *machine) snapshot(ctx context.Context, copies []compute.Copy) (err error) {
	if done, err := m.haveCopies(copies); done || err != nil {
		return err
	}
	c, err := m.connected(ctx)
	if err != nil {
		return err
	}
	m.rec.Copies = append(slices.Clone(m.rec.Copies), copies...)
	if err := m.rec.save(m.dir); err != nil {
		return err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, m.dropCopies(context.WithoutCancel(ctx), c, copies))
		}
	}()
	var actions []map[string]any
	var old []map[string]any
	for i := range copies {
		if err := m.stopFill(ctx, c, copies[i].Disk); err != nil { // two jobs on a disk are one too many
			return err
		}
		have, err := m.prepareCopy(ctx, c, copies[i])
		if err != nil {
			return err
		}
		name, node := copyName(copies[i]), copies[i].Disk
		job := map[string]any{
			"job-id": name, "device": node, "target": name, "sync": "full", "auto-dismiss": false,
			"on-source-error": "report", "on-target-error": "report",
		}
		if since := copies[i].Since; since != "" && slices.Contains(have, since) {
			job["sync"], job["bitmap"], job["bitmap-mode"] = "bitmap", since, "never"
		}
		actions = append(actions,
			map[string]any{"type": "block-dirty-bitmap-add", "data": map[string]any{"node": node, "name": name}},
			map[string]any{"type": "blockdev-backup", "data": job})
		for _, b := range have {
			old = append(old, map[string]any{"node": node, "name": b})
		}
	}
	if err := c.Do(ctx, "transaction", map[string]any{"actions": actions}, nil); err != nil {
		return err
	}
	for _, b := range old { // of no more use; one that a job still reads goes with the next snapshot
		_ = c.Do(ctx, "block-dirty-bitmap-remove", b, nil)
	}
	m.wake()
	return nil
}

// haveCopies says whether copies are there, or under way: all of them.
func (m *machine) haveCopies(copies []compute.Copy) (bool, error) {
	known := 0
	for _, c := range copies {
		if !validID.MatchString(copyName(c)) || len(copyName(c)) > maxDiskName || m.indexOf(c.Disk) < 0 {
			return false, fmt.Errorf("no copy %s of disk %q is possible", copyName(c), c.Disk)
		}
		if _, err := os.Lstat(c.To); err == nil || slices.ContainsFunc(m.rec.Copies, func(have compute.Copy) bool { return have.To == c.To }) {
			known++
		}
	}
	for _, c := range copies {
		if known < len(copies) && m.rec.Machine.Disks[m.indexOf(c.Disk)].Encrypted != (c.Key != "") {
			return false, fmt.Errorf("a copy of disk %s must be encrypted as the disk is", c.Disk)
		}
	}
	if known > 0 && known < len(copies) {
		return false, errors.New("some of the copies are there, and others are not: they would not be of one moment")
	}
	return known == len(copies), nil
}

// snapshotDown restarts the guest and makes the copies when it is down. What is wanted is in the record: should we end
// meanwhile, the next driver carries it out. If the copies fail then, they are made of the running guest, which is not
// restarted twice.
func (m *machine) snapshotDown(ctx context.Context, copies []compute.Copy, grace time.Duration) error {
	if done, err := m.haveCopies(copies); done || err != nil {
		return err
	}
	same := func(a, b compute.Copy) bool { return a.To == b.To }
	if slices.EqualFunc(m.rec.Rebooted, copies, same) {
		return m.snapshot(ctx, copies)
	}
	if !slices.EqualFunc(m.rec.AtReboot, copies, same) {
		if len(m.rec.AtReboot) > 0 {
			return fmt.Errorf("for another snapshot: %w", compute.ErrRestarting)
		}
		m.rec.AtReboot = slices.Clone(copies)
		if err := m.ask(ctx, time.Now().Add(grace)); err != nil { // which saves the record
			return err
		}
	}
	return compute.ErrRestarting
}

// copyDown makes the copies that are to be made while the guest is down.
func (m *machine) copyDown(ctx context.Context) {
	copies := m.rec.AtReboot
	if len(copies) == 0 {
		return
	}
	m.rec.AtReboot, m.rec.Rebooted = nil, copies
	if err := m.snapshot(ctx, copies); err != nil {
		m.d.log.Error("snapshot of a guest that is down failed", "machine", m.id, "err", err)
	}
}

// prepareCopy makes the file of a copy and gives it to QEMU. It gives the names of the bitmaps that the disk has.
func (m *machine) prepareCopy(ctx context.Context, c *qmp.Client, copy compute.Copy) (bitmaps []string, err error) {
	var nodes []struct {
		Name  string `json:"node-name"`
		Image struct {
			Size int64 `json:"virtual-size"`
		} `json:"image"`
		Bitmaps []struct {
			Name string `json:"name"`
		} `json:"dirty-bitmaps"`
	}
	if err := c.Do(ctx, "query-named-block-nodes", map[string]any{"flat": true}, &nodes); err != nil {
		return nil, err
	}
	size := int64(-1)
	for _, n := range nodes {
		if n.Name == copy.Disk {
			size = n.Image.Size
			for _, b := range n.Bitmaps {
				bitmaps = append(bitmaps, b.Name)
			}
		}
	}
	if size < 0 {
		return nil, fmt.Errorf("no disk %s", copy.Disk)
	}
	note := ""
	if slices.Contains(bitmaps, copy.Since) {
		note = copy.Since
	}
	f, err := os.OpenFile(copy.Partial(), os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	var to qcow2.Target = f
	if copy.Key != "" {
		if to, err = luks.Format(f, []byte(copy.Key)); err != nil {
			return nil, err
		}
	}
	if err := qcow2.Create(to, size, note); err != nil {
		return nil, err
	}
	path, err := passFile(ctx, c, f, copyName(copy))
	if err != nil {
		return nil, err
	}
	file := map[string]any{"driver": "file", "filename": path}
	if copy.Key != "" {
		if err := giveKey(ctx, c, copyName(copy), copy.Key); err != nil {
			return nil, err
		}
		file = map[string]any{"driver": "luks", "key-secret": keyID(copyName(copy)), "file": file}
	}
	err = c.Do(ctx, "blockdev-add", map[string]any{"driver": "qcow2", "node-name": copyName(copy), "backing": nil, "file": file}, nil)
	if err == nil && copy.Key != "" {
		err = dropKey(ctx, c, copyName(copy))
	}
	return bitmaps, err
}

// job is a job as QEMU tells of it.
type job struct {
	ID     string `json:"id"`
	Status string `json:"status"`
	Error  string `json:"error"`
}

// settleCopies ends the copies whose jobs have ended: what is whole gets its name.
func (m *machine) settleCopies(ctx context.Context, c *qmp.Client) error {
	if len(m.rec.Copies) == 0 {
		return nil
	}
	var jobs []job
	if err := c.Do(ctx, "query-jobs", nil, &jobs); err != nil {
		return err
	}
	var errs []error
	for _, copy := range slices.Clone(m.rec.Copies) {
		i := slices.IndexFunc(jobs, func(j job) bool { return j.ID == copyName(copy) })
		switch {
		case i >= 0 && jobs[i].Status != "concluded":
			continue
		case i >= 0 && jobs[i].Error == "":
			errs = append(errs, m.keepCopy(ctx, c, copy))
		default:
			why := "its job is gone"
			if i >= 0 {
				why = jobs[i].Error
			}
			m.d.log.Error("snapshot of a disk failed", "machine", m.id, "disk", copy.Disk, "snapshot", copyName(copy), "err", why)
			errs = append(errs, m.dropCopies(ctx, c, []compute.Copy{copy}))
		}
	}
	return errors.Join(errs...)
}

// keepCopy closes a whole copy and gives it its name. The job is dismissed last: until then all this is done again.
func (m *machine) keepCopy(ctx context.Context, c *qmp.Client, copy compute.Copy) error {
	if err := unplugRest(ctx, c, copyName(copy)); err != nil {
		return err
	}
	f, err := os.Open(copy.Partial())
	if err == nil {
		err = errors.Join(f.Sync(), f.Close(), os.Rename(copy.Partial(), copy.To))
	}
	if err != nil && !errors.Is(err, os.ErrNotExist) { // it may have its name, and be gone for having been used
		return err
	}
	if err := durable.SyncDir(filepath.Dir(copy.To)); err != nil {
		return err
	}
	if err := m.forgetCopies([]compute.Copy{copy}); err != nil {
		return err
	}
	m.d.log.Info("disk copied", "machine", m.id, "disk", copy.Disk, "snapshot", copyName(copy))
	m.d.notify()
	return c.Do(ctx, "job-dismiss", map[string]any{"id": copyName(copy)}, nil)
}

// dropCopies ends copies that will not be whole, with all that there is of them.
func (m *machine) dropCopies(ctx context.Context, c *qmp.Client, copies []compute.Copy) error {
	var errs []error
	for _, copy := range copies {
		err := c.Do(ctx, "job-dismiss", map[string]any{"id": copyName(copy)}, nil)
		if err != nil && !strings.Contains(err.Error(), "not found") {
			errs = append(errs, err)
		}
		errs = append(errs, unplugRest(ctx, c, copyName(copy)), removeIfThere(copy.Partial()))
	}
	return errors.Join(append(errs, m.forgetCopies(copies))...)
}

// loseCopies ends the copies of a machine that has no hypervisor any more.
func (m *machine) loseCopies() {
	for _, copy := range m.rec.Copies {
		if err := removeIfThere(copy.Partial()); err != nil {
			m.d.log.Error("rest of a snapshot stays", "machine", m.id, "snapshot", copyName(copy), "err", err)
		}
	}
	m.rec.Copies, m.rec.AtReboot, m.rec.Rebooted = nil, nil, nil
}

func (m *machine) forgetCopies(copies []compute.Copy) error {
	m.rec.Copies = slices.DeleteFunc(slices.Clone(m.rec.Copies), func(have compute.Copy) bool {
		return slices.ContainsFunc(copies, func(c compute.Copy) bool { return c.To == have.To })
	})
	return m.rec.save(m.dir)
}

// copyPatience bounds how long a machine's end waits for copies.
const copyPatience = 30 * time.Minute

// awaitCopies lets the copies of a machine that is about to end become whole.
func (m *machine) awaitCopies(c *qmp.Client) {
	for end := time.Now().Add(copyPatience); len(m.rec.Copies) > 0 && time.Now().Before(end); time.Sleep(50 * time.Millisecond) {
		ctx, cancel := context.WithTimeout(m.d.ctx, queryDeadline)
		err := m.settleCopies(ctx, c)
		cancel()
		if err != nil {
			m.d.log.Warn("snapshots not settled", "machine", m.id, "err", err)
		}
		if c.Err() != nil || m.d.ctx.Err() != nil {
			return
		}
	}
}

func removeIfThere(path string) error {
	if err := os.Remove(path); err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	return nil
}
