package crash

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/metadata"

	"workflow.uniconnect/pkg/auth"
	peerv1 "workflow.uniconnect/proto/gen/go/uniconnect/workflow/peer/v1"
	workflowv1 "workflow.uniconnect/proto/gen/go/uniconnect/workflow/v1"
	"workflow.uniconnect/test/stack"
	"workflow.uniconnect/test/target"
)

// removals is a system in which workflows are deleted while its services die.
type removals struct {
	stack    *stack.Stack
	target   *target.Target
	db       *pgxpool.Pool
	js       jetstream.JetStream
	owner    *stack.Client
	tenant   string
	executor peerv1.StartServiceClient
	token    string        // of a service
	release  chan struct{} // closed when calls that are held get their answers
	all      []*doomed
}

// doomed is a workflow that will be deleted.
type doomed struct {
	ID, Etag   string
	title      string
	name       string // in paths and request ids
	executions []string
	start      *peerv1.Start // of one of its executions, as it was sent
}

// modes are what becomes of an execution, by the event that starts it: it ends, waits for an hour, is between two attempts, or is inside
// a call.
func modes() []string { return []string{"end", "wait", "retry", "hold"} }

func (w *doomed) path(mode string) string { return "/" + w.name + "/" + mode }

func newRemovals(t *testing.T) *removals {
	t.Helper()
	r := &removals{release: make(chan struct{}), tenant: "acme"}
	r.target = target.New(t, func(c *target.Call) target.Answer {
		switch {
		case strings.HasSuffix(c.Path, "/retry"):
			return target.Answer{Status: http.StatusServiceUnavailable}
		case strings.HasSuffix(c.Path, "/hold"):
			return target.Answer{Hold: r.release}
		}
		return target.Answer{}
	})
	r.stack = stack.New(t, stack.Options{FaultPoints: true, AllowTargets: []string{r.target.Addr}})
	r.db, r.js, r.owner = r.stack.Database(t), r.stack.JetStream(t), r.stack.User(t, "owner@acme.test")
	issuer, err := auth.OpenIssuer(r.stack.Dir)
	if err != nil {
		t.Fatal(err)
	}
	if r.token, err = issuer.Issue(auth.Principal{Kind: auth.Service, Subject: "trigger-scheduler"}, time.Hour); err != nil {
		t.Fatal(err)
	}
	conn, err := grpc.NewClient(r.stack.ExecutorAddrs[0], grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	r.executor = peerv1.NewStartServiceClient(conn)
	return r
}

// do sends a request with a request id, unless that is empty.
func (r *removals) do(ctx context.Context, method, path, requestID string, body any) (*stack.Response, error) {
	var content []byte
	if body != nil {
		var err error
		if content, err = json.Marshal(body); err != nil {
			return nil, err
		}
	}
	req, err := http.NewRequestWithContext(ctx, method, r.stack.RESTURL+path, bytes.NewReader(content))
	if err != nil {
		return nil, err
	}
	if body != nil {
		req.Header.Set("Content-Type", "application/json")
	}
	if requestID != "" {
		req.Header.Set("Idempotency-Key", requestID)
	}
	return r.owner.Send(req)
}

// call is do for requests that succeed in the end: the service that they need may just be coming back.
func (r *removals) call(t *testing.T, method, path, requestID string, body, out any) {
	t.Helper()
	stack.Eventually(t, dieWithin, func(ctx context.Context) error {
		res, err := r.do(ctx, method, path, requestID, body)
		if err != nil {
			return err
		}
		if res.Status != http.StatusOK {
			return fmt.Errorf("%s %s: status %d: %s", method, path, res.Status, res.Body)
		}
		if out == nil {
			return nil
		}
		return res.Decode(out)
	})
}

// grow makes a workflow with everything that a workflow can have, each by a request with an id of its own.
func (r *removals) grow(t *testing.T, title string) *doomed {
	t.Helper()
	w := &doomed{title: title, name: strings.ToLower(strings.ReplaceAll(title, " ", "-"))}
	at := func(suffix string) string { return "/v1/workflows/" + w.ID + suffix }
	r.call(t, http.MethodPost, "/v1/workflows", w.name+"-create", r.config(w), w)
	r.call(t, http.MethodPatch, at("?updateMask=description"), w.name+"-update", object{"description": "second"}, nil)
	r.call(t, http.MethodPost, at(":backup"), w.name+"-backup", object{"name": "kept"}, nil)
	draft := r.config(w)
	draft["title"] = title + " to be"
	r.call(t, http.MethodPut, at("/draft"), w.name+"-draft", draft, nil)
	for _, mode := range modes() {
		r.publish(t, w, mode)
	}
	r.call(t, http.MethodPost, at(":run"), w.name+"-run", object{"input": object{"name": w.name, "mode": "end"}}, nil)
	r.awaitExecutions(t, w, len(modes())+1)
	r.awaitStates(t, w)
	r.noteStart(t, w)
	r.all = append(r.all, w)
	return w
}

func (r *removals) config(w *doomed) object {
	return object{
		"title":   w.title,
		"trigger": object{"event": object{"eventType": "call.segment_ended", "filter": object{"expression": "event.data.name == '" + w.name + "'"}}},
		"steps": []object{
			{
				"id": "tell", "retry": object{"maxAttempts": 10, "initialInterval": "1s", "multiplier": 1},
				"action": object{"type": "http.request", "params": object{"method": "POST", "url": r.target.URL + "/" + w.name + "/${event.data.mode}"}},
			},
			{"id": "check", "condition": object{"branches": []object{{
				"title": "Waits", "when": object{"expression": "event.data.mode == 'wait'"},
				"steps": []object{{"id": "rest", "delay": object{"duration": "3600s"}}},
			}}}},
		},
	}
}

// publish puts an event on the bus that starts the workflow.
func (r *removals) publish(t *testing.T, w *doomed, mode string) {
	t.Helper()
	_, err := r.js.PublishMsg(t.Context(), &nats.Msg{
		Subject: "uniconnect.events." + r.tenant + ".call.segment_ended", Data: fmt.Appendf(nil, `{"name":%q,"mode":%q}`, w.name, mode),
		Header: nats.Header{"ce-specversion": {"1.0"}, "ce-id": {uuid.NewString()}, "ce-source": {"/crash"}, "ce-type": {"call.segment_ended"}},
	})
	if err != nil {
		t.Fatal(err)
	}
}

// awaitExecutions returns when the workflow has n executions, and notes their ids.
func (r *removals) awaitExecutions(t *testing.T, w *doomed, n int) {
	t.Helper()
	stack.Eventually(t, dieWithin, func(ctx context.Context) error {
		rows, err := r.db.Query(ctx, `SELECT id::text FROM executor.executions WHERE workflow_id = $1`, w.ID)
		if err != nil {
			return err
		}
		if w.executions, err = pgx.CollectRows(rows, pgx.RowTo[string]); err == nil && len(w.executions) != n {
			err = fmt.Errorf("%q has %d executions, want %d", w.title, len(w.executions), n)
		}
		return err
	})
}

// awaitStates returns when executions stand where their modes leave them: two have ended, one waits for an hour, one was called back once.
func (r *removals) awaitStates(t *testing.T, w *doomed) {
	t.Helper()
	stack.Eventually(t, dieWithin, func(ctx context.Context) error {
		var ended, waiting int
		err := r.db.QueryRow(ctx, `SELECT count(*) FILTER (WHERE state = 4), count(*) FILTER (WHERE wake_time > now() + interval '1 minute')
			FROM executor.executions WHERE workflow_id = $1`, w.ID).Scan(&ended, &waiting)
		calls := r.calls()
		if err == nil && (ended < 2 || waiting != 1 || calls[w.path("retry")] == 0 || calls[w.path("hold")] == 0) {
			err = fmt.Errorf("%d executions have ended, %d wait, calls: %v", ended, waiting, calls)
		}
		return err
	})
}

// noteStart keeps one start as it was sent.
func (r *removals) noteStart(t *testing.T, w *doomed) {
	t.Helper()
	w.start = &peerv1.Start{Tenant: r.tenant, WorkflowId: w.ID}
	cause := &workflowv1.EventCause{}
	var event string
	err := r.db.QueryRow(t.Context(), `
		SELECT s.key, e.revision, e.cause_id, e.cause_type, e.cause_source, e.event
		FROM executor.starts s JOIN executor.executions e ON e.tenant = s.tenant AND e.id = s.execution_id
		WHERE e.workflow_id = $1 AND e.cause_type = 'call.segment_ended' LIMIT 1`, w.ID).
		Scan(&w.start.Key, &w.start.Revision, &cause.Id, &cause.Type, &cause.Source, &event)
	if err != nil {
		t.Fatal(err)
	}
	w.start.Event, w.start.Cause = []byte(event), &workflowv1.Cause{Kind: &workflowv1.Cause_Event{Event: cause}}
}

// delete asks for the deletion. The answer is lost when the catalog dies of it.
func (r *removals) delete(t *testing.T, w *doomed) {
	t.Helper()
	res, err := r.do(t.Context(), http.MethodDelete, "/v1/workflows/"+w.ID, w.name+"-delete", nil)
	if err != nil || res.Status != http.StatusOK && res.Status != http.StatusServiceUnavailable {
		t.Fatalf("delete: %v, %+v", err, res)
	}
}

// calls counts what came to the target by path.
func (r *removals) calls() map[string]int {
	counts := make(map[string]int)
	for _, c := range r.target.Calls() {
		counts[c.Path]++
	}
	return counts
}

// redeliver has trigger-scheduler read the stream from its beginning, and returns when it is through.
func (r *removals) redeliver(t *testing.T) {
	t.Helper()
	const stream, consumer = "UNICONNECT_EVENTS", "trigger-scheduler"
	p := r.stack.Schedulers[0]
	if err := p.Kill(); err != nil {
		t.Fatal(err)
	}
	if err := r.js.DeleteConsumer(t.Context(), stream, consumer); err != nil {
		t.Fatal(err)
	}
	if err := p.Restart(t.Context()); err != nil {
		t.Fatal(err)
	}
	stack.Eventually(t, goneWithin, func(ctx context.Context) error {
		c, err := r.js.Consumer(ctx, stream, consumer)
		if err != nil {
			return err
		}
		if info := c.CachedInfo(); info.NumPending > 0 || info.NumAckPending > 0 || info.Delivered.Stream == 0 {
			err = fmt.Errorf("%d events wait, %d are not settled", info.NumPending, info.NumAckPending)
		}
		return err
	})
}

// startAgain sends a start that was sent before. It must be refused for good.
func (r *removals) startAgain(t *testing.T, w *doomed) {
	t.Helper()
	ctx := metadata.AppendToOutgoingContext(t.Context(), "authorization", "Bearer "+r.token)
	resp, err := r.executor.StartExecutions(ctx, &peerv1.StartExecutionsRequest{Starts: []*peerv1.Start{w.start}})
	if err != nil {
		t.Fatal(err)
	}
	got := resp.GetResults()[0]
	if got.GetOutcome() != peerv1.StartResult_REFUSED || got.GetReason() != "WORKFLOW_DELETED" || got.GetRetryable() {
		t.Errorf("the old start of %q: got %v, want a final refusal", w.title, got)
	}
}

// askAgain sends requests that were sent before, which are answered as then without what is gone, and others, which find nothing.
func (r *removals) askAgain(t *testing.T, w *doomed) {
	t.Helper()
	at := "/v1/workflows/" + w.ID
	var answer struct{ ID, State, Title string }
	r.call(t, http.MethodDelete, at, w.name+"-delete", nil, &answer)
	if answer.ID != w.ID || answer.State != "DELETING" || answer.Title != "" {
		t.Errorf("the deletion again: got %+v, want the id in DELETING and nothing else", answer)
	}
	for _, again := range []struct {
		method, path, requestID string
		body                    any
	}{
		{http.MethodPost, "/v1/workflows", w.name + "-create", r.config(w)},
		{http.MethodPatch, at + "?updateMask=description", w.name + "-update", object{"description": "second"}},
		{http.MethodPost, at + ":backup", w.name + "-backup", object{"name": "kept"}},
		{http.MethodPost, at + ":run", w.name + "-run", object{"input": object{"name": w.name, "mode": "end"}}},
		{http.MethodDelete, at, "", nil},
		{http.MethodPatch, at + "?updateMask=description", "", object{"description": "third"}},
		{http.MethodPost, at + ":activate", "", object{}},
		{http.MethodPost, at + ":backup", "", object{}},
		{http.MethodPost, at + ":reset", "", object{}},
		{http.MethodPost, at + ":publish", "", object{}},
		{http.MethodPost, at + ":duplicate", "", object{}},
		{http.MethodPut, at + "/draft", "", r.config(w)},
		{http.MethodGet, at + "/draft", "", nil},
		{http.MethodGet, at + "/revisions", "", nil},
		{http.MethodGet, at + "/backups", "", nil},
		{http.MethodGet, at + ":deletePreview", "", nil},
	} {
		res, err := r.do(t.Context(), again.method, again.path, again.requestID, again.body)
		if err == nil && res.Status != http.StatusNotFound {
			err = errors.New(string(res.Body))
		}
		if err != nil {
			t.Errorf("%s %s (request id %q) of a deleted workflow: %v, want 404", again.method, again.path, again.requestID, err)
		}
	}
}
