package bus_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"go.opentelemetry.io/otel/propagation"
	"go.opentelemetry.io/otel/trace"

	"workflow.uniconnect/pkg/bus"
	"workflow.uniconnect/pkg/fault"
	"workflow.uniconnect/pkg/natstest"
)

func TestConnect_ComesBack(t *testing.T) {
	t.Parallel()
	server := natstest.New(t)
	js := server.JetStream()
	if _, _, err := bus.EnsureStream(t.Context(), js, jetstream.StreamConfig{Name: "THINGS", Subjects: []string{"things.>"}}); err != nil {
		t.Fatal(err)
	}
	if _, err := js.Publish(t.Context(), "things.one", []byte("1")); err != nil {
		t.Fatal(err)
	}
	if err := bus.Ready(t.Context(), js, "THINGS"); err != nil {
		t.Fatalf("Ready: %v", err)
	}
	wantUnavailable(t, "Ready without the stream", bus.Ready(t.Context(), js, "OTHERS"))

	lost := js.Conn().StatusChanged(nats.RECONNECTING)
	back := js.Conn().StatusChanged(nats.CONNECTED)
	server.Stop()
	await(t, "the loss", lost)
	wantUnavailable(t, "Ready", bus.Ready(t.Context(), js, "THINGS"))
	begin := time.Now()
	_, err := js.Publish(t.Context(), "things.two", []byte("2"))
	wantUnavailable(t, "Publish", bus.Classify(err))
	if took := time.Since(begin); took > time.Second {
		t.Errorf("a publish without connection took %v, want an answer at once", took)
	}

	server.Restart()
	await(t, "the reconnection", back)
	stream, err := js.Stream(t.Context(), "THINGS")
	if err != nil {
		t.Fatal(err)
	}
	if got := stream.CachedInfo().State.Msgs; got != 1 {
		t.Errorf("messages after the restart: got %d, want the 1 that was acknowledged", got)
	}
}

func TestConnect_BeforeTheServer(t *testing.T) {
	t.Parallel()
	server := natstest.New(t)
	url := server.URL()
	server.Stop()
	conn, err := bus.Connect(bus.Options{URL: url, Name: "early"})
	if err != nil {
		t.Fatalf("Connect without a server: %v", err)
	}
	t.Cleanup(conn.Close)
	connected := conn.StatusChanged(nats.CONNECTED)
	server.Restart()
	await(t, "the first connection", connected)
}

func TestDrain_FinishesWhatWasReceived(t *testing.T) {
	t.Parallel()
	server := natstest.New(t)
	conn, err := bus.Connect(bus.Options{InProcess: server.Server, Name: "drainer"})
	if err != nil {
		t.Fatal(err)
	}
	got := make(chan string, 3)
	if _, err := conn.Subscribe("notes", func(m *nats.Msg) { got <- string(m.Data) }); err != nil {
		t.Fatal(err)
	}
	for i := range cap(got) {
		if err := conn.Publish("notes", fmt.Append(nil, i)); err != nil {
			t.Fatal(err)
		}
	}
	for range 2 { // the second finds it closed
		if err := bus.Drain(t.Context(), conn); err != nil {
			t.Fatal(err)
		}
	}
	if !conn.IsClosed() || len(got) != cap(got) {
		t.Errorf("closed: %t, handled: %d of %d", conn.IsClosed(), len(got), cap(got))
	}
}

func TestStartEmbedded_Refuses(t *testing.T) {
	t.Parallel()
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	tests := []struct {
		name string
		opts bus.EmbeddedOptions
	}{
		{"port_in_use", bus.EmbeddedOptions{StoreDir: t.TempDir(), Addr: taken.Addr().String()}},
		{"no_store", bus.EmbeddedOptions{Addr: "127.0.0.1:0"}},
		{"no_port", bus.EmbeddedOptions{StoreDir: t.TempDir(), Addr: "localhost"}},
		{"store_is_a_file", bus.EmbeddedOptions{StoreDir: "/dev/null"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			begin := time.Now()
			server, err := bus.StartEmbedded(tt.opts)
			if err == nil {
				_ = server.Shutdown(t.Context())
				t.Fatal("it started")
			}
			if took := time.Since(begin); took > 10*time.Second {
				t.Errorf("it took %v to say so", took)
			}
			t.Log(err)
		})
	}
}

func TestInjectExtract(t *testing.T) {
	t.Parallel()
	want := trace.NewSpanContext(trace.SpanContextConfig{
		TraceID: trace.TraceID{1}, SpanID: trace.SpanID{2}, TraceFlags: trace.FlagsSampled, Remote: true,
	})
	header := nats.Header{}
	bus.Inject(trace.ContextWithSpanContext(t.Context(), want), propagation.TraceContext{}, header)
	for _, name := range []string{"traceparent", "Traceparent", "TRACEPARENT"} {
		received := nats.Header{name: header["traceparent"]}
		got := trace.SpanContextFromContext(bus.Extract(t.Context(), propagation.TraceContext{}, received))
		if !got.Equal(want) {
			t.Errorf("%s: got %v, want %v", name, got, want)
		}
	}
	none := bus.Extract(t.Context(), propagation.TraceContext{}, nil)
	if trace.SpanContextFromContext(none).IsValid() {
		t.Error("a message without headers has a trace")
	}
}

func TestClassify(t *testing.T) {
	t.Parallel()
	cancelled, cancel := context.WithCancel(t.Context())
	cancel()
	tests := []struct {
		name string
		err  error
		want fault.Kind
	}{
		{"nil", nil, fault.KindNone},
		{"no_responders", fmt.Errorf("publish: %w", nats.ErrNoResponders), fault.KindUnavailable},
		{"deadline", context.DeadlineExceeded, fault.KindUnavailable},
		{"store_full", &jetstream.APIError{Code: 503, Description: "maximum bytes exceeded"}, fault.KindUnavailable},
		{"bad_request", &jetstream.APIError{Code: 400}, fault.KindInternal},
		{"cancelled", cancelled.Err(), fault.KindCanceled},
		{"other", errors.New("other"), fault.KindInternal},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if got := fault.KindOf(bus.Classify(tt.err)); got != tt.want {
				t.Errorf("got %v, want %v", got, tt.want)
			}
		})
	}
}

func wantUnavailable(t *testing.T, name string, err error) {
	t.Helper()
	f, ok := fault.As(err)
	if !ok || f.Kind != fault.KindUnavailable || f.Reason != bus.ReasonBusUnavailable {
		t.Errorf("%s: got %v, want Unavailable", name, err)
	}
}

func await(t *testing.T, what string, events <-chan nats.Status) {
	t.Helper()
	select {
	case <-events:
	case <-time.After(20 * time.Second):
		t.Fatalf("no sign of %s within 20 s", what)
	}
}
