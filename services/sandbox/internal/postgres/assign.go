package postgres

import (
	"context"
	"fmt"
	"slices"

	"github.com/jackc/pgx/v5"

	"workflow.uniconnect/pkg/fault"
	"workflow.uniconnect/services/sandbox/internal/record"
)

// Assign gives a record an owner, once per request id. The turn of a round robin lives in the same transaction: it advances exactly when
// the record gets its owner.
func (s *Store) Assign(ctx context.Context, a record.Assignment) (record.Record, error) {
	if err := a.Check(); err != nil {
		return record.Record{}, err
	}
	return s.once(ctx, request{methodAssign, a.Key, a.RequestID}, func(tx pgx.Tx) (record.Record, error) {
		before, err := oneRecord(ctx, tx, lockRecord, a.Key)
		if err != nil {
			return record.Record{}, err
		}
		fields := map[string]any{"owner": nil, "group": a.Group}
		if a.Strategy == record.ToGroup {
			_, err = oneRecord(ctx, tx, getRecord, record.Key{Tenant: a.Tenant, Module: record.Groups, ID: a.Group})
		} else {
			fields = map[string]any{}
			fields["owner"], err = owner(ctx, tx, a)
		}
		if err != nil {
			return record.Record{}, err
		}
		return change(ctx, tx, before, record.Change{Key: a.Key, Fields: fields})
	})
}

// owner chooses the user.
func owner(ctx context.Context, tx pgx.Tx, a record.Assignment) (string, error) {
	users, err := candidates(ctx, tx, a)
	if err != nil {
		return "", err
	}
	switch a.Strategy {
	case record.RoundRobin:
		return nextInTurn(ctx, tx, a, users)
	case record.LeastLoaded:
		return leastLoaded(ctx, tx, a, users)
	default:
		return users[0], nil
	}
}

const listUserIDs = `SELECT id FROM records WHERE tenant = $1 AND module = 'users' ORDER BY id`

// candidates are the users to choose from: at least one, and all of them known to the CRM.
func candidates(ctx context.Context, tx pgx.Tx, a record.Assignment) ([]string, error) {
	rows, err := tx.Query(ctx, listUserIDs, a.Tenant)
	if err != nil {
		return nil, fmt.Errorf("list users: %w", err)
	}
	known, err := pgx.CollectRows(rows, pgx.RowTo[string])
	if err != nil {
		return nil, fmt.Errorf("list users: %w", err)
	}
	users, field := known, "users"
	switch {
	case len(a.Users) > 0:
		users = a.Users
	case a.Group != "":
		group, err := oneRecord(ctx, tx, getRecord, record.Key{Tenant: a.Tenant, Module: record.Groups, ID: a.Group})
		if err != nil {
			return nil, err
		}
		users, field = record.Members(group), "group"
	}
	if len(users) == 0 {
		return nil, fault.Invalid(fault.Violation{Field: field, Description: "leaves no user to choose", Reason: fault.ReasonFieldRule})
	}
	for _, id := range users {
		if !slices.Contains(known, id) {
			return nil, fault.Invalid(fault.Violation{Field: field, Description: fmt.Sprintf("names %q, who is not a user", id), Reason: fault.ReasonFieldRule})
		}
	}
	return users, nil
}

const takeTurn = `
INSERT INTO turns (tenant, module, pool, taken) VALUES ($1, $2, $3, 1)
ON CONFLICT (tenant, module, pool) DO UPDATE SET taken = turns.taken + 1
RETURNING taken - 1`

func nextInTurn(ctx context.Context, tx pgx.Tx, a record.Assignment, users []string) (string, error) {
	var taken int64
	if err := tx.QueryRow(ctx, takeTurn, a.Tenant, a.Module, a.Pool()).Scan(&taken); err != nil {
		return "", fmt.Errorf("take the turn: %w", err)
	}
	return users[taken%int64(len(users))], nil
}

const (
	// Two assignments at the same time would otherwise count the same load.
	lockLoads  = `SELECT pg_advisory_xact_lock(hashtextextended('loads ' || $1 || ' ' || $2, 0))`
	countLoads = `
SELECT fields->>'owner', count(*) FROM records
WHERE tenant = $1 AND module = $2 AND id <> $3
  AND fields->>'owner' = ANY($4::text[]) AND NOT coalesce(fields->>'status', '') = ANY($5::text[])
GROUP BY 1`
)

func leastLoaded(ctx context.Context, tx pgx.Tx, a record.Assignment, users []string) (string, error) {
	if _, err := tx.Exec(ctx, lockLoads, a.Tenant, a.Module); err != nil {
		return "", fmt.Errorf("lock the loads: %w", err)
	}
	rows, err := tx.Query(ctx, countLoads, a.Tenant, a.Module, a.ID, users, record.ClosedStatuses())
	if err != nil {
		return "", fmt.Errorf("count the loads: %w", err)
	}
	loads := make(map[string]int64, len(users))
	var user string
	var load int64
	if _, err := pgx.ForEachRow(rows, []any{&user, &load}, func() error { loads[user] = load; return nil }); err != nil {
		return "", fmt.Errorf("count the loads: %w", err)
	}
	return slices.MinFunc(users, func(a, b string) int { return int(loads[a] - loads[b]) }), nil
}
