package postgres

import (
	"context"
	"errors"
	"fmt"

	"github.com/jackc/pgx/v5"

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
	return s.once(ctx, request{methodUpdate, c.Key, c.RequestID}, func(tx pgx.Tx) (record.Record, error) {
		before, err := oneRecord(ctx, tx, lockRecord, c.Key)
		if err != nil {
			return record.Record{}, err
		}
		return change(ctx, tx, before, c)
	})
}

func change(ctx context.Context, tx pgx.Tx, before record.Record, c record.Change) (record.Record, error) {
	after, err := before.Apply(c)
	if err != nil {
		return record.Record{}, err
	}
	after, err = scanRecord(tx.QueryRow(ctx, changeRecord, c.Tenant, c.Module, c.ID, after.Fields, after.Version))
	if err != nil {
		return record.Record{}, fmt.Errorf("change record: %w", err)
	}
	return after, nil
}

const (
	nextNumber   = `SELECT nextval('record_numbers')`
	createRecord = `
INSERT INTO records (tenant, module, id, fields, version)
VALUES ($1, $2, $3, $4, $5)
RETURNING tenant, module, id, fields, version, create_time, update_time`
)

// Create adds a record once per request id, and answers a repetition as it answered the first time.
func (s *Store) Create(ctx context.Context, c record.Creation) (record.Record, error) {
	if !record.IsModule(c.Module) {
		return record.Record{}, record.NoModule(c.Module)
	}
	req := request{methodCreate, record.Key{Tenant: c.Tenant, Module: c.Module}, c.RequestID}
	return s.once(ctx, req, func(tx pgx.Tx) (record.Record, error) {
		var number int64
		if err := tx.QueryRow(ctx, nextNumber).Scan(&number); err != nil {
			return record.Record{}, fmt.Errorf("take a number: %w", err)
		}
		r := c.Record(number)
		r, err := scanRecord(tx.QueryRow(ctx, createRecord, r.Tenant, r.Module, r.ID, r.Fields, r.Version))
		if err != nil {
			return record.Record{}, fmt.Errorf("insert record: %w", err)
		}
		return r, nil
	})
}

// searchRecords goes through the records of a module in the order of their ids.
const searchRecords = `
SELECT tenant, module, id, fields, version, create_time, update_time
FROM records WHERE tenant = $1 AND module = $2 AND id > $3
ORDER BY id LIMIT $4`

// Search returns a page of the records that match, and whether there are more. The sandbox is small: what the conditions say is
// looked up in each record.
func (s *Store) Search(ctx context.Context, q record.Query) (page []record.Record, more bool, err error) {
	if !record.IsModule(q.Module) {
		return nil, false, record.NoModule(q.Module)
	}
	if err := q.Check(); err != nil {
		return nil, false, err
	}
	for after := q.After; ; {
		rows, err := s.pool.Query(ctx, searchRecords, q.Tenant, q.Module, after, maxList)
		if err != nil {
			return nil, false, failed("search records", err)
		}
		some, err := pgx.CollectRows(rows, scanRecord)
		if err != nil {
			return nil, false, failed("search records", err)
		}
		for _, r := range some {
			if !q.Matches(r) {
				continue
			}
			if len(page) == q.Limit {
				return page, true, nil
			}
			page = append(page, r)
		}
		if len(some) < maxList {
			return page, false, nil
		}
		after = some[len(some)-1].ID
	}
}

const (
	deleteUpdates = `DELETE FROM updates WHERE tenant = $1 AND module = $2 AND ($3 = '' OR record_id = $3)`
	deleteRecords = `DELETE FROM records WHERE tenant = $1 AND module = $2 AND ($3 = '' OR id = $3)`
	// The turns begin anew with the module.
	deleteTurns = `DELETE FROM turns WHERE tenant = $1 AND module = $2 AND $3 = ''`
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
		for _, query := range []string{deleteRecords, deleteUpdates, deleteTurns} {
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

// oneRecord returns the record, or the fault that there is none.
func oneRecord(ctx context.Context, q querier, query string, k record.Key) (record.Record, error) {
	r, err := scanRecord(q.QueryRow(ctx, query, k.Tenant, k.Module, k.ID))
	if errors.Is(err, pgx.ErrNoRows) {
		return record.Record{}, record.NotFound(k)
	}
	return r, err
}

// scanRecord reads the columns that every query of records names, in their order.
func scanRecord[R interface{ Scan(dest ...any) error }](row R) (r record.Record, err error) {
	err = row.Scan(&r.Tenant, &r.Module, &r.ID, &r.Fields, &r.Version, &r.CreateTime, &r.UpdateTime)
	return r, err
}
