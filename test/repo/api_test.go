package repo

import (
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"google.golang.org/protobuf/proto"

	accessv1 "workflow.uniconnect/proto/gen/go/uniconnect/access/v1"
	workflowv1 "workflow.uniconnect/proto/gen/go/uniconnect/workflow/v1"
	"workflow.uniconnect/test/stack"
)

var wordPattern = regexp.MustCompile(`\w+`)

// page reads a document.
func page(t *testing.T, name string) string {
	t.Helper()
	root, err := stack.Root()
	if err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(filepath.Join(root, "docs", name))
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// Every public call has a row on the page that people look it up on, with the permission that it needs.
func TestAPI_names_every_call(t *testing.T) {
	permissions := make(map[string]string)
	for line := range strings.Lines(page(t, "api.md")) {
		cells := strings.Split(strings.Trim(strings.TrimSpace(line), "|"), "|")
		if len(cells) != 3 || !strings.Contains(cells[0], "/v1/") {
			continue
		}
		for _, name := range wordPattern.FindAllString(cells[1], -1) {
			permissions[name] = cells[2]
		}
	}
	for _, service := range services(t) {
		if !slices.Contains(publicPackages(), service.ParentFile().Package()) {
			continue
		}
		for i := range service.Methods().Len() {
			method := service.Methods().Get(i)
			rule, _ := proto.GetExtension(method.Options(), accessv1.E_Access).(*accessv1.AccessRule)
			if rule.GetPlatform() {
				continue // not for callers of the API; docs/tenants.md is their page
			}
			want := "`" + strings.ToLower(strings.ReplaceAll(rule.GetPermission().String(), "_", ".")) + "`"
			if rule.GetAuthenticated() {
				want = "any signed-in user"
			}
			if got := permissions[string(method.Name())]; !strings.Contains(got, want) {
				t.Errorf("docs/api.md: the row of %s says %q, want %s", method.Name(), got, want)
			}
		}
	}
}

// Every reason that an error may carry is explained there, or where events are.
func TestAPI_explains_every_reason(t *testing.T) {
	text := page(t, "api.md") + page(t, "events.md")
	values := workflowv1.ErrorReason_Value(0).Descriptor().Values()
	for i := 1; i < values.Len(); i++ {
		if name := string(values.Get(i).Name()); !strings.Contains(text, "`"+name+"`") {
			t.Errorf("docs/api.md does not explain %s", name)
		}
	}
}
