package importer

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"karri.dev/internal/aws/awserr"
	"karri.dev/internal/resource"
	"karri.dev/internal/store"
)

func addVolume(tx *store.Tx, v *resource.Volume) error {
	if v.Zone == "full" {
		return awserr.New("InsufficientVolumeCapacity", "There is not enough capacity")
	}
	return store.Volumes.Put(tx, v)
}

// addInstance stands for EC2's: it keeps what the instance would be made of.
func addInstance(tx *store.Tx, t *resource.ImportTask, disks []resource.ImageData) error {
	for n, v := range t.Volumes {
		if err := addVolume(tx, &resource.Volume{Owned: t.Owned, ID: v.ID, Zone: v.Zone, SizeGiB: v.SizeGiB, Base: &disks[n]}); err != nil {
			return err
		}
	}
	return store.Instances.Put(tx, &resource.Instance{Owned: t.Owned, ID: t.InstanceID})
}

// parted gives the fixture a manifest of a raw disk in parts of these sizes, and a task for it.
func (f *fixture) parted(zone string, size int, data []byte, sizes ...int) (parts [][]byte) {
	at := 0
	var keys []string
	for i, n := range sizes {
		keys = append(keys, fmt.Sprintf("part%d", i))
		parts = append(parts, data[at:at+n])
		at += n
	}
	f.conversion(zone, size, "raw", keys, sizes)
	return parts
}

// inParts gives it a manifest of one part, which is an object, and a task.
func (f *fixture) inParts(format, key string, n int) {
	f.conversion("us-east-1a", 8, format, []string{key}, []int{n})
}

func manifestOf(format string, keys []string, sizes []int) string {
	list, at := "", 0
	for i, n := range sizes {
		list += fmt.Sprintf(`<part index="%d"><byte-range start="%d" end="%d"/><key>%s</key></part>`, i, at, at+n-1, keys[i])
		at += n
	}
	doc := fmt.Sprintf(`<manifest><version>2010-11-15</version><file-format>%s</file-format><import><size>%d</size><volume-size>1</volume-size><parts count="%d">`, format, at, len(sizes)) + list
	return doc + "</parts></import></manifest>"
}

func (f *fixture) conversion(zone string, size int, format string, keys []string, sizes []int) {
	f.t.Helper()
	at := 0
	for _, n := range sizes {
		at += n
	}
	doc := manifestOf(format, keys, sizes)
	f.put("mine-1", "manifest", []byte(doc))
	sum := sha256.Sum256([]byte(doc))
	f.update(func(tx *store.Tx) error {
		return store.ImportTasks.Put(tx, &resource.ImportTask{
			Owned: resource.Owned{AccountID: account, Region: "us-east-1"}, ID: "import-vol-1", Status: "active",
			Disks:   []resource.ImportDisk{{Format: format, Bucket: "mine", Key: "manifest", Manifest: hex.EncodeToString(sum[:])}},
			Volumes: []resource.ImportVolume{{ID: "vol-1", Zone: zone, SizeGiB: size, Bytes: int64(at), Expires: time.Now().Add(time.Hour)}},
		})
	})
}

// A volume is made of parts, the last of which comes after the task began.
func TestImportVolume(t *testing.T) {
	f := setup(t)
	data := bytes.Repeat(sector, 5000) // 2.5 MB
	parts := f.parted("us-east-1a", 3, data, 1<<20, 1000, len(data)-1<<20-1000)
	f.put("mine-1", "part0", parts[0])
	f.put("mine-1", "part1", parts[1])
	f.run(upper)
	f.await("import-vol-1", func(t *resource.ImportTask) bool { return strings.Contains(t.StatusMessage, "2 of 3") })
	f.put("mine-1", "part2", parts[2])
	task := f.await("import-vol-1", ended)
	v := store.Volumes.Get(f.store.Snapshot(), "vol-1")
	if task.Status != "completed" || v == nil || v.SizeGiB != 3 || v.Base == nil || v.Zone != "us-east-1a" || v.AccountID != account || v.State != resource.VolumeCreating {
		t.Fatalf("%+v %+v", task, v)
	}
	if !bytes.Equal(f.content(*v.Base), data) {
		t.Error("the volume has other bytes")
	}
	f.kill()
	im := New(Config{Scratch: f.scratch}, Deps{Store: f.store, Objects: f.objects, Now: time.Now})
	if err := im.collect(t.Context()); err != nil || len(f.keys()) != 1 {
		t.Errorf("%v, %v", f.keys(), err)
	}
}

func TestImportVolumesThatFail(t *testing.T) {
	for name, c := range map[string]struct {
		zone   string
		change func(f *fixture, parts [][]byte)
		want   string
	}{
		"part of another size": {"", func(f *fixture, _ [][]byte) { f.put("mine-1", "part1", sector[:3]) }, "Part 1 has 3 bytes"},
		"manifest changed":     {"", func(f *fixture, _ [][]byte) { f.put("mine-1", "manifest", []byte("<manifest/>")) }, "manifest was changed"},
		"no room":              {"full", func(*fixture, [][]byte) {}, "not enough capacity"},
		"expired": {"", func(f *fixture, _ [][]byte) {
			f.put("mine-1", "part1", nil)
			f.update(func(tx *store.Tx) error {
				next := *store.ImportTasks.Get(tx, "import-vol-1")
				next.Volumes = slices.Clone(next.Volumes)
				next.Volumes[0].Expires = time.Now()
				next.Disks[0].Bucket = "mine"
				return store.ImportTasks.Put(tx, &next)
			})
			f.forget("part0")
		}, "expired"},
		"bucket of another": {"", func(f *fixture, _ [][]byte) {
			f.update(func(tx *store.Tx) error {
				return store.Buckets.Put(tx, &resource.Bucket{Name: "mine", Engine: "mine-1", AccountID: stranger})
			})
		}, "not the account's"},
		"cancelled": {"", func(f *fixture, _ [][]byte) {
			f.forget("part0")
			f.update(func(tx *store.Tx) error {
				next := *store.ImportTasks.Get(tx, "import-vol-1")
				next.Cancel, next.Status = true, "deleting"
				return store.ImportTasks.Put(tx, &next)
			})
		}, "Cancelled"},
	} {
		t.Run(name, func(t *testing.T) {
			f := setup(t)
			parts := f.parted(c.zone, 1, sector, 256, 256)
			f.put("mine-1", "part0", parts[0])
			f.put("mine-1", "part1", parts[1])
			c.change(f, parts)
			f.run(upper)
			if task := f.await("import-vol-1", ended); task.Status != "deleted" || !strings.Contains(task.StatusMessage, c.want) {
				t.Errorf("%+v", task)
			}
			if store.Volumes.Len(f.store.Snapshot()) != 0 {
				t.Error("there is a volume")
			}
		})
	}
}

// An instance is made of its disks, all or none of them.
func TestImportInstance(t *testing.T) {
	disks := [][]byte{bytes.Repeat(sector, 3000), bytes.Repeat(sector, 100)}
	for name, c := range map[string]struct {
		change func(f *fixture, task *resource.ImportTask)
		want   string
	}{
		"whole":                 {func(*fixture, *resource.ImportTask) {}, ""},
		"one disk is too large": {func(_ *fixture, task *resource.ImportTask) { task.Volumes[1].SizeGiB = 0 }, "The disk has 1 GiB"},
		"one disk is missing":   {func(f *fixture, task *resource.ImportTask) { f.forget("disk1"); task.Volumes[0].Expires = time.Now() }, "expired"},
		"no room for one":       {func(_ *fixture, task *resource.ImportTask) { task.Volumes[1].Zone = "full" }, "not enough capacity"},
		"cancelled":             {func(_ *fixture, task *resource.ImportTask) { task.Cancel, task.Status = true, "deleting" }, "Cancelled"},
	} {
		t.Run(name, func(t *testing.T) {
			f := setup(t)
			task := &resource.ImportTask{
				Owned: resource.Owned{AccountID: account, Region: "us-east-1"}, ID: "import-i-1", InstanceID: "i-1", ImageID: "ami-1", Status: "active",
			}
			for n, data := range disks {
				key, manifest := fmt.Sprintf("disk%d", n), fmt.Sprintf("manifest%d", n)
				f.put("mine-1", key, data)
				doc := manifestOf("raw", []string{key}, []int{len(data)})
				f.put("mine-1", manifest, []byte(doc))
				sum := sha256.Sum256([]byte(doc))
				task.Disks = append(task.Disks, resource.ImportDisk{Format: "raw", Bucket: "mine", Key: manifest, Manifest: hex.EncodeToString(sum[:])})
				task.Volumes = append(task.Volumes, resource.ImportVolume{ID: fmt.Sprintf("vol-%d", n), SizeGiB: 1, Bytes: int64(len(data)), Expires: time.Now().Add(time.Hour)})
			}
			c.change(f, task)
			f.update(func(tx *store.Tx) error { return store.ImportTasks.Put(tx, task) })
			f.run(upper)
			task = f.await("import-i-1", ended)
			if c.want != "" {
				if task.Status != "deleted" || !strings.Contains(task.StatusMessage, c.want) {
					t.Errorf("%+v", task)
				}
				if store.Volumes.Len(f.store.Snapshot()) != 0 || store.Instances.Len(f.store.Snapshot()) != 0 {
					t.Error("there are parts of the instance")
				}
				return
			}
			if task.Status != "completed" || store.Instances.Get(f.store.Snapshot(), "i-1") == nil {
				t.Fatalf("%+v", task)
			}
			for n, data := range disks {
				if v := store.Volumes.Get(f.store.Snapshot(), fmt.Sprintf("vol-%d", n)); v == nil || !bytes.Equal(f.content(*v.Base), data) {
					t.Errorf("disk %d: %+v", n, v)
				}
			}
		})
	}
}
