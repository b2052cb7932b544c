package postgres_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sync/errgroup"

	"workflow.uniconnect/pkg/fault"
	"workflow.uniconnect/services/workflow-catalog/internal/deletion"
	"workflow.uniconnect/services/workflow-catalog/internal/workflow"
)

// calling returns a configuration whose steps call others, each by a step of its own.
func calling(t *testing.T, title string, callees ...workflow.ID) workflow.Config {
	t.Helper()
	c := config(t, title)
	for i, id := range callees {
		c.Calls = append(c.Calls, workflow.StepCall{Field: fmt.Sprintf("steps[%d].callWorkflow.workflowId", i), Callee: id})
	}
	return c
}

// save makes a configuration the live one of w, which is read anew.
func (e *env) save(t *testing.T, w workflow.Workflow, config workflow.Config) error {
	t.Helper()
	before, err := e.store.Get(t.Context(), w.Tenant, w.ID)
	if err != nil {
		return err
	}
	_, err = e.store.Change(t.Context(), call(w.Tenant, workflow.MethodUpdate), workflow.Change{
		Before: before, State: before.State, Config: &config, Origin: workflow.Updated,
	})
	return err
}

// calls lists the stored calls of a tenant by titles.
func (e *env) calls(t *testing.T, tenantName workflow.Tenant) string {
	t.Helper()
	var text string
	err := e.pool.QueryRow(t.Context(), `
		SELECT coalesce(string_agg(a.title || '>' || b.title, ' ' ORDER BY a.title, b.title), '')
		FROM workflow_calls c
		JOIN workflows a ON a.tenant = c.tenant AND a.id = c.caller
		JOIN workflows b ON b.tenant = c.tenant AND b.id = c.callee
		WHERE c.tenant = $1`, tenantName).Scan(&text)
	if err != nil {
		t.Fatal(err)
	}
	return text
}

func wantViolations(t *testing.T, err error, want ...string) {
	t.Helper()
	var got []string
	if f, ok := fault.As(err); ok {
		for _, v := range f.Violations {
			got = append(got, fmt.Sprintf("%s %s %s", v.Field, v.Reason, v.Description))
		}
	} else if err != nil {
		t.Fatalf("got %v, want violations", err)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("violations (-want +got):\n%s", diff)
	}
}

func TestStore_calls(t *testing.T) {
	t.Parallel()
	e := newEnv(t)
	a, b, c := e.add(t, "acme", "A", workflow.Active), e.add(t, "acme", "B", workflow.Active), e.add(t, "acme", "C", workflow.Inactive)
	foreign := e.add(t, "globex", "F", workflow.Active)
	wantViolations(t, e.save(t, a, calling(t, "A", b.ID, c.ID, b.ID)))
	wantViolations(t, e.save(t, b, calling(t, "B", c.ID)))
	if got, want := e.calls(t, "acme"), "A>B A>C B>C"; got != want {
		t.Errorf("calls: got %q, want %q", got, want)
	}
	t.Run("circle", func(t *testing.T) {
		want := `steps[1].callWorkflow.workflowId WORKFLOW_CYCLE the workflows would call each other in a circle: "New C" → "A" → "New C"`
		d := e.add(t, "acme", "D", workflow.Active)
		wantViolations(t, e.save(t, c, calling(t, "New C", d.ID, a.ID)), want)
		wantViolations(t, e.save(t, c, calling(t, "C", c.ID)), "steps[0].callWorkflow.workflowId WORKFLOW_CYCLE the workflow would call itself")
		if got, err := e.store.Get(t.Context(), "acme", c.ID); err != nil || got.Revision != 1 {
			t.Errorf("after refusals the workflow is at revision %d, %v; want 1", got.Revision, err)
		}
		checked, err := e.store.CheckCalls(t.Context(), "acme", c.ID, calling(t, "New C", d.ID, a.ID))
		if err != nil {
			t.Fatal(err)
		}
		wantViolations(t, fault.Check(checked...), want)
	})
	t.Run("unknown", func(t *testing.T) {
		nobody := newID(t)
		text := func(i int, id workflow.ID) string {
			return fmt.Sprintf("steps[%d].callWorkflow.workflowId UNKNOWN_WORKFLOW there is no workflow with the id %s; choose one that exists", i, id)
		}
		wantViolations(t, e.save(t, c, calling(t, "C", nobody, foreign.ID)), text(0, nobody), text(1, foreign.ID))
		_, err := e.store.Create(t.Context(), call("acme", workflow.MethodCreate), workflow.Workflow{
			Tenant: "acme", ID: newID(t), State: workflow.Active, Revision: 1, Version: 1, Config: calling(t, "E", nobody),
		})
		wantViolations(t, err, text(0, nobody))
		// One that is called already, and is on its way out.
		gone := e.add(t, "acme", "Gone", workflow.Active)
		wantViolations(t, e.save(t, b, calling(t, "B", c.ID, gone.ID)))
		e.set(t, gone, workflow.Deleting)
		wantViolations(t, e.save(t, a, calling(t, "A", b.ID, gone.ID)), text(1, gone.ID))
		if err := e.store.Remove(t.Context(), deletion.Deletion{Tenant: "acme", ID: gone.ID}); err != nil {
			t.Fatal(err)
		}
		if got, want := e.calls(t, "acme"), "A>B A>C B>C"; got != want {
			t.Errorf("calls after the removal: got %q, want %q", got, want)
		}
	})
	t.Run("given_up", func(t *testing.T) {
		wantViolations(t, e.save(t, a, calling(t, "A")))
		wantViolations(t, e.save(t, c, calling(t, "C", a.ID)))
		if got, want := e.calls(t, "acme"), "B>C C>A"; got != want {
			t.Errorf("calls: got %q, want %q", got, want)
		}
	})
}

// Of saves that would close a circle together at least one is refused, however they meet.
func TestStore_calls_race(t *testing.T) {
	t.Parallel()
	e := newEnv(t)
	const n = 5
	for round := range 20 {
		ring := make([]workflow.Workflow, n)
		for i := range ring {
			ring[i] = e.add(t, "acme", fmt.Sprintf("r%d-%d", round, i), workflow.Active)
		}
		refused := make(chan error, n)
		var group errgroup.Group
		for i, w := range ring {
			config := calling(t, w.Config.Title, ring[(i+1)%n].ID)
			group.Go(func() error {
				err := e.save(t, w, config)
				if f, ok := fault.As(err); ok && len(f.Violations) == 1 && f.Violations[0].Reason == "WORKFLOW_CYCLE" {
					refused <- err
					return nil
				}
				return err
			})
		}
		if err := group.Wait(); err != nil {
			t.Fatal(err)
		}
		if len(refused) != 1 {
			t.Fatalf("round %d: %d of %d saves were refused, want the one that closes the circle", round, len(refused), n)
		}
	}
}

// A workflow that is removed while others save calls of it leaves no call behind.
func TestStore_calls_raceRemoval(t *testing.T) {
	t.Parallel()
	e := newEnv(t)
	caller := e.add(t, "acme", "caller", workflow.Active)
	for round := range 30 {
		callee := e.add(t, "acme", fmt.Sprint("callee ", round), workflow.Active)
		config := calling(t, fmt.Sprint("caller ", round), callee.ID)
		var group errgroup.Group
		group.Go(func() error {
			err := e.save(t, caller, config)
			if f, ok := fault.As(err); ok && strings.Contains(fmt.Sprint(f.Violations), "UNKNOWN_WORKFLOW") {
				return nil
			}
			return err
		})
		group.Go(func() error {
			change := workflow.Change{Before: callee, State: workflow.Deleting}
			if _, err := e.store.Change(t.Context(), call("acme", workflow.MethodDelete), change); err != nil {
				return err
			}
			return e.store.Remove(t.Context(), deletion.Deletion{Tenant: "acme", ID: callee.ID})
		})
		if err := group.Wait(); err != nil {
			t.Fatal(err)
		}
		if got := e.calls(t, "acme"); got != "" {
			t.Fatalf("round %d: calls left behind: %q", round, got)
		}
	}
}
