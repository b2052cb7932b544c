package postgres

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"strings"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
)

// Role is what connections of a service are to the database. Each schema has a role of its own of either kind, which Migrate makes; nobody
// logs in as one.
type Role string

// The roles.
const (
	// API serves calls: row level security shows it one tenant at a time, and it may do no more to a table than calls do.
	API Role = "api"
	// Worker works for all tenants, in loops and batches. Its policies let it see every row; it owns nothing.
	Worker Role = "worker"
)

// In is the role's name in the database for a schema.
func (r Role) In(schema string) string { return schema + "_" + string(r) }

// takesRole checks that a connection is what it was asked to be. The role is a parameter of the connection's start, and a pooler in between
// may have dropped it.
func takesRole(role string) func(context.Context, *pgx.Conn) error {
	return func(ctx context.Context, conn *pgx.Conn) error {
		var is string
		if err := conn.QueryRow(ctx, `SELECT current_user`).Scan(&is); err != nil {
			return fmt.Errorf("ask for the role: %w", err)
		}
		if is != role {
			return &wrongRoleError{is: is, role: role}
		}
		return nil
	}
}

// wrongRoleError says that a connection did not get its role.
type wrongRoleError struct{ is, role string }

func (e *wrongRoleError) Error() string {
	return fmt.Sprintf("the connection has the role %s in place of %s: does a pooler drop startup parameters?", e.is, e.role)
}

// rolesAsked finds out which of a schema's roles there are and which the current user has. Having means inheriting: then the migrations,
// and programs that know no roles yet, see what the roles see.
const rolesAsked = `
SELECT EXISTS (SELECT 1 FROM pg_roles WHERE rolname = $1),
       coalesce((SELECT pg_has_role(oid, 'USAGE') FROM pg_roles WHERE rolname = $1), false),
       quote_ident(current_user)`

// ensureRoles makes the roles of a schema where they are missing and gives them to the current user. Roles belong to the whole server, so
// migrators of other databases may do the same at the same time.
func ensureRoles(ctx context.Context, db *sql.DB, schema string, roles []Role) error {
	var wanted []string
	var refused error
	for _, role := range roles {
		name := role.In(schema)
		var exists, held bool
		var user string
		if err := db.QueryRowContext(ctx, rolesAsked, name).Scan(&exists, &held, &user); err != nil {
			return fmt.Errorf("look for role %s: %w", name, err)
		}
		var statements []string
		if !exists {
			statements = append(statements, `CREATE ROLE `+name+` NOLOGIN`)
		}
		if !held {
			statements = append(statements, `GRANT `+name+` TO `+user)
		}
		for _, statement := range statements {
			_, err := db.ExecContext(ctx, statement)
			switch code := codeOf(err); {
			case code == codeInsufficientPrivilege || code == codeUndefinedObject && refused != nil:
				wanted, refused = append(wanted, statement+";"), err
			case err != nil && code != codeDuplicateObject && code != codeUniqueViolation:
				return fmt.Errorf("%s: %w", statement, err)
			}
		}
	}
	if refused != nil {
		return fmt.Errorf("the user of UC_DATABASE_URL may not make the roles of schema %s; let a superuser run this, then migrate again: %s (%w)",
			schema, strings.Join(wanted, " "), refused)
	}
	return nil
}

// isRoleRefused reports whether a connection was refused because of the role that it asked for: there is none, or the user may not take it.
func isRoleRefused(err error) bool {
	var connecting *pgconn.ConnectError
	var wrong *wrongRoleError
	if errors.As(err, &wrong) {
		return true
	}
	code := codeOf(err)
	return errors.As(err, &connecting) && (code == codeInvalidParameter || code == codeInsufficientPrivilege)
}

// isConcurrentGrant reports whether somebody granted the same to others in the same instant, for which PostgreSQL has no code of its own.
func isConcurrentGrant(err error) bool {
	return codeOf(err) == codeInternal && strings.Contains(err.Error(), "tuple concurrently")
}
