//go:build tenantblind

package postgres

import (
	"context"
	"regexp"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
)

// ownFilter is a predicate of a statement that names the tenant.
var ownFilter = regexp.MustCompile(`\b(?:[a-z]+\.)?tenant = \$(\d+)\b`)

// filtered takes a statement's own filters on the tenant away: for the test of the walls between tenants alone, which must hold without.
func filtered(sql string) string { return ownFilter.ReplaceAllString(sql, `($$$1::text IS NOT NULL)`) }

func filteredTx(tx pgx.Tx) pgx.Tx { return blindTx{tx} }

type blindTx struct{ pgx.Tx }

func (t blindTx) Exec(ctx context.Context, sql string, args ...any) (pgconn.CommandTag, error) {
	return t.Tx.Exec(ctx, filtered(sql), args...)
}

func (t blindTx) Query(ctx context.Context, sql string, args ...any) (pgx.Rows, error) {
	return t.Tx.Query(ctx, filtered(sql), args...)
}

func (t blindTx) QueryRow(ctx context.Context, sql string, args ...any) pgx.Row {
	return t.Tx.QueryRow(ctx, filtered(sql), args...)
}

func (t blindTx) SendBatch(ctx context.Context, batch *pgx.Batch) pgx.BatchResults {
	for _, query := range batch.QueuedQueries {
		query.SQL = filtered(query.SQL)
	}
	return t.Tx.SendBatch(ctx, batch)
}
