package zone

import (
	"bytes"
	"context"
	"encoding/binary"
	"io"
	"log/slog"
	"net"
	"slices"
	"testing"
	"time"

	"karri.dev/internal/block/fake"
	"karri.dev/internal/chunks"
	"karri.dev/internal/compute"
	"karri.dev/internal/nodeapi"
	"karri.dev/internal/object/disk"
	"karri.dev/internal/resource"
	"karri.dev/internal/store"
)

// TestFilledVolume: a volume lies over a snapshot's blocks until the node that has it says that it is filled.
func TestFilledVolume(t *testing.T) {
	inRig(t, Config{}, func(r *rig) {
		p := r.connect("node-1", 4)
		r.launch("i-1")
		r.volume(resource.Volume{Type: "gp3", Base: &resource.ImageData{Key: "lists/snap-1", Format: chunks.Format, VirtualSize: gib}})
		r.edit(func(v *resource.Volume) {
			v.Format, v.State = "qcow2", resource.VolumeInUse
			v.Attachment = &resource.VolumeAttachment{InstanceID: "i-1", Device: "/dev/sdf", State: resource.Attaching}
		})
		has := func(d compute.Disk) bool { return d.Name == vol && d.BaseExport == "base-"+vol && d.Format == "qcow2" }
		if got := p.last().Instances[0]; !slices.ContainsFunc(got.Machine.Disks, has) || got.Bases[vol].ID != "" {
			t.Errorf("desired %+v", got)
		}
		seen := nodeapi.Observed{ID: "i-1", State: compute.Running, Power: resource.PowerOn, Disks: []nodeapi.ObservedDisk{{Name: vol, SizeBytes: gib}}}
		for _, change := range []func(*nodeapi.ObservedDisk){
			func(*nodeapi.ObservedDisk) {},
			func(d *nodeapi.ObservedDisk) { d.Filled, d.Cut = true, true },
		} {
			change(&seen.Disks[0])
			r.report(p, seen)
			if v := r.get1(); v.Base == nil {
				t.Errorf("the base is let go after %+v", seen.Disks[0])
			}
			if !chunks.Live(r.store.Snapshot())["lists/snap-1"] {
				t.Error("the blocks would be swept away")
			}
		}
		seen.Disks[0].Cut = false
		r.report(p, seen)
		if v := r.get1(); v.Base != nil || v.Format != "qcow2" {
			t.Errorf("%+v", v)
		}
		if got := p.last().Instances[0]; slices.ContainsFunc(got.Machine.Disks, has) {
			t.Errorf("desired afterwards %+v", got)
		}
	})
}

// TestServeDisks: the zone serves what is below its own volumes that are not filled, and nothing else.
func TestServeDisks(t *testing.T) {
	engine, err := disk.Open(disk.Config{Dir: "/objects", FS: disk.InMemory()})
	if err != nil {
		t.Fatal(err)
	}
	defer engine.Close()
	blocks := chunks.New(engine, []byte("key"))
	content := bytes.Repeat([]byte("karri"), chunks.Size/4)
	w := blocks.NewWriter()
	for i := range 2 {
		part := make([]byte, chunks.Size)
		copy(part, content[min(len(content), i*chunks.Size):])
		if _, err := w.Add(t.Context(), uint32(i+3), part); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Commit(t.Context(), chunks.ListKey("snap-1")); err != nil {
		t.Fatal(err)
	}
	w.Close()
	st := store.OpenMemory(slog.New(slog.DiscardHandler))
	defer st.Close()
	base := &resource.ImageData{Key: chunks.ListKey("snap-1"), Format: chunks.Format, VirtualSize: 8 << 20}
	err = st.Update(t.Context(), func(tx *store.Tx) error {
		for id, v := range map[string]resource.Volume{
			vol: {Zone: "us-east-1a", Base: base}, "vol-00000000000000001": {Zone: "us-east-1b", Base: base}, "vol-00000000000000002": {Zone: "us-east-1a"},
			"vol-00000000000000003": {Zone: "us-east-1a", Base: &resource.ImageData{Key: "x", Format: "qcow2"}},
		} {
			v.ID = id
			if err := store.Volumes.Put(tx, &v); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	z := New(Config{Name: "us-east-1a"}, Deps{Store: st, Log: slog.New(slog.DiscardHandler), Now: time.Now, Volumes: fake.New(), Chunks: blocks})
	// ask begins to use an export, as old clients do: who names one that is not there is left.
	ask := func(name string) (net.Conn, []byte) {
		near, far := net.Pipe()
		ctx, cancel := context.WithCancel(t.Context())
		t.Cleanup(cancel)
		go z.ServeDisks(ctx, far)
		be := binary.BigEndian
		io.ReadFull(near, make([]byte, 18))
		out := be.AppendUint32(nil, 3)
		out = append(be.AppendUint32(be.AppendUint32(append(out, "IHAVEOPT"...), 1), uint32(len(name))), name...)
		go near.Write(out)
		answer := make([]byte, 10)
		n, _ := io.ReadFull(near, answer)
		return near, answer[:n]
	}
	for _, name := range []string{"", vol, "base-", "base-vol-00000000000000001", "base-vol-00000000000000002", "base-vol-00000000000000003", "base-vol-00000000000000004", "base-../x"} {
		conn, answer := ask(name)
		if len(answer) > 0 {
			t.Errorf("%q is served", name)
		}
		conn.Close()
	}
	conn, answer := ask("base-" + vol)
	defer conn.Close()
	if len(answer) != 10 || binary.BigEndian.Uint64(answer) != 8<<20 || binary.BigEndian.Uint16(answer[8:])&2 == 0 {
		t.Fatalf("size and flags %x", answer)
	}
	read := binary.BigEndian.AppendUint32(nil, 0x25609513)
	read = append(read, 0, 0, 0, 0, 1, 2, 3, 4, 5, 6, 7, 8)
	read = binary.BigEndian.AppendUint64(read, 3*chunks.Size)
	go conn.Write(binary.BigEndian.AppendUint32(read, uint32(len(content))))
	got := make([]byte, 16+len(content))
	if _, err := io.ReadFull(conn, got); err != nil || !bytes.Equal(got[16:], content) {
		t.Errorf("what is read is something else (%v)", err)
	}
}
