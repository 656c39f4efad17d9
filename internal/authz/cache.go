package authz

import "sync"

// generation bounds each of the two generations of a cache.
const generation = 4096

// cache keeps what was compiled of records, by the record's address: a record in the store is immutable, and a cache
// that holds it keeps its address from being used again. The values used last stay.
type cache[K comparable, V any] struct {
	mu         sync.RWMutex
	young, old map[K]V
}

func (c *cache[K, V]) get(key K, compile func(K) V) V {
	c.mu.RLock()
	v, ok := c.young[key]
	if ok {
		c.mu.RUnlock()
		return v
	}
	v, ok = c.old[key]
	c.mu.RUnlock()
	if !ok {
		v = compile(key)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.young == nil || len(c.young) >= generation {
		c.old, c.young = c.young, make(map[K]V)
	}
	c.young[key] = v
	return v
}
