// Package grpcapi serves executor's RPCs: it turns messages into the domain's nouns and back, and decides nothing.
package grpcapi

import (
	"context"
	"encoding/json"
	"time"

	"google.golang.org/grpc/metadata"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/structpb"

	"workflow.uniconnect/pkg/auth"
	"workflow.uniconnect/pkg/fault"
	workflowv1 "workflow.uniconnect/proto/gen/go/uniconnect/workflow/v1"
	"workflow.uniconnect/services/executor/internal/execution"
)

// Engine accepts starts.
type Engine interface {
	Start(ctx context.Context, starts []execution.Start) ([]execution.Verdict, error)
}

// Reader reads executions of one tenant.
type Reader interface {
	Get(ctx context.Context, tenant string, id execution.ID) (execution.View, bool, error)
	List(ctx context.Context, tenant string, workflow execution.WorkflowID, below execution.ID, limit int) ([]execution.View, bool, error)
}

// Workflows knows the workflows as they are now.
type Workflows interface {
	Current(ctx context.Context, tenant string, workflow execution.WorkflowID) (*workflowv1.Workflow, error)
}

const (
	reasonExecutionNotFound fault.Reason = "EXECUTION_NOT_FOUND"
	reasonWorkflowNotFound  fault.Reason = "WORKFLOW_NOT_FOUND"
	reasonWorkflowState     fault.Reason = "WORKFLOW_STATE"
	reasonRequestIDReused   fault.Reason = "REQUEST_ID_REUSED"
	reasonOutOfDateRange    fault.Reason = "OUT_OF_DATE_RANGE"

	defaultPage    = 50
	maxRequestID   = 128
	idempotencyKey = "idempotency-key"
)

var (
	errNoPrincipal = fault.Unauthenticated(fault.ReasonTokenMissing, "the call carries no identity")
	errNoExecution = fault.NotFound(reasonExecutionNotFound, "there is no execution with this id")
	errNoWorkflow  = fault.NotFound(reasonWorkflowNotFound, "there is no workflow with this id")
)

// Executions serves ExecutorService.
type Executions struct {
	workflowv1.UnimplementedExecutorServiceServer
	engine    Engine
	reader    Reader
	workflows Workflows
	actions   ActionTypes
}

// NewExecutions returns the server of ExecutorService.
func NewExecutions(engine Engine, reader Reader, workflows Workflows, actions ActionTypes) *Executions {
	return &Executions{engine: engine, reader: reader, workflows: workflows, actions: actions}
}

// RunWorkflow starts a workflow by hand.
func (s *Executions) RunWorkflow(ctx context.Context, req *workflowv1.RunWorkflowRequest) (*workflowv1.RunWorkflowResponse, error) {
	principal, err := principalOf(ctx)
	if err != nil {
		return nil, err
	}
	id, ok := execution.ParseWorkflowID(req.GetWorkflowId())
	if !ok {
		return nil, errNoWorkflow
	}
	requestID, err := requestIDOf(ctx, req)
	if err != nil {
		return nil, err
	}
	workflow, err := s.workflows.Current(ctx, principal.Tenant, id)
	if err != nil {
		return nil, err
	}
	if workflow.GetState() != workflowv1.Workflow_ACTIVE {
		return nil, fault.FailedPrecondition(reasonWorkflowState, "only an active workflow can be run; this one is "+workflow.GetState().String()).
			With("state", workflow.GetState().String())
	}
	if err := inDateRange(workflow.GetDateRange(), time.Now()); err != nil {
		return nil, err
	}
	start, err := manualStart(principal, id, requestID, req.GetInput())
	if err != nil {
		return nil, err
	}
	start.Revision, start.Traceparent = workflow.GetRevision(), traceparent(ctx)
	verdicts, err := s.engine.Start(ctx, []execution.Start{start})
	if err != nil {
		return nil, err
	}
	if err := refusal(verdicts[0]); err != nil {
		return nil, err
	}
	view, found, err := s.reader.Get(ctx, principal.Tenant, verdicts[0].ID)
	switch {
	case err != nil:
		return nil, err
	case !found:
		return nil, errNoExecution
	}
	out := executionMessage(&view)
	if verdicts[0].Outcome == execution.Duplicate && !sameInput(out, req) {
		return nil, fault.FailedPrecondition(reasonRequestIDReused, "the request id was used before with another input").
			With("execution_id", out.GetId())
	}
	return &workflowv1.RunWorkflowResponse{Execution: out}, nil
}

// inDateRange refuses a start outside of the range, which takes its start and not its end.
func inDateRange(r *workflowv1.DateRange, at time.Time) error {
	if start := r.GetStartTime(); start != nil && at.Before(start.AsTime()) {
		when := start.AsTime().Format(time.RFC3339Nano)
		return fault.FailedPrecondition(reasonOutOfDateRange, "the workflow's date range begins at "+when+": nothing starts it before").With("start_time", when)
	}
	if end := r.GetEndTime(); end != nil && !at.Before(end.AsTime()) {
		when := end.AsTime().Format(time.RFC3339Nano)
		return fault.FailedPrecondition(reasonOutOfDateRange, "the workflow's date range is over since "+when+": nothing starts it any more").With("end_time", when)
	}
	return nil
}

// principalOf returns who calls, and thereby the tenant that everything is about.
func principalOf(ctx context.Context) (auth.Principal, error) {
	p, ok := auth.FromContext(ctx)
	if !ok || p.Tenant == "" {
		return auth.Principal{}, errNoPrincipal
	}
	return p, nil
}

func requestIDOf(ctx context.Context, req *workflowv1.RunWorkflowRequest) (string, error) {
	if req.GetRequestId() != "" {
		return req.GetRequestId(), nil
	}
	if values := metadata.ValueFromIncomingContext(ctx, idempotencyKey); len(values) > 0 {
		if len(values[0]) > maxRequestID {
			return "", fault.Invalid(fault.Violation{Field: "Idempotency-Key", Description: "must not be longer than 128 bytes"})
		}
		return values[0], nil
	}
	return "", nil
}

// manualEvent is what expressions see as `event` when a workflow is run by hand.
type manualEvent struct {
	ID     string          `json:"id"`
	Source string          `json:"source"`
	Type   string          `json:"type"`
	Time   string          `json:"time"`
	Data   json.RawMessage `json:"data"`
}

func manualStart(p auth.Principal, id execution.WorkflowID, requestID string, input *structpb.Struct) (execution.Start, error) {
	data := []byte("{}")
	if input != nil {
		var err error
		if data, err = protojson.Marshal(input); err != nil {
			return execution.Start{}, fault.Invalid(fault.Violation{Field: "input", Description: "is not valid JSON"})
		}
	}
	now := time.Now()
	key := execution.ManualKey(id, requestID)
	eventID := requestID
	if eventID == "" {
		eventID = execution.NewID(now).String()
	}
	event, err := json.Marshal(manualEvent{
		ID: eventID, Source: "/users/" + p.Subject, Type: "manual", Time: now.UTC().Format(time.RFC3339Nano), Data: data,
	})
	if err != nil {
		return execution.Start{}, fault.Internal(fault.ReasonInternal, "internal error").WithCause(err)
	}
	if len(event) > execution.MaxEventBytes {
		return execution.Start{}, fault.Invalid(fault.Violation{Field: "input", Description: "must not be larger than 1 MiB", Reason: fault.ReasonTooLarge})
	}
	return execution.Start{
		Tenant: p.Tenant, WorkflowID: id, Key: key, Cause: execution.ManualCause(p.Subject), Event: event,
	}, nil
}

// refusal is the error of a run that was not accepted.
func refusal(v execution.Verdict) error {
	switch {
	case v.Outcome == execution.Started || v.Outcome == execution.Duplicate:
		return nil
	case v.Retryable:
		return fault.Unavailable(fault.ReasonServiceUnavailable, "the run could not be accepted at the moment").WithRetryAfter(time.Second)
	case v.Reason == execution.ReasonWorkflowDeleted:
		return fault.FailedPrecondition(reasonWorkflowState, "the workflow is being deleted").With("state", "DELETING")
	}
	return fault.InvalidArgument(v.Reason, "the input cannot be stored")
}

func sameInput(out *workflowv1.Execution, req *workflowv1.RunWorkflowRequest) bool {
	if len(req.GetInput().GetFields()) == 0 {
		return len(out.GetInput().GetFields()) == 0
	}
	return proto.Equal(out.GetInput(), req.GetInput())
}

// GetExecution returns one run with its steps.
func (s *Executions) GetExecution(ctx context.Context, req *workflowv1.GetExecutionRequest) (*workflowv1.GetExecutionResponse, error) {
	principal, err := principalOf(ctx)
	if err != nil {
		return nil, err
	}
	id, ok := execution.ParseID(req.GetId())
	if !ok {
		return nil, errNoExecution
	}
	view, found, err := s.reader.Get(ctx, principal.Tenant, id)
	switch {
	case err != nil:
		return nil, err
	case !found:
		return nil, errNoExecution
	}
	return &workflowv1.GetExecutionResponse{Execution: executionMessage(&view)}, nil
}

// ListExecutions returns a page of runs, newest first.
func (s *Executions) ListExecutions(ctx context.Context, req *workflowv1.ListExecutionsRequest) (*workflowv1.ListExecutionsResponse, error) {
	principal, err := principalOf(ctx)
	if err != nil {
		return nil, err
	}
	var workflow execution.WorkflowID
	if req.GetWorkflowId() != "" {
		var ok bool
		if workflow, ok = execution.ParseWorkflowID(req.GetWorkflowId()); !ok {
			return nil, errNoWorkflow
		}
	}
	scope := executionScope(principal.Tenant, workflow)
	position, err := scope.Position(req.GetPageToken())
	if err != nil {
		return nil, err
	}
	below, err := executionAt(position)
	if err != nil {
		return nil, err
	}
	size := int(req.GetPageSize())
	if size == 0 {
		size = defaultPage
	}
	views, more, err := s.reader.List(ctx, principal.Tenant, workflow, below, size)
	if err != nil {
		return nil, err
	}
	// No executions of no workflow is not the same as none of one that has not run yet.
	if len(views) == 0 && req.GetWorkflowId() != "" && position == nil {
		if _, err := s.workflows.Current(ctx, principal.Tenant, workflow); err != nil {
			return nil, err
		}
	}
	resp := &workflowv1.ListExecutionsResponse{}
	if more {
		resp.NextPageToken = scope.Token(views[len(views)-1].ID[:])
	}
	for i := range views {
		resp.Executions = append(resp.Executions, executionMessage(&views[i]))
	}
	return resp, nil
}
