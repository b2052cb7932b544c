package e2e

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"workflow.uniconnect/test/stack"
)

// notifyPrefix begins the addresses of messages in templates; the sandbox's sinks take them here.
const notifyPrefix = "https://notify.example.com/"

// trial is a template under test.
type trial struct {
	*crmSystem
	// workflow was made of the template, for the trial alone.
	workflow workflowView
	// began is before the first event of the trial.
	began time.Time
}

// TestTemplates starts every template by its real trigger and reads back from the sandbox what came of it.
func TestTemplates(t *testing.T) {
	s := newCRMSystem(t)
	t.Run("actions", func(t *testing.T) { crmActions(t, s) })

	var list struct{ Templates []templateView }
	if err := s.owner.Call(t.Context(), http.MethodGet, "/v1/templates", nil, &list); err != nil {
		t.Fatal(err)
	}
	cases := templateCases()
	for _, tmpl := range list.Templates {
		run, ok := cases[tmpl.ID]
		delete(cases, tmpl.ID)
		t.Run(tmpl.ID, func(t *testing.T) {
			if !ok {
				t.Fatalf("the template %s has no case here", tmpl.ID)
			}
			run(t, &trial{crmSystem: s, workflow: s.createTemplate(t, tmpl), began: time.Now()})
		})
	}
	for id := range cases {
		t.Errorf("there is no template %s", id)
	}
	t.Run("get", func(t *testing.T) {
		var got templateView
		if err := s.owner.Call(t.Context(), http.MethodGet, "/v1/templates/"+list.Templates[0].ID, nil, &got); err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(list.Templates[0], got); diff != "" {
			t.Errorf("template (-listed +got):\n%s", diff)
		}
		res, err := s.owner.Do(t.Context(), http.MethodGet, "/v1/templates/on-full-moon", nil)
		if err != nil || res.Status != http.StatusNotFound || !strings.Contains(string(res.Body), "TEMPLATE_NOT_FOUND") {
			t.Errorf("got %+v, %v; want 404 TEMPLATE_NOT_FOUND", res, err)
		}
	})
}

type templateView struct {
	ID, Title, Description, Help, Category string
	Workflow                               object
}

// createTemplate saves a workflow as the template has it, with messages to the sandbox. It is active until the test ends.
func (s *crmSystem) createTemplate(t *testing.T, tmpl templateView) workflowView {
	t.Helper()
	text, err := json.Marshal(tmpl.Workflow)
	if err != nil {
		t.Fatal(err)
	}
	var w object
	if err := json.Unmarshal([]byte(strings.ReplaceAll(string(text), notifyPrefix, s.SandboxURL+"/sink/")), &w); err != nil {
		t.Fatal(err)
	}
	w["title"] = unique(tmpl.Title)
	created := s.create(t, w)
	t.Cleanup(func() { s.deactivate(t, created.ID) })
	return created
}

// start publishes an event as a service does over REST.
func (x *trial) start(t *testing.T, eventType string, data object) {
	t.Helper()
	event := object{"type": eventType, "source": "/e2e", "data": data}
	if err := x.owner.Call(t.Context(), http.MethodPost, "/v1/events", event, nil); err != nil {
		t.Fatal(err)
	}
}

// ended returns the n executions that the trial's events have started, once they have ended well. Events that must start nothing are
// published before those that must.
func (x *trial) ended(t *testing.T, n int) []executionView {
	t.Helper()
	all := x.awaitEnd(t, x.workflow.ID, n)
	for _, e := range all {
		if e.State != "SUCCEEDED" {
			t.Errorf("execution %s is %s: %+v", e.ID, e.State, e.Error)
		}
	}
	return all
}

// waits expects n executions to wait for so long from their events on, and lets the time be over.
func (x *trial) waits(t *testing.T, n int, long time.Duration) {
	t.Helper()
	x.waitUntil(t, n, func(wake time.Time) bool {
		return !wake.Before(x.began.Add(long)) && !wake.After(time.Now().Add(long))
	})
}

// waitUntil expects n executions to wait until the right instant, and lets it come.
func (x *trial) waitUntil(t *testing.T, n int, right func(wake time.Time) bool) {
	t.Helper()
	var waiting []string
	stack.Eventually(t, soon, func(ctx context.Context) error {
		var list struct {
			Executions []struct {
				ID, State string
				WakeTime  time.Time
			}
		}
		if err := x.owner.Call(ctx, http.MethodGet, "/v1/workflows/"+x.workflow.ID+"/executions", nil, &list); err != nil {
			return err
		}
		waiting = waiting[:0]
		for _, e := range list.Executions {
			if e.State != "WAITING" {
				continue
			}
			waiting = append(waiting, e.ID)
			if !right(e.WakeTime) {
				t.Fatalf("execution %s wakes at %v; the trial began at %v", e.ID, e.WakeTime, x.began)
			}
		}
		if len(waiting) != n || len(list.Executions) < n {
			return fmt.Errorf("%d executions wait, want %d: %+v", len(waiting), n, list.Executions)
		}
		return nil
	})
	tx, err := x.db.Begin(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = tx.Rollback(context.WithoutCancel(t.Context())) }()
	for _, query := range []string{
		`UPDATE executor.step_results SET wake_time = clock_timestamp() - INTERVAL '1 s' WHERE execution_id = ANY($1) AND wake_time IS NOT NULL`,
		`UPDATE executor.live SET wake_at = clock_timestamp() - INTERVAL '1 s' WHERE id = ANY($1)`,
	} {
		tag, err := tx.Exec(t.Context(), query, waiting)
		if err != nil || tag.RowsAffected() != int64(n) {
			t.Fatalf("let the time come: %v, %v; want %d rows", tag, err, n)
		}
	}
	if err := tx.Commit(t.Context()); err != nil {
		t.Fatal(err)
	}
}

// within expects a time that an expression such as now + duration(…) made during the trial.
func (x *trial) within(t *testing.T, what string, got any, after time.Duration) {
	t.Helper()
	text, _ := got.(string)
	at, err := time.Parse(time.RFC3339Nano, text)
	if err != nil || at.Before(x.began.Add(after)) || at.After(time.Now().Add(after)) {
		t.Errorf("%s is %v, want %v after the event", what, got, after)
	}
}

// task returns the only task of a record with the title.
func (x *trial) task(t *testing.T, record, title string) object {
	t.Helper()
	found := x.find(t, "tasks", object{"record": record, "title": title})
	if len(found) != 1 {
		t.Fatalf("%d tasks %q of %s, want 1", len(found), title, record)
	}
	return found[0]
}

// has expects values among fields.
func has(t *testing.T, what string, got, want object) {
	t.Helper()
	some := object{}
	for name := range want {
		some[name] = got[name]
	}
	if diff := cmp.Diff(want, some); diff != "" {
		t.Errorf("%s (-want +got):\n%s", what, diff)
	}
}

// sink returns the bodies that a sink took and that have these values.
func (s *crmSystem) sink(t *testing.T, name string, with object) []object {
	t.Helper()
	var list struct{ Requests []struct{ JSON object } }
	s.sandbox(t, "/sink/"+url.PathEscape(name), &list)
	var found []object
	for _, r := range list.Requests {
		if matches(r.JSON, with) {
			found = append(found, r.JSON)
		}
	}
	return found
}

// message returns the only one that a sink took with these values.
func (s *crmSystem) message(t *testing.T, sink string, with object) object {
	t.Helper()
	found := s.sink(t, sink, with)
	if len(found) != 1 {
		t.Fatalf("%d messages to %s with %v, want 1", len(found), sink, with)
	}
	return found[0]
}

func matches(got, with object) bool {
	for name, value := range with {
		if !cmp.Equal(got[name], value) {
			return false
		}
	}
	return true
}
