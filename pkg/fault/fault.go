// Package fault is the one error type of the platform: a kind, a reason a program can act on, a text that clients may read, and
// a cause that they may not. It knows no transport; package grpcfault turns faults into statuses and back.
package fault

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"
)

// Kind says what sort of answer an error is. Each kind has exactly one gRPC code.
type Kind uint8

// The kinds. KindNone is no fault at all: it is the kind of a nil error.
const (
	KindNone Kind = iota
	KindInvalidArgument
	KindUnauthenticated
	KindPermissionDenied
	KindNotFound
	KindAlreadyExists
	KindFailedPrecondition
	KindAborted
	KindResourceExhausted
	KindUnimplemented
	KindUnavailable
	KindDeadlineExceeded
	KindCanceled
	KindInternal
	KindOutOfRange
)

// String returns the kind as the contract spells statuses, for example NOT_FOUND.
func (k Kind) String() string {
	switch k {
	case KindNone:
		return "OK"
	case KindInvalidArgument:
		return "INVALID_ARGUMENT"
	case KindUnauthenticated:
		return "UNAUTHENTICATED"
	case KindPermissionDenied:
		return "PERMISSION_DENIED"
	case KindNotFound:
		return "NOT_FOUND"
	case KindAlreadyExists:
		return "ALREADY_EXISTS"
	case KindFailedPrecondition:
		return "FAILED_PRECONDITION"
	case KindAborted:
		return "ABORTED"
	case KindResourceExhausted:
		return "RESOURCE_EXHAUSTED"
	case KindUnimplemented:
		return "UNIMPLEMENTED"
	case KindUnavailable:
		return "UNAVAILABLE"
	case KindDeadlineExceeded:
		return "DEADLINE_EXCEEDED"
	case KindCanceled:
		return "CANCELLED"
	case KindInternal:
		return "INTERNAL"
	case KindOutOfRange:
		return "OUT_OF_RANGE"
	}
	return fmt.Sprintf("Kind(%d)", uint8(k))
}

// Violation is one thing wrong with one field of a request.
type Violation struct {
	// Field is the path in the JSON form of the request: lowerCamelCase, indexes in brackets.
	Field string
	// Description is a sentence for the person who filled the field in.
	Description string
	// Reason is machine-readable; ReasonFieldRule when nothing more exact is known.
	Reason Reason
}

// Error is a fault. It is immutable: With, WithCause and WithRetryAfter return changed copies, so a fault may be a package-level value.
type Error struct {
	Kind   Kind
	Reason Reason
	// Message is public: clients and people see it. It never holds driver text, host names or another tenant's data.
	Message    string
	Violations []Violation
	// Metadata is public as well: facts a program needs, such as the limit that was reached.
	Metadata map[string]string
	// RetryAfter, when positive, is how long a client should wait.
	RetryAfter time.Duration

	cause error
}

// Error returns the text for logs: the public message and the cause.
func (e *Error) Error() string {
	text := e.Message
	if text == "" {
		text = string(e.Reason)
	}
	if e.cause != nil {
		text += ": " + e.cause.Error()
	}
	return text
}

// Unwrap returns the cause.
func (e *Error) Unwrap() error { return e.cause }

// Is reports whether target is a fault of the same kind and reason, so that errors.Is finds a package-level fault in a copy of it
// that carries more facts.
func (e *Error) Is(target error) bool {
	t, ok := target.(*Error)
	return ok && t.Kind == e.Kind && t.Reason == e.Reason
}

// With returns a copy whose metadata holds key and value.
func (e *Error) With(key, value string) *Error {
	c := *e
	c.Metadata = maps.Clone(e.Metadata)
	if c.Metadata == nil {
		c.Metadata = make(map[string]string, 1)
	}
	c.Metadata[key] = value
	return &c
}

// WithCause returns a copy with a cause, which only logs show.
func (e *Error) WithCause(err error) *Error {
	c := *e
	c.cause = err
	return &c
}

// WithRetryAfter returns a copy that asks the client to wait for d.
func (e *Error) WithRetryAfter(d time.Duration) *Error {
	c := *e
	c.RetryAfter = d
	return &c
}

// As finds the fault in err's chain.
func As(err error) (*Error, bool) {
	var f *Error
	ok := errors.As(err, &f)
	return f, ok
}

// KindOf returns the kind of err: of the fault in its chain, else what an ended context means, else KindInternal. A nil error has KindNone.
func KindOf(err error) Kind {
	if err == nil {
		return KindNone
	}
	if f, ok := As(err); ok {
		return f.Kind
	}
	switch {
	case errors.Is(err, context.DeadlineExceeded):
		return KindDeadlineExceeded
	case errors.Is(err, context.Canceled):
		return KindCanceled
	}
	return KindInternal
}

// maxNamed bounds how many violations the message spells out; all of them are in Violations.
const maxNamed = 10

// Invalid returns an INVALID_ARGUMENT that names every violation.
func Invalid(violations ...Violation) *Error {
	vs := slices.Clone(violations)
	named := make([]string, 0, min(len(vs), maxNamed)+1)
	for i := range vs {
		if vs[i].Reason == "" {
			vs[i].Reason = ReasonFieldRule
		}
		switch {
		case i == maxNamed:
			named = append(named, fmt.Sprintf("and %d more", len(vs)-maxNamed))
		case i > maxNamed:
		case vs[i].Field == "":
			named = append(named, vs[i].Description)
		default:
			named = append(named, vs[i].Field+": "+vs[i].Description)
		}
	}
	return &Error{
		Kind:       KindInvalidArgument,
		Reason:     ReasonInvalidFields,
		Message:    strings.Join(named, "; "),
		Violations: vs,
	}
}

// Check returns Invalid when there are violations and nil when there are none. It is the last line of a validator.
func Check(violations ...Violation) error {
	if len(violations) == 0 {
		return nil
	}
	return Invalid(violations...)
}
