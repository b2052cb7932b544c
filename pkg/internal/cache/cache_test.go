package cache_test

import (
	"testing"

	"workflow.uniconnect/pkg/internal/cache"
)

func TestCache_is_bounded_and_keeps_what_is_used(t *testing.T) {
	const size = 8
	c := cache.New[int, string](size)
	c.Put(-1, "used")
	kept := 0
	for i := range 100 * size {
		c.Put(i, "x")
		if v, ok := c.Get(-1); !ok || v != "used" {
			t.Fatalf("the value used all the time is gone after %d others", i)
		}
	}
	for i := range 100 * size {
		if _, ok := c.Get(i); ok {
			kept++
		}
	}
	if kept == 0 || kept > 2*size {
		t.Errorf("kept %d values, want 1 to %d", kept, 2*size)
	}
}
