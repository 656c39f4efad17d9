package qemu

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"time"

	"karri.dev/internal/compute"
	"karri.dev/internal/durable"
)

// startTimeout bounds the time until a new QEMU answers; it is a tenth of a second on a quiet machine.
const startTimeout = 60 * time.Second

// start makes a machine that does not run run. The lock is held. Whatever fails, what was made goes again:
// a machine that was not there is gone, one that was has failed and keeps its disks.
func (m *machine) start(ctx context.Context, spec compute.Machine, taps []*os.File) error {
	isNew := m.rec.Phase == ""
	if err := m.end(true); err != nil { // of an earlier try
		return err
	}
	err := m.startSteps(ctx, spec, taps)
	if err == nil {
		return nil
	}
	if endErr := m.end(true); endErr != nil {
		return errors.Join(err, endErr) // still failed, and seen by List
	}
	if isNew {
		if rmErr := m.remove(); rmErr != nil {
			m.settle(failed, err.Error())
			return errors.Join(err, rmErr)
		}
		m.d.forget(m)
		return err
	}
	m.settle(failed, err.Error())
	return err
}

func (m *machine) startSteps(ctx context.Context, spec compute.Machine, taps []*os.File) (err error) {
	ctx, cancel := context.WithTimeout(ctx, startTimeout)
	defer cancel()
	if err := os.MkdirAll(m.dir, 0o700); err != nil {
		return err
	}
	uid := m.uid
	if uid == 0 {
		uid = m.d.newUID(m)
	}
	if m.rec.Phase != "" {
		if err := m.killLaunch(); err != nil {
			return err
		}
	}
	m.rec = record{Machine: spec, Phase: starting, UID: uid}
	if err := m.rec.save(m.dir); err != nil {
		return err
	}
	if err := durable.SyncDir(m.d.cfg.Dir); err != nil {
		return err
	}

	var opened []io.Closer
	defer func() {
		for _, f := range opened {
			f.Close()
		}
	}()
	f, err := m.open(spec, taps, &opened)
	if err != nil {
		return err
	}
	if m.stderr, err = errorLog(); err != nil {
		return err
	}
	c := commandLine(m.d.host, spec, f)
	m.rec.Slots, m.rec.Ports = portCount(spec), map[string]int{}
	for i, disk := range spec.Disks {
		m.rec.Ports[deviceID(disk.Name)] = i
	}
	for i, nic := range spec.NICs {
		m.rec.Ports[nicID(nic.ID)] = len(spec.Disks) + i
	}
	env := []string{"PATH=/usr/bin:/bin", "LC_ALL=C", launchEnv + m.dir}
	p, err := launch(jail{uid: uid, groups: m.d.groups, netns: m.d.root}, m.d.cfg.Binary, c.args, env, m.stderr, c.files)
	if err != nil {
		return err
	}
	m.rec.Process = p.identity
	// Its group gets room for the translation buffer, QEMU itself and the disks' caches.
	if err := m.d.cgroups.enter(spec, p.PID, m.d.cfg.TranslationMiB+256); err != nil {
		m.d.log.Warn("machine without its own control group", "machine", m.id, "err", err)
	}
	// QEMU has its own copies; a listener of ours would keep a dead one's socket alive.
	for _, f := range opened {
		f.Close()
	}
	opened = nil
	m.run(p)
	if m.client, err = m.dial(ctx); err != nil {
		select {
		case <-m.exited.done:
		case <-time.After(time.Second): // time for it to end and to have said why
		}
		if said := lastErrors(m.stderr); said != "" {
			return fmt.Errorf("QEMU: %s", said)
		}
		return err
	}
	for _, disk := range spec.Disks {
		if err := setLimits(ctx, m.client, disk); err != nil {
			return err
		}
		if disk.Encrypted {
			if err := dropKey(ctx, m.client, disk.Name); err != nil {
				return err
			}
		}
	}
	if err := m.client.Do(ctx, "cont", nil, nil); err != nil {
		return err
	}
	m.rec.Phase, m.rec.StartedAt = running, time.Now().UTC()
	if err := m.rec.save(m.dir); err != nil {
		return err
	}
	m.publish()
	m.wake()
	m.d.log.Info("machine started", "machine", m.id, "pid", p.PID, "uid", uid)
	return nil
}

// open makes and opens all files of a machine. What is opened here goes to *opened, to be closed.
func (m *machine) open(spec compute.Machine, taps []*os.File, opened *[]io.Closer) (files, error) {
	f := files{taps: taps}
	open := func(path string, flag int) (*os.File, error) {
		file, err := os.OpenFile(path, flag, 0)
		if err == nil {
			*opened = append(*opened, file)
		}
		return file, err
	}
	bootFile := func(path string) (*os.File, error) {
		file, err := open(path, os.O_RDONLY)
		if err != nil {
			return nil, err
		}
		fi, err := file.Stat()
		if err != nil {
			return nil, err
		}
		if m.d.root && fi.Mode()&0o004 == 0 || !fi.Mode().IsRegular() {
			return nil, fmt.Errorf("%s: machines may not read it (mode %s)", path, fi.Mode())
		}
		return file, nil
	}
	var err error
	if spec.Kernel != "" {
		if f.kernel, err = bootFile(spec.Kernel); err != nil {
			return f, fmt.Errorf("kernel: %w", err)
		}
	}
	if spec.Ramdisk != "" {
		if f.ramdisk, err = bootFile(spec.Ramdisk); err != nil {
			return f, fmt.Errorf("ramdisk: %w", err)
		}
	}
	if spec.UEFI {
		path := filepath.Join(m.dir, varsFile)
		if err := copyOnce(path, strings.Replace(m.d.cfg.Firmware, "_CODE", "_VARS", 1)); err != nil {
			return f, fmt.Errorf("UEFI variables: %w", err)
		}
		if f.vars, err = open(path, os.O_RDWR); err != nil {
			return f, fmt.Errorf("UEFI variables: %w", err)
		}
	}
	if f.exports, err = m.openExports(); err != nil {
		return f, fmt.Errorf("exports: %w", err)
	}
	*opened = append(*opened, f.exports)
	for _, disk := range spec.Disks {
		files, err := m.openDisk(disk)
		if err == nil && disk.Encrypted {
			files.key, err = keyFile(disk.Key)
		}
		for _, file := range []*os.File{files.base, files.data, files.key} {
			if file != nil {
				*opened = append(*opened, file)
			}
		}
		if err != nil {
			return f, fmt.Errorf("disk %s: %w", disk.Name, err)
		}
		f.disks = append(f.disks, files)
	}
	if f.socket, err = listen(m.dir); err != nil {
		return f, err
	}
	*opened = append(*opened, f.socket)
	return f, nil
}

// copyOnce copies a small file unless it is there already.
func copyOnce(to, from string) error {
	if _, err := os.Lstat(to); err == nil {
		return nil
	}
	data, err := os.ReadFile(from)
	if err != nil {
		return err
	}
	return durable.WriteFile(to, data, 0o600)
}
