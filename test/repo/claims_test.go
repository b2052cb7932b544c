package repo

import (
	"go/ast"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"workflow.uniconnect/test/stack"
)

var testNamePattern = regexp.MustCompile(`\b(?:Test|Fuzz)[A-Z]\w*`)

// claims are the documents that name a test for what they say.
func claims() []string {
	return []string{"docs/security.md", "docs/authentication.md", "docs/access.md", "docs/tenants.md"}
}

// A document that names a test that is gone promises what nobody holds.
func TestClaims_nameTestsThatExist(t *testing.T) {
	exists := make(map[string]bool)
	for _, f := range sources(t) {
		if !f.isTest() {
			continue
		}
		for _, decl := range f.syntax.Decls {
			if fn, ok := decl.(*ast.FuncDecl); ok && fn.Recv == nil {
				exists[fn.Name.Name] = true
			}
		}
	}
	root, err := stack.Root()
	if err != nil {
		t.Fatal(err)
	}
	named := 0
	for _, document := range claims() {
		text, err := os.ReadFile(filepath.Join(root, filepath.FromSlash(document)))
		if err != nil {
			t.Fatal(err)
		}
		for _, name := range testNamePattern.FindAllString(string(text), -1) {
			named++
			if !exists[name] && !strings.HasSuffix(name, "_") {
				t.Errorf("%s names %s, which is no test", document, name)
			}
		}
	}
	if named < 50 {
		t.Errorf("only %d tests are named: the pattern is broken", named)
	}
}
