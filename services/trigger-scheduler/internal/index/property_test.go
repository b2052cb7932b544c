package index

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strconv"
	"strings"
	"testing"

	"workflow.uniconnect/pkg/expr"
	"workflow.uniconnect/services/trigger-scheduler/internal/predicate"
)

// generator makes events and filters out of few names and values, so that they meet often.
type generator struct{ *rand.Rand }

func pick[T any](g generator, of []T) T { return of[g.IntN(len(of))] }

func (g generator) json(depth int) string {
	scalars := []string{
		`1`, `1.0`, `1e0`, `10e-1`, `-0`, `0`, `-0.0`, `-1`, `1.5`, `"1"`, `"x"`, `"\u0078"`, `"é"`, `"e\u0301"`, `""`, `true`, `false`, `"true"`, `null`,
		`9007199254740991`, `9007199254740992`, `9007199254740993`, `9007199254740992.0`, `9007199254740993.0`, `9.007199254740993e15`,
		`1e18`, `1000000000000000000`, `9223372036854775807`, `9223372036854775808`, `9.223372036854775807e18`, `-9223372036854775808`, `1e300`, `1e-300`,
	}
	if depth == 0 || g.IntN(3) > 0 {
		return pick(g, scalars)
	}
	if g.IntN(6) == 0 {
		return `[` + g.json(depth-1) + `,` + g.json(depth-1) + `]`
	}
	return g.object(depth)
}

func (g generator) object(depth int) string {
	names := []string{`a`, `b`, `\u0061`, `ü`, `in`, `a b`} // as JSON writes them: two of them are one key
	members := make([]string, g.IntN(5))
	for i := range members {
		members[i] = `"` + pick(g, names) + `":` + g.json(depth-1)
	}
	return `{` + strings.Join(members, ",") + `}`
}

func (g generator) path() string {
	p := pick(g, []string{"event.data", "event.data", "event.data", "event.id", "event.type", "event.source", "event.subject", "event.time", "event.nothing"})
	for range g.IntN(3) {
		p += pick(g, []string{".a", ".b", `["ü"]`, `["a"]`, `["in"]`, ".nothing"})
	}
	return p
}

func (g generator) test() string {
	literal := pick(g, []string{
		`1`, `0`, `-1`, `1.0`, `1u`, `"1"`, `"x"`, `"é"`, `""`, `true`, `false`, `null`, `9007199254740991`, `9007199254740992`, `9007199254740993`,
		`1000000000000000000`, `9223372036854775807`, `-9223372036854775808`, `"e1"`, `"call.ended"`, `"2026-11-23T10:00:01Z"`,
	})
	switch g.IntN(10) {
	case 0:
		return fmt.Sprintf(`%s == %s`, literal, g.path())
	case 1:
		return fmt.Sprintf(`has(event.data.%s)`, pick(g, []string{"a", "b", "a.b", "nothing"}))
	case 2:
		return fmt.Sprintf(`%s != %s`, g.path(), literal)
	case 3:
		return fmt.Sprintf(`!(%s == %s)`, g.path(), literal)
	case 4:
		return pick(g, []string{"true", "false", "event.data.a > 0", "size(event.data.a) > 0", "event.data.a.exists(event, event == 1)"})
	default:
		return fmt.Sprintf(`%s == %s`, g.path(), literal)
	}
}

func (g generator) filter(depth int) string {
	switch {
	case depth == 0 || g.IntN(4) == 0:
		return g.test()
	case g.IntN(4) == 0:
		return `(` + g.filter(depth-1) + ` || ` + g.filter(depth-1) + `)`
	default:
		return g.filter(depth-1) + ` && ` + g.filter(depth-1)
	}
}

func (g generator) rules(depth int) *predicate.Group {
	group := &predicate.Group{Join: pick(g, []predicate.Join{predicate.All, predicate.All, predicate.Any})}
	for range 1 + g.IntN(3) {
		if depth > 0 && g.IntN(3) == 0 {
			group.Rules = append(group.Rules, predicate.Rule{Group: g.rules(depth - 1)})
			continue
		}
		group.Rules = append(group.Rules, predicate.Rule{
			Field:    pick(g, []string{"event.data.a", "event.data.b", "event.data.a.b", "event.data.ü", "event.data.in", "event.data.a b", "event.id"}),
			Operator: pick(g, []string{"EQUALS", "EQUALS", "EQUALS", "NOT_EQUALS", "EXISTS", "NOT_EXISTS"}),
			Value:    expr.FromFloats(pick(g, []any{1.0, 0.0, "1", "x", "é", true, false, nil, 1e18, 9007199254740992.0, "e1"})),
		})
	}
	return group
}

// TestIndex_Match_is_evaluation: whatever the index looks up, it finds what evaluating every filter on the event's JSON finds.
func TestIndex_Match_is_evaluation(t *testing.T) {
	seed := rand.Uint64()
	g := generator{rand.New(rand.NewPCG(seed, 0))}
	env, err := predicate.NewEnv()
	if err != nil {
		t.Fatal(err)
	}
	for range 12 {
		x := newIndex(t)
		defs := make([]Definition, 60)
		plain := make([]*predicate.Predicate, len(defs))
		for i := range defs {
			defs[i] = definition(strconv.Itoa(i), g.filter(2))
			if i%4 == 0 {
				defs[i].Trigger.Filter = predicate.Source{Rules: g.rules(2)}
			}
			compiled, violations := env.Compile(defs[i].Trigger.Filter, "filter")
			if len(violations) > 0 {
				t.Fatalf("seed %d: %+v: %v", seed, defs[i].Trigger.Filter, violations)
			}
			plain[i] = compiled
		}
		apply(t, x, defs...)
		for range 100 {
			ev := newEvent(g.object(3))
			decoded, err := expr.Decode(ev.JSON())
			if err != nil {
				t.Fatal(err)
			}
			scope := expr.Vars{"event": decoded, "now": ev.Published}
			var want []string
			for i, p := range plain {
				if ok, err := p.Match(t.Context(), scope); err == nil && ok {
					want = append(want, strconv.Itoa(i))
				}
			}
			slices.Sort(want)
			if got := matches(t, x, ev); !slices.Equal(got, append([]string{}, want...)) {
				for _, id := range append(got, want...) {
					if slices.Contains(got, id) != slices.Contains(want, id) {
						i, _ := strconv.Atoi(id)
						t.Errorf("%+v: index says %t", defs[i].Trigger.Filter, slices.Contains(got, id))
					}
				}
				t.Fatalf("seed %d: event %s", seed, ev.Data)
			}
		}
	}
}
