// Package postgres stores executions: what was asked to start, what is live, what steps did, and who owns what. All SQL of the service
// is here, one file per statement that matters. Writes are batches that span tenants; every predicate is on (tenant, id).
package postgres

import (
	"context"
	"embed"
	"fmt"
	"io/fs"
	"sync"

	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"

	"workflow.uniconnect/pkg/postgres"
)

// Schema is where the tables live.
const Schema = "executor"

//go:embed migrations/*.sql
var migrations embed.FS

// Parameters are the planner's settings under which the engine's statements run. Accept and flush are prepared once and keep their plans:
// each looks rows up by key, a few hundred at a time, and must not come to read a table from end to end because it was empty when the
// plan was made.
func Parameters() map[string]string {
	return map[string]string{"enable_seqscan": "off", "enable_hashjoin": "off", "enable_mergejoin": "off"}
}

// Migrate brings the schema up to date and makes the partitions of the coming weeks.
func Migrate(ctx context.Context, url string) error {
	files, err := fs.Sub(migrations, "migrations")
	if err != nil {
		return fmt.Errorf("open embedded migrations: %w", err)
	}
	if err := postgres.Migrate(ctx, url, Schema, files, postgres.API, postgres.Worker); err != nil {
		return err
	}
	pool, err := postgres.Open(ctx, postgres.Options{URL: url, Schema: Schema, Role: postgres.Worker, Name: "executor migrate", MaxConns: 2})
	if err != nil {
		return err
	}
	defer pool.Close()
	return New(pool).MakePartitions(ctx)
}

// Store reaches the tables for all tenants; a Reader does for one.
type Store struct {
	pool    *pgxpool.Pool
	accepts sync.Pool // of *columns, for the statement of Accept
	flushes sync.Pool // of *columns, for the statement of Flush
}

// New returns a store on pool, whose role is Worker and whose search path is Schema.
func New(pool *pgxpool.Pool) *Store {
	return &Store{
		pool:    pool,
		accepts: sync.Pool{New: func() any { return newAcceptColumns() }},
		flushes: sync.Pool{New: func() any { return newFlushColumns() }},
	}
}

// Ready reports whether the database takes writes.
func (s *Store) Ready(ctx context.Context) error {
	if err := postgres.Ready(ctx, s.pool); err != nil {
		return err
	}
	return postgres.UpToDate(ctx, s.pool, migrations)
}

// execBinary runs a prepared statement with parameters in binary form and hands each row of the answer to fn. The values are valid
// during the call of fn only. The statement is a transaction of its own.
func (s *Store) execBinary(ctx context.Context, name, sql string, params [][]byte, fn func(row [][]byte)) error {
	conn, err := s.pool.Acquire(ctx)
	if err != nil {
		return fmt.Errorf("acquire connection: %w", err)
	}
	defer conn.Release()
	// pgx remembers what this connection has prepared: after the first time this is a look into a map.
	if _, err := conn.Conn().Prepare(ctx, name, sql); err != nil {
		return fmt.Errorf("prepare %s: %w", name, err)
	}
	binaryFormat := []int16{1} // of all parameters, and of all columns of the answer
	reader := conn.Conn().PgConn().ExecPrepared(ctx, name, params, binaryFormat, binaryFormat)
	return drain(reader, fn)
}

func drain(reader *pgconn.ResultReader, fn func(row [][]byte)) error {
	for reader.NextRow() {
		fn(reader.Values())
	}
	_, err := reader.Close()
	return err
}
