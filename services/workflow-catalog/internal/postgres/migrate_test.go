package postgres_test

import (
	"fmt"
	"io/fs"
	"testing"
	"testing/fstest"

	"github.com/google/go-cmp/cmp"
	"github.com/jackc/pgx/v5"

	"workflow.uniconnect/pkg/pgtest"
	pgpool "workflow.uniconnect/pkg/postgres"
	"workflow.uniconnect/services/workflow-catalog/internal/postgres"
	"workflow.uniconnect/services/workflow-catalog/internal/workflow"
)

// TestMigrations_list_what_there_was begins with a schema that knew no lists and has workflows in it. What the migration fills in by itself
// is what the program would.
func TestMigrations_list_what_there_was(t *testing.T) {
	t.Parallel()
	url := pgtest.New(t, nil)
	files, err := postgres.Migrations()
	if err != nil {
		t.Fatal(err)
	}
	before := fstest.MapFS{}
	for _, name := range []string{"00001_catalog.sql", "00002_history.sql"} {
		data, err := fs.ReadFile(files, name)
		if err != nil {
			t.Fatal(err)
		}
		before[name] = &fstest.MapFile{Data: data}
	}
	if err := pgpool.Migrate(t.Context(), url, postgres.Schema, before); err != nil {
		t.Fatal(err)
	}
	pool := pgtest.Open(t, url, postgres.Schema)
	const insert = `
WITH t AS (INSERT INTO tenants (tenant, title, time_zone) VALUES ('acme', 'Acme', 'UTC') ON CONFLICT DO NOTHING), w AS (
    INSERT INTO workflows (tenant, id, title, description, state, revision, version, create_time, create_user, update_time, update_user)
    VALUES ('acme', $1, $2, '', $4, 1, 7, now(), 'u', now(), 'u'))
INSERT INTO revisions (tenant, workflow_id, revision, config, hash, size, author, create_time) VALUES ('acme', $1, 1, $3::jsonb, '', 10, 'u', now())`
	for i, w := range []struct{ title, trigger string }{
		{"On Call Ended (v2): it's \"new\"", onEnded}, {"nightly  SYNC--", nightly}, {"By hand", manually}, {"!!!", `{}`}, {"Ärger", onStarted},
	} {
		config := fmt.Sprintf(`{"trigger":%s}`, w.trigger)
		if _, err := pool.Exec(t.Context(), insert, newID(t), w.title, config, 1+i%3); err != nil {
			t.Fatal(err)
		}
	}
	if err := pgpool.Migrate(t.Context(), url, postgres.Schema, files, pgpool.API, pgpool.Worker); err != nil {
		t.Fatal(err)
	}
	listed := func() []string {
		rows, err := pool.Query(t.Context(), `
SELECT concat_ws(' | ', title, trigger_type, event_type, title_key, terms::text, listed_version) FROM workflows ORDER BY id`)
		if err != nil {
			t.Fatal(err)
		}
		out, err := pgx.CollectRows(rows, pgx.RowTo[string])
		if err != nil {
			t.Fatal(err)
		}
		return out
	}
	migrated := listed()
	store := (&env{url: url}).replica(t)
	if n, err := store.Relist(t.Context()); err != nil || n != 1 {
		t.Errorf("left to the program: got %d, %v; want the one with a letter beyond ASCII", n, err)
	}
	page, err := store.List(t.Context(), "acme", workflow.ListQuery{Limit: 9, Filter: workflow.Filter{Words: []string{"ärg"}}})
	if err != nil || len(page.Workflows) != 1 {
		t.Errorf("got %v, %v; want it found", page, err)
	}
	if _, err := pool.Exec(t.Context(), `UPDATE workflows SET listed_version = NULL`); err != nil {
		t.Fatal(err)
	}
	if n, err := store.Relist(t.Context()); err != nil || n != 5 {
		t.Errorf("listed anew: got %d, %v; want all", n, err)
	}
	if diff := cmp.Diff(listed()[:4], migrated[:4]); diff != "" {
		t.Errorf("(-program +migration):\n%s", diff)
	}
}
