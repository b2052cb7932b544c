package remote

import (
	"context"
	"fmt"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/timestamppb"

	"workflow.uniconnect/pkg/fault"
	peerv1 "workflow.uniconnect/proto/gen/go/uniconnect/workflow/peer/v1"
	workflowv1 "workflow.uniconnect/proto/gen/go/uniconnect/workflow/v1"
	"workflow.uniconnect/services/trigger-scheduler/internal/start"
)

const (
	// maxStarts and maxBytes bound one call; the bytes leave room below the 4 MiB that the executor takes, unless one event alone
	// is larger.
	maxStarts = 1024
	maxBytes  = 3 << 20
	// startOverhead is what a start takes beside its event.
	startOverhead = 512
	startTimeout  = 5 * time.Second
)

// Starter has the executor settle starts.
type Starter struct {
	client peerv1.StartServiceClient
}

// NewStarter returns a starter.
func NewStarter(conn grpc.ClientConnInterface) *Starter {
	return &Starter{client: peerv1.NewStartServiceClient(conn)}
}

// Start implements intake.Starter: one call per chunk, as few chunks as the limits allow.
func (s *Starter) Start(ctx context.Context, starts []start.Start) ([]start.Result, error) {
	results := make([]start.Result, 0, len(starts))
	for len(starts) > 0 {
		n := chunk(starts)
		answers, err := s.call(ctx, starts[:n])
		if err != nil {
			return results, err
		}
		results = append(results, answers...)
		starts = starts[n:]
	}
	return results, nil
}

// chunk returns how many of starts go into one call, at least one.
func chunk(starts []start.Start) int {
	size := 0
	for i := range starts {
		size += len(starts[i].Event.JSON()) + startOverhead
		if i > 0 && (i == maxStarts || size > maxBytes) {
			return i
		}
	}
	return len(starts)
}

func (s *Starter) call(ctx context.Context, starts []start.Start) ([]start.Result, error) {
	ctx, cancel := context.WithTimeout(ctx, startTimeout)
	defer cancel()
	resp, err := s.client.StartExecutions(ctx, request(starts))
	if err != nil {
		return nil, fmt.Errorf("start executions: %w", err)
	}
	if got := len(resp.GetResults()); got != len(starts) {
		return nil, fault.Internal(fault.ReasonInternal, "the executor answered another number of items").With("got", fmt.Sprint(got))
	}
	results := make([]start.Result, len(starts))
	for i, r := range resp.GetResults() {
		results[i] = start.Result{
			Outcome: outcome(r.GetOutcome()), ExecutionID: r.GetExecutionId(), Reason: fault.Reason(r.GetReason()), Retryable: r.GetRetryable(),
		}
	}
	return results, nil
}

// request makes the messages of a call out of a few blocks of memory rather than several allocations each.
func request(starts []start.Start) *peerv1.StartExecutionsRequest {
	n := len(starts)
	var (
		items  = make([]peerv1.Start, n)
		refs   = make([]*peerv1.Start, n)
		causes = make([]workflowv1.Cause, n)
		kinds  = make([]workflowv1.Cause_Event, n)
		events = make([]workflowv1.EventCause, n)
		ttls   = make([]durationpb.Duration, n)
		times  = make([]timestamppb.Timestamp, n)
	)
	for i := range starts {
		s := &starts[i]
		ev := &events[i]
		ev.Id, ev.Type, ev.Source = s.Event.ID, string(s.Event.Type), s.Event.Source
		kinds[i].Event = ev
		causes[i].Kind = &kinds[i]
		ttls[i].Seconds, ttls[i].Nanos = int64(s.TTL/time.Second), int32(s.TTL%time.Second)
		times[i].Seconds, times[i].Nanos = s.Event.Published.Unix(), int32(s.Event.Published.Nanosecond())
		item := &items[i]
		item.Tenant, item.WorkflowId, item.Revision = string(s.Tenant), string(s.Workflow), s.Revision
		item.Key, item.KeyTtl, item.Cause = s.Key[:], &ttls[i], &causes[i]
		item.Event, item.Traceparent, item.PublishTime = s.Event.JSON(), s.Traceparent, &times[i]
		refs[i] = item
	}
	return &peerv1.StartExecutionsRequest{Starts: refs}
}

// outcome is empty for an answer that this release does not know, which keeps the message.
func outcome(o peerv1.StartResult_Outcome) start.Outcome {
	switch o {
	case peerv1.StartResult_STARTED:
		return start.Started
	case peerv1.StartResult_DUPLICATE:
		return start.Duplicate
	case peerv1.StartResult_SKIPPED:
		return start.Skipped
	case peerv1.StartResult_REFUSED:
		return start.Refused
	}
	return ""
}
