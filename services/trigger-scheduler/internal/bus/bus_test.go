package bus

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"workflow.uniconnect/pkg/natstest"
	"workflow.uniconnect/services/trigger-scheduler/internal/event"
	"workflow.uniconnect/services/trigger-scheduler/internal/intake"
)

const subject = "uniconnect.events.acme.call.ended"

func newStream(t *testing.T) (*Stream, jetstream.JetStream) {
	t.Helper()
	server := natstest.New(t)
	s, err := New(server.Connect(), Limits{MaxBytes: 64 << 20, AckWait: time.Second}, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := s.Provision(t.Context(), 0); err != nil {
		t.Fatal(err)
	}
	return s, server.JetStream()
}

func publish(t *testing.T, js jetstream.JetStream, subject, body string) uint64 {
	t.Helper()
	ack, err := js.Publish(t.Context(), subject, []byte(body))
	if err != nil {
		t.Fatal(err)
	}
	return ack.Sequence
}

func TestStream_Read(t *testing.T) {
	t.Parallel()
	s, js := newStream(t)
	if last, _, err := s.Last(t.Context()); err != nil || last != 0 {
		t.Fatalf("an empty stream: got %d, %v", last, err)
	}
	publish(t, js, subject, "before")
	at := time.Now()
	const n = 600
	var until uint64
	for i := range n {
		until = publish(t, js, subject, fmt.Sprint(i))
		if i%100 == 0 {
			publish(t, js, "uniconnect.events.globex.call.ended", "other")
			publish(t, js, "uniconnect.events.acme.call.started", "other")
		}
	}
	publish(t, js, subject, "after")
	var got []string
	read := func(subject string, from time.Time, until uint64) error {
		got = nil
		return s.Read(t.Context(), subject, from, until, func(msgs []event.Message) error {
			for _, m := range msgs {
				got = append(got, string(m.Body))
			}
			return nil
		})
	}
	if err := read(subject, at, until); err != nil {
		t.Fatal(err)
	}
	if len(got) != n || got[0] != "0" || got[n-1] != fmt.Sprint(n-1) {
		t.Errorf("got %d messages, want 0 to %d", len(got), n-1)
	}
	last, lastTime, err := s.Last(t.Context())
	if err != nil || last != until+1 || lastTime.Before(at) {
		t.Errorf("last: got %d at %v, %v", last, lastTime, err)
	}
	if err := read(subject, time.Now().Add(time.Hour), last); err != nil || len(got) != 0 {
		t.Errorf("a span in the future: got %d messages, %v", len(got), err)
	}
	if err := read("uniconnect.events.nobody.call.ended", at, last); err != nil || len(got) != 0 {
		t.Errorf("a subject without messages: got %d messages, %v", len(got), err)
	}
	failure := errors.New("no")
	if err := s.Read(t.Context(), subject, at, last, func([]event.Message) error { return failure }); !errors.Is(err, failure) {
		t.Errorf("a reader that fails: got %v", err)
	}
}

func TestStream_Provision(t *testing.T) {
	t.Parallel()
	s, js := newStream(t)
	stream, err := js.Stream(t.Context(), StreamName)
	if err != nil {
		t.Fatal(err)
	}
	cfg := stream.CachedInfo().Config
	if cfg.Discard != jetstream.DiscardNew || cfg.MaxAge != 7*24*time.Hour || cfg.Duplicates != 2*time.Minute || cfg.Storage != jetstream.FileStorage {
		t.Errorf("stream: got %+v", cfg)
	}
	first := publish(t, js, subject, "1")
	publish(t, js, subject, "2")
	if err := s.forget(t.Context()); err != nil {
		t.Fatal(err)
	}
	for range 2 { // the second time it exists, with a beginning that cannot be changed
		consumer, err := s.Provision(t.Context(), first)
		if err != nil {
			t.Fatal(err)
		}
		if info := consumer.CachedInfo(); info.NumPending != 1 || info.Config.MaxDeliver != -1 {
			t.Errorf("consumer: %d pending, MaxDeliver %d", info.NumPending, info.Config.MaxDeliver)
		}
	}
}

// TestStream_Provision_after_a_wipe: what was acked in a stream says nothing about the one that takes its place.
func TestStream_Provision_after_a_wipe(t *testing.T) {
	t.Parallel()
	s, js := newStream(t)
	var floor uint64
	for range 5 {
		floor = publish(t, js, subject, "old")
	}
	if err := js.DeleteStream(t.Context(), StreamName); err != nil {
		t.Fatal(err)
	}
	// Another replica has made it anew, and a producer was quick.
	if _, err := js.CreateStream(t.Context(), StreamConfig(s.limits)); err != nil {
		t.Fatal(err)
	}
	for range 7 {
		publish(t, js, subject, "new")
	}
	consumer, err := s.Provision(t.Context(), floor)
	if err != nil {
		t.Fatal(err)
	}
	if got := consumer.CachedInfo().NumPending; got != 7 {
		t.Errorf("got %d pending of the 7 that the new stream holds", got)
	}
}

// gate is open, and covered as a test says.
type gate struct{ open, covered bool }

func (g gate) Wait(ctx context.Context) error { return ctx.Err() }
func (g gate) Open() bool                     { return g.open }
func (g gate) Covered() bool                  { return g.covered }

type settler func([]event.Message) ([]intake.Verdict, error)

func (f settler) Settle(_ context.Context, msgs []event.Message) ([]intake.Verdict, error) {
	return f(msgs)
}

func all(v intake.Verdict) settler {
	return func(msgs []event.Message) ([]intake.Verdict, error) {
		verdicts := make([]intake.Verdict, len(msgs))
		for i := range verdicts {
			verdicts[i] = v
		}
		return verdicts, nil
	}
}

// TestConsumer_acks_only_while_covered: a process whose row has expired may have been inherited; what it acks now nobody would look after.
func TestConsumer_acks_only_while_covered(t *testing.T) {
	t.Parallel()
	for _, covered := range []bool{true, false} {
		s, js := newStream(t)
		settled := make(chan struct{}, 1)
		c := NewConsumer(s, settler(func(msgs []event.Message) ([]intake.Verdict, error) {
			defer func() { settled <- struct{}{} }()
			return all(intake.Settled)(msgs)
		}), gate{open: true, covered: covered}, slog.New(slog.DiscardHandler))
		publish(t, js, subject, "{}")
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error, 1)
		go func() { done <- c.Run(ctx) }()
		<-settled
		cancel()
		if err := <-done; err != nil {
			t.Fatal(err)
		}
		consumer, err := js.Consumer(t.Context(), StreamName, ConsumerName)
		if err != nil {
			t.Fatal(err)
		}
		if got := consumer.CachedInfo().AckFloor.Stream == 1; got != covered {
			t.Errorf("covered %v: acked %v", covered, got)
		}
	}
}

// TestConsumer_pulls_a_bounded_number_of_bytes: a burst of the largest events must not fill the memory.
func TestConsumer_pulls_a_bounded_number_of_bytes(t *testing.T) {
	t.Parallel()
	s, js := newStream(t)
	const size, n = 900 << 10, 60
	body := strings.Repeat("x", size)
	for range n {
		publish(t, js, subject, body)
	}
	release := make(chan struct{})
	c := NewConsumer(s, settler(func(msgs []event.Message) ([]intake.Verdict, error) {
		<-release
		return all(intake.Settled)(msgs)
	}), gate{open: true, covered: true}, slog.New(slog.DiscardHandler))
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- c.Run(ctx) }()
	consumer, err := js.Consumer(t.Context(), StreamName, ConsumerName)
	if err != nil {
		t.Fatal(err)
	}
	ticker := time.NewTicker(20 * time.Millisecond)
	defer ticker.Stop()
	for pulled := false; ; { // until every worker has what it pulled
		info, err := consumer.Info(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if pulled = pulled || info.NumAckPending > 0; pulled && info.NumWaiting == 0 {
			if got := info.NumAckPending * size; got > workers*pullBytes {
				t.Errorf("%d bytes in %d messages are held, want at most %d", got, info.NumAckPending, workers*pullBytes)
			}
			break
		}
		<-ticker.C
	}
	close(release)
	cancel()
	if err := <-done; err != nil {
		t.Fatal(err)
	}
}

func TestConsumer_note(t *testing.T) {
	begin := time.Date(2026, 11, 23, 10, 0, 0, 0, time.UTC)
	info := func(delivered, pending uint64) *jetstream.ConsumerInfo {
		return &jetstream.ConsumerInfo{Delivered: jetstream.SequenceInfo{Consumer: delivered}, NumPending: pending}
	}
	type look struct {
		after              time.Duration
		delivered, pending uint64
		want               bool
	}
	cases := map[string]struct {
		open  bool
		looks []look
	}{
		"moving":       {true, []look{{0, 1, 9, false}, {time.Minute, 2, 8, false}, {2 * time.Minute, 3, 7, false}}},
		"idle":         {true, []look{{0, 1, 0, false}, {2 * time.Minute, 1, 0, false}, {2*time.Minute + 10*time.Second, 1, 5, false}}},
		"stuck":        {true, []look{{0, 1, 9, false}, {59 * time.Second, 1, 9, false}, {time.Minute, 1, 9, true}}},
		"stuck_at_0":   {true, []look{{0, 0, 9, false}, {time.Minute, 0, 9, true}}},
		"gate_is_shut": {false, []look{{0, 1, 9, false}, {2 * time.Minute, 1, 9, false}}},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			consumer := NewConsumer(nil, nil, gate{open: c.open}, slog.New(slog.DiscardHandler))
			for _, l := range c.looks {
				if got := consumer.note(info(l.delivered, l.pending), 0, begin.Add(l.after)); got != l.want {
					t.Errorf("after %v: got %v, want %v", l.after, got, l.want)
				}
			}
		})
	}
}

// TestConsumer_mends: the second strike makes the consumer anew after what was acked.
func TestConsumer_mends(t *testing.T) {
	t.Parallel()
	s, js := newStream(t)
	c := NewConsumer(s, all(intake.Settled), gate{open: true, covered: true}, slog.New(slog.DiscardHandler))
	c.floor.Store(publish(t, js, subject, "1"))
	publish(t, js, subject, "2")
	for range 2 {
		if err := c.mendStuck(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	if got := (*c.handle.Load()).CachedInfo(); got.NumPending != 1 || got.Config.OptStartSeq != 2 {
		t.Errorf("got %d pending from %d, want 1 from 2", got.NumPending, got.Config.OptStartSeq)
	}
	if got := c.Health().Mended; got != 2 {
		t.Errorf("mended: got %d, want 2", got)
	}
}
