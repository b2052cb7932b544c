// Package postgres keeps the scheduler's dead letters and watchers.
package postgres

import (
	"context"
	"embed"
	"io/fs"

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
	return postgres.Migrate(ctx, url, Schema, files)
}

// Store is the storage.
type Store struct {
	pool *pgxpool.Pool
}

// NewStore returns the storage on a pool whose search path is Schema.
func NewStore(pool *pgxpool.Pool) *Store { return &Store{pool: pool} }

// Ready checks that the database accepts writes.
func (s *Store) Ready(ctx context.Context) error { return postgres.Ready(ctx, s.pool) }
