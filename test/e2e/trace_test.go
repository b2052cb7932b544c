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
	"workflow.uniconnect/test/target"
)

// trace holds that one trace leads from the publisher through the bus, the services and the database to the target.
func trace(t *testing.T, s *system) {
	p, call := path(), unique("call")
	w := s.create(t, onCall(call, s.post("tell", p, object{})))
	// What must be in a trace, each span below a certain other one. What serves many executions at once is in the trace of each.
	wanted := []wantedSpan{
		{"trigger-scheduler", "event call.segment_ended", ""}, {"trigger-scheduler", "StartExecutions", "event call.segment_ended"},
		{"executor", "accept", "event call.segment_ended"}, {"executor", "execution", "event call.segment_ended"},
		{"executor", "step tell", "execution"}, {"executor", "record", "execution"},
	}
	// A new workflow's first execution fetches its revision.
	s.traced(t, func(headers ...string) *target.Call {
		s.publish(t, "call.segment_ended", object{"call_id": call}, headers...)
		s.awaitEnd(t, w.ID, 1)
		return s.awaitCall(t, p, 1)[0]
	}, append(slices.Clone(wanted),
		wantedSpan{"executor", "DefinitionService/GetRevision", "execution"},
		wantedSpan{"workflow-catalog", "DefinitionService/GetRevision", "DefinitionService/GetRevision"},
		// The statement travels with the one that names the tenant.
		wantedSpan{"workflow-catalog", "batch", "DefinitionService/GetRevision"}, wantedSpan{"workflow-catalog", "SELECT", "batch"}))
	s.traced(t, func(headers ...string) *target.Call {
		s.publish(t, "call.segment_ended", object{"call_id": call}, headers...)
		s.awaitEnd(t, w.ID, 2)
		return s.awaitCall(t, p, 2)[1]
	}, wanted)
}

// wantedSpan names a span of a process by a word in its name, and the span above it likewise, unless that is the publisher's.
type wantedSpan struct{ service, word, above string }

// traced has something cause a call of the target in a trace of its own, and holds that the trace has what is wanted.
func (s *system) traced(t *testing.T, cause func(headers ...string) *target.Call, wanted []wantedSpan) {
	t.Helper()
	id := make([]byte, 16)
	_, _ = rand.Read(id) // never fails
	traceID := hex.EncodeToString(id)
	const publisher = "00f067aa0ba902b7"
	called := cause("traceparent", "00-"+traceID+"-"+publisher+"-01")
	parent := strings.Split(called.Header.Get("traceparent"), "-")
	if len(parent) != 4 || parent[1] != traceID || parent[3] != "01" {
		t.Fatalf("the target got traceparent %q, want one of trace %s, sampled", strings.Join(parent, "-"), traceID)
	}
	stack.Eventually(t, soon, func(context.Context) error {
		spans := s.traces.Trace(traceID)
		names := make(map[string]string)
		for _, span := range spans {
			names[span.ID] = span.Name
		}
		for _, want := range wanted {
			if s.Workflowd != nil {
				want.service = "workflowd"
			}
			if !slices.ContainsFunc(spans, func(span otlp.Span) bool {
				return span.Service == want.service && strings.Contains(span.Name, want.word) &&
					(want.above == "" && span.Parent == publisher || want.above != "" && strings.Contains(names[span.Parent], want.above))
			}) {
				return fmt.Errorf("no span of %s with %q in its name below %q among:\n%s", want.service, want.word, want.above, describe(spans))
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
