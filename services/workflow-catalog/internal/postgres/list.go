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
const (
	walkRows     = 1000
	walkMoreRows = 3000
	searchRows   = 1500
	// listBytes limits a page beside its number of rows, so that no answer outgrows a message.
	listBytes = 2 << 20
	// basicBytes does the same where most of what is stored is left out.
	basicBytes = 16 << 20
)

// These are templates; see listSQL. A condition whose parameter is NULL is gone before the statement is planned, because statements are
// planned with their values. Under row level security no statement can look terms up along their index, since the operator might tell of rows
// that it may not see: the function matching_workflows does.
const (
	walkPage = `
SELECT w.id, w.key FROM (
    SELECT id, {key} AS key, state, trigger_type, event_type, terms FROM workflows
    WHERE tenant = $1 AND ($2::{type} IS NULL OR ({key}, id) {before} ($2, $3::uuid))
    ORDER BY {key} {direction}, id {direction} LIMIT $4
) w
WHERE ($6::smallint[] IS NULL OR w.state = ANY($6)) AND ($7::smallint[] IS NULL OR w.trigger_type = ANY($7))
  AND ($8::text[] IS NULL OR w.event_type = ANY($8)) AND ($9::text[] IS NULL OR w.event_type <> ALL($9))
  AND ($10::text IS NULL OR w.terms @@ $10::text::tsquery)
LIMIT $5`
	// walkEnd returns the last row of a walk that went its whole way.
	walkEnd = `
SELECT id, {key} FROM workflows
WHERE tenant = $1 AND ($2::{type} IS NULL OR ({key}, id) {before} ($2, $3::uuid))
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
	return strings.NewReplacer("{key}", key, "{sorted}", key+collation, "{type}", kind, "{before}", before, "{direction}", direction).Replace(template)
}

// planAsWritten takes from the planner, until the end of the transaction, what would let it leave the way that a statement prepares. A sort
// that cannot be avoided counts as so dear then that compiling the statement would seem to pay.
const planAsWritten = `
SELECT set_config('enable_sort', 'off', true), set_config('enable_seqscan', 'off', true), set_config('jit', 'off', true)`

// asWritten runs a query under planAsWritten, in one exchange with the server. Statements of a batch are one transaction.
func (s *Store) asWritten(ctx context.Context, tenant workflow.Tenant, sql string, args []any, read func(pgx.Rows) error) error {
	batch := &pgx.Batch{}
	batch.Queue(planAsWritten)
	batch.Queue(sql, args...).Query(read)
	return s.of(tenant).Run(ctx, batch)
}

// List returns a page without documents.
func (s *Store) List(ctx context.Context, tenant workflow.Tenant, query workflow.ListQuery) (workflow.Page, error) {
	found, err := s.find(ctx, tenant, query)
	if err != nil {
		return workflow.Page{}, wrap("list workflows", err)
	}
	page, err := s.page(ctx, tenant, query, found)
	return page, wrap("list workflows", err)
}

// find returns where the rows of a page are, and of one more if there is one.
func (s *Store) find(ctx context.Context, tenant workflow.Tenant, query workflow.ListQuery) ([]workflow.Position, error) {
	limit := query.Limit + 1
	if query.Filter.Everything() {
		return s.walk(ctx, tenant, query, limit, limit)
	}
	first := max(walkRows, limit)
	found, end, err := s.walkTo(ctx, tenant, query, first, limit)
	if err != nil || end == nil {
		return found, err
	}
	walkOn := func() error {
		further := query
		further.After = end
		var more []workflow.Position
		more, end, err = s.walkTo(ctx, tenant, further, walkMoreRows, limit-len(found))
		found = append(found, more...)
		return err
	}
	within := (limit-len(found))*first <= walkMoreRows*len(found)
	if within {
		if err := walkOn(); err != nil || end == nil {
			return found, err
		}
	}
	searched, complete, err := s.search(ctx, tenant, query, limit)
	if err != nil || complete {
		return searched, err
	}
	if !within {
		if err := walkOn(); err != nil || end == nil {
			return found, err
		}
	}
	return s.positions(ctx, tenant, sortPage, query, append(after(tenant, query), limit, termsQuery(tenant, query.Filter)))
}

// walkTo walks, and returns where the walk ended if neither the page was filled nor the list ended.
func (s *Store) walkTo(ctx context.Context, tenant workflow.Tenant, query workflow.ListQuery, rows, limit int) (found []workflow.Position, end *workflow.Position, err error) {
	found, err = s.walk(ctx, tenant, query, rows, limit)
	if err != nil || len(found) == limit {
		return found, nil, err
	}
	last, err := s.positions(ctx, tenant, walkEnd, query, append(after(tenant, query), rows))
	if err != nil || len(last) == 0 {
		return found, nil, err
	}
	return found, &last[0], nil
}

// walk looks at a number of rows in the list's order and returns up to limit that match.
func (s *Store) walk(ctx context.Context, tenant workflow.Tenant, query workflow.ListQuery, rows, limit int) ([]workflow.Position, error) {
	f := query.Filter
	var words *string
	if len(f.Words) > 0 {
		q := strings.Join(wordTerms(tenant, f.Words), " & ")
		words = &q
	}
	args := append(after(tenant, query), rows, limit, f.States, f.TriggerTypes, f.EventTypes, f.NotEventTypes, words)
	return s.positions(ctx, tenant, walkPage, query, args)
}

// search looks rows up by what they must match, and says whether it saw all that do.
func (s *Store) search(ctx context.Context, tenant workflow.Tenant, query workflow.ListQuery, limit int) ([]workflow.Position, bool, error) {
	args := append(after(tenant, query), limit, termsQuery(tenant, query.Filter), searchRows)
	var matches int
	var ids []workflow.ID
	var times []time.Time
	var titles []string
	var keys any = &times
	if query.Order == workflow.ByTitle {
		keys = &titles
	}
	err := s.asWritten(ctx, tenant, listSQL(searchPage, query), args, func(r pgx.Rows) error {
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
func (s *Store) positions(ctx context.Context, tenant workflow.Tenant, template string, query workflow.ListQuery, args []any) ([]workflow.Position, error) {
	var found []workflow.Position
	err := s.asWritten(ctx, tenant, listSQL(template, query), args, func(r pgx.Rows) error {
		var err error
		found, err = pgx.CollectRows(r, func(row pgx.CollectableRow) (workflow.Position, error) {
			var at workflow.Position
			if query.Order == workflow.ByTitle {
				err := row.Scan(&at.ID, &at.Title)
				return at, err
			}
			err := row.Scan(&at.ID, &at.Time)
			return at, err
		})
		return err
	})
	return found, err
}

// after returns the parameters that all templates begin with: the tenant, and the position before the page.
func after(tenant workflow.Tenant, query workflow.ListQuery) []any {
	switch {
	case query.After == nil:
		return []any{tenant, nil, nil}
	case query.Order == workflow.ByTitle:
		return []any{tenant, query.After.Title, query.After.ID}
	}
	return []any{tenant, query.After.Time, query.After.ID}
}

const selectListed = `
SELECT w.id, w.state, w.revision, w.version, w.active_since, w.create_time, w.create_user, w.update_time, w.update_user,
       w.title, w.description, NULL::jsonb, r.hash, ` + annotationColumns + `, k.n, r.size
FROM unnest($2::uuid[]) WITH ORDINALITY k (id, n)
CROSS JOIN LATERAL (
    SELECT tenant, id, state, revision, version, active_since, create_time, create_user, update_time, update_user, title, description
    FROM workflows WHERE tenant = $1 AND id = k.id OFFSET 0
) w
CROSS JOIN LATERAL (
    SELECT hash, size FROM revisions WHERE tenant = $1 AND workflow_id = w.id AND revision = w.revision OFFSET 0
) r` + annotationJoins

// page reads the rows that were found, as many as fit into a page. One that is gone since is left out.
func (s *Store) page(ctx context.Context, tenant workflow.Tenant, query workflow.ListQuery, found []workflow.Position) (workflow.Page, error) {
	var page workflow.Page
	shown := found[:min(len(found), query.Limit)]
	if len(shown) == 0 {
		return page, nil
	}
	rows := make([]workflow.Workflow, len(shown))
	sizes := make([]int, len(shown))
	ids := make([]workflow.ID, len(shown))
	for i, at := range shown {
		ids[i] = at.ID
	}
	err := s.asWritten(ctx, tenant, selectListed, []any{tenant, ids}, func(r pgx.Rows) error {
		for r.Next() {
			var n, size int
			w, err := readWorkflow(r, tenant, &n, &size)
			if err != nil {
				return err
			}
			rows[n-1], sizes[n-1] = w, size
		}
		return r.Err()
	})
	if err != nil {
		return page, err
	}
	room := listBytes
	if query.Basic {
		room = basicBytes
	}
	last := 0
	for i, size := range sizes {
		if room -= size; room < 0 && i > 0 {
			break
		}
		last = i
		if size > 0 {
			page.Workflows = append(page.Workflows, rows[i])
		}
	}
	if last+1 < len(found) {
		page.Next = &found[last]
	}
	return page, nil
}

const selectDocuments = `
SELECT k.n, CASE WHEN $4 THEN r.config - '{steps,settings}'::text[] ELSE r.config END
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
	rows, err := s.of(tenant).Query(ctx, selectDocuments, tenant, ids, revisions, basic)
	if err != nil {
		return wrap("read documents", err)
	}
	var n int
	var document json.RawMessage
	_, err = pgx.ForEachRow(rows, []any{&n, &document}, func() error {
		workflows[n-1].Config.Document, document = document, nil
		return nil
	})
	return wrap("read documents", err)
}
