package postgres

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"hash/fnv"
	"io/fs"
	"math/rand/v2"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/jackc/pgx/v5/stdlib"
	"github.com/pressly/goose/v3"
	"github.com/pressly/goose/v3/lock"

	"workflow.uniconnect/pkg/fault"
)

const (
	migrateLockTimeout  = 4 * time.Second
	migrateAttempts     = 15
	migrateBackoff      = time.Second
	migratorWaitSeconds = 300
)

// Migrate brings a schema up to the newest of the *.sql files in fsys, creating
// the schema when it is missing. The list of applied versions is kept inside
// the schema. Any number of processes may call it at once: one works, the
// others wait for it.
//
// A migration waits for a table's lock for a few seconds only, since everything
// else queues up behind it, and is tried again later. The connection must be a
// direct one, not through a pooler, because the lock among migrators belongs to
// the session.
//
// Before that it makes the roles of the schema that are named here; migrations
// may grant to them.
func Migrate(ctx context.Context, url, schema string, fsys fs.FS, roles ...Role) error {
	db, err := openForMigration(url, schema)
	if err != nil {
		return err
	}
	err = migrate(ctx, db, schema, fsys, roles)
	return errors.Join(err, db.Close())
}

func openForMigration(url, schema string) (*sql.DB, error) {
	if !schemaName.MatchString(schema) {
		return nil, fmt.Errorf("schema name %q is not a plain lower-case identifier", schema)
	}
	if url == "" {
		return nil, errNoURL
	}
	cfg, err := pgx.ParseConfig(url)
	if err != nil {
		return nil, fmt.Errorf("database URL: %w", err)
	}
	// As options of the connection's start they survive a RESET.
	cfg.RuntimeParams["search_path"] = schema
	cfg.RuntimeParams["lock_timeout"] = millis(migrateLockTimeout)
	cfg.RuntimeParams["statement_timeout"] = "0"
	cfg.RuntimeParams["application_name"] = "migrate " + schema
	harden(cfg)
	return stdlib.OpenDB(*cfg), nil
}

func migrate(ctx context.Context, db *sql.DB, schema string, fsys fs.FS, roles []Role) error {
	for attempt := 1; ; attempt++ {
		err := migrateOnce(ctx, db, schema, fsys, roles)
		if err == nil {
			return nil
		}
		if !worthAnotherMigration(err) || attempt == migrateAttempts {
			return Classify(fmt.Errorf("migrate schema %s: %w", schema, err))
		}
		if waitErr := wait(ctx, migrateBackoff+rand.N(migrateBackoff)); waitErr != nil {
			return fmt.Errorf("migrate schema %s: %w: %w", schema, waitErr, err)
		}
	}
}

// worthAnotherMigration: somebody held a lock, or made the schema in the same
// instant. What was applied stays applied, the next try goes on from there.
func worthAnotherMigration(err error) bool {
	return isRetryable(err) || codeOf(err) == codeLockNotAvailable || codeOf(err) == codeDuplicateSchema ||
		IsUnique(err, "pg_namespace_nspname_index") || isConcurrentGrant(err)
}

func migrateOnce(ctx context.Context, db *sql.DB, schema string, fsys fs.FS, roles []Role) error {
	if err := ensureSchema(ctx, db, schema); err != nil {
		return fmt.Errorf("create schema: %w", err)
	}
	if err := ensureRoles(ctx, db, schema, roles); err != nil {
		return err
	}
	// A locker counts its tries over its whole life, so each attempt has its own.
	locker, err := lock.NewPostgresSessionLocker(
		lock.WithLockID(lockID(schema)),
		lock.WithLockTimeout(1, migratorWaitSeconds),
	)
	if err != nil {
		return fmt.Errorf("make the migrators' lock: %w", err)
	}
	provider, err := goose.NewProvider(goose.DialectPostgres, db, fsys,
		goose.WithSessionLocker(locker), goose.WithDisableGlobalRegistry(true))
	if err != nil {
		return fmt.Errorf("read migrations: %w", err)
	}
	if _, err := provider.Up(ctx); err != nil {
		return fmt.Errorf("apply: %w", err)
	}
	return nil
}

// versionSQL asks what goose has applied.
const versionSQL = `SELECT COALESCE(max(version_id), 0) FROM goose_db_version WHERE is_applied`

// UpToDate reports an error when the schema of the pool lacks a migration of fsys: a program must not serve on a schema that it does not
// know. A newer schema is fine, since migrations only add. The error is public, so that whoever asks for readiness reads what to do.
func UpToDate(ctx context.Context, pool *pgxpool.Pool, fsys fs.FS) error {
	var newest int64
	err := fs.WalkDir(fsys, ".", func(path string, _ fs.DirEntry, err error) error {
		if err != nil || !strings.HasSuffix(path, ".sql") {
			return err
		}
		version, err := goose.NumericComponent(path)
		newest = max(newest, version)
		return err
	})
	if err != nil {
		return fmt.Errorf("list migrations: %w", err)
	}
	var applied int64
	if err := pool.QueryRow(ctx, versionSQL).Scan(&applied); err != nil {
		if codeOf(err) == codeUndefinedTable {
			return fault.Unavailable(ReasonDatabaseUnavailable, "the schema is not there: run the migrate verb")
		}
		return Classify(fmt.Errorf("read the schema's version: %w", err))
	}
	if applied < newest {
		return fault.Unavailable(ReasonDatabaseUnavailable,
			fmt.Sprintf("the schema is at version %d, this program needs %d: run the migrate verb", applied, newest))
	}
	return nil
}

// ensureSchema looks first, since a role that may not create schemas can well
// be the owner of one.
func ensureSchema(ctx context.Context, db *sql.DB, schema string) error {
	var exists bool
	err := db.QueryRowContext(ctx, `SELECT to_regnamespace($1) IS NOT NULL`, schema).Scan(&exists)
	if err != nil || exists {
		return err
	}
	_, err = db.ExecContext(ctx, `CREATE SCHEMA IF NOT EXISTS `+pgx.Identifier{schema}.Sanitize())
	return err
}

// lockID separates the migrators of different schemas in one database.
func lockID(schema string) int64 {
	h := fnv.New64a()
	_, _ = h.Write([]byte("uniconnect migrate " + schema)) // a hash accepts everything
	return int64(h.Sum64())
}
