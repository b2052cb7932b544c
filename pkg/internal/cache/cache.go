// Package cache holds values that are cheap to lose, in bounded memory.
package cache

import "sync"

// Cache keeps between size and twice size of the values used last, in two generations: when the young one is full, the old one
// is dropped and the young one grows old. Nothing is timed, nothing runs in the background; a value that may expire carries its
// own time. It is safe for concurrent use.
type Cache[K comparable, V any] struct {
	size int

	mu         sync.Mutex
	young, old map[K]V
}

// New returns an empty cache.
func New[K comparable, V any](size int) *Cache[K, V] {
	return &Cache[K, V]{size: size, young: make(map[K]V)}
}

// Get returns the value of key.
func (c *Cache[K, V]) Get(key K) (V, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if v, ok := c.young[key]; ok {
		return v, true
	}
	v, ok := c.old[key]
	if ok {
		c.put(key, v)
	}
	return v, ok
}

// Put stores the value of key.
func (c *Cache[K, V]) Put(key K, value V) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.put(key, value)
}

func (c *Cache[K, V]) put(key K, value V) {
	if len(c.young) >= c.size {
		c.old, c.young = c.young, make(map[K]V)
	}
	c.young[key] = value
}
