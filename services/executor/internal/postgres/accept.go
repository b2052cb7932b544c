package postgres

import (
	"bytes"
	"cmp"
	"context"
	"fmt"
	"slices"

	"github.com/jackc/pgx/v5"

	"workflow.uniconnect/pkg/fault"
	"workflow.uniconnect/pkg/postgres"
	"workflow.uniconnect/services/executor/internal/execution"
)

// acceptSQL settles a batch in one statement: who wins its key is accepted, written to the history and made live. A key can be won
// again by what was published after it expired, but never by the item that holds it: that one went through before, in a try whose end was
// not seen. The answer is the ids that won; why others did not is asked apart, since it is rare.
const acceptSQL = `
WITH item AS (
	SELECT * FROM unnest($1::text[], $2::bytea[], $3::uuid[], $4::uuid[], $5::int4[], $6::int8[], $7::uuid[],
		$8::int2[], $9::text[], $10::text[], $11::text[], $12::timestamptz[], $13::text[], $14::text[], $15::timestamptz[])
	AS i (tenant, key, workflow_id, id, revision, ttl_us, owner,
		cause_kind, cause_id, cause_type, cause_source, nominal_time, traceparent, event, published_at)
), won AS (
	INSERT INTO starts AS s (tenant, key, workflow_id, outcome, execution_id, published_at, expires_at, purge_at)
	SELECT i.tenant, i.key, i.workflow_id, 1, i.id, COALESCE(i.published_at, now()), now() + i.ttl_us * interval '1 microsecond',
		GREATEST(now() + i.ttl_us * interval '1 microsecond', COALESCE(i.published_at, now()) + interval '8 days')
	FROM item i
	WHERE NOT EXISTS (SELECT 1 FROM tombstones t WHERE t.tenant = i.tenant AND t.workflow_id = i.workflow_id)
		AND NOT EXISTS (SELECT 1 FROM tenant_tombstones d WHERE d.tenant = i.tenant AND d.create_time > now() - interval '30 days')
	ON CONFLICT (tenant, key) DO UPDATE
	SET workflow_id = EXCLUDED.workflow_id, outcome = EXCLUDED.outcome,
		execution_id = EXCLUDED.execution_id, published_at = EXCLUDED.published_at,
		expires_at = EXCLUDED.expires_at, purge_at = EXCLUDED.purge_at
	WHERE s.expires_at < EXCLUDED.published_at AND s.execution_id <> EXCLUDED.execution_id
	RETURNING s.execution_id
), accepted AS MATERIALIZED (
	-- IS TRUE keeps this a hashed subplan: as a join the planner, who expects ten rows, might compare all with all.
	SELECT * FROM item i WHERE (i.id IN (SELECT w.execution_id FROM won w)) IS TRUE
), history AS (
	INSERT INTO executions (tenant, id, workflow_id, revision, state, attempt, cause_kind, cause_id, cause_type, cause_source,
		nominal_time, create_time, traceparent, event)
	SELECT tenant, id, workflow_id, revision, 1, 0, cause_kind, cause_id, cause_type, cause_source,
		nominal_time, now(), traceparent, event
	FROM accepted
), started AS (
	INSERT INTO live (tenant, id, workflow_id, revision, owner, epoch, seq, wake_at)
	SELECT tenant, id, workflow_id, revision, owner, 1, 0, now() FROM accepted
)
SELECT execution_id FROM won`

// settledSQL tells how items that did not win were settled.
const settledSQL = `
SELECT i.ord, s.execution_id, t.tenant IS NOT NULL
	OR EXISTS (SELECT 1 FROM tenant_tombstones d WHERE d.tenant = i.tenant AND d.create_time > now() - interval '30 days')
FROM unnest($1::int4[], $2::text[], $3::bytea[], $4::uuid[]) AS i (ord, tenant, key, workflow_id)
LEFT JOIN starts s ON s.tenant = i.tenant AND s.key = i.key
LEFT JOIN tombstones t ON t.tenant = i.tenant AND t.workflow_id = i.workflow_id`

func newAcceptColumns() *columns {
	return newColumns(0, oidText, oidByte, oidUUID, oidUUID, oidInt4, oidInt8, oidUUID,
		oidInt2, oidText, oidText, oidText, oidTime, oidText, oidText, oidTime)
}

// Accept settles a batch in one transaction and answers each item in order. Those that start with Owned set belong to owner. An item
// whose data cannot be stored is refused by itself. After an error nothing is known: the same batch can be given again, and items that
// went through are answered as started.
func (s *Store) Accept(ctx context.Context, owner execution.OwnerID, items []execution.Accept) ([]execution.Verdict, error) {
	verdicts := make([]execution.Verdict, len(items))
	order := make([]int32, len(items))
	for i := range order {
		order[i] = int32(i)
	}
	// One order for all writers, or two batches with the same keys would wait for each other.
	slices.SortStableFunc(order, func(a, b int32) int {
		return cmp.Or(cmp.Compare(items[a].Tenant, items[b].Tenant), bytes.Compare(items[a].Key[:], items[b].Key[:]))
	})
	unique := order[:0:len(order)]
	var repeated [][2]int32 // an item and the one before it with the same key
	for _, at := range order {
		if n := len(unique); n > 0 && sameKey(&items[unique[n-1]], &items[at]) {
			repeated = append(repeated, [2]int32{at, unique[n-1]})
			continue
		}
		unique = append(unique, at)
	}
	if err := s.accept(ctx, owner, items, unique, verdicts); err != nil {
		return nil, err
	}
	for _, pair := range repeated {
		v := verdicts[pair[1]]
		if v.Outcome == execution.Started {
			v.Outcome = execution.Duplicate
		}
		verdicts[pair[0]] = v
	}
	return verdicts, nil
}

func sameKey(a, b *execution.Accept) bool { return a.Key == b.Key && a.Tenant == b.Tenant }

// accept settles the items named by order, and halves the batch as long as it contains one that cannot be stored.
func (s *Store) accept(ctx context.Context, owner execution.OwnerID, items []execution.Accept, order []int32, verdicts []execution.Verdict) error {
	if len(order) == 0 {
		return nil
	}
	won, err := s.insertStarts(ctx, owner, items, order)
	switch {
	case postgres.IsDataError(err) && len(order) == 1:
		verdicts[order[0]] = execution.Verdict{Outcome: execution.Refused, Reason: execution.ReasonUnstorable}
		return nil
	case postgres.IsDataError(err):
		half := len(order) / 2
		if err := s.accept(ctx, owner, items, order[:half], verdicts); err != nil {
			return err
		}
		return s.accept(ctx, owner, items, order[half:], verdicts)
	case err != nil:
		return postgres.Classify(fmt.Errorf("accept %d starts: %w", len(order), err))
	}
	if len(won) == len(order) {
		for _, at := range order {
			verdicts[at] = execution.Verdict{Outcome: execution.Started, ID: items[at].ID}
		}
		return nil
	}
	winners := make(map[execution.ID]struct{}, len(won))
	for _, id := range won {
		winners[id] = struct{}{}
	}
	var rest []int32
	for _, at := range order {
		if _, ok := winners[items[at].ID]; !ok {
			rest = append(rest, at)
			continue
		}
		verdicts[at] = execution.Verdict{Outcome: execution.Started, ID: items[at].ID}
	}
	return s.settled(ctx, items, rest, verdicts)
}

func (s *Store) insertStarts(ctx context.Context, owner execution.OwnerID, items []execution.Accept, order []int32) ([]execution.ID, error) {
	c, _ := s.accepts.Get().(*columns)
	defer s.accepts.Put(c)
	defer c.release()
	c.reset()
	for _, at := range order {
		i := &items[at]
		ttl := i.KeyTTL
		if ttl <= 0 {
			ttl = execution.DefaultKeyTTL
		}
		a := c.arrays
		a[0].text(i.Tenant)
		a[1].raw(i.Key[:])
		a[2].uuid(i.WorkflowID)
		a[3].uuid(i.ID)
		a[4].int4(i.Revision)
		a[5].int8(ttl.Microseconds())
		if i.Owned {
			a[6].uuid(owner)
		} else {
			a[6].null()
		}
		a[7].int2(int16(i.Cause.Kind))
		a[8].text(i.Cause.ID)
		a[9].text(i.Cause.Type)
		a[10].text(i.Cause.Source)
		a[11].time(i.Cause.NominalTime)
		a[12].text(i.Traceparent)
		a[13].raw(i.Event)
		a[14].time(i.PublishTime)
	}
	won := make([]execution.ID, 0, len(order))
	err := s.execBinary(ctx, "executor_accept", acceptSQL, c.params(), func(row [][]byte) {
		won = append(won, execution.ID(row[0]))
	})
	return won, err
}

// settled answers the items that did not win their key. An item that meets its own id went through before, in a try whose end was not
// seen.
func (s *Store) settled(ctx context.Context, items []execution.Accept, rest []int32, verdicts []execution.Verdict) error {
	var tenants []string
	var keys [][]byte
	var workflows [][16]byte
	for _, at := range rest {
		tenants = append(tenants, items[at].Tenant)
		keys = append(keys, items[at].Key[:])
		workflows = append(workflows, items[at].WorkflowID)
	}
	rows, err := s.pool.Query(ctx, settledSQL, rest, tenants, keys, workflows)
	if err != nil {
		return postgres.Classify(fmt.Errorf("read how starts were settled: %w", err))
	}
	var at int32
	var winner *[16]byte
	var deleted bool
	_, err = pgx.ForEachRow(rows, []any{&at, &winner, &deleted}, func() error {
		switch {
		case deleted:
			verdicts[at] = execution.Verdict{Outcome: execution.Refused, Reason: execution.ReasonWorkflowDeleted}
		case winner == nil:
			// The winner's key expired and was removed between the two statements: asking again will win.
			verdicts[at] = execution.Verdict{Outcome: execution.Refused, Reason: fault.ReasonServiceUnavailable, Retryable: true}
		case *winner == items[at].ID:
			verdicts[at] = execution.Verdict{Outcome: execution.Started, ID: *winner}
		default:
			verdicts[at] = execution.Verdict{Outcome: execution.Duplicate, ID: *winner}
		}
		return nil
	})
	if err != nil {
		return postgres.Classify(fmt.Errorf("read how starts were settled: %w", err))
	}
	return nil
}
