package ebs

import (
	"bytes"
	"context"
	"io"
	"log/slog"
	"testing"
	"time"

	"karri.dev/internal/aws/awserr"
	"karri.dev/internal/aws/call"
	shape "karri.dev/internal/aws/shape/ebs"
	"karri.dev/internal/chunks"
	"karri.dev/internal/ids"
	"karri.dev/internal/object/disk"
	"karri.dev/internal/resource"
	"karri.dev/internal/seal"
	"karri.dev/internal/store"
)

// rig is the service with a clock of its own.
type rig struct {
	*testing.T
	*Service
	now time.Time
	ctx context.Context
}

func newRig(t *testing.T) *rig {
	st := store.OpenMemory(slog.New(slog.DiscardHandler))
	t.Cleanup(func() { st.Close() })
	engine, err := disk.Open(disk.Config{Dir: "/objects", FS: disk.InMemory()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { engine.Close() })
	sealer, err := seal.New(make([]byte, seal.KeySize))
	if err != nil {
		t.Fatal(err)
	}
	r := &rig{T: t, now: time.Now()}
	r.ctx = call.With(context.Background(), &call.Info{Caller: call.Caller{AccountID: "111122223333", UserID: "111122223333"}, Region: "us-east-1"})
	r.Service = New(Deps{
		Store: st, Chunks: chunks.New(engine, make([]byte, 32)), Images: "images", Sealer: sealer, IDs: ids.New(nil), Now: func() time.Time { return r.now },
		Log:      slog.New(slog.DiscardHandler),
		Readable: func(_ store.Reader, account string, snap *resource.Snapshot) bool { return snap.AccountID == account },
		Encrypts: func(store.Reader, *call.Info) bool { return false },
	})
	return r
}

func (r *rig) start(change func(*shape.StartSnapshotRequest)) (string, error) {
	in := &shape.StartSnapshotRequest{VolumeSize: 1}
	change(in)
	out, err := r.StartSnapshot(r.ctx, in)
	if err != nil {
		return "", err
	}
	return out.SnapshotId, nil
}

func (r *rig) put(id string, index int, b byte) error {
	data := bytes.Repeat([]byte{b}, chunks.Size)
	_, err := r.PutSnapshotBlock(r.ctx, &shape.PutSnapshotBlockRequest{
		SnapshotId: id, BlockIndex: index, BlockData: io.NopCloser(bytes.NewReader(data)), DataLength: chunks.Size, Checksum: checksum(data), ChecksumAlgorithm: "SHA256",
	})
	return err
}

func (r *rig) complete(id string, blocks int) error {
	_, err := r.CompleteSnapshot(r.ctx, &shape.CompleteSnapshotRequest{SnapshotId: id, ChangedBlocksCount: blocks})
	return err
}

func (r *rig) settled(id, state string) *resource.Snapshot {
	r.Helper()
	if err := r.settle(r.ctx); err != nil {
		r.Fatal(err)
	}
	snap := store.Snapshots.Get(r.Store.Snapshot(), id)
	if snap.State != state {
		r.Errorf("%s is %s, want %s: %s", id, snap.State, state, snap.Reason)
	}
	return snap
}

func (r *rig) code(what string, err error, code string) {
	r.Helper()
	if awserr.Code(err) != code || code == "" && err != nil {
		r.Errorf("%s: %v, want %q", what, err, code)
	}
}

func TestStartSnapshot(t *testing.T) {
	r := newRig(t)
	yes, short := true, 5
	for what, x := range map[string]struct {
		change func(*shape.StartSnapshotRequest)
		code   string
	}{
		"no size":       {func(in *shape.StartSnapshotRequest) { in.VolumeSize = 0 }, "ValidationException"},
		"huge":          {func(in *shape.StartSnapshotRequest) { in.VolumeSize = 1 << 40 }, "ValidationException"},
		"a key":         {func(in *shape.StartSnapshotRequest) { in.KmsKeyArn = "arn:aws:kms:us-east-1:111122223333:key/1" }, "ValidationException"},
		"short timeout": {func(in *shape.StartSnapshotRequest) { in.Timeout = &short }, "ValidationException"},
		"aws: tag":      {func(in *shape.StartSnapshotRequest) { in.Tags = []shape.Tag{{Key: "aws:x"}} }, "ValidationException"},
		"no parent":     {func(in *shape.StartSnapshotRequest) { in.ParentSnapshotId = "snap-0123456789abcdef0" }, "ResourceNotFoundException"},
		"both": {func(in *shape.StartSnapshotRequest) {
			in.ParentSnapshotId, in.Encrypted = "snap-0123456789abcdef0", &yes
		}, "ValidationException"},
	} {
		_, err := r.start(x.change)
		r.code(what, err, x.code)
	}
	token := func(size int64) func(*shape.StartSnapshotRequest) {
		return func(in *shape.StartSnapshotRequest) { in.ClientToken, in.VolumeSize = "t", size }
	}
	one, err := r.start(token(1))
	r.code("a token", err, "")
	if again, err := r.start(token(1)); again != one || err != nil {
		t.Error(again, err)
	}
	_, err = r.start(token(2))
	r.code("the token with another size", err, "ConflictException")
	for range maxPending - 1 {
		if _, err := r.start(func(*shape.StartSnapshotRequest) {}); err != nil {
			t.Fatal(err)
		}
	}
	_, err = r.start(func(*shape.StartSnapshotRequest) {})
	r.code("one too many", err, "ConcurrentLimitExceededException")
}

// A snapshot that nobody writes any more ends, and what was written is cleared away; the last block counts.
func TestTimeout(t *testing.T) {
	r := newRig(t)
	id, err := r.start(func(in *shape.StartSnapshotRequest) { n := 10; in.Timeout = &n })
	r.code("start", err, "")
	r.code("put", r.put(id, 3, 1), "")
	r.now = r.now.Add(9 * time.Minute)
	r.settled(id, "pending")
	r.now = r.now.Add(2 * time.Minute)
	if snap := r.settled(id, "error"); snap.Direct != nil {
		t.Errorf("%+v", snap)
	}
	if loose, err := r.Chunks.Loose(r.ctx, id); err != nil || len(loose) != 0 {
		t.Error(loose, err)
	}
	r.code("a block too late", r.put(id, 3, 1), "ValidationException")
	r.code("completed too late", r.complete(id, 1), "ValidationException")
}

// What comes between the count and the end is not lost in silence; a sealed snapshot takes no blocks.
func TestSeal(t *testing.T) {
	r := newRig(t)
	id, err := r.start(func(*shape.StartSnapshotRequest) {})
	r.code("start", err, "")
	r.code("put", r.put(id, 3, 1), "")
	r.code("beyond the end", r.put(id, blocksPerGiB, 1), "ValidationException")
	r.code("a wrong count", r.complete(id, 2), "ValidationException")
	_, err = r.CompleteSnapshot(r.ctx, &shape.CompleteSnapshotRequest{SnapshotId: id, ChangedBlocksCount: 1, Checksum: checksum(nil)})
	r.code("a wrong checksum", err, "ValidationException")
	r.code("complete", r.complete(id, 1), "")
	r.code("once more", r.complete(id, 1), "")
	r.code("a block of a sealed one", r.put(id, 4, 1), "ValidationException")
	// As if that one had been on its way: it is there, and nobody was told so.
	if err := r.Chunks.PutLoose(r.ctx, id, 4, bytes.Repeat([]byte{1}, chunks.Size)); err != nil {
		t.Fatal(err)
	}
	r.settled(id, "error")

	id, err = r.start(func(*shape.StartSnapshotRequest) {})
	r.code("start", err, "")
	r.code("put", r.put(id, 3, 7), "")
	r.code("complete", r.complete(id, 1), "")
	if snap := r.settled(id, "completed"); snap.Direct != nil || snap.Progress != 100 {
		t.Errorf("%+v", snap)
	}
	// Its tokens end.
	list, err := r.ListSnapshotBlocks(r.ctx, &shape.ListSnapshotBlocksRequest{SnapshotId: id})
	if err != nil || len(list.Blocks) != 1 {
		t.Fatal(list, err)
	}
	get := func() error {
		_, err := r.GetSnapshotBlock(r.ctx, &shape.GetSnapshotBlockRequest{SnapshotId: id, BlockIndex: 3, BlockToken: list.Blocks[0].BlockToken})
		return err
	}
	r.code("get", get(), "")
	r.now = r.now.Add(tokenLife + time.Minute)
	r.code("an expired token", get(), "ValidationException")
}
