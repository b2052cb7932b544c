package index

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"workflow.uniconnect/services/trigger-scheduler/internal/event"
	"workflow.uniconnect/services/trigger-scheduler/internal/predicate"
	"workflow.uniconnect/services/trigger-scheduler/internal/start"
)

var now = time.Date(2026, 11, 23, 10, 0, 0, 0, time.UTC)

func newIndex(t testing.TB) *Index {
	t.Helper()
	env, err := predicate.NewEnv()
	if err != nil {
		t.Fatal(err)
	}
	return New(env)
}

// definition returns an active workflow of acme on call.ended.
func definition(id, filter string) Definition {
	return Definition{
		Tenant: "acme", Workflow: start.WorkflowID(id), Revision: 1, Active: true, HasSteps: true,
		Effective: now, ActiveSince: now,
		Trigger: &Trigger{Type: "call.ended", Filter: predicate.Source{Expression: filter}},
	}
}

func newEvent(data string) *event.Event {
	return &event.Event{
		Tenant: "acme", Type: "call.ended", Source: "/pbx", ID: "e1", Subject: "c1", Time: now.Add(time.Second), Published: now.Add(time.Minute),
		Data: []byte(data),
	}
}

func apply(t testing.TB, x *Index, defs ...Definition) {
	t.Helper()
	if err := x.Apply(defs); err != nil {
		t.Fatal(err)
	}
}

func matches(t testing.TB, x *Index, ev *event.Event) []string {
	t.Helper()
	ids := []string{}
	for _, s := range x.Match(t.Context(), ev, nil).Starts {
		ids = append(ids, string(s.Workflow))
	}
	slices.Sort(ids)
	return ids
}

func TestIndex_Match_filters(t *testing.T) {
	const data = `{"result":"answered","talk_ms":1000,"ratio":2.0,"vip":true,"lead":{"id":"l1","tags":["a","b"]},"odd key":"x","n":null,` +
		`"before":{"status":"new"},"record":{"status":"old"}}`
	cases := map[string]bool{
		``:                                true,
		`event.data.result == "answered"`: true,
		`"answered" == event.data.result`: true,
		`event.data.result == "missed"`:   false,
		`event.data.result == "answered" && event.data.talk_ms > 500`:    true,
		`event.data.result == "answered" && event.data.talk_ms > 5000`:   false,
		`event.data.talk_ms == 1000`:                                     true,
		`event.data.ratio == 2`:                                          true,
		`event.data.ratio == 3`:                                          false,
		`event.data.vip == true`:                                         true,
		`event.data.vip == false`:                                        false,
		`event.data.lead.id == "l1" && event.data.result == "answered"`:  true,
		`event.data.lead.id == "l2" && event.data.result == "answered"`:  false,
		`event.data.lead == "l1"`:                                        false,
		`event.data.missing == "x"`:                                      false,
		`event.data.missing > 3`:                                         false,
		`event.data.missing == "x" || event.data.vip`:                    true,
		`event.type == "call.ended" && event.source == "/pbx"`:           true,
		`event.subject == "other"`:                                       false,
		`event.id == "e1"`:                                               true,
		`event.time == "2026-11-23T10:00:01Z"`:                           true,
		`event.nothing == "e1"`:                                          false,
		`"a" in event.data.lead.tags`:                                    true,
		`event.data["odd key"] == "x"`:                                   true,
		`timestamp(event.time) < now`:                                    true,
		`event.data.n == null`:                                           true,
		`event.data.result == "answered" && event.data.result == "x"`:    false,
		`event.data.lead.tags.exists(t, t == "b") && event.data.vip`:     true,
		`[1,2,3,4,5,6,7,8].all(a, [1,2,3].all(b, a * b > 0))`:            true,
		`event.data.result.startsWith("ans") && event.data.vip == true`:  true,
		`event.data.vip == true && !(event.data.result == "answered")`:   false,
		`(event.data.vip == true && event.data.talk_ms == 1000) || true`: true,
	}
	x := newIndex(t)
	want := []string{}
	defs := []Definition{}
	for filter, hit := range cases {
		defs = append(defs, definition(filter, filter))
		if hit {
			want = append(want, filter)
		}
	}
	slices.Sort(want)
	apply(t, x, defs...)
	if diff := cmp.Diff(want, matches(t, x, newEvent(data))); diff != "" {
		t.Errorf("all in one group (-want +got):\n%s", diff)
	}
	for _, def := range defs {
		alone := newIndex(t)
		apply(t, alone, def)
		if got, want := len(matches(t, alone, newEvent(data))) == 1, cases[def.Trigger.Filter.Expression]; got != want {
			t.Errorf("alone: %s: got %v, want %v", def.Workflow, got, want)
		}
	}
}

// TestIndex_Match_agrees_with_evaluation compares what the index looks up with what evaluation alone says, on values that are easily confused.
func TestIndex_Match_agrees_with_evaluation(t *testing.T) {
	values := []string{`"1"`, `1`, `1.0`, `1e0`, `true`, `"true"`, `null`, `{}`, `[1]`, `""`, `0`, `-0`, `false`, `9007199254740993`, `"\u0031"`, `1.5`}
	literals := []string{`"1"`, `1`, `true`, `"true"`, `""`, `0`, `false`, `9007199254740993`, `-1`}
	datas := []string{`"x"`, `null`, `{"b":1}`, `[]`}
	for _, v := range values {
		datas = append(datas, `{"a":`+v+`}`, `{"a":5,"a":`+v+`}`, `{"a":{"b":`+v+`}}`, `{"a":{"b":`+v+`},"a":{}}`, `{"\u0061":`+v+`}`)
	}
	for _, path := range []string{"event.data.a", "event.data.a.b", "event.data"} {
		for _, literal := range literals {
			indexed, evaluated := newIndex(t), newIndex(t)
			apply(t, indexed, definition("w", path+" == "+literal))
			apply(t, evaluated, definition("w", "("+path+" == "+literal+") != false"))
			for _, data := range datas {
				got, want := matches(t, indexed, newEvent(data)), matches(t, evaluated, newEvent(data))
				if !slices.Equal(got, want) {
					t.Errorf("%s == %s on %s: index says %v, evaluation %v", path, literal, data, got, want)
				}
			}
		}
	}
}

func TestIndex_Match_rules(t *testing.T) {
	const data = `{"result":"answered","talk_ms":1000,"tags":["a"],"none":null,"record":{"status":"won","old name":"x"},"before":{"status":"new"},"changed":["email"]}`
	rule := func(field, operator string, v any) predicate.Rule {
		return predicate.Rule{Field: field, Operator: operator, Value: v}
	}
	yes, no := rule("event.data.result", "EQUALS", "answered"), rule("event.data.result", "EQUALS", "missed")
	absent := rule("event.data.nothing", "EQUALS", "x")
	cases := map[string]struct {
		group predicate.Group
		want  bool
	}{
		"equals":                {predicate.Group{Join: predicate.All, Rules: []predicate.Rule{yes}}, true},
		"all":                   {predicate.Group{Join: predicate.All, Rules: []predicate.Rule{yes, no}}, false},
		"any":                   {predicate.Group{Join: predicate.Any, Rules: []predicate.Rule{no, yes}}, true},
		"any_beside_failure":    {predicate.Group{Join: predicate.Any, Rules: []predicate.Rule{absent, yes}}, true},
		"any_of_one":            {predicate.Group{Join: predicate.Any, Rules: []predicate.Rule{yes}}, true},
		"all_beside_failure":    {predicate.Group{Join: predicate.All, Rules: []predicate.Rule{absent, yes}}, false},
		"nested":                {predicate.Group{Join: predicate.All, Rules: []predicate.Rule{yes, {Group: &predicate.Group{Join: predicate.Any, Rules: []predicate.Rule{no, yes}}}}}, true},
		"not_equals":            {single(rule("event.data.result", "NOT_EQUALS", "missed")), true},
		"greater":               {single(rule("event.data.talk_ms", "GREATER_THAN", 999.5)), true},
		"greater_or_equal":      {single(rule("event.data.talk_ms", "GREATER_OR_EQUAL", 1000.0)), true},
		"less":                  {single(rule("event.data.talk_ms", "LESS_THAN", 1000.0)), false},
		"less_or_equal":         {single(rule("event.data.talk_ms", "LESS_OR_EQUAL", 1000.0)), true},
		"contains_text":         {single(rule("event.data.result", "CONTAINS", "swer")), true},
		"contains_element":      {single(rule("event.data.tags", "CONTAINS", "a")), true},
		"not_contains":          {single(rule("event.data.tags", "NOT_CONTAINS", "b")), true},
		"starts_with":           {single(rule("event.data.result", "STARTS_WITH", "ans")), true},
		"ends_with":             {single(rule("event.data.result", "ENDS_WITH", "ans")), false},
		"in":                    {single(rule("event.data.result", "IN", []any{"missed", "answered"})), true},
		"in_numbers":            {single(rule("event.data.talk_ms", "IN", []any{1000.0})), true},
		"not_in":                {single(rule("event.data.result", "NOT_IN", []any{"missed"})), true},
		"exists":                {single(rule("event.data.record.status", "EXISTS", nil)), true},
		"exists_not":            {single(rule("event.data.nothing.at.all", "EXISTS", nil)), false},
		"not_exists":            {single(rule("event.data.nothing.at.all", "NOT_EXISTS", nil)), true},
		"not_exists_below_null": {single(rule("event.data.none.id", "NOT_EXISTS", nil)), true},
		"not_exists_below_text": {single(rule("event.data.result.id", "NOT_EXISTS", nil)), true},
		"element_is_no_field":   {single(rule("event.data.tags.a", "EXISTS", nil)), false},
		"deepest_not_exists":    {single(rule("event.data"+strings.Repeat(".longer_name", 14), "NOT_EXISTS", nil)), true},
		"null_exists":           {single(rule("event.data.none", "EXISTS", nil)), true},
		"changed":               {single(rule("event.data.record.status", "CHANGED", nil)), true},
		"changed_in_list":       {single(rule("event.data.email", "CHANGED", nil)), true},
		"changed_not":           {single(rule("event.data.record.owner", "CHANGED", nil)), false},
		"key_with_space":        {single(rule("event.data.record.old name", "EQUALS", "x")), true},
		"key_is_reserved_word":  {single(rule("event.data.in", "NOT_EXISTS", nil)), true},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			x := newIndex(t)
			def := definition("w", "")
			def.Trigger.Filter.Rules = &c.group
			apply(t, x, def)
			if got := len(matches(t, x, newEvent(data))) == 1; got != c.want {
				t.Errorf("got %v, want %v", got, c.want)
			}
		})
	}
}

func single(r predicate.Rule) predicate.Group {
	return predicate.Group{Join: predicate.All, Rules: []predicate.Rule{r}}
}

func TestIndex_Match_times_and_states(t *testing.T) {
	cases := map[string]struct {
		change func(*Definition)
		want   bool
	}{
		"plain":                    {func(*Definition) {}, true},
		"inactive":                 {func(d *Definition) { d.Active = false }, false},
		"no_steps":                 {func(d *Definition) { d.HasSteps = false }, false},
		"no_event_trigger":         {func(d *Definition) { d.Trigger = nil }, false},
		"other_type":               {func(d *Definition) { d.Trigger.Type = "call.started" }, false},
		"other_tenant":             {func(d *Definition) { d.Tenant = "globex" }, false},
		"published_before":         {func(d *Definition) { d.ActiveSince = now.Add(time.Minute + 1) }, false},
		"published_at_activation":  {func(d *Definition) { d.ActiveSince = now.Add(time.Minute) }, true},
		"happened_at_range_start":  {func(d *Definition) { d.From = now.Add(time.Second) }, true},
		"happened_before_range":    {func(d *Definition) { d.From = now.Add(time.Second + 1) }, false},
		"happened_at_range_end":    {func(d *Definition) { d.Until = now.Add(time.Second) }, false},
		"happened_just_before_end": {func(d *Definition) { d.Until = now.Add(time.Second + 1) }, true},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			x := newIndex(t)
			def := definition("w", "")
			c.change(&def)
			apply(t, x, def)
			if got := len(matches(t, x, newEvent(`{}`))) == 1; got != c.want {
				t.Errorf("got %v, want %v", got, c.want)
			}
		})
	}
}

func TestIndex_Match_dedupe(t *testing.T) {
	x := newIndex(t)
	plain, keyed, broken := definition("plain", ""), definition("keyed", ""), definition("broken", "")
	keyed.Trigger.DedupeKey, keyed.Trigger.DedupeWindow = "event.data.call_id", time.Hour
	broken.Trigger.DedupeKey = "event.data.nothing"
	apply(t, x, plain, keyed, broken)
	starts := func(ev *event.Event) map[start.WorkflowID]start.Start {
		out := make(map[start.WorkflowID]start.Start)
		for _, s := range x.Match(t.Context(), ev, nil).Starts {
			out[s.Workflow] = s
		}
		return out
	}
	first := starts(newEvent(`{"call_id":"c1"}`))
	other := newEvent(`{"call_id":"c1"}`)
	other.ID = "e2"
	second := starts(other)
	if first["keyed"].Key != second["keyed"].Key || first["keyed"].TTL != time.Hour {
		t.Errorf("keyed: got %v and %v for %v", first["keyed"].Key, second["keyed"].Key, first["keyed"].TTL)
	}
	if first["plain"].Key == second["plain"].Key || first["plain"].TTL != start.DefaultTTL {
		t.Error("plain: two events have one key")
	}
	if first["broken"].Key == second["broken"].Key || len(first) != 3 {
		t.Error("a dedupe key without a value must leave the event its own")
	}
	if got := x.Match(t.Context(), other, nil).KeyErrors; got != 1 {
		t.Errorf("key errors: got %d, want 1", got)
	}
}

func TestIndex_Apply_replaces_and_forgets(t *testing.T) {
	x := newIndex(t)
	apply(t, x, definition("a", `event.data.r == "x"`), definition("b", ""))
	moved := definition("a", "")
	moved.Revision, moved.Trigger.Type = 2, "call.started"
	apply(t, x, moved)
	if got := matches(t, x, newEvent(`{"r":"x"}`)); !slices.Equal(got, []string{"b"}) {
		t.Errorf("after the move: got %v", got)
	}
	off := definition("b", "")
	off.Active = false
	apply(t, x, off)
	if got := matches(t, x, newEvent(`{}`)); len(got) != 0 || x.Len() != 1 {
		t.Errorf("after deactivation: got %v of %d", got, x.Len())
	}
	if err := x.Replace([]Definition{definition("c", "")}); err != nil {
		t.Fatal(err)
	}
	if got := matches(t, x, newEvent(`{}`)); !slices.Equal(got, []string{"c"}) || x.Len() != 1 {
		t.Errorf("after a snapshot: got %v of %d", got, x.Len())
	}
	x.Remove(ID{"acme", "c"})
	if x.Len() != 0 {
		t.Errorf("after removal: %d left", x.Len())
	}
}

func TestIndex_Apply_keeps_the_others_when_one_is_broken(t *testing.T) {
	x := newIndex(t)
	apply(t, x, definition("broken", ""))
	err := x.Apply([]Definition{definition("broken", "event.data.("), definition("good", "")})
	if err == nil || !strings.Contains(err.Error(), "workflow broken revision 1: filter.expression: 1:") {
		t.Errorf("got %v", err)
	}
	if got := matches(t, x, newEvent(`{}`)); !slices.Equal(got, []string{"good"}) {
		t.Errorf("got %v", got)
	}
}

// bench fills an index with n workflows of one tenant, of which group share the type call.ended.
func bench(b *testing.B, n, group int, filter func(i int) string) *Index {
	x := newIndex(b)
	defs := make([]Definition, n)
	for i := range defs {
		defs[i] = definition(fmt.Sprintf("w%05d", i), filter(i))
		if i >= group {
			defs[i].Trigger.Type = event.KnownTypes()[i%5+6]
		}
	}
	apply(b, x, defs...)
	return x
}

const benchData = `{"call_id":"c-81273","pbx_id":"pbx-1","segment_count":2,"direction":"inbound","media":"voice","from_e164":"+4930123456",` +
	`"to_e164":"+4930654321","queue":"sales","agent_user_id":"u-17","agent_extension":"107","lead_id":"lead-1007",` +
	`"started_at":"2026-11-23T09:55:00Z","answered_at":"2026-11-23T09:55:08Z","ended_at":"2026-11-23T10:00:00Z",` +
	`"ring_ms":8000,"talk_ms":292000,"hold_ms":0,"result":"answered","end_reason":"hangup","ended_by":"customer","campaign_id":"c42"}`

func BenchmarkIndex_Match(b *testing.B) {
	equality := func(i int) string { return fmt.Sprintf(`event.data.campaign_id == "c%d"`, i) }
	both := func(i int) string {
		return fmt.Sprintf(`event.data.result == "answered" && event.data.campaign_id == "c%d" && event.data.talk_ms > 10`, i)
	}
	scan := func(i int) string { return fmt.Sprintf(`event.data.talk_ms > %d`, 292000+i-42) }
	for _, c := range []struct {
		name     string
		n, group int
		filter   func(int) string
	}{
		{"indexed_200_of_10000", 10_000, 200, equality},
		{"indexed_10000_of_10000", 10_000, 10_000, equality},
		{"indexed_and_evaluated_10000_of_10000", 10_000, 10_000, both},
		{"evaluated_10_of_10000", 10_000, 10, scan},
		{"evaluated_200_of_10000", 10_000, 200, scan},
	} {
		b.Run(c.name, func(b *testing.B) {
			x := bench(b, c.n, c.group, c.filter)
			var starts []start.Start
			b.ReportAllocs()
			for b.Loop() {
				starts = x.Match(b.Context(), newEvent(benchData), starts[:0]).Starts
			}
			b.ReportMetric(float64(len(starts)), "starts")
		})
	}
}
