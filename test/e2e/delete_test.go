package e2e

import (
	"context"
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"

	"workflow.uniconnect/test/stack"
)

// remains are the tables that may still name a deleted workflow: the tombstones, the line of the audit, and the change feed that tells
// other services of the deletion. None of them holds anything but the id, who and when.
func remains() map[string]bool {
	return map[string]bool{
		"catalog.tombstones": true, "executor.tombstones": true, "catalog.audit_entries": true, "catalog.changes": true,
	}
}

// A deleted workflow leaves nothing behind and cannot come back.
func deletion(t *testing.T, s *system) {
	p, call := path(), unique("call")
	w := s.create(t, onCall(call, s.post("tell", p, object{}), object{"id": "rest", "delay": object{"duration": "3600s"}}))
	s.publish(t, "call.segment_ended", object{"call_id": call})
	s.awaitCall(t, p, 1)
	var executions []string
	stack.Eventually(t, soon, func(ctx context.Context) error {
		var list struct{ Executions []executionView }
		if err := s.owner.Call(ctx, http.MethodGet, "/v1/workflows/"+w.ID+"/executions", nil, &list); err != nil {
			return err
		}
		if len(list.Executions) != 1 || list.Executions[0].State != "WAITING" {
			return fmt.Errorf("executions: %+v, want one that waits", list.Executions)
		}
		executions = []string{list.Executions[0].ID}
		return nil
	})

	res, err := s.owner.Do(t.Context(), http.MethodDelete, "/v1/workflows/"+w.ID+"?confirm=another+title", nil)
	if err != nil || res.Status != http.StatusBadRequest {
		t.Errorf("delete with another title: %v, %+v; want 400", err, res)
	}
	var gone workflowView
	if err := s.owner.Call(t.Context(), http.MethodDelete, "/v1/workflows/"+w.ID, nil, &gone); err != nil {
		t.Fatal(err)
	}
	if gone.State != "DELETING" {
		t.Errorf("the answer shows the workflow %s, want DELETING", gone.State)
	}
	stack.Eventually(t, soon, func(ctx context.Context) error {
		res, err := s.owner.Do(ctx, http.MethodGet, "/v1/workflows/"+w.ID, nil)
		if err == nil && res.Status != http.StatusNotFound {
			err = fmt.Errorf("get answers %d", res.Status)
		}
		return err
	})
	for _, id := range append(executions, w.ID) {
		for table, n := range s.mentions(t, id) {
			if id != w.ID || !remains()[table] {
				t.Errorf("%d rows of %s still hold %s", n, table, id)
			}
		}
	}
	// A late event finds nothing to start.
	other := path()
	witness := s.create(t, onCall(call, s.post("tell", other, object{})))
	s.publish(t, "call.segment_ended", object{"call_id": call})
	s.awaitEnd(t, witness.ID, 1)
	if n := s.counted(p); n != 1 {
		t.Errorf("the deleted workflow called its target %d times, want once, before it was deleted", n)
	}
	if n := s.mentions(t, w.ID)["executor.executions"]; n != 0 {
		t.Errorf("a late event left %d executions of the deleted workflow", n)
	}
}

// mentions counts the rows that hold a text anywhere, by table, over all tables of all services.
func (s *system) mentions(t *testing.T, text string) map[string]int {
	t.Helper()
	rows, err := s.db.Query(t.Context(), `
		SELECT n.nspname || '.' || c.relname FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
		WHERE c.relkind IN ('r', 'p') AND NOT c.relispartition AND n.nspname !~ '^(pg_|information_schema)'`)
	if err != nil {
		t.Fatal(err)
	}
	tables, err := pgx.CollectRows(rows, pgx.RowTo[string])
	if err != nil {
		t.Fatal(err)
	}
	if len(tables) < 10 {
		t.Fatalf("only %d tables found: %v", len(tables), tables)
	}
	counts := make(map[string]int)
	for _, table := range tables {
		var n int
		query := `SELECT count(*) FROM ` + pgx.Identifier(strings.Split(table, ".")).Sanitize() + ` AS r WHERE position($1 IN r::text) > 0`
		if err := s.db.QueryRow(t.Context(), query, text).Scan(&n); err != nil {
			t.Fatalf("scan %s: %v", table, err)
		}
		if n > 0 {
			counts[table] = n
		}
	}
	return counts
}
