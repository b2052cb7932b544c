package repo

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"workflow.uniconnect/test/stack"
)

// file is a Go file of ours: neither generated nor a dependency's.
type file struct {
	path   string // from the root of the repository, with slashes
	syntax *ast.File
	set    *token.FileSet
	lines  int
}

// module is the prefix of all our import paths; what follows is the directory.
const module = "workflow.uniconnect/"

// pkg is the import path without the prefix.
func (f *file) pkg() string { return path.Dir(f.path) }

func (f *file) isTest() bool { return strings.HasSuffix(f.path, "_test.go") }

func (f *file) imports() []string {
	var all []string
	for _, spec := range f.syntax.Imports {
		name, err := strconv.Unquote(spec.Path.Value)
		if err == nil { // the parser has accepted it
			all = append(all, name)
		}
	}
	return all
}

func (f *file) at(node ast.Node) string {
	return f.path + ":" + strconv.Itoa(f.set.Position(node.Pos()).Line)
}

// skipped are directories that hold nothing of ours.
func skipped() []string {
	return []string{".git", ".data", "bin", "node_modules", "gen", "third_party", "testdata"}
}

// walk calls fn for each file below the root, with its path from there.
func walk(t *testing.T, fn func(root, name string)) {
	t.Helper()
	root, err := stack.Root()
	if err != nil {
		t.Fatal(err)
	}
	err = filepath.WalkDir(root, func(name string, d fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case d.IsDir() && slices.Contains(skipped(), d.Name()):
			return fs.SkipDir
		case d.Type().IsRegular():
			fn(root, name)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

// sources parses all Go files of ours.
func sources(t *testing.T) []*file {
	t.Helper()
	var all []*file
	walk(t, func(root, name string) {
		if !strings.HasSuffix(name, ".go") {
			return
		}
		rel, err := filepath.Rel(root, name)
		if err != nil {
			t.Fatal(err)
		}
		text, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		set := token.NewFileSet()
		syntax, err := parser.ParseFile(set, name, text, parser.ParseComments)
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, &file{path: filepath.ToSlash(rel), syntax: syntax, set: set, lines: strings.Count(string(text), "\n")})
	})
	if len(all) < 100 {
		t.Fatalf("only %d Go files found: the walk is broken", len(all))
	}
	return all
}

const maxLines = 600

// bannedNames say nothing about what a package owns, so everything ends up in it.
func bannedNames() []string {
	return []string{"util", "utils", "common", "commons", "helper", "helpers", "misc", "shared", "base", "lib", "tools", "types", "models", "interfaces"}
}

func TestFiles_areShort(t *testing.T) {
	for _, f := range sources(t) {
		if f.lines > maxLines {
			t.Errorf("%s has %d lines, more than %d: nobody reads a file that long; split it by noun", f.path, f.lines, maxLines)
		}
	}
}

func TestPackages_areNamedAfterWhatTheyOwn(t *testing.T) {
	for _, f := range sources(t) {
		name := strings.TrimSuffix(f.syntax.Name.Name, "_test")
		if slices.Contains(bannedNames(), name) {
			t.Errorf("%s: package %s is named after nothing: name it after the thing it owns", f.path, name)
		}
	}
}

func TestInit_isNotUsed(t *testing.T) {
	for _, f := range sources(t) {
		for _, decl := range f.syntax.Decls {
			if fn, ok := decl.(*ast.FuncDecl); ok && fn.Recv == nil && fn.Name.Name == "init" {
				t.Errorf("%s: init runs for whoever imports the package, in an order nobody reads: call a constructor where things are wired", f.at(fn))
			}
		}
	}
}

// bannedCalls are functions that may not be called anywhere, tests included.
func bannedCalls() map[string]string {
	return map[string]string{
		"time.Sleep": "wait for what you wait for, with a channel or a timer; sleeping is no synchronisation",
		"t.Skip":     "what a machine cannot give makes a test fail, never pass in silence",
		"t.Skipf":    "what a machine cannot give makes a test fail, never pass in silence",
		"t.SkipNow":  "what a machine cannot give makes a test fail, never pass in silence",
		"log.Fatal":  "only main ends the process",
		"log.Fatalf": "only main ends the process",
	}
}

func TestCalls_thatAreBanned(t *testing.T) {
	for _, f := range sources(t) {
		ast.Inspect(f.syntax, func(n ast.Node) bool {
			call, ok := n.(*ast.CallExpr)
			if !ok {
				return true
			}
			selector, ok := call.Fun.(*ast.SelectorExpr)
			if !ok {
				return true
			}
			of, ok := selector.X.(*ast.Ident)
			if !ok {
				return true
			}
			name := of.Name + "." + selector.Sel.Name
			if f.syntax.Name.Name == "main" && strings.HasPrefix(name, "log.") {
				return true
			}
			if why, banned := bannedCalls()[name]; banned {
				t.Errorf("%s: %s: %s", f.at(call), name, why)
			}
			return true
		})
	}
}

func TestTodos_haveAnIssue(t *testing.T) {
	for _, f := range sources(t) {
		for _, group := range f.syntax.Comments {
			for _, c := range group.List {
				text := strings.TrimSpace(strings.TrimLeft(c.Text, "/*"))
				if strings.HasPrefix(text, "TODO") && !strings.HasPrefix(text, "TODO(#") || strings.HasPrefix(text, "FIXME") {
					t.Errorf("%s: a TODO without an issue is forgotten: write TODO(#123)", f.at(c))
				}
			}
		}
	}
}
