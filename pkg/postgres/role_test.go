package postgres_test

import (
	"context"
	"crypto/rand"
	"errors"
	"net/url"
	"os"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/jackc/pgx/v5"

	"workflow.uniconnect/pkg/fault"
	"workflow.uniconnect/pkg/pgtest"
	"workflow.uniconnect/pkg/postgres"
)

// login makes a user of the server who owns a database, and returns the database's URL for the user and for a superuser.
func login(t *testing.T, attributes string) (user, own, super string) {
	t.Helper()
	super = pgtest.New(t, nil)
	user = "login_" + strings.ToLower(rand.Text())
	admin := connect(t, super)
	run(t, admin, `CREATE ROLE `+user+` LOGIN `+attributes)
	t.Cleanup(func() {
		conn, err := pgx.Connect(context.WithoutCancel(t.Context()), super)
		if err != nil {
			t.Error(err)
			return
		}
		defer conn.Close(context.WithoutCancel(t.Context()))
		if _, err := conn.Exec(context.WithoutCancel(t.Context()), `REASSIGN OWNED BY `+user+` TO CURRENT_USER; DROP OWNED BY `+user+`; DROP ROLE `+user); err != nil {
			t.Error(err)
		}
	})
	u, err := url.Parse(super)
	if err != nil {
		t.Fatal(err)
	}
	run(t, admin, `ALTER DATABASE `+strings.TrimPrefix(u.Path, "/")+` OWNER TO `+user)
	query := u.Query()
	if u.User != nil {
		u.User = url.User(user)
	} else {
		query.Set("user", user)
	}
	u.RawQuery = query.Encode()
	return user, u.String(), super
}

func connect(t *testing.T, url string) *pgx.Conn {
	t.Helper()
	conn, err := pgx.Connect(t.Context(), url)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close(context.WithoutCancel(t.Context())) })
	return conn
}

func run(t *testing.T, conn *pgx.Conn, sql string) {
	t.Helper()
	if _, err := conn.Exec(t.Context(), sql); err != nil {
		t.Fatalf("%s: %v", sql, err)
	}
}

// roleNames makes a schema whose roles no other test has: roles belong to the server.
func schemaOfItsOwn() (string, fstest.MapFS) {
	schema := "s_" + strings.ToLower(rand.Text())
	return schema, fstest.MapFS{"00001_things.sql": {Data: []byte(strings.NewReplacer("app_", schema+"_", "SCHEMA app", "SCHEMA "+schema).Replace(walled))}}
}

func TestMigrate_MakesRoles(t *testing.T) {
	t.Parallel()
	schema, files := schemaOfItsOwn()
	_, own, super := login(t, "CREATEROLE")
	for range 2 {
		if err := postgres.Migrate(t.Context(), own, schema, files, postgres.API, postgres.Worker); err != nil {
			t.Fatal(err)
		}
	}
	t.Cleanup(func() { dropRoles(t, super, schema) })
	pool, err := postgres.OpenTenants(t.Context(), postgres.Options{URL: own, Schema: schema})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(pool.Close)
	if err := pool.Ready(t.Context()); err != nil {
		t.Error(err)
	}
	var n int
	if err := pool.Of("acme").QueryRow(t.Context(), `SELECT count(*) FROM things`).Scan(&n); n != 2 || err != nil {
		t.Errorf("rows of acme: got %d, %v; want 2", n, err)
	}
	// What knows no roles, such as a later migration or a program of the release before, sees what it saw.
	plain := open(t, postgres.Options{URL: own, Schema: schema})
	if err := plain.QueryRow(t.Context(), `SELECT count(*) FROM things`).Scan(&n); n != 4 || err != nil {
		t.Errorf("rows without a role: got %d, %v; want 4", n, err)
	}
}

func dropRoles(t *testing.T, super, schema string) {
	t.Helper()
	ctx := context.WithoutCancel(t.Context())
	conn, err := pgx.Connect(ctx, super)
	if err != nil {
		t.Error(err)
		return
	}
	defer conn.Close(ctx)
	api, worker := postgres.API.In(schema), postgres.Worker.In(schema)
	if _, err := conn.Exec(ctx, `DROP OWNED BY `+api+`, `+worker+`; DROP ROLE `+api+`, `+worker); err != nil {
		t.Error(err)
	}
}

// A user who may not make roles is told what somebody else has to run, and that it is enough.
func TestMigrate_SaysWhatAnAdministratorMustRun(t *testing.T) {
	t.Parallel()
	schema, files := schemaOfItsOwn()
	_, own, super := login(t, "")
	err := postgres.Migrate(t.Context(), own, schema, files, postgres.API, postgres.Worker)
	if err == nil {
		t.Fatal("roles were made without the right to")
	}
	_, after, found := strings.Cut(err.Error(), "then migrate again: ")
	statements, _, ended := strings.Cut(after, " (")
	if !found || !ended || strings.Count(statements, ";") != 4 {
		t.Fatalf("the error names no four statements: %v", err)
	}
	run(t, connect(t, super), statements)
	t.Cleanup(func() { dropRoles(t, super, schema) })
	if err := postgres.Migrate(t.Context(), own, schema, files, postgres.API, postgres.Worker); err != nil {
		t.Errorf("after %s: %v", statements, err)
	}
}

func TestReady_SaysThatTheRoleIsMissing(t *testing.T) {
	t.Parallel()
	_, own, super := login(t, "")
	schema, _ := schemaOfItsOwn()
	for _, url := range []string{super, own} {
		pool := open(t, postgres.Options{URL: url, Schema: schema, Role: postgres.Worker})
		err := postgres.Ready(t.Context(), pool)
		if f, ok := fault.As(err); !ok || f.Kind != fault.KindUnavailable || !strings.Contains(f.Message, "migrate") {
			t.Errorf("got %v, want unavailable and what to do", err)
		}
	}
	// The role is there, and is not the user's.
	conn := connect(t, super)
	run(t, conn, `CREATE ROLE `+postgres.Worker.In(schema)+`; CREATE ROLE `+postgres.API.In(schema))
	t.Cleanup(func() { dropRoles(t, super, schema) })
	pool := open(t, postgres.Options{URL: own, Schema: schema, Role: postgres.Worker})
	if f, ok := fault.As(postgres.Ready(t.Context(), pool)); !ok || f.Kind != fault.KindUnavailable || !strings.Contains(f.Message, "migrate") {
		t.Errorf("got %v, want unavailable and what to do", f)
	}
}

// A pooler in between may drop the parameter that asks for the role. Such a connection is not used.
func TestOpen_NoticesALostRole(t *testing.T) {
	t.Parallel()
	conn := connect(t, pgtest.New(t, nil))
	if err := postgres.TakesRole(t.Context(), conn, "app_api"); err == nil || !strings.Contains(err.Error(), "pooler") {
		t.Errorf("got %v, want that the role was lost", err)
	}
}

func TestOpen_RefusesARoleWithoutASchema(t *testing.T) {
	t.Parallel()
	pool, err := postgres.Open(t.Context(), postgres.Options{URL: os.Getenv(pgtest.URLEnv), Role: postgres.API})
	if err == nil {
		pool.Close()
		err = errors.New("it was opened")
	}
	if !strings.Contains(err.Error(), "schema") {
		t.Error(err)
	}
}
