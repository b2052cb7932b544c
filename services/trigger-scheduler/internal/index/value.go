package index

import (
	"bytes"
	"maps"
	"math"
	"strconv"
	"strings"

	"workflow.uniconnect/pkg/expr"
	"workflow.uniconnect/services/trigger-scheduler/internal/event"
)

// value is a scalar of an event in a form that == compares as CEL does.
type value struct {
	kind valueKind
	text string
	num  int64
}

type valueKind uint8

const (
	absent  valueKind = iota // missing, or nothing that a literal can equal
	isText                   // text
	isWhole                  // num
	isTrue
	isFalse
)

// maxExact bounds the whole numbers that == tells apart also when one side is a double. CEL compares an int with a double as doubles, so
// that beyond it several ints equal one double: equality is no look-up there.
const maxExact = 1<<53 - 1

// literalValue returns the form of a literal in an equality, or false for one that only evaluation can compare.
func literalValue(v any) (value, bool) {
	switch x := v.(type) {
	case string:
		return value{kind: isText, text: x}, true
	case int64:
		return value{kind: isWhole, num: x}, -maxExact <= x && x <= maxExact
	case bool:
		if x {
			return value{kind: isTrue}, true
		}
		return value{kind: isFalse}, true
	}
	return value{}, false
}

// jsonValue returns the form of valid JSON.
func jsonValue(raw []byte) value {
	if len(raw) == 0 {
		return value{}
	}
	switch raw[0] {
	case '"':
		s, ok := event.Text(raw)
		if !ok {
			return value{}
		}
		return value{kind: isText, text: s}
	case 't':
		return value{kind: isTrue}
	case 'f':
		return value{kind: isFalse}
	case '{', '[', 'n':
		return value{}
	}
	return numberValue(string(raw))
}

// numberValue reads numbers as package expr does; a whole number written as a float equals the int, as in CEL.
func numberValue(text string) value {
	if !strings.ContainsAny(text, ".eE") {
		if i, err := strconv.ParseInt(text, 10, 64); err == nil {
			return value{kind: isWhole, num: i}
		}
	}
	f, err := strconv.ParseFloat(text, 64)
	if err != nil || f != math.Trunc(f) || math.Abs(f) > maxExact {
		return value{}
	}
	return value{kind: isWhole, num: int64(f)}
}

// test is an equality by slot.
type test struct {
	slot int
	want value
}

// paths finds the values of all fields that the filters of a group test, in one walk over the event.
type paths struct {
	count int
	// attributes are slots of `event.id`, `event.type` and so on.
	attributes map[string]int
	// data is the tree of the fields below `event.data`.
	data *field
}

type field struct {
	slot     int // -1 when no filter tests the field itself
	children map[string]*field
}

func newPaths() *paths {
	return &paths{attributes: make(map[string]int), data: &field{slot: -1}}
}

// lacks reports whether the path of an equality has no slot yet.
func (p *paths) lacks(e expr.Equality) bool {
	if e.Path[1] != "data" {
		_, ok := p.attributes[strings.Join(e.Path[1:], ".")]
		return !ok
	}
	f := p.data
	for _, part := range e.Path[2:] {
		if f = f.children[part]; f == nil {
			return true
		}
	}
	return f.slot < 0
}

// clone returns a copy with the same slots.
func (p *paths) clone() *paths {
	return &paths{count: p.count, attributes: maps.Clone(p.attributes), data: p.data.clone()}
}

// slot returns the slot of a path, which begins with `event`.
func (p *paths) slot(path []string) int {
	if path[1] != "data" {
		name := strings.Join(path[1:], ".")
		if _, ok := p.attributes[name]; !ok {
			p.attributes[name] = p.count
			p.count++
		}
		return p.attributes[name]
	}
	f := p.data
	for _, part := range path[2:] {
		if f.children == nil {
			f.children = make(map[string]*field)
		}
		next := f.children[part]
		if next == nil {
			next = &field{slot: -1}
			f.children[part] = next
		}
		f = next
	}
	if f.slot < 0 {
		f.slot = p.count
		p.count++
	}
	return f.slot
}

// values fills out, which has p.count elements.
func (p *paths) values(ev *event.Event, out []value) {
	clear(out)
	for name, slot := range p.attributes {
		out[slot] = attributeValue(ev, name)
	}
	p.data.values(ev.Data, out)
}

func attributeValue(ev *event.Event, name string) value {
	switch name {
	case "id":
		return value{kind: isText, text: ev.ID}
	case "type":
		return value{kind: isText, text: string(ev.Type)}
	case "source":
		return value{kind: isText, text: ev.Source}
	case "subject":
		return value{kind: isText, text: ev.Subject}
	case "time":
		return value{kind: isText, text: ev.TimeText()}
	}
	return value{}
}

func (f *field) values(raw []byte, out []value) {
	if f.slot >= 0 {
		out[f.slot] = jsonValue(raw)
	}
	if len(f.children) == 0 {
		return
	}
	for key, member := range event.Members(raw) {
		child := f.children[string(key)]
		if child == nil && bytes.IndexByte(key, '\\') >= 0 {
			child = f.children[event.KeyText(key)]
		}
		if child == nil {
			continue
		}
		// Of members with the same name the last one counts, as it does for expressions.
		child.clear(out)
		child.values(member, out)
	}
}

func (f *field) clone() *field {
	own := &field{slot: f.slot}
	if len(f.children) > 0 {
		own.children = make(map[string]*field, len(f.children))
	}
	for name, child := range f.children {
		own.children[name] = child.clone()
	}
	return own
}

func (f *field) clear(out []value) {
	if f.slot >= 0 {
		out[f.slot] = value{}
	}
	for _, child := range f.children {
		child.clear(out)
	}
}

// indexable returns the equalities of which an event's values decide.
func indexable(tests []expr.Equality) []expr.Equality {
	var usable []expr.Equality
	for _, t := range tests {
		if len(t.Path) >= 2 && t.Path[0] == "event" {
			if _, ok := literalValue(t.Value); ok {
				usable = append(usable, t)
			}
		}
	}
	return usable
}
