package postgres

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"

	"workflow.uniconnect/services/workflow-catalog/internal/feed"
	"workflow.uniconnect/services/workflow-catalog/internal/workflow"
)

const annotateChange = `
INSERT INTO changes (tenant, workflow_id, kind, revision, state, version, active_since, at, update_time, update_user)
SELECT tenant, id, 2, revision, state, version, active_since, clock_timestamp(), update_time, update_user
FROM workflows WHERE tenant = $1 AND id = $2
RETURNING at`

// annotate tells watchers that something beside the workflow's configuration and state has changed, and returns when. It takes the feed's
// lock, so nothing may be locked after it. A workflow that is gone answers ErrNotFound.
func annotate(ctx context.Context, tx pgx.Tx, tenant workflow.Tenant, id workflow.ID) (time.Time, error) {
	if _, err := tx.Exec(ctx, lockFeed, feedLock); err != nil {
		return time.Time{}, fmt.Errorf("lock the feed: %w", err)
	}
	var at time.Time
	err := tx.QueryRow(ctx, annotateChange, tenant, id).Scan(&at)
	if errors.Is(err, pgx.ErrNoRows) {
		return time.Time{}, workflow.ErrNotFound
	}
	if err != nil {
		return time.Time{}, fmt.Errorf("write the feed: %w", err)
	}
	return at, nil
}

// now() is the start of the implicit transaction, which is before the statement's snapshot is taken: what it cannot see was not
// committed by then. The window comes back also when there are no changes.
//
// Here and below, revisions are joined by LATERAL with OFFSET 0, which keeps PostgreSQL from turning the look-up by the full key around.
// Without statistics, as after a restore, it would read all revisions of the tenant for each row. {of} is what picks a tenant; the statement
// is planned once, and must begin at the tenant's index then.
const selectChanges = `
SELECT f.id, f.pruned_through,
       greatest(f.pruned_through, (SELECT max(seq) FROM changes), (SELECT max(seq) FROM tombstones WHERE seq > 0),
                (SELECT max(seq) FROM tenant_tombstones)), now(),
       c.seq, c.kind, c.tenant, c.workflow_id, c.revision, c.state, c.at, c.active_since, t.time_zone,
       r.config->>'title', r.config->>'description', r.config->'trigger', r.config->'dateRange',
       jsonb_array_length(coalesce(r.config->'steps', '[]')) > 0, w.id IS NULL, coalesce(c.version, w.version), w.create_time, w.create_user,
       coalesce(c.update_time, w.update_time), coalesce(c.update_user, w.update_user), ` + annotationColumns + `
FROM (SELECT id, pruned_through FROM feed WHERE only_row) f
LEFT JOIN LATERAL (
    (SELECT seq, kind, tenant, workflow_id, revision, state, version, at, active_since, update_time, update_user
     FROM changes WHERE seq > $1 AND {of} ORDER BY seq LIMIT $2)
    UNION ALL
    (SELECT seq, 1, tenant, workflow_id, 0, 3, NULL, at, NULL, NULL, NULL
     FROM tombstones WHERE seq > $1 AND seq > 0 AND {of} ORDER BY seq LIMIT $2)
    UNION ALL
    (SELECT seq, 3, tenant, NULL, 0, 3, NULL, at, NULL, NULL, NULL
     FROM tenant_tombstones WHERE seq > $1 AND {of} ORDER BY seq LIMIT $2)
    ORDER BY seq LIMIT $2
) c ON true
LEFT JOIN tenants t ON t.tenant = c.tenant
LEFT JOIN LATERAL (
    SELECT config FROM revisions
    WHERE tenant = c.tenant AND workflow_id = c.workflow_id AND revision = c.revision OFFSET 0
) r ON true
LEFT JOIN LATERAL (
    SELECT tenant, id, version, create_time, create_user, update_time, update_user FROM workflows
    WHERE tenant = c.tenant AND id = c.workflow_id OFFSET 0
) w ON true` + annotationJoins + `
ORDER BY c.seq`

// Changes returns up to limit changes after a number, in order. A workflow that is gone by now shows as DELETING in all its changes.
func (s *Store) Changes(ctx context.Context, after feed.Seq, limit int) (feed.Window, []feed.Change, error) {
	return readChanges(ctx, s.pool, after, limit, nil)
}

// ChangesOf is Changes for those of one tenant. The tenant sees none of the others' rows, so how far the feed has come is read before: what
// is committed in between is left for the next time.
func (s *Store) ChangesOf(ctx context.Context, tenant workflow.Tenant, after feed.Seq, limit int) (feed.Window, []feed.Change, error) {
	var before feed.Window
	err := s.pool.QueryRow(ctx, selectWindow).Scan(&before.Feed, &before.Floor, &before.Newest, &before.AsOf)
	if err != nil {
		return feed.Window{}, nil, wrap("read how far the feed has come", err)
	}
	window, changes, err := readChanges(ctx, s.of(tenant), after, limit, &tenant)
	if err != nil {
		return feed.Window{}, nil, err
	}
	window.Newest, window.AsOf = before.Newest, before.AsOf
	changes = slices.DeleteFunc(changes, func(c feed.Change) bool { return c.Seq > before.Newest })
	return window, changes, nil
}

func readChanges(ctx context.Context, db batcher, after feed.Seq, limit int, tenant *workflow.Tenant) (feed.Window, []feed.Change, error) {
	var window feed.Window
	var changes []feed.Change
	err := plannedOnce(ctx, db, changesSQL(tenant), []any{after, limit, tenant}, func(rows pgx.Rows) error {
		for rows.Next() {
			var row changeRow
			if err := rows.Scan(append([]any{&window.Feed, &window.Floor, &window.Newest, &window.AsOf}, row.targets()...)...); err != nil {
				return err
			}
			if row.seq != nil {
				changes = append(changes, row.change())
			}
		}
		return rows.Err()
	})
	if err != nil {
		return feed.Window{}, nil, wrap("read changes", err)
	}
	return window, changes, nil
}

// changesSQL returns the statement for the changes of one tenant, or of all.
func changesSQL(tenant *workflow.Tenant) string {
	of := "$3::text IS NULL"
	if tenant != nil {
		of = "tenant = $3::text"
	}
	return strings.ReplaceAll(selectChanges, "{of}", of)
}

// changeRow is a change as the query has it: every column may be absent.
type changeRow struct {
	seq                    *feed.Seq
	kind                   *feed.Kind
	tenant, id             *string
	revision               *int32
	state                  *workflow.State
	version                *int64
	at, activeSince        *time.Time
	created, updated       *time.Time
	createUser, updateUser *string
	timeZone               *string
	title, description     *string
	trigger, dateRange     json.RawMessage
	hasSteps, gone         *bool
	notes                  annotations
}

func (r *changeRow) targets() []any {
	return append([]any{
		&r.seq, &r.kind, &r.tenant, &r.id, &r.revision, &r.state, &r.at, &r.activeSince, &r.timeZone,
		&r.title, &r.description, &r.trigger, &r.dateRange, &r.hasSteps, &r.gone, &r.version, &r.created, &r.createUser, &r.updated, &r.updateUser,
	}, r.notes.targets()...)
}

func (r *changeRow) change() feed.Change {
	c := feed.Change{
		Seq: deref(r.seq), Kind: deref(r.kind), Tenant: workflow.Tenant(deref(r.tenant)), ID: workflow.ID(deref(r.id)), Title: deref(r.title),
		Revision: deref(r.revision), State: deref(r.state), Version: deref(r.version), Gone: deref(r.gone),
		At: deref(r.at), ActiveSince: deref(r.activeSince),
		Trigger: r.trigger, DateRange: r.dateRange, HasSteps: deref(r.hasSteps), TimeZone: deref(r.timeZone),
		Description: deref(r.description), CreateTime: deref(r.created), CreateUser: deref(r.createUser),
		UpdateTime: deref(r.updated), UpdateUser: deref(r.updateUser), LastBackup: r.notes.backup(), Draft: r.notes.draft(),
	}
	switch {
	case c.Kind == feed.Gate:
		c.Gate, c.State = feed.GateState(c.State), 0
	case r.title == nil:
		c.State = workflow.Deleting
	}
	return c
}

func deref[T any](p *T) T {
	if p == nil {
		var zero T
		return zero
	}
	return *p
}

const selectWindow = `
SELECT id, pruned_through,
       greatest(pruned_through, (SELECT max(seq) FROM changes), (SELECT max(seq) FROM tombstones WHERE seq > 0),
                (SELECT max(seq) FROM tenant_tombstones)), now()
FROM feed`

const selectActive = `
SELECT w.tenant, w.id, w.revision, w.state, w.update_time, w.active_since, t.time_zone,
       w.title, r.config->'trigger', r.config->'dateRange', jsonb_array_length(coalesce(r.config->'steps', '[]')) > 0
FROM (
    SELECT tenant, id, revision, state, update_time, active_since, title FROM workflows
    WHERE state = 2 AND (tenant, id) > ($1, $2::uuid)
    ORDER BY tenant, id LIMIT $3
) w
JOIN tenants t ON t.tenant = w.tenant
CROSS JOIN LATERAL (
    SELECT config FROM revisions
    WHERE tenant = w.tenant AND workflow_id = w.id AND revision = w.revision OFFSET 0
) r
ORDER BY w.tenant, w.id`

const firstID workflow.ID = "00000000-0000-0000-0000-000000000000"

// Snapshot calls yield with the gates' history, and then with all ACTIVE workflows in batches of up to limit, as of the newest change of the
// window that it returns.
func (s *Store) Snapshot(ctx context.Context, limit int, yield func([]feed.Change) error) (feed.Window, error) {
	tx, err := s.pool.BeginTx(ctx, pgx.TxOptions{IsoLevel: pgx.RepeatableRead, AccessMode: pgx.ReadOnly})
	if err != nil {
		return feed.Window{}, wrap("begin snapshot", err)
	}
	defer endSnapshot(ctx, tx)
	// The first statement takes the snapshot that all see; now() is before it.
	var window feed.Window
	row := tx.QueryRow(ctx, selectWindow)
	if err := row.Scan(&window.Feed, &window.Floor, &window.Newest, &window.AsOf); err != nil {
		return feed.Window{}, wrap("read snapshot", err)
	}
	gates, err := readGates(ctx, tx)
	if err != nil {
		return feed.Window{}, wrap("read snapshot", err)
	}
	if len(gates) > 0 {
		if err := yield(gates); err != nil {
			return feed.Window{}, err
		}
	}
	last := feed.Change{ID: firstID}
	for {
		batch, err := readActive(ctx, tx, last, limit)
		if err != nil {
			return feed.Window{}, wrap("read snapshot", err)
		}
		if len(batch) > 0 {
			if err := yield(batch); err != nil {
				return feed.Window{}, err
			}
			last = batch[len(batch)-1]
		}
		if len(batch) < limit {
			return window, nil
		}
	}
}

const endSnapshotTimeout = 2 * time.Second

// endSnapshot ends a transaction that wrote nothing, so that how it ends does not matter.
func endSnapshot(ctx context.Context, tx pgx.Tx) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), endSnapshotTimeout)
	defer cancel()
	_ = tx.Rollback(ctx)
}

func readActive(ctx context.Context, tx pgx.Tx, last feed.Change, limit int) ([]feed.Change, error) {
	rows, err := tx.Query(ctx, selectActive, last.Tenant, last.ID, limit)
	if err != nil {
		return nil, err
	}
	return pgx.CollectRows(rows, func(row pgx.CollectableRow) (feed.Change, error) {
		var c feed.Change
		var activeSince *time.Time
		c.Kind = feed.Definition
		err := row.Scan(&c.Tenant, &c.ID, &c.Revision, &c.State, &c.At, &activeSince, &c.TimeZone,
			&c.Title, &c.Trigger, &c.DateRange, &c.HasSteps)
		c.ActiveSince = deref(activeSince)
		return c, err
	})
}

// A tombstone is the gate of a tenant that is gone.
const selectGates = `
SELECT tenant, seq, state, at FROM tenant_gates
UNION ALL
SELECT tenant, seq, 3, at FROM tenant_tombstones
ORDER BY tenant, seq`

func readGates(ctx context.Context, tx pgx.Tx) ([]feed.Change, error) {
	rows, err := tx.Query(ctx, selectGates)
	if err != nil {
		return nil, err
	}
	return pgx.CollectRows(rows, func(row pgx.CollectableRow) (feed.Change, error) {
		c := feed.Change{Kind: feed.Gate}
		err := row.Scan(&c.Tenant, &c.Seq, &c.Gate, &c.At)
		return c, err
	})
}

// What is old goes in parts, so that no statement runs out of time however much there is.
const (
	pruneChanges = `
WITH dropped AS (
    DELETE FROM changes WHERE seq <= (
        SELECT max(seq) FROM (SELECT seq, at FROM changes ORDER BY seq LIMIT $2) oldest WHERE at < now() - make_interval(secs => $1))
    RETURNING seq
), moved AS (
    UPDATE feed SET pruned_through = greatest(pruned_through, (SELECT max(seq) FROM dropped)) WHERE EXISTS (SELECT FROM dropped)
)
SELECT count(*) FROM dropped`
	pruneRequests = `
WITH dropped AS (
    DELETE FROM requests WHERE (tenant, request_id) IN (
        SELECT tenant, request_id FROM requests WHERE at < now() - make_interval(secs => $1) ORDER BY at LIMIT $2)
    RETURNING 1
)
SELECT count(*) FROM dropped`
	pruneTombstones = `
WITH dropped AS (
    DELETE FROM tombstones WHERE (tenant, workflow_id) IN (
        SELECT tenant, workflow_id FROM tombstones WHERE at < now() - make_interval(secs => $1) ORDER BY at LIMIT $2)
    RETURNING seq
), moved AS (
    UPDATE feed SET pruned_through = greatest(pruned_through, (SELECT max(seq) FROM dropped)) WHERE EXISTS (SELECT FROM dropped)
)
SELECT count(*) FROM dropped`

	pruneBatch = 5000
)

// Of tenants there are few, but each statement answers like those above.
const (
	prunePlatformRequests = `
WITH dropped AS (
    DELETE FROM platform_requests WHERE ctid = ANY(ARRAY(
        SELECT ctid FROM platform_requests WHERE at < now() - make_interval(secs => $1) LIMIT $2))
    RETURNING 1
)
SELECT count(*) FROM dropped`
	pruneTenantTombstones = `
WITH dropped AS (
    DELETE FROM tenant_tombstones WHERE tenant IN (
        SELECT tenant FROM tenant_tombstones WHERE at < now() - make_interval(secs => $1) ORDER BY at LIMIT $2)
    RETURNING seq
), moved AS (
    UPDATE feed SET pruned_through = greatest(pruned_through, (SELECT max(seq) FROM dropped)) WHERE EXISTS (SELECT FROM dropped)
)
SELECT count(*) FROM dropped`
	// pruneGates leaves a closed gate that was opened, if at all, within the time that is kept.
	pruneGates = `
WITH dropped AS (
    DELETE FROM tenant_gates WHERE (tenant, seq) IN (
        SELECT g.tenant, g.seq FROM tenant_gates g
        WHERE g.at < now() - make_interval(secs => $1) AND (g.state = 2 OR EXISTS (
            SELECT FROM tenant_gates n WHERE n.tenant = g.tenant AND n.seq > g.seq AND n.at < now() - make_interval(secs => $1)))
        LIMIT $2)
    RETURNING 1
)
SELECT count(*) FROM dropped`
)

// Retention is how long what is kept for a while is kept.
type Retention struct{ Changes, Requests, Tombstones, Gates time.Duration }

// Prune drops what is older than its retention.
func (s *Store) Prune(ctx context.Context, keep Retention) error {
	var errs []error
	for _, task := range []struct {
		query string
		keep  time.Duration
	}{{pruneChanges, keep.Changes}, {pruneRequests, keep.Requests}, {pruneTombstones, keep.Tombstones}, {pruneGates, keep.Gates},
		{prunePlatformRequests, keep.Requests}, {pruneTenantTombstones, keep.Tombstones}} {
		if err := s.prune(ctx, task.query, task.keep); err != nil {
			errs = append(errs, wrap("prune", err))
		}
	}
	if err := errors.Join(errs...); err != nil {
		return fmt.Errorf("drop what is old: %w", err)
	}
	return nil
}

func (s *Store) prune(ctx context.Context, query string, keep time.Duration) error {
	for {
		var dropped int
		if err := s.pool.QueryRow(ctx, query, keep.Seconds(), pruneBatch).Scan(&dropped); err != nil || dropped < pruneBatch {
			return err
		}
	}
}
