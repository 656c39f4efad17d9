package ebs

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"io"

	"karri.dev/internal/aws/awserr"
	"karri.dev/internal/aws/call"
	shape "karri.dev/internal/aws/shape/ebs"
	"karri.dev/internal/chunks"
	"karri.dev/internal/resource"
	"karri.dev/internal/store"
)

// writable gives a snapshot that the caller may write to.
func (s *Service) writable(r store.Reader, info *call.Info, id string) (*resource.Snapshot, error) {
	snap, err := s.find(r, info, id, func(snap *resource.Snapshot) bool { return snap.AccountID == info.AccountID })
	switch {
	case err != nil:
		return nil, err
	case snap.State != "pending" || snap.Direct == nil || snap.Direct.Sealed:
		return nil, invalid("INVALID_SNAPSHOT_ID", "No blocks can be written to the snapshot '%s'.", id)
	}
	return snap, nil
}

// checkAlgorithms refuses what there is none of.
func checkAlgorithms(algorithm, aggregation string) error {
	if algorithm != "" && algorithm != "SHA256" {
		return invalid("INVALID_PARAMETER_VALUE", "The checksum algorithm must be SHA256.")
	}
	if aggregation != "" && aggregation != "LINEAR" {
		return invalid("INVALID_PARAMETER_VALUE", "The checksum aggregation method must be LINEAR.")
	}
	return nil
}

// PutSnapshotBlock writes a block of a snapshot, in the place of an earlier one.
func (s *Service) PutSnapshotBlock(ctx context.Context, in *shape.PutSnapshotBlockRequest) (*shape.PutSnapshotBlockResult, error) {
	info := caller(ctx)
	snap, err := s.writable(s.Store.Snapshot(), info, in.SnapshotId)
	if err != nil {
		return nil, err
	}
	if err := checkAlgorithms(in.ChecksumAlgorithm, ""); err != nil {
		return nil, err
	}
	switch {
	case in.BlockIndex < 0 || in.BlockIndex >= snap.SizeGiB*blocksPerGiB:
		return nil, invalid("INVALID_BLOCK", "The block index %d lies beyond the volume's size.", in.BlockIndex)
	case in.DataLength != chunks.Size:
		return nil, invalid("INVALID_BLOCK", "The data length must be %d.", chunks.Size)
	case in.Progress != nil && (*in.Progress < 0 || *in.Progress > 100):
		return nil, invalid("INVALID_PARAMETER_VALUE", "The progress must be between 0 and 100.")
	}
	block := make([]byte, chunks.Size+1)
	n, err := io.ReadFull(in.BlockData, block)
	if err != nil && !errors.Is(err, io.EOF) && !errors.Is(err, io.ErrUnexpectedEOF) { // it is not what was signed
		return nil, err
	}
	if n != chunks.Size {
		return nil, invalid("INVALID_BLOCK", "The block has %d bytes, not %d.", n, chunks.Size)
	}
	block = block[:n]
	if in.Checksum != checksum(block) {
		return nil, invalid("INVALID_BLOCK", "The checksum does not match that of the block's data.")
	}
	if err := s.Chunks.PutLoose(ctx, snap.ID, uint32(in.BlockIndex), block); err != nil {
		return nil, err
	}
	// Whoever completed the snapshot meanwhile has perhaps not seen this block.
	if err := s.Store.Sync(ctx); err != nil {
		return nil, err
	}
	if _, err := s.writable(s.Store.Snapshot(), info, snap.ID); err != nil {
		return nil, err
	}
	if in.Progress != nil && *in.Progress > snap.Progress {
		err := s.change(ctx, snap.ID, func(next *resource.Snapshot) error {
			next.Progress = max(next.Progress, *in.Progress)
			return nil
		})
		if err != nil {
			return nil, err
		}
	}
	return &shape.PutSnapshotBlockResult{Checksum: in.Checksum, ChecksumAlgorithm: "SHA256"}, nil
}

// CompleteSnapshot seals a snapshot. It is completed soon after (see Run).
func (s *Service) CompleteSnapshot(ctx context.Context, in *shape.CompleteSnapshotRequest) (*shape.CompleteSnapshotResult, error) {
	info := caller(ctx)
	if err := checkAlgorithms(in.ChecksumAlgorithm, in.ChecksumAggregationMethod); err != nil {
		return nil, err
	}
	if in.ChangedBlocksCount < 0 {
		return nil, invalid("INVALID_PARAMETER_VALUE", "ChangedBlocksCount must not be negative.")
	}
	snap, err := s.find(s.Store.Snapshot(), info, in.SnapshotId, func(snap *resource.Snapshot) bool { return snap.AccountID == info.AccountID })
	if err != nil {
		return nil, err
	}
	if d := snap.Direct; d != nil && d.Sealed && d.Blocks == in.ChangedBlocksCount && snap.State != "error" { // once more
		return &shape.CompleteSnapshotResult{Status: snap.State}, nil
	}
	if snap, err = s.writable(s.Store.Snapshot(), info, in.SnapshotId); err != nil {
		return nil, err
	}
	loose, err := s.Chunks.Loose(ctx, snap.ID)
	if err != nil {
		return nil, err
	}
	if len(loose) != in.ChangedBlocksCount {
		return nil, invalid("INVALID_PARAMETER_VALUE", "ChangedBlocksCount is %d, but %d blocks were written.", in.ChangedBlocksCount, len(loose))
	}
	if in.Checksum != "" && in.Checksum != aggregate(loose) {
		return nil, invalid("INVALID_PARAMETER_VALUE", "The checksum does not match that of the blocks that were written.")
	}
	err = s.change(ctx, snap.ID, func(next *resource.Snapshot) error {
		next.Direct = &resource.DirectSnapshot{Parent: next.Direct.Parent, Timeout: next.Direct.Timeout, Sealed: true, Blocks: len(loose)}
		return nil
	})
	if err != nil {
		return nil, err
	}
	return &shape.CompleteSnapshotResult{Status: "pending"}, nil
}

// aggregate is AWS's checksum of all that was written: that of the blocks' checksums, in order of index.
func aggregate(loose []chunks.Loose) string {
	h := sha256.New()
	for _, l := range loose {
		h.Write(l.SHA256[:])
	}
	return base64.StdEncoding.EncodeToString(h.Sum(nil))
}

// change changes a snapshot that still can be written to.
func (s *Service) change(ctx context.Context, id string, change func(next *resource.Snapshot) error) error {
	return s.Store.Update(ctx, func(tx *store.Tx) error {
		snap := store.Snapshots.Get(tx, id)
		if snap == nil || snap.State != "pending" || snap.Direct == nil || snap.Direct.Sealed {
			return awserr.New("ConflictException", "The snapshot '%s' was completed, or deleted, meanwhile.", id).WithStatus(409)
		}
		next := *snap
		if err := change(&next); err != nil {
			return err
		}
		return store.Snapshots.Put(tx, &next)
	})
}
