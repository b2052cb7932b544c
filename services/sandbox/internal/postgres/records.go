package postgres

import (
	"context"
	"errors"
	"fmt"

	"github.com/jackc/pgx/v5"

	"workflow.uniconnect/pkg/fault"
	"workflow.uniconnect/pkg/postgres"
	"workflow.uniconnect/services/sandbox/internal/record"
)

const maxList = 1000

const getRecord = `
SELECT tenant, module, id, fields, version, create_time, update_time
FROM records WHERE tenant = $1 AND module = $2 AND id = $3`

// Record returns one record.
func (s *Store) Record(ctx context.Context, k record.Key) (record.Record, error) {
	r, err := oneRecord(ctx, s.pool, getRecord, k)
	if errors.Is(err, pgx.ErrNoRows) {
		return record.Record{}, record.NotFound(k)
	}
	if err != nil {
		return record.Record{}, failed("get record", err)
	}
	return r, nil
}

const listRecords = `
SELECT tenant, module, id, fields, version, create_time, update_time
FROM records WHERE tenant = $1 AND module = $2
ORDER BY id LIMIT $3`

// Records returns the records of a module in the order of their ids.
func (s *Store) Records(ctx context.Context, tenant, module string) ([]record.Record, error) {
	rows, err := s.pool.Query(ctx, listRecords, tenant, module, maxList)
	if err != nil {
		return nil, failed("list records", err)
	}
	all, err := pgx.CollectRows(rows, scanRecord)
	if err != nil {
		return nil, failed("list records", err)
	}
	return all, nil
}

const lockRecord = getRecord + ` FOR UPDATE`

const changeRecord = `
UPDATE records SET fields = $4, version = $5, update_time = clock_timestamp()
WHERE tenant = $1 AND module = $2 AND id = $3
RETURNING tenant, module, id, fields, version, create_time, update_time`

// Update applies a change once per request id, and answers a repetition as it answered the first time.
func (s *Store) Update(ctx context.Context, c record.Change) (record.Record, error) {
	var after record.Record
	err := postgres.InTx(ctx, s.pool, func(tx pgx.Tx) error {
		before, err := oneRecord(ctx, tx, lockRecord, c.Key)
		if errors.Is(err, pgx.ErrNoRows) {
			return record.NotFound(c.Key)
		}
		if err != nil {
			return fmt.Errorf("lock record: %w", err)
		}
		known, found, err := answered(ctx, tx, c)
		if err != nil || found {
			after = known
			return err
		}
		after, err = before.Apply(c)
		if err != nil {
			return err
		}
		row := tx.QueryRow(ctx, changeRecord, c.Tenant, c.Module, c.ID, after.Fields, after.Version)
		if after, err = scanRecord(row); err != nil {
			return fmt.Errorf("change record: %w", err)
		}
		return remember(ctx, tx, c, after)
	})
	if postgres.IsDataError(err) {
		return record.Record{}, fault.Invalid(fault.Violation{Field: "fields", Description: "hold a character that cannot be stored"}).WithCause(err)
	}
	if err != nil {
		return record.Record{}, failed("update record", err)
	}
	return after, nil
}

const getUpdate = `
SELECT tenant, module, record_id, fields, version, create_time, update_time
FROM updates WHERE tenant = $1 AND request_id = $2`

// answered returns what the request id was answered before.
func answered(ctx context.Context, tx pgx.Tx, c record.Change) (r record.Record, found bool, err error) {
	err = tx.QueryRow(ctx, getUpdate, c.Tenant, c.RequestID).
		Scan(&r.Tenant, &r.Module, &r.ID, &r.Fields, &r.Version, &r.CreateTime, &r.UpdateTime)
	if errors.Is(err, pgx.ErrNoRows) {
		return record.Record{}, false, nil
	}
	if err != nil {
		return record.Record{}, false, fmt.Errorf("look up request id: %w", err)
	}
	// A repeated request may differ in what it computed anew, such as a time; it is the request that has its effect once.
	if r.Key != c.Key {
		return record.Record{}, false, errReused()
	}
	return r, true, nil
}

const insertUpdate = `
INSERT INTO updates (tenant, request_id, module, record_id, fields, version, create_time, update_time)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8)
ON CONFLICT DO NOTHING`

func remember(ctx context.Context, tx pgx.Tx, c record.Change, r record.Record) error {
	tag, err := tx.Exec(ctx, insertUpdate,
		c.Tenant, c.RequestID, c.Module, c.ID, r.Fields, r.Version, r.CreateTime, r.UpdateTime)
	if err != nil {
		return fmt.Errorf("remember request id: %w", err)
	}
	if tag.RowsAffected() == 0 {
		// The record was locked, so the one who was faster changes another record.
		return errReused()
	}
	return nil
}

func errReused() error {
	return fault.FailedPrecondition(record.ReasonRequestIDReused, "the request id was used before for another record")
}

const (
	deleteUpdates = `DELETE FROM updates WHERE tenant = $1 AND module = $2 AND ($3 = '' OR record_id = $3)`
	deleteRecords = `DELETE FROM records WHERE tenant = $1 AND module = $2 AND ($3 = '' OR id = $3)`
)

// Reset puts a module, or one record of it when the key names one, back to the seeds.
func (s *Store) Reset(ctx context.Context, k record.Key) error {
	var seeds []record.Record
	for _, r := range record.Seeds() {
		if r.Tenant == k.Tenant && r.Module == k.Module && (k.ID == "" || r.ID == k.ID) {
			seeds = append(seeds, r)
		}
	}
	err := postgres.InTx(ctx, s.pool, func(tx pgx.Tx) error {
		for _, query := range []string{deleteRecords, deleteUpdates} {
			if _, err := tx.Exec(ctx, query, k.Tenant, k.Module, k.ID); err != nil {
				return err
			}
		}
		return insertSeeds(ctx, tx, seeds)
	})
	if err != nil {
		return failed("reset records", err)
	}
	return nil
}

const insertRecord = `
INSERT INTO records (tenant, module, id, fields, version)
VALUES ($1, $2, $3, $4, $5)
ON CONFLICT DO NOTHING`

func insertSeeds(ctx context.Context, tx pgx.Tx, seeds []record.Record) error {
	batch := &pgx.Batch{}
	for _, r := range seeds {
		batch.Queue(insertRecord, r.Tenant, r.Module, r.ID, r.Fields, r.Version)
	}
	if err := tx.SendBatch(ctx, batch).Close(); err != nil {
		return fmt.Errorf("insert seeds: %w", err)
	}
	return nil
}

// querier is a pool or a transaction.
type querier interface {
	QueryRow(ctx context.Context, query string, args ...any) pgx.Row
}

func oneRecord(ctx context.Context, q querier, query string, k record.Key) (record.Record, error) {
	return scanRecord(q.QueryRow(ctx, query, k.Tenant, k.Module, k.ID))
}

// scanRecord reads the columns that every query of records names, in their order.
func scanRecord[R interface{ Scan(dest ...any) error }](row R) (r record.Record, err error) {
	err = row.Scan(&r.Tenant, &r.Module, &r.ID, &r.Fields, &r.Version, &r.CreateTime, &r.UpdateTime)
	return r, err
}
