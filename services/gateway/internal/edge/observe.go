package edge

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"regexp"
	"runtime/debug"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/metric"
	"go.opentelemetry.io/otel/propagation"
	"go.opentelemetry.io/otel/trace"

	"workflow.uniconnect/pkg/fault"
	"workflow.uniconnect/pkg/telemetry"
)

const instrumentation = "workflow.uniconnect/services/gateway"

const headerRequestID = "X-Request-Id"

// requestIDRegexp is what a client's request id must look like; another one is replaced, since it goes into logs.
var requestIDRegexp = regexp.MustCompile(`^[A-Za-z0-9._-]{1,64}$`)

// unmatched is the route of calls that have none, so that their paths do not become labels.
const unmatched = "unmatched"

// observer reports each call: a span, a measurement, a line in the log at debug level.
type observer struct {
	log        *slog.Logger
	tracer     trace.Tracer
	propagator propagation.TextMapPropagator
	duration   metric.Float64Histogram
	next       http.Handler
}

func observe(t *telemetry.Telemetry, next http.Handler) (http.Handler, error) {
	duration, err := t.Meter(instrumentation).Float64Histogram("http.server.request.duration",
		metric.WithUnit("s"), metric.WithDescription("time from the header of a call to the end of its answer"),
		metric.WithExplicitBucketBoundaries(.001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10))
	if err != nil {
		return nil, fmt.Errorf("make metric: %w", err)
	}
	return &observer{
		log: t.Logger, tracer: t.Tracer(instrumentation), propagator: t.Propagator, duration: duration, next: next,
	}, nil
}

func (o *observer) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	begin := time.Now()
	c := newCall(r)
	w.Header().Set(headerRequestID, c.requestID)

	ctx := o.propagator.Extract(r.Context(), propagation.HeaderCarrier(r.Header))
	ctx, span := o.tracer.Start(ctx, r.Method, trace.WithSpanKind(trace.SpanKindServer))
	defer span.End()
	ctx = withCall(ctx, c)
	recorder := &recorder{ResponseWriter: w}
	defer o.report(ctx, c, r.Method, recorder, begin)
	// The report above runs after this one, when a panic has become an answer.
	defer o.recover(ctx, recorder, r)
	o.next.ServeHTTP(recorder, r.WithContext(ctx))
}

func (o *observer) recover(ctx context.Context, w *recorder, r *http.Request) {
	v := recover()
	if v == nil {
		return
	}
	if err, ok := v.(error); ok && errors.Is(err, http.ErrAbortHandler) {
		panic(v) // the server's way to cut a connection
	}
	o.log.ErrorContext(ctx, "call panicked", "panic", fmt.Sprint(v), "stack", string(debug.Stack()))
	if w.code != 0 {
		panic(http.ErrAbortHandler) // half an answer must not look like a whole one
	}
	writeError(w, r.WithContext(ctx), fault.Internal(fault.ReasonInternal, "internal error"))
}

func (o *observer) report(ctx context.Context, c *call, method string, w *recorder, begin time.Time) {
	route, code := c.route, w.code
	if route == "" {
		route = unmatched
	}
	if code == 0 {
		code = http.StatusOK
	}
	attributes := []attribute.KeyValue{
		attribute.String("http.request.method", knownMethod(method)),
		attribute.String("http.route", route),
		attribute.Int("http.response.status_code", code),
	}
	o.duration.Record(ctx, time.Since(begin).Seconds(), metric.WithAttributes(attributes...))

	span := trace.SpanFromContext(ctx)
	span.SetName(knownMethod(method) + " " + route)
	span.SetAttributes(attributes...)
	if code >= http.StatusInternalServerError {
		span.SetStatus(codes.Error, "")
	}
	if o.log.Enabled(ctx, slog.LevelDebug) {
		attrs := []any{"method", method, "route", route, "code", code, "duration", time.Since(begin), "request_id", c.requestID}
		if c.principal.Subject != "" {
			attrs = append(attrs, "tenant", c.principal.Tenant, "subject", c.principal.Subject)
		}
		if c.failure != nil {
			attrs = append(attrs, "error", c.failure)
		}
		o.log.DebugContext(ctx, "http call", attrs...)
	}
}

// knownMethod keeps invented methods from becoming labels.
func knownMethod(method string) string {
	switch method {
	case http.MethodGet, http.MethodHead, http.MethodPost, http.MethodPut, http.MethodPatch, http.MethodDelete, http.MethodOptions:
		return method
	}
	return "_OTHER"
}

// recorder remembers the status of an answer.
type recorder struct {
	http.ResponseWriter
	code int
}

func (w *recorder) WriteHeader(code int) {
	if w.code == 0 {
		w.code = code
	}
	w.ResponseWriter.WriteHeader(code)
}

func (w *recorder) Write(b []byte) (int, error) {
	if w.code == 0 {
		w.code = http.StatusOK
	}
	return w.ResponseWriter.Write(b)
}

// Unwrap lets http.ResponseController flush and set deadlines.
func (w *recorder) Unwrap() http.ResponseWriter { return w.ResponseWriter }
