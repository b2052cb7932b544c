package postgres_test

import (
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"workflow.uniconnect/services/workflow-catalog/internal/audit"
	"workflow.uniconnect/services/workflow-catalog/internal/postgres"
	"workflow.uniconnect/services/workflow-catalog/internal/workflow"
)

// grow adds rows as other tools would, so fast that nobody has looked at the table since.
const grow = `
INSERT INTO workflows (tenant, id, title, description, state, revision, version, create_time, create_user, update_time, update_user,
                       trigger_type, event_type, title_key, terms, listed_version)
SELECT 'acme', gen_random_uuid(), 'w' || n, repeat('x', 200), 1 + n % 2, 1, 1, now() + n * interval '1 s', 'u', now() - n * interval '1 s', 'u',
       1, 'call.ended', 'w' || n, array_to_tsvector(ARRAY['acme=*', 'acme=s' || 1 + n % 2, 'acme=t1', 'acme=ecall.ended', 'acme/w' || n]), 1
FROM generate_series(1, 5000) n`

const growAudit = `
INSERT INTO audit_entries (tenant, at, actor, action, workflow_id, outcome, reason, request_id)
SELECT 'acme', now() - n * interval '1 s', 'user' || n % 50, 'Update' || n % 50, gen_random_uuid(), CASE WHEN n % 9 = 0 THEN 'ABORTED' ELSE 'OK' END,
       CASE WHEN n % 9 = 0 THEN 'ETAG_MISMATCH' ELSE '' END, 'r' || n
FROM generate_series(1, 20000) n`

// TestPlans_whenever_statistics_were_gathered looks at the plans that lists get when the planner has never looked at the tables, when it
// did so while they were empty, and when it did so while another tenant had a few rows.
func TestPlans_whenever_statistics_were_gathered(t *testing.T) {
	t.Parallel()
	for name, look := range map[string]func(*env){
		"never":                    func(*env) {},
		"while_empty":              func(e *env) { e.exec(t, `VACUUM ANALYZE workflows`, `VACUUM ANALYZE audit_entries`) },
		"with_few_rows_of_another": func(e *env) { e.addFew(t); e.exec(t, `ANALYZE workflows`, `ANALYZE audit_entries`) },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			e := newEnv(t)
			e.exec(t, `ALTER TABLE workflows SET (autovacuum_enabled = off)`, `ALTER TABLE audit_entries SET (autovacuum_enabled = off)`)
			look(e)
			// Connections keep the plans of lists: what was made of a table without rows must do for one with many.
			e.checkKept(t)
			e.exec(t, grow, growAudit)
			e.checkKept(t)
			e.searches(t, "'acme=s2' & 'acme/w7':*", 1500)
			e.searches(t, "'acme=s2' & 'acme/w7':*", nil)
			for index, c := range map[string]audit.Condition{
				"audit_entries_at":       {Field: audit.CreateTime, Relation: audit.NotAfter, Time: time.Now()},
				"audit_entries_actor":    {Field: audit.Actor, Value: "user7"},
				"audit_entries_action":   {Field: audit.Action, Value: "Update7"},
				"audit_entries_workflow": {Field: audit.WorkflowID, Value: string(newID(t))},
				"audit_entries_outcome":  {Field: audit.Outcome, Value: "ABORTED"},
				"audit_entries_refused":  {Field: audit.Outcome, Relation: audit.IsNot, Value: "OK"},
				"audit_entries_reason":   {Field: audit.Reason, Value: "X"},
				"audit_entries_request":  {Field: audit.RequestID, Value: "r7"},
			} {
				sql, args := postgres.AuditSQL("acme", audit.Query{Conditions: []audit.Condition{c}, Limit: 51, After: &audit.Position{At: time.Now(), ID: 5}})
				if plan := e.explain(t, sql, args); !strings.Contains(plan, "using "+index) || strings.Contains(plan, "Sort") {
					t.Errorf("the audit is not read along %s:\n%s", index, plan)
				}
			}
		})
	}
}

// checkKept looks at the plans that connections keep.
func (e *env) checkKept(t *testing.T) {
	t.Helper()
	for query, sql := range postgres.ListQueries() {
		plan := e.explainKept(t, sql)
		index := "workflows_created"
		switch {
		case strings.Contains(query, " 1 "):
			index = "workflows_updated"
		case strings.Contains(query, " 2 "):
			index = "workflows_titled"
		}
		// What does not depend on the row is looked at once: the tenant that the transaction names.
		along := `Limit\n *->  Result\n *One-Time Filter: .*\n *->  Index (Only )?Scan (Backward )?using ` + index + ` on workflows( workflows_1)?\n *Index Cond: `
		if strings.Contains(query, "true 0") || strings.Contains(query, "true 1") {
			along += `\(\(tenant = \$1\) AND \(ROW\(`
		}
		switch {
		case strings.Contains(plan, "Seq Scan"):
			t.Errorf("%s reads the table:\n%s", query, plan)
		case strings.HasPrefix(query, "walk") && !regexp.MustCompile(along).MatchString(plan):
			t.Errorf("%s does not walk along %s:\n%s", query, index, plan)
		case !strings.HasPrefix(query, "walk") && !strings.Contains(plan, "matching_workflows"):
			t.Errorf("%s does not search the terms:\n%s", query, plan)
		}
		e.checkKeys(t, query, plan)
	}
	for query, sql := range postgres.KeptQueries() {
		plan := e.explainKept(t, sql)
		if strings.Contains(plan, "Seq Scan") {
			t.Errorf("%s reads a table from end to end:\n%s", query, plan)
		}
		e.checkKeys(t, query, plan)
	}
}

// checkKeys looks whether a plan finds what belongs to a workflow by all of its key.
func (e *env) checkKeys(t *testing.T, query, plan string) {
	t.Helper()
	for index, columns := range map[string][]string{
		"workflows_pkey": {"tenant =", "id ="}, "revisions_pkey": {"tenant =", "workflow_id =", "revision ="},
		"drafts_pkey": {"tenant =", "workflow_id ="}, "backups_time": {"tenant =", "workflow_id ="}, "changes_tenant": {"tenant =", "seq >"},
		"changes_pkey": {"seq >"}, "tombstones_seq": {"seq >"}, "tenants_pkey": {"tenant ="}, "requests_pkey": {"tenant =", "request_id ="}, "feed_pkey": {"only_row ="},
	} {
		// The newest change is read at the end of the index, without a condition.
		for _, cond := range regexp.MustCompile(`(?:Scan|Backward) using `+index+` on \w+(?: (?:\w|w)?)?\n *(.*)`).FindAllStringSubmatch(plan, -1) {
			for _, column := range columns {
				if !strings.Contains(cond[1], column) {
					t.Errorf("%s does not use %s of %s:\n%s", query, column, index, plan)
				}
			}
		}
	}
	for _, used := range regexp.MustCompile(`using (\w+) on (workflows|revisions|drafts|backups|requests)\b`).FindAllStringSubmatch(plan, -1) {
		switch used[1] {
		case "workflows_pkey", "workflows_created", "workflows_updated", "workflows_titled", "revisions_pkey", "drafts_pkey", "backups_time",
			"requests_pkey":
		default:
			t.Errorf("%s looks into %s:\n%s", query, used[1], plan)
		}
	}
}

func (e *env) exec(t *testing.T, statements ...string) {
	t.Helper()
	for _, statement := range statements {
		if _, err := e.pool.Exec(t.Context(), statement); err != nil {
			t.Fatal(err)
		}
	}
}

func (e *env) addFew(t *testing.T) {
	t.Helper()
	for _, title := range []string{"a", "b", "c"} {
		e.add(t, "globex", title, workflow.Active)
	}
}

// searches checks that terms are looked up along their index alone, by what the server counts: it shows no plan of what a function does.
func (e *env) searches(t *testing.T, terms string, limit any) {
	t.Helper()
	conn, err := e.pool.Acquire(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Release()
	count := func() (table, others, searches int64) {
		t.Helper()
		if _, err := conn.Exec(t.Context(), `SELECT pg_stat_force_next_flush()`); err != nil {
			t.Fatal(err)
		}
		err := conn.QueryRow(t.Context(), `
SELECT t.seq_scan, sum(i.idx_scan) FILTER (WHERE i.indexrelname <> 'workflows_terms')::bigint,
       sum(i.idx_scan) FILTER (WHERE i.indexrelname = 'workflows_terms')::bigint
FROM pg_stat_user_tables t JOIN pg_stat_user_indexes i USING (relid) WHERE t.relname = 'workflows' GROUP BY t.seq_scan`).
			Scan(&table, &others, &searches)
		if err != nil {
			t.Fatal(err)
		}
		return table, others, searches
	}
	table, others, searches := count()
	batch := &pgx.Batch{}
	batch.Queue(`SET LOCAL ROLE catalog_api`)
	batch.Queue(`SELECT set_config('uc.tenant', 'acme', true)`)
	batch.Queue(postgres.PlanAsWritten)
	var found int
	batch.Queue(`SELECT count(*) FROM matching_workflows($1::text::tsquery, $2)`, terms, limit).QueryRow(func(row pgx.Row) error {
		return row.Scan(&found)
	})
	if err := conn.SendBatch(t.Context(), batch).Close(); err != nil {
		t.Fatal(err)
	}
	afterTable, afterOthers, afterSearches := count()
	if found == 0 || afterTable != table || afterOthers != others || afterSearches != searches+1 {
		t.Errorf("a search for %d workflows read the table %d times, other indexes %d times, that of terms %d times; want 0, 0 and 1",
			found, afterTable-table, afterOthers-others, afterSearches-searches)
	}
}

func (e *env) explain(t *testing.T, sql string, args []any) string {
	t.Helper()
	batch := &pgx.Batch{}
	// What calls are planned with: the role that serves them, and one tenant.
	batch.Queue(`SET LOCAL ROLE catalog_api`)
	batch.Queue(`SELECT set_config('uc.tenant', 'acme', true)`)
	batch.Queue(postgres.PlanAsWritten)
	var plan []string
	batch.Queue("EXPLAIN (COSTS OFF) "+sql, args...).Query(func(r pgx.Rows) error {
		var err error
		plan, err = pgx.CollectRows(r, pgx.RowTo[string])
		return err
	})
	if err := e.pool.SendBatch(t.Context(), batch).Close(); err != nil {
		t.Fatal(err)
	}
	return strings.Join(plan, "\n")
}

// explainKept returns the plan that a connection would keep for a statement from now on.
func (e *env) explainKept(t *testing.T, sql string) string {
	t.Helper()
	var parameters []string
	for _, p := range regexp.MustCompile(`\$\d+`).FindAllString(sql, -1) {
		if !slices.Contains(parameters, p) {
			parameters = append(parameters, p)
		}
	}
	conn, err := e.pool.Acquire(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Release()
	results, err := conn.Conn().PgConn().Exec(t.Context(), "BEGIN; SET LOCAL ROLE catalog_api; SELECT set_config('uc.tenant', 'acme', true);"+
		postgres.PlanOnce+"; PREPARE kept AS "+sql+
		"; EXPLAIN (COSTS OFF) EXECUTE kept("+strings.Join(slices.Repeat([]string{"NULL"}, len(parameters)), ", ")+"); DEALLOCATE kept; ROLLBACK").ReadAll()
	if err != nil {
		t.Fatal(err)
	}
	var plan []string
	for _, row := range results[5].Rows {
		plan = append(plan, string(row[0]))
	}
	return strings.Join(plan, "\n")
}
