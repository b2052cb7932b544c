// Package template owns the workflows that people begin with: for each what it is for, how to use it, and its definition. They are
// files of this package, and part of the release. What people make of them belongs to package workflow.
package template

import (
	"cmp"
	"embed"
	"fmt"
	"io/fs"
	"path"
	"slices"
	"strings"

	"workflow.uniconnect/pkg/fault"
	"workflow.uniconnect/pkg/protodoc"
	workflowv1 "workflow.uniconnect/proto/gen/go/uniconnect/workflow/v1"
)

// ReasonNotFound says that there is no such template.
const ReasonNotFound fault.Reason = "TEMPLATE_NOT_FOUND"

const (
	extension = ".yaml"
	maxBytes  = 64 << 10
	maxDepth  = 64
)

//go:embed templates/*.yaml
var files embed.FS

// Library holds the templates. It is safe for concurrent use; the templates must not be changed.
type Library struct {
	sorted []*workflowv1.Template
	byID   map[string]*workflowv1.Template
}

// Load reads the templates of this release.
func Load() (*Library, error) {
	dir, err := fs.Sub(files, "templates")
	if err != nil {
		return nil, err
	}
	return load(dir)
}

func load(dir fs.FS) (*Library, error) {
	entries, err := fs.ReadDir(dir, ".")
	if err != nil {
		return nil, fmt.Errorf("list templates: %w", err)
	}
	l := &Library{byID: make(map[string]*workflowv1.Template, len(entries))}
	for _, entry := range entries {
		t, err := read(dir, entry.Name())
		if err != nil {
			return nil, fmt.Errorf("template %s: %w", entry.Name(), err)
		}
		l.byID[t.GetId()] = t
		l.sorted = append(l.sorted, t)
	}
	slices.SortFunc(l.sorted, func(a, b *workflowv1.Template) int { return compare(a, positionOf(b)) })
	return l, nil
}

// read reads one file. Its name is the template's id; what people call the template is what they call the workflow made of it.
func read(dir fs.FS, name string) (*workflowv1.Template, error) {
	text, err := fs.ReadFile(dir, name)
	if err != nil {
		return nil, err
	}
	var t workflowv1.Template
	if err := protodoc.Unmarshal(text, &t, protodoc.Limits{Bytes: maxBytes, Depth: maxDepth}); err != nil {
		return nil, err
	}
	if t.GetWorkflow() == nil {
		return nil, fmt.Errorf("has no workflow")
	}
	t.Id = strings.TrimSuffix(path.Base(name), extension)
	t.Workflow.Title, t.Workflow.Description = t.GetTitle(), t.GetDescription()
	return &t, nil
}

// Get returns one template.
func (l *Library) Get(id string) (*workflowv1.Template, error) {
	t, ok := l.byID[id]
	if !ok {
		return nil, fault.NotFound(ReasonNotFound, "the template does not exist").With("id", id)
	}
	return t, nil
}

// Position is a template's place in the list, by category and title.
type Position struct{ Category, Title, ID string }

func positionOf(t *workflowv1.Template) Position {
	return Position{t.GetCategory(), t.GetTitle(), t.GetId()}
}

func compare(t *workflowv1.Template, p Position) int {
	return cmp.Or(cmp.Compare(t.GetCategory(), p.Category), cmp.Compare(t.GetTitle(), p.Title), cmp.Compare(t.GetId(), p.ID))
}

// List returns up to limit templates behind a position, and the position of the last one when there are more. A position outlives the
// templates that a newer release adds or takes away.
func (l *Library) List(after Position, limit int) (page []*workflowv1.Template, next *Position) {
	from, found := slices.BinarySearchFunc(l.sorted, after, compare)
	if found {
		from++
	}
	page = l.sorted[from:min(from+limit, len(l.sorted))]
	if from+limit < len(l.sorted) && len(page) > 0 {
		last := positionOf(page[len(page)-1])
		next = &last
	}
	return page, next
}
