// Package client is how wfctl speaks to the system: the public services over REST, retries of what may be repeated, and workflows by the
// name that people use.
package client

import (
	"context"
	"strings"
	"time"

	"github.com/google/uuid"
	"google.golang.org/grpc"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"

	"workflow.uniconnect/pkg/fault"

	accessv1 "workflow.uniconnect/proto/gen/go/uniconnect/access/v1"
	workflowv1 "workflow.uniconnect/proto/gen/go/uniconnect/workflow/v1"
)

// Client is the public services behind one connection.
type Client struct {
	Catalog   workflowv1.WorkflowCatalogServiceClient
	Scheduler workflowv1.TriggerSchedulerServiceClient
	Executor  workflowv1.ExecutorServiceClient
	Access    accessv1.AccessServiceClient
}

// New returns a client that makes its calls over conn, and again where a service is away for a moment.
func New(conn grpc.ClientConnInterface) *Client {
	patient := &retrier{ClientConnInterface: conn}
	return &Client{
		Catalog:   workflowv1.NewWorkflowCatalogServiceClient(patient),
		Scheduler: workflowv1.NewTriggerSchedulerServiceClient(patient),
		Executor:  workflowv1.NewExecutorServiceClient(patient),
		Access:    accessv1.NewAccessServiceClient(patient),
	}
}

// fieldRequestID is the field of requests that may be repeated without doing anything twice.
const fieldRequestID = "request_id"

// Headers names the fields of requests that REST has in headers.
func Headers() map[protoreflect.Name]string {
	return map[protoreflect.Name]string{fieldRequestID: "Idempotency-Key"}
}

const (
	attempts     = 5
	firstBackoff = 100 * time.Millisecond
	maxBackoff   = 2 * time.Second
)

// retrier repeats calls that found a service away: reads, and changes under a request id of their own.
type retrier struct{ grpc.ClientConnInterface }

// Invoke makes a unary call.
func (r *retrier) Invoke(ctx context.Context, method string, args, reply any, opts ...grpc.CallOption) error {
	repeatable := identify(args) || reads(method)
	backoff := firstBackoff
	for attempt := 1; ; attempt++ {
		err := r.ClientConnInterface.Invoke(ctx, method, args, reply, opts...)
		if err == nil || !repeatable || attempt == attempts || fault.KindOf(err) != fault.KindUnavailable {
			return err
		}
		wait := backoff
		if f, ok := fault.As(err); ok && f.RetryAfter > wait {
			wait = min(f.RetryAfter, maxBackoff)
		}
		if pause(ctx, wait) != nil {
			return err
		}
		backoff = min(2*backoff, maxBackoff)
	}
}

// identify gives a request an id of its own, and tells whether it has one.
func identify(args any) bool {
	m, ok := args.(proto.Message)
	if !ok {
		return false
	}
	fd := m.ProtoReflect().Descriptor().Fields().ByName(fieldRequestID)
	if fd == nil {
		return false
	}
	if !m.ProtoReflect().Has(fd) {
		m.ProtoReflect().Set(fd, protoreflect.ValueOfString(uuid.NewString()))
	}
	return true
}

// reads tells whether a method only reads, by the verbs of the contract.
func reads(method string) bool {
	name := method[strings.LastIndexByte(method, '/')+1:]
	for _, verb := range []string{"Get", "List", "Export", "Diff", "Preview", "Validate"} {
		if strings.HasPrefix(name, verb) {
			return true
		}
	}
	return false
}

// pause waits, or returns why it did not.
func pause(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
