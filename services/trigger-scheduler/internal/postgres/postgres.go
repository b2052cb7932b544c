// Package postgres keeps the scheduler's dead letters and watchers.
package postgres

import (
	"context"
	"embed"
	"fmt"
	"io/fs"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"

	"workflow.uniconnect/pkg/postgres"
)

// Schema holds all tables of the service.
const Schema = "scheduler"

//go:embed migrations/*.sql
var migrations embed.FS

// Migrate brings the schema up to date.
func Migrate(ctx context.Context, url string) error {
	files, err := fs.Sub(migrations, "migrations")
	if err != nil {
		return err
	}
	return postgres.Migrate(ctx, url, Schema, files, postgres.API, postgres.Worker)
}

// Store is the storage for all tenants; a Reader reads for one.
type Store struct {
	pool *pgxpool.Pool
}

// NewStore returns the storage on a pool whose role is Worker and whose search path is Schema.
func NewStore(pool *pgxpool.Pool) *Store { return &Store{pool: pool} }

// Reader reads what calls ask for, of one tenant at a time.
type Reader struct{ pool *postgres.TenantPool }

// NewReader returns a reader on a pool whose search path is Schema.
func NewReader(pool *postgres.TenantPool) *Reader { return &Reader{pool: pool} }

// Ready checks that the database answers.
func (r *Reader) Ready(ctx context.Context) error { return r.pool.Ready(ctx) }

// callTimeout is how long a call waits for a database that has taken it and says nothing: the server's own limits do not help against a
// server that hangs. It is a little above the limit on statements.
const callTimeout = 5 * time.Second

// exec runs one statement in its own transaction.
func (s *Store) exec(ctx context.Context, what, query string, args ...any) error {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	if _, err := s.pool.Exec(ctx, query, args...); err != nil {
		return postgres.Classify(fmt.Errorf("%s: %w", what, err))
	}
	return nil
}

// Ready checks that the database accepts writes.
func (s *Store) Ready(ctx context.Context) error {
	if err := postgres.Ready(ctx, s.pool); err != nil {
		return err
	}
	return postgres.UpToDate(ctx, s.pool, migrations)
}
