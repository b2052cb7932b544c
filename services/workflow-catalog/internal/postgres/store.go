// Package postgres stores what the catalog owns. Each method is one transaction or one query; the SQL stands beside it. Every predicate
// on a tenant's data names the tenant, except those of the feed and of the loops that work for all tenants.
package postgres

import (
	"context"
	"embed"
	"fmt"
	"io/fs"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"workflow.uniconnect/pkg/postgres"
)

// Schema is the schema that the catalog's tables live in.
const Schema = "catalog"

//go:embed migrations/*.sql
var migrations embed.FS

// Migrations returns the files that build the schema.
func Migrations() (fs.FS, error) { return fs.Sub(migrations, "migrations") }

// Store keeps the catalog's data. It implements what the domain packages ask of storage.
type Store struct{ pool *pgxpool.Pool }

// NewStore returns a Store on a pool whose search path is Schema.
func NewStore(pool *pgxpool.Pool) *Store { return &Store{pool: pool} }

// inTx runs one transaction and gives errors their meaning for callers.
func (s *Store) inTx(ctx context.Context, what string, fn func(tx pgx.Tx) error) error {
	if err := postgres.InTx(ctx, s.pool, fn); err != nil {
		return postgres.Classify(fmt.Errorf("%s: %w", what, err))
	}
	return nil
}

// Ready reports whether the database takes writes and the schema is the one that this program knows.
func (s *Store) Ready(ctx context.Context) error {
	if err := postgres.Ready(ctx, s.pool); err != nil {
		return err
	}
	return postgres.UpToDate(ctx, s.pool, migrations)
}
