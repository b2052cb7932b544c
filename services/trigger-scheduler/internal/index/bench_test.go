package index

import (
	"fmt"
	"runtime"
	"testing"

	"workflow.uniconnect/services/trigger-scheduler/internal/predicate"
)

// filters are the shapes that a tenant's filters have.
func filters() []struct {
	name string
	of   func(i int) predicate.Source
} {
	text := func(format string) func(int) predicate.Source {
		return func(i int) predicate.Source { return predicate.Source{Expression: fmt.Sprintf(format, i)} }
	}
	return []struct {
		name string
		of   func(i int) predicate.Source
	}{
		{"none", func(int) predicate.Source { return predicate.Source{} }},
		{"equalities", text(`event.data.result == "answered" && event.data.campaign_id == "c%d"`)},
		{"one_expression_for_all", func(int) predicate.Source {
			return predicate.Source{Expression: `event.data.talk_ms > 1000 || event.data.vip`}
		}},
		{"equality_and_range", text(`event.data.campaign_id == "c%d" && event.data.talk_ms > 1000`)},
		{"long", text(`event.data.queue in ["sales", "support", "vip"] && event.data.from_e164.startsWith("+49%d") && (event.data.talk_ms > 1000 || event.data.ring_ms > 20000) && has(event.data.lead_id)`)},
		{"rules", func(i int) predicate.Source {
			return predicate.Source{Rules: &predicate.Group{Join: predicate.All, Rules: []predicate.Rule{
				{Field: "event.data.queue", Operator: "EQUALS", Value: fmt.Sprintf("queue-%d", i)},
				{Field: "event.data.talk_ms", Operator: "GREATER_THAN", Value: int64(1000)},
				{Group: &predicate.Group{Join: predicate.Any, Rules: []predicate.Rule{
					{Field: "event.data.result", Operator: "EQUALS", Value: "answered"},
					{Field: "event.data.direction", Operator: "IN", Value: []any{"inbound", "internal"}},
				}}},
			}}}
		}},
	}
}

func tenThousand(of func(int) predicate.Source) []Definition {
	defs := make([]Definition, 10_000)
	for i := range defs {
		defs[i] = definition(fmt.Sprintf("w%05d", i), "")
		defs[i].Trigger.Filter = of(i)
	}
	return defs
}

// BenchmarkIndex_rebuild takes in a snapshot of 10,000 active workflows of one tenant, all of one event type. It is to take at most a second.
func BenchmarkIndex_rebuild(b *testing.B) {
	for _, f := range filters() {
		b.Run(f.name, func(b *testing.B) {
			defs := tenThousand(f.of)
			runtime.GC()
			var before, after runtime.MemStats
			runtime.ReadMemStats(&before)
			var x *Index
			for b.Loop() {
				x = newIndex(b)
				if err := x.Replace(defs); err != nil {
					b.Fatal(err)
				}
			}
			runtime.GC()
			runtime.ReadMemStats(&after)
			b.ReportMetric(float64(after.HeapAlloc-before.HeapAlloc)/float64(len(defs)), "B/workflow")
			runtime.KeepAlive(x)
		})
	}
}

// BenchmarkIndex_change takes in one change beside 10,000. It is to take at most 100 ms from the catalog's answer on, so this must be little.
func BenchmarkIndex_change(b *testing.B) {
	for _, f := range filters() {
		b.Run(f.name, func(b *testing.B) {
			x := newIndex(b)
			apply(b, x, tenThousand(f.of)...)
			def := definition("w00042", "")
			for i := 0; b.Loop(); i++ {
				def.Trigger.Filter = f.of(i)
				apply(b, x, def)
			}
		})
	}
}
