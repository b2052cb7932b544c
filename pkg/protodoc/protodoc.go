// Package protodoc writes messages as documents that people keep in git and edit by hand, YAML or JSON, and reads them back. What it
// writes depends on the message alone: fields in the order of their numbers, keys of objects sorted, so that equal messages are equal
// text. What it reads it reads strictly, and says of every mistake where it stands.
//
// YAML is read as version 1.2 has it, without what hides meaning: no anchors, aliases, tags and merge keys, one document. The type of a
// field decides how a plain scalar is read, so `title: on` is the text "on". Where no type decides, as in a google.protobuf.Struct, plain
// scalars that mean one thing in YAML 1.1 and another in 1.2 (`yes`, `010`) are refused rather than guessed.
package protodoc

import (
	"bytes"
	"fmt"
	"strconv"
	"strings"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
)

// Format is how a document is written.
type Format uint8

// The formats.
const (
	YAML Format = iota
	JSON
)

// Problem is one mistake in a document.
type Problem struct {
	// Line and Column count from 1. Column is 0 where the place is a whole line.
	Line, Column int
	// Field is the path to the mistake in JSON form, for example `steps[2].action.params`; empty at the top.
	Field string
	// Description says what is wrong.
	Description string
}

// At returns the place, for example `3:14`.
func (p Problem) At() string {
	if p.Column == 0 {
		return strconv.Itoa(p.Line)
	}
	return strconv.Itoa(p.Line) + ":" + strconv.Itoa(p.Column)
}

// Error is everything that is wrong with a document, in its order.
type Error struct{ Problems []Problem }

// Error names every problem.
func (e *Error) Error() string {
	lines := make([]string, len(e.Problems))
	for i, p := range e.Problems {
		lines[i] = p.At() + ": " + p.Description
		if p.Field != "" {
			lines[i] = p.At() + ": " + p.Field + ": " + p.Description
		}
	}
	return strings.Join(lines, "\n")
}

// Limits bound what is read.
type Limits struct {
	// Bytes is how long a document may be.
	Bytes int
	// Depth is how deep objects and lists may nest.
	Depth int
	// Refuse holds fields that a message has and a document may not, with what is said of them.
	Refuse map[protoreflect.FullName]string
}

// maxProblems bounds the work and the answer for a document that is wrong everywhere.
const maxProblems = 100

// Marshal writes a message.
func Marshal(m proto.Message, format Format) ([]byte, error) {
	n, err := messageNode(m.ProtoReflect())
	if err != nil {
		return nil, fmt.Errorf("encode document: %w", err)
	}
	var out bytes.Buffer
	if format == JSON {
		writeJSON(&out, n, 0)
		out.WriteByte('\n')
		return out.Bytes(), nil
	}
	writeYAML(&out, n)
	return out.Bytes(), nil
}

// Unmarshal reads a document into m, which is reset first. A text that begins with a brace is JSON, any other is YAML. The error is an
// *Error.
func Unmarshal(text []byte, m proto.Message, limits Limits) error {
	proto.Reset(m)
	n, problems := parse(text, limits)
	if len(problems) > 0 {
		return &Error{problems}
	}
	r := &reader{refuse: limits.Refuse}
	if wellKnown(m.ProtoReflect().Descriptor()) {
		r.wellKnown("", n, m.ProtoReflect())
	} else {
		r.message("", n, m.ProtoReflect())
	}
	if len(r.problems) > 0 {
		return &Error{r.problems}
	}
	return nil
}

// formatOf returns the format in which Unmarshal reads a text.
func formatOf(text []byte) Format {
	if bytes.HasPrefix(bytes.TrimLeft(text, " \t\r\n"), []byte("{")) {
		return JSON
	}
	return YAML
}

func parse(text []byte, limits Limits) (*node, []Problem) {
	if len(text) > limits.Bytes {
		return nil, []Problem{{Line: 1, Description: fmt.Sprintf("the document has %d bytes, at most %d are allowed", len(text), limits.Bytes)}}
	}
	if p := misencoded(text); p != nil {
		return nil, []Problem{*p}
	}
	if formatOf(text) == JSON {
		return parseJSON(text, limits.Depth)
	}
	return parseYAML(text, limits.Depth)
}
