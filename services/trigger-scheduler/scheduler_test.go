package scheduler

import (
	"context"
	"fmt"
	"net"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"google.golang.org/grpc"

	"workflow.uniconnect/pkg/admin"
	"workflow.uniconnect/pkg/auth"
	"workflow.uniconnect/pkg/config"
	"workflow.uniconnect/pkg/fault"
	"workflow.uniconnect/pkg/grpcclient"
	"workflow.uniconnect/pkg/natstest"
	"workflow.uniconnect/pkg/pgtest"
	"workflow.uniconnect/pkg/service"
	"workflow.uniconnect/pkg/telemetry"
	peerv1 "workflow.uniconnect/proto/gen/go/uniconnect/workflow/peer/v1"
	"workflow.uniconnect/services/trigger-scheduler/internal/bus"
	"workflow.uniconnect/services/trigger-scheduler/internal/postgres"
)

func TestMain(m *testing.M) { os.Exit(pgtest.Main(m)) }

// bench is everything around a scheduler.
type bench struct {
	t        testing.TB
	nats     *natstest.Server
	js       jetstream.JetStream
	url      string
	catalog  *catalogPeer
	executor *executorPeer
	settings config.Settings
}

func newBench(t testing.TB) *bench {
	t.Helper()
	b := &bench{t: t, nats: natstest.New(t), url: pgtest.New(t, postgres.Migrate), catalog: newCatalogPeer(), executor: newExecutorPeer()}
	b.js = b.nats.JetStream()
	b.settings = config.Settings{
		Dev: true, DataDir: t.TempDir(), NATSURL: config.Secret(b.nats.URL()), DatabaseURL: config.Secret(b.url),
		CatalogAddr: serve(t, func(s *grpc.Server) {
			peerv1.RegisterDefinitionServiceServer(s, b.catalog)
			peerv1.RegisterGrantsServiceServer(s, b.catalog)
		}),
		ExecutorAddr: serve(t, func(s *grpc.Server) { peerv1.RegisterStartServiceServer(s, b.executor) }),
	}
	return b
}

// replica is a running scheduler.
type replica struct {
	*Service
	stop func()
}

// start runs a scheduler until stop or the end of the test.
func (b *bench) start() *replica {
	b.t.Helper()
	cfg, err := service.AuthConfig(b.settings)
	if err != nil {
		b.t.Fatal(err)
	}
	verifier, err := auth.NewVerifier(b.t.Context(), cfg)
	if err != nil {
		b.t.Fatal(err)
	}
	tokens, err := auth.NewTokenSource(b.t.Context(), cfg, Name)
	if err != nil {
		b.t.Fatal(err)
	}
	tel := telemetry.Discard()
	if testing.Verbose() {
		if tel, err = telemetry.New(b.t.Context(), telemetry.Options{Service: Name}); err != nil {
			b.t.Fatal(err)
		}
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		b.t.Fatal(err)
	}
	deps := service.Deps{
		Settings: b.settings, Telemetry: tel, Verifier: verifier, TokenSource: tokens, Readiness: admin.NewReadiness(tel.Logger),
	}
	s, err := newService(b.t.Context(), deps, options{listener: listener, limits: bus.Limits{MaxBytes: 64 << 20, AckWait: 2 * time.Second}})
	if err != nil {
		b.t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- s.Run(ctx) }()
	stopped := false
	r := &replica{Service: s, stop: func() {
		if stopped {
			return
		}
		stopped = true
		cancel()
		if err := <-done; err != nil {
			b.t.Logf("scheduler: %v", err)
		}
	}}
	b.t.Cleanup(r.stop)
	if err := s.tracker.Wait(b.t.Context()); err != nil {
		b.t.Fatal(err)
	}
	b.awaitConsumer()
	return r
}

func (b *bench) awaitConsumer() {
	b.t.Helper()
	b.eventually("the consumer exists", func() bool {
		_, err := b.js.Consumer(b.t.Context(), bus.StreamName, bus.ConsumerName)
		return err == nil
	})
}

// eventually polls what gives no signal.
func (b *bench) eventually(what string, ok func() bool) {
	b.t.Helper()
	ticker := time.NewTicker(20 * time.Millisecond)
	defer ticker.Stop()
	deadline := time.NewTimer(20 * time.Second)
	defer deadline.Stop()
	for !ok() {
		select {
		case <-ticker.C:
		case <-deadline.C:
			b.t.Fatalf("%s: not within 20 s", what)
		}
	}
}

// publish stores a call.ended event of acme with an id.
func (b *bench) publish(id, body string, headers ...string) {
	b.t.Helper()
	msg := &nats.Msg{Subject: "uniconnect.events.acme.call.ended", Data: []byte(body), Header: nats.Header{}}
	if id != "" {
		msg.Header["ce-id"] = []string{id}
		msg.Header["ce-source"] = []string{"/pbx"}
	}
	for i := 0; i < len(headers); i += 2 {
		msg.Header[headers[i]] = []string{headers[i+1]}
	}
	if _, err := b.js.PublishMsg(b.t.Context(), msg); err != nil {
		b.t.Fatal(err)
	}
}

// info returns the state of the consumer.
func (b *bench) info() *jetstream.ConsumerInfo {
	b.t.Helper()
	consumer, err := b.js.Consumer(b.t.Context(), bus.StreamName, bus.ConsumerName)
	if err != nil {
		b.t.Fatal(err)
	}
	return consumer.CachedInfo()
}

// drained waits until everything is acked.
func (b *bench) drained() {
	b.t.Helper()
	b.eventually("all messages are acked", func() bool {
		info := b.info()
		return info.NumPending == 0 && info.NumAckPending == 0
	})
}

// dial connects with a token of acme's owner.
func (b *bench) dial(r *replica, p auth.Principal) *grpc.ClientConn {
	b.t.Helper()
	issuer, err := auth.OpenIssuer(b.settings.DataDir)
	if err != nil {
		b.t.Fatal(err)
	}
	token, err := issuer.Issue(p, time.Hour)
	if err != nil {
		b.t.Fatal(err)
	}
	conn, err := grpcclient.Dial(r.Addr(), grpcclient.Options{Telemetry: telemetry.Discard(), TokenSource: fixedToken(token)})
	if err != nil {
		b.t.Fatal(err)
	}
	b.t.Cleanup(func() { _ = conn.Close() })
	return conn
}

type fixedToken string

func (f fixedToken) Token(context.Context) (string, error) { return string(f), nil }

func count(n int) func(map[string]int) bool {
	return func(runs map[string]int) bool { return len(runs) >= n }
}

func TestService_starts_what_matches(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	b.catalog.put(filtered("answered", `event.data.result == "answered"`))
	b.catalog.put(filtered("missed", `event.data.result == "missed"`))
	b.start()
	const parent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-00"
	b.publish("e1", `{"result":"answered"}`, "traceparent", parent)
	b.publish("e2", `{"result":"missed"}`)
	b.publish("e3", `{"result":"busy"}`)
	b.executor.await(t, "two runs", count(2))
	b.drained()
	b.executor.once(t)
	if b.executor.runs["answered/e1"] != 1 || b.executor.runs["missed/e2"] != 1 || len(b.executor.runs) != 2 {
		t.Errorf("got %v", b.executor.runs)
	}
	if got := strings.Join(b.executor.traces, ""); got != parent {
		t.Errorf("traceparent: got %q, want %q", got, parent)
	}
}

func TestService_repeats_have_one_key(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	b.catalog.put(workflow("w"))
	b.start()
	for range 100 {
		b.publish("e1", `{}`)
	}
	b.publish("e2", `{}`)
	b.drained()
	b.executor.once(t)
	if got := len(b.executor.keys); got != 2 {
		t.Errorf("got %d keys, want 2", got)
	}
	if b.executor.dupes != 99 {
		t.Errorf("got %d duplicates, want 99", b.executor.dupes)
	}
	// Without an id of its own an event is a new one each time.
	b.publish("", `{}`)
	b.publish("", `{}`)
	b.executor.await(t, "two more", count(4))
}

func TestService_keeps_on_while_the_executor_is_away(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	b.catalog.put(workflow("w"))
	b.executor.setAway(true)
	b.start()
	const n = 50
	for i := range n {
		b.publish(fmt.Sprintf("e%d", i), `{}`)
	}
	b.eventually("messages were delivered", func() bool { return b.info().Delivered.Consumer > 3 })
	if got := b.info().AckFloor.Consumer; got != 0 {
		t.Errorf("%d messages were acked while the executor was away", got)
	}
	if got := b.info().Delivered.Consumer; got > 4*n {
		t.Errorf("%d deliveries of %d messages: they are turned round", got, n)
	}
	b.executor.setAway(false)
	b.executor.await(t, "all runs", count(n))
	b.drained()
	b.executor.once(t)
}

func TestService_killed_between_commit_and_ack(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	b.catalog.put(workflow("w"))
	first := b.start()
	// The executor has committed, and before its answer arrives the process loses the bus, and then its life.
	killed := make(chan struct{})
	b.executor.after = func(call int) error {
		if call == 1 {
			first.conn.Close()
			close(killed)
		}
		return nil
	}
	const n = 20
	for i := range n {
		b.publish(fmt.Sprintf("e%d", i), `{}`)
	}
	<-killed
	first.pool.Close()
	first.stop()
	b.start()
	b.executor.await(t, "all runs", count(n))
	b.drained()
	b.executor.once(t)
	if b.executor.dupes == 0 {
		t.Error("nothing came twice: the test did not test anything")
	}
}

func TestService_two_replicas(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	b.catalog.put(workflow("w"))
	b.start()
	b.start()
	const n = 2000
	for i := range n {
		if _, err := b.js.PublishMsgAsync(&nats.Msg{
			Subject: "uniconnect.events.acme.call.ended", Data: []byte(`{}`), Header: nats.Header{"ce-id": {fmt.Sprintf("e%d", i)}},
		}); err != nil {
			t.Fatal(err)
		}
	}
	b.executor.await(t, "all runs", count(n))
	b.drained()
	b.executor.once(t)
	if b.executor.dupes != 0 {
		t.Errorf("%d starts were sent twice without a fault", b.executor.dupes)
	}
	if b.executor.calls > n/2 {
		t.Errorf("%d calls for %d starts: they are not batched", b.executor.calls, n)
	}
}

// TestService_activation_race publishes right after the catalog has answered, while the change takes a second to reach the watch.
func TestService_activation_race(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	b.catalog.delay = time.Second
	b.start()
	const rounds = 200
	for i := range rounds {
		id := fmt.Sprintf("w%d", i)
		b.publish(fmt.Sprintf("before-%d", i), fmt.Sprintf(`{"w":%q}`, id))
		b.catalog.put(filtered(id, fmt.Sprintf(`event.data.w == %q`, id)))
		b.publish(fmt.Sprintf("after-%d", i), fmt.Sprintf(`{"w":%q}`, id))
	}
	b.executor.await(t, "every event after its activation", func(runs map[string]int) bool {
		for i := range rounds {
			if runs[fmt.Sprintf("w%d/after-%d", i, i)] == 0 {
				return false
			}
		}
		return true
	})
	b.executor.once(t)
	for i := range rounds {
		if b.executor.runs[fmt.Sprintf("w%d/before-%d", i, i)] != 0 {
			t.Errorf("round %d: an event from before the activation started the workflow", i)
		}
	}
}

// TestService_takes_over_a_dead_replica: a process acks an event that a change concerns, and dies before it learns of the change.
func TestService_takes_over_a_dead_replica(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	first := b.start()
	b.catalog.hold = 0
	b.catalog.put(workflow("w"))
	b.publish("e1", `{}`)
	b.drained()
	if len(b.executor.runs) != 0 {
		t.Fatalf("the change was held, and yet: %v", b.executor.runs)
	}
	first.pool.Close() // it cannot say goodbye
	first.stop()
	pool := pgtest.Open(t, b.url, postgres.Schema)
	tag, err := pool.Exec(t.Context(), `UPDATE watchers SET renewed_at = renewed_at - interval '31 seconds'`)
	if err != nil || tag.RowsAffected() != 1 {
		t.Fatalf("the dead process left %v rows: %v", tag, err)
	}
	b.catalog.release()
	b.start()
	b.executor.await(t, "the event that was acked too early", count(1))
	b.eventually("the dead process's row is gone", func() bool {
		var rows int
		if err := pool.QueryRow(t.Context(), `SELECT count(*) FROM watchers`).Scan(&rows); err != nil {
			t.Fatal(err)
		}
		return rows == 1
	})
	b.executor.once(t)
}

func TestService_resumes_a_lost_watch(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	r := b.start()
	for i := range 5 {
		b.catalog.cutWatches()
		id := fmt.Sprintf("w%d", i)
		b.catalog.put(workflow(id))
		b.publish(fmt.Sprintf("e%d", i), `{}`)
		b.executor.await(t, id, func(runs map[string]int) bool { return runs[fmt.Sprintf("%s/e%d", id, i)] == 1 })
	}
	if got := r.index.Len(); got != 5 {
		t.Errorf("index: got %d workflows, want 5", got)
	}
	off := workflow("w0")
	off.State = 1
	b.catalog.put(off)
	b.eventually("the deactivation arrives", func() bool { return r.index.Len() == 4 })
	b.executor.once(t)
}

func TestService_survives_a_bus_restart(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	b.catalog.put(workflow("w"))
	b.start()
	b.publish("e1", `{}`)
	b.executor.await(t, "before", count(1))
	b.nats.Stop()
	b.nats.Restart()
	b.eventually("the bus is back", func() bool {
		_, err := b.js.Publish(t.Context(), "uniconnect.events.acme.call.ended", []byte(`{}`), jetstream.WithMsgID("e2"))
		return err == nil
	})
	b.executor.await(t, "after", func(runs map[string]int) bool { return runs["w/e2"] == 1 })
	// An operator deletes the consumer; it is made again without starting anything twice.
	if err := b.js.DeleteConsumer(t.Context(), bus.StreamName, bus.ConsumerName); err != nil {
		t.Fatal(err)
	}
	b.publish("e3", `{}`)
	b.executor.await(t, "after the deletion", func(runs map[string]int) bool { return runs["w/e3"] == 1 })
	b.executor.once(t)
}

func TestNew_needs_a_bus(t *testing.T) {
	_, err := New(t.Context(), service.Deps{
		Settings: config.Settings{DatabaseURL: "postgres:///x"}, Telemetry: telemetry.Discard(), Readiness: admin.NewReadiness(telemetry.Discard().Logger),
	})
	if err == nil || !strings.Contains(err.Error(), "UC_NATS_URL") {
		t.Errorf("got %v", err)
	}
	if f, ok := fault.As(err); ok {
		t.Errorf("a setting's mistake is no fault: %v", f)
	}
}
