package qemu

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"time"

	"karri.dev/internal/compute"
	"karri.dev/internal/qmp"
)

// unplugTime is how long a guest is waited for that is to let go of a disk; usually it takes a tenth of a second.
const unplugTime = 3 * time.Second

// setDisk implements Driver.SetDisk. The lock is held.
func (m *machine) setDisk(ctx context.Context, d compute.Disk) error {
	if err := checkDisk(d); err != nil {
		return err
	}
	c, err := m.connected(ctx)
	if err != nil {
		return err
	}
	i := m.indexOf(d.Name)
	if i < 0 {
		if err := m.plug(ctx, c, d); err != nil {
			return err
		}
		return setLimits(ctx, c, d)
	}
	have := m.rec.Machine.Disks[i]
	switch {
	case have.SizeBytes >= d.SizeBytes:
	case d.Export != "" && d.Format == "raw":
		if err := m.growExport(ctx, c, d); err != nil {
			return err
		}
		have.SizeBytes = d.SizeBytes
	default:
		if err := m.stopFill(ctx, c, d.Name); err != nil { // a disk that is being filled does not grow
			return err
		}
		defer m.wake()
		if err := c.Do(ctx, "block_resize", map[string]any{"node-name": d.Name, "size": d.SizeBytes}, nil); err != nil {
			return err
		}
		have.SizeBytes = d.SizeBytes
	}
	if have.Limits != d.Limits {
		if err := setLimits(ctx, c, d); err != nil {
			return err
		}
		have.Limits = d.Limits
	}
	return m.note(i, &have)
}

func (m *machine) indexOf(disk string) int {
	return slices.IndexFunc(m.rec.Machine.Disks, func(d compute.Disk) bool { return d.Name == disk })
}

// note replaces the i-th disk in the machine's record, appends one for i < 0, and removes it for nil.
func (m *machine) note(i int, d *compute.Disk) error {
	disks := slices.Clone(m.rec.Machine.Disks)
	switch {
	case d == nil:
		disks = slices.Delete(disks, i, i+1)
	case i < 0:
		disks = append(disks, *d)
	case disks[i] == *d:
		return nil
	default:
		disks[i] = *d
	}
	m.rec.Machine.Disks = disks
	err := m.rec.save(m.dir)
	m.publish()
	return err
}

// plug gives the guest a new disk. Its port is noted first, the disk itself last: a disk with a port that is not
// noted is one of which we did not live to see whether the guest got it.
func (m *machine) plug(ctx context.Context, c *qmp.Client, d compute.Disk) (err error) {
	port, tried := m.rec.Ports[deviceID(d.Name)]
	if tried {
		if here, err := plugged(ctx, c, deviceID(d.Name)); err != nil || here {
			return errors.Join(err, m.note(-1, &d))
		}
	} else if port = m.freePort(); port < 0 {
		return errors.New("the machine has no free slot")
	}
	if err := unplugRest(ctx, c, d.Name); err != nil {
		return err
	}
	m.setPort(deviceID(d.Name), port)
	if err := m.rec.save(m.dir); err != nil {
		return err
	}
	files, err := m.openDisk(d)
	defer func() {
		for _, f := range []*os.File{files.base, files.data} {
			if f != nil {
				f.Close()
			}
		}
		if err != nil {
			err = errors.Join(err, unplugRest(context.WithoutCancel(ctx), c, d.Name))
			m.unexport(d.Name)
			m.setPort(deviceID(d.Name), -1)
			err = errors.Join(err, m.rec.save(m.dir))
		}
	}()
	if err != nil {
		return err
	}
	var p diskPaths
	if p.base, err = passFile(ctx, c, files.base, d.Name); err != nil {
		return err
	}
	if p.data, err = passFile(ctx, c, files.data, d.Name); err != nil {
		return err
	}
	if d.Export != "" {
		p.data = exportPath(d.Name)
	}
	if d.Encrypted {
		if err := giveKey(ctx, c, d.Name, d.Key); err != nil {
			return err
		}
	}
	for _, n := range blockNodes(d, p) {
		if err := c.Do(ctx, "blockdev-add", n, nil); err != nil {
			return err
		}
	}
	if d.Encrypted {
		if err := dropKey(ctx, c, d.Name); err != nil {
			return err
		}
	}
	err = c.Do(ctx, "device_add", map[string]any{
		"driver": "virtio-blk-pci", "id": deviceID(d.Name), "drive": d.Name, "bus": fmt.Sprintf("port%d", port), "serial": serial(d.Name),
	}, nil)
	if err != nil {
		return err
	}
	m.wake() // to fill it
	return m.note(-1, &d)
}

// unnoted gives the disks of which it is not known whether the guest got them.
func (r record) unnoted() (disks []compute.Disk) {
	for device := range r.Ports {
		name, ok := strings.CutPrefix(device, deviceID(""))
		if ok && !slices.ContainsFunc(r.Machine.Disks, func(d compute.Disk) bool { return d.Name == name }) {
			disks = append(disks, compute.Disk{Name: name})
		}
	}
	return disks
}

// freePort gives a root port without a device, or -1.
func (m *machine) freePort() int {
	used := map[int]bool{}
	for _, p := range m.rec.Ports {
		used[p] = true
	}
	for p := range m.rec.Slots {
		if !used[p] {
			return p
		}
	}
	return -1
}

// setPort notes in which port a device is; -1 = in none.
func (m *machine) setPort(device string, port int) {
	ports := map[string]int{}
	for d, p := range m.rec.Ports {
		ports[d] = p
	}
	if ports[device] = port; port < 0 {
		delete(ports, device)
	}
	m.rec.Ports = ports
}

// passFile hands QEMU an open file and gives its name there, "" for none.
func passFile(ctx context.Context, c *qmp.Client, f *os.File, of string) (string, error) {
	if f == nil {
		return "", nil
	}
	var set struct {
		ID int `json:"fdset-id"`
	}
	if err := c.DoWithFile(ctx, "add-fd", map[string]any{"opaque": of}, &set, f); err != nil {
		return "", err
	}
	return fdset(set.ID), nil
}

// dropDisk implements Driver.DropDisk. The lock is held, but not while the guest is waited for.
func (m *machine) dropDisk(ctx context.Context, name string, force bool) error {
	if _, tried := m.rec.Ports[deviceID(name)]; !tried && m.indexOf(name) < 0 {
		return nil
	}
	c, err := m.connected(ctx)
	if err != nil {
		return err
	}
	here, err := m.unplug(ctx, c, deviceID(name))
	if err != nil {
		return err
	}
	if here {
		if !force {
			return compute.ErrHeld
		}
		if err := m.cut(ctx, c, name); err != nil {
			return err // and not ErrHeld: the volume may still be open
		}
		return compute.ErrHeld
	}
	if err := m.stopFill(ctx, c, name); err != nil {
		return err
	}
	if err := unplugRest(ctx, c, name); err != nil {
		return err
	}
	m.unexport(name)
	m.setPort(deviceID(name), -1)
	if i := m.indexOf(name); i >= 0 {
		return m.note(i, nil)
	}
	err = m.rec.save(m.dir)
	m.publish()
	return err
}

// unplug asks the guest to let go of a device that is there, and waits. here: it still has it.
func (m *machine) unplug(ctx context.Context, c *qmp.Client, device string) (here bool, err error) {
	if here, err = plugged(ctx, c, device); err != nil || !here {
		return here, err
	}
	select {
	case <-m.unplugged:
	default:
	}
	// An error says that it was asked before and has not answered: it is asked by that.
	asked := c.Do(ctx, "device_del", map[string]any{"id": device}, nil)
	if here, err = m.awaitUnplug(ctx, c, device); err != nil {
		return here, errors.Join(asked, err)
	}
	return here, nil
}

// awaitUnplug says whether the device is still there after the guest had some time.
func (m *machine) awaitUnplug(ctx context.Context, c *qmp.Client, device string) (here bool, err error) {
	deadline := time.NewTimer(unplugTime)
	defer deadline.Stop()
	for over := false; ; {
		if here, err = plugged(ctx, c, device); err != nil || !here || over {
			return here, err
		}
		m.release()
		select {
		case <-m.unplugged:
		case <-deadline.C:
			over = true
		case <-time.After(250 * time.Millisecond): // the word may have been another's
		case <-ctx.Done():
			over = true
		}
		<-m.lock
	}
}

// noteUnplugged takes in QEMU's word that a device is gone.
func (m *machine) noteUnplugged(data json.RawMessage) {
	var e struct {
		Device string `json:"device"`
	}
	if json.Unmarshal(data, &e) != nil || e.Device == "" {
		return
	}
	select {
	case m.unplugged <- e.Device:
	default:
	}
}

// plugged says whether QEMU has a device.
func plugged(ctx context.Context, c *qmp.Client, device string) (bool, error) {
	var list []struct {
		Name string `json:"name"`
	}
	if err := c.Do(ctx, "qom-list", map[string]any{"path": "/machine/peripheral"}, &list); err != nil {
		return false, err
	}
	for _, l := range list {
		if l.Name == device {
			return true, nil
		}
	}
	return false, nil
}

// unplugRest removes what QEMU has of a disk below its device: nodes and files.
func unplugRest(ctx context.Context, c *qmp.Client, name string) error {
	have, err := nodeNames(ctx, c)
	if err != nil {
		return err
	}
	for _, node := range []string{name, name + luksSuffix, name + ".file", name + ".base", name + ".cut"} {
		if have[node] {
			if err := deleteNode(ctx, c, node); err != nil {
				return err
			}
		}
	}
	return dropFiles(ctx, c, name)
}

// finalTime is how long a device that has gone may still hold its node: QEMU finalises it a moment later, in its
// RCU thread. A device that is still there holds it for good.
const finalTime = 3 * time.Second

func deleteNode(ctx context.Context, c *qmp.Client, node string) error {
	for end := time.Now().Add(finalTime); ; {
		err := c.Do(ctx, "blockdev-del", map[string]any{"node-name": node}, nil)
		if err == nil || !strings.Contains(err.Error(), "is in use") || time.Now().After(end) {
			return err
		}
		select {
		case <-time.After(20 * time.Millisecond):
		case <-ctx.Done():
			return err
		}
	}
}

func nodeNames(ctx context.Context, c *qmp.Client) (map[string]bool, error) {
	var list []struct {
		Name string `json:"node-name"`
	}
	if err := c.Do(ctx, "query-named-block-nodes", map[string]any{"flat": true}, &list); err != nil {
		return nil, err
	}
	have := map[string]bool{}
	for _, n := range list {
		have[n.Name] = true
	}
	return have, nil
}

// dropFiles makes QEMU close the files of a disk that was passed to it, and with them let go of their locks.
func dropFiles(ctx context.Context, c *qmp.Client, name string) error {
	var sets []struct {
		ID  int `json:"fdset-id"`
		FDs []struct {
			Opaque string `json:"opaque"`
		} `json:"fds"`
	}
	if err := c.Do(ctx, "query-fdsets", nil, &sets); err != nil {
		return err
	}
	for _, s := range sets {
		if len(s.FDs) > 0 && s.FDs[0].Opaque == name {
			if err := c.Do(ctx, "remove-fd", map[string]any{"fdset-id": s.ID}, nil); err != nil {
				return err
			}
		}
	}
	return nil
}

// cut takes the data away from under a device that the guest keeps: from now on it sees errors, and the file is
// closed.
func (m *machine) cut(ctx context.Context, c *qmp.Client, name string) error {
	have, err := nodeNames(ctx, c)
	if err != nil || !have[name+".file"] {
		return err
	}
	i := m.indexOf(name)
	if i < 0 {
		return nil
	}
	d := m.rec.Machine.Disks[i]
	if err := m.stopFill(ctx, c, name); err != nil {
		return err
	}
	if !have[name+".cut"] {
		err := c.Do(ctx, "blockdev-add", map[string]any{
			"driver": "blkdebug", "node-name": name + ".cut",
			"image":        map[string]any{"driver": "null-co", "size": d.SizeBytes, "read-zeroes": true},
			"inject-error": []map[string]any{{"event": "none", "iotype": "read", "errno": 5}, {"event": "none", "iotype": "write", "errno": 5}, {"event": "none", "iotype": "flush", "errno": 5}},
		}, nil)
		if err != nil {
			return err
		}
	}
	err = c.Do(ctx, "blockdev-reopen", map[string]any{"options": []map[string]any{{
		"driver": d.Format, "node-name": name, "discard": "unmap", "cache": map[string]any{"direct": false, "no-flush": false}, "file": name + ".cut",
	}}}, nil)
	if err != nil {
		return err
	}
	for _, node := range []string{name + luksSuffix, name + ".file"} {
		if have[node] {
			if err := c.Do(ctx, "blockdev-del", map[string]any{"node-name": node}, nil); err != nil {
				return err
			}
		}
	}
	m.unexport(name)
	return dropFiles(ctx, c, name)
}

// setLimits makes QEMU throttle a disk.
func setLimits(ctx context.Context, c *qmp.Client, d compute.Disk) error {
	l := d.Limits
	if l == (compute.Limits{}) && !d.Volume() {
		return nil
	}
	args := map[string]any{
		"id": "/machine/peripheral/" + deviceID(d.Name) + "/virtio-backend", "bps": l.BytesPerSecond, "bps_rd": 0, "bps_wr": 0, "iops": l.IOPS, "iops_rd": 0, "iops_wr": 0,
	}
	if l.BurstIOPS > l.IOPS && l.IOPS > 0 {
		args["iops_max"], args["iops_max_length"] = l.BurstIOPS, max(1, l.BurstSeconds)
	}
	return c.Do(ctx, "block_set_io_throttle", args, nil)
}
