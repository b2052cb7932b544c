package observe_test

import (
	"errors"
	"testing"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	noopmetric "go.opentelemetry.io/otel/metric/noop"
	"go.opentelemetry.io/otel/propagation"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"
	"go.opentelemetry.io/otel/trace"

	"workflow.uniconnect/services/trigger-scheduler/internal/event"
	"workflow.uniconnect/services/trigger-scheduler/internal/intake"
	"workflow.uniconnect/services/trigger-scheduler/internal/observe"
)

func TestObserver_Trace(t *testing.T) {
	t.Parallel()
	recorder := tracetest.NewSpanRecorder()
	provider := sdktrace.NewTracerProvider(sdktrace.WithSpanProcessor(recorder))
	o, err := observe.New(noopmetric.NewMeterProvider().Meter(""), provider.Tracer("test"), propagation.TraceContext{})
	if err != nil {
		t.Fatal(err)
	}
	const traceID, publisher = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
	traceparent, span := o.Trace(t.Context(), &event.Event{Type: "call.ended", Traceparent: "00-" + traceID + "-" + publisher + "-01"})
	begin := time.Date(2026, 11, 23, 10, 0, 0, 0, time.UTC)
	end := begin.Add(time.Millisecond)
	span.Called(t.Context(), intake.Call{Begin: begin, End: end, Starts: 7})
	span.Called(t.Context(), intake.Call{Begin: begin, End: end, Starts: 1, Err: errors.New("away")})
	span.End()

	spans := recorder.Ended()
	if len(spans) != 3 {
		t.Fatalf("got %d spans, want 3", len(spans))
	}
	handled := spans[2]
	if got := handled.SpanContext(); traceparent != "00-"+traceID+"-"+got.SpanID().String()+"-01" || handled.Parent().SpanID().String() != publisher {
		t.Errorf("span %s of %s below %s goes on as %s", got.SpanID(), handled.Name(), handled.Parent().SpanID(), traceparent)
	}
	for i, want := range []struct {
		starts int
		status codes.Code
	}{{7, codes.Unset}, {1, codes.Error}} {
		call := spans[i]
		if call.Name() != "StartExecutions" || call.SpanKind() != trace.SpanKindClient || call.Parent().SpanID() != handled.SpanContext().SpanID() {
			t.Errorf("call %d: got %s %s below %s", i, call.SpanKind(), call.Name(), call.Parent().SpanID())
		}
		if !call.StartTime().Equal(begin) || !call.EndTime().Equal(end) || call.Status().Code != want.status {
			t.Errorf("call %d: got %s to %s, %v", i, call.StartTime(), call.EndTime(), call.Status())
		}
		set := attribute.NewSet(call.Attributes()...)
		if got, _ := set.Value("uc.batch"); got.AsInt64() != int64(want.starts) {
			t.Errorf("call %d: got a batch of %d, want %d", i, got.AsInt64(), want.starts)
		}
	}
}
