package protodoc

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
)

// jsonParser builds a tree from the tokens of a JSON text that is known to be well-formed.
type jsonParser struct {
	data     []byte
	decoder  *json.Decoder
	place    *cursor
	maxDepth int
	problems []Problem
}

func parseJSON(data []byte, maxDepth int) (*node, []Problem) {
	p := &jsonParser{data: trimBOM(data), maxDepth: maxDepth}
	p.place = newCursor(p.data)
	var whole json.RawMessage
	if err := json.Unmarshal(p.data, &whole); err != nil {
		offset := len(p.data)
		var syntax *json.SyntaxError
		if errors.As(err, &syntax) {
			offset = int(syntax.Offset) - 1
		}
		line, column := p.place.at(max(0, offset))
		return nil, []Problem{{Line: line, Column: column, Description: "is not JSON: " + err.Error()}}
	}
	p.decoder = json.NewDecoder(bytes.NewReader(p.data))
	p.decoder.UseNumber()
	n := p.value("", 1)
	return n, p.problems
}

func (p *jsonParser) problem(n *node, field, format string, args ...any) {
	p.problems = append(p.problems, Problem{Line: n.line, Column: n.column, Field: field, Description: fmt.Sprintf(format, args...)})
}

// next returns the next token as a node without content, and whether it closes an object or list.
func (p *jsonParser) next() (n *node, closes bool) {
	start := int(p.decoder.InputOffset())
	for start < len(p.data) && strings.IndexByte(" \t\r\n,:", p.data[start]) >= 0 {
		start++
	}
	n = &node{}
	n.line, n.column = p.place.at(start)
	token, err := p.decoder.Token()
	if err != nil {
		p.problem(n, "", "is not JSON: %v", err)
		return n, true
	}
	switch v := token.(type) {
	case json.Delim:
		if v == '}' || v == ']' {
			return n, true
		}
		n.kind = list
		if v == '{' {
			n.kind = object
		}
	case nil:
		n.kind = null
	case bool:
		n.kind, n.text = boolean, fmt.Sprint(v)
	case json.Number:
		n.kind, n.text = number, v.String()
	case string:
		n.kind, n.text = text, v
		if raw := string(p.data[start:p.decoder.InputOffset()]); halfPairs(raw, v) {
			p.problem(n, "", "holds half of a surrogate pair")
		}
	}
	return n, false
}

// halfPairs tells whether decoding has replaced what is no character.
func halfPairs(raw, decoded string) bool {
	const replacement = "\ufffd"
	return strings.Count(decoded, replacement) > strings.Count(raw, replacement)+strings.Count(strings.ToLower(raw), `\ufffd`)
}

func (p *jsonParser) value(path string, depth int) *node {
	n, _ := p.next()
	p.content(n, path, depth)
	return n
}

// content reads what is inside an object or list.
func (p *jsonParser) content(n *node, path string, depth int) {
	if n.kind != object && n.kind != list {
		return
	}
	if depth > p.maxDepth {
		p.problem(n, path, "nests deeper than %d levels", p.maxDepth)
		return
	}
	seen := make(map[string]struct{})
	// What was too deep is left unread, so that the walk ends there.
	for len(p.problems) < maxProblems && !p.tooDeep() {
		key, closes := p.next()
		if closes {
			return
		}
		if n.kind == list {
			n.items = append(n.items, key)
			p.content(key, index(path, len(n.items)-1), depth+1)
			continue
		}
		if _, twice := seen[key.text]; twice {
			p.problem(key, join(path, key.text), "is given twice")
		}
		seen[key.text] = struct{}{}
		value := p.value(join(path, key.text), depth+1)
		n.members = append(n.members, member{key: key.text, value: value, line: key.line, column: key.column})
	}
}

func (p *jsonParser) tooDeep() bool {
	return len(p.problems) > 0 && strings.HasPrefix(p.problems[len(p.problems)-1].Description, "nests deeper")
}
