package postgres

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"

	"github.com/jackc/pgx/v5"

	"workflow.uniconnect/services/workflow-catalog/internal/workflow"
)

// listed is what lists filter by and sort by of a workflow.
type listed struct {
	trigger   workflow.TriggerType
	eventType string
	titleKey  string
	terms     []string
}

// listedOf finds it in a workflow's configuration.
func listedOf(w *workflow.Workflow) (listed, error) {
	var config struct {
		Trigger struct {
			Event *struct {
				EventType string `json:"eventType"`
			} `json:"event"`
			Schedule json.RawMessage `json:"schedule"`
			Manual   json.RawMessage `json:"manual"`
		} `json:"trigger"`
	}
	if err := json.Unmarshal(w.Config.Document, &config); err != nil {
		return listed{}, fmt.Errorf("decode configuration: %w", err)
	}
	l := listed{titleKey: workflow.SortKey(w.Config.Title)}
	switch t := config.Trigger; {
	case t.Event != nil:
		l.trigger, l.eventType = workflow.EventTrigger, t.Event.EventType
	case t.Schedule != nil:
		l.trigger = workflow.ScheduleTrigger
	case t.Manual != nil:
		l.trigger = workflow.ManualTrigger
	}
	l.terms = []string{
		term(w.Tenant, everyTerm, ""), term(w.Tenant, stateTerm, w.State),
		term(w.Tenant, triggerTerm, l.trigger), term(w.Tenant, eventTerm, l.eventType),
	}
	for _, word := range workflow.Words(w.Config.Title) {
		l.terms = append(l.terms, string(w.Tenant)+"/"+word)
	}
	return l, nil
}

// The kinds of terms beside words.
const (
	everyTerm   = "*"
	stateTerm   = "s"
	triggerTerm = "t"
	eventTerm   = "e"
)

// term returns the term that says something of a workflow. Like those of words it has no character that means something in a query: tenants
// and event types are names.
func term(tenant workflow.Tenant, kind string, value any) string {
	return fmt.Sprint(tenant, "=", kind, value)
}

func wordTerms(tenant workflow.Tenant, words []string) []string {
	parts := make([]string, len(words))
	for i, word := range words {
		parts[i] = quoted(string(tenant)+"/"+word) + ":*"
	}
	return parts
}

// termsQuery returns a filter as a query for terms.
func termsQuery(tenant workflow.Tenant, f workflow.Filter) string {
	parts := wordTerms(tenant, f.Words)
	parts = appendAny(parts, tenant, stateTerm, f.States)
	parts = appendAny(parts, tenant, triggerTerm, f.TriggerTypes)
	parts = appendAny(parts, tenant, eventTerm, f.EventTypes)
	if len(parts) == 0 {
		// What must not be there is looked for among what is.
		parts = append(parts, quoted(term(tenant, everyTerm, "")))
	}
	for _, eventType := range f.NotEventTypes {
		parts = append(parts, "!"+quoted(term(tenant, eventTerm, eventType)))
	}
	return strings.Join(parts, " & ")
}

// appendAny adds that one of the values must be there, unless any will do.
func appendAny[T any](parts []string, tenant workflow.Tenant, kind string, values []T) []string {
	if values == nil {
		return parts
	}
	choice := make([]string, len(values))
	for i, v := range values {
		choice[i] = quoted(term(tenant, kind, v))
	}
	return append(parts, "("+strings.Join(choice, " | ")+")")
}

// quoted writes a term in a query. Terms have nothing to escape; that none has is not left to whoever makes them.
func quoted(term string) string {
	return "'" + strings.NewReplacer(`'`, `''`, `\`, `\\`).Replace(term) + "'"
}

const (
	selectUnlisted = `
SELECT w.tenant, w.id, w.version, w.state, w.title, r.config
FROM (
    SELECT tenant, id, version, state, title, revision FROM workflows
    WHERE listed_version IS DISTINCT FROM version AND (tenant, id) > ($1, $2::uuid)
    ORDER BY tenant, id LIMIT $3
) w
CROSS JOIN LATERAL (
    SELECT config FROM revisions WHERE tenant = w.tenant AND workflow_id = w.id AND revision = w.revision OFFSET 0
) r
ORDER BY w.tenant, w.id`
	updateListed = `
UPDATE workflows
SET trigger_type = $4, event_type = $5, title_key = $6, terms = array_to_tsvector($7::text[]), listed_version = version
WHERE tenant = $1 AND id = $2 AND version = $3`
)

const relistBatch = 200

// Relist brings up to date what lists filter by, of workflows that a program of the release before has changed, and says how many there were.
// One that cannot be read keeps none of the others.
func (s *Store) Relist(ctx context.Context) (int, error) {
	total := 0
	var unread []error
	last := workflow.Workflow{ID: firstID}
	for {
		found, err := s.unlisted(ctx, last)
		if err != nil {
			return total, wrap("read what is not listed", err)
		}
		batch := &pgx.Batch{}
		for i := range found {
			w := &found[i]
			l, err := listedOf(w)
			if err != nil {
				unread = append(unread, fmt.Errorf("list workflow %s of %s: %w", w.ID, w.Tenant, err))
				continue
			}
			batch.Queue(updateListed, w.Tenant, w.ID, w.Version, l.trigger, l.eventType, l.titleKey, l.terms)
		}
		if err := s.pool.SendBatch(ctx, batch).Close(); err != nil {
			return total, wrap("list workflows anew", err)
		}
		total += batch.Len()
		if len(found) < relistBatch {
			return total, errors.Join(unread...)
		}
		last = found[len(found)-1]
	}
}

func (s *Store) unlisted(ctx context.Context, last workflow.Workflow) ([]workflow.Workflow, error) {
	rows, err := s.pool.Query(ctx, selectUnlisted, last.Tenant, last.ID, relistBatch)
	if err != nil {
		return nil, err
	}
	return pgx.CollectRows(rows, func(row pgx.CollectableRow) (workflow.Workflow, error) {
		var w workflow.Workflow
		err := row.Scan(&w.Tenant, &w.ID, &w.Version, &w.State, &w.Config.Title, &w.Config.Document)
		return w, err
	})
}
