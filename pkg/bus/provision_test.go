package bus_test

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/nats-io/nats.go/jetstream"
	"golang.org/x/sync/errgroup"

	"workflow.uniconnect/pkg/bus"
	"workflow.uniconnect/pkg/natstest"
)

func streamConfig() jetstream.StreamConfig {
	return jetstream.StreamConfig{
		Name: "THINGS", Subjects: []string{"things.>"}, Storage: jetstream.FileStorage,
		Discard: jetstream.DiscardNew, MaxBytes: 1 << 20, MaxAge: time.Hour, Duplicates: time.Minute,
	}
}

func TestEnsureStream(t *testing.T) {
	t.Parallel()
	js := natstest.New(t).JetStream()
	ensure := func(cfg jetstream.StreamConfig) []bus.Drift {
		t.Helper()
		_, drift, err := bus.EnsureStream(t.Context(), js, cfg)
		if err != nil {
			t.Fatal(err)
		}
		return drift
	}
	for range 2 {
		if drift := ensure(streamConfig()); drift != nil {
			t.Errorf("drift of an untouched stream: %v", drift)
		}
	}

	// An operator's change, one of a field that we leave to its default.
	altered := streamConfig()
	altered.MaxMsgs = 10
	altered.Discard = jetstream.DiscardOld
	altered.Metadata = map[string]string{"owner": "somebody"}
	if _, err := js.UpdateStream(t.Context(), altered); err != nil {
		t.Fatal(err)
	}
	want := []bus.Drift{
		{Field: "MaxMsgs", Had: "10", Has: "-1"},
		{Field: "Discard", Had: "DiscardOld", Has: "DiscardNew"},
		{Field: "Metadata", Had: "map[owner:somebody]", Has: "map[]"},
	}
	if diff := cmp.Diff(want, ensure(streamConfig())); diff != "" {
		t.Errorf("drift after an operator's change (-want +got):\n%s", diff)
	}

	// A new release's change keeps the messages.
	if _, err := js.Publish(t.Context(), "things.one", nil); err != nil {
		t.Fatal(err)
	}
	next := streamConfig()
	next.Subjects = append(next.Subjects, "more.>")
	if diff := cmp.Diff([]bus.Drift{{Field: "Subjects", Had: "[things.>]", Has: "[things.> more.>]"}}, ensure(next)); diff != "" {
		t.Errorf("drift after a release's change (-want +got):\n%s", diff)
	}
	next.Storage = jetstream.MemoryStorage
	if _, _, err := bus.EnsureStream(t.Context(), js, next); err == nil || !strings.Contains(err.Error(), "THINGS") {
		t.Errorf("a change of the storage: got %v, want an error that names the stream", err)
	}
	stream, err := js.Stream(t.Context(), "THINGS")
	if err != nil || stream.CachedInfo().State.Msgs != 1 {
		t.Errorf("the message is gone: %+v, %v", stream, err)
	}
}

func TestEnsureStream_ManyAtOnce(t *testing.T) {
	t.Parallel()
	server := natstest.New(t)
	var group errgroup.Group
	for range 4 {
		js := server.JetStream()
		group.Go(func() error {
			_, _, err := bus.EnsureStream(t.Context(), js, streamConfig())
			if err != nil {
				return err
			}
			_, _, err = bus.EnsureConsumer(t.Context(), js, "THINGS", consumerConfig())
			return err
		})
	}
	if err := group.Wait(); err != nil {
		t.Fatal(err)
	}
}

func consumerConfig() jetstream.ConsumerConfig {
	return jetstream.ConsumerConfig{
		Durable: "worker", AckPolicy: jetstream.AckExplicitPolicy, AckWait: 30 * time.Second, MaxAckPending: 100,
	}
}

func TestEnsureConsumer(t *testing.T) {
	t.Parallel()
	js := natstest.New(t).JetStream()
	if _, _, err := bus.EnsureStream(t.Context(), js, streamConfig()); err != nil {
		t.Fatal(err)
	}
	ensure := func() (jetstream.Consumer, []bus.Drift) {
		t.Helper()
		consumer, drift, err := bus.EnsureConsumer(t.Context(), js, "THINGS", consumerConfig())
		if err != nil {
			t.Fatal(err)
		}
		if got := consumer.CachedInfo().Config.MaxDeliver; got != -1 {
			t.Errorf("MaxDeliver: got %d, want -1", got)
		}
		return consumer, drift
	}
	for range 2 {
		if _, drift := ensure(); drift != nil {
			t.Errorf("drift of an untouched consumer: %v", drift)
		}
	}

	altered := consumerConfig()
	altered.MaxDeliver = 5
	altered.AckWait = time.Second
	if _, err := js.UpdateConsumer(t.Context(), "THINGS", altered); err != nil {
		t.Fatal(err)
	}
	_, drift := ensure()
	want := []bus.Drift{{Field: "AckWait", Had: "1s", Has: "30s"}, {Field: "MaxDeliver", Had: "5", Has: "-1"}}
	if diff := cmp.Diff(want, drift); diff != "" {
		t.Errorf("drift (-want +got):\n%s", diff)
	}

	if err := js.DeleteConsumer(t.Context(), "THINGS", "worker"); err != nil {
		t.Fatal(err)
	}
	if _, err := js.Publish(t.Context(), "things.one", []byte("1")); err != nil {
		t.Fatal(err)
	}
	consumer, _ := ensure()
	msg, err := consumer.Next(jetstream.FetchMaxWait(5 * time.Second))
	if err != nil || string(msg.Data()) != "1" {
		t.Errorf("the consumer that was made again: got %v, %v", msg, err)
	}
}

func TestEnsureConsumer_Refuses(t *testing.T) {
	t.Parallel()
	js := natstest.New(t).JetStream()
	if _, _, err := bus.EnsureStream(t.Context(), js, streamConfig()); err != nil {
		t.Fatal(err)
	}
	limited, nameless := consumerConfig(), consumerConfig()
	limited.MaxDeliver = 3
	nameless.Durable = ""
	for name, cfg := range map[string]jetstream.ConsumerConfig{"limited": limited, "nameless": nameless} {
		if _, _, err := bus.EnsureConsumer(t.Context(), js, "THINGS", cfg); err == nil {
			t.Errorf("%s was accepted", name)
		}
	}
}
