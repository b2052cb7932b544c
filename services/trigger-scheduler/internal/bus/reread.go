package bus

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"workflow.uniconnect/pkg/bus"
	"workflow.uniconnect/services/trigger-scheduler/internal/event"
)

const (
	rereadBatch = 256
	// rereadWait is how long the next message of a re-read may take to come.
	rereadWait = 5 * time.Second
)

// errStalled makes the caller begin the re-read again.
var errStalled = errors.New("the stream sent nothing more before the end of the span")

// Read implements activation.Stream. The ordered consumer notices gaps and goes on where it was.
func (s *Stream) Read(ctx context.Context, subject string, from time.Time, until uint64, fn func([]event.Message) error) error {
	consumer, err := s.js.OrderedConsumer(ctx, StreamName, jetstream.OrderedConsumerConfig{
		FilterSubjects: []string{subject}, DeliverPolicy: jetstream.DeliverByStartTimePolicy, OptStartTime: &from,
		InactiveThreshold: time.Minute,
	})
	if err != nil {
		return bus.Classify(fmt.Errorf("open ordered consumer: %w", err))
	}
	if consumer.CachedInfo().NumPending == 0 {
		return nil
	}
	messages, err := consumer.Messages(jetstream.PullMaxMessages(rereadBatch))
	if err != nil {
		return bus.Classify(fmt.Errorf("pull from ordered consumer: %w", err))
	}
	defer messages.Stop()
	var batch []event.Message
	flush := func() error {
		if len(batch) == 0 {
			return nil
		}
		err := fn(batch)
		batch = batch[:0]
		return err
	}
	for {
		msg, err := next(ctx, messages)
		if err != nil {
			return err
		}
		m, meta, err := messageOf(msg)
		if err != nil {
			return err
		}
		if m.Sequence > until {
			return flush()
		}
		batch = append(batch, m)
		if m.Sequence == until || meta.NumPending == 0 {
			return flush()
		}
		if len(batch) == rereadBatch {
			if err := flush(); err != nil {
				return err
			}
		}
	}
}

func next(ctx context.Context, messages jetstream.MessagesContext) (jetstream.Msg, error) {
	limited, cancel := context.WithTimeout(ctx, rereadWait)
	defer cancel()
	msg, err := messages.Next(jetstream.NextContext(limited))
	switch {
	case err == nil:
		return msg, nil
	case ctx.Err() != nil:
		return nil, ctx.Err()
	case errors.Is(err, context.DeadlineExceeded), errors.Is(err, nats.ErrTimeout):
		return nil, errStalled
	}
	return nil, bus.Classify(fmt.Errorf("read from ordered consumer: %w", err))
}
