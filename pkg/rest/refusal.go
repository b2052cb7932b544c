package rest

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strconv"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/types/known/anypb"

	spb "google.golang.org/genproto/googleapis/rpc/status"

	"workflow.uniconnect/pkg/fault"
	"workflow.uniconnect/pkg/grpcfault"
)

// problem is an error as REST shows it.
type problem struct {
	Status  codes.Code        `json:"status"`
	Message string            `json:"message"`
	Details []json.RawMessage `json:"details"`
}

// refusal returns the fault that an answer stands for.
func refusal(answer *http.Response, body []byte) error {
	var wrapped struct {
		Error *problem `json:"error"`
	}
	if err := json.Unmarshal(body, &wrapped); err == nil && wrapped.Error != nil && wrapped.Error.Status != codes.OK {
		return wrapped.Error.fault()
	}
	// Somebody else has answered: a proxy, or another program.
	f := faultOf(answer.StatusCode, "the server answered "+strconv.Itoa(answer.StatusCode)+" "+http.StatusText(answer.StatusCode))
	if seconds, err := strconv.Atoi(answer.Header.Get("Retry-After")); err == nil && seconds > 0 {
		f = f.WithRetryAfter(time.Duration(seconds) * time.Second)
	}
	return f.WithCause(fmt.Errorf("answer of %d bytes, %s", len(body), answer.Header.Get("Content-Type")))
}

// fault returns the status, with those of its details whose types are known here.
func (p *problem) fault() error {
	s := &spb.Status{Code: int32(p.Status), Message: p.Message}
	for _, detail := range p.Details {
		packed := &anypb.Any{}
		if err := protojson.Unmarshal(detail, packed); err == nil {
			s.Details = append(s.Details, packed)
		}
	}
	return grpcfault.FromStatus(status.FromProto(s).Err())
}

func faultOf(code int, message string) *fault.Error {
	switch code {
	case http.StatusUnauthorized:
		return fault.Unauthenticated(fault.ReasonTokenInvalid, message)
	case http.StatusForbidden:
		return fault.PermissionDenied(fault.ReasonPermissionMissing, message)
	case http.StatusNotFound, http.StatusMethodNotAllowed:
		return fault.Unimplemented(fault.ReasonUnknownMethod, message+"; is this the address of the gateway?")
	case http.StatusTooManyRequests:
		return fault.ResourceExhausted(fault.ReasonLimitReached, message)
	case http.StatusBadGateway, http.StatusServiceUnavailable, http.StatusGatewayTimeout:
		return fault.Unavailable(fault.ReasonServiceUnavailable, message)
	}
	return fault.Internal(fault.ReasonInternal, message)
}
