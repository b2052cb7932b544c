package postgres

import (
	"context"
	"encoding/json"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"

	"workflow.uniconnect/services/workflow-catalog/internal/workflow"
)

// How a page is found must not depend on what the planner believes about a table, since it may have looked at it when there were ten rows,
// or none. So each statement here leaves it one way only, and which statement is run is decided by what those before have found:
//
//  1. Walk along the order's index for a number of rows, checking each. That fills a page whenever many rows match. When so many matched
//     that the page is within reach, walk on for a while.
//  2. Otherwise take what matches from the inverted index, up to a number of rows, and sort it. That is all whenever few rows match.
//  3. Otherwise many match, but not here: walk on for a while.
//  4. Otherwise they crowd elsewhere in this order, as words do in the order of titles: sort all that match.
//
// With 100,000 workflows in a tenant a page of 50 takes 0.6 to 1.5 ms for most filters in any order, the last like the first, and up to 4 ms
// where about one in a hundred matches. What is dear crowds far from where the page begins: a word of 12 % of the titles by title (23 ms),
// what applies to the older half alone, newest first (27 ms), the negation of all event types but a rare one (14 ms).
const (
	walkRows     = 1000
	walkMoreRows = 3000
	searchRows   = 1500
	// listBytes limits a page beside its number of rows, so that no answer outgrows a message.
	listBytes = 2 << 20
	// basicBytes does the same where most of what is stored is left out.
	basicBytes = 16 << 20
)

// listedColumns are those of readWorkflow for a row of a list, which has no document, and listedJoins what they come from for the ids of k.
const (
	listedColumns = `w.id, w.state, w.revision, w.version, w.active_since, w.create_time, w.create_user, w.update_time, w.update_user,
       w.title, w.description, NULL::jsonb, r.hash, ` + annotationColumns
	listedJoins = `
CROSS JOIN LATERAL (
    SELECT tenant, id, state, revision, version, active_since, create_time, create_user, update_time, update_user, title, description
    FROM workflows WHERE tenant = $1 AND id = k.id OFFSET 0
) w
CROSS JOIN LATERAL (
    SELECT hash, size FROM revisions WHERE tenant = $1 AND workflow_id = w.id AND revision = w.revision OFFSET 0
) r` + annotationJoins
)

// These are templates; see listSQL. Each is planned once for all values, so what a condition lets the planner do must be in its text: the
// position before the page, which an index can begin at, and whether there are words, for which a row must be fetched. Under row level
// security no statement can look terms up along their index, since the operator might tell of rows that it may not see: the function
// matching_workflows does.
const (
	walkPage = `
SELECT ` + listedColumns + `, k.key, r.size
FROM (
    SELECT w.id, w.key FROM (
        SELECT id, {key} AS key, state, trigger_type, event_type, terms FROM workflows
        WHERE tenant = $1 AND {after}
        ORDER BY {key} {direction}, id {direction} LIMIT $4
    ) w
    WHERE ($6::smallint[] IS NULL OR w.state = ANY($6)) AND ($7::smallint[] IS NULL OR w.trigger_type = ANY($7))
      AND ($8::text[] IS NULL OR w.event_type = ANY($8)) AND ($9::text[] IS NULL OR w.event_type <> ALL($9))
      AND {words}
    LIMIT $5
) k` + listedJoins + `
ORDER BY k.key {direction}, k.id {direction}`
	// walkEnd returns the last row of a walk that went its whole way.
	walkEnd = `
SELECT id, {key} FROM workflows
WHERE tenant = $1 AND {after}
ORDER BY {key} {direction}, id {direction} OFFSET $4 - 1 LIMIT 1`
	searchPage = `
WITH found AS MATERIALIZED (
    SELECT tenant, id, {sorted} AS key FROM matching_workflows($5::text::tsquery, $6)
), page AS (
    SELECT id, key FROM found
    WHERE tenant = $1 AND ($2::{type} IS NULL OR (key, id) {before} ($2, $3::uuid)) AND (SELECT count(*) FROM found) < $6
    ORDER BY key {direction}, id {direction} LIMIT $4
)
SELECT (SELECT count(*) FROM found), ARRAY(SELECT id FROM page), ARRAY(SELECT key FROM page)`
	sortPage = `
SELECT id, key FROM (
    SELECT tenant, id, {sorted} AS key FROM matching_workflows($5::text::tsquery, NULL)
) found
WHERE tenant = $1 AND ($2::{type} IS NULL OR (key, id) {before} ($2, $3::uuid))
ORDER BY key {direction}, id {direction} LIMIT $4`
)

// listSQL fills a template in.
func listSQL(template string, query workflow.ListQuery) string {
	key, kind, collation := "create_time", "timestamptz", ""
	switch query.Order {
	case workflow.ByUpdateTime:
		key = "update_time"
	case workflow.ByTitle:
		// What a function returns has forgotten the collation of its column.
		key, kind, collation = "title_key", "text", ` COLLATE "C"`
	case workflow.ByCreateTime:
	}
	before, direction := ">", "ASC"
	if query.Desc {
		before, direction = "<", "DESC"
	}
	after, words := "$2::{type} IS NULL AND $3::uuid IS NULL", "$10::text IS NULL"
	if query.After != nil {
		after = "({key}, id) {before} ($2::{type}, $3::uuid)"
	}
	if len(query.Filter.Words) > 0 {
		words = "w.terms @@ (SELECT $10::text::tsquery)"
	}
	template = strings.NewReplacer("{after}", after, "{words}", words).Replace(template)
	return strings.NewReplacer("{key}", key, "{sorted}", key+collation, "{type}", kind, "{before}", before, "{direction}", direction).Replace(template)
}

// planAsWritten takes from the planner, until the end of the transaction, what would let it leave the way that a statement prepares. A sort
// that cannot be avoided counts as so dear then that compiling the statement would seem to pay.
const planAsWritten = `
SELECT set_config('enable_sort', 'off', true), set_config('enable_seqscan', 'off', true), set_config('jit', 'off', true)`

// planOnce also has each connection plan a statement once, for all values. Where one way is left they teach the planner nothing, and planning
// takes longer than running.
const planOnce = planAsWritten + `, set_config('plan_cache_mode', 'force_generic_plan', true)`

// batcher runs statements in one exchange with the server: the database as a tenant sees it, a pool, or a transaction.
type batcher interface {
	SendBatch(ctx context.Context, batch *pgx.Batch) pgx.BatchResults
}

// send runs the statements of a batch in one exchange. The first error ends it, also one that a statement's answer was taken for.
func send(ctx context.Context, db batcher, batch *pgx.Batch) error {
	return db.SendBatch(ctx, batch).Close()
}

// asWritten runs a query under planAsWritten. Statements of a batch are one transaction.
func asWritten(ctx context.Context, db batcher, sql string, args []any, read func(pgx.Rows) error) error {
	return send(ctx, db, behind(planAsWritten, sql, args, read))
}

// plannedOnce runs a query under planOnce.
func plannedOnce(ctx context.Context, db batcher, sql string, args []any, read func(pgx.Rows) error) error {
	return send(ctx, db, behind(planOnce, sql, args, read))
}

// behind puts a query behind what the planner is told.
func behind(settings, sql string, args []any, read func(pgx.Rows) error) *pgx.Batch {
	batch := &pgx.Batch{}
	batch.Queue(settings)
	batch.Queue(sql, args...).Query(read)
	return batch
}

// hit is a row of a list, and where it stands.
type hit struct {
	at  workflow.Position
	row workflow.Workflow
	// size is that of the document.
	size int
}

// List returns a page without documents. What takes more than one statement sees one state of the tables: a list that others change between
// two of them could otherwise show a workflow twice, or pass over one.
func (s *Store) List(ctx context.Context, tenant workflow.Tenant, query workflow.ListQuery) (workflow.Page, error) {
	if query.Filter.Everything() {
		limit := query.Limit + 1
		found, err := lister{s.of(tenant), tenant}.walk(ctx, query, limit, limit)
		return pageOf(query, found), wrap("list workflows", err)
	}
	snapshot := s.of(tenant).Snapshot()
	defer snapshot.End(ctx)
	found, err := lister{snapshot, tenant}.find(ctx, query)
	return pageOf(query, found), wrap("list workflows", err)
}

// lister finds the rows of a tenant's lists.
type lister struct {
	db     batcher
	tenant workflow.Tenant
}

// pageOf returns as many rows as fit into a page.
func pageOf(query workflow.ListQuery, found []hit) workflow.Page {
	var page workflow.Page
	room := listBytes
	if query.Basic {
		room = basicBytes
	}
	for i, h := range found {
		if room -= h.size; i == query.Limit || room < 0 && i > 0 {
			page.Next = &found[i-1].at
			break
		}
		page.Workflows = append(page.Workflows, h.row)
	}
	return page
}

// find returns the rows of a page, and one more if there is one.
func (l lister) find(ctx context.Context, query workflow.ListQuery) ([]hit, error) {
	limit := query.Limit + 1
	first := max(walkRows, limit)
	found, end, err := l.walkTo(ctx, query, first, limit)
	if err != nil || end == nil {
		return found, err
	}
	walkOn := func() error {
		further := query
		further.After = end
		var more []hit
		more, end, err = l.walkTo(ctx, further, walkMoreRows, limit-len(found))
		found = append(found, more...)
		return err
	}
	within := (limit-len(found))*first <= walkMoreRows*len(found)
	if within {
		if err := walkOn(); err != nil || end == nil {
			return found, err
		}
	}
	searched, complete, err := l.search(ctx, query, limit)
	if err != nil {
		return nil, err
	}
	if complete {
		return l.rows(ctx, searched)
	}
	if !within {
		if err := walkOn(); err != nil || end == nil {
			return found, err
		}
	}
	args := append(l.after(query), limit, termsQuery(l.tenant, query.Filter))
	if searched, err = l.positions(ctx, sortPage, query, args); err != nil {
		return nil, err
	}
	return l.rows(ctx, searched)
}

// walkTo walks, and returns where the walk ended if neither the page was filled nor the list ended.
func (l lister) walkTo(ctx context.Context, query workflow.ListQuery, rows, limit int) (found []hit, end *workflow.Position, err error) {
	found, err = l.walk(ctx, query, rows, limit)
	if err != nil || len(found) == limit {
		return found, nil, err
	}
	last, err := l.positions(ctx, walkEnd, query, append(l.after(query), rows))
	if err != nil || len(last) == 0 {
		return found, nil, err
	}
	return found, &last[0], nil
}

// walk looks at a number of rows in the list's order and returns up to limit that match.
func (l lister) walk(ctx context.Context, query workflow.ListQuery, rows, limit int) ([]hit, error) {
	f := query.Filter
	var words *string
	if len(f.Words) > 0 {
		q := strings.Join(wordTerms(l.tenant, f.Words), " & ")
		words = &q
	}
	args := append(l.after(query), rows, limit, f.States, f.TriggerTypes, f.EventTypes, f.NotEventTypes, words)
	var found []hit
	err := plannedOnce(ctx, l.db, listSQL(walkPage, query), args, func(r pgx.Rows) error {
		var err error
		found, err = pgx.CollectRows(r, func(row pgx.CollectableRow) (hit, error) {
			var h hit
			var err error
			h.row, err = readWorkflow(row, l.tenant, keyOf(query, &h.at), &h.size)
			h.at.ID = h.row.ID
			return h, err
		})
		return err
	})
	return found, err
}

// search looks rows up by what they must match, and says whether it saw all that do.
func (l lister) search(ctx context.Context, query workflow.ListQuery, limit int) ([]workflow.Position, bool, error) {
	args := append(l.after(query), limit, termsQuery(l.tenant, query.Filter), searchRows)
	var matches int
	var ids []workflow.ID
	var times []time.Time
	var titles []string
	var keys any = &times
	if query.Order == workflow.ByTitle {
		keys = &titles
	}
	err := plannedOnce(ctx, l.db, listSQL(searchPage, query), args, func(r pgx.Rows) error {
		_, err := pgx.ForEachRow(r, []any{&matches, &ids, keys}, func() error { return nil })
		return err
	})
	if err != nil || matches >= searchRows {
		return nil, false, err
	}
	found := make([]workflow.Position, len(ids))
	for i, id := range ids {
		found[i].ID = id
		if query.Order == workflow.ByTitle {
			found[i].Title = titles[i]
		} else {
			found[i].Time = times[i]
		}
	}
	return found, true, nil
}

// positions runs a template whose rows are positions.
func (l lister) positions(ctx context.Context, template string, query workflow.ListQuery, args []any) ([]workflow.Position, error) {
	var found []workflow.Position
	err := plannedOnce(ctx, l.db, listSQL(template, query), args, func(r pgx.Rows) error {
		var err error
		found, err = pgx.CollectRows(r, func(row pgx.CollectableRow) (workflow.Position, error) {
			var at workflow.Position
			err := row.Scan(&at.ID, keyOf(query, &at))
			return at, err
		})
		return err
	})
	return found, err
}

// after returns the parameters that all templates begin with: the tenant, and the position before the page.
func (l lister) after(query workflow.ListQuery) []any {
	switch {
	case query.After == nil:
		return []any{l.tenant, nil, nil}
	case query.Order == workflow.ByTitle:
		return []any{l.tenant, query.After.Title, query.After.ID}
	}
	return []any{l.tenant, query.After.Time, query.After.ID}
}

// keyOf returns where a position has what the list is sorted by.
func keyOf(query workflow.ListQuery, at *workflow.Position) any {
	if query.Order == workflow.ByTitle {
		return &at.Title
	}
	return &at.Time
}

const selectListed = `
SELECT ` + listedColumns + `, k.n, r.size
FROM unnest($2::uuid[]) WITH ORDINALITY k (id, n)` + listedJoins

// rows reads the rows at positions that were found in the same state of the tables.
func (l lister) rows(ctx context.Context, found []workflow.Position) ([]hit, error) {
	if len(found) == 0 {
		return nil, nil
	}
	hits := make([]hit, len(found))
	ids := make([]workflow.ID, len(found))
	for i, at := range found {
		ids[i] = at.ID
	}
	err := plannedOnce(ctx, l.db, selectListed, []any{l.tenant, ids}, func(r pgx.Rows) error {
		for r.Next() {
			var n, size int
			w, err := readWorkflow(r, l.tenant, &n, &size)
			if err != nil {
				return err
			}
			hits[n-1] = hit{at: found[n-1], row: w, size: size}
		}
		return r.Err()
	})
	return hits, err
}

const selectDocuments = `
SELECT k.n, CASE WHEN $4::boolean THEN r.config - '{steps,settings}'::text[] ELSE r.config END
FROM unnest($2::uuid[], $3::integer[]) WITH ORDINALITY k (id, revision, n)
CROSS JOIN LATERAL (
    SELECT config FROM revisions WHERE tenant = $1 AND workflow_id = k.id AND revision = k.revision OFFSET 0
) r`

// Documents gives workflows their documents.
func (s *Store) Documents(ctx context.Context, tenant workflow.Tenant, workflows []*workflow.Workflow, basic bool) error {
	if len(workflows) == 0 {
		return nil
	}
	ids, revisions := make([]workflow.ID, len(workflows)), make([]int32, len(workflows))
	for i, w := range workflows {
		ids[i], revisions[i] = w.ID, w.Revision
	}
	err := plannedOnce(ctx, s.of(tenant), selectDocuments, []any{tenant, ids, revisions, basic}, func(r pgx.Rows) error {
		var n int
		var document json.RawMessage
		_, err := pgx.ForEachRow(r, []any{&n, &document}, func() error {
			workflows[n-1].Config.Document, document = document, nil
			return nil
		})
		return err
	})
	return wrap("read documents", err)
}
