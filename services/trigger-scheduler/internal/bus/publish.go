package bus

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"go.opentelemetry.io/otel/propagation"

	"workflow.uniconnect/pkg/bus"
	"workflow.uniconnect/pkg/fault"
	"workflow.uniconnect/services/trigger-scheduler/internal/event"
)

// publishWait is how long the stream may take to confirm.
const publishWait = 2 * time.Second

// errCodeFull is JetStream's code for a stream at its limit of bytes.
const errCodeFull jetstream.ErrorCode = 10077

// Publisher publishes events.
type Publisher struct {
	stream     *Stream
	propagator propagation.TextMapPropagator
}

// NewPublisher returns a publisher.
func NewPublisher(stream *Stream, propagator propagation.TextMapPropagator) *Publisher {
	return &Publisher{stream: stream, propagator: propagator}
}

// Publish stores m, whose sequence and time the stream decides, and returns when the stream has confirmed it. id tells repeats within
// the stream's window from new events; the same id with another body is refused.
func (p *Publisher) Publish(ctx context.Context, m *event.Message, id string) (event.Stored, error) {
	ctx, cancel := context.WithTimeout(ctx, publishWait)
	defer cancel()
	msg := &nats.Msg{Subject: m.Subject, Header: nats.Header(m.Header), Data: m.Body}
	bus.Inject(ctx, p.propagator, msg.Header)
	ack, err := p.stream.js.PublishMsg(ctx, msg, jetstream.WithMsgID(id), jetstream.WithExpectStream(StreamName))
	if err != nil {
		return event.Stored{}, publishFault(err)
	}
	stored := event.Stored{Sequence: ack.Sequence, Duplicate: ack.Duplicate}
	if stored.Duplicate {
		return stored, p.compare(ctx, stored.Sequence, m)
	}
	return stored, nil
}

// compare refuses an id that was used for something else. An original that is gone cannot be compared.
func (p *Publisher) compare(ctx context.Context, sequence uint64, m *event.Message) error {
	stream, err := p.stream.js.Stream(ctx, StreamName)
	if err != nil {
		return publishFault(err)
	}
	first, err := stream.GetMsg(ctx, sequence)
	if errors.Is(err, jetstream.ErrMsgNotFound) {
		return nil
	}
	if err != nil {
		return publishFault(err)
	}
	if first.Subject != m.Subject || !bytes.Equal(first.Data, m.Body) {
		return fault.AlreadyExists("EVENT_CONFLICT", "an event with this source and id was stored before, with another type or body")
	}
	return nil
}

func publishFault(err error) error {
	var api *jetstream.APIError
	switch {
	case errors.Is(err, nats.ErrMaxPayload):
		return fault.ResourceExhausted(fault.ReasonTooLarge, "the event is larger than the stream takes").With("limit", "1 MiB").WithCause(err)
	case errors.As(err, &api) && api.ErrorCode == errCodeFull:
		return fault.Unavailable(bus.ReasonBusUnavailable, "the event stream is full").WithRetryAfter(time.Minute).WithCause(err)
	case errors.Is(err, context.Canceled):
		return err
	}
	// The stream may have stored the event all the same: the caller repeats it with the same id.
	return fault.Unavailable(bus.ReasonBusUnavailable, "the event stream is not available").WithRetryAfter(time.Second).
		WithCause(fmt.Errorf("publish event: %w", err))
}
