package edge

import (
	"context"
	"net/http"
	"regexp"
	"strconv"
	"strings"

	"github.com/grpc-ecosystem/grpc-gateway/v2/runtime"
	"google.golang.org/genproto/googleapis/api/httpbody"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"

	spb "google.golang.org/genproto/googleapis/rpc/status"

	"workflow.uniconnect/pkg/fault"
	"workflow.uniconnect/services/gateway/internal/strictjson"

	accessv1 "workflow.uniconnect/proto/gen/go/uniconnect/access/v1"
	workflowv1 "workflow.uniconnect/proto/gen/go/uniconnect/workflow/v1"
)

// newMux registers the generated translation of every public service.
func (e *Edge) newMux(ctx context.Context, catalog, scheduler, executor *conn) (http.Handler, error) {
	none := func(string) (string, bool) { return "", false }
	mux := runtime.NewServeMux(
		runtime.WithMarshalerOption(runtime.MIMEWildcard, newMarshaler()),
		runtime.WithMiddlewares(e.admit),
		runtime.WithIncomingHeaderMatcher(none),
		runtime.WithOutgoingHeaderMatcher(none),
		runtime.WithOutgoingTrailerMatcher(none),
		runtime.WithDisableHTTPMethodOverride(),
		runtime.WithDisablePathLengthFallback(),
		// An encoded slash stays one: it cannot make a path of another form.
		runtime.WithUnescapingMode(runtime.UnescapingModeAllExceptReserved),
		runtime.WithErrorHandler(handleError),
		runtime.WithStreamErrorHandler(streamStatus),
		runtime.WithRoutingErrorHandler(e.handleRoutingError),
		runtime.WithForwardResponseOption(setETag),
	)
	for _, register := range []func() error{
		func() error {
			return workflowv1.RegisterWorkflowCatalogServiceHandlerClient(ctx, mux, workflowv1.NewWorkflowCatalogServiceClient(catalog))
		},
		func() error {
			return accessv1.RegisterAccessServiceHandlerClient(ctx, mux, accessv1.NewAccessServiceClient(catalog))
		},
		func() error {
			return workflowv1.RegisterTriggerSchedulerServiceHandlerClient(ctx, mux, workflowv1.NewTriggerSchedulerServiceClient(scheduler))
		},
		func() error {
			return workflowv1.RegisterExecutorServiceHandlerClient(ctx, mux, workflowv1.NewExecutorServiceClient(executor))
		},
	} {
		if err := register(); err != nil {
			return nil, err
		}
	}
	return mux, nil
}

// marshaler is protojson, with a stream's last line in our error shape. Requests were checked before; see admit.
type marshaler struct{ runtime.JSONPb }

func newMarshaler() *marshaler {
	return &marshaler{runtime.JSONPb{
		// Lists and numbers are always there; resources that are not set are absent rather than null.
		MarshalOptions: protojson.MarshalOptions{EmitDefaultValues: true},
	}}
}

// ContentType returns the type of an answer: JSON, or what a document says of itself.
func (m *marshaler) ContentType(v any) string {
	if answer, ok := v.(interface{ XXX_ResponseBody() any }); ok {
		if document, ok := answer.XXX_ResponseBody().(*httpbody.HttpBody); ok && document.GetContentType() != "" {
			return document.GetContentType()
		}
	}
	return m.JSONPb.ContentType(v)
}

// Marshal encodes an answer. A document is sent as it is.
func (m *marshaler) Marshal(v any) ([]byte, error) {
	if document, ok := v.(*httpbody.HttpBody); ok {
		return document.GetData(), nil
	}
	if chunk, ok := v.(map[string]proto.Message); ok {
		if s, ok := chunk["error"].(*spb.Status); ok {
			f := publicFault(status.FromProto(s).Err())
			v = problemOf(f, httpStatus(f, &call{}))
		}
	}
	return m.JSONPb.Marshal(v)
}

// StreamContentType is the type of newline-delimited JSON.
func (m *marshaler) StreamContentType(any) string { return "application/x-ndjson" }

// positionRegexp finds where protojson places an error. Only the place is taken from its text, which is not stable.
var positionRegexp = regexp.MustCompile(`\(line (\d+):(\d+)\):\s*(.*)`)

// handleError answers for a call that failed. What is no fault comes from the translation: a value of the right kind that does not
// fit its field.
//
//nolint:revive // the signature is the library's
func handleError(_ context.Context, _ *runtime.ServeMux, _ runtime.Marshaler, w http.ResponseWriter, r *http.Request, err error) {
	if _, ok := fault.As(err); !ok && status.Code(err) == codes.InvalidArgument {
		err = misfit(status.Convert(err).Message(), callFrom(r.Context())).WithCause(err)
	}
	writeError(w, r, err)
}

func misfit(text string, c *call) *fault.Error {
	place := positionRegexp.FindStringSubmatch(text)
	if place == nil {
		return fault.InvalidArgument(fault.ReasonInvalidFields, "a path or query parameter has an invalid value")
	}
	line, lineErr := strconv.Atoi(place[1])
	column, columnErr := strconv.Atoi(place[2])
	if lineErr != nil || columnErr != nil {
		return fault.InvalidArgument(fault.ReasonInvalidFields, "a field has an invalid value")
	}
	return fault.Invalid(fault.Violation{Field: strictjson.PathAt(c.body, line, column), Description: "the value does not fit the field"})
}

//nolint:revive // the signature is the library's
func (e *Edge) handleRoutingError(_ context.Context, _ *runtime.ServeMux, _ runtime.Marshaler, w http.ResponseWriter, r *http.Request, _ int) {
	e.noRoute(w, r)
}

// noRoute answers for a path that the contract does not have, or not with this method.
func (e *Edge) noRoute(w http.ResponseWriter, r *http.Request) {
	methods := e.allowed(r.URL.EscapedPath())
	switch {
	case len(methods) == 0:
		writeError(w, r, errUnknownRoute)
	case isForm(r.Header):
		// A form with a method in a header is how browsers' forms ask for what they cannot; it is refused for what it is.
		writeError(w, r, errForm)
	default:
		w.Header().Set("Allow", strings.Join(methods, ", "))
		writeError(w, r, errMethodNotAllowed)
	}
}

// setETag gives an answer that is one versioned resource the header for it.
func setETag(_ context.Context, w http.ResponseWriter, message proto.Message) error {
	if message == nil {
		return nil
	}
	m := message.ProtoReflect()
	if m.Descriptor().Fields().Len() != 1 {
		return nil
	}
	fd := m.Descriptor().Fields().Get(0)
	if fd.Message() == nil || fd.IsList() || fd.IsMap() || !holdsText(fd.Message(), "etag") {
		return nil
	}
	if tag := m.Get(fd).Message().Get(fd.Message().Fields().ByName("etag")).String(); tag != "" {
		w.Header().Set("ETag", `"`+tag+`"`)
	}
	return nil
}
