package workflow

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
)

// The methods of a Call, as the audit and the request ids know them.
const (
	MethodCreate       = "CreateWorkflow"
	MethodUpdate       = "UpdateWorkflow"
	MethodActivate     = "ActivateWorkflow"
	MethodDeactivate   = "DeactivateWorkflow"
	MethodDelete       = "DeleteWorkflow"
	MethodDuplicate    = "DuplicateWorkflow"
	MethodBackup       = "BackupWorkflow"
	MethodDeleteBackup = "DeleteBackup"
	MethodReset        = "ResetWorkflow"
	MethodRestore      = "RestoreBackup"
	MethodUpdateDraft  = "UpdateDraft"
	MethodDeleteDraft  = "DeleteDraft"
	MethodPublish      = "PublishWorkflow"
	MethodImport       = "ImportWorkflow"
)

// Call is who asks for a change and under which request id.
type Call struct {
	Tenant Tenant
	// Actor is the subject of the caller's token.
	Actor string
	// Origin is the address that the call came from, UserAgent what the caller's program calls itself; empty when not known.
	Origin, UserAgent string
	// Method is what the request asks for.
	Method string
	// RequestID is the client's name for this request; empty when it gave none.
	RequestID string
	// Hash identifies the request without its id.
	Hash []byte
	// Answer makes the method's answer of the changed workflow, for methods that answer more than that. Nil otherwise.
	Answer func(Workflow) any
}

// AnswerTo returns what the method answers when the workflow has become w.
func (c *Call) AnswerTo(w Workflow) any {
	if c.Answer == nil {
		return w
	}
	return c.Answer(w)
}

// The signals by which a Store tells the Catalog to look again. They never reach a caller.
var (
	// ErrStale says that the workflow, or what a change needs beside it, is no longer as it was read.
	ErrStale = errors.New("workflow changed since it was read")
	// ErrRequestKnown says that the request id has been answered in the meantime.
	ErrRequestKnown = errors.New("request id is known")
)

// Answer is what was answered to a request id.
type Answer struct {
	// Body is the answer of the call's method as JSON.
	Body json.RawMessage
	// Gone says that the body went with the workflow that it told of.
	Gone bool
}

// Nothing is the answer of a method that only has to be done.
type Nothing struct{}

// ErrForgotten answers a repeated request whose workflow was deleted since. To everybody but a deletion that means: there is none.
var ErrForgotten = fmt.Errorf("the answer went with its workflow: %w", ErrNotFound)

// Replayer knows what was answered to request ids.
type Replayer interface {
	// Replay returns what was answered to the call's request id, and whether there is one.
	Replay(ctx context.Context, call Call) (Answer, bool, error)
}

// once is Once for changes of workflows, which are announced.
func once[T any](ctx context.Context, c *Catalog, call Call, do func() (T, error)) (T, error) {
	return Once(ctx, c.deps.Store, call, func() (T, error) {
		done, err := do()
		if err == nil {
			c.deps.Changed()
		}
		return done, err
	})
}

// Once answers a repeated request as the first time, and does do otherwise, which keeps its answer in the transaction of its change.
func Once[T any](ctx context.Context, store Replayer, call Call, do func() (T, error)) (T, error) {
	if before, known, err := replay[T](ctx, store, call); known || err != nil {
		return before, err
	}
	done, err := do()
	if err == nil {
		return done, nil
	}
	// The same request may have been answered meanwhile; what it did may even be why it could not be done again.
	before, known, lookup := replay[T](ctx, store, call)
	switch {
	case known, lookup != nil && errors.Is(err, ErrRequestKnown):
		return before, lookup
	case errors.Is(err, ErrRequestKnown):
		return before, errRequestGone
	}
	return before, err
}

func replay[T any](ctx context.Context, store Replayer, call Call) (T, bool, error) {
	var before T
	if call.RequestID == "" {
		return before, false, nil
	}
	answer, known, err := store.Replay(ctx, call)
	if err != nil || !known {
		return before, false, err
	}
	if answer.Gone {
		return before, true, ErrForgotten
	}
	if err := json.Unmarshal(answer.Body, &before); err != nil {
		return before, true, fmt.Errorf("decode the answer to a request: %w", err)
	}
	return before, true, nil
}

// maxRaces bounds how often a change is tried when others keep being quicker.
const maxRaces = 20

// race tries to read and change until nobody was quicker in between.
func race[T any](attempt func() (T, error)) (T, error) {
	for n := 1; ; n++ {
		done, err := attempt()
		if !errors.Is(err, ErrStale) {
			return done, err
		}
		if n == maxRaces {
			return done, errBusy
		}
	}
}
