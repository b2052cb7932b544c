package postgres_test

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"maps"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// TestStore_WhoSeesAllTenants holds the functions that work with the role of all tenants up to this list. Whoever adds one says why it
// cannot be bound to the tenant of its caller.
func TestStore_WhoSeesAllTenants(t *testing.T) {
	t.Parallel()
	allowed := map[string]string{
		"NewStore": "wiring", "Store.inTx": "the transaction of what is listed here", "Store.Ready": "asks after the schema",
		"Store.Changes": "the feed of all tenants, for the hub", "Store.Snapshot": "the same, for other services",
		"Store.ChangesOf": "asks how far the feed has come, which tells nothing of anybody",
		"Store.prune":     "upkeep", "Store.Relist": "upkeep", "Store.unlisted": "upkeep",
		"Store.Claim": "the loop of deletions", "Store.Release": "the loop of deletions", "Store.Remove": "the loop of deletions",
		"Store.trim": "the loop of deletions", "Store.Pending": "the loop of deletions",
		"Store.AddTenant": "a tenant that does not exist yet", "Store.RegisterModule": "the platform's modules",
		"Platform.Replay": "the platform's calls", "Platform.change": "the platform's calls", "Platform.Tenant": "the platform's calls",
		"Platform.Tenants": "the platform's calls", "Store.exportPage": "the platform's calls",
		"Offboarding.Claim": "the loop that removes tenants", "Offboarding.Release": "the loop that removes tenants",
		"Offboarding.Pending": "the loop that removes tenants", "Offboarding.Remove": "the loop that removes tenants",
		"Store.empty": "the loop that removes tenants",
	}
	files, err := fs.Glob(os.DirFS("."), "*.go")
	if err != nil {
		t.Fatal(err)
	}
	found := make(map[string]bool)
	for _, name := range files {
		if strings.HasSuffix(name, "_test.go") {
			continue
		}
		file, err := parser.ParseFile(token.NewFileSet(), name, nil, 0)
		if err != nil {
			t.Fatal(err)
		}
		for _, decl := range file.Decls {
			function, ok := decl.(*ast.FuncDecl)
			if !ok {
				continue
			}
			name := function.Name.Name
			if function.Recv != nil {
				name = receiver(function.Recv.List[0].Type) + "." + name
			}
			ast.Inspect(function, func(n ast.Node) bool {
				switch x := n.(type) {
				case *ast.SelectorExpr:
					if x.Sel.Name == "pool" || x.Sel.Name == "inTx" {
						found[name] = true
					}
				case *ast.KeyValueExpr:
					if key, ok := x.Key.(*ast.Ident); ok && key.Name == "pool" {
						found[name] = true
					}
				}
				return true
			})
		}
	}
	if diff := cmp.Diff(slices.Sorted(maps.Keys(allowed)), slices.Sorted(maps.Keys(found))); diff != "" {
		t.Errorf("-allowed +found:\n%s", diff)
	}
}

func receiver(t ast.Expr) string {
	if star, ok := t.(*ast.StarExpr); ok {
		t = star.X
	}
	if name, ok := t.(*ast.Ident); ok {
		return name.Name
	}
	return ""
}
