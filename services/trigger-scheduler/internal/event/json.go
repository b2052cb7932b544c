package event

import (
	"bytes"
	"encoding/json"
	"iter"
	"strconv"
	"unicode/utf8"
)

// CheckJSON reports what keeps raw from being one JSON value of at most depth levels that every part behind us can hold, "" when
// nothing does. It is stricter than the grammar where a database or a number type would refuse later: no NUL, no half of a surrogate
// pair, no number beyond float64.
func CheckJSON(raw []byte, depth int) string {
	if !utf8.Valid(raw) {
		return "the text is not valid UTF-8"
	}
	c := checker{b: raw, depth: depth}
	i := c.value(c.space(0))
	if c.problem != "" {
		return c.problem
	}
	if c.space(i) != len(raw) {
		return "there is text after the JSON value"
	}
	return ""
}

// checker walks JSON text. After a problem its positions mean nothing.
type checker struct {
	b       []byte
	depth   int // levels left
	problem string
}

const (
	problemSyntax = "the text is not valid JSON"
	problemDepth  = "the JSON nests deeper than 64 levels"
	problemNUL    = "a string holds the character NUL"
	problemHalf   = "a string holds half of a surrogate pair"
	problemNumber = "a number is too large"
)

func (c *checker) fail(problem string) int {
	if c.problem == "" {
		c.problem = problem
	}
	return len(c.b)
}

func (c *checker) space(i int) int {
	for i < len(c.b) && (c.b[i] == ' ' || c.b[i] == '\n' || c.b[i] == '\r' || c.b[i] == '\t') {
		i++
	}
	return i
}

func (c *checker) value(i int) int {
	if i >= len(c.b) {
		return c.fail(problemSyntax)
	}
	switch c.b[i] {
	case '{':
		return c.container(i, '}')
	case '[':
		return c.container(i, ']')
	case '"':
		return c.str(i)
	case 't':
		return c.word(i, "true")
	case 'f':
		return c.word(i, "false")
	case 'n':
		return c.word(i, "null")
	default:
		return c.number(i)
	}
}

// container checks an object or an array, whose closing byte is end.
func (c *checker) container(i int, end byte) int {
	if c.depth == 0 {
		return c.fail(problemDepth)
	}
	c.depth--
	i = c.space(i + 1)
	if i < len(c.b) && c.b[i] == end {
		c.depth++
		return i + 1
	}
	for c.problem == "" {
		if end == '}' {
			if i >= len(c.b) || c.b[i] != '"' {
				return c.fail(problemSyntax)
			}
			i = c.space(c.str(i))
			if i >= len(c.b) || c.b[i] != ':' {
				return c.fail(problemSyntax)
			}
			i = c.space(i + 1)
		}
		i = c.space(c.value(i))
		if i >= len(c.b) {
			break
		}
		switch c.b[i] {
		case ',':
			i = c.space(i + 1)
		case end:
			c.depth++
			return i + 1
		default:
			return c.fail(problemSyntax)
		}
	}
	return c.fail(problemSyntax)
}

func (c *checker) word(i int, word string) int {
	if len(c.b)-i < len(word) || string(c.b[i:i+len(word)]) != word {
		return c.fail(problemSyntax)
	}
	return i + len(word)
}

func (c *checker) str(i int) int {
	for i++; i < len(c.b); i++ {
		switch b := c.b[i]; {
		case b == '"':
			return i + 1
		case b == '\\':
			if i = c.escape(i + 1); c.problem != "" {
				return i
			}
		case b < ' ':
			return c.fail(problemSyntax)
		}
	}
	return c.fail(problemSyntax)
}

// escape checks what follows a backslash and returns the index of its last byte.
func (c *checker) escape(i int) int {
	if i >= len(c.b) {
		return c.fail(problemSyntax)
	}
	switch c.b[i] {
	case '"', '\\', '/', 'b', 'f', 'n', 'r', 't':
		return i
	case 'u':
	default:
		return c.fail(problemSyntax)
	}
	unit, ok := c.unit(i + 1)
	switch {
	case !ok:
		return c.fail(problemSyntax)
	case unit == 0:
		return c.fail(problemNUL)
	case unit < 0xD800 || unit > 0xDFFF:
		return i + 4
	case unit > 0xDBFF || i+6 >= len(c.b) || c.b[i+5] != '\\' || c.b[i+6] != 'u':
		return c.fail(problemHalf)
	}
	if low, ok := c.unit(i + 7); !ok || low < 0xDC00 || low > 0xDFFF {
		return c.fail(problemHalf)
	}
	return i + 10
}

func (c *checker) unit(i int) (rune, bool) {
	if i+4 > len(c.b) {
		return 0, false
	}
	var u rune
	for _, b := range c.b[i : i+4] {
		switch {
		case b >= '0' && b <= '9':
			u = u<<4 | rune(b-'0')
		case b >= 'a' && b <= 'f':
			u = u<<4 | rune(b-'a'+10)
		case b >= 'A' && b <= 'F':
			u = u<<4 | rune(b-'A'+10)
		default:
			return 0, false
		}
	}
	return u, true
}

func (c *checker) number(i int) int {
	start, exact := i, true
	if i < len(c.b) && c.b[i] == '-' {
		i++
	}
	first := i
	i = c.digits(i)
	if i == first || c.b[first] == '0' && i > first+1 {
		return c.fail(problemSyntax)
	}
	if i < len(c.b) && c.b[i] == '.' {
		fraction := i + 1
		if i = c.digits(fraction); i == fraction {
			return c.fail(problemSyntax)
		}
	}
	if i < len(c.b) && (c.b[i] == 'e' || c.b[i] == 'E') {
		exact = false
		if i++; i < len(c.b) && (c.b[i] == '+' || c.b[i] == '-') {
			i++
		}
		exponent := i
		if i = c.digits(i); i == exponent {
			return c.fail(problemSyntax)
		}
	}
	// Only an exponent or hundreds of digits can leave the range.
	if !exact || i-start > 300 {
		if _, err := strconv.ParseFloat(string(c.b[start:i]), 64); err != nil {
			return c.fail(problemNumber)
		}
	}
	return i
}

func (c *checker) digits(i int) int {
	for i < len(c.b) && c.b[i] >= '0' && c.b[i] <= '9' {
		i++
	}
	return i
}

// Members yields key and value of each member of the object at the start of raw, in order. raw must have passed CheckJSON; anything
// but an object has no members. Keys are as written, without their quotes; KeyText reads them.
func Members(raw []byte) iter.Seq2[[]byte, []byte] {
	return func(yield func(key, value []byte) bool) {
		i := skipSpace(raw, 0)
		if i >= len(raw) || raw[i] != '{' {
			return
		}
		i = skipSpace(raw, i+1)
		for i < len(raw) && raw[i] == '"' {
			end := skipString(raw, i)
			key := raw[i+1 : end-1]
			begin := skipSpace(raw, skipSpace(raw, end)+1)
			stop := skipValue(raw, begin)
			if !yield(key, raw[begin:stop]) {
				return
			}
			i = skipSpace(raw, stop)
			if i >= len(raw) || raw[i] != ',' {
				return
			}
			i = skipSpace(raw, i+1)
		}
	}
}

// Text returns the string that a JSON string value holds, or false for any other value.
func Text(value []byte) (string, bool) {
	if len(value) < 2 || value[0] != '"' {
		return "", false
	}
	if bytes.IndexByte(value, '\\') < 0 {
		return string(value[1 : len(value)-1]), true
	}
	var s string
	err := json.Unmarshal(value, &s)
	return s, err == nil
}

// KeyText returns a member's key without its escapes.
func KeyText(key []byte) string {
	if bytes.IndexByte(key, '\\') < 0 {
		return string(key)
	}
	quoted := make([]byte, 0, len(key)+2)
	quoted = append(append(append(quoted, '"'), key...), '"')
	s, _ := Text(quoted)
	return s
}

func skipSpace(raw []byte, i int) int {
	for i < len(raw) && raw[i] <= ' ' {
		i++
	}
	return i
}

// skipString returns the index after the string that begins at i.
func skipString(raw []byte, i int) int {
	for i++; i < len(raw); i++ {
		switch raw[i] {
		case '"':
			return i + 1
		case '\\':
			i++
		}
	}
	return len(raw)
}

// skipValue returns the index after the valid JSON value that begins at i.
func skipValue(raw []byte, i int) int {
	depth := 0
	for i < len(raw) {
		switch raw[i] {
		case '"':
			i = skipString(raw, i)
		case '{', '[':
			depth++
			i++
			continue
		case '}', ']':
			depth--
			i++
		case ',', ':', ' ', '\n', '\r', '\t':
			i++
			continue
		default:
			for i++; i < len(raw) && !endsScalar(raw[i]); {
				i++
			}
		}
		if depth == 0 {
			return i
		}
	}
	return len(raw)
}

func endsScalar(b byte) bool { return b == ',' || b == '}' || b == ']' || b <= ' ' }
