//go:build linux

package catalogbench

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"workflow.uniconnect/test/stack"
)

// object is JSON.
type object = map[string]any

// titles have words of which some are in every twelfth, and a number that is in one.
const (
	events  = "call lead ticket contact disposition queue agent survey"
	actions = "notify update assign escalate remind sync close log route score"
	places  = "berlin vienna zurich munich hamburg cologne graz basel linz bern essen kiel"
)

func title(i int) string {
	return fmt.Sprintf("%s %s %s %06d", word(actions, i), word(events, i/3), word(places, i/7), i)
}

func word(of string, i int) string {
	all := strings.Fields(of)
	return all[i%len(all)]
}

// workflowOf is a usual workflow: a filter, a condition and three actions.
func workflowOf(i int, eventType, state string) object {
	update := object{"id": "update", "title": "Update the lead", "action": object{
		"type":   "crm.update_record",
		"params": object{"module": "leads", "id": "${event.data.lead_id}", "fields": object{"status": "contacted", "last_call_time": "${event.data.ended_at}"}},
	}}
	notify := object{"id": "notify", "title": "Tell the team", "action": object{
		"type": "http.request", "params": object{"method": "POST", "url": "https://notify.example.com/team", "body": object{"call": "${event.data.call_id}"}},
	}}
	return object{
		"title": title(i), "description": "When a call has ended, the lead is brought up to date and the team is told.", "state": state,
		"trigger": object{"event": object{"eventType": eventType, "filter": object{"rules": object{"op": "ALL", "rules": []object{
			{"field": "event.data.result", "operator": "EQUALS", "value": "answered"},
			{"field": "event.data.queue", "operator": "EQUALS", "value": fmt.Sprintf("queue-%d", i)},
		}}}}},
		"steps": []object{update, {"id": "hot", "title": "Hot lead?", "condition": object{"branches": []object{{
			"title": "Yes", "when": object{"expression": "event.data.talk_ms > 60000"}, "steps": []object{notify},
		}}}}},
	}
}

const (
	selectColumns = `
SELECT string_agg(quote_ident(column_name), ', ' ORDER BY ordinal_position) FROM information_schema.columns
WHERE table_schema = 'catalog' AND table_name = $1 AND is_generated = 'NEVER'`
	createCopies = `CREATE TEMPORARY TABLE copies (n integer, id uuid, title text, state smallint)`
	// The copies differ from the workflow that the API saved in what must differ.
	copyWorkflows = `
INSERT INTO catalog.workflows (%[1]s) SELECT %[2]s FROM catalog.workflows w, copies c, LATERAL jsonb_populate_record(w, jsonb_build_object(
    'id', c.id, 'title', c.title, 'title_key', c.title, 'state', c.state, 'active_since', CASE WHEN c.state = 2 THEN w.create_time END,
    'create_time', w.create_time + c.n * interval '1 millisecond', 'update_time', w.update_time + (c.n * 7919 %% 100003) * interval '1 millisecond',
    'terms', array_to_tsvector(ARRAY[w.tenant || '=*', w.tenant || '=s' || c.state, w.tenant || '=t1', w.tenant || '=ecall.ended']
        || ARRAY(SELECT w.tenant || '/' || word FROM unnest(string_to_array(c.title, ' ')) word))::text
)) r WHERE w.tenant = $1 AND w.id = $2`
	copyRevisions = `
INSERT INTO catalog.revisions (%[1]s) SELECT %[2]s FROM catalog.revisions w, copies c, LATERAL jsonb_populate_record(w, jsonb_build_object(
    'workflow_id', c.id, 'hash', '\x' || encode(sha256(c.id::text::bytea), 'hex'),
    'config', jsonb_set(jsonb_set(w.config, '{title}', to_jsonb(c.title)), '{trigger,event,filter,rules,rules,1,value}', to_jsonb(c.title))
)) r WHERE w.tenant = $1 AND w.workflow_id = $2`
)

// fill brings the tenant to n workflows, of which active are ACTIVE. One is saved over the API; the others are copies of its rows, since
// saving them would take minutes. A trigger-scheduler must
// be restarted to see them.
func fill(ctx context.Context, db *pgx.Conn, client *stack.Client, n, active int) (ids []string, err error) {
	var first struct{ ID string }
	if err := client.Call(ctx, "POST", "/v1/workflows", workflowOf(0, "call.ended", "INACTIVE"), &first); err != nil {
		return nil, err
	}
	rows := make([][]any, 0, n)
	for i := 1; i < n; i++ {
		id, err := uuid.NewV7()
		if err != nil {
			return nil, err
		}
		state := 1
		if i <= active {
			state = 2
		}
		rows = append(rows, []any{i, id, title(i), state})
		ids = append(ids, id.String())
	}
	tx, err := db.Begin(ctx)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, ignoreClosed(tx.Rollback(ctx))) }()
	if _, err := tx.Exec(ctx, createCopies); err != nil {
		return nil, err
	}
	if _, err := tx.CopyFrom(ctx, pgx.Identifier{"copies"}, []string{"n", "id", "title", "state"}, pgx.CopyFromRows(rows)); err != nil {
		return nil, err
	}
	if err := copyRows(ctx, tx, "workflows", copyWorkflows, first.ID); err != nil {
		return nil, err
	}
	if err := copyRows(ctx, tx, "revisions", copyRevisions, first.ID); err != nil {
		return nil, err
	}
	if err := tx.Commit(ctx); err != nil {
		return nil, err
	}
	_, err = db.Exec(ctx, `VACUUM ANALYZE catalog.workflows, catalog.revisions`) // what autovacuum does within a minute
	return ids, err
}

func copyRows(ctx context.Context, tx pgx.Tx, table, query, id string) error {
	var columns string
	if err := tx.QueryRow(ctx, selectColumns, table).Scan(&columns); err != nil {
		return err
	}
	copied := "r." + strings.ReplaceAll(columns, ", ", ", r.")
	if _, err := tx.Exec(ctx, fmt.Sprintf(query, columns, copied), "acme", id); err != nil {
		return fmt.Errorf("copy %s: %w", table, err)
	}
	return nil
}

func ignoreClosed(err error) error {
	if errors.Is(err, pgx.ErrTxClosed) {
		return nil
	}
	return err
}
