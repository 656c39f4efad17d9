package disk

import (
	"encoding/binary"
	"errors"
	"fmt"
	"sync/atomic"

	"github.com/cockroachdb/pebble/v2"
)

// counterBits of an id count within an epoch; the rest is the epoch, which every Open raises durably before
// it gives out an id. So an id is never given out twice, whatever was lost in a crash.
const counterBits = 40

type idSource struct {
	epoch uint64
	last  atomic.Uint64
}

func openIDs(db *pebble.DB) (*idSource, error) {
	var epoch uint64
	value, closer, err := db.Get(keyEpoch)
	switch {
	case err == nil:
		if len(value) != 8 {
			return nil, fmt.Errorf("read epoch: %w", errRecord)
		}
		epoch = binary.BigEndian.Uint64(value)
		if err := closer.Close(); err != nil {
			return nil, fmt.Errorf("read epoch: %w", err)
		}
	case !errors.Is(err, pebble.ErrNotFound):
		return nil, fmt.Errorf("read epoch: %w", err)
	}
	epoch++
	if err := db.Set(keyEpoch, binary.BigEndian.AppendUint64(nil, epoch), pebble.Sync); err != nil {
		return nil, fmt.Errorf("write epoch: %w", err)
	}
	s := &idSource{epoch: epoch}
	s.last.Store(epoch << counterBits)
	return s, nil
}

func (s *idSource) next() uint64 { return s.last.Add(1) }
