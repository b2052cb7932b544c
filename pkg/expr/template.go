package expr

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"cel.dev/cel-go/parser/gen"
	"github.com/antlr4-go/antlr/v4"
)

// Template is JSON data whose strings may hold expressions: a string that is one whole `${…}` becomes the expression's value, any
// other `${…}` becomes text within its string. `$${` is a literal `${`. Keys are never expressions. It is safe for concurrent use.
type Template struct {
	eval func(ctx context.Context, scope Scope, room *int) (any, error)
	// static is the value of a template without expressions.
	static any
}

// TemplateError is a problem of an expression inside a template.
type TemplateError struct {
	// Path leads from the template's root to the string, for example `.headers.x` or `[2].name`.
	Path string
	// Err is the problem, an *Error when the expression does not compile.
	Err error
}

// Error names path and problem.
func (e *TemplateError) Error() string { return e.Path + ": " + e.Err.Error() }

// Unwrap returns the problem.
func (e *TemplateError) Unwrap() error { return e.Err }

// CompileTemplate compiles every expression in v. The errors name each string that does not compile.
func (e *Env) CompileTemplate(v any) (*Template, []*TemplateError) {
	c := templateCompiler{env: e}
	t := c.compile("", v)
	if len(c.errs) > 0 {
		return nil, c.errs
	}
	return t, nil
}

// Static reports whether the template holds no expression, so that Eval always returns the same.
func (t *Template) Static() bool { return t.eval == nil }

// Eval fills the template in. The result may share parts with the template and the scope, so it must not be changed. Values that come to
// more than MaxFilled are an ErrTooLarge: a template can name the same value many times.
func (t *Template) Eval(ctx context.Context, scope Scope) (any, error) {
	room := MaxFilled
	return t.fill(ctx, scope, &room)
}

// fill is Eval within what is left of the room.
func (t *Template) fill(ctx context.Context, scope Scope, room *int) (any, error) {
	if t.eval == nil {
		return t.static, nil
	}
	return t.eval(ctx, scope, room)
}

type templateCompiler struct {
	env  *Env
	errs []*TemplateError
}

func (c *templateCompiler) compile(path string, v any) *Template {
	switch x := v.(type) {
	case string:
		return c.compileString(path, x)
	case map[string]any:
		return c.compileMap(path, x)
	case []any:
		return c.compileList(path, x)
	default:
		return &Template{static: FromFloats(v)}
	}
}

func (c *templateCompiler) compileMap(path string, m map[string]any) *Template {
	parts := make(map[string]*Template, len(m))
	static, out := true, make(map[string]any, len(m))
	for k, v := range m {
		parts[k] = c.compile(path+"."+k, v)
		static = static && parts[k].Static()
		out[k] = parts[k].static
	}
	if static {
		return &Template{static: out}
	}
	return &Template{eval: func(ctx context.Context, scope Scope, room *int) (any, error) {
		out := make(map[string]any, len(parts))
		for k, part := range parts {
			v, err := part.fill(ctx, scope, room)
			if err != nil {
				return nil, at("."+k, err)
			}
			out[k] = v
		}
		return out, nil
	}}
}

func (c *templateCompiler) compileList(path string, l []any) *Template {
	parts := make([]*Template, len(l))
	static, out := true, make([]any, len(l))
	for i, v := range l {
		parts[i] = c.compile(fmt.Sprintf("%s[%d]", path, i), v)
		static = static && parts[i].Static()
		out[i] = parts[i].static
	}
	if static {
		return &Template{static: out}
	}
	return &Template{eval: func(ctx context.Context, scope Scope, room *int) (any, error) {
		out := make([]any, len(parts))
		for i, part := range parts {
			v, err := part.fill(ctx, scope, room)
			if err != nil {
				return nil, at(fmt.Sprintf("[%d]", i), err)
			}
			out[i] = v
		}
		return out, nil
	}}
}

// at puts a part's place in front of the place its own error has.
func at(part string, err error) error {
	var inner *TemplateError
	if errors.As(err, &inner) {
		return &TemplateError{Path: part + inner.Path, Err: inner.Err}
	}
	return &TemplateError{Path: part, Err: err}
}

// compileString compiles the expressions of s.
func (c *templateCompiler) compileString(path, s string) *Template {
	parts, err := split(s)
	if err != nil {
		c.fail(path, err)
		return &Template{}
	}
	if len(parts.sources) == 0 {
		return &Template{static: parts.texts[0]}
	}
	programs := make([]*Program, len(parts.sources))
	for i, source := range parts.sources {
		if programs[i], err = c.env.Compile(source, Any); err != nil {
			c.fail(path, err)
			return &Template{}
		}
	}
	if parts.whole() {
		return &Template{eval: func(ctx context.Context, scope Scope, room *int) (any, error) {
			return within(ctx, scope, programs[0], room)
		}}
	}
	return &Template{eval: interpolate(parts.texts, programs)}
}

// parts is a string of a template: texts[i] stands before sources[i], the last text at the end.
type parts struct{ texts, sources []string }

// whole reports whether the string is one expression and nothing else.
func (p parts) whole() bool { return len(p.sources) == 1 && p.texts[0] == "" && p.texts[1] == "" }

// split takes literal text and expressions apart.
func split(s string) (parts, error) {
	if !strings.Contains(s, "${") {
		return parts{texts: []string{s}}, nil
	}
	var (
		p    parts
		text strings.Builder
	)
	for rest := s; ; {
		open := strings.Index(rest, "${")
		if open < 0 {
			text.WriteString(rest)
			p.texts = append(p.texts, text.String())
			return p, nil
		}
		if open > 0 && rest[open-1] == '$' {
			text.WriteString(rest[:open-1] + "${")
			rest = rest[open+2:]
			continue
		}
		text.WriteString(rest[:open])
		source, ok := untilBrace(rest[open+2:])
		if !ok {
			return p, errors.New("`${` without its closing `}`; write `$${` for a literal one")
		}
		p.texts, p.sources = append(p.texts, text.String()), append(p.sources, source)
		text.Reset()
		rest = rest[open+2+len(source)+1:]
	}
}

// Embedded is an expression within a template.
type Embedded struct {
	// Path leads from the template's root to the string.
	Path   string
	Source string
	// Whole says that the string is the expression and nothing else, so that its value keeps its type.
	Whole bool
}

// Expressions returns the expressions of a template in the order of their paths, and the strings that cannot be read.
func Expressions(v any) ([]Embedded, []*TemplateError) {
	var (
		found []Embedded
		errs  []*TemplateError
		walk  func(path string, v any)
	)
	walk = func(path string, v any) {
		switch x := v.(type) {
		case string:
			p, err := split(x)
			if err != nil {
				errs = append(errs, &TemplateError{Path: path, Err: err})
				return
			}
			for _, source := range p.sources {
				found = append(found, Embedded{Path: path, Source: source, Whole: p.whole()})
			}
		case map[string]any:
			for _, k := range slices.Sorted(maps.Keys(x)) {
				walk(path+"."+k, x[k])
			}
		case []any:
			for i, item := range x {
				walk(fmt.Sprintf("%s[%d]", path, i), item)
			}
		}
	}
	walk("", v)
	return found, errs
}

func (c *templateCompiler) fail(path string, err error) {
	c.errs = append(c.errs, &TemplateError{Path: path, Err: err})
}

// within evaluates an expression whose value must fit into the room, and takes that much of it.
func within(ctx context.Context, scope Scope, program *Program, room *int) (any, error) {
	v, err := program.Eval(ctx, scope)
	if err != nil {
		return nil, err
	}
	if *room -= Size(v, *room); *room < 0 {
		return nil, ErrTooLarge
	}
	return v, nil
}

func interpolate(texts []string, programs []*Program) func(context.Context, Scope, *int) (any, error) {
	return func(ctx context.Context, scope Scope, room *int) (any, error) {
		var out strings.Builder
		for i, program := range programs {
			out.WriteString(texts[i])
			v, err := within(ctx, scope, program, room)
			if err != nil {
				return nil, err
			}
			s, err := asText(v)
			if err != nil {
				return nil, err
			}
			out.WriteString(s)
		}
		out.WriteString(texts[len(programs)])
		return out.String(), nil
	}
}

// asText is how a value looks within a string: a string as it is, anything else as JSON.
func asText(v any) (string, error) {
	if s, ok := v.(string); ok {
		return s, nil
	}
	raw, err := json.Marshal(v)
	if err != nil {
		return "", fmt.Errorf("write value as text: %w", err)
	}
	return string(raw), nil
}

// untilBrace returns the expression at the start of s up to the brace that closes it. CEL's own lexer tells braces of the expression's
// maps and strings from that one.
func untilBrace(s string) (string, bool) {
	lexer := gen.NewCELLexer(antlr.NewInputStream(s))
	lexer.RemoveErrorListeners()
	depth := 0
	for {
		token := lexer.NextToken()
		switch token.GetTokenType() {
		case antlr.TokenEOF:
			return "", false
		case gen.CELLexerLBRACE:
			depth++
		case gen.CELLexerRBRACE:
			if depth == 0 {
				// The lexer counts characters, we cut bytes.
				return s[:byteOf(s, token.GetStart())], true
			}
			depth--
		}
	}
}

// byteOf returns where the nth character of s begins.
func byteOf(s string, n int) int {
	for i := range s {
		if n == 0 {
			return i
		}
		n--
	}
	return len(s)
}
