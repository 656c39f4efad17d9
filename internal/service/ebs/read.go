package ebs

import (
	"bytes"
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/base64"
	"io"
	"math"

	"karri.dev/internal/aws/call"
	shape "karri.dev/internal/aws/shape/ebs"
	"karri.dev/internal/chunks"
)

// Pages of lists of blocks, as AWS's.
const (
	fewestBlocks = 100
	mostBlocks   = 10_000
)

// page reads where a page begins and how many blocks it may have. list names what is listed.
func (s *Service) page(info *call.Info, list, token string, most, start *int) (from uint32, limit int, err error) {
	limit = mostBlocks
	if most != nil {
		if limit = *most; limit < fewestBlocks || limit > mostBlocks {
			return 0, 0, invalid("INVALID_PARAMETER_VALUE", "MaxResults must be between %d and %d.", fewestBlocks, mostBlocks)
		}
	}
	if start != nil {
		if *start < 0 {
			return 0, 0, invalid("INVALID_PARAMETER_VALUE", "StartingBlockIndex must not be negative.")
		}
		from = uint32(min(int64(*start), math.MaxUint32))
	}
	if token != "" { // it goes before where one began
		from, err = s.openPage(info, list, token)
	}
	return from, limit, err
}

// ListSnapshotBlocks lists the blocks that a snapshot has.
func (s *Service) ListSnapshotBlocks(ctx context.Context, in *shape.ListSnapshotBlocksRequest) (*shape.ListSnapshotBlocksResult, error) {
	info := caller(ctx)
	snap, err := s.readable(s.Store.Snapshot(), info, in.SnapshotId)
	if err != nil {
		return nil, err
	}
	from, limit, err := s.page(info, snap.ID, in.NextToken, in.MaxResults, in.StartingBlockIndex)
	if err != nil {
		return nil, err
	}
	d, err := s.openData(ctx, snap)
	if err != nil {
		return nil, err
	}
	defer d.Close()
	entries, err := d.part(ctx, from, limit+1)
	if err != nil {
		return nil, err
	}
	expires := s.Now().Add(tokenLife)
	out := &shape.ListSnapshotBlocksResult{Blocks: []shape.Block{}, ExpiryTime: expires, VolumeSize: int64(snap.SizeGiB), BlockSize: chunks.Size}
	for i, e := range entries {
		if i == limit {
			out.NextToken = s.pageToken(info, snap.ID, e.Index)
			break
		}
		out.Blocks = append(out.Blocks, shape.Block{BlockIndex: int(e.Index), BlockToken: s.blockToken(info, snap.ID, e.Index, e.ID, expires)})
	}
	return out, nil
}

// ListChangedBlocks lists the blocks that differ between two snapshots of one volume.
func (s *Service) ListChangedBlocks(ctx context.Context, in *shape.ListChangedBlocksRequest) (*shape.ListChangedBlocksResult, error) {
	info, r := caller(ctx), s.Store.Snapshot()
	second, err := s.readable(r, info, in.SecondSnapshotId)
	if err != nil {
		return nil, err
	}
	if in.FirstSnapshotId == "" {
		return nil, invalid("INVALID_SNAPSHOT_ID", "FirstSnapshotId must be specified.")
	}
	first, err := s.readable(r, info, in.FirstSnapshotId)
	if err != nil {
		return nil, err
	}
	if first.Descent() != second.Descent() {
		return nil, invalid("UNRELATED_SNAPSHOTS", "The snapshots '%s' and '%s' are not of the same volume.", first.ID, second.ID)
	}
	list := first.ID + "/" + second.ID
	from, limit, err := s.page(info, list, in.NextToken, in.MaxResults, in.StartingBlockIndex)
	if err != nil {
		return nil, err
	}
	a, err := s.openData(ctx, first)
	if err != nil {
		return nil, err
	}
	defer a.Close()
	b, err := s.openData(ctx, second)
	if err != nil {
		return nil, err
	}
	defer b.Close()
	expires := s.Now().Add(tokenLife)
	out := &shape.ListChangedBlocksResult{ChangedBlocks: []shape.ChangedBlock{}, ExpiryTime: expires, VolumeSize: int64(second.SizeGiB), BlockSize: chunks.Size}
	next, err := changed(ctx, a, b, from, func(old, now *chunks.Entry) bool {
		if len(out.ChangedBlocks) == limit {
			return false
		}
		var c shape.ChangedBlock
		if old != nil {
			c.BlockIndex, c.FirstBlockToken = int(old.Index), s.blockToken(info, first.ID, old.Index, old.ID, expires)
		}
		if now != nil {
			c.BlockIndex, c.SecondBlockToken = int(now.Index), s.blockToken(info, second.ID, now.Index, now.ID, expires)
		}
		out.ChangedBlocks = append(out.ChangedBlocks, c)
		return true
	})
	if err != nil {
		return nil, err
	}
	if next < math.MaxUint32 {
		out.NextToken = s.pageToken(info, list, next)
	}
	return out, nil
}

// mostCompared bounds the work of one call: then it answers with what it has found, and a token.
const mostCompared = 20 * mostBlocks

// changed calls f for the differences between two snapshots from an index on, until it says false, and gives the index to
// go on at; MaxUint32: there are no more.
func changed(ctx context.Context, a, b *data, from uint32, f func(old, now *chunks.Entry) bool) (next uint32, err error) {
	for done := 0; ; {
		old, err := a.part(ctx, from, mostBlocks)
		if err != nil {
			return 0, err
		}
		now, err := b.part(ctx, from, mostBlocks)
		if err != nil {
			return 0, err
		}
		end := uint32(math.MaxUint32) // up to which both parts tell all
		for _, part := range [][]chunks.Entry{old, now} {
			if len(part) == mostBlocks {
				end = min(end, part[len(part)-1].Index)
			}
		}
		for len(old) > 0 || len(now) > 0 {
			var x, y *chunks.Entry
			if len(old) > 0 && (len(now) == 0 || old[0].Index <= now[0].Index) {
				x = &old[0]
			}
			if len(now) > 0 && (len(old) == 0 || now[0].Index <= old[0].Index) {
				y = &now[0]
			}
			at := cmp.Or(x, y).Index
			if at > end {
				break
			}
			if done >= mostCompared {
				return at, nil
			}
			alike := false
			if x != nil && y != nil {
				if alike, err = same(ctx, a, *x, b, *y); err != nil {
					return 0, err
				}
				if a.disk != nil || b.disk != nil { // both were read
					done += 100
				}
			}
			if !alike && !f(x, y) {
				return at, nil
			}
			done++
			if x != nil {
				old = old[1:]
			}
			if y != nil {
				now = now[1:]
			}
		}
		if end == math.MaxUint32 {
			return end, nil
		}
		from = end + 1
	}
}

// GetSnapshotBlock gives a block's data.
func (s *Service) GetSnapshotBlock(ctx context.Context, in *shape.GetSnapshotBlockRequest) (*shape.GetSnapshotBlockResult, error) {
	info := caller(ctx)
	snap, err := s.readable(s.Store.Snapshot(), info, in.SnapshotId)
	if err != nil {
		return nil, err
	}
	if in.BlockIndex < 0 || in.BlockIndex >= snap.SizeGiB*blocksPerGiB {
		return nil, invalid("INVALID_BLOCK", "The snapshot has no block %d.", in.BlockIndex)
	}
	e := chunks.Entry{Index: uint32(in.BlockIndex)}
	if e.ID, err = s.openBlock(info, snap.ID, e.Index, in.BlockToken); err != nil {
		return nil, err
	}
	d, err := s.openData(ctx, snap)
	if err != nil {
		return nil, err
	}
	defer d.Close()
	block, err := d.read(ctx, e)
	if err != nil {
		return nil, err
	}
	return &shape.GetSnapshotBlockResult{
		DataLength: len(block), BlockData: io.NopCloser(bytes.NewReader(block)), Checksum: checksum(block), ChecksumAlgorithm: "SHA256",
	}, nil
}

// checksum is AWS's checksum of a block.
func checksum(block []byte) string {
	sum := sha256.Sum256(block)
	return base64.StdEncoding.EncodeToString(sum[:])
}
