package strictjson

import (
	"bytes"
	"errors"
	"fmt"
	"regexp"
	"strconv"
	"strings"
	"unicode/utf16"
	"unicode/utf8"

	"workflow.uniconnect/pkg/fault"
)

// errStop ends the walk of PathAt.
var errStop = errors.New("stop")

// step leads from a value into it: by name, or by index when that is not negative.
type step struct {
	name  string
	index int
}

// checker reads JSON by its grammar (RFC 8259) and keeps the path of where it is.
type checker struct {
	data []byte
	pos  int

	path       []step
	depth      int
	violations []fault.Violation

	// stopAt, when not negative, ends the walk at that offset.
	stopAt int
}

func (c *checker) document(s schema) error {
	if err := c.value(s); err != nil {
		return err
	}
	c.space()
	if c.pos < len(c.data) {
		c.path = nil
		return c.malformed("trailing data after the JSON value")
	}
	return nil
}

func (c *checker) value(s schema) error {
	c.space()
	if c.stopAt >= 0 && c.pos >= c.stopAt {
		return errStop
	}
	if c.pos >= len(c.data) {
		return c.malformed("unexpected end of the JSON text")
	}
	switch b := c.data[c.pos]; {
	case b == '{':
		return c.nested(c.fits(s, kindObject, ""), c.object)
	case b == '[':
		return c.nested(c.fits(s, kindList, ""), c.list)
	case b == '"':
		text, err := c.string()
		if err == nil {
			c.fits(s, kindString, text)
		}
		return err
	case b == '-' || b >= '0' && b <= '9':
		c.fits(s, kindNumber, "")
		return c.number()
	}
	return c.literal(s)
}

func (c *checker) literal(s schema) error {
	for _, l := range [...]struct {
		word string
		kind kind
	}{{"true", kindBool}, {"false", kindBool}, {"null", kindNull}} {
		if bytes.HasPrefix(c.data[c.pos:], []byte(l.word)) {
			c.fits(s, l.kind, "")
			c.pos += len(l.word)
			return nil
		}
	}
	return c.malformed("unexpected character " + c.character())
}

func (c *checker) nested(s schema, inside func(schema) error) error {
	if c.depth++; c.depth > MaxDepth {
		return c.malformed(fmt.Sprintf("nesting is deeper than %d", MaxDepth))
	}
	c.pos++
	err := inside(s)
	c.depth--
	return err
}

func (c *checker) object(s schema) error {
	o := &object{schema: s, seen: make(map[string]struct{})}
	for first := true; ; first = false {
		c.space()
		if done, err := c.next('}', first); done || err != nil {
			return err
		}
		c.space()
		start := c.pos
		if c.peek() != '"' {
			return c.malformed("expected a field name in quotes")
		}
		key, err := c.string()
		if err != nil {
			return err
		}
		c.space()
		if c.peek() != ':' {
			return c.malformed("expected a colon after " + shown(key))
		}
		c.pos++
		name, inner := c.member(o, key)
		c.path = append(c.path, step{name: name, index: -1})
		if c.stopAt >= 0 && start >= c.stopAt {
			return errStop
		}
		if err := c.value(inner); err != nil {
			return err
		}
		c.path = c.path[:len(c.path)-1]
	}
}

func (c *checker) list(s schema) error {
	s.list = false
	for i := 0; ; i++ {
		c.space()
		if done, err := c.next(']', i == 0); done || err != nil {
			return err
		}
		c.path = append(c.path, step{index: i})
		if err := c.value(s); err != nil {
			return err
		}
		c.path = c.path[:len(c.path)-1]
	}
}

// next reads what stands before an element: the end of the container, nothing, or a comma.
func (c *checker) next(end byte, first bool) (done bool, err error) {
	switch b := c.peek(); {
	case b == end:
		c.pos++
		return true, nil
	case first && c.pos < len(c.data):
		return false, nil
	case b == ',' && !first:
		c.pos++
		return false, nil
	case c.pos >= len(c.data):
		return false, c.malformed("unexpected end of the JSON text")
	}
	return false, c.malformed("expected a comma or " + string(end) + ", found " + c.character())
}

// string reads a string and returns its text.
func (c *checker) string() (string, error) {
	c.pos++
	start := c.pos
	var unescaped []byte // nil while the text is the bytes themselves
	for c.pos < len(c.data) {
		switch b := c.data[c.pos]; {
		case b == '"':
			text := c.data[start:c.pos]
			c.pos++
			if unescaped != nil {
				text = append(unescaped, text...)
			}
			return string(text), nil
		case b == '\\':
			unescaped = append(unescaped, c.data[start:c.pos]...)
			r, err := c.escape()
			if err != nil {
				return "", err
			}
			unescaped = utf8.AppendRune(unescaped, r)
			start = c.pos
		case b < 0x20:
			return "", c.malformed("control character in a string")
		case b < utf8.RuneSelf:
			c.pos++
		default:
			r, size := utf8.DecodeRune(c.data[c.pos:])
			if r == utf8.RuneError && size == 1 {
				return "", c.malformed("invalid UTF-8: invalid character")
			}
			c.pos += size
		}
	}
	return "", c.malformed("unexpected end of the JSON text in a string")
}

// escape reads one escape sequence, a pair of them where that makes one character.
func (c *checker) escape() (rune, error) {
	if c.pos+1 >= len(c.data) {
		return 0, c.malformed("unexpected end of the JSON text in a string")
	}
	b := c.data[c.pos+1]
	if i := strings.IndexByte(`"\/bfnrt`, b); i >= 0 {
		c.pos += 2
		return rune("\"\\/\b\f\n\r\t"[i]), nil
	}
	if b != 'u' {
		return 0, c.malformed("unknown escape in a string")
	}
	r, ok := c.hex(c.pos + 2)
	switch {
	case !ok:
		return 0, c.malformed("unknown escape in a string")
	case r == 0:
		return 0, c.malformed("NUL in a string: invalid character")
	case !utf16.IsSurrogate(r):
		c.pos += 6
		return r, nil
	}
	if c.pos+7 < len(c.data) && c.data[c.pos+6] == '\\' && c.data[c.pos+7] == 'u' {
		if low, ok := c.hex(c.pos + 8); ok {
			if pair := utf16.DecodeRune(r, low); pair != utf8.RuneError {
				c.pos += 12
				return pair, nil
			}
		}
	}
	return 0, c.malformed("half a surrogate pair in a string: invalid character")
}

func (c *checker) hex(at int) (rune, bool) {
	if at+4 > len(c.data) {
		return 0, false
	}
	n, err := strconv.ParseUint(string(c.data[at:at+4]), 16, 16)
	// ParseUint takes no sign and, without a base prefix, no underscore.
	return rune(n), err == nil
}

var numberRegexp = regexp.MustCompile(`^-?(0|[1-9][0-9]*)(\.[0-9]+)?([eE][+-]?[0-9]+)?`)

func (c *checker) number() error {
	n := len(numberRegexp.Find(c.data[c.pos:]))
	if n == 0 {
		return c.malformed("invalid number")
	}
	c.pos += n
	if b := c.peek(); b == '.' || b == '-' || b == '+' || b == '_' || b|0x20 >= 'a' && b|0x20 <= 'z' || b >= '0' && b <= '9' {
		return c.malformed("invalid number")
	}
	return nil
}

func (c *checker) space() {
	for c.pos < len(c.data) && strings.IndexByte(" \t\r\n", c.data[c.pos]) >= 0 {
		c.pos++
	}
}

// peek returns the next byte, 0 at the end. A byte 0 of the text fits no case either.
func (c *checker) peek() byte {
	if c.pos < len(c.data) {
		return c.data[c.pos]
	}
	return 0
}

func (c *checker) nextIsNull() bool {
	return bytes.HasPrefix(bytes.TrimLeft(c.data[c.pos:], " \t\r\n"), []byte("null"))
}

func (c *checker) character() string {
	r, _ := utf8.DecodeRune(c.data[c.pos:])
	return strconv.QuoteRune(r)
}

func (c *checker) where() string {
	var path strings.Builder
	for _, s := range c.path {
		if s.index >= 0 {
			path.WriteString("[" + strconv.Itoa(s.index) + "]")
		} else {
			path.WriteString(segment(s.name, path.Len() == 0))
		}
	}
	return path.String()
}

// violate records that the member name of the present place, or the place itself when name is empty, is wrong.
func (c *checker) violate(name, description string) {
	if len(c.violations) >= maxViolations {
		return
	}
	field := c.where()
	if name != "" {
		field += segment(name, field == "")
	}
	c.violations = append(c.violations, fault.Violation{Field: field, Description: description, Reason: fault.ReasonFieldRule})
}

func (c *checker) malformed(what string) error {
	v := fault.Violation{Field: c.where(), Description: what, Reason: ReasonMalformedJSON}
	message := fmt.Sprintf("%s at byte %d", what, c.pos)
	if v.Field != "" {
		message = v.Field + ": " + message
	}
	f := fault.Invalid(v)
	f.Reason, f.Message = ReasonMalformedJSON, message
	return f
}

var plainName = regexp.MustCompile(`^[A-Za-z_@][A-Za-z0-9_@-]*$`)

// segment returns name as a part of a path.
func segment(name string, first bool) string {
	switch {
	case !plainName.MatchString(name) || len(name) > maxShown:
		return "[" + shown(name) + "]"
	case first:
		return name
	}
	return "." + name
}

const maxShown = 64

// shown quotes what a client sent, shortened.
func shown(text string) string {
	if len(text) > maxShown {
		text = strings.ToValidUTF8(text[:maxShown], "") + "…"
	}
	return strconv.Quote(text)
}
