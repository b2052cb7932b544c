package e2e

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"fmt"
	"slices"
	"strings"
	"testing"

	"workflow.uniconnect/test/otlp"
	"workflow.uniconnect/test/stack"
)

// trace holds that one trace leads from the publisher through the bus, the services and the database to the target.
func trace(t *testing.T, s *system) {
	p, call := path(), unique("call")
	w := s.create(t, onCall(call, s.post("tell", p, object{})))
	id := make([]byte, 16)
	_, _ = rand.Read(id) // never fails
	traceID := hex.EncodeToString(id)
	const publisher = "00f067aa0ba902b7"
	s.publish(t, "call.segment_ended", object{"call_id": call}, "traceparent", "00-"+traceID+"-"+publisher+"-01")
	s.awaitEnd(t, w.ID, 1)

	parent := strings.Split(s.awaitCall(t, p, 1)[0].Header.Get("traceparent"), "-")
	if len(parent) != 4 || parent[1] != traceID || parent[3] != "01" {
		t.Fatalf("the target got traceparent %q, want one of trace %s, sampled", strings.Join(parent, "-"), traceID)
	}
	// What must be in the trace, by words in the span's name; in the separate deployment also by process. A new workflow's first execution
	// fetches its revision, so that a call and a statement of its own belong to it; what is written for many executions at once has no
	// one trace.
	wanted := []struct{ service, word string }{
		{"trigger-scheduler", "event call.segment_ended"}, {"executor", "execution"}, {"executor", "step tell"},
		{"executor", "DefinitionService/GetRevision"}, {"workflow-catalog", "DefinitionService/GetRevision"}, {"workflow-catalog", "SELECT"},
	}
	stack.Eventually(t, soon, func(context.Context) error {
		spans := s.traces.Trace(traceID)
		for _, want := range wanted {
			if s.Workflowd != nil {
				want.service = "workflowd"
			}
			if !slices.ContainsFunc(spans, func(span otlp.Span) bool {
				return span.Service == want.service && strings.Contains(span.Name, want.word)
			}) {
				return fmt.Errorf("no span of %s with %q in its name among:\n%s", want.service, want.word, describe(spans))
			}
		}
		return connected(spans, publisher, parent[2])
	})
}

// connected holds that the spans are one tree below the publisher's, to which the target's caller belongs.
func connected(spans []otlp.Span, root, leaf string) error {
	parents := make(map[string]string)
	for _, s := range spans {
		parents[s.ID] = s.Parent
	}
	for _, s := range spans {
		if _, known := parents[s.Parent]; !known && s.Parent != root {
			return fmt.Errorf("span %s of %s has the unknown parent %s", s.Name, s.Service, s.Parent)
		}
	}
	if _, known := parents[leaf]; !known {
		return fmt.Errorf("the target was called from span %s, which was not reported:\n%s", leaf, describe(spans))
	}
	return nil
}

func describe(spans []otlp.Span) string {
	var b strings.Builder
	for _, s := range spans {
		fmt.Fprintf(&b, "  %s < %s  %s: %s\n", s.ID, s.Parent, s.Service, s.Name)
	}
	return b.String()
}
