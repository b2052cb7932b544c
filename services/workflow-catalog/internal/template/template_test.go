package template

import (
	"io/fs"
	"regexp"
	"slices"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"

	"workflow.uniconnect/pkg/fault"
	"workflow.uniconnect/pkg/grpcserver"
	workflowv1 "workflow.uniconnect/proto/gen/go/uniconnect/workflow/v1"
)

func library(t *testing.T) *Library {
	t.Helper()
	l, err := Load()
	if err != nil {
		t.Fatal(err)
	}
	return l
}

func all(l *Library) []*workflowv1.Template {
	page, _ := l.List(Position{}, 1000)
	return page
}

// Everybody who looks for a workflow to begin with finds what it is for, what to change and what comes of it.
func TestTemplates_are_explained(t *testing.T) {
	id := regexp.MustCompile(`^[a-z][a-z0-9-]{2,63}$`)
	for _, tmpl := range all(library(t)) {
		t.Run(tmpl.GetId(), func(t *testing.T) {
			if !id.MatchString(tmpl.GetId()) {
				t.Errorf("the id is %q", tmpl.GetId())
			}
			for what, text := range map[string]string{"title": tmpl.GetTitle(), "description": tmpl.GetDescription(), "category": tmpl.GetCategory()} {
				if text == "" || strings.TrimSpace(text) != text {
					t.Errorf("%s: %q", what, text)
				}
			}
			for _, part := range []string{"What it does: ", "\n\nWhen it helps: ", "\n\nWhat to change first: ", "\n\nWhat comes of it: "} {
				if strings.Count(tmpl.GetHelp(), part) != 1 {
					t.Errorf("the help has no part %q", part)
				}
			}
			// Whatever must be changed stands in the help.
			text, err := protojson.Marshal(tmpl.GetWorkflow())
			if err != nil {
				t.Fatal(err)
			}
			for _, address := range regexp.MustCompile(`https?://[^"$]+`).FindAllString(string(text), -1) {
				if !strings.HasPrefix(address, "https://notify.example.com/") || !strings.Contains(tmpl.GetHelp(), address) {
					t.Errorf("the help does not speak of %s", address)
				}
			}
		})
	}
}

// A template can be created as it is: the proto's rules hold and nothing in it is made by the server.
func TestTemplates_can_be_created(t *testing.T) {
	for _, tmpl := range all(library(t)) {
		t.Run(tmpl.GetId(), func(t *testing.T) {
			w := proto.CloneOf(tmpl.GetWorkflow())
			if found := grpcserver.Validate(&workflowv1.CreateWorkflowRequest{Workflow: w}); len(found) > 0 {
				t.Errorf("violations: %+v", found)
			}
			if w.GetTitle() != tmpl.GetTitle() || w.GetDescription() != tmpl.GetDescription() {
				t.Errorf("the workflow is %q, %q; want the template's title and description", w.GetTitle(), w.GetDescription())
			}
			w.Title, w.Description, w.Trigger, w.Steps, w.DateRange, w.Settings = "", "", nil, nil, nil, nil
			if diff := cmp.Diff("{}", strings.ReplaceAll(protojson.Format(w), " ", "")); diff != "" {
				t.Errorf("fields that only the server makes:\n%s", diff)
			}
		})
	}
}

func TestLibrary_List(t *testing.T) {
	l := library(t)
	entries, err := fs.ReadDir(files, "templates")
	if err != nil {
		t.Fatal(err)
	}
	want := all(l)
	if len(want) != len(entries) || len(want) < 12 {
		t.Fatalf("%d templates of %d files", len(want), len(entries))
	}
	if !slices.IsSortedFunc(want, func(a, b *workflowv1.Template) int {
		return strings.Compare(a.GetCategory()+"\x00"+a.GetTitle(), b.GetCategory()+"\x00"+b.GetTitle())
	}) {
		t.Error("the templates are not by category and title")
	}
	for _, limit := range []int{1, 3, 5, len(want) - 1, len(want), 200} {
		var got []*workflowv1.Template
		after := &Position{}
		for after != nil {
			var page []*workflowv1.Template
			page, after = l.List(*after, limit)
			if len(page) == 0 || len(page) > limit {
				t.Fatalf("a page of %d has %d", limit, len(page))
			}
			got = append(got, page...)
		}
		if !slices.Equal(got, want) {
			t.Errorf("pages of %d: %d templates, want each once", limit, len(got))
		}
	}
	// A template that is gone leaves its place.
	page, _ := l.List(Position{Category: want[0].GetCategory(), Title: want[0].GetTitle(), ID: "zzz"}, 1)
	if len(page) != 1 || page[0] != want[1] {
		t.Errorf("behind a template that is gone: got %v", page)
	}
	if page, next := l.List(Position{Category: "\U0010ffff"}, 5); len(page) != 0 || next != nil {
		t.Errorf("behind the last: got %v, %v", page, next)
	}
}

func TestLibrary_Get(t *testing.T) {
	l := library(t)
	got, err := l.Get("on-call-ended")
	if err != nil || got.GetTitle() != "On Call Ended" || got.GetWorkflow().GetTrigger().GetEvent().GetEventType() != "call.ended" {
		t.Errorf("got %v, %v", got, err)
	}
	_, err = l.Get("on-full-moon")
	if f, _ := fault.As(err); f == nil || f.Kind != fault.KindNotFound || f.Reason != "TEMPLATE_NOT_FOUND" {
		t.Errorf("got %v, want NOT_FOUND TEMPLATE_NOT_FOUND", err)
	}
}

func TestLoad_names_the_file(t *testing.T) {
	for name, text := range map[string]string{
		"misspelt.yaml": "titel: x\nworkflow: {}\n", "no-workflow.yaml": "title: x\n", "no-yaml.yaml": "title: [\n",
	} {
		_, err := load(fstest.MapFS{name: {Data: []byte(text)}})
		if err == nil || !strings.Contains(err.Error(), name) {
			t.Errorf("%s: got %v, want an error that names it", name, err)
		}
	}
}
