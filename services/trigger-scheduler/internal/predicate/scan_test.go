package predicate

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"workflow.uniconnect/pkg/expr"
)

// agree holds that what the scan knows CEL knows too: each test is one of CEL's equalities, and what is said to be tests alone is.
func agree(t *testing.T, env *Env, source string) {
	t.Helper()
	tests, exact, known := scan(source)
	if !known {
		return
	}
	program, err := env.env.Compile(source, expr.Bool)
	if err != nil {
		if exact {
			t.Errorf("%s: said to be tests alone, CEL says %v", source, err)
		}
		return
	}
	if exact && !program.OnlyEqualities() {
		t.Errorf("%s: said to be tests alone", source)
	}
	all := program.Equalities()
	for _, test := range tests {
		found := false
		for _, e := range all {
			found = found || cmp.Equal(e, test)
		}
		if !found {
			t.Errorf("%s: %v is none of %v", source, test, all)
		}
	}
}

func newEnv(t testing.TB) *Env {
	t.Helper()
	env, err := NewEnv()
	if err != nil {
		t.Fatal(err)
	}
	return env
}

func TestScan(t *testing.T) {
	env := newEnv(t)
	for source, want := range map[string]struct {
		tests int
		exact bool
	}{
		`event.data.a == "x"`:                              {1, true},
		`event . data . a=='x'`:                            {1, true},
		`5 == event.data.a`:                                {1, true},
		`event.data.a == -5 && (event.data.b == true)`:     {2, true},
		`((event.data.a == 1 && event.data.b == "(\"x"))`:  {0, false},
		`(event.data.a == 1 && event.data.b == "(x&&)")`:   {2, true},
		`event.data.a == 1 && event.data.b > 2`:            {1, false},
		`event.data.a == 1 && !(event.data.b == 2)`:        {1, false},
		`event.data.a == 1 || event.data.b == 2`:           {0, false},
		`event.data.a == 1 && (event.data.b == 2 || true)`: {1, false},
		`event.data.a == 1 ? true : event.data.b == 2`:     {0, false},
		`event.data.a == 1 && has(event.data.b)`:           {1, false},
		`event.data.a == 1.5`:                              {0, false},
		`event.data.a == 5u`:                               {0, false},
		`event.data.a == null`:                             {0, false},
		`event.data["a"] == 1`:                             {0, false},
		`event == 1`:                                       {0, false},
		`now == event.time`:                                {0, false},
		`event.data.a != 1`:                                {0, false},
		`event.data.a == 1 == true`:                        {0, false},
		`event.data.a == r"x"`:                             {0, false},
		`event.data.a == """x"""`:                          {0, false},
		`event.data.a == "" && event.data.b == ''`:         {2, true},
		`event.data.a == 1 // && event.data.b == 2`:        {0, false},
		`event.data.in == 1`:                               {0, false},
		`event.data.a = 1`:                                 {0, false},
		`event.data.a == 99999999999999999999`:             {0, false},
		`[1].all(event, event == 1)`:                       {0, false},
		"event.data.a == \"\xf8\"":                         {0, false},
		`event.data.a == "x" &&`:                           {1, false},
		`event.data.a == "x")`:                             {0, false},
		strings.Repeat("(", 200) + `event.data.a == 1` + strings.Repeat(")", 200): {1, false},
	} {
		tests, exact, _ := scan(source)
		if len(tests) != want.tests || exact != want.exact {
			t.Errorf("%s: got %v, %v; want %d, %v", source, tests, exact, want.tests, want.exact)
		}
		agree(t, env, source)
	}
}

// TestScan_agrees_with_CEL makes expressions of parts that are easily confused.
func TestScan_agrees_with_CEL(t *testing.T) {
	env := newEnv(t)
	const seed = 7
	r := rand.New(rand.NewPCG(seed, seed))
	parts := []string{
		"event.data.a", "event.data.b", "event.id", "event", "now", `"x"`, `'y'`, `"&&"`, `"'"`, `""`, "1", "-1", "1.5", "0x1", "true", "null",
		"==", "==", "==", "==", "&&", "&&", "&&", "||", "!", "!=", "(", ")", "(", ")", "[1]", ".c", "?", ":", "in", "has(event.data.a)", "> 2", "+ 1", " ", "\n",
		"r", "//", "`a`", "{}", "=", "&",
	}
	const rounds = 8_000
	for range rounds {
		var b strings.Builder
		if r.IntN(2) == 0 {
			// Likely to be right.
			fmt.Fprintf(&b, `event.data.a == %s && `, parts[5+r.IntN(11)])
		}
		for range 1 + r.IntN(9) {
			b.WriteString(parts[r.IntN(len(parts))] + " "[:r.IntN(2)])
		}
		agree(t, env, b.String())
	}
}

func FuzzScan(f *testing.F) {
	f.Add(`event.data.a == "x" && (event.data.b == 1 || event.data.c)`)
	env, err := NewEnv()
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, source string) { agree(t, env, source) })
}
