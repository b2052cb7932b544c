package postgres_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"workflow.uniconnect/services/executor/internal/execution"
)

// Every execution is on one page, however large the events are, and no page takes much memory.
func TestStore_List_Pages(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	me := f.owner(time.Minute)
	var want []execution.ID
	for i := range 12 {
		item := start("acme", 1+byte(i%2), fmt.Sprint(i))
		if i >= 4 {
			item.Event = []byte(`{"data":"` + strings.Repeat("x", 600<<10) + `"}`)
		}
		f.accept(me, item)
		want = append([]execution.ID{item.ID}, want...)
	}
	f.accept(me, start("globex", 1, "another tenant's"))
	for _, limit := range []int{1, 3, 200} {
		for _, only := range []execution.WorkflowID{{}, workflow(1)} {
			var got []execution.ID
			below := execution.FloorID(time.Now().Add(time.Hour))
			for more := true; more; {
				views, m, err := f.reader.List(t.Context(), "acme", only, below, limit)
				if err != nil || len(views) == 0 {
					t.Fatalf("page below %s: got %d, %v; want some", below, len(views), err)
				}
				bytes := 0
				for _, v := range views {
					got = append(got, v.ID)
					bytes += len(v.Event)
				}
				if len(views) > limit || bytes > 2<<20 {
					t.Errorf("page of %d: got %d rows with %d bytes", limit, len(views), bytes)
				}
				more, below = m, got[len(got)-1]
			}
			expected := 12
			if only != (execution.WorkflowID{}) {
				expected = 6
			}
			if len(got) != expected || expected == 12 && fmt.Sprint(got) != fmt.Sprint(want) {
				t.Errorf("pages of %d: got %v, want %v", limit, got, want)
			}
		}
	}
}
