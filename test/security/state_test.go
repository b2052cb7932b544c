package security

import (
	"context"
	"fmt"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"

	"workflow.uniconnect/test/stack"
)

// restless are the tables that change while nobody does anything: leases and signs of life, and the record of who was refused, which is no
// state of what was asked for.
func restless() []string {
	return []string{"executor.owners", "scheduler.watchers", "catalog.audit_entries"}
}

// digests returns a fingerprint of every table of every service.
func (s *system) digests(ctx context.Context) (map[string]string, error) {
	rows, err := s.db.Query(ctx, `
		SELECT n.nspname || '.' || c.relname FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
		WHERE c.relkind IN ('r', 'p') AND NOT c.relispartition AND n.nspname !~ '^(pg_|information_schema)'`)
	if err != nil {
		return nil, err
	}
	tables, err := pgx.CollectRows(rows, pgx.RowTo[string])
	if err != nil {
		return nil, err
	}
	if len(tables) < 15 {
		return nil, fmt.Errorf("only %d tables found: %v", len(tables), tables)
	}
	var queries []string
	for _, table := range tables {
		name := pgx.Identifier(strings.Split(table, ".")).Sanitize()
		queries = append(queries, `SELECT '`+table+`', count(*) || ' rows ' || coalesce(md5(string_agg(h, '' ORDER BY h)), '') FROM (SELECT md5(r::text) AS h FROM `+name+` AS r) AS x`)
	}
	rows, err = s.db.Query(ctx, strings.Join(queries, " UNION ALL "))
	if err != nil {
		return nil, err
	}
	all := make(map[string]string)
	var table, digest string
	_, err = pgx.ForEachRow(rows, []any{&table, &digest}, func() error {
		all[table] = digest
		return nil
	})
	for _, table := range restless() {
		delete(all, table)
	}
	return all, err
}

// state is what no refused call may change.
type state struct {
	s      *system
	before map[string]string
}

// quiet waits until nothing moves any more and returns the state.
func (s *system) quiet(t *testing.T) *state {
	t.Helper()
	st := &state{s: s}
	stack.Eventually(t, soon, func(ctx context.Context) error {
		now, err := s.digests(ctx)
		if err != nil {
			return err
		}
		changed := differing(st.before, now)
		st.before = now
		if len(changed) > 0 {
			return fmt.Errorf("tables still change: %v", changed)
		}
		return nil
	})
	return st
}

// unchanged fails the test when any table differs, and takes the new state as given.
func (st *state) unchanged(t *testing.T) {
	t.Helper()
	now, err := st.s.digests(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if changed := differing(st.before, now); len(changed) > 0 {
		t.Errorf("a refused call has changed %s", strings.Join(changed, ", "))
	}
	st.before = now
}

func differing(before, now map[string]string) []string {
	var changed []string
	for table, digest := range now {
		if before[table] != digest {
			changed = append(changed, table+" ("+before[table]+" → "+digest+")")
		}
	}
	return changed
}
