package tenancy

import (
	"fmt"
	"io"
	"maps"
	"net/http"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"github.com/jackc/pgx/v5"
)

// ours are the schemas of services that keep data of tenants.
const ours = `'catalog', 'executor', 'scheduler'`

// tenantTables lists the tables that have a tenant; what is in a partition is found through its table.
const tenantTables = `
SELECT n.nspname || '.' || c.relname FROM pg_class c
JOIN pg_namespace n ON n.oid = c.relnamespace JOIN pg_attribute a ON a.attrelid = c.oid AND a.attname = 'tenant' AND NOT a.attisdropped
WHERE n.nspname IN (` + ours + `) AND c.relkind IN ('r', 'p') AND NOT c.relispartition ORDER BY 1`

// schema holds the tables, keys, policies and grants up to the rules. Exceptions are listed with their reason; one that is not needed is
// an error as well.
func (s *system) schema(t *testing.T) {
	t.Run("tables_without_a_tenant", func(t *testing.T) {
		s.compare(t, `
SELECT n.nspname || '.' || c.relname FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE n.nspname IN (`+ours+`) AND c.relkind IN ('r', 'p') AND NOT c.relispartition
  AND NOT EXISTS (SELECT FROM pg_attribute a WHERE a.attrelid = c.oid AND a.attname = 'tenant' AND NOT a.attisdropped)`, map[string]string{
			"catalog.feed":              "one row about the change feed",
			"catalog.known_modules":     "the modules of the platform",
			"catalog.goose_db_version":  "the migrations",
			"executor.goose_db_version": "the migrations", "scheduler.goose_db_version": "the migrations",
			"executor.owners":    "the processes that run",
			"scheduler.watchers": "the processes that watch",
		})
	})
	t.Run("keys_that_do_not_begin_with_the_tenant", func(t *testing.T) {
		s.compare(t, `
SELECT n.nspname || '.' || i.relname FROM pg_index x
JOIN pg_class i ON i.oid = x.indexrelid JOIN pg_class c ON c.oid = x.indrelid JOIN pg_namespace n ON n.oid = c.relnamespace
JOIN pg_attribute tenant ON tenant.attrelid = c.oid AND tenant.attname = 'tenant' AND NOT tenant.attisdropped
WHERE n.nspname IN (`+ours+`) AND NOT c.relispartition AND x.indkey[0] <> tenant.attnum`, map[string]string{
			"catalog.changes_pkey":           "the order of commits, in which the feed is read across tenants",
			"catalog.changes_at":             "the feed is pruned across tenants",
			"catalog.platform_audit_pkey":    "the platform's, not the tenant's",
			"catalog.platform_requests_at":   "pruned across tenants",
			"catalog.platform_requests_pkey": "the platform's, not the tenant's",
			"catalog.requests_at":            "pruned across tenants",
			"catalog.tenant_tombstones_at":   "pruned across tenants",
			"catalog.tenant_tombstones_seq":  "part of the feed",
			"catalog.tenants_finalize":       "the queue of removals, which spans tenants",
			"catalog.tombstones_at":          "pruned across tenants",
			"catalog.tombstones_seq":         "part of the feed",
			"catalog.workflows_finalize":     "the queue of removals, which spans tenants",
			"catalog.workflows_terms":        "each of its terms begins with the tenant",
			"executor.live_owner":            "what a process holds, of all tenants",
			"executor.starts_purge":          "pruned across tenants",
		})
	})
	t.Run("foreign_keys_that_do_not_begin_with_the_tenant", func(t *testing.T) {
		s.compare(t, `
SELECT k.conrelid::regclass || ' to ' || k.confrelid::regclass FROM pg_constraint k JOIN pg_namespace n ON n.oid = k.connamespace
JOIN pg_attribute a ON a.attrelid = k.conrelid AND a.attnum = k.conkey[1] JOIN pg_attribute b ON b.attrelid = k.confrelid AND b.attnum = k.confkey[1]
WHERE n.nspname IN (`+ours+`) AND k.contype = 'f' AND (a.attname <> 'tenant' OR b.attname <> 'tenant')`, map[string]string{
			"catalog.modules to catalog.known_modules": "the modules of the platform have no tenant",
		})
	})
	t.Run("policies", s.policies)
	t.Run("grants", s.grants)
	t.Run("roles", s.roles)
}

// compare holds what a query finds up to what may be there, with the reasons.
func (s *system) compare(t *testing.T, query string, allowed map[string]string) {
	t.Helper()
	rows, err := s.db.Query(t.Context(), query)
	if err != nil {
		t.Fatal(err)
	}
	got, err := pgx.CollectRows(rows, pgx.RowTo[string])
	if err != nil {
		t.Fatal(err)
	}
	slices.Sort(got)
	if diff := cmp.Diff(slices.Sorted(maps.Keys(allowed)), got, cmpopts.EquateEmpty()); diff != "" {
		t.Errorf("-allowed +found:\n%s", diff)
	}
}

const wantPolicy = `(tenant = NULLIF(current_setting('uc.tenant'::text, true), ''::text))`

// policies: row level security is forced on every table with a tenant, and says what it should.
func (s *system) policies(t *testing.T) {
	rows, err := s.db.Query(t.Context(), `
SELECT n.nspname, c.relname, c.relrowsecurity AND c.relforcerowsecurity,
       ARRAY(SELECT array_to_string(p.polroles::regrole[], ',') || ' ' || p.polcmd::text || ' ' || p.polpermissive || ' ' || pg_get_expr(p.polqual, c.oid)
                    || coalesce(' / ' || pg_get_expr(p.polwithcheck, c.oid), '') FROM pg_policy p WHERE p.polrelid = c.oid ORDER BY p.polname),
       has_any_column_privilege(n.nspname || '_api', c.oid, 'SELECT, INSERT, UPDATE') OR has_table_privilege(n.nspname || '_api', c.oid, 'DELETE')
FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE n.nspname || '.' || c.relname IN (`+tenantTables+`)`)
	if err != nil {
		t.Fatal(err)
	}
	var schema, table string
	var forced, reachable bool
	var policies []string
	if _, err := pgx.ForEachRow(rows, []any{&schema, &table, &forced, &policies, &reachable}, func() error {
		want := []string{schema + "_worker * true true"}
		if reachable || len(policies) > 1 {
			want = append(want, schema+"_api * true "+wantPolicy)
		}
		if diff := cmp.Diff(want, policies); diff != "" || !forced {
			t.Errorf("%s.%s: forced %v, policies -want +got:\n%s", schema, table, forced, diff)
		}
		return nil
	}); err != nil {
		t.Fatal(err)
	}
}

// grants: the roles may do what the services do. Whoever adds to the list says why in the migration.
func (s *system) grants(t *testing.T) {
	s.compare(t, `
SELECT DISTINCT n.nspname || '_api may ' || a.privilege_type || ' ' || c.relname
FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace CROSS JOIN LATERAL aclexplode(c.relacl) a JOIN pg_roles r ON r.oid = a.grantee
WHERE r.rolname LIKE '%\_api' AND n.nspname IN (`+ours+`) AND (a.privilege_type NOT IN ('SELECT', 'INSERT', 'UPDATE', 'DELETE')
   OR c.relname LIKE 'audit%' AND a.privilege_type NOT IN ('SELECT', 'INSERT') OR c.relname LIKE 'platform%' OR c.relispartition
   OR n.nspname <> 'catalog' AND a.privilege_type <> 'SELECT' OR r.rolname <> n.nspname || '_api')`, nil)
	s.compare(t, `
SELECT n.nspname || '_worker may ' || a.privilege_type || ' ' || c.relname
FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace CROSS JOIN LATERAL aclexplode(c.relacl) a JOIN pg_roles r ON r.oid = a.grantee
WHERE r.rolname LIKE '%\_worker' AND n.nspname IN (`+ours+`) AND (a.privilege_type NOT IN ('SELECT', 'INSERT', 'UPDATE', 'DELETE', 'USAGE')
   OR c.relname LIKE '%audit%' AND a.privilege_type NOT IN ('SELECT', 'INSERT') OR c.relispartition OR r.rolname <> n.nspname || '_worker')`, nil)
	s.compare(t, `
SELECT n.nspname || '.' || p.proname || coalesce(' for ' || (SELECT string_agg(a.grantee::regrole::text, ',' ORDER BY 1)
       FROM aclexplode(p.proacl) a WHERE a.grantee <> p.proowner), ' for everybody')
FROM pg_proc p JOIN pg_namespace n ON n.oid = p.pronamespace WHERE n.nspname IN (`+ours+`) AND p.prosecdef`, map[string]string{
		"catalog.matching_workflows for catalog_api":  "looks terms up along their index and hands out what the policy would",
		"catalog.erase_audit for catalog_worker":      "erases the audit of a tenant that is on its way out, and of no other",
		"executor.make_partition for executor_worker": "makes a partition, and nothing else",
	})
}

// roles: nobody logs in as one, and they are above nothing.
func (s *system) roles(t *testing.T) {
	s.compare(t, `
SELECT rolname || ' ' || concat_ws(' ', CASE WHEN rolsuper THEN 'super' END, CASE WHEN rolcanlogin THEN 'login' END,
       CASE WHEN rolbypassrls THEN 'bypass' END, CASE WHEN rolcreaterole THEN 'createrole' END, CASE WHEN rolcreatedb THEN 'createdb' END)
FROM pg_roles WHERE rolname ~ '^(catalog|executor|scheduler)_(api|worker)$' AND (rolsuper OR rolcanlogin OR rolbypassrls OR rolcreaterole OR rolcreatedb)`, nil)
	s.compare(t, `
SELECT r.rolname || ' owns ' || c.relname FROM pg_class c JOIN pg_roles r ON r.oid = c.relowner
WHERE r.rolname ~ '^(catalog|executor|scheduler)_(api|worker)$'`, nil)
	s.compare(t, `
SELECT r.rolname || ' may create in ' || n.nspname FROM pg_namespace n, pg_roles r
WHERE r.rolname ~ '^(catalog|executor|scheduler)_(api|worker)$' AND n.nspname IN (`+ours+`) AND has_schema_privilege(r.oid, n.oid, 'CREATE')`, nil)
	var n int
	const known = 6
	if err := s.db.QueryRow(t.Context(), `SELECT count(*) FROM pg_roles WHERE rolname ~ '^(catalog|executor|scheduler)_(api|worker)$'`).Scan(&n); err != nil || n != known {
		t.Errorf("got %d roles %v, want %d", n, err, known)
	}
	// What the processes use: no connection without its role but that of who looks here.
	s.compare(t, `
SELECT DISTINCT a.application_name FROM pg_stat_activity a WHERE a.datname = current_database() AND a.pid <> pg_backend_pid()
  AND a.application_name <> '' AND a.application_name NOT IN ('workflow-catalog', 'workflow-catalog loops', 'executor', 'executor reads',
      'trigger-scheduler', 'trigger-scheduler reads', 'sandbox')`, nil)
}

var label = regexp.MustCompile(`([a-z_]+)="([^"]*)"`)

// metrics carry no label with as many values as there are tenants or things of theirs.
func (s *system) metrics(t *testing.T) {
	text := s.scrape(t)
	series := make(map[string]int)
	for line := range strings.SplitSeq(text, "\n") {
		if strings.HasPrefix(line, "#") || line == "" {
			continue
		}
		name, _, _ := strings.Cut(line, "{")
		series[name]++
		for _, l := range label.FindAllStringSubmatch(line, -1) {
			if l[1] == "tenant" || slices.Contains([]string{attackerTenant, victimTenant}, l[2]) || uuidText.MatchString(l[2]) ||
				strings.Contains(l[2], "@") || strings.Contains(l[2], marker) {
				t.Errorf("a label of unbounded values: %s", line)
			}
		}
	}
	const bound = 2000
	for name, n := range series {
		if n > bound {
			t.Errorf("%s has %d series", name, n)
		}
	}
	t.Log(fmt.Sprint(len(series), " metrics"))
}

func (s *system) scrape(t *testing.T) string {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, s.Workflowd.AdminURL()+"/metrics", http.NoBody)
	if err != nil {
		t.Fatal(err)
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	text, err := io.ReadAll(res.Body)
	if err != nil || res.StatusCode != http.StatusOK {
		t.Fatalf("status %d, %v", res.StatusCode, err)
	}
	return string(text)
}

var uuidText = regexp.MustCompile(`[0-9a-f]{8}-[0-9a-f]{4}-`)
