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

// The calls that a request id may belong to.
const (
	methodUpdate = "update"
	methodCreate = "create"
	methodAssign = "assign"
)

// request is a call that has its effect once.
type request struct {
	method string
	// key names the record; a call that creates has none yet.
	key record.Key
	id  string
}

// Requests with one id wait for each other, so that the second finds the first one's answer.
const lockRequest = `SELECT pg_advisory_xact_lock(hashtextextended($1 || ' ' || $2, 0))`

// once runs do in a transaction unless the request was answered before; then it returns that answer.
func (s *Store) once(ctx context.Context, r request, do func(tx pgx.Tx) (record.Record, error)) (record.Record, error) {
	var after record.Record
	err := postgres.InTx(ctx, s.pool, func(tx pgx.Tx) error {
		if _, err := tx.Exec(ctx, lockRequest, r.key.Tenant, r.id); err != nil {
			return fmt.Errorf("lock request id: %w", err)
		}
		known, found, err := answered(ctx, tx, r)
		if err != nil || found {
			after = known
			return err
		}
		if after, err = do(tx); err != nil {
			return err
		}
		return remember(ctx, tx, r, after)
	})
	if postgres.IsDataError(err) {
		return record.Record{}, fault.Invalid(fault.Violation{Field: "fields", Description: "hold a character that cannot be stored"}).WithCause(err)
	}
	if err != nil {
		return record.Record{}, failed(r.method+" record", err)
	}
	return after, nil
}

const getAnswer = `
SELECT method, tenant, module, record_id, fields, version, create_time, update_time
FROM updates WHERE tenant = $1 AND request_id = $2`

// answered returns what the request id was answered before.
func answered(ctx context.Context, tx pgx.Tx, req request) (r record.Record, found bool, err error) {
	var method string
	err = tx.QueryRow(ctx, getAnswer, req.key.Tenant, req.id).
		Scan(&method, &r.Tenant, &r.Module, &r.ID, &r.Fields, &r.Version, &r.CreateTime, &r.UpdateTime)
	if errors.Is(err, pgx.ErrNoRows) {
		return record.Record{}, false, nil
	}
	if err != nil {
		return record.Record{}, false, fmt.Errorf("look up request id: %w", err)
	}
	// A repeated request may differ in what it computed anew, such as a time; it is the request that has its effect once.
	same := method == req.method && r.Module == req.key.Module && (req.key.ID == "" || req.key.ID == r.ID)
	if !same {
		return record.Record{}, false, fault.FailedPrecondition(record.ReasonRequestIDReused, "the request id was used before for another request")
	}
	return r, true, nil
}

const insertAnswer = `
INSERT INTO updates (method, tenant, request_id, module, record_id, fields, version, create_time, update_time)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)`

func remember(ctx context.Context, tx pgx.Tx, req request, r record.Record) error {
	_, err := tx.Exec(ctx, insertAnswer, req.method, r.Tenant, req.id, r.Module, r.ID, r.Fields, r.Version, r.CreateTime, r.UpdateTime)
	if err != nil {
		return fmt.Errorf("remember request id: %w", err)
	}
	return nil
}
