package protodoc

import (
	"bytes"
	"strconv"
	"unicode/utf8"
)

// kind is what a node of a document is.
type kind uint8

const (
	null kind = iota
	boolean
	number
	text
	plain // a YAML scalar without quotes, whose meaning depends on what is wanted
	list
	object
)

// String names the kind for people.
func (k kind) String() string {
	switch k {
	case null:
		return "nothing"
	case boolean:
		return "true or false"
	case number:
		return "a number"
	case list:
		return "a list"
	case object:
		return "an object"
	default:
		return "text"
	}
}

// node is a document as a tree, read or to be written.
type node struct {
	kind kind
	// text is the value of a scalar; a number as JSON writes it.
	text    string
	items   []*node
	members []member

	line, column int
}

// member is one entry of an object, with the place of its key.
type member struct {
	key          string
	value        *node
	line, column int
}

// misencoded finds what is no text at all.
func misencoded(data []byte) *Problem {
	line, column := 1, 1
	for i := 0; i < len(data); {
		r, size := utf8.DecodeRune(data[i:])
		switch {
		case r == utf8.RuneError && size == 1:
			return &Problem{Line: line, Column: column, Description: "is not UTF-8"}
		case r < 0x20 && r != '\t' && r != '\n' && r != '\r', r == 0x7f, r == '\ufeff' && i > 0:
			return &Problem{Line: line, Column: column, Description: "holds the control character " + strconv.QuoteRuneToASCII(r)}
		case r == '\n':
			line, column = line+1, 0
		}
		column++
		i += size
	}
	return nil
}

// cursor tells line and column of offsets in a text, which must rise: a text of one long line is gone through once. Columns count
// characters.
type cursor struct {
	data         []byte
	offset       int
	line, column int
}

func newCursor(data []byte) *cursor { return &cursor{data: data, line: 1, column: 1} }

func (c *cursor) at(offset int) (line, column int) {
	for c.offset < min(offset, len(c.data)) {
		r, size := utf8.DecodeRune(c.data[c.offset:])
		if c.column++; r == '\n' {
			c.line, c.column = c.line+1, 1
		}
		c.offset += size
	}
	return c.line, c.column
}

// join writes the path of a member.
func join(path, key string) string {
	if path == "" {
		return key
	}
	return path + "." + key
}

func index(path string, i int) string { return path + "[" + strconv.Itoa(i) + "]" }

func trimBOM(data []byte) []byte { return bytes.TrimPrefix(data, []byte("\ufeff")) }
