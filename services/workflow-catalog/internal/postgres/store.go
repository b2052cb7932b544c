// Package postgres stores what the catalog owns. Each method is one transaction or one query; the SQL stands beside it. Every predicate
// on a tenant's data names the tenant, except those of the feed and of the loops that work for all tenants.
package postgres

import (
	"context"
	"embed"
	"io/fs"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"workflow.uniconnect/pkg/postgres"
	"workflow.uniconnect/services/workflow-catalog/internal/workflow"
)

// Schema is the schema that the catalog's tables live in.
const Schema = "catalog"

//go:embed migrations/*.sql
var migrations embed.FS

// Migrations returns the files that build the schema.
func Migrations() (fs.FS, error) { return fs.Sub(migrations, "migrations") }

// Store keeps the catalog's data. It implements what the domain packages ask of storage. What serves a call of a tenant goes through api,
// where the database shows that tenant alone; what works for all of them, or for the platform, goes through pool.
type Store struct {
	api  *postgres.TenantPool
	pool *pgxpool.Pool
}

// NewStore returns a Store on two pools whose search path is Schema. The role of worker is Worker.
func NewStore(api *postgres.TenantPool, worker *pgxpool.Pool) *Store {
	return &Store{api: api, pool: worker}
}

// of returns the database as a tenant sees it.
func (s *Store) of(tenant workflow.Tenant) postgres.Tenant { return s.api.Of(string(tenant)) }

// inTenant runs one transaction that sees a tenant and gives errors their meaning for callers.
func (s *Store) inTenant(ctx context.Context, tenant workflow.Tenant, what string, fn func(tx pgx.Tx) error) error {
	return wrap(what, s.api.InTx(ctx, string(tenant), fn))
}

// inTx runs one transaction that sees all tenants and gives errors their meaning for callers.
func (s *Store) inTx(ctx context.Context, what string, fn func(tx pgx.Tx) error) error {
	return wrap(what, postgres.InTx(ctx, s.pool, fn))
}

// Ready reports whether the database takes writes and the schema is the one that this program knows.
func (s *Store) Ready(ctx context.Context) error {
	if err := postgres.Ready(ctx, s.pool); err != nil {
		return err
	}
	if err := s.api.Ready(ctx); err != nil {
		return err
	}
	return postgres.UpToDate(ctx, s.pool, migrations)
}
