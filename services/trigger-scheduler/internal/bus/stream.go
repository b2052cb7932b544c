// Package bus reaches the event stream: it provisions it, pulls from it, re-reads it and publishes to it. What a message means is not its
// concern.
package bus

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"workflow.uniconnect/pkg/bus"
	"workflow.uniconnect/services/trigger-scheduler/internal/event"
)

// Names that the contract fixes, and the one of our consumer.
const (
	StreamName   = "UNICONNECT_EVENTS"
	ConsumerName = "trigger-scheduler"
)

// subjects is what the stream takes.
const subjects = "uniconnect.events.>"

// Limits are what installations and tests may differ in.
type Limits struct {
	// MaxBytes is how much the stream may hold.
	MaxBytes int64
	// AckWait is after what time a message that was not settled is delivered again.
	AckWait time.Duration
}

// DefaultLimits are those of development and small installations.
func DefaultLimits() Limits { return Limits{MaxBytes: 4 << 30, AckWait: 30 * time.Second} }

const (
	maxAckPending = 8192
	duplicates    = 2 * time.Minute
	retention     = 7 * 24 * time.Hour
)

// StreamConfig is the stream of the contract. DiscardNew makes a full stream refuse events, which their producers then keep, in place of
// dropping old ones that nobody has read.
func StreamConfig(limits Limits) jetstream.StreamConfig {
	return jetstream.StreamConfig{
		Name: StreamName, Subjects: []string{subjects}, Retention: jetstream.LimitsPolicy, Storage: jetstream.FileStorage,
		Discard: jetstream.DiscardNew, MaxBytes: limits.MaxBytes, MaxAge: retention, Duplicates: duplicates,
	}
}

func consumerConfig(limits Limits) jetstream.ConsumerConfig {
	return jetstream.ConsumerConfig{
		Durable: ConsumerName, DeliverPolicy: jetstream.DeliverAllPolicy, AckPolicy: jetstream.AckExplicitPolicy,
		AckWait: limits.AckWait, MaxDeliver: -1, MaxAckPending: maxAckPending, ReplayPolicy: jetstream.ReplayInstantPolicy,
	}
}

// Stream is the event stream. It is safe for concurrent use.
type Stream struct {
	js     jetstream.JetStream
	limits Limits
	logger *slog.Logger
	// born is when the stream of the consumer was made. It tells a stream from the one that takes its place after a wipe.
	born atomic.Pointer[time.Time]
}

// New returns the stream on a connection; Provision makes it.
func New(conn *nats.Conn, limits Limits, logger *slog.Logger) (*Stream, error) {
	js, err := jetstream.New(conn)
	if err != nil {
		return nil, fmt.Errorf("JetStream client: %w", err)
	}
	return &Stream{js: js, limits: limits, logger: logger}, nil
}

// Ready checks that the stream answers.
func (s *Stream) Ready(ctx context.Context) error { return bus.Ready(ctx, s.js, StreamName) }

// Provision makes stream and consumer, or brings them to their configuration. A consumer that somebody deleted begins again after the
// sequence floor, up to which all was acked; 0 begins at the beginning, where the start keys settle what is met twice. So does a stream
// that was made anew.
func (s *Stream) Provision(ctx context.Context, floor uint64) (jetstream.Consumer, error) {
	stream, drift, err := bus.EnsureStream(ctx, s.js, StreamConfig(s.limits))
	if err != nil {
		return nil, bus.Classify(err)
	}
	born := stream.CachedInfo().Created
	if last := s.born.Load(); last == nil || !last.Equal(born) {
		floor = 0
	}
	s.report(ctx, "stream was not as configured", drift)
	cfg := consumerConfig(s.limits)
	existing, err := s.js.Consumer(ctx, StreamName, ConsumerName)
	switch {
	case err == nil:
		// Where it began cannot be changed, and does not matter any more.
		had := existing.CachedInfo().Config
		cfg.DeliverPolicy, cfg.OptStartSeq, cfg.OptStartTime = had.DeliverPolicy, had.OptStartSeq, had.OptStartTime
	case errors.Is(err, jetstream.ErrConsumerNotFound):
		if floor > 0 {
			cfg.DeliverPolicy, cfg.OptStartSeq = jetstream.DeliverByStartSequencePolicy, floor+1
		}
	default:
		return nil, bus.Classify(fmt.Errorf("look up consumer: %w", err))
	}
	consumer, drift, err := bus.EnsureConsumer(ctx, s.js, StreamName, cfg)
	if err != nil {
		return nil, bus.Classify(err)
	}
	s.report(ctx, "consumer was not as configured", drift)
	s.born.Store(&born)
	return consumer, nil
}

func (s *Stream) report(ctx context.Context, message string, drift []bus.Drift) {
	if len(drift) == 0 {
		return
	}
	texts := make([]string, len(drift))
	for i, d := range drift {
		texts[i] = d.String()
	}
	s.logger.WarnContext(ctx, message, "drift", strings.Join(texts, "; "))
}

// forget deletes the consumer, so that Provision makes it anew.
func (s *Stream) forget(ctx context.Context) error {
	err := s.js.DeleteConsumer(ctx, StreamName, ConsumerName)
	if err != nil && !errors.Is(err, jetstream.ErrConsumerNotFound) {
		return bus.Classify(fmt.Errorf("delete consumer: %w", err))
	}
	return nil
}

// Last implements activation.Stream.
func (s *Stream) Last(ctx context.Context) (uint64, time.Time, error) {
	stream, err := s.js.Stream(ctx, StreamName)
	if err != nil {
		return 0, time.Time{}, bus.Classify(fmt.Errorf("look up stream: %w", err))
	}
	state := stream.CachedInfo().State
	if state.Msgs == 0 {
		return 0, time.Time{}, nil
	}
	return state.LastSeq, state.LastTime, nil
}

// Purge removes every message of a tenant, and the consumers that a process which is gone has left on the tenant's subjects alone.
func (s *Stream) Purge(ctx context.Context, tenant event.Tenant) error {
	stream, err := s.js.Stream(ctx, StreamName)
	if errors.Is(err, jetstream.ErrStreamNotFound) {
		return nil
	}
	if err != nil {
		return bus.Classify(fmt.Errorf("look up stream: %w", err))
	}
	for _, subject := range []string{event.SubjectOf(tenant, ">"), strings.TrimSuffix(event.SubjectOf(tenant, ""), ".")} {
		if err := stream.Purge(ctx, jetstream.WithPurgeSubject(subject)); err != nil {
			return bus.Classify(fmt.Errorf("purge the messages of a tenant: %w", err))
		}
	}
	consumers := stream.ListConsumers(ctx)
	var left []string
	for info := range consumers.Info() {
		filters := append([]string{info.Config.FilterSubject}, info.Config.FilterSubjects...)
		if slices.ContainsFunc(filters, func(f string) bool { return strings.HasPrefix(f, event.SubjectOf(tenant, "")) }) {
			left = append(left, info.Name)
		}
	}
	if err := consumers.Err(); err != nil {
		return bus.Classify(fmt.Errorf("list consumers: %w", err))
	}
	for _, name := range left {
		if err := stream.DeleteConsumer(ctx, name); err != nil && !errors.Is(err, jetstream.ErrConsumerNotFound) {
			return bus.Classify(fmt.Errorf("delete a consumer of a tenant: %w", err))
		}
	}
	return nil
}

// messageOf converts a message; what it holds is shared.
func messageOf(msg jetstream.Msg) (event.Message, *jetstream.MsgMetadata, error) {
	meta, err := msg.Metadata()
	if err != nil {
		return event.Message{}, nil, fmt.Errorf("read message's place: %w", err)
	}
	return event.Message{
		Subject: msg.Subject(), Header: msg.Headers(), Body: msg.Data(), Sequence: meta.Sequence.Stream, Time: meta.Timestamp,
	}, meta, nil
}
