package postgres_test

import (
	"cmp"
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	gocmp "github.com/google/go-cmp/cmp"

	"workflow.uniconnect/services/workflow-catalog/internal/workflow"
)

// row is a workflow as the model knows it.
type row struct {
	id               workflow.ID
	title            string
	words            []string
	state            workflow.State
	trigger          workflow.TriggerType
	eventType        string
	created, updated time.Time
}

// rows returns workflows of which some things are frequent everywhere, some rare, and some crowd in one place of one order or another.
func rows(n int) []row {
	random := rand.New(rand.NewPCG(1, 2))
	epoch := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	out := make([]row, n)
	for i := range out {
		r := &out[i]
		r.id = workflow.ID(fmt.Sprintf("0198c0de-0000-7000-8000-%012d", i))
		r.created, r.updated = epoch.Add(time.Duration(i/2)*time.Second), epoch.Add(time.Duration(random.IntN(n))*time.Second)
		r.state, r.trigger, r.eventType = workflow.Active, workflow.EventTrigger, []string{"call.ended", "call.started", "lead.created"}[random.IntN(3)]
		r.words = []string{[]string{"apple", "banana", "cherry"}[random.IntN(3)], "call", fmt.Sprint("w", i)}
		if i%7 == 0 {
			r.state = workflow.Inactive
		}
		if i%900 == 0 {
			r.state, r.words = workflow.Deleting, append(r.words, "rare")
		}
		if i < n/3 {
			r.words = append(r.words, "oldest")
		}
		if i%40 == 0 {
			r.trigger, r.eventType, r.words = workflow.ManualTrigger, "", append(r.words, "fortieth")
		}
		if i > n-50 {
			r.trigger, r.eventType = workflow.ScheduleTrigger, ""
		}
		r.title = strings.Join(r.words, " ")
	}
	return out
}

func (r *row) passes(f workflow.Filter) bool {
	in := func(words []string, word string) bool {
		return slices.ContainsFunc(words, func(w string) bool { return strings.HasPrefix(w, word) })
	}
	return (f.States == nil || slices.Contains(f.States, r.state)) && (f.TriggerTypes == nil || slices.Contains(f.TriggerTypes, r.trigger)) &&
		(f.EventTypes == nil || slices.Contains(f.EventTypes, r.eventType)) && !slices.Contains(f.NotEventTypes, r.eventType) &&
		!slices.ContainsFunc(f.Words, func(word string) bool { return !in(r.words, word) })
}

// listed returns the ids that a list holds, in its order.
func listed(all []row, q workflow.ListQuery) []workflow.ID {
	found := slices.DeleteFunc(slices.Clone(all), func(r row) bool { return !r.passes(q.Filter) })
	slices.SortFunc(found, func(a, b row) int {
		var c int
		switch q.Order {
		case workflow.ByCreateTime:
			c = a.created.Compare(b.created)
		case workflow.ByUpdateTime:
			c = a.updated.Compare(b.updated)
		case workflow.ByTitle:
			c = cmp.Compare(a.title, b.title)
		}
		if c = cmp.Or(c, cmp.Compare(a.id, b.id)); q.Desc {
			c = -c
		}
		return c
	})
	ids := make([]workflow.ID, len(found))
	for i, r := range found {
		ids[i] = r.id
	}
	return ids
}

const insertRows = `
INSERT INTO workflows (tenant, id, title, description, state, revision, version, create_time, create_user, update_time, update_user)
SELECT 'acme', id, title, '', state, 1, 1, created, 'u', updated, 'u'
FROM unnest($1::uuid[], $2::text[], $3::smallint[], $4::timestamptz[], $5::timestamptz[]) r (id, title, state, created, updated)`

const insertDocuments = `
INSERT INTO revisions (tenant, workflow_id, revision, config, hash, size, author, create_time)
SELECT 'acme', id, 1, config::jsonb, '', 10, 'u', now() FROM unnest($1::uuid[], $2::text[]) r (id, config)`

// fill adds rows.
func (e *env) fill(t *testing.T, all []row) {
	t.Helper()
	var ids []workflow.ID
	var titles, documents []string
	var states []workflow.State
	var created, updated []time.Time
	for _, r := range all {
		trigger := fmt.Sprintf(`{"event":{"eventType":%q}}`, r.eventType)
		switch r.trigger {
		case workflow.ManualTrigger:
			trigger = manually
		case workflow.ScheduleTrigger:
			trigger = nightly
		}
		ids, titles, states = append(ids, r.id), append(titles, r.title), append(states, r.state)
		created, updated, documents = append(created, r.created), append(updated, r.updated), append(documents, `{"trigger":`+trigger+`}`)
	}
	if _, err := e.pool.Exec(t.Context(), insertRows, ids, titles, states, created, updated); err != nil {
		t.Fatal(err)
	}
	if _, err := e.pool.Exec(t.Context(), insertDocuments, ids, documents); err != nil {
		t.Fatal(err)
	}
	if n, err := e.store.Relist(t.Context()); err != nil || n != len(all) {
		t.Fatalf("listed %d, %v; want all", n, err)
	}
}

// TestStore_List_equals_a_model pages through lists of so many workflows that every way to find a page is taken.
func TestStore_List_equals_a_model(t *testing.T) {
	t.Parallel()
	e := newEnv(t)
	all := rows(7000)
	e.fill(t, all)

	for name, filter := range map[string]workflow.Filter{
		"everything": {},
		"frequent":   {Words: []string{"call"}, States: []workflow.State{workflow.Active}},
		"third":      {Words: []string{"app"}},
		"oldest":     {Words: []string{"oldest"}},
		"fortieth":   {Words: []string{"fort", "w"}},
		"rare":       {Words: []string{"rare"}},
		"deleting":   {States: []workflow.State{workflow.Deleting}},
		"manual":     {TriggerTypes: []workflow.TriggerType{workflow.ManualTrigger}},
		"scheduled":  {TriggerTypes: []workflow.TriggerType{workflow.ScheduleTrigger, workflow.NoTrigger}},
		"started":    {EventTypes: []string{"call.started"}},
		"others":     {NotEventTypes: []string{"call.started", "call.ended", "lead.created"}},
		"nothing":    {Words: []string{"rare", "zebra"}},
		"mixed":      {Words: []string{"oldest", "cherry"}, NotEventTypes: []string{"call.ended"}, States: []workflow.State{workflow.Inactive}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			for _, order := range []workflow.OrderBy{workflow.ByCreateTime, workflow.ByUpdateTime, workflow.ByTitle} {
				for _, desc := range []bool{true, false} {
					query := workflow.ListQuery{Filter: filter, Order: order, Desc: desc, Limit: 200}
					want := listed(all, query)
					got := []workflow.ID{}
					for {
						page, err := e.store.List(t.Context(), "acme", query)
						if err != nil {
							t.Fatal(err)
						}
						for _, w := range page.Workflows {
							got = append(got, w.ID)
						}
						if query.After = page.Next; page.Next == nil {
							break
						}
					}
					if diff := gocmp.Diff(want, got); diff != "" {
						t.Errorf("order %d desc %v: want %d, got %d (-want +got):\n%.2000s", order, desc, len(want), len(got), diff)
					}
				}
			}
		})
	}
}

// TestStore_List_sees_one_state: a page that takes several statements is right also when workflows come and go between them.
func TestStore_List_sees_one_state(t *testing.T) {
	t.Parallel()
	e := newEnv(t)
	all := rows(4000)
	e.fill(t, all)
	query := workflow.ListQuery{Filter: workflow.Filter{Words: []string{"app"}}, Desc: true, Limit: 500}
	want := listed(all, query)[:query.Limit]

	ctx, cancel := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	defer wg.Wait()
	defer cancel()
	wg.Go(func() { // 300 workflows, none of which is looked for, are the newest now, and now the oldest
		for sign := "-"; ctx.Err() == nil; {
			_, err := e.pool.Exec(ctx, `
UPDATE workflows SET create_time = create_time `+sign+` interval '10 years'
WHERE tenant = 'acme' AND id IN (SELECT id FROM workflows WHERE tenant = 'acme' AND title_key LIKE 'banana%' ORDER BY id DESC LIMIT 300)`)
			if err != nil && ctx.Err() == nil {
				t.Errorf("move workflows: %v", err)
				return
			}
			sign = map[string]string{"-": "+", "+": "-"}[sign]
		}
	})
	for range 150 {
		page, err := e.store.List(t.Context(), "acme", query)
		if err != nil {
			t.Fatal(err)
		}
		got := make([]workflow.ID, len(page.Workflows))
		for i, w := range page.Workflows {
			got[i] = w.ID
		}
		if diff := gocmp.Diff(want, got); diff != "" {
			t.Fatalf("(-want +got):\n%.1500s", diff)
		}
	}
}
