package protodoc

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"strings"

	"go.yaml.in/yaml/v4"
)

// yamlParser turns the library's tree into ours, without what the tree may hold beside plain values. Aliases are never followed, so a
// small document stays a small tree.
type yamlParser struct {
	maxDepth int
	problems []Problem
}

func parseYAML(data []byte, maxDepth int) (*node, []Problem) {
	decoder := yaml.NewDecoder(bytes.NewReader(trimBOM(data)))
	var document, another yaml.Node
	if err := decoder.Decode(&document); err != nil {
		if errors.Is(err, io.EOF) {
			return nil, []Problem{{Line: 1, Column: 1, Description: "the document is empty"}}
		}
		return nil, []Problem{syntaxProblem(err)}
	}
	switch err := decoder.Decode(&another); {
	case err == nil:
		return nil, []Problem{{Line: another.Line, Column: max(1, another.Column), Description: "another document begins: send one at a time"}}
	case !errors.Is(err, io.EOF):
		return nil, []Problem{syntaxProblem(err)}
	}
	if len(document.Content) != 1 || isNothing(document.Content[0]) {
		return nil, []Problem{{Line: 1, Column: 1, Description: "the document is empty"}}
	}
	p := &yamlParser{maxDepth: maxDepth}
	n := p.value("", document.Content[0], 1)
	return n, p.problems
}

func isNothing(n *yaml.Node) bool { return n.Kind == yaml.ScalarNode && n.Value == "" && n.Style == 0 }

func syntaxProblem(err error) Problem {
	p := Problem{Line: 1, Description: "is not YAML: " + strings.TrimPrefix(err.Error(), "yaml: ")}
	var load *yaml.LoadError
	if errors.As(err, &load) {
		p.Line, p.Column = max(1, load.Mark.Line), load.Mark.Column
		p.Description = "is not YAML: " + load.Message
		if load.ContextMsg != "" {
			p.Description += " " + load.ContextMsg
		}
	}
	return p
}

func (p *yamlParser) problem(n *yaml.Node, field, format string, args ...any) {
	if len(p.problems) < maxProblems {
		p.problems = append(p.problems, Problem{Line: n.Line, Column: n.Column, Field: field, Description: fmt.Sprintf(format, args...)})
	}
}

func (p *yamlParser) value(path string, y *yaml.Node, depth int) *node {
	n := &node{line: y.Line, column: y.Column}
	switch {
	case y.Kind == yaml.AliasNode:
		p.problem(y, path, "aliases (*%s) are not read: write the value out", y.Value)
		return n
	case y.Anchor != "":
		p.problem(y, path, "anchors (&%s) are not read", y.Anchor)
		return n
	case y.Style&yaml.TaggedStyle != 0 || y.Tag == "!":
		p.problem(y, path, "tags (%s) are not read", y.Tag)
		return n
	case depth > p.maxDepth && y.Kind != yaml.ScalarNode:
		p.problem(y, path, "nests deeper than %d levels", p.maxDepth)
		return n
	}
	switch y.Kind {
	case yaml.MappingNode:
		n.kind = object
		p.members(n, path, y, depth)
	case yaml.SequenceNode:
		n.kind = list
		for i, item := range y.Content {
			n.items = append(n.items, p.value(index(path, i), item, depth+1))
		}
	case yaml.ScalarNode:
		n.kind, n.text = plain, y.Value
		if y.Style&(yaml.DoubleQuotedStyle|yaml.SingleQuotedStyle|yaml.LiteralStyle|yaml.FoldedStyle) != 0 {
			n.kind = text
		}
	default:
		p.problem(y, path, "is not a value")
	}
	return n
}

func (p *yamlParser) members(n *node, path string, y *yaml.Node, depth int) {
	seen := make(map[string]struct{}, len(y.Content)/2)
	for i := 0; i+1 < len(y.Content); i += 2 {
		key := y.Content[i]
		at := join(path, key.Value)
		switch {
		case key.Kind != yaml.ScalarNode:
			p.problem(key, path, "a key must be text")
			continue
		case key.Anchor != "" || key.Style&yaml.TaggedStyle != 0:
			p.problem(key, at, "anchors and tags are not read")
			continue
		case key.Value == "<<" && key.Style == 0:
			p.problem(key, at, "merge keys are not read: write the members out")
			continue
		}
		if _, twice := seen[key.Value]; twice {
			p.problem(key, at, "is given twice")
			continue
		}
		seen[key.Value] = struct{}{}
		value := p.value(at, y.Content[i+1], depth+1)
		n.members = append(n.members, member{key: key.Value, value: value, line: key.Line, column: key.Column})
	}
}
