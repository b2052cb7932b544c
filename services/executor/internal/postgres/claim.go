package postgres

import (
	"context"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"

	"workflow.uniconnect/pkg/postgres"
	"workflow.uniconnect/services/executor/internal/execution"
	"workflow.uniconnect/services/executor/internal/run"
)

// tenantsSQL begins a statement with the tenants that have rows without an owner, found by jumps through the index; the last is NULL.
const tenantsSQL = `
WITH RECURSIVE tenant (tenant) AS (
	(SELECT l.tenant FROM live l WHERE l.owner IS NULL ORDER BY l.tenant LIMIT 1)
	UNION ALL
	SELECT (SELECT l.tenant FROM live l WHERE l.owner IS NULL AND l.tenant > t.tenant ORDER BY l.tenant LIMIT 1)
	FROM tenant t WHERE t.tenant IS NOT NULL
)`

// claimSQL takes due rows: waits that are over, retries, overflow, and what dead owners left. It gives each tenant with due rows the
// same share of the free slots, less where the tenant is near its limit, and takes each tenant's oldest rows. When there are fewer slots
// than tenants, those that hold least come first, of them those that have waited longest. Rows that another process is claiming are
// passed over.
const claimSQL = tenantsSQL + `, hungry AS MATERIALIZED (
	SELECT t.tenant, coalesce(b.used, 0) AS used, o.wake_at
	FROM tenant t
	CROSS JOIN LATERAL (
		SELECT l.wake_at FROM live l WHERE l.owner IS NULL AND l.tenant = t.tenant AND l.wake_at <= now() ORDER BY l.wake_at LIMIT 1
	) o
	LEFT JOIN unnest($2::text[], $3::int4[]) AS b (tenant, used) ON b.tenant = t.tenant
	WHERE t.tenant IS NOT NULL
), share AS MATERIALIZED (
	SELECT h.tenant, least(ceil($4::int4::numeric / count(*) OVER ())::int4,
		CASE WHEN count(*) OVER () > 1 OR EXISTS (SELECT 1 FROM unnest($6::text[]) AS w (tenant) WHERE w.tenant <> h.tenant) THEN greatest($5::int4 - h.used, 0) ELSE $4 END) AS slots
	FROM hungry h
	ORDER BY h.used, h.wake_at
), due AS MATERIALIZED (
	SELECT d.tenant, d.id
	FROM share s CROSS JOIN LATERAL (
		SELECT l.tenant, l.id FROM live l
		WHERE l.owner IS NULL AND l.tenant = s.tenant AND l.wake_at <= now()
		ORDER BY l.wake_at
		LIMIT s.slots
		FOR UPDATE SKIP LOCKED
	) d
	LIMIT $4
), claimed AS (
	UPDATE live l SET owner = $1
	FROM due d WHERE l.tenant = d.tenant AND l.id = d.id
	RETURNING l.tenant, l.id, l.workflow_id, l.revision, l.epoch, l.seq, l.wake_at
)
SELECT c.tenant, c.id, c.workflow_id, c.revision, c.epoch, c.seq, c.wake_at,
	e.cause_kind, e.nominal_time, e.traceparent, e.event
FROM claimed c JOIN executions e ON e.tenant = c.tenant AND e.workflow_id = c.workflow_id AND e.id = c.id`

// journalSQL reads what the claimed executions recorded before.
const journalSQL = `
SELECT i.ord, s.ord, s.path, s.step_id, s.attempt, s.state, s.start_time, s.end_time, s.wake_time, s.output, s.error
FROM unnest($1::int4[], $2::text[], $3::uuid[]) AS i (ord, tenant, id)
JOIN step_results s ON s.tenant = i.tenant AND s.execution_id = i.id
ORDER BY i.ord, s.ord`

// nextWakeSQL is the time until the nearest row becomes claimable; one look into the index for each tenant.
const nextWakeSQL = tenantsSQL + `
SELECT extract(epoch FROM min(n.wake_at) - now())::float8
FROM tenant t CROSS JOIN LATERAL (
	SELECT l.wake_at FROM live l WHERE l.owner IS NULL AND l.tenant = t.tenant ORDER BY l.wake_at LIMIT 1
) n
WHERE t.tenant IS NOT NULL`

// handBackSQL locks the rows before it looks whose they are: a claim whose commit is still under way is waited for. A row that was taken up
// again since has another epoch.
const handBackSQL = `
WITH locked AS MATERIALIZED (
	SELECT l.tenant, l.id, l.owner, l.epoch, c.epoch AS claimed
	FROM unnest($2::text[], $3::uuid[], $4::int4[]) AS c (tenant, id, epoch)
	JOIN live l ON l.tenant = c.tenant AND l.id = c.id
	ORDER BY l.tenant, l.id
	FOR UPDATE OF l
)
UPDATE live l SET owner = NULL, epoch = l.epoch + 1, wake_at = now()
FROM locked WHERE locked.owner = $1 AND locked.epoch = locked.claimed AND l.tenant = locked.tenant AND l.id = locked.id`

// Claim takes due executions for the owner and returns them with their journals. With an error it returns those that may belong to the
// owner all the same, or come to, since the outcome of a commit can stay unknown: the caller must HandBack those.
func (s *Store) Claim(ctx context.Context, owner execution.OwnerID, request execution.ClaimRequest) ([]execution.Claimed, error) {
	tenants := make([]string, 0, len(request.Used))
	used := make([]int32, 0, len(request.Used))
	for tenant, n := range request.Used {
		tenants = append(tenants, tenant)
		used = append(used, int32(n))
	}
	var claimed []execution.Claimed
	err := postgres.InTx(ctx, s.pool, func(tx pgx.Tx) error {
		rows, err := tx.Query(ctx, claimSQL, [16]byte(owner), tenants, used, request.Limit, request.TenantLimit, request.Waiting)
		if err != nil {
			return err
		}
		claimed, err = pgx.CollectRows(rows, scanClaimed)
		return err
	})
	if err != nil {
		return claimed, postgres.Classify(fmt.Errorf("claim: %w", err))
	}
	if err := s.readJournals(ctx, claimed); err != nil {
		return claimed, err
	}
	return claimed, nil
}

// HandBack makes claimed executions claimable again. After an error it must be called again, or they may stay with the owner for as long as
// its lease.
func (s *Store) HandBack(ctx context.Context, owner execution.OwnerID, claimed []execution.Claimed) error {
	tenants := make([]string, len(claimed))
	ids := make([][16]byte, len(claimed))
	epochs := make([]int32, len(claimed))
	for i := range claimed {
		tenants[i], ids[i], epochs[i] = claimed[i].Tenant, claimed[i].ID, claimed[i].Epoch
	}
	if _, err := s.pool.Exec(ctx, handBackSQL, [16]byte(owner), tenants, ids, epochs); err != nil {
		return postgres.Classify(fmt.Errorf("hand back claimed executions: %w", err))
	}
	return nil
}

func scanClaimed(row pgx.CollectableRow) (execution.Claimed, error) {
	var c execution.Claimed
	var nominal *time.Time
	err := row.Scan(&c.Tenant, (*[16]byte)(&c.ID), (*[16]byte)(&c.WorkflowID), &c.Revision, &c.Epoch, &c.Seq, &c.WakeTime,
		&c.CauseKind, &nominal, &c.Traceparent, &c.Event)
	if nominal != nil {
		c.NominalTime = *nominal
	}
	return c, err
}

// readJournals fills in what was recorded before. An execution without records has sequence 0 and is not asked for.
func (s *Store) readJournals(ctx context.Context, claimed []execution.Claimed) error {
	var ords []int32
	var tenants []string
	var ids [][16]byte
	for i := range claimed {
		if claimed[i].Seq > 0 {
			ords = append(ords, int32(i))
			tenants = append(tenants, claimed[i].Tenant)
			ids = append(ids, claimed[i].ID)
		}
	}
	if len(ords) == 0 {
		return nil
	}
	rows, err := s.pool.Query(ctx, journalSQL, ords, tenants, ids)
	if err != nil {
		return postgres.Classify(fmt.Errorf("read journals: %w", err))
	}
	defer rows.Close()
	for rows.Next() {
		var at, ord int32
		result, err := scanResult(rows, &at, &ord)
		if err != nil {
			return fmt.Errorf("read journals: %w", err)
		}
		claimed[at].Journal = append(claimed[at].Journal, result)
		claimed[at].Results = max(claimed[at].Results, ord+1)
	}
	if err := rows.Err(); err != nil {
		return postgres.Classify(fmt.Errorf("read journals: %w", err))
	}
	return nil
}

func scanResult(rows pgx.Rows, before ...any) (run.Result, error) {
	var r run.Result
	var end, wake *time.Time
	var failure []byte
	into := append(before, &r.Path, &r.StepID, &r.Attempt, &r.State, &r.StartTime, &end, &wake, (*[]byte)(&r.Output), &failure)
	if err := rows.Scan(into...); err != nil {
		return r, err
	}
	if end != nil {
		r.EndTime = *end
	}
	if wake != nil {
		r.WakeTime = *wake
	}
	var err error
	r.Err, err = parseError(failure)
	return r, err
}

// NextWake returns how long it takes until the nearest row becomes claimable, at most limit. It is negative for how long one is overdue.
func (s *Store) NextWake(ctx context.Context, limit time.Duration) (time.Duration, error) {
	var seconds *float64
	if err := s.pool.QueryRow(ctx, nextWakeSQL).Scan(&seconds); err != nil {
		return 0, postgres.Classify(fmt.Errorf("read next wake time: %w", err))
	}
	if seconds == nil || *seconds > limit.Seconds() {
		return limit, nil
	}
	return time.Duration(*seconds * float64(time.Second)), nil
}
