package index

import (
	"testing"
	"time"

	"workflow.uniconnect/services/trigger-scheduler/internal/event"
)

// TestIndex_Match_date_range holds that the range takes its start and not its end, by the time that the event itself names, to the
// nanosecond and in whatever zone it is written.
func TestIndex_Match_date_range(t *testing.T) {
	from := time.Date(2026, 3, 29, 1, 0, 0, 0, time.UTC) // where Berlin's summer time begins
	until := from.Add(48 * time.Hour)
	var open time.Time
	cases := map[string]struct {
		from, until time.Time
		at          string
		want        bool
	}{
		"before_start":           {from, until, "2026-03-29T00:59:59.999999999Z", false},
		"at_start":               {from, until, "2026-03-29T01:00:00Z", true},
		"after_start":            {from, until, "2026-03-29T01:00:00.000000001Z", true},
		"before_end":             {from, until, "2026-03-31T00:59:59.999999999Z", true},
		"at_end":                 {from, until, "2026-03-31T01:00:00Z", false},
		"after_end":              {from, until, "2026-03-31T01:00:00.000000001Z", false},
		"long_before":            {from, until, "1970-01-01T00:00:00Z", false},
		"long_after":             {from, until, "9998-12-31T23:59:59Z", false},
		"only_start_before":      {from, open, "2026-03-29T00:59:59.999999999Z", false},
		"only_start_at":          {from, open, "2026-03-29T01:00:00Z", true},
		"only_start_long_after":  {from, open, "9998-12-31T23:59:59Z", true},
		"only_end_before":        {open, until, "2026-03-31T00:59:59.999999999Z", true},
		"only_end_at":            {open, until, "2026-03-31T01:00:00Z", false},
		"only_end_long_before":   {open, until, "1970-01-01T00:00:00Z", true},
		"neither":                {open, open, "1970-01-01T00:00:00Z", true},
		"zone_before_start":      {from, until, "2026-03-29T01:59:59.999999999+01:00", false},
		"zone_at_start":          {from, until, "2026-03-29T03:00:00+02:00", true},
		"zone_at_start_west":     {from, until, "2026-03-28T15:00:00-10:00", true},
		"zone_before_end":        {from, until, "2026-03-31T02:59:59.999999999+02:00", true},
		"zone_at_end":            {from, until, "2026-03-31T14:45:00+13:45", false},
		"range_in_other_zone_at": {from.In(time.FixedZone("", 5*3600)), until, "2026-03-29T01:00:00Z", true},
		"one_instant":            {from, from.Add(1), "2026-03-29T01:00:00Z", true},
		"one_instant_end":        {from, from.Add(1), "2026-03-29T01:00:00.000000001Z", false},
	}
	decoder := event.NewDecoder(nil)
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			x := newIndex(t)
			def := definition("w", `event.data.n == 1`)
			def.From, def.Until = c.from, c.until
			apply(t, x, def)
			var ev event.Event
			problem := decoder.Decode(&event.Message{
				Subject: "uniconnect.events.acme.call.ended", Body: []byte(`{"n":1}`), Sequence: 1, Time: now.Add(time.Minute),
				Header: map[string][]string{"ce-id": {"e1"}, "ce-time": {c.at}},
			}, &ev)
			if problem != nil {
				t.Fatal(problem)
			}
			if got := len(matches(t, x, &ev)) == 1; got != c.want {
				t.Errorf("an event of %s in [%v, %v): started %v, want %v", c.at, c.from, c.until, got, c.want)
			}
		})
	}
}

// TestIndex_Match_date_range_without_a_time holds that an event that names no time happened when the stream took it.
func TestIndex_Match_date_range_without_a_time(t *testing.T) {
	published := now.Add(time.Minute)
	for name, c := range map[string]struct {
		from, until time.Time
		want        bool
	}{
		"at_start": {published, published.Add(1), true},
		"at_end":   {published.Add(-1), published, false},
	} {
		t.Run(name, func(t *testing.T) {
			x := newIndex(t)
			def := definition("w", ``)
			def.From, def.Until = c.from, c.until
			apply(t, x, def)
			var ev event.Event
			problem := event.NewDecoder(nil).Decode(&event.Message{
				Subject: "uniconnect.events.acme.call.ended", Body: []byte(`{}`), Sequence: 1, Time: published,
			}, &ev)
			if problem != nil {
				t.Fatal(problem)
			}
			if got := len(matches(t, x, &ev)) == 1; got != c.want {
				t.Errorf("started %v, want %v", got, c.want)
			}
		})
	}
}
