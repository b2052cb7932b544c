// Package grpcapi translates between the contract's messages and the domain. It decides nothing that the domain can decide.
package grpcapi

import (
	"context"
	"crypto/sha256"
	"fmt"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/google/uuid"
	"google.golang.org/grpc/metadata"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"

	"workflow.uniconnect/pkg/auth"
	"workflow.uniconnect/pkg/fault"
	workflowv1 "workflow.uniconnect/proto/gen/go/uniconnect/workflow/v1"
	"workflow.uniconnect/services/workflow-catalog/internal/workflow"
)

// workflowMessage returns a workflow as clients see it.
func workflowMessage(w workflow.Workflow) (*workflowv1.Workflow, error) {
	out, err := configMessage(w.Config)
	if err != nil {
		return nil, err
	}
	describe(out, w)
	if w.State != workflow.Deleting {
		out.Warnings = warnings(out, time.Now())
	}
	return out, nil
}

// describe adds to a configuration what there is to know of its workflow beside it.
func describe(out *workflowv1.Workflow, w workflow.Workflow) {
	out.Id = string(w.ID)
	out.State = workflowv1.Workflow_State(w.State)
	out.Revision = w.Revision
	out.Etag = w.ETag()
	out.CreateTime, out.CreateUser = timestamp(w.CreateTime), w.CreateUser
	out.UpdateTime, out.UpdateUser = timestamp(w.UpdateTime), w.UpdateUser
	if w.LastBackup != nil {
		out.LastBackup = backupMessage(*w.LastBackup)
	}
	if w.Draft != nil {
		out.Draft = draftInfo(w, *w.Draft)
	}
}

// configMessage returns a configuration as a workflow that has nothing else. Of a workflow that is gone there is none.
func configMessage(c workflow.Config) (*workflowv1.Workflow, error) {
	out := &workflowv1.Workflow{}
	if len(c.Document) == 0 {
		return out, nil
	}
	// A document written by a newer release may have fields that this one does not know.
	if err := (protojson.UnmarshalOptions{DiscardUnknown: true}).Unmarshal(c.Document, out); err != nil {
		return nil, fmt.Errorf("decode stored configuration: %w", err)
	}
	return out, nil
}

// configOnly returns the parts of a workflow that a revision holds.
func configOnly(w *workflowv1.Workflow) *workflowv1.Workflow {
	return &workflowv1.Workflow{
		Title: w.GetTitle(), Description: w.GetDescription(), Trigger: w.GetTrigger(), DateRange: w.GetDateRange(),
		Steps: w.GetSteps(), Settings: w.GetSettings(),
	}
}

func timestamp(t time.Time) *timestamppb.Timestamp {
	if t.IsZero() {
		return nil
	}
	return timestamppb.New(t)
}

// idempotencyHeader is the header that serves as request id when the request has none.
const idempotencyHeader = "idempotency-key"

const maxRequestID = 128

// mutation is a request that changes something.
type mutation interface {
	proto.Message
	GetRequestId() string
}

// newCall returns who calls and under which request id, or what is wrong with the latter: then the call has none.
func newCall(ctx context.Context, method string, req mutation) (workflow.Call, []fault.Violation, error) {
	caller, err := callerOf(ctx)
	if err != nil {
		return workflow.Call{}, nil, err
	}
	call := workflow.Call{Tenant: workflow.Tenant(caller.Tenant), Actor: caller.Subject, Method: method}
	call.Origin, call.UserAgent = originOf(ctx)
	id, field := requestIDOf(ctx, req)
	if !validRequestID(id) {
		return call, []fault.Violation{{Field: field, Description: fmt.Sprintf("must be printable text of at most %d bytes", maxRequestID)}}, nil
	}
	call.RequestID = id
	call.Hash, err = hashOf(req)
	return call, nil, err
}

// requestIDOf returns a request's id, which may be one to refuse, and what people know it by.
func requestIDOf(ctx context.Context, req mutation) (id, field string) {
	if id := req.GetRequestId(); id != "" {
		return id, "requestId"
	}
	if values := metadata.ValueFromIncomingContext(ctx, idempotencyHeader); len(values) > 0 {
		id = values[0]
	}
	return id, "Idempotency-Key"
}

func validRequestID(id string) bool {
	return len(id) <= maxRequestID && utf8.ValidString(id) && !strings.ContainsFunc(id, isControl)
}

// callerOf returns the caller, whose tenant is the call's.
func callerOf(ctx context.Context) (auth.Principal, error) {
	caller, ok := auth.FromContext(ctx)
	if !ok || caller.Tenant == "" {
		return auth.Principal{}, fault.PermissionDenied(fault.ReasonPermissionMissing, "the call names no tenant")
	}
	return caller, nil
}

// isUUID reports whether a text is a UUID in the one form that the contract knows.
func isUUID(text string) bool {
	return len(text) == len(uuid.Nil.String()) && uuid.Validate(text) == nil
}

func isControl(r rune) bool { return r < 0x20 || r == 0x7f }

// hashOf identifies a request by everything but its id.
func hashOf(req mutation) ([]byte, error) {
	bare := proto.Clone(req)
	m := bare.ProtoReflect()
	m.Clear(m.Descriptor().Fields().ByName("request_id"))
	bytes, err := proto.MarshalOptions{Deterministic: true}.Marshal(bare)
	if err != nil {
		return nil, fmt.Errorf("encode request: %w", err)
	}
	sum := sha256.Sum256(bytes)
	return sum[:], nil
}
