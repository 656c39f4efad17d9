package disk

import (
	"errors"
	"sync"
	"sync/atomic"

	"github.com/cockroachdb/pebble/v2"
)

// known is what all readers of an engine share: how versions are named, and what need not be looked up for every write.
type known struct {
	*versionNames
	// nulls says that tableNulls may hold something. Most clouds have no null version below others.
	nulls atomic.Bool
	// live has buckets that are not dropped. Only the committer adds to it: what it finds holds until it drops the bucket.
	live sync.Map
}

func openKnown(db *pebble.DB) (*known, error) {
	names, err := openVersionNames(db)
	if err != nil {
		return nil, err
	}
	k := &known{versionNames: names}
	it, err := reader{Reader: db}.scan([]byte{tableNulls})
	if err != nil {
		return nil, err
	}
	k.nulls.Store(it.First())
	return k, errors.Join(it.Error(), closeScan(it))
}
