package crash

import (
	"context"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"net/http"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"workflow.uniconnect/test/stack"
	"workflow.uniconnect/test/target"
)

const subject = "uniconnect.events.acme.call.segment_ended"

type object = map[string]any

// system is what the tests break: two replicas each of executor and trigger-scheduler, one workflow, its target, a generator of events.
type system struct {
	t        testing.TB
	stack    *stack.Stack
	target   *target.Target
	db       *pgxpool.Pool
	js       jetstream.JetStream
	workflow string

	mu     sync.Mutex
	ledger []Event
	faults []Fault
}

// newSystem starts it. answer is what the target says; number counts its calls.
func newSystem(t testing.TB, opts stack.Options, answer func(*target.Call) target.Answer) *system {
	t.Helper()
	s := &system{t: t}
	s.target = target.New(t, func(c *target.Call) target.Answer {
		a := answer(c)
		a.Body = fmt.Sprintf(`{"call":%d}`, c.Number)
		return a
	})
	opts.Schedulers, opts.Executors = 2, 2
	opts.AllowTargets = []string{s.target.Addr}
	s.stack = stack.New(t, opts)
	s.db = s.stack.Database(t)
	s.js = s.stack.JetStream(t)

	var created struct{ ID, State string }
	err := s.stack.User(t, "owner@acme.test").Call(t.Context(), http.MethodPost, "/v1/workflows", workflow(s.target.URL), &created)
	if err != nil {
		t.Fatal(err)
	}
	if created.State != "ACTIVE" {
		t.Fatalf("the workflow is %s, want ACTIVE", created.State)
	}
	s.workflow = created.ID
	return s
}

// The steps of the workflow: those that leave a result, and of them those that call the target.
var (
	allSteps    = []string{"one", "check", "two", "note", "three"}
	actionSteps = []string{"one", "two", "three"}
)

// workflow has three actions, of which each needs what came before it.
func workflow(url string) object {
	post := func(step, body string) object {
		return object{"id": step, "action": object{"type": "http.request", "params": object{
			"method": "POST", "url": url + "/" + step,
			"headers": object{"X-Event": "${event.id}", "X-Execution": "${execution.id}"},
			"body":    object{"before": body},
		}}}
	}
	return object{
		"title":   "Three steps",
		"trigger": object{"event": object{"eventType": "call.segment_ended", "filter": object{"expression": `event.data.queue == "crash"`}}},
		"steps": []object{
			post("one", "${event.data.queue}"),
			{"id": "check", "condition": object{"branches": []object{{
				"title": "Yes", "when": object{"expression": "steps.one.output.body.call > 0"},
				"steps": []object{post("two", "${steps.one.output.body.call}")},
			}}}},
			{"id": "note", "set": object{"variables": object{"sum": "steps.one.output.body.call + steps.two.output.body.call"}}},
			post("three", "${vars.sum}"),
		},
	}
}

// publish sends an event until the bus has acknowledged it, and enters it into the ledger.
func (s *system) publish(ctx context.Context, id string, times int) error {
	for sent := 0; sent < times; {
		_, err := s.js.PublishMsg(ctx, &nats.Msg{
			Subject: subject, Data: []byte(`{"queue":"crash"}`),
			Header: nats.Header{"ce-specversion": {"1.0"}, "ce-id": {id}, "ce-source": {"/crash"}, "ce-type": {"call.segment_ended"}},
		})
		switch {
		case err == nil:
			sent++
		case ctx.Err() != nil:
			return ctx.Err()
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.ledger = append(s.ledger, Event{ID: id, Published: times})
	return nil
}

// generate publishes at a steady rate, one event in twenty of them twice, until stop is closed.
func (s *system) generate(ctx context.Context, rng *rand.Rand, perSecond int, stop <-chan struct{}) error {
	ticker := time.NewTicker(time.Second / time.Duration(perSecond))
	defer ticker.Stop()
	for i := 0; ; i++ {
		select {
		case <-ticker.C:
		case <-stop:
			return nil
		case <-ctx.Done():
			return ctx.Err()
		}
		times := 1
		if rng.IntN(20) == 0 {
			times = 2
		}
		if err := s.publish(ctx, fmt.Sprintf("event-%06d", i), times); err != nil {
			return err
		}
	}
}

// fault notes what is done to an executor.
func (s *system) fault(f Fault) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.faults = append(s.faults, f)
}

// running counts the executions that executors have in hand: by the database, which counts those of a dead one until its lease is over,
// or by the calls that the target has not answered, whichever is less.
func (s *system) running(ctx context.Context) (int, error) {
	var n int
	err := s.db.QueryRow(ctx, `
		SELECT count(*) FROM executor.live l JOIN executor.owners o ON o.id = l.owner WHERE o.lease_until > now()`).Scan(&n)
	return min(n, s.target.UnderWay()), err
}

// awaitRunning returns how many executions run once there are at least n of them.
func (s *system) awaitRunning(ctx context.Context, n int) (got int, err error) {
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	err = poll(ctx, func() error {
		got, err = s.running(ctx)
		if err == nil && got < n {
			err = fmt.Errorf("%d executions run, want %d", got, n)
		}
		return err
	})
	return got, err
}

// settle returns when no execution is under way and the ledger's events have all been taken.
func (s *system) settle(limit time.Duration) {
	s.t.Helper()
	s.mu.Lock()
	want := len(s.ledger)
	s.mu.Unlock()
	stack.Eventually(s.t, limit, func(ctx context.Context) error {
		var accepted, live int
		err := s.db.QueryRow(ctx, `SELECT (SELECT count(*) FROM executor.executions WHERE workflow_id = $1),
			(SELECT count(*) FROM executor.live WHERE workflow_id = $1)`, s.workflow).Scan(&accepted, &live)
		if err == nil && (accepted < want || live > 0) {
			err = fmt.Errorf("%d of %d events have an execution, %d executions have not ended", accepted, want, live)
		}
		return err
	})
}

// accounts gathers what is to be compared.
func (s *system) accounts() Accounts {
	s.t.Helper()
	a := Accounts{Steps: allSteps, Actions: actionSteps, Events: s.ledger, Faults: s.faults}
	for _, c := range s.target.Calls() {
		a.Calls = append(a.Calls, Call{
			Number: c.Number, Event: c.Header.Get("X-Event"), Execution: c.Header.Get("X-Execution"), Step: c.Path[1:], Key: c.Key(), Came: c.Came,
		})
	}
	ctx := s.t.Context()
	rows, err := s.db.Query(ctx, `SELECT id::text, cause_id, state FROM executor.executions WHERE workflow_id = $1`, s.workflow)
	if err == nil {
		a.Executions, err = pgx.CollectRows(rows, func(row pgx.CollectableRow) (Execution, error) {
			var e Execution
			return e, row.Scan(&e.ID, &e.EventID, &e.State)
		})
	}
	if err != nil {
		s.t.Fatal(err)
	}
	rows, err = s.db.Query(ctx, `
		SELECT r.execution_id::text, r.step_id, r.path, r.attempt, r.ord, r.state, r.end_time, r.output
		FROM executor.step_results r JOIN executor.executions e ON e.tenant = r.tenant AND e.id = r.execution_id
		WHERE e.workflow_id = $1 ORDER BY r.execution_id, r.ord, r.attempt`, s.workflow)
	if err == nil {
		a.Results, err = pgx.CollectRows(rows, scanResult)
	}
	if err != nil {
		s.t.Fatal(err)
	}
	return a
}

func scanResult(row pgx.CollectableRow) (Result, error) {
	var r Result
	var output []byte
	if err := row.Scan(&r.Execution, &r.Step, &r.Path, &r.Attempt, &r.Order, &r.State, &r.End, &output); err != nil {
		return r, err
	}
	var answer struct{ Body struct{ Call int } }
	if err := json.Unmarshal(output, &answer); output != nil && err != nil {
		return r, err
	}
	r.Answer = answer.Body.Call
	return r, nil
}

// report fails the test with what is wrong, a bounded part of it in words.
func report(t testing.TB, v Verdict) {
	t.Helper()
	const most = 20
	for i, text := range v.Violations {
		if i == most {
			t.Errorf("… and %d more violations", len(v.Violations)-most)
			break
		}
		t.Error(text)
	}
}
