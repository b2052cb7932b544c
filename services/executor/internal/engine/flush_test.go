package engine

import (
	"testing"

	"workflow.uniconnect/services/executor/internal/execution"
	"workflow.uniconnect/services/executor/internal/run"
)

// Many large records must not become one statement that the database refuses for its size: it would be tried again for ever, and with it
// the records of everybody else.
func TestFlusher_BoundsBatchesByBytes(t *testing.T) {
	t.Parallel()
	f := newFlusher(nil)
	for range 10 {
		f.submit(pendingRecord{record: execution.Record{Results: []run.Result{{Output: make([]byte, 3<<20)}}}})
	}
	for range maxFlush {
		f.submit(pendingRecord{})
	}
	for i, want := range []int{3, 3, 3, maxFlush, 1} {
		if got := len(f.next(nil)); got != want {
			t.Errorf("batch %d: got %d records, want %d", i, got, want)
		}
	}
}
