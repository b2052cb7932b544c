package e2e

import (
	"crypto/rand"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// dateRange holds that a workflow starts for the events whose own time is its range's start or later, and before its end. Whether the range
// lies in the past does not matter, nor when the events are published.
func dateRange(t *testing.T, s *system) {
	for name, from := range map[string]time.Time{
		"past": time.Date(2024, 3, 31, 1, 0, 0, 0, time.UTC), "future": time.Now().UTC().AddDate(1, 0, 0).Truncate(time.Hour),
	} {
		t.Run(name, func(t *testing.T) { s.aroundEdges(t, from, from.Add(24*time.Hour)) })
	}
}

func (s *system) aroundEdges(t *testing.T, from, until time.Time) {
	berlin, west := time.FixedZone("", 2*3600), time.FixedZone("", -10*3600)
	events := map[string]time.Time{
		"long_before": time.Date(1971, 1, 1, 0, 0, 0, 0, time.UTC), "before_start": from.Add(-1), "at_start": from,
		"at_start_elsewhere": from.In(berlin), "before_end": until.Add(-1), "before_end_elsewhere": until.Add(-1).In(west),
		"at_end": until, "at_end_elsewhere": until.In(west), "long_after": time.Date(9000, 1, 1, 0, 0, 0, 0, time.UTC),
	}
	cases := map[string]struct {
		bounds object
		want   []string
	}{
		"both":       {object{"startTime": from, "endTime": until}, []string{"at_start", "at_start_elsewhere", "before_end", "before_end_elsewhere"}},
		"only_start": {object{"startTime": from}, []string{"at_end", "at_end_elsewhere", "at_start", "at_start_elsewhere", "before_end", "before_end_elsewhere", "long_after"}},
		"only_end":   {object{"endTime": until}, []string{"at_start", "at_start_elsewhere", "before_end", "before_end_elsewhere", "before_start", "long_before"}},
	}
	call, run := unique("call"), strings.ToLower(rand.Text()[:8])
	ids := make(map[string]string)
	for name, c := range cases {
		w := onCall(call, object{"id": "done", "stop": object{"outcome": "SUCCEEDED"}})
		w["dateRange"] = c.bounds
		ids[name] = s.create(t, w).ID
	}
	all := s.create(t, onCall(call, object{"id": "done", "stop": object{"outcome": "SUCCEEDED"}}))
	for name, at := range events {
		event := object{
			"id": run + name, "source": "/e2e", "type": "call.segment_ended", "time": at.Format(time.RFC3339Nano), "data": object{"call_id": call},
		}
		if err := s.owner.Call(t.Context(), http.MethodPost, "/v1/events", event, nil); err != nil {
			t.Fatalf("publish %s: %v", name, err)
		}
	}
	// What an event starts is accepted at once for all workflows. So when the one without a range has run for all events, the others
	// have started whatever they ever will.
	s.awaitEnd(t, all.ID, len(events))
	for name, c := range cases {
		var list struct{ Executions []executionView }
		if err := s.owner.Call(t.Context(), http.MethodGet, "/v1/workflows/"+ids[name]+"/executions", nil, &list); err != nil {
			t.Fatal(err)
		}
		got := make([]string, 0, len(list.Executions))
		for _, e := range list.Executions {
			got = append(got, strings.TrimPrefix(e.Cause.Event.ID, run))
		}
		slices.Sort(got)
		if diff := cmp.Diff(c.want, got); diff != "" {
			t.Errorf("%s [%v, %v) started for (-want +got):\n%s", name, from, until, diff)
		}
	}
}
