package postgres_test

import (
	"fmt"
	"regexp"
	"slices"
	"strings"
	"testing"

	"workflow.uniconnect/services/executor/internal/postgres"
)

// TestPlans_on_empty_tables looks at the plans that accept and flush keep for the life of a connection. Made while the tables are empty, when
// all indexes cost the same, each must still find its rows by every column of the index it uses.
func TestPlans_on_empty_tables(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	conn, err := f.pool.Acquire(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Release()
	exec := func(sql string) {
		t.Helper()
		if _, err := conn.Conn().PgConn().Exec(t.Context(), sql).ReadAll(); err != nil {
			t.Fatal(err)
		}
	}
	exec(`SET plan_cache_mode = force_generic_plan`)
	for name, value := range postgres.Parameters() {
		exec(fmt.Sprintf("SET %s = %s", name, value))
	}
	for name, sql := range postgres.KeptQueries() {
		t.Run(name, func(t *testing.T) {
			exec("PREPARE " + name + " AS " + sql)
			parameters := map[string]struct{}{}
			for _, p := range regexp.MustCompile(`\$\d+`).FindAllString(sql, -1) {
				parameters[p] = struct{}{}
			}
			args := slices.Repeat([]string{"NULL"}, len(parameters))
			if name == "flush" { // the bounds keep the partitions in the plan
				args[24], args[25] = "'00000000-0000-0000-0000-000000000000'", "'ffffffff-ffff-ffff-ffff-ffffffffffff'"
			}
			results, err := conn.Conn().PgConn().Exec(t.Context(), "EXPLAIN EXECUTE "+name+"("+strings.Join(args, ", ")+")").ReadAll()
			if err != nil {
				t.Fatal(err)
			}
			var plan []string
			for _, row := range results[0].Rows {
				plan = append(plan, string(row[0]))
			}
			for i, line := range plan {
				if strings.Contains(line, "Seq Scan") {
					t.Errorf("reads a table from end to end: %s", line)
				}
				if strings.Contains(line, "workflow_id_id_idx") && !strings.Contains(plan[i+1], "workflow_id =") {
					t.Errorf("reads all of a tenant: %s %s", line, plan[i+1])
				}
			}
			if name == "flush" && !strings.Contains(strings.Join(plan, "\n"), "Index Scan using executions_") {
				t.Errorf("the plan does not show the history:\n%s", strings.Join(plan, "\n"))
			}
		})
	}
}
