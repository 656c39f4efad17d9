// Package blockcache keeps the blocks of something that is read at any place, so that many small reads of neighbours cost
// one read of a block.
package blockcache

import "sync"

// Cache holds the blocks that came last, by key. Its method may be called concurrently.
type Cache[K comparable] struct {
	most   int
	mu     sync.Mutex
	blocks map[K]*block
	order  []K // oldest first
}

type block struct {
	once sync.Once
	data []byte
	err  error
}

// New makes a cache of so many blocks.
func New[K comparable](most int) *Cache[K] {
	return &Cache[K]{most: most, blocks: map[K]*block{}}
}

// Get gives a block, which nobody may change. It is read once for all who want it at the same time; what failed is read
// again by who asks next.
func (c *Cache[K]) Get(key K, read func() ([]byte, error)) ([]byte, error) {
	c.mu.Lock()
	b := c.blocks[key]
	if b == nil {
		b = new(block)
		c.blocks[key] = b
		if c.order = append(c.order, key); len(c.order) > c.most {
			delete(c.blocks, c.order[0])
			c.order = c.order[1:]
		}
	}
	c.mu.Unlock()
	b.once.Do(func() {
		if b.data, b.err = read(); b.err != nil {
			c.mu.Lock()
			defer c.mu.Unlock()
			if c.blocks[key] == b {
				delete(c.blocks, key)
			}
		}
	})
	return b.data, b.err
}
