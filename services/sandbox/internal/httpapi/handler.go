// Package httpapi shows the sandbox to people and scripts over HTTP, without a login: the CRM's records, and sinks that record what
// is sent to them.
package httpapi

import (
	"context"
	"encoding/json"
	"log/slog"
	"net/http"

	"workflow.uniconnect/pkg/fault"
	"workflow.uniconnect/services/sandbox/internal/record"
	"workflow.uniconnect/services/sandbox/internal/sink"
)

// Records keeps records.
type Records interface {
	Record(ctx context.Context, k record.Key) (record.Record, error)
	Records(ctx context.Context, tenant, module string) ([]record.Record, error)
	Reset(ctx context.Context, k record.Key) error
}

// Options are what the pages show.
type Options struct {
	Records  Records
	Requests sink.Store
	Recorder *sink.Recorder
	Logger   *slog.Logger
}

type handler struct {
	Options
	counter *sink.Counter
}

// New returns the handler of all pages.
func New(opts Options) http.Handler {
	h := &handler{Options: opts, counter: sink.NewCounter(opts.Requests)}
	mux := http.NewServeMux()
	mux.HandleFunc("/crm/{module}", h.module)
	mux.HandleFunc("/crm/{module}/{id}", h.record)
	mux.HandleFunc("/sink/{name}", h.sink)
	mux.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) {
		h.fail(w, r, fault.NotFound(fault.ReasonUnknownMethod, "there is nothing at this address"))
	})
	return mux
}

// answer writes v as JSON.
func (h *handler) answer(w http.ResponseWriter, status int, v any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	// A reader that went away needs no answer.
	_ = json.NewEncoder(w).Encode(v)
}

// fail answers with err in the shape that the gateway uses.
func (h *handler) fail(w http.ResponseWriter, r *http.Request, err error) {
	f, ok := fault.As(err)
	if !ok {
		f = fault.Internal(fault.ReasonInternal, "internal error").WithCause(err)
	}
	status := statusOf(f.Kind)
	if status >= 500 && r.Context().Err() == nil {
		h.Logger.WarnContext(r.Context(), "request failed", "method", r.Method, "error", err)
	}
	h.answer(w, status, map[string]any{"error": map[string]any{
		"code": status, "status": f.Kind.String(), "message": f.Message, "reason": f.Reason,
	}})
}

func statusOf(k fault.Kind) int {
	switch k {
	case fault.KindInvalidArgument:
		return http.StatusBadRequest
	case fault.KindNotFound:
		return http.StatusNotFound
	case fault.KindUnimplemented:
		return http.StatusMethodNotAllowed
	case fault.KindResourceExhausted:
		return http.StatusRequestEntityTooLarge
	case fault.KindUnavailable, fault.KindDeadlineExceeded:
		return http.StatusServiceUnavailable
	default:
		return http.StatusInternalServerError
	}
}

func methodNotAllowed(w http.ResponseWriter, allowed string) error {
	w.Header().Set("Allow", allowed)
	return fault.Unimplemented(fault.ReasonUnknownMethod, "the method is not one of "+allowed)
}
