package predicate

import (
	"testing"

	"workflow.uniconnect/services/trigger-scheduler/internal/event"
	"workflow.uniconnect/services/trigger-scheduler/internal/eventpb"
)

// TestChecks_Of holds that every known type's schema can be checked against, and that the environments are made once.
func TestChecks_Of(t *testing.T) {
	checks, registry := NewChecks(), event.NewRegistry(eventpb.Kinds()...)
	for _, typ := range append(event.KnownTypes(), "custom.shop.paid", "custom.shop.sent") {
		env, err := checks.Of(string(typ), registry.Schema(typ))
		if err != nil {
			t.Fatal(err)
		}
		if again, err := checks.Of(string(typ), registry.Schema(typ)); err != nil || again != env {
			t.Errorf("%s: another environment, %v", typ, err)
		}
		if _, violations := env.Compile(Source{Expression: `event.data.anything == "x" || has(event.data.other.thing)`}, "filter"); len(violations) > 0 {
			t.Errorf("%s: unknown fields are refused: %v", typ, violations)
		}
	}
	if got, want := len(checks.envs), len(event.KnownTypes())+1; got != want {
		t.Errorf("%d environments for %d types and those of custom modules", got, want-1)
	}
}

func BenchmarkChecks_Of(b *testing.B) {
	schema := event.NewRegistry(eventpb.Kinds()...).Schema("call.ended")
	for b.Loop() {
		if _, err := NewChecks().Of("call.ended", schema); err != nil {
			b.Fatal(err)
		}
	}
}
