package repo

import (
	"path"
	"slices"
	"strings"
	"testing"
)

// rule limits what a group of packages imports. Patterns are import paths without our prefix; `*` stands for one element of a path and `...`
// for the rest of it.
type rule struct {
	packages []string
	except   []string
	// may, when set, lists all that may be imported beside the standard library.
	may []string
	// mustNot lists what may not.
	mustNot []string
	why     string
	// tests says that the rule holds for test files too.
	tests bool
}

// adapters are the packages inside a service that reach outside of it or translate for those that do. Everything else in an internal
// directory is domain.
func adapters() []string {
	var all []string
	for _, name := range []string{
		"postgres", "grpcapi", "bus", "remote", "peer", // storage, calls in, events in, calls out
		"definition", "eventpb", "exchange", "template", // translate the contract's messages, or hold them as files
		"httpaction", "crm", "egress", // what actions reach
		"observe",                                                        // metrics and spans
		"httpapi",                                                        // the sandbox's face
		"connlimit", "edge", "page", "devlogin", "session", "strictjson", // the gateway's
		"seed",                      // workflowd's
		"client", "show", "command", // wfctl's
	} {
		all = append(all, "services/*/internal/"+name+"/...")
	}
	return all
}

// machinery is domain that also runs things: it may measure them and wait for them.
func machinery() []string {
	return []string{"services/executor/internal/engine/...", "services/executor/internal/upkeep/..."}
}

const (
	pgx  = "github.com/jackc/pgx/..."
	nats = "github.com/nats-io/..."
	grpc = "google.golang.org/grpc/..."
)

// rules is the import table of the architecture.
func rules() []rule {
	domain := []string{"pkg/fault", "pkg/faultpoint", "pkg/expr", "github.com/google/uuid", "golang.org/x/text/...", "services/*/internal/..."}
	noIO := []string{"net", "net/http/...", "database/sql/...", "os/exec", pgx, nats, grpc, "google.golang.org/protobuf/...", "proto/..."}
	return []rule{
		{
			packages: []string{"services/*/internal/..."},
			except:   slices.Concat(adapters(), machinery(), []string{"services/executor/internal/action/..."}),
			may:      domain, mustNot: append(noIO, adapters()...),
			why: "domain packages hold rules that are tested without network and database",
		},
		{
			packages: []string{"services/executor/internal/action/..."},
			may:      append([]string{"github.com/santhosh-tekuri/jsonschema/...", "golang.org/x/text/..."}, domain...),
			mustNot:  append(noIO, adapters()...),
			why:      "the registry of actions checks parameters against JSON Schema and knows no transport",
		},
		{
			packages: machinery(),
			may:      append([]string{"pkg/lifecycle", "go.opentelemetry.io/otel/...", "golang.org/x/sync/..."}, domain...),
			mustNot:  append(noIO, adapters()...),
			why:      "loops run the domain and measure it; what they reach is behind interfaces",
		},
		{
			packages: []string{"services/*/internal/postgres/..."},
			mustNot:  []string{grpc, nats, "proto/...", "net/http/..."},
			why:      "storage knows the domain's types, not the wire's",
		},
		{
			packages: []string{"services/*/internal/grpcapi/..."},
			mustNot:  []string{pgx, nats, "pkg/postgres", "services/*/internal/postgres/...", "services/*/internal/bus/..."},
			why:      "calls in go through the domain, never straight to the tables or the bus",
		},
		{
			packages: []string{"services/gateway/..."},
			mustNot:  []string{pgx, "pkg/postgres", "pkg/devpg", nats},
			why:      "the gateway holds no state: it has no database and no bus",
		},
		{
			packages: []string{"services/wfctl/..."},
			mustNot:  []string{pgx, nats, "pkg/postgres", "pkg/bus", "pkg/grpcserver", "proto/gen/go/uniconnect/workflow/peer/..."},
			why:      "a command line reaches the system as any client does: through the gateway",
		},
		{
			packages: []string{"pkg/..."},
			mustNot:  []string{"services/...", "test/..."},
			why:      "the platform depends on nothing that is built upon it", tests: true,
		},
		{
			packages: []string{"pkg/..."},
			mustNot:  []string{"proto/gen/go/uniconnect/workflow/...", "proto/gen/go/uniconnect/event/...", "proto/gen/go/uniconnect/crm/..."},
			why:      "the platform knows no word of the workflow domain",
		},
		{
			packages: []string{"proto/..."},
			mustNot:  []string{"pkg/...", "services/...", "test/..."},
			why:      "a client that wants the API depends on proto alone", tests: true,
		},
		{
			packages: []string{"test/..."},
			mustNot:  []string{"services/..."},
			why:      "black-box tests and benchmarks meet the system as its users do", tests: true,
		},
		{
			packages: []string{"services/..."},
			mustNot:  []string{"test/..."},
			why:      "the product does not depend on what tests it", tests: true,
		},
	}
}

func TestImports_followTheArchitecture(t *testing.T) {
	for _, f := range sources(t) {
		for _, name := range f.imports() {
			for _, r := range rules() {
				if f.isTest() && !r.tests {
					continue
				}
				if why := r.refuses(f.pkg(), name); why != "" {
					t.Errorf("%s → %s: %s (%s)", f.pkg(), name, why, f.path)
				}
			}
		}
	}
}

// Only workflowd puts services together.
func TestServices_doNotImportOneAnother(t *testing.T) {
	for _, f := range sources(t) {
		own := service(f.pkg())
		if own == "" || own == "workflowd" {
			continue
		}
		for _, name := range f.imports() {
			if other := service(strings.TrimPrefix(name, module)); other != "" && other != own {
				t.Errorf("%s → %s: services talk gRPC and nothing else to each other; only workflowd imports them (%s)", f.pkg(), name, f.path)
			}
		}
	}
}

// service is the service that a package belongs to, or nothing.
func service(pkg string) string {
	parts := strings.Split(pkg, "/")
	if len(parts) < 2 || parts[0] != "services" {
		return ""
	}
	return parts[1]
}

// The gateway's binary has no database driver, not even by way of another package of ours.
func TestGateway_hasNoDatabaseDriver(t *testing.T) {
	graph := make(map[string]map[string]bool)
	for _, f := range sources(t) {
		if f.isTest() {
			continue
		}
		if graph[f.pkg()] == nil {
			graph[f.pkg()] = make(map[string]bool)
		}
		for _, name := range f.imports() {
			graph[f.pkg()][name] = true
		}
	}
	seen := make(map[string]bool)
	var visit func(pkg string, way []string)
	visit = func(pkg string, way []string) {
		if seen[pkg] {
			return
		}
		seen[pkg] = true
		way = append(slices.Clone(way), pkg)
		for name := range graph[pkg] {
			if matches(pgx, name) {
				t.Errorf("%s → %s: the gateway holds no state and has no database driver", strings.Join(way, " → "), name)
			}
			if own, ok := strings.CutPrefix(name, module); ok {
				visit(own, way)
			}
		}
	}
	visit("services/gateway/cmd/gateway", nil)
	if len(seen) < 5 {
		t.Errorf("only %d packages are reached from the gateway's main: %v", len(seen), seen)
	}
}

// refuses says why a package may not import something, or nothing.
func (r rule) refuses(pkg, imported string) string {
	if !matchesAny(r.packages, pkg) || matchesAny(r.except, pkg) {
		return ""
	}
	own, isOwn := strings.CutPrefix(imported, module)
	if matchesAny(r.mustNot, own) {
		return r.why
	}
	isStandard := !isOwn && !strings.Contains(strings.Split(imported, "/")[0], ".")
	if r.may != nil && !isStandard && !matchesAny(r.may, own) {
		return "not on the list of what it may import; " + r.why
	}
	return ""
}

func matchesAny(patterns []string, name string) bool {
	return slices.ContainsFunc(patterns, func(p string) bool { return matches(p, name) })
}

// matches reports whether an import path fits a pattern.
func matches(pattern, name string) bool {
	prefix, open := strings.CutSuffix(pattern, "/...")
	want, got := strings.Split(prefix, "/"), strings.Split(name, "/")
	if len(got) < len(want) || len(got) > len(want) && !open {
		return false
	}
	for i := range want {
		if ok, err := path.Match(want[i], got[i]); err != nil || !ok {
			return false
		}
	}
	return true
}

// The table would be worth nothing if its patterns matched nothing.
func TestRules_refuse(t *testing.T) {
	cases := []struct{ pkg, imported string }{
		{"services/executor/internal/run", "github.com/jackc/pgx/v5"},
		{"services/executor/internal/run", "net/http"},
		{"services/executor/internal/run", "go.uber.org/zap"},
		{"services/executor/internal/run", module + "services/executor/internal/postgres"},
		{"services/executor/internal/run", module + "proto/gen/go/uniconnect/workflow/v1"},
		{"services/executor/internal/engine", "google.golang.org/grpc"},
		{"services/workflow-catalog/internal/postgres", "google.golang.org/grpc/codes"},
		{"services/workflow-catalog/internal/grpcapi", "github.com/jackc/pgx/v5/pgxpool"},
		{"services/gateway/internal/edge", module + "pkg/postgres"},
		{"services/wfctl/internal/command", module + "pkg/bus"},
		{"pkg/auth", module + "services/executor"},
		{"test/bench", module + "services/executor"},
	}
	for _, tc := range cases {
		if !slices.ContainsFunc(rules(), func(r rule) bool { return r.refuses(tc.pkg, tc.imported) != "" }) {
			t.Errorf("no rule refuses %s → %s", tc.pkg, tc.imported)
		}
	}
	for _, tc := range []struct{ pkg, imported string }{
		{"services/executor/internal/run", "encoding/json"}, {"services/executor/internal/run", module + "pkg/expr"},
		{"services/executor/internal/postgres", "github.com/jackc/pgx/v5"}, {"services/executor/internal/egress", "net"},
	} {
		for _, r := range rules() {
			if why := r.refuses(tc.pkg, tc.imported); why != "" {
				t.Errorf("%s → %s is refused: %s", tc.pkg, tc.imported, why)
			}
		}
	}
}
