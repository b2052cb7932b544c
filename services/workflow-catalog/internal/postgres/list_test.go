package postgres_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"workflow.uniconnect/services/workflow-catalog/internal/workflow"
)

// addWith creates a workflow with a trigger.
func (e *env) addWith(t *testing.T, title, trigger string, state workflow.State) workflow.Workflow {
	t.Helper()
	c, err := workflow.NewConfig(title, "", fmt.Appendf(nil, `{"title":%q,"trigger":%s,"steps":[{"id":"a","stop":{}}],"settings":{}}`, title, trigger))
	if err != nil {
		t.Fatal(err)
	}
	w, err := e.store.Create(t.Context(), call("acme", workflow.MethodCreate), workflow.Workflow{
		Tenant: "acme", ID: newID(t), State: state, Revision: 1, Version: 1, Config: c, CreateUser: "owner", UpdateUser: "owner"})
	if err != nil {
		t.Fatal(err)
	}
	return w
}

// titles lists all pages and returns the titles.
func (e *env) titles(t *testing.T, query workflow.ListQuery) []string {
	t.Helper()
	var out []string
	for {
		page, err := e.store.List(t.Context(), "acme", query)
		if err != nil {
			t.Fatal(err)
		}
		for _, w := range page.Workflows {
			out = append(out, w.Config.Title)
		}
		if query.After = page.Next; page.Next == nil {
			return out
		}
		if len(page.Workflows) > query.Limit {
			t.Fatalf("page of %d, want at most %d", len(page.Workflows), query.Limit)
		}
	}
}

const (
	onEnded   = `{"event":{"eventType":"call.ended"}}`
	onStarted = `{"event":{"eventType":"call.started"}}`
	nightly   = `{"schedule":{"cron":"0 0 * * *"}}`
	manually  = `{"manual":{}}`
)

func TestStore_List(t *testing.T) {
	t.Parallel()
	e := newEnv(t)
	e.addWith(t, "On call ended", onEnded, workflow.Active)
	e.addWith(t, "on CALL started", onStarted, workflow.Inactive)
	e.addWith(t, "Ärger: Rückruf", onEnded, workflow.Inactive)
	e.addWith(t, "Nightly sync", nightly, workflow.Active)
	e.addWith(t, "By hand's \"call\"", manually, workflow.Active)
	going := e.addWith(t, "Going away", manually, workflow.Active)
	e.set(t, going, workflow.Deleting)
	e.add(t, "globex", "Their call", workflow.Active)

	newest := []string{"Going away", "By hand's \"call\"", "Nightly sync", "Ärger: Rückruf", "on CALL started", "On call ended"}
	oldest := slices.Clone(newest)
	slices.Reverse(oldest)
	byTitle := []string{"By hand's \"call\"", "Going away", "Nightly sync", "On call ended", "on CALL started", "Ärger: Rückruf"}
	for name, c := range map[string]struct {
		query workflow.ListQuery
		want  []string
	}{
		"newest":        {workflow.ListQuery{Desc: true}, newest},
		"oldest":        {workflow.ListQuery{}, oldest},
		"title":         {workflow.ListQuery{Order: workflow.ByTitle}, byTitle},
		"updated":       {workflow.ListQuery{Order: workflow.ByUpdateTime, Desc: true}, newest},
		"state":         {workflow.ListQuery{Desc: true, Filter: workflow.Filter{States: []workflow.State{workflow.Inactive}}}, []string{newest[3], newest[4]}},
		"states":        {workflow.ListQuery{Desc: true, Filter: workflow.Filter{States: []workflow.State{workflow.Inactive, workflow.Deleting}}}, []string{newest[0], newest[3], newest[4]}},
		"trigger":       {workflow.ListQuery{Desc: true, Filter: workflow.Filter{TriggerTypes: []workflow.TriggerType{workflow.ScheduleTrigger}}}, []string{newest[2]}},
		"event":         {workflow.ListQuery{Desc: true, Filter: workflow.Filter{EventTypes: []string{"call.ended"}}}, []string{newest[3], newest[5]}},
		"not_event":     {workflow.ListQuery{Desc: true, Filter: workflow.Filter{NotEventTypes: []string{"call.ended", ""}}}, []string{newest[4]}},
		"no_event":      {workflow.ListQuery{Desc: true, Filter: workflow.Filter{EventTypes: []string{""}}}, newest[:3]},
		"word":          {workflow.ListQuery{Desc: true, Filter: workflow.Filter{Words: workflow.Words("CAL")}}, []string{newest[1], newest[4], newest[5]}},
		"words":         {workflow.ListQuery{Desc: true, Filter: workflow.Filter{Words: workflow.Words("end call")}}, []string{newest[5]}},
		"unicode":       {workflow.ListQuery{Desc: true, Filter: workflow.Filter{Words: workflow.Words("ÄRG rück")}}, []string{newest[3]}},
		"in_the_middle": {workflow.ListQuery{Desc: true, Filter: workflow.Filter{Words: workflow.Words("all")}}, nil},
		"hostile":       {workflow.ListQuery{Desc: true, Filter: workflow.Filter{Words: workflow.Words(`hand's "ca':* | 'x`)}}, nil},
		"hostile_found": {workflow.ListQuery{Desc: true, Filter: workflow.Filter{Words: workflow.Words(`'hand' & "call":*`)}}, []string{newest[1]}},
		"all_at_once": {workflow.ListQuery{Desc: true, Filter: workflow.Filter{
			States: []workflow.State{workflow.Active}, TriggerTypes: []workflow.TriggerType{workflow.EventTrigger},
			EventTypes: []string{"call.ended"}, NotEventTypes: []string{"call.started"}, Words: []string{"call"},
		}}, []string{newest[5]}},
	} {
		for _, c.query.Limit = range []int{1, 2, 50} {
			if diff := cmp.Diff(c.want, e.titles(t, c.query)); diff != "" {
				t.Errorf("%s in pages of %d (-want +got):\n%s", name, c.query.Limit, diff)
			}
		}
	}

	t.Run("follows_changes", func(t *testing.T) {
		w := e.addWith(t, "Before", onEnded, workflow.Active)
		c, err := workflow.NewConfig("After", "", []byte(`{"title":"After","trigger":{"manual":{}}}`))
		if err != nil {
			t.Fatal(err)
		}
		if _, err := e.store.Change(t.Context(), call("acme", workflow.MethodUpdate),
			workflow.Change{Before: w, State: workflow.Inactive, Config: &c, Origin: workflow.Updated}); err != nil {
			t.Fatal(err)
		}
		filter := workflow.Filter{
			States: []workflow.State{workflow.Inactive}, TriggerTypes: []workflow.TriggerType{workflow.ManualTrigger},
			EventTypes: []string{""}, Words: []string{"after"},
		}
		if got := e.titles(t, workflow.ListQuery{Limit: 5, Filter: filter}); len(got) != 1 {
			t.Errorf("got %v, want what it became", got)
		}
		if got := e.titles(t, workflow.ListQuery{Limit: 5, Filter: workflow.Filter{Words: []string{"before"}}}); len(got) != 0 {
			t.Errorf("got %v, want nothing of what it was", got)
		}
	})
}

// TestStore_List_in_bytes has workflows so large that a page holds fewer than asked for.
func TestStore_List_in_bytes(t *testing.T) {
	t.Parallel()
	e := newEnv(t)
	for i := range 6 {
		title := fmt.Sprint("large", i)
		c, err := workflow.NewConfig(title, "", fmt.Appendf(nil, `{"title":%q,"steps":[%q]}`, title, strings.Repeat("x", 500<<10)))
		if err != nil {
			t.Fatal(err)
		}
		if _, err = e.store.Create(t.Context(), call("acme", workflow.MethodCreate), workflow.Workflow{
			Tenant: "acme", ID: newID(t), State: workflow.Inactive, Revision: 1, Version: 1, Config: c}); err != nil {
			t.Fatal(err)
		}
	}
	page, err := e.store.List(t.Context(), "acme", workflow.ListQuery{Limit: 200})
	if err != nil || page.Next == nil || len(page.Workflows) != 4 {
		t.Errorf("got %d workflows, next %v, %v; want 4 and more", len(page.Workflows), page.Next, err)
	}
	if got := e.titles(t, workflow.ListQuery{Limit: 200}); len(got) != 6 {
		t.Errorf("got %v, want all 6", got)
	}
	page, err = e.store.List(t.Context(), "acme", workflow.ListQuery{Limit: 200, Basic: true})
	if err != nil || page.Next != nil || len(page.Workflows) != 6 {
		t.Errorf("basic: got %d workflows, next %v, %v; want all", len(page.Workflows), page.Next, err)
	}
	w := &page.Workflows[0]
	for basic, want := range map[bool]bool{true: false, false: true} {
		if err := e.store.Documents(t.Context(), "acme", []*workflow.Workflow{w}, basic); err != nil {
			t.Fatal(err)
		}
		if got := strings.Contains(string(w.Config.Document), `"steps"`); got != want {
			t.Errorf("basic %v: steps are there: %v", basic, got)
		}
	}
	stranger := page.Workflows[0]
	stranger.Config.Document = nil
	if err := e.store.Documents(t.Context(), "globex", []*workflow.Workflow{&stranger}, false); err != nil || stranger.Config.Document != nil {
		t.Errorf("another tenant got %d bytes, %v", len(stranger.Config.Document), err)
	}
}

// TestStore_List_under_changes pages through a list while others are added, changed and removed: what stays the same is seen exactly once.
func TestStore_List_under_changes(t *testing.T) {
	t.Parallel()
	e := newEnv(t)
	want := make(map[string]int)
	var others []workflow.Workflow
	for i := range 60 {
		title := fmt.Sprint("w", i)
		w := e.addWith(t, title, onEnded, workflow.Active)
		if i%3 == 0 {
			others = append(others, w)
		} else {
			want[title] = 1
		}
	}
	for _, order := range []workflow.OrderBy{workflow.ByCreateTime, workflow.ByTitle} {
		for _, desc := range []bool{true, false} {
			got := make(map[string]int)
			query := workflow.ListQuery{Order: order, Desc: desc, Limit: 7, Filter: workflow.Filter{EventTypes: []string{"call.ended"}}}
			for {
				page, err := e.store.List(t.Context(), "acme", query)
				if err != nil {
					t.Fatal(err)
				}
				for _, w := range page.Workflows {
					if want[w.Config.Title] > 0 {
						got[w.Config.Title]++
					}
				}
				if query.After = page.Next; page.Next == nil {
					break
				}
				e.addWith(t, fmt.Sprint("new", rand.Uint64()), onEnded, workflow.Active)
				i := rand.IntN(len(others))
				others[i] = e.set(t, others[i], 3-others[i].State)
			}
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("order %d desc %v (-want +got):\n%s", order, desc, diff)
			}
		}
	}
}

// TestStore_Relist has a program of the release before at work, which knows nothing of lists.
func TestStore_Relist(t *testing.T) {
	t.Parallel()
	e := newEnv(t)
	for i := range 205 {
		e.addWith(t, fmt.Sprint("w", i), onEnded, workflow.Active)
	}
	changed := e.addWith(t, "Old words", onEnded, workflow.Active)
	if n, err := e.store.Relist(t.Context()); err != nil || n != 0 {
		t.Errorf("got %d, %v; want nothing to do", n, err)
	}
	for _, query := range []string{
		`UPDATE workflows SET listed_version = NULL, terms = '', title_key = '', trigger_type = 0, event_type = '' WHERE title LIKE 'w%'`,
		`UPDATE workflows SET title = 'Ärger neu', state = 1, version = version + 1 WHERE id = '` + string(changed.ID) + `'`,
	} {
		if _, err := e.pool.Exec(t.Context(), query); err != nil {
			t.Fatal(err)
		}
	}
	if n, err := e.store.Relist(t.Context()); err != nil || n != 206 {
		t.Errorf("got %d, %v; want all 206", n, err)
	}
	if n, err := e.store.Relist(t.Context()); err != nil || n != 0 {
		t.Errorf("again: got %d, %v; want nothing to do", n, err)
	}
	e.breakOne(t, "w7")
	if _, err := e.pool.Exec(t.Context(), `UPDATE workflows SET listed_version = NULL WHERE title LIKE 'w%'`); err != nil {
		t.Fatal(err)
	}
	if n, err := e.store.Relist(t.Context()); err == nil || n != 204 {
		t.Errorf("with one that cannot be read: got %d, %v; want all others and an error", n, err)
	}
	filter := workflow.Filter{Words: []string{"ärg"}, States: []workflow.State{workflow.Inactive}}
	if got := e.titles(t, workflow.ListQuery{Limit: 5, Filter: filter}); len(got) != 1 {
		t.Errorf("got %v, want the one that was renamed", got)
	}
	if got := e.titles(t, workflow.ListQuery{Limit: 200, Filter: workflow.Filter{EventTypes: []string{"call.ended"}, Words: []string{"w"}}}); len(got) != 205 {
		t.Errorf("got %d, want 205", len(got))
	}
}

// breakOne gives a workflow a revision that no program can read.
func (e *env) breakOne(t *testing.T, title string) {
	t.Helper()
	for _, query := range []string{
		`INSERT INTO revisions (tenant, workflow_id, revision, config, hash, size, author, create_time)
		 SELECT tenant, id, revision + 1, '{"trigger": 7}', '', 0, '', now() FROM workflows WHERE tenant = 'acme' AND title = $1`,
		`UPDATE workflows SET revision = revision + 1 WHERE tenant = 'acme' AND title = $1`,
	} {
		if _, err := e.pool.Exec(t.Context(), query, title); err != nil {
			t.Fatal(err)
		}
	}
}

// TestStore_List_gives_connections_back lists for callers who have gone.
func TestStore_List_gives_connections_back(t *testing.T) {
	t.Parallel()
	e := newEnv(t)
	query := workflow.ListQuery{Limit: 5, Filter: workflow.Filter{Words: []string{"none"}}}
	for n := range 40 {
		ctx, cancel := context.WithTimeout(t.Context(), time.Duration(n)*100*time.Microsecond)
		_, _ = e.store.List(ctx, "acme", query) // too short for some
		cancel()
	}
	if _, err := e.store.List(t.Context(), "acme", query); err != nil {
		t.Error(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	for n := range e.pool.Config().MaxConns {
		conn, err := e.pool.Acquire(ctx)
		if err != nil {
			t.Fatalf("only %d connections are left: %v", n, err)
		}
		defer conn.Release()
	}
}
