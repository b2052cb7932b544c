package diff

import (
	"cmp"
	"encoding/json"
	"maps"
	"reflect"
	"regexp"
	"slices"
	"strconv"
)

// members compares members of two objects by name.
func (c *comparison) members(at Change, before, after map[string]any, which []string) {
	for _, name := range which {
		was, had := before[name]
		now, has := after[name]
		c.field(at, joined(at.Field, name), side{was, had}, side{now, has})
	}
}

// side is the value of a field, if it has one.
type side struct {
	value any
	there bool
}

// field tells of the smallest fields in which two values differ.
func (c *comparison) field(at Change, path string, before, after side) {
	if before.there == after.there && reflect.DeepEqual(before.value, after.value) {
		return
	}
	at.Field = path
	if before.there && after.there {
		was, isObject := before.value.(map[string]any)
		now, stillIs := after.value.(map[string]any)
		if isObject && stillIs {
			c.members(at, was, now, names(was, now))
			return
		}
		if was, now, ok := objects(before.value, after.value); ok {
			for i := range was {
				c.field(at, indexed(path, i), side{was[i], true}, side{now[i], true})
			}
			return
		}
	}
	at.Kind = FieldChanged
	at.Before, at.After = c.value(before), c.value(after)
	c.changes = append(c.changes, at)
}

func (c *comparison) value(s side) json.RawMessage {
	if !s.there {
		return nil
	}
	return c.encode(s.value)
}

// objects returns two lists of equal length that hold nothing but objects: such are compared member by member.
func objects(before, after any) (was, now []any, ok bool) {
	was, wasList := before.([]any)
	now, isList := after.([]any)
	if !wasList || !isList || len(was) != len(now) {
		return nil, nil, false
	}
	for _, members := range [][]any{was, now} {
		for _, m := range members {
			if _, isObject := m.(map[string]any); !isObject {
				return nil, nil, false
			}
		}
	}
	return was, now, true
}

// names returns the names of the members of both objects, in the order in which people read them.
func names(objects ...map[string]any) []string {
	var all []string
	for _, o := range objects {
		all = slices.AppendSeq(all, maps.Keys(o))
	}
	slices.SortFunc(all, func(a, b string) int { return cmp.Or(rank(a)-rank(b), cmp.Compare(a, b)) })
	return slices.Compact(all)
}

// rank is low for the members of workflows, steps and what is in them that people read before all others.
func rank(name string) int {
	order := [...]string{"title", "description", "trigger", "dateRange", "onlyIf", "type", "connection", "eventType", "when", "startTime"}
	if i := slices.Index(order[:], name); i >= 0 {
		return i
	}
	return len(order)
}

var plainName = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_-]*$`)

// joined returns the path of a member. A name that would not be clear in a path is quoted.
func joined(path, name string) string {
	switch {
	case !plainName.MatchString(name):
		return path + "[" + strconv.Quote(name) + "]"
	case path == "":
		return name
	}
	return path + "." + name
}

func indexed(path string, i int) string { return path + "[" + strconv.Itoa(i) + "]" }
