package postgres_test

import (
	"context"
	"fmt"
	"slices"
	"testing"
	"time"

	"workflow.uniconnect/services/workflow-catalog/internal/feed"
	"workflow.uniconnect/services/workflow-catalog/internal/postgres"
	"workflow.uniconnect/services/workflow-catalog/internal/tenant"
	"workflow.uniconnect/services/workflow-catalog/internal/workflow"
)

// A gate's history is told to whoever begins, and is kept for as long as it can matter.
func TestStore_gates(t *testing.T) {
	t.Parallel()
	e := newEnv(t)
	turn := func(name workflow.Tenant, on bool) {
		t.Helper()
		call := workflow.Call{Tenant: name, Actor: "owner", Method: "UpdateModule"}
		err := e.store.Administer(t.Context(), call, func(ctx context.Context, desk tenant.Desk) (any, tenant.Trace, error) {
			m, err := desk.SetModule(ctx, tenant.ModuleWorkflow, on, "owner")
			return m, tenant.Trace{Resource: "modules/workflow"}, err
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	gates := func() []string {
		t.Helper()
		var got []string
		_, err := e.store.Snapshot(t.Context(), 10, func(batch []feed.Change) error {
			for _, c := range batch {
				if c.Kind == feed.Gate && c.Seq > 0 && !c.At.IsZero() && c.ID == "" {
					got = append(got, fmt.Sprint(c.Tenant, " ", c.Gate))
				}
			}
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
		return got
	}
	want := func(what string, want ...string) {
		t.Helper()
		if got := gates(); !slices.Equal(got, want) {
			t.Errorf("%s: got %q, want %q", what, got, want)
		}
	}
	want("in the beginning")
	for _, on := range []bool{false, true, false, true} {
		turn("acme", on)
		turn("acme", on) // the same again is no change of the gate
	}
	turn("globex", false)
	want("all", "acme 1", "acme 2", "acme 1", "acme 2", "globex 1")
	_, changes, err := e.store.Changes(t.Context(), 0, 100)
	if err != nil || len(changes) != 5 || changes[4].Kind != feed.Gate || changes[4].Gate != feed.Closed || changes[4].Tenant != "globex" {
		t.Fatalf("got %v, %v", changes, err)
	}

	// Everything but the last opening of acme grows old: the time before it still matters.
	const age = `UPDATE tenant_gates SET at = at - interval '9 days' WHERE seq < (SELECT max(seq) FROM tenant_gates WHERE tenant = 'acme') OR tenant = 'globex'`
	if _, err := e.pool.Exec(t.Context(), age); err != nil {
		t.Fatal(err)
	}
	const long = 365 * 24 * time.Hour
	keep := postgres.Retention{Changes: long, Requests: long, Tombstones: long, Gates: 8 * 24 * time.Hour}
	if err := e.store.Prune(t.Context(), keep); err != nil {
		t.Fatal(err)
	}
	want("what still matters", "acme 1", "acme 2", "globex 1")
	if _, err := e.pool.Exec(t.Context(), `UPDATE tenant_gates SET at = at - interval '9 days'`); err != nil {
		t.Fatal(err)
	}
	if err := e.store.Prune(t.Context(), keep); err != nil {
		t.Fatal(err)
	}
	want("what is closed", "globex 1")
	turn("globex", true)
	turn("acme", false)
	want("and goes on", "acme 1", "globex 1", "globex 2")
}
