package grpcapi

import (
	"context"
	"encoding/hex"
	"regexp"
	"time"
	"unicode/utf8"

	"go.opentelemetry.io/otel/trace"

	peerv1 "workflow.uniconnect/proto/gen/go/uniconnect/workflow/peer/v1"
	"workflow.uniconnect/services/executor/internal/execution"
	"workflow.uniconnect/services/executor/internal/run"
)

const (
	maxKeyTTL = 400 * 24 * time.Hour
	// maxCause is an event's id, type and source at their longest: 256, 128 and 1024 bytes.
	maxCause = 256 + 128 + 1024
	maxTrace = 64
)

var tenantPattern = regexp.MustCompile(`^[a-z0-9]{1,32}$`)

// Starts serves StartService.
type Starts struct {
	peerv1.UnimplementedStartServiceServer
	engine    Engine
	checker   *run.Checker
	finalizer Finalizer
}

// NewStarts returns the server of StartService.
func NewStarts(engine Engine, checker *run.Checker, finalizer Finalizer) *Starts {
	return &Starts{engine: engine, checker: checker, finalizer: finalizer}
}

// StartExecutions settles a batch. An item that is not well formed is refused by itself.
func (s *Starts) StartExecutions(ctx context.Context, req *peerv1.StartExecutionsRequest) (*peerv1.StartExecutionsResponse, error) {
	results := make([]peerv1.StartResult, len(req.GetStarts()))
	starts := make([]execution.Start, 0, len(results))
	index := make([]int, 0, len(results))
	for i, item := range req.GetStarts() {
		start, ok := startFrom(item)
		if !ok {
			results[i].Outcome, results[i].Reason = peerv1.StartResult_REFUSED, string(execution.ReasonUnstorable)
			continue
		}
		starts = append(starts, start)
		index = append(index, i)
	}
	verdicts, err := s.engine.Start(ctx, starts)
	if err != nil {
		return nil, err
	}
	for k, v := range verdicts {
		r := &results[index[k]]
		r.Outcome, r.Reason, r.Retryable = peerv1.StartResult_Outcome(v.Outcome), string(v.Reason), v.Retryable
		if v.ID != (execution.ID{}) {
			r.ExecutionId = v.ID.String()
		}
	}
	resp := &peerv1.StartExecutionsResponse{Results: make([]*peerv1.StartResult, len(results))}
	for i := range results {
		resp.Results[i] = &results[i]
	}
	return resp, nil
}

// startFrom checks what the database cannot, or only with the whole batch.
func startFrom(item *peerv1.Start) (execution.Start, bool) {
	workflow, ok := execution.ParseWorkflowID(item.GetWorkflowId())
	if !ok || !tenantPattern.MatchString(item.GetTenant()) || item.GetRevision() < 1 {
		return execution.Start{}, false
	}
	if len(item.GetKey()) != len(execution.Key{}) || len(item.GetEvent()) > execution.MaxEventBytes || !utf8.Valid(item.GetEvent()) {
		return execution.Start{}, false
	}
	cause, ok := causeFrom(item.GetCause())
	if !ok || len(cause.ID)+len(cause.Type)+len(cause.Source) > maxCause {
		return execution.Start{}, false
	}
	start := execution.Start{
		Tenant: item.GetTenant(), WorkflowID: workflow, Revision: item.GetRevision(), Key: execution.Key(item.GetKey()),
		KeyTTL: min(item.GetKeyTtl().AsDuration(), maxKeyTTL), Cause: cause, Event: item.GetEvent(),
	}
	if item.GetPublishTime().IsValid() {
		start.PublishTime = item.GetPublishTime().AsTime()
	}
	if len(item.GetTraceparent()) <= maxTrace {
		start.Traceparent = item.GetTraceparent()
	}
	return start, true
}

// traceparent writes the span of a call in W3C form, when it is sampled.
func traceparent(ctx context.Context) string {
	sc := trace.SpanContextFromContext(ctx)
	if !sc.IsValid() || !sc.IsSampled() {
		return ""
	}
	traceID, spanID := sc.TraceID(), sc.SpanID()
	return "00-" + hex.EncodeToString(traceID[:]) + "-" + hex.EncodeToString(spanID[:]) + "-01"
}
