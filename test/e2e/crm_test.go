package e2e

import (
	"context"
	"fmt"
	"net/http"
	"testing"

	"github.com/google/go-cmp/cmp"

	"workflow.uniconnect/test/stack"
)

// crmSystem is a system whose seeded workflows keep still, so that only the workflows of a test change its CRM.
type crmSystem struct {
	*system
	// editor is a workflow that changes a record, run by hand.
	editor workflowView
}

func newCRMSystem(t *testing.T) *crmSystem {
	t.Helper()
	s := &crmSystem{system: newSystem(t, stack.Options{Workflowd: true})}
	var list struct{ Workflows []workflowView }
	if err := s.owner.Call(t.Context(), http.MethodGet, "/v1/workflows", nil, &list); err != nil {
		t.Fatal(err)
	}
	for _, w := range list.Workflows {
		s.deactivate(t, w.ID)
	}
	s.editor = s.create(t, object{"title": "Change a record", "trigger": object{"manual": object{}}, "steps": []object{
		action("change", "crm.update_record", object{"module": "${event.data.module}", "id": "${event.data.id}", "fields": "${event.data.fields}"}),
	}})
	return s
}

func (s *crmSystem) deactivate(t *testing.T, id string) {
	t.Helper()
	if err := s.owner.Call(context.WithoutCancel(t.Context()), http.MethodPost, "/v1/workflows/"+id+":deactivate", object{}, nil); err != nil {
		t.Fatal(err)
	}
}

// action is a step.
func action(id, kind string, params object) object {
	return object{"id": id, "action": object{"type": kind, "params": params}}
}

// run runs a workflow by hand and returns the execution when it has ended.
func (s *crmSystem) run(t *testing.T, workflow string, input object) executionView {
	t.Helper()
	var e executionView
	if err := s.owner.Call(t.Context(), http.MethodPost, "/v1/workflows/"+workflow+":run", object{"input": input}, &e); err != nil {
		t.Fatal(err)
	}
	return s.awaitExecution(t, e.ID)
}

// awaitExecution returns an execution once it has ended.
func (s *crmSystem) awaitExecution(t *testing.T, id string) executionView {
	t.Helper()
	var e executionView
	stack.Eventually(t, soon, func(ctx context.Context) error {
		e = executionView{}
		if err := s.owner.Call(ctx, http.MethodGet, "/v1/executions/"+id, nil, &e); err != nil {
			return err
		}
		switch e.State {
		case "SUCCEEDED", "FAILED", "CANCELLED":
			return nil
		default:
			return fmt.Errorf("execution %s is %s", id, e.State)
		}
	})
	return e
}

// set changes fields of a record.
func (s *crmSystem) set(t *testing.T, module, id string, fields object) {
	t.Helper()
	if e := s.run(t, s.editor.ID, object{"module": module, "id": id, "fields": fields}); e.State != "SUCCEEDED" {
		t.Fatalf("change %s %s: %s %+v", module, id, e.State, e.Error)
	}
}

// sandbox reads a page of the sandbox.
func (s *crmSystem) sandbox(t *testing.T, path string, into any) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, s.SandboxURL+path, http.NoBody)
	if err != nil {
		t.Fatal(err)
	}
	res, err := s.ClientWithToken("").Send(req)
	if err != nil {
		t.Fatal(err)
	}
	if err := res.Decode(into); err != nil {
		t.Fatal(err)
	}
}

// record returns the fields of a record.
func (s *crmSystem) record(t *testing.T, module, id string) object {
	t.Helper()
	var r struct{ Fields object }
	s.sandbox(t, "/crm/"+module+"/"+id, &r)
	return r.Fields
}

// find returns the fields of the records that have these values.
func (s *crmSystem) find(t *testing.T, module string, with object) []object {
	t.Helper()
	var list struct{ Records []struct{ Fields object } }
	s.sandbox(t, "/crm/"+module, &list)
	var found []object
	for _, r := range list.Records {
		if matches(r.Fields, with) {
			found = append(found, r.Fields)
		}
	}
	return found
}

// crmActions holds every action against the CRM that answers it.
func crmActions(t *testing.T, s *crmSystem) {
	name := unique("Person")
	w := s.create(t, object{"title": unique("Every action"), "trigger": object{"manual": object{}}, "steps": []object{
		action("created", "crm.create_record", object{"module": "leads", "fields": object{"name": name, "status": "new", "score": 70}}),
		action("found", "crm.search", object{
			"module": "leads", "fields": object{"name": name},
			"conditions": []object{{"field": "score", "operator": "GREATER_THAN", "value": "${event.data.score}"}},
		}),
		action("read", "crm.get_record", object{"module": "leads", "id": "${steps.found.output.records[0].id}"}),
		action("owned", "crm.assign", object{"module": "leads", "id": "${steps.read.output.id}", "strategy": "USER", "users": []string{"user-109"}}),
		action("changed", "crm.update_record", object{
			"module": "leads", "id": "${steps.read.output.id}", "expected_version": "${steps.owned.output.version}",
			"fields": object{"status": "contacted", "score": nil},
		}),
		action("noted", "crm.add_note", object{"module": "leads", "id": "${steps.read.output.id}", "text": "Hello ${steps.read.output.fields.name}"}),
		action("task", "crm.add_task", object{
			"title": "Call", "due_time": "${timestamp('2026-11-03T08:00:00Z') + duration('1h')}", "assignee": "${steps.changed.output.fields.owner}",
			"module": "leads", "id": "${steps.read.output.id}",
		}),
		action("none", "crm.search", object{"module": "tickets", "fields": object{"subject": name}}),
	}})
	e := s.run(t, w.ID, object{"score": 60})
	if e.State != "SUCCEEDED" {
		t.Fatalf("the execution is %s: %+v", e.State, e.Error)
	}
	created, _ := e.Steps[0].Output.(object)
	id, _ := created["id"].(string)
	if diff := cmp.Diff(object{"name": name, "status": "contacted", "owner": "user-109"}, s.record(t, "leads", id)); diff != "" {
		t.Errorf("lead (-want +got):\n%s", diff)
	}
	note := object{"text": "Hello " + name, "record": id, "record_module": "leads"}
	if diff := cmp.Diff([]object{note}, s.find(t, "notes", object{"record": id})); diff != "" {
		t.Errorf("notes (-want +got):\n%s", diff)
	}
	task := object{"title": "Call", "due_time": "2026-11-03T09:00:00Z", "owner": "user-109", "status": "open", "record": id, "record_module": "leads"}
	if diff := cmp.Diff([]object{task}, s.find(t, "tasks", object{"record": id})); diff != "" {
		t.Errorf("tasks (-want +got):\n%s", diff)
	}
	if none, _ := e.Steps[7].Output.(object); none["count"] != 0.0 {
		t.Errorf("a search for nothing found %v", none)
	}

	for reason, step := range map[string]object{
		"RECORD_NOT_FOUND": action("try", "crm.assign", object{"module": "leads", "id": "lead-of-nobody", "strategy": "LEAST_LOADED"}),
		"RECORD_VERSION":   action("try", "crm.update_record", object{"module": "leads", "id": id, "expected_version": 1, "fields": object{"a": "b"}}),
		"ACTION_PARAMS":    action("try", "crm.assign", object{"module": "leads", "id": id, "strategy": "USER", "users": []string{"user-1"}}),
	} {
		w := s.create(t, object{"title": unique(reason), "trigger": object{"manual": object{}}, "steps": []object{step}})
		e := s.run(t, w.ID, object{})
		if e.State != "FAILED" || e.Error.Reason != reason || len(e.Steps) != 1 || e.Steps[0].Attempts != 1 {
			t.Errorf("%s: the execution is %s with %+v, steps %+v; want one attempt", reason, e.State, e.Error, e.Steps)
		}
	}
}
