package index

import (
	"context"
	"math/rand/v2"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"

	"workflow.uniconnect/services/trigger-scheduler/internal/event"
	"workflow.uniconnect/services/trigger-scheduler/internal/predicate"
	"workflow.uniconnect/services/trigger-scheduler/internal/start"
)

// TestIndex_edits_agree_with_a_new_index: after any changes, few or many at once, the index finds what one finds that was filled at once.
func TestIndex_edits_agree_with_a_new_index(t *testing.T) {
	seed := rand.Uint64()
	g := generator{rand.New(rand.NewPCG(seed, 1))}
	types := []event.Type{"call.ended", "call.ended", "call.ended", "call.started"}
	for range 3 {
		x := newIndex(t)
		now := make(map[string]Definition)
		for round := range 25 {
			var defs []Definition
			for range pick(g, []int{1, 1, 1, 2, 3, 40}) {
				def := definition(strconv.Itoa(g.IntN(100)), g.filter(2))
				if g.IntN(4) == 0 {
					def.Trigger.Filter = predicate.Source{Rules: g.rules(1)}
				}
				def.Trigger.Type, def.Active = pick(g, types), g.IntN(5) > 0
				defs = append(defs, def)
			}
			if g.IntN(30) == 0 {
				clear(now)
				if err := x.Replace(defs); err != nil {
					t.Fatalf("seed %d: %v", seed, err)
				}
			} else {
				apply(t, x, defs...)
			}
			for _, def := range defs {
				now[string(def.Workflow)] = def
			}
			if gone := strconv.Itoa(g.IntN(100)); g.IntN(3) == 0 {
				x.Remove(ID{"acme", start.WorkflowID(gone)})
				delete(now, gone)
			}
			anew := newIndex(t)
			var all []Definition
			for _, def := range now {
				all = append(all, def)
			}
			if err := anew.Replace(all); err != nil {
				t.Fatalf("seed %d: %v", seed, err)
			}
			if got, want := x.Len(), anew.Len(); got != want {
				t.Fatalf("seed %d round %d: %d workflows, want %d", seed, round, got, want)
			}
			for range 5 {
				ev := newEvent(g.object(3))
				if got, want := matches(t, x, ev), matches(t, anew, ev); !slices.Equal(got, want) {
					t.Fatalf("seed %d round %d: event %s starts %v, want %v", seed, round, ev.Data, got, want)
				}
			}
		}
	}
}

// TestIndex_Match_while_edited: readers see each workflow that stays, whatever is done to the others. Meant for the race detector.
func TestIndex_Match_while_edited(t *testing.T) {
	x := newIndex(t)
	stays := definition("stays", `event.data.a == "x"`)
	others := make([]Definition, 100)
	for i := range others {
		others[i] = definition(strconv.Itoa(i), `event.data.a == "x" && event.data.b == `+strconv.Itoa(i))
	}
	apply(t, x, append(others, stays)...)
	ctx, cancel := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	for range 2 {
		wg.Go(func() {
			for ctx.Err() == nil {
				if got := matches(t, x, newEvent(`{"a":"x","b":7,"c":1}`)); !slices.Contains(got, "stays") {
					t.Errorf("got %v", got)
					return
				}
			}
		})
	}
	for i := range 400 {
		def := definition(strconv.Itoa(i%100), pick(generator{rand.New(rand.NewPCG(1, uint64(i)))}, []string{
			``, `event.data.a == "x"`, `event.data.b == 7`, `event.data.c` + strconv.Itoa(i) + ` == 1`, `event.data.b > 3`,
		}))
		def.Active = i%3 > 0
		apply(t, x, def)
	}
	cancel()
	wg.Wait()
}

// TestIndex_Replace_compiles_later: a snapshot is there at once, whoever needs an expression first compiles it, and one that does not compile
// keeps only its own workflow from starting.
func TestIndex_Replace_compiles_later(t *testing.T) {
	x := newIndex(t)
	keyed := definition("keyed", "")
	keyed.Trigger.DedupeKey = "event.data.("
	defs := []Definition{
		definition("broken", `event.data.r == "x" && event.data.(`), definition("unknown", `nothing == "x"`), definition("good", `event.data.r == "x"`),
		definition("evaluated", `event.data.r in ["x"]`), keyed,
	}
	if err := x.Replace(defs); err != nil {
		t.Fatal(err)
	}
	found := x.Match(t.Context(), newEvent(`{"r":"x"}`), nil)
	if got := len(found.Starts); got != 3 || found.FilterErrors != 2 || found.KeyErrors != 1 {
		t.Errorf("got %d starts with %d filter errors and %d key errors, want 3, 2 and 1", got, found.FilterErrors, found.KeyErrors)
	}
	err := x.Prepare(t.Context())
	if err == nil {
		t.Fatal("nothing is said of what does not compile")
	}
	for _, name := range []string{"broken", "unknown", "keyed"} {
		if !strings.Contains(err.Error(), "workflow "+name+" revision 1: ") {
			t.Errorf("%s is not named: %v", name, err)
		}
	}
	if strings.Contains(err.Error(), "good") || strings.Contains(err.Error(), "evaluated") {
		t.Errorf("too many are named: %v", err)
	}
}
