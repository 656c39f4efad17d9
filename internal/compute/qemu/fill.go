package qemu

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"karri.dev/internal/compute"
	"karri.dev/internal/qmp"
)

// Volumes that are filled while they are used (Disk.BaseExport). A job of QEMU copies what the volume's file lacks
// from its base, and the guest goes on: what it reads before is fetched for it. When all is there the base is let go.
//
// Whether all is there is not remembered by us but seen by QEMU's letting us delete the base. What
// a crash cuts short begins again and skips what the file has. QEMU allows a disk one job: before a snapshot, a
// resize, and the disk's end this one is cancelled, and it begins again afterwards.

const (
	fillSpeed = 64 << 20    // bytes a second: a guest's own reads go before
	fillRetry = time.Minute // after a failure
)

func fillJob(disk string) string { return "fill-" + disk }

// settleFills begins to fill disks, and ends with those that are filled. The lock is held.
func (m *machine) settleFills(ctx context.Context, c *qmp.Client) {
	for _, d := range m.rec.Machine.Disks {
		if d.BaseExport == "" || slices.ContainsFunc(m.rec.Copies, func(copy compute.Copy) bool { return copy.Disk == d.Name }) {
			continue
		}
		if err := m.settleFill(ctx, c, d); err != nil {
			m.d.log.Warn("volume not filled", "machine", m.id, "disk", d.Name, "err", err)
			time.AfterFunc(fillRetry, m.wake)
		}
	}
}

func (m *machine) settleFill(ctx context.Context, c *qmp.Client, d compute.Disk) error {
	if there, err := hasJob(ctx, c, fillJob(d.Name)); err != nil || there {
		return err
	}
	have, err := nodeNames(ctx, c)
	if err != nil || !have[d.Name+".file"] { // cut
		return err
	}
	if have[baseName(d.Name)] {
		err := c.Do(ctx, "blockdev-del", map[string]any{"node-name": baseName(d.Name)}, nil)
		if err != nil && !strings.Contains(err.Error(), "in use") && !strings.Contains(err.Error(), "busy") {
			return err
		}
		have[baseName(d.Name)] = err != nil
	}
	if !have[baseName(d.Name)] {
		return m.filled(ctx, c, d)
	}
	if wait := time.Until(m.fillAgain[d.Name]); wait > 0 { // it has failed
		time.AfterFunc(wait, m.wake)
		return nil
	}
	m.fillAgain[d.Name] = time.Now().Add(fillRetry)
	// A job that is left to be dismissed would leave a node that makes QEMU 7.2 die of query-named-block-nodes.
	return c.Do(ctx, "block-stream", map[string]any{
		"job-id": fillJob(d.Name), "device": d.Name, "speed": fillSpeed, "on-error": "report", "auto-dismiss": true,
	}, nil)
}

// filled lets go of the base of a disk that has none any more.
func (m *machine) filled(ctx context.Context, c *qmp.Client, d compute.Disk) error {
	have := d
	have.BaseExport = ""
	// Whoever reopens a disk flushes it first: what was filled is durable before anybody hears of it.
	nodes := blockNodes(have, diskPaths{})
	top := nodes[len(nodes)-1]
	if err := c.Do(ctx, "blockdev-reopen", map[string]any{"options": []map[string]any{top}}, nil); err != nil {
		return err
	}
	if err := m.note(m.indexOf(d.Name), &have); err != nil {
		return err
	}
	m.d.log.Info("volume filled", "machine", m.id, "disk", d.Name)
	m.d.notify()
	m.unexportOne(baseName(d.Name))
	return nil
}

// stopFill ends the job that fills a disk, if there is one. The lock is held.
func (m *machine) stopFill(ctx context.Context, c *qmp.Client, disk string) error {
	delete(m.fillAgain, disk) // it has not failed
	for end := time.Now().Add(queryDeadline); ; {
		there, err := hasJob(ctx, c, fillJob(disk))
		if err != nil || !there {
			return err
		}
		err = c.Do(ctx, "block-job-cancel", map[string]any{"device": fillJob(disk), "force": true}, nil)
		if time.Now().After(end) {
			return errors.Join(fmt.Errorf("the job that fills disk %s does not end", disk), err)
		}
		select {
		case <-time.After(5 * time.Millisecond):
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

func hasJob(ctx context.Context, c *qmp.Client, id string) (bool, error) {
	var jobs []job
	err := c.Do(ctx, "query-jobs", nil, &jobs)
	return slices.ContainsFunc(jobs, func(j job) bool { return j.ID == id }), err
}
