package engine_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"
	noopmetric "go.opentelemetry.io/otel/metric/noop"
	"go.opentelemetry.io/otel/propagation"
	nooptrace "go.opentelemetry.io/otel/trace/noop"

	"workflow.uniconnect/pkg/fault"
	"workflow.uniconnect/pkg/pgtest"
	pgpool "workflow.uniconnect/pkg/postgres"
	"workflow.uniconnect/services/executor/internal/action"
	"workflow.uniconnect/services/executor/internal/engine"
	"workflow.uniconnect/services/executor/internal/execution"
	"workflow.uniconnect/services/executor/internal/postgres"
	"workflow.uniconnect/services/executor/internal/run"
)

func TestMain(m *testing.M) { os.Exit(pgtest.Main(m)) }

// world is a database, programs and actions that any number of engines share.
type world struct {
	t      testing.TB
	pool   *pgxpool.Pool // of a superuser
	store  *postgres.Store
	reader *postgres.Reader

	mu       sync.Mutex
	programs map[execution.WorkflowID]*run.Program
	away     bool
	do       func(ctx context.Context, c action.Call) run.Outcome
	calls    map[string]int // by execution and step
}

func newWorld(t testing.TB) *world {
	t.Helper()
	url := pgtest.New(t, postgres.Migrate)
	options := pgpool.Options{URL: url, Schema: postgres.Schema, Role: pgpool.Worker, Parameters: postgres.Parameters()}
	worker, err := pgpool.Open(t.Context(), options)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(worker.Close)
	api, err := pgpool.OpenTenants(t.Context(), options)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(api.Close)
	return &world{
		t: t, pool: pgtest.Open(t, url, postgres.Schema), store: postgres.New(worker), reader: postgres.NewReader(api),
		programs: make(map[execution.WorkflowID]*run.Program), calls: make(map[string]int),
		do: func(context.Context, action.Call) run.Outcome {
			return action.Succeeded(json.RawMessage(`{"status":200}`))
		},
	}
}

// Check accepts everything.
func (w *world) Check(string, map[string]any) []fault.Violation { return nil }

// Do counts the call and does what the test wants.
func (w *world) Do(ctx context.Context, c action.Call) run.Outcome {
	w.mu.Lock()
	if w.calls != nil {
		w.calls[c.ExecutionID+" "+c.Type]++
	}
	do := w.do
	w.mu.Unlock()
	begin := time.Now()
	o := do(ctx, c)
	o.StartTime, o.EndTime = begin, time.Now()
	return o
}

// Program knows what define defined.
func (w *world) Program(_ context.Context, _ string, id execution.WorkflowID, _ int32) (engine.Revision, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.away {
		return engine.Revision{}, errors.New("catalog is away")
	}
	p, ok := w.programs[id]
	if !ok {
		return engine.Revision{}, fault.NotFound("REVISION_NOT_FOUND", "no such revision")
	}
	return engine.Revision{Program: p, Title: "test"}, nil
}

func (w *world) define(n byte, steps ...run.Step) execution.WorkflowID {
	w.t.Helper()
	compiler, err := run.NewCompiler(w)
	if err != nil {
		w.t.Fatal(err)
	}
	program, violations := compiler.Compile(run.Definition{Steps: steps})
	if len(violations) > 0 {
		w.t.Fatalf("violations: %v", violations)
	}
	id, _ := execution.ParseWorkflowID(fmt.Sprintf("01890000-0000-7000-8000-0000000000%02x", n))
	w.mu.Lock()
	defer w.mu.Unlock()
	w.programs[id] = program
	return id
}

func step(id string) run.Step {
	return run.Step{ID: id, Action: &run.Action{Type: "test." + id}}
}

// node is a running engine.
type node struct {
	*engine.Engine
	w    *world
	stop func()
}

func (w *world) engine(store engine.Store, slots int) *node {
	w.t.Helper()
	e, err := engine.New(engine.Config{
		Store: store, Actions: w, Revisions: w, Slots: slots, Logger: slog.New(slog.DiscardHandler),
		Tracer: nooptrace.NewTracerProvider().Tracer(""), Propagator: propagation.TraceContext{},
		Meter: noopmetric.NewMeterProvider().Meter(""), Drain: 2 * time.Second,
	})
	if err != nil {
		w.t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- e.Run(ctx) }()
	n := &node{Engine: e, w: w}
	n.stop = sync.OnceFunc(func() {
		cancel()
		if err := <-done; err != nil {
			w.t.Errorf("engine: %v", err)
		}
	})
	w.t.Cleanup(n.stop)
	return n
}

func starts(tenant string, id execution.WorkflowID, keys ...string) []execution.Start {
	all := make([]execution.Start, len(keys))
	for i, key := range keys {
		all[i] = execution.Start{
			Tenant: tenant, WorkflowID: id, Revision: 1, Key: execution.ManualKey(id, key),
			Cause: execution.EventCause(key, "call.ended", "/calls"), Event: []byte(`{"id":"` + key + `","data":{"n":1}}`),
		}
	}
	return all
}

func (n *node) start(all []execution.Start) []execution.Verdict {
	n.w.t.Helper()
	verdicts, err := n.Start(n.w.t.Context(), all)
	if err != nil {
		n.w.t.Fatal(err)
	}
	return verdicts
}

// await polls the store until the execution is in the state.
func (w *world) await(tenant string, id execution.ID, want run.ExecState) execution.View {
	w.t.Helper()
	ctx, cancel := context.WithTimeout(w.t.Context(), 20*time.Second)
	defer cancel()
	ticker := time.NewTicker(5 * time.Millisecond)
	defer ticker.Stop()
	for {
		view, ok, err := w.reader.Get(ctx, tenant, id)
		if err == nil && ok && view.State == want {
			return view
		}
		select {
		case <-ticker.C:
		case <-ctx.Done():
			w.t.Fatalf("execution %s: got %+v, %v; want state %v", id, view, err, want)
		}
	}
}

func (w *world) count(sql string) int {
	w.t.Helper()
	var n int
	if err := w.pool.QueryRow(w.t.Context(), sql).Scan(&n); err != nil {
		w.t.Fatal(err)
	}
	return n
}

func (w *world) awaitCount(sql string, want int) {
	w.t.Helper()
	ctx, cancel := context.WithTimeout(w.t.Context(), 30*time.Second)
	defer cancel()
	ticker := time.NewTicker(5 * time.Millisecond)
	defer ticker.Stop()
	for {
		got := w.count(sql)
		if got == want {
			return
		}
		select {
		case <-ticker.C:
		case <-ctx.Done():
			w.t.Fatalf("%s: got %d, want %d", sql, got, want)
		}
	}
}
