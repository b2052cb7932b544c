// Package edge is the HTTP face of the Workflow Manager: it turns REST calls into gRPC calls of the public services and their answers
// into JSON. It decides who a caller is, never what the caller may do: that is the services' decision, made again by them for every
// call. It holds no state.
//
// A call passes, in this order: observe (request id, trace, metrics, panics), guard (size of headers, headers that pretend, cross-origin check), the routes
// of the contract, admit (token, then headers, then query and body), the generated translation, and conn, through which no metadata
// leaves but what is listed there.
package edge

import (
	"context"
	"net/http"
	"strings"

	"google.golang.org/grpc"

	"workflow.uniconnect/pkg/access"
	"workflow.uniconnect/pkg/auth"
	"workflow.uniconnect/pkg/fault"
	"workflow.uniconnect/pkg/telemetry"
)

// Reasons beside those of package fault.
const (
	reasonContentType  fault.Reason = "CONTENT_TYPE"
	reasonETagMismatch fault.Reason = "ETAG_MISMATCH"
	reasonRequestID    fault.Reason = "REQUEST_ID_REUSED"
	reasonState        fault.Reason = "WORKFLOW_STATE"
	reasonCrossOrigin  fault.Reason = "CROSS_ORIGIN"
)

// Verifier tells who a token stands for.
type Verifier interface {
	Verify(ctx context.Context, token string) (auth.Principal, error)
}

// Sessions turn the cookie of a call without a token into one, which they may renew on the way. Without a cookie they answer as
// auth.Bearer does without a token.
type Sessions interface {
	Token(w http.ResponseWriter, r *http.Request) (string, error)
}

// Options is what an Edge is made of. All are required but Sessions and Pages.
type Options struct {
	Catalog, Scheduler, Executor grpc.ClientConnInterface
	Verifier                     Verifier
	Telemetry                    *telemetry.Telemetry
	// Pages are served beside the API, each under its exact path.
	Pages map[string]http.Handler
	// Sessions is nil when people do not sign in here.
	Sessions Sessions
}

// Edge answers HTTP. It is an http.Handler.
type Edge struct {
	verifier Verifier
	sessions Sessions
	enforcer *access.Enforcer
	bindings map[string]*binding
	api      http.Handler
	pages    map[string]http.Handler
	handler  http.Handler
	// streams is the context of all streams. It is no call's, so it is kept here.
	streams    context.Context
	endStreams context.CancelCauseFunc
}

// New returns an Edge.
func New(ctx context.Context, opts Options) (*Edge, error) {
	bindings, err := publicBindings()
	if err != nil {
		return nil, err
	}
	catalog := &conn{opts.Catalog}
	e := &Edge{
		verifier: opts.Verifier,
		sessions: opts.Sessions,
		enforcer: access.NewEnforcer(access.Options{Module: module, Grants: grantsFrom(catalog)}),
		bindings: bindings,
		pages:    opts.Pages,
	}
	e.streams, e.endStreams = context.WithCancelCause(context.WithoutCancel(ctx))
	e.api, err = e.newMux(ctx, catalog, &conn{opts.Scheduler}, &conn{opts.Executor})
	if err != nil {
		return nil, err
	}
	guarded, err := guard(opts.Telemetry, http.HandlerFunc(e.route))
	if err != nil {
		return nil, err
	}
	e.handler, err = observe(opts.Telemetry, guarded)
	if err != nil {
		return nil, err
	}
	return e, nil
}

// ServeHTTP answers a call.
func (e *Edge) ServeHTTP(w http.ResponseWriter, r *http.Request) { e.handler.ServeHTTP(w, r) }

// route compares paths as they came. Nothing is cleaned, decoded or redirected on the way, so no spelling of a path leads elsewhere.
func (e *Edge) route(w http.ResponseWriter, r *http.Request) {
	path := r.URL.EscapedPath()
	if page, ok := e.pages[path]; ok {
		callFrom(r.Context()).route = path
		page.ServeHTTP(w, r)
		return
	}
	if strings.HasPrefix(path, "/v1/") {
		e.api.ServeHTTP(w, r)
		return
	}
	writeError(w, r, errUnknownRoute)
}

// Get limits a page to the safe methods.
func Get(h http.Handler) http.Handler { return only(h, http.MethodGet, http.MethodHead) }

// Post limits a page to POST.
func Post(h http.Handler) http.Handler { return only(h, http.MethodPost) }

func only(h http.Handler, methods ...string) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		for _, m := range methods {
			if r.Method == m {
				h.ServeHTTP(w, r)
				return
			}
		}
		w.Header().Set("Allow", strings.Join(methods, ", "))
		writeError(w, r, errMethodNotAllowed)
	})
}

// Error answers a call of a page in the API's error shape.
func Error(w http.ResponseWriter, r *http.Request, err error) { writeError(w, r, err) }
