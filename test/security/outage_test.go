package security

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"testing"
	"time"

	"google.golang.org/grpc/codes"

	"workflow.uniconnect/test/stack"

	accessv1 "workflow.uniconnect/proto/gen/go/uniconnect/access/v1"
	workflowv1 "workflow.uniconnect/proto/gen/go/uniconnect/workflow/v1"
)

// awayWithin is how long a client may wait to hear that something is away.
const awayWithin = 2500 * time.Millisecond

// away holds that each call is answered in time, with 503 and when to come again, and that nobody learns which machine is missing.
func (s *system) away(t *testing.T, reasons []string, requests ...message) {
	t.Helper()
	for _, request := range requests {
		for _, f := range s.faces() {
			begin := time.Now()
			a := f.call(t, s.userToken(t, owner), request)
			took := time.Since(begin)
			known := false
			for _, reason := range reasons {
				known = known || a.reason == reason
			}
			if a.code != codes.Unavailable || !known || a.status != 0 && a.status != http.StatusServiceUnavailable {
				t.Errorf("%T over %s: got %v, want UNAVAILABLE for %v", request, f.name(), a.unexpected(), reasons)
			}
			if a.status != 0 && a.header.Get("Retry-After") == "" {
				t.Errorf("%T over REST: no Retry-After", request)
			}
			if took > awayWithin {
				t.Errorf("%T over %s took %v", request, f.name(), took)
			}
			if leak := leakIn(a); leak != "" {
				t.Errorf("%T over %s: the answer holds %q: %s", request, f.name(), leak, a.text)
			}
		}
	}
}

// awaitBack returns when the system answers again, without any process being started anew.
func (s *system) awaitBack(t *testing.T, requests ...message) {
	t.Helper()
	for _, request := range requests {
		stack.Eventually(t, 2*soon, func(context.Context) error {
			if a := s.rest.call(t, s.userToken(t, owner), request); a.refused() {
				return fmt.Errorf("%T: %w", request, a.unexpected())
			}
			return nil
		})
	}
	var errs []error
	for _, p := range s.Services() {
		errs = append(errs, p.Unexpected())
	}
	if err := errors.Join(errs...); err != nil {
		t.Error(err)
	}
}

func publication() message {
	return &workflowv1.PublishEventRequest{Event: &workflowv1.CloudEvent{Type: "custom.security.probe", Source: "/security"}}
}

func (s *system) natsAway(t *testing.T) {
	if err := s.NATS.Kill(); err != nil {
		t.Fatal(err)
	}
	s.away(t, []string{"BUS_UNAVAILABLE"}, publication())
	// What needs no bus is served.
	if a := s.rest.call(t, s.userToken(t, owner), &workflowv1.ListWorkflowsRequest{}); a.refused() {
		t.Error(a.unexpected())
	}
	if err := s.NATS.Restart(t.Context()); err != nil {
		t.Fatal(err)
	}
	s.awaitBack(t, publication())
}

func (s *system) postgresAway(t *testing.T) {
	if err := s.StopPostgres(t.Context()); err != nil {
		t.Fatal(err)
	}
	reasons := []string{"DATABASE_UNAVAILABLE", "SERVICE_UNAVAILABLE"}
	s.away(t, reasons, &accessv1.GetMeRequest{}, &workflowv1.ListWorkflowsRequest{}, &workflowv1.ListExecutionsRequest{}, &workflowv1.ListDeadLettersRequest{},
		creation(manual("Never stored")), &workflowv1.RunWorkflowRequest{WorkflowId: nobodysID})
	if err := s.RestartPostgres(t.Context()); err != nil {
		t.Fatal(err)
	}
	s.awaitBack(t, &workflowv1.ListWorkflowsRequest{}, &workflowv1.ListExecutionsRequest{}, &workflowv1.ListDeadLettersRequest{})
}
