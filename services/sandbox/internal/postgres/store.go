// Package postgres stores the sandbox's records and recorded requests in the schema sandbox.
package postgres

import (
	"context"
	"embed"
	"fmt"
	"io/fs"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"workflow.uniconnect/pkg/postgres"
	"workflow.uniconnect/services/sandbox/internal/record"
)

// Schema is the sandbox's own.
const Schema = "sandbox"

//go:embed migrations/*.sql
var migrations embed.FS

// Migrate brings the schema up to date and adds the seeds that are missing. Records that exist stay as they are.
func Migrate(ctx context.Context, url string) error {
	files, err := fs.Sub(migrations, "migrations")
	if err != nil {
		return err
	}
	if err := postgres.Migrate(ctx, url, Schema, files); err != nil {
		return err
	}
	pool, err := postgres.Open(ctx, postgres.Options{URL: url, Schema: Schema, Name: "sandbox migrate", MaxConns: 1})
	if err != nil {
		return err
	}
	defer pool.Close()
	err = postgres.InTx(ctx, pool, func(tx pgx.Tx) error { return insertSeeds(ctx, tx, record.Seeds()) })
	return postgres.Classify(err)
}

// Store is the sandbox's memory. It is safe for concurrent use.
type Store struct{ pool *pgxpool.Pool }

// New returns a store on a pool whose search path is Schema.
func New(pool *pgxpool.Pool) *Store { return &Store{pool: pool} }

// failed says what we were doing and gives the database's error its meaning.
func failed(doing string, err error) error {
	return postgres.Classify(fmt.Errorf("%s: %w", doing, err))
}
