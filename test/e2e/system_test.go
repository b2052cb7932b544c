// Package e2e looks at the whole system from outside, over REST and NATS, in both deployments.
package e2e

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"workflow.uniconnect/test/otlp"
	"workflow.uniconnect/test/stack"
	"workflow.uniconnect/test/target"
)

const (
	owner   = "owner@acme.test"
	viewer  = "viewer@acme.test"
	agent   = "agent@acme.test"
	foreign = "owner@globex.test"
	// soon is how long anything may take on a busy machine.
	soon = 20 * time.Second
)

type object = map[string]any

// system is one deployment with everything a test needs to reach it.
type system struct {
	*stack.Stack
	target *target.Target
	traces *otlp.Collector
	js     jetstream.JetStream
	db     *pgxpool.Pool
	owner  *stack.Client
}

// TestSystem runs every scenario against every deployment.
func TestSystem(t *testing.T) {
	scenarios := []struct {
		name string
		run  func(*testing.T, *system)
	}{
		{"tour", tour}, {"seeded_workflow", seededWorkflow}, {"run_by_hand", runByHand}, {"all_steps", allSteps}, {"failure", failure},
		{"activation", activation}, {"date_range", dateRange}, {"event_types", eventTypes}, {"delete", deletion}, {"duplicates", duplicates},
		{"dead_letters", deadLetters}, {"bad_input", badInput}, {"validation", validation}, {"who_may", whoMay}, {"access", access}, {"tenants", tenants}, {"trace", trace},
	}
	for name, opts := range map[string]stack.Options{"workflowd": {Workflowd: true}, "separate": {Schedulers: 2, Executors: 2}} {
		t.Run(name, func(t *testing.T) {
			s := newSystem(t, opts)
			for _, sc := range scenarios {
				t.Run(sc.name, func(t *testing.T) { sc.run(t, s) })
			}
		})
	}
}

func newSystem(t *testing.T, opts stack.Options) *system {
	t.Helper()
	s := &system{target: target.New(t, nil), traces: otlp.New(t)}
	opts.AllowTargets = []string{s.target.Addr}
	opts.Env = []string{"OTEL_EXPORTER_OTLP_ENDPOINT=" + s.traces.Endpoint, "OTEL_BSP_SCHEDULE_DELAY=100"}
	s.Stack = stack.New(t, opts)
	if err := s.AwaitSeeds(t.Context()); err != nil {
		t.Fatal(err)
	}
	s.js, s.db, s.owner = s.JetStream(t), s.Database(t), s.User(t, owner)
	return s
}

// unique makes names that no other scenario uses.
func unique(prefix string) string { return prefix + " " + rand.Text()[:8] }

// create saves a workflow and returns it as it was answered.
func (s *system) create(t *testing.T, workflow object) workflowView {
	t.Helper()
	var w workflowView
	if err := s.owner.Call(t.Context(), http.MethodPost, "/v1/workflows", workflow, &w); err != nil {
		t.Fatal(err)
	}
	return w
}

type workflowView struct{ ID, Title, State, Etag string }

// onCall is a workflow that starts for the calls with this id and has these steps.
func onCall(call string, steps ...object) object {
	return object{
		"title":   unique("On call"),
		"trigger": object{"event": object{"eventType": "call.segment_ended", "filter": object{"expression": "event.data.call_id == '" + call + "'"}}},
		"steps":   steps,
	}
}

// post is a step that calls the target at path.
func (s *system) post(id, path string, body object) object {
	return object{"id": id, "action": object{"type": "http.request", "params": object{
		"method": "POST", "url": s.target.URL + path, "headers": object{"X-Execution": "${execution.id}"}, "body": body,
	}}}
}

// publish puts an event on the bus and returns its id.
func (s *system) publish(t *testing.T, eventType string, data object, headers ...string) string {
	t.Helper()
	text, err := json.Marshal(data)
	if err != nil {
		t.Fatal(err)
	}
	id := rand.Text()
	msg := &nats.Msg{Subject: "uniconnect.events.acme." + eventType, Data: text, Header: nats.Header{
		"ce-specversion": {"1.0"}, "ce-id": {id}, "ce-source": {"/e2e"}, "ce-type": {"com.uniconnect." + eventType},
	}}
	for i := 0; i+1 < len(headers); i += 2 {
		msg.Header.Set(headers[i], headers[i+1])
	}
	if _, err := s.js.PublishMsg(t.Context(), msg); err != nil {
		t.Fatalf("publish: %v", err)
	}
	return id
}

type executionView struct {
	ID, WorkflowID, State string
	Cause                 struct {
		Event  struct{ ID, Type, Source string }
		Manual struct{ User string }
	}
	Steps []struct {
		StepID, Path, State string
		Attempts            int
		Output              any
		Error               struct{ Reason, Message string }
	}
	Error struct{ Reason, StepID, Message string }
}

// awaitEnd returns the n executions of a workflow, with their steps, once they have ended.
func (s *system) awaitEnd(t *testing.T, workflow string, n int) []executionView {
	t.Helper()
	var all []executionView
	stack.Eventually(t, soon, func(ctx context.Context) error {
		var list struct{ Executions []executionView }
		if err := s.owner.Call(ctx, http.MethodGet, "/v1/workflows/"+workflow+"/executions", nil, &list); err != nil {
			return err
		}
		if len(list.Executions) != n {
			return fmt.Errorf("the workflow has %d executions, want %d", len(list.Executions), n)
		}
		all = all[:0]
		for _, e := range list.Executions {
			var full executionView
			if err := s.owner.Call(ctx, http.MethodGet, "/v1/executions/"+e.ID, nil, &full); err != nil {
				return err
			}
			switch full.State {
			case "SUCCEEDED", "FAILED", "CANCELLED":
				all = append(all, full)
			default:
				return fmt.Errorf("execution %s is %s", e.ID, full.State)
			}
		}
		return nil
	})
	return all
}

// lead reads a record of the sandbox's CRM.
func (s *system) lead(ctx context.Context, id string) (object, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, s.SandboxURL+"/crm/leads/"+id, http.NoBody)
	if err != nil {
		return nil, err
	}
	res, err := s.ClientWithToken("").Send(req)
	if err != nil {
		return nil, err
	}
	var record object
	if err := res.Decode(&record); err != nil {
		return nil, err
	}
	if fields, ok := record["fields"].(object); ok {
		return fields, nil
	}
	return record, nil
}

// awaitCall returns the calls of a path once there are n of them.
func (s *system) awaitCall(t *testing.T, path string, n int) []*target.Call {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), soon)
	defer cancel()
	calls, err := s.target.Await(ctx, n, func(c *target.Call) bool { return c.Path == path })
	if err != nil {
		t.Fatalf("%d calls of %s, want %d: %v", len(calls), path, n, err)
	}
	return calls
}

// counted returns how many calls of a path came.
func (s *system) counted(path string) int {
	n := 0
	for _, c := range s.target.Calls() {
		if c.Path == path {
			n++
		}
	}
	return n
}

// path makes a path of the target that belongs to one scenario.
func path() string { return "/" + strings.ToLower(rand.Text()[:10]) }
