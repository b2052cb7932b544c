// Package grpcfault turns faults into gRPC statuses and back. It is the only place of the platform that makes a status, and so the only
// place that decides what a client gets to read.
package grpcfault

import (
	"context"
	"errors"
	"io"
	"strconv"
	"strings"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/protoadapt"
	"google.golang.org/protobuf/types/known/durationpb"

	"workflow.uniconnect/pkg/fault"
)

// Domain is the domain of every ErrorInfo that the Workflow Manager sends.
const Domain = "workflow.uniconnect"

// Details travel in a trailer, and proxies bound trailers: a request with thousands of mistakes gets the first ones.
const (
	maxViolations  = 100
	maxDescription = 512
)

// ToStatus returns err as a status error for a client. What is not a fault becomes INTERNAL "internal error", with nothing of its text.
// A nil error stays nil.
func ToStatus(err error) error {
	if err == nil {
		return nil
	}
	f := asFault(err)
	code, ok := codeOf(f.Kind)
	if !ok {
		code, f = codes.Internal, internal(err)
	}
	s := status.New(code, clean(f.Message))
	withDetails, detailErr := s.WithDetails(details(f)...)
	if detailErr != nil {
		return s.Err()
	}
	return withDetails.Err()
}

// FromStatus returns err, as a client call returned it, as a fault with the status as its cause. io.EOF and nil stay as they are.
func FromStatus(err error) error {
	if err == nil || errors.Is(err, io.EOF) {
		return err
	}
	return asFault(err)
}

func asFault(err error) *fault.Error {
	if f, ok := fault.As(err); ok {
		return f
	}
	var carrier interface{ GRPCStatus() *status.Status }
	if errors.As(err, &carrier) {
		return fromStatus(carrier.GRPCStatus()).WithCause(err)
	}
	switch {
	case errors.Is(err, context.DeadlineExceeded):
		return fault.DeadlineExceeded(fault.ReasonDeadline, "the call took longer than its deadline").WithCause(err)
	case errors.Is(err, context.Canceled):
		return fault.Canceled(fault.ReasonCancelled, "the call was cancelled").WithCause(err)
	}
	return internal(err)
}

func internal(err error) *fault.Error {
	return fault.Internal(fault.ReasonInternal, "internal error").WithCause(err)
}

// fromStatus reads a status. One that carries our ErrorInfo is taken as it is: its sender is one of us and has chosen its words. In
// any other, the text of codes that transports give (they name addresses) is replaced, and only the text of the others is kept.
func fromStatus(s *status.Status) *fault.Error {
	f := generic(s)
	for _, detail := range s.Details() {
		switch d := detail.(type) {
		case *errdetails.ErrorInfo:
			if d.GetDomain() != Domain {
				continue
			}
			f.Reason, f.Metadata, f.Message = fault.Reason(d.GetReason()), d.GetMetadata(), s.Message()
		case *errdetails.BadRequest:
			for _, v := range d.GetFieldViolations() {
				f.Violations = append(f.Violations, fault.Violation{
					Field: v.GetField(), Description: v.GetDescription(), Reason: fault.Reason(v.GetReason()),
				})
			}
		case *errdetails.RetryInfo:
			f.RetryAfter = d.GetRetryDelay().AsDuration()
		}
	}
	return f
}

func generic(s *status.Status) *fault.Error {
	switch s.Code() {
	case codes.InvalidArgument:
		return fault.InvalidArgument(fault.ReasonInvalidFields, s.Message())
	case codes.OutOfRange:
		return fault.OutOfRange(fault.ReasonInvalidFields, s.Message())
	case codes.Unauthenticated:
		return fault.Unauthenticated(fault.ReasonTokenInvalid, s.Message())
	case codes.PermissionDenied:
		return fault.PermissionDenied(fault.ReasonPermissionMissing, s.Message())
	case codes.NotFound:
		return fault.NotFound("", s.Message())
	case codes.AlreadyExists:
		return fault.AlreadyExists("", s.Message())
	case codes.FailedPrecondition:
		return fault.FailedPrecondition("", s.Message())
	case codes.Aborted:
		return fault.Aborted("", s.Message())
	case codes.ResourceExhausted:
		// The runtime gives this code, without details, when a message exceeds the receiver's limit.
		if strings.Contains(s.Message(), "larger than max") {
			return fault.ResourceExhausted(fault.ReasonTooLarge, "the message is larger than the limit")
		}
		return fault.ResourceExhausted(fault.ReasonLimitReached, s.Message())
	case codes.Unimplemented:
		return fault.Unimplemented(fault.ReasonUnknownMethod, "the method does not exist")
	case codes.Unavailable:
		return fault.Unavailable(fault.ReasonServiceUnavailable, "a service is not available")
	case codes.DeadlineExceeded:
		return fault.DeadlineExceeded(fault.ReasonDeadline, "the call took longer than its deadline")
	case codes.Canceled:
		return fault.Canceled(fault.ReasonCancelled, "the call was cancelled")
	default:
		return fault.Internal(fault.ReasonInternal, "internal error")
	}
}

func codeOf(k fault.Kind) (codes.Code, bool) {
	switch k {
	case fault.KindInvalidArgument:
		return codes.InvalidArgument, true
	case fault.KindUnauthenticated:
		return codes.Unauthenticated, true
	case fault.KindPermissionDenied:
		return codes.PermissionDenied, true
	case fault.KindNotFound:
		return codes.NotFound, true
	case fault.KindAlreadyExists:
		return codes.AlreadyExists, true
	case fault.KindFailedPrecondition:
		return codes.FailedPrecondition, true
	case fault.KindAborted:
		return codes.Aborted, true
	case fault.KindResourceExhausted:
		return codes.ResourceExhausted, true
	case fault.KindUnimplemented:
		return codes.Unimplemented, true
	case fault.KindUnavailable:
		return codes.Unavailable, true
	case fault.KindDeadlineExceeded:
		return codes.DeadlineExceeded, true
	case fault.KindCanceled:
		return codes.Canceled, true
	case fault.KindInternal:
		return codes.Internal, true
	case fault.KindOutOfRange:
		return codes.OutOfRange, true
	default:
		return codes.Unknown, false
	}
}

func details(f *fault.Error) []protoadapt.MessageV1 {
	info := &errdetails.ErrorInfo{Reason: clean(string(f.Reason)), Domain: Domain}
	if len(f.Metadata) > 0 {
		info.Metadata = make(map[string]string, len(f.Metadata))
		for k, v := range f.Metadata {
			info.Metadata[clean(k)] = clean(v)
		}
	}
	all := []protoadapt.MessageV1{info}
	if len(f.Violations) > 0 {
		all = append(all, badRequest(f.Violations))
	}
	if f.RetryAfter > 0 {
		all = append(all, &errdetails.RetryInfo{RetryDelay: durationpb.New(f.RetryAfter)})
	}
	return all
}

func badRequest(violations []fault.Violation) *errdetails.BadRequest {
	shown := violations
	if len(shown) > maxViolations {
		shown = shown[:maxViolations-1]
	}
	out := &errdetails.BadRequest{}
	for _, v := range shown {
		out.FieldViolations = append(out.FieldViolations, &errdetails.BadRequest_FieldViolation{
			Field: clean(v.Field), Description: cut(clean(v.Description)), Reason: clean(string(v.Reason)),
		})
	}
	if rest := len(violations) - len(shown); rest > 0 {
		out.FieldViolations = append(out.FieldViolations, &errdetails.BadRequest_FieldViolation{
			Description: strconv.Itoa(rest) + " more problems are not listed", Reason: string(fault.ReasonInvalidFields),
		})
	}
	return out
}

// clean makes text fit for a proto string: one invalid byte, echoed from a request, would otherwise cost the client all details.
func clean(s string) string { return strings.ToValidUTF8(s, "\uFFFD") }

func cut(s string) string {
	if len(s) <= maxDescription {
		return s
	}
	return strings.ToValidUTF8(s[:maxDescription], "") + "…"
}
