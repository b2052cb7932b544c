package predicate

import (
	"math"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"workflow.uniconnect/pkg/expr"
)

// scan finds the equality tests of an expression without parsing all of it, which takes a twentieth of the time that CEL takes. It knows
// strings, brackets and the operators that join, and gives up (known is false) on whatever else could mislead it: escapes, prefixes and
// triple quotes of strings, and comments. It judges nothing: an expression that CEL refuses may be known. Where it is exact, CEL does take the
// expression, which then is nothing but the tests.
func scan(source string) (tests []expr.Equality, exact, known bool) {
	if !utf8.ValidString(source) {
		return nil, false, false // CEL reads other text than there is
	}
	tokens, ok := lex(source)
	if !ok {
		return nil, false, false
	}
	tests, exact = equalities(tokens)
	return tests, exact && len(source) <= expr.MaxLength && strings.Count(source, "(") <= maxParentheses, true
}

// maxParentheses keeps far below the nesting that CEL takes.
const maxParentheses = 8

// token is a word of letters and digits, a string's content or an operator.
type token struct {
	kind byte // 'w' word, 's' string, 'o' a comparison but ==, otherwise the first character
	text string
}

func lex(source string) ([]token, bool) {
	var tokens []token
	for i := 0; i < len(source); {
		c := source[i]
		pair := source[i:min(i+2, len(source))]
		switch {
		case c == ' ' || c == '\t' || c == '\n' || c == '\r':
			i++
		case isWord(c):
			end := i
			for end < len(source) && isWord(source[end]) {
				end++
			}
			tokens = append(tokens, token{'w', source[i:end]})
			i = end
			if i < len(source) && (source[i] == '"' || source[i] == '\'') {
				return nil, false // r"…" or b"…"
			}
		case c == '"' || c == '\'':
			n := strings.IndexByte(source[i+1:], c)
			if n < 0 {
				return nil, false
			}
			text := source[i+1 : i+1+n]
			i += n + 2
			if strings.ContainsAny(text, "\\\n\r") || i < len(source) && source[i] == c {
				return nil, false // an escape, or a third quote
			}
			tokens = append(tokens, token{'s', text})
		case pair == "!=" || pair == "<=" || pair == ">=":
			tokens = append(tokens, token{'o', pair})
			i += 2
		case pair == "&&" || pair == "||" || pair == "==":
			tokens = append(tokens, token{c, pair})
			i += 2
		case pair == "//" || c == '&' || c == '|' || c == '=':
			return nil, false
		default:
			tokens = append(tokens, token{c, source[i : i+1]})
			i++
		}
	}
	return tokens, true
}

func isWord(c byte) bool {
	return c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || c == '_' || c >= 0x80
}

// equalities returns the tests that && joins.
func equalities(tokens []token) (tests []expr.Equality, exact bool) {
	tokens = unwrapped(tokens)
	depth, begin := 0, 0
	var terms [][]token
	for i, t := range tokens {
		switch t.kind {
		case '(', '[', '{':
			depth++
		case ')', ']', '}':
			if depth--; depth < 0 {
				return nil, false
			}
		case '|', '?':
			if depth == 0 {
				return nil, false
			}
		case '&':
			if depth == 0 {
				terms = append(terms, tokens[begin:i])
				begin = i + 1
			}
		}
	}
	if depth != 0 {
		return nil, false
	}
	if len(terms) == 0 {
		return test(tokens)
	}
	exact = true
	for _, term := range append(terms, tokens[begin:]) {
		more, all := equalities(term)
		tests, exact = append(tests, more...), exact && all
	}
	return tests, exact
}

// unwrapped removes the parentheses around all of it.
func unwrapped(tokens []token) []token {
	for len(tokens) >= 2 && tokens[0].kind == '(' {
		depth := 0
		end := slices.IndexFunc(tokens, func(t token) bool {
			switch t.kind {
			case '(':
				depth++
			case ')':
				depth--
			}
			return depth == 0
		})
		if end != len(tokens)-1 {
			break
		}
		tokens = tokens[1:end]
	}
	return tokens
}

// test reads `path == literal` or `literal == path`.
func test(tokens []token) ([]expr.Equality, bool) {
	at := slices.IndexFunc(tokens, func(t token) bool { return t.kind == '=' })
	if at < 0 {
		return nil, false
	}
	left, right := tokens[:at], tokens[at+1:]
	path, value := pathOf(left), literalOf(right)
	if path == nil {
		path, value = pathOf(right), literalOf(left)
	}
	if path == nil || value == nil {
		return nil, false
	}
	return []expr.Equality{{Path: path, Value: value}}, true
}

// pathOf reads `event.data.field`, and returns nil for anything else.
func pathOf(tokens []token) []string {
	if len(tokens) < 3 || len(tokens)%2 == 0 || tokens[0].text != "event" {
		return nil
	}
	path := make([]string, 0, len(tokens)/2+1)
	for i, t := range tokens {
		switch {
		case i%2 == 1 && t.kind != '.', i%2 == 0 && (t.kind != 'w' || !isField(t.text)):
			return nil
		case i%2 == 0:
			path = append(path, t.text)
		}
	}
	return path
}

// isField reports whether a word may stand behind a dot. Those that CEL keeps for itself may not, though it lets some pass.
func isField(word string) bool {
	if word[0] >= '0' && word[0] <= '9' {
		return false
	}
	for i := range len(word) {
		if word[i] >= 0x80 {
			return false
		}
	}
	switch word {
	case "as", "break", "const", "continue", "else", "false", "for", "function", "if", "import", "in", "let", "loop", "namespace", "null",
		"package", "return", "true", "var", "void", "while":
		return false
	}
	return true
}

// literalOf reads a string, a bool or a whole number, and returns nil for anything else.
func literalOf(tokens []token) any {
	switch {
	case len(tokens) == 2 && tokens[0].text == "-" && tokens[0].kind == '-' && tokens[1].kind == 'w':
		if n, ok := whole(tokens[1].text); ok {
			return -n
		}
	case len(tokens) != 1:
	case tokens[0].kind == 's':
		return tokens[0].text
	case tokens[0].text == "true":
		return true
	case tokens[0].text == "false":
		return false
	default:
		if n, ok := whole(tokens[0].text); ok {
			return n
		}
	}
	return nil
}

func whole(text string) (int64, bool) {
	if strings.Trim(text, "0123456789") != "" {
		return 0, false
	}
	n, err := strconv.ParseInt(text, 10, 64)
	return n, err == nil
}

// comparable returns the value of a rule that is an equality in the form that equalities have.
func comparable(v any) (any, bool) {
	switch x := v.(type) {
	case string, bool, int64:
		return x, true
	case float64:
		if x == math.Trunc(x) && math.Abs(x) <= 1<<53 {
			return int64(x), true
		}
	}
	return nil, false
}
