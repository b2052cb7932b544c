package postgres_test

import (
	"context"
	"errors"
	"fmt"
	"go/ast"
	"go/constant"
	"go/parser"
	"go/token"
	"io/fs"
	"maps"
	"os"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5/pgxpool"

	"workflow.uniconnect/pkg/pgtest"
	pgpool "workflow.uniconnect/pkg/postgres"
	"workflow.uniconnect/services/workflow-catalog/internal/postgres"
	"workflow.uniconnect/services/workflow-catalog/internal/tenant"
	"workflow.uniconnect/services/workflow-catalog/internal/workflow"
)

func TestMain(m *testing.M) { os.Exit(pgtest.Main(m)) }

func migrate(ctx context.Context, url string) error {
	files, err := postgres.Migrations()
	if err != nil {
		return err
	}
	return pgpool.Migrate(ctx, url, postgres.Schema, files, pgpool.API, pgpool.Worker)
}

// env is a migrated database with the tenants acme and globex.
type env struct {
	url   string
	pool  *pgxpool.Pool // of a superuser
	store *postgres.Store
}

func newEnv(t *testing.T) *env {
	t.Helper()
	e := &env{url: pgtest.New(t, migrate)}
	e.pool = e.open(t)
	e.store = e.replica(t)
	for _, name := range []string{"acme", "globex"} {
		if _, err := e.store.AddTenant(t.Context(), tenant.Seed{Tenant: name, Title: name, TimeZone: "Europe/Berlin"}); err != nil {
			t.Fatal(err)
		}
	}
	return e
}

// open returns another pool on the database, as another replica has one.
func (e *env) open(t *testing.T) *pgxpool.Pool {
	t.Helper()
	pool, err := pgpool.Open(t.Context(), pgpool.Options{URL: e.url, Schema: postgres.Schema, MaxConns: 16, Prepare: true})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(pool.Close)
	return pool
}

// replica returns another store on the database, as each process has one.
func (e *env) replica(t *testing.T) *postgres.Store {
	t.Helper()
	options := pgpool.Options{URL: e.url, Schema: postgres.Schema, Role: pgpool.Worker, MaxConns: 16, Prepare: true}
	worker, err := pgpool.Open(t.Context(), options)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(worker.Close)
	api, err := pgpool.OpenTenants(t.Context(), options)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(api.Close)
	return postgres.NewStore(api, worker)
}

func newID(t *testing.T) workflow.ID {
	t.Helper()
	id, err := uuid.NewV7()
	if err != nil {
		t.Fatal(err)
	}
	return workflow.ID(id.String())
}

func config(t *testing.T, title string) workflow.Config {
	t.Helper()
	document := fmt.Sprintf(`{"title":%q,"trigger":{"manual":{}},"steps":[{"id":"a","stop":{}}]}`, title)
	c, err := workflow.NewConfig(title, "", []byte(document))
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func call(tenantName workflow.Tenant, method string) workflow.Call {
	return workflow.Call{Tenant: tenantName, Actor: "owner@acme.test", Method: method, Hash: []byte("hash")}
}

// add creates a workflow.
func (e *env) add(t *testing.T, tenantName workflow.Tenant, title string, state workflow.State) workflow.Workflow {
	t.Helper()
	w, err := e.store.Create(t.Context(), call(tenantName, workflow.MethodCreate), workflow.Workflow{
		Tenant: tenantName, ID: newID(t), State: state, Revision: 1, Version: 1, Config: config(t, title),
		CreateUser: "owner@acme.test", UpdateUser: "owner@acme.test",
	})
	if err != nil {
		t.Fatal(err)
	}
	return w
}

// set changes the state of a workflow.
func (e *env) set(t *testing.T, w workflow.Workflow, state workflow.State) workflow.Workflow {
	t.Helper()
	changed, err := e.store.Change(t.Context(), call(w.Tenant, workflow.MethodActivate), workflow.Change{Before: w, State: state})
	if err != nil {
		t.Fatal(err)
	}
	return changed
}

func wantError(t *testing.T, got, want error) {
	t.Helper()
	if !errors.Is(got, want) {
		t.Errorf("error: got %v, want %v", got, want)
	}
}

var (
	sqlStart = regexp.MustCompile(`^\s*(SELECT|INSERT|UPDATE|DELETE|WITH)\b`)
	parts    = regexp.MustCompile(`\x00[A-Za-z]+\x00`)
)

// stringOf returns the text of a string constant, with the names of the constants that it is made of between NULs.
func stringOf(value ast.Expr) string {
	switch v := value.(type) {
	case *ast.BasicLit:
		if v.Kind == token.STRING {
			return constant.StringVal(constant.MakeFromLiteral(v.Value, token.STRING, 0))
		}
	case *ast.BinaryExpr:
		return stringOf(v.X) + stringOf(v.Y)
	case *ast.Ident:
		return "\x00" + v.Name + "\x00"
	}
	return ""
}

// TestQueries_fit_the_schema prepares every constant of the package that is SQL.
func TestQueries_fit_the_schema(t *testing.T) {
	t.Parallel()
	files, err := fs.Glob(os.DirFS("."), "*.go")
	if err != nil {
		t.Fatal(err)
	}
	texts := make(map[string]string)
	for _, name := range files {
		if strings.HasSuffix(name, "_test.go") {
			continue
		}
		file, err := parser.ParseFile(token.NewFileSet(), name, nil, 0)
		if err != nil {
			t.Fatal(err)
		}
		ast.Inspect(file, func(n ast.Node) bool {
			if spec, ok := n.(*ast.ValueSpec); ok {
				for i, value := range spec.Values {
					texts[spec.Names[i].Name] = stringOf(value)
				}
			}
			return true
		})
	}
	queries := postgres.ListQueries()
	maps.Copy(queries, postgres.KeptQueries())
	for name, text := range texts {
		for part := parts.FindString(text); part != ""; part = parts.FindString(text) {
			text = strings.ReplaceAll(text, part, texts[strings.Trim(part, "\x00")])
		}
		if sqlStart.MatchString(text) && !strings.Contains(text, "{type}") && !strings.Contains(text, "{key}") && !strings.Contains(text, "{of}") {
			queries[name] = text
		}
	}
	if len(queries) < 30 {
		t.Errorf("found %d queries, which is too few to be all", len(queries))
	}
	e := newEnv(t)
	pgtest.PrepareAll(t, e.pool, queries)
}

func TestStore_Create(t *testing.T) {
	t.Parallel()
	e := newEnv(t)
	before := time.Now().Add(-time.Second)
	w := e.add(t, "acme", "First", workflow.Active)
	if w.UpdateTime.Before(before) || !w.UpdateTime.Equal(w.CreateTime) || !w.ActiveSince.Equal(w.UpdateTime) {
		t.Errorf("times: created %v, updated %v, active since %v; want one time of now", w.CreateTime, w.UpdateTime, w.ActiveSince)
	}
	got, err := e.store.Get(t.Context(), "acme", w.ID)
	if err != nil {
		t.Fatal(err)
	}
	same(t, w, got)

	t.Run("title_is_taken_within_the_tenant", func(t *testing.T) {
		_, err := e.store.Create(t.Context(), call("acme", workflow.MethodCreate), workflow.Workflow{
			Tenant: "acme", ID: newID(t), State: workflow.Inactive, Revision: 1, Version: 1, Config: config(t, "First")})
		wantError(t, err, workflow.TitleTaken(""))
		if err == nil || !strings.Contains(fmt.Sprintf("%+v", asFault(t, err).Metadata), string(w.ID)) {
			t.Errorf("got %v, want the id of the other workflow", err)
		}
		e.add(t, "globex", "First", workflow.Active)
	})
	t.Run("title_is_free_when_its_owner_goes", func(t *testing.T) {
		e.set(t, w, workflow.Deleting)
		e.add(t, "acme", "First", workflow.Active)
	})
}

func TestStore_Change(t *testing.T) {
	t.Parallel()
	e := newEnv(t)
	w := e.add(t, "acme", "First", workflow.Inactive)
	if !w.ActiveSince.IsZero() {
		t.Errorf("active since: got %v, want none", w.ActiveSince)
	}
	active := e.set(t, w, workflow.Active)
	second := config(t, "Second")
	edited, err := e.store.Change(t.Context(), call("acme", workflow.MethodUpdate), workflow.Change{Before: active, State: active.State, Config: &second, Origin: workflow.Updated})
	if err != nil {
		t.Fatal(err)
	}
	if edited.Revision != 2 || edited.Version != 3 || !edited.ActiveSince.Equal(active.ActiveSince) || !edited.UpdateTime.After(active.UpdateTime) {
		t.Errorf("got revision %d version %d active since %v updated %v; want 2, 3, %v and later than %v",
			edited.Revision, edited.Version, edited.ActiveSince, edited.UpdateTime, active.ActiveSince, active.UpdateTime)
	}
	got, err := e.store.Get(t.Context(), "acme", w.ID)
	if err != nil {
		t.Fatal(err)
	}
	same(t, edited, got)

	t.Run("stale_version", func(t *testing.T) {
		_, err := e.store.Change(t.Context(), call("acme", workflow.MethodUpdate), workflow.Change{Before: active, State: workflow.Inactive})
		wantError(t, err, workflow.ErrStale)
	})
	t.Run("stale_version_while_another_changes_it", func(t *testing.T) {
		tx, err := e.pool.Begin(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		defer tx.Rollback(t.Context())
		if _, err := tx.Exec(t.Context(), `UPDATE workflows SET version = version WHERE tenant = 'acme' AND id = $1`, w.ID); err != nil {
			t.Fatal(err)
		}
		// The other one has the row and will ask for the feed's lock. It must get it, so the loser may not wait for the row behind that lock.
		ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
		defer cancel()
		_, err = e.store.Change(ctx, call("acme", workflow.MethodUpdate), workflow.Change{Before: active, State: workflow.Inactive})
		wantError(t, err, workflow.ErrStale)
	})
	t.Run("other_tenant", func(t *testing.T) {
		foreign := edited
		foreign.Tenant = "globex"
		_, err := e.store.Change(t.Context(), call("globex", workflow.MethodUpdate), workflow.Change{Before: foreign, State: workflow.Inactive})
		wantError(t, err, workflow.ErrStale)
		_, err = e.store.Get(t.Context(), "globex", w.ID)
		wantError(t, err, workflow.ErrNotFound)
		_, err = e.store.AtRevision(t.Context(), "globex", w.ID, 1)
		wantError(t, err, workflow.ErrNotFound)
	})
	t.Run("revisions_stay", func(t *testing.T) {
		for revision, title := range map[int32]string{0: "Second", 1: "First", 2: "Second"} {
			got, err := e.store.AtRevision(t.Context(), "acme", w.ID, revision)
			if err != nil || got.Config.Title != title || got.State != workflow.Active {
				t.Errorf("revision %d: got %q %d %v, want %q and the state of now", revision, got.Config.Title, got.State, err, title)
			}
		}
		_, err := e.store.AtRevision(t.Context(), "acme", w.ID, 3)
		wantError(t, err, workflow.ErrRevisionNotFound)
		if _, err := e.pool.Exec(t.Context(), `UPDATE revisions SET author = 'x'`); err == nil {
			t.Error("a revision could be changed")
		}
		if _, err := e.pool.Exec(t.Context(), `DELETE FROM audit_entries`); err == nil {
			t.Error("the audit could be shortened")
		}
	})
	t.Run("reactivated", func(t *testing.T) {
		off := e.set(t, edited, workflow.Inactive)
		on := e.set(t, off, workflow.Active)
		if !off.ActiveSince.IsZero() || !on.ActiveSince.Equal(on.UpdateTime) {
			t.Errorf("active since: off %v, on %v; want none and %v", off.ActiveSince, on.ActiveSince, on.UpdateTime)
		}
	})
	t.Run("audited", func(t *testing.T) {
		const query = `SELECT count(*), count(before_hash), count(after_hash) FROM audit_entries WHERE tenant = 'acme' AND workflow_id = $1`
		var lines, before, after int
		if err := e.pool.QueryRow(t.Context(), query, w.ID).Scan(&lines, &before, &after); err != nil {
			t.Fatal(err)
		}
		if lines != 5 || before != 4 || after != 5 {
			t.Errorf("audit: got %d lines, %d before, %d after; want 5, 4, 5", lines, before, after)
		}
	})
}

func TestStore_AddTenant(t *testing.T) {
	t.Parallel()
	e := newEnv(t)
	directory := tenant.NewDirectory(e.store, []string{"workflow.view", "workflow.edit", "audit.view"})
	seed := tenant.Seed{
		Tenant: "initech", Title: "Initech", TimeZone: "Asia/Tokyo",
		Roles: []tenant.Role{{Title: "Viewer", Permissions: []string{"workflow.view"}}},
		Users: []tenant.User{
			{Subject: "owner", Roles: []string{tenant.RoleSystemOwner}},
			{Subject: "viewer", Roles: []string{"Viewer", tenant.RoleUser}},
		},
	}
	for range 2 { // the second time changes nothing
		if _, err := directory.Ensure(t.Context(), seed); err != nil {
			t.Fatal(err)
		}
	}
	for _, c := range []struct {
		tenant, subject, roles, permissions, modules string
	}{
		{"initech", "owner", "System Owner", "audit.view workflow.edit workflow.view", "workflow"},
		{"initech", "viewer", "User Viewer", "workflow.view", "workflow"},
		{"initech", "stranger", "", "", "workflow"},
		{"acme", "owner", "", "", "workflow"},
		{"nowhere", "owner", "", "", ""},
	} {
		p, err := directory.Profile(t.Context(), c.tenant, tenant.Who{Subject: c.subject})
		got := fmt.Sprint(strings.Join(p.Roles, " "), "|", strings.Join(p.Permissions, " "), "|", strings.Join(p.Modules, " "))
		if want := fmt.Sprint(c.roles, "|", c.permissions, "|", c.modules); err != nil || got != want {
			t.Errorf("%s of %s: got %s %v, want %s", c.subject, c.tenant, got, err, want)
		}
	}
	for name, change := range map[string]func(*tenant.Seed){
		"tenant":     func(s *tenant.Seed) { s.Tenant = "a.b" },
		"zone":       func(s *tenant.Seed) { s.TimeZone = "Mars/Olympus" },
		"permission": func(s *tenant.Seed) { s.Roles = []tenant.Role{{Title: "x", Permissions: []string{"workflow.fly"}}} },
		"role":       func(s *tenant.Seed) { s.Users = []tenant.User{{Subject: "u", Roles: []string{"Nobody"}}} },
		"role_twice": func(s *tenant.Seed) { s.Roles = []tenant.Role{{Title: tenant.RoleUser}} },
	} {
		bad := seed
		bad.Tenant = "other"
		change(&bad)
		if _, err := directory.Ensure(t.Context(), bad); err == nil {
			t.Errorf("%s: a bad seed is accepted", name)
		}
	}
}
