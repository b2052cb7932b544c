package catalogindex

import (
	"flag"
	"fmt"
	"net/http"
	"sync"
	"testing"

	"workflow.uniconnect/test/stack"
)

var (
	active = flag.Int("active", 50, "active workflows beside the one that is changed")
	rounds = flag.Int("rounds", 3, "how often each change is made")
)

// TestMeasure holds that the measurement works; with -active 10000 it gives the figures.
func TestMeasure(t *testing.T) {
	s := stack.New(t, stack.Options{})
	client := s.User(t, "owner@acme.test")
	fill(t, client, *active)
	f, err := Measure(t.Context(), s, client, Config{EventType: "call.ended", Active: *active, Rounds: *rounds})
	if err != nil {
		t.Fatal(err)
	}
	t.Log(f.Summary())
	for name, took := range map[string]int{
		"updated": len(f.Updated), "activated": len(f.Activated), "deactivated": len(f.Deactivated), "undisturbed": len(f.Undisturbed),
	} {
		if took != *rounds {
			t.Errorf("%s: %d figures of %d rounds", name, took, *rounds)
		}
	}
	if f.Restart < f.Rebuild {
		t.Errorf("the process was ready after %v, its index after %v", f.Restart, f.Rebuild)
	}
}

func fill(t *testing.T, client *stack.Client, n int) {
	t.Helper()
	const parallel = 8
	var wg sync.WaitGroup
	for worker := range parallel {
		wg.Go(func() {
			for i := worker; i < n; i += parallel {
				err := client.Call(t.Context(), http.MethodPost, "/v1/workflows", object{
					"title": fmt.Sprintf("Other %05d", i),
					"trigger": object{"event": object{"eventType": "call.ended", "filter": object{"rules": object{"op": "ALL", "rules": []object{
						{"field": "event.data.queue", "operator": "EQUALS", "value": fmt.Sprintf("queue-%d", i)},
						{"field": "event.data.talk_ms", "operator": "GREATER_THAN", "value": 1000},
					}}}}},
					"steps": []object{{"id": "done", "stop": object{"outcome": "SUCCEEDED"}}},
				}, nil)
				if err != nil {
					t.Error(err)
					return
				}
			}
		})
	}
	wg.Wait()
}
