package tenancy

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/grpc/codes"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"

	"workflow.uniconnect/test/stack"
)

// TestTenancy calls everything with the ids of another tenant.
func TestTenancy(t *testing.T) {
	s := newSystem(t, stack.Options{})
	t.Run("foreign_ids", func(t *testing.T) { s.report(t, s.attack(t, newWorld(t, s))) })
	t.Run("own_ids", s.ownIDs)
	t.Run("schema", s.schema)
	t.Run("metrics", s.metrics)
}

// TestTenancy_WithoutOwnFilters does the same with services that have lost their filters: the policies of the database stand alone. Then
// they fall as well, and the attack must be noticed.
func TestTenancy_WithoutOwnFilters(t *testing.T) {
	s := newSystem(t, stack.Options{TenantBlind: true})
	w := newWorld(t, s)
	t.Run("policies_hold", func(t *testing.T) { s.report(t, s.attack(t, w)) })
	t.Run("without_policies_it_is_noticed", func(t *testing.T) {
		s.dropPolicies(t)
		noticed := s.attack(t, w)
		for _, method := range []protoreflect.Name{
			"GetWorkflow", "UpdateWorkflow", "ActivateWorkflow", "DeleteWorkflow", "ListRevisions", "ListBackups", "GetDraft", "ListAuditEntries",
			"GetExecution", "ListExecutions", "GetRole", "UpdateRole", "DeleteRole", "ListDeadLetters",
		} {
			if !slices.ContainsFunc(noticed, func(f finding) bool { return f.method == method }) {
				t.Errorf("%s: neither filter nor policy is left, and nothing is noticed", method)
			}
		}
		t.Logf("%d findings", len(noticed))
	})
}

// finding is a hole in the wall.
type finding struct {
	method protoreflect.Name
	what   string
}

func (s *system) report(t *testing.T, findings []finding) {
	t.Helper()
	for _, f := range findings {
		t.Errorf("%s %s", f.method, f.what)
	}
}

// attack calls every public method as the attacker with the victim's ids, then again with the victim's page tokens, and says what should
// not be.
func (s *system) attack(t *testing.T, w *world) []finding {
	t.Helper()
	var findings []finding
	calls := 0
	before := s.digest(t)
	for _, m := range publicMethods(t) {
		for _, protocol := range protocols(m) {
			found := func(format string, args ...any) {
				findings = append(findings, finding{m.Name(), "over " + protocol + ": " + fmt.Sprintf(format, args...)})
			}
			calls++
			s.tryIDs(t, w, protocol, m, found)
			if w.tokens[m.Name()] != "" {
				calls++
				s.tryToken(t, w, protocol, m, found)
			}
			after := s.digest(t)
			if diff := cmp.Diff(before, after); diff != "" {
				found("the victim's rows changed (-before +after):\n%s", diff)
			}
			before = after
		}
	}
	t.Logf("%d calls of %d methods, %d tables compared after each", calls, len(publicMethods(t)), len(before))
	return findings
}

// tryIDs makes a call with the victim's ids, which must be answered like one with nobody's.
func (s *system) tryIDs(t *testing.T, w *world, protocol string, m protoreflect.MethodDescriptor, found func(string, ...any)) {
	t.Helper()
	request := cleared(w.request(t, m), "page_token", "resume_token")
	got := s.call(t, protocol, attacker, m, request)
	if held := w.holds(request, got); held != "" {
		found("the answer holds %q: %s", held, got)
	}
	if w.named(request) == "" {
		return
	}
	other := w.unknown()
	want := s.call(t, protocol, attacker, m, cleared(other.request(t, m), "page_token", "resume_token"))
	if a, b := w.plain(got), other.plain(want); a != b {
		found("the answer tells what is the victim's from what is nobody's:\n%s\n%s", a, b)
	}
	if wanted := refusalOf(m.Name()); got.code != wanted {
		found("got %s, want %s", got, wanted)
	}
}

// tryToken makes a call with the victim's page token or resume token, which nobody else may use.
func (s *system) tryToken(t *testing.T, w *world, protocol string, m protoreflect.MethodDescriptor, found func(string, ...any)) {
	t.Helper()
	request := cleared(w.request(t, m), "filter", "prefix")
	got := s.call(t, protocol, attacker, m, request)
	if held := w.holds(request, got); held != "" {
		found("with the victim's token the answer holds %q: %s", held, got)
	}
	if got.code == codes.OK {
		found("the victim's token is taken: %s", got)
	}
}

// refusalOf is the code that a method answers with when an id in the request is nobody's.
func refusalOf(method protoreflect.Name) codes.Code {
	switch method {
	case "CreateWorkflow", "UpdateTenantSettings":
		return codes.InvalidArgument // the id is part of what is to be saved
	case "ValidateWorkflow":
		return codes.OK // the answer lists what is wrong
	}
	return codes.NotFound
}

// named returns an id of the victim's in a request.
func (w *world) named(request proto.Message) string {
	text := fmt.Sprint(request)
	for _, id := range w.ids() {
		if strings.Contains(text, id) {
			return id
		}
	}
	return ""
}

// plain is an answer without the ids that were asked for.
func (w *world) plain(a answer) string {
	text := a.text
	for _, id := range w.ids() {
		text = strings.ReplaceAll(text, id, "<id>")
	}
	return fmt.Sprint(a.code, " ", a.reason, " ", text)
}

// ownIDs makes the same calls as the victim: were they refused there too, their refusal to others would say nothing.
func (s *system) ownIDs(t *testing.T) {
	for _, m := range publicMethods(t) {
		w := newWorld(t, s)
		if request := w.request(t, m); w.named(request) != "" {
			if a := s.call(t, "grpc", victim, m, request); a.code == codes.NotFound || a.code == codes.PermissionDenied {
				t.Errorf("%s by the owner of the id: %s", m.Name(), a)
			}
		}
	}
}

// dropPolicies takes row level security from every table.
func (s *system) dropPolicies(t *testing.T) {
	t.Helper()
	for table := range maps.Keys(s.digest(t)) {
		if _, err := s.db.Exec(t.Context(), `ALTER TABLE `+table+` DISABLE ROW LEVEL SECURITY`); err != nil {
			t.Fatal(err)
		}
	}
}
