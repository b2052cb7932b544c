package postgres

import (
	"context"
	"errors"
	"fmt"
	"regexp"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"
)

// tenantSetting is what the policies of the role API compare a row's tenant with. It lasts as long as a transaction does.
const tenantSetting = "uc.tenant"

const bindTenant = `SELECT set_config('` + tenantSetting + `', $1, true)`

// tenantName leaves nothing that would have to be quoted; see Tenant.Begin.
var tenantName = regexp.MustCompile(`^[a-z0-9]{1,32}$`)

var errTenant = errors.New("a call on a tenant's rows names no tenant")

// TenantPool is a pool of connections with the role API. Nothing reaches the database through it but on behalf of one tenant, and then the
// database itself shows and takes no row of another, whatever the statement says.
type TenantPool struct{ pool *pgxpool.Pool }

// OpenTenants makes a TenantPool; it takes the role API whatever the options say. Like Open it does not connect.
func OpenTenants(ctx context.Context, opts Options) (*TenantPool, error) {
	opts.Role = API
	pool, err := Open(ctx, opts)
	if err != nil {
		return nil, err
	}
	return &TenantPool{pool: pool}, nil
}

// Close closes the pool when all its connections have come back.
func (p *TenantPool) Close() { p.pool.Close() }

// Ready is Ready for this pool.
func (p *TenantPool) Ready(ctx context.Context) error { return Ready(ctx, p.pool) }

// Of returns the database as a tenant sees it.
func (p *TenantPool) Of(tenant string) Tenant { return Tenant{pool: p.pool, name: tenant} }

// InTx runs fn inside a transaction that sees one tenant; see the function InTx.
func (p *TenantPool) InTx(ctx context.Context, tenant string, fn func(tx pgx.Tx) error) error {
	return InTx(ctx, p.Of(tenant), fn)
}

// Tenant is the database as one tenant sees it. Each call is a transaction of its own, in one exchange with the server: the statement that
// names the tenant travels with those of the caller.
type Tenant struct {
	pool *pgxpool.Pool
	name string
}

// Begin implements Beginner.
func (t Tenant) Begin(ctx context.Context) (pgx.Tx, error) {
	if !tenantName.MatchString(t.name) {
		return nil, errTenant
	}
	// Two statements in one message cannot have parameters; the name has nothing to quote.
	tx, err := t.pool.BeginTx(ctx, pgx.TxOptions{BeginQuery: `BEGIN; SELECT set_config('` + tenantSetting + `', '` + t.name + `', true)`})
	if err != nil {
		return nil, err
	}
	return filteredTx(tx), nil
}

// Query runs a statement that returns rows, which the caller must read to their end or close.
func (t Tenant) Query(ctx context.Context, sql string, args ...any) (pgx.Rows, error) {
	batch := &pgx.Batch{}
	batch.Queue(sql, args...)
	results, err := t.send(ctx, batch)
	if err != nil {
		return nil, err
	}
	rows, err := results.Query()
	if err != nil {
		return nil, errors.Join(err, results.Close())
	}
	return &tenantRows{Rows: rows, results: results}, nil
}

// QueryRow runs a statement that returns one row at most. Errors come with Scan.
func (t Tenant) QueryRow(ctx context.Context, sql string, args ...any) pgx.Row {
	rows, err := t.Query(ctx, sql, args...)
	return tenantRow{rows: rows, err: err}
}

// Exec runs a statement that returns no rows.
func (t Tenant) Exec(ctx context.Context, sql string, args ...any) (pgconn.CommandTag, error) {
	batch := &pgx.Batch{}
	batch.Queue(sql, args...)
	results, err := t.send(ctx, batch)
	if err != nil {
		return pgconn.CommandTag{}, err
	}
	tag, err := results.Exec()
	// It is committed when the batch is closed.
	if closeErr := results.Close(); err == nil {
		err = closeErr
	}
	return tag, err
}

// SendBatch runs the statements of a batch.
func (t Tenant) SendBatch(ctx context.Context, batch *pgx.Batch) pgx.BatchResults {
	results, err := t.send(ctx, batch)
	if err != nil {
		return failedBatch{err}
	}
	return results
}

// failedBatch are the results of a batch that was not sent.
type failedBatch struct{ err error }

func (f failedBatch) Exec() (pgconn.CommandTag, error) { return pgconn.CommandTag{}, f.err }

func (f failedBatch) Query() (pgx.Rows, error) { return nil, f.err }

func (f failedBatch) QueryRow() pgx.Row { return tenantRow{err: f.err} }

func (f failedBatch) Tx() pgx.Tx { return nil }

func (f failedBatch) Close() error { return f.err }

// Snapshot runs batches that see one tenant in one state of the tables, which the first of them begins. It only reads. End ends it.
type Snapshot struct {
	tenant Tenant
	tx     pgx.Tx
}

// Snapshot returns a snapshot that has not begun.
func (t Tenant) Snapshot() *Snapshot { return &Snapshot{tenant: t} }

// SendBatch runs the statements of a batch, whose results their own functions read when it is closed.
func (s *Snapshot) SendBatch(ctx context.Context, batch *pgx.Batch) pgx.BatchResults {
	if s.tx != nil {
		return s.tx.SendBatch(ctx, batch)
	}
	if !tenantName.MatchString(s.tenant.name) {
		return failedBatch{errTenant}
	}
	first := &pgx.Batch{}
	first.BeginTx(pgx.TxOptions{IsoLevel: pgx.RepeatableRead, AccessMode: pgx.ReadOnly})
	first.Queue(bindTenant, s.tenant.name)
	for _, query := range batch.QueuedQueries {
		query.SQL = filtered(query.SQL)
		first.QueuedQueries = append(first.QueuedQueries, query)
	}
	results := s.tenant.pool.SendBatch(ctx, first)
	s.tx = filteredTx(results.Tx())
	return results
}

// End gives the connection back, also when ctx has ended.
func (s *Snapshot) End(ctx context.Context) {
	if s.tx != nil {
		rollback(ctx, s.tx)
	}
}

// send puts the tenant's name before the statements of a batch and sends them. The results are those of the caller's statements.
func (t Tenant) send(ctx context.Context, batch *pgx.Batch) (pgx.BatchResults, error) {
	if !tenantName.MatchString(t.name) {
		return nil, errTenant
	}
	bound := &pgx.Batch{}
	bound.Queue(bindTenant, t.name)
	for _, query := range batch.QueuedQueries {
		query.SQL = filtered(query.SQL)
		bound.QueuedQueries = append(bound.QueuedQueries, query)
	}
	results := t.pool.SendBatch(ctx, bound)
	if _, err := results.Exec(); err != nil {
		_ = results.Close() // it repeats the error
		return nil, fmt.Errorf("name the tenant: %w", err)
	}
	return results, nil
}

// tenantRows are the rows of a batch's last statement: with them the batch ends, and gives the connection back.
type tenantRows struct {
	pgx.Rows
	results pgx.BatchResults // nil once closed
	err     error
}

func (r *tenantRows) Next() bool {
	if r.Rows.Next() {
		return true
	}
	r.Close()
	return false
}

func (r *tenantRows) Close() {
	r.Rows.Close()
	if r.results != nil {
		r.err = r.results.Close()
		r.results = nil
	}
}

func (r *tenantRows) Err() error {
	if err := r.Rows.Err(); err != nil {
		return err
	}
	return r.err
}

type tenantRow struct {
	rows pgx.Rows
	err  error
}

func (r tenantRow) Scan(dest ...any) error {
	if r.err != nil {
		return r.err
	}
	defer r.rows.Close()
	if !r.rows.Next() {
		if err := r.rows.Err(); err != nil {
			return err
		}
		return pgx.ErrNoRows
	}
	if err := r.rows.Scan(dest...); err != nil {
		return err
	}
	r.rows.Close()
	return r.rows.Err()
}
