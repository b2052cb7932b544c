package workflow

import (
	"context"
	"slices"
	"strings"
	"time"
	"unicode"

	"golang.org/x/text/cases"
	"golang.org/x/text/unicode/norm"
)

// TriggerType is what starts a workflow.
type TriggerType int16

// The trigger types.
const (
	NoTrigger       TriggerType = 0
	EventTrigger    TriggerType = 1
	ScheduleTrigger TriggerType = 2
	ManualTrigger   TriggerType = 3
)

// Filter says which workflows a list holds: those to which all of it applies. Nil is anything, an empty slice nothing.
type Filter struct {
	States       []State
	TriggerTypes []TriggerType
	// EventTypes are those that start the workflow, NotEventTypes those that do not.
	EventTypes, NotEventTypes []string
	// Words are beginnings of words of the title, as Words returns them.
	Words []string
}

// Nothing reports whether no workflow can pass.
func (f *Filter) Nothing() bool {
	return f.States != nil && len(f.States) == 0 || f.TriggerTypes != nil && len(f.TriggerTypes) == 0 ||
		f.EventTypes != nil && len(f.EventTypes) == 0
}

// Everything reports whether every workflow passes.
func (f *Filter) Everything() bool {
	return f.States == nil && f.TriggerTypes == nil && f.EventTypes == nil && len(f.NotEventTypes)+len(f.Words) == 0
}

// OrderBy is what a list is sorted by. Ties are broken by the id.
type OrderBy uint8

// The orders.
const (
	ByCreateTime OrderBy = iota
	ByUpdateTime
	// ByTitle sorts without regard to case.
	ByTitle
)

// Position is a place in a list: that of a workflow that is in it, or was.
type Position struct {
	// Time or Title is what the list is sorted by there, Title as SortKey returns it.
	Time  time.Time
	Title string
	ID    ID
}

// ListQuery asks for a page.
type ListQuery struct {
	Filter Filter
	Order  OrderBy
	Desc   bool
	// After is where the page before ended; nil for the first.
	After *Position
	Limit int
	// Basic leaves steps and settings out of the configurations.
	Basic bool
}

// Page is part of a list. It may be shorter than asked for although there is more, since it is also limited in bytes.
type Page struct {
	// Workflows have no documents unless they are asked for.
	Workflows []Workflow
	// Next is where the next page begins; nil after the last.
	Next *Position
}

// Lists stores what lists are made from.
type Lists interface {
	// List returns a page without documents.
	List(ctx context.Context, tenant Tenant, query ListQuery) (Page, error)
	// Documents gives workflows of a page their documents, without steps and settings if basic. Those that are gone meanwhile stay without.
	Documents(ctx context.Context, tenant Tenant, workflows []*Workflow, basic bool) error
}

// List returns a page of the tenant's workflows, without documents.
func (c *Catalog) List(ctx context.Context, tenant Tenant, query ListQuery) (Page, error) {
	if query.Filter.Nothing() {
		return Page{}, nil
	}
	return c.deps.Store.List(ctx, tenant, query)
}

// Documents gives workflows of a page their documents, without steps and settings if basic.
func (c *Catalog) Documents(ctx context.Context, tenant Tenant, workflows []*Workflow, basic bool) error {
	return c.deps.Store.Documents(ctx, tenant, workflows, basic)
}

const (
	// maxWord bounds a word, in letters; longer ones are cut, where they are stored as where they are looked for.
	maxWord = 64
	// maxSortKey bounds what titles are sorted by, in bytes. It travels in page tokens.
	maxSortKey = 240
)

// Words returns the words of a text, each once: runs of letters and digits, with case and forms of writing folded. They hold nothing else,
// so no word can be mistaken for part of a query.
func Words(text string) []string {
	words := strings.FieldsFunc(fold(text), func(r rune) bool { return !unicode.In(r, unicode.L, unicode.M, unicode.N) })
	for i, word := range words {
		if runes := []rune(word); len(runes) > maxWord {
			words[i] = string(runes[:maxWord])
		}
	}
	slices.Sort(words)
	return slices.Compact(words)
}

// SortKey returns what titles are sorted by.
func SortKey(title string) string {
	key := fold(title)
	if len(key) > maxSortKey {
		key = strings.ToValidUTF8(key[:maxSortKey], "")
	}
	return key
}

// fold makes texts equal that people read as equal: `Ärger` however it is composed, and `ärger`.
func fold(text string) string { return norm.NFKC.String(cases.Fold().String(norm.NFKC.String(text))) }
