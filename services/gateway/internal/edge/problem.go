package edge

import (
	"encoding/json"
	"net/http"
	"strconv"
	"strings"
	"time"

	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/encoding/protojson"

	spb "google.golang.org/genproto/googleapis/rpc/status"

	"workflow.uniconnect/pkg/fault"
	"workflow.uniconnect/pkg/grpcfault"
)

var (
	errUnknownRoute     = fault.NotFound(fault.ReasonUnknownMethod, "the route does not exist")
	errMethodNotAllowed = fault.Unimplemented(fault.ReasonUnknownMethod, "the route does not have this method")
)

// retryAfter is what a client that is told to come back waits when nobody said how long.
const retryAfter = time.Second

// problem is the body of every answer with a status of 400 or above, and of a stream's last line when it failed.
type problem struct {
	Error problemError `json:"error"`
}

type problemError struct {
	Code    int               `json:"code"`
	Status  string            `json:"status"`
	Message string            `json:"message"`
	Details []json.RawMessage `json:"details"`
}

// writeError answers with err. What a client may read of it is grpcfault's decision.
func writeError(w http.ResponseWriter, r *http.Request, err error) {
	c := callFrom(r.Context())
	c.failure = err
	f := publicFault(err)
	f.Violations = inBody(f.Violations, c.binding)
	code := httpStatus(f, c)
	if f.RetryAfter == 0 && (code == http.StatusTooManyRequests || code == http.StatusServiceUnavailable) {
		f = f.WithRetryAfter(retryAfter)
	}

	h := w.Header()
	h.Set("Content-Type", "application/json")
	h.Del("ETag")
	if f.RetryAfter > 0 {
		seconds := (f.RetryAfter + time.Second - 1) / time.Second
		h.Set("Retry-After", strconv.FormatInt(int64(seconds), 10))
	}
	if code == http.StatusUnauthorized {
		h.Set("WWW-Authenticate", "Bearer")
	}
	body, err := json.Marshal(problemOf(f, code))
	if err != nil {
		code, body = http.StatusInternalServerError, []byte(`{"error":{"code":500,"status":"INTERNAL","message":"internal error","details":[]}}`)
	}
	w.WriteHeader(code)
	if r.Method != http.MethodHead {
		// A client that went away is the only way this fails.
		_, _ = w.Write(body)
	}
}

// publicFault returns a copy of the fault that stands for err.
func publicFault(err error) *fault.Error {
	f, ok := fault.As(grpcfault.FromStatus(grpcfault.ToStatus(err)))
	if !ok {
		f = fault.Internal(fault.ReasonInternal, "internal error")
	}
	public := *f
	return &public
}

func problemOf(f *fault.Error, code int) problem {
	p := problem{problemError{Code: code, Status: f.Kind.String(), Message: f.Message, Details: []json.RawMessage{}}}
	for _, detail := range statusOf(f).GetDetails() {
		encoded, err := protojson.Marshal(detail)
		if err != nil {
			continue // of a type that only the sender knows
		}
		p.Error.Details = append(p.Error.Details, encoded)
	}
	return p
}

func statusOf(f *fault.Error) *spb.Status { return status.Convert(grpcfault.ToStatus(f)).Proto() }

// inBody gives violations the path that the client's JSON has: where the body is one field of the request, without that field's name.
func inBody(violations []fault.Violation, b *binding) []fault.Violation {
	if b == nil || b.bodyField == "" {
		return violations
	}
	out := make([]fault.Violation, len(violations))
	for i, v := range violations {
		v.Field = strings.TrimPrefix(v.Field, b.bodyField+".")
		out[i] = v
	}
	return out
}

// httpStatus returns the HTTP status of a fault: that of its kind, unless its reason has one of its own in HTTP.
func httpStatus(f *fault.Error, c *call) int {
	switch f.Reason {
	case reasonContentType:
		return http.StatusUnsupportedMediaType
	case fault.ReasonTooLarge:
		if f.Metadata[limitKey] == limitHeaders {
			return http.StatusRequestHeaderFieldsTooLarge
		}
		return http.StatusRequestEntityTooLarge
	case reasonRequestID, reasonState:
		return http.StatusConflict
	case reasonETagMismatch:
		if c.guarded {
			return http.StatusPreconditionFailed
		}
	case fault.ReasonUnknownMethod:
		if f.Kind == fault.KindUnimplemented {
			return http.StatusMethodNotAllowed
		}
	}
	return kindStatus(f.Kind)
}

// statusClientClosed is what proxies log for a client that gave up; nobody receives it.
const statusClientClosed = 499

func kindStatus(k fault.Kind) int {
	switch k {
	case fault.KindInvalidArgument, fault.KindFailedPrecondition, fault.KindOutOfRange:
		return http.StatusBadRequest
	case fault.KindUnauthenticated:
		return http.StatusUnauthorized
	case fault.KindPermissionDenied:
		return http.StatusForbidden
	case fault.KindNotFound:
		return http.StatusNotFound
	case fault.KindAlreadyExists, fault.KindAborted:
		return http.StatusConflict
	case fault.KindResourceExhausted:
		return http.StatusTooManyRequests
	case fault.KindUnimplemented:
		return http.StatusNotImplemented
	case fault.KindUnavailable:
		return http.StatusServiceUnavailable
	case fault.KindDeadlineExceeded:
		return http.StatusGatewayTimeout
	case fault.KindCanceled:
		return statusClientClosed
	default:
		return http.StatusInternalServerError
	}
}
