package record_test

import (
	"regexp"
	"testing"

	"github.com/google/go-cmp/cmp"

	"workflow.uniconnect/pkg/fault"
	"workflow.uniconnect/services/sandbox/internal/record"
)

func TestRecord_Apply(t *testing.T) {
	before := record.Record{Fields: map[string]any{"a": "1", "b": map[string]any{"c": 1.0}}, Version: 3}
	after, err := before.Apply(record.Change{Fields: map[string]any{"a": nil, "b": "2", "x": nil, "n": 1.0}, ExpectedVersion: 3})
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(map[string]any{"b": "2", "n": 1.0}, after.Fields); diff != "" || after.Version != 4 {
		t.Errorf("version %d, fields (-want +got):\n%s", after.Version, diff)
	}
	if len(before.Fields) != 2 {
		t.Errorf("the record before has changed: %v", before.Fields)
	}
	_, err = before.Apply(record.Change{ExpectedVersion: 2})
	if f, _ := fault.As(err); f == nil || f.Kind != fault.KindAborted || f.Reason != "RECORD_VERSION" || f.Metadata["current_version"] != "3" {
		t.Errorf("got %v, want ABORTED RECORD_VERSION", err)
	}
}

func TestSeeds(t *testing.T) {
	type group struct{ tenant, module string }
	counts := map[group]int{}
	seen := map[record.Key]bool{}
	phone := regexp.MustCompile(`^\+[1-9][0-9]{7,14}$`)
	for _, r := range record.Seeds() {
		counts[group{r.Tenant, r.Module}]++
		if seen[r.Key] {
			t.Errorf("%+v is there twice", r.Key)
		}
		seen[r.Key] = true
		if !record.IsModule(r.Module) || !record.IsTenant(r.Tenant) || r.Version != 1 {
			t.Errorf("%+v version %d", r.Key, r.Version)
		}
		if number, ok := r.Fields["phone"].(string); ok && !phone.MatchString(number) {
			t.Errorf("%+v: %q is not E.164", r.Key, number)
		}
	}
	want := map[group]int{
		{"acme", "leads"}: 20, {"acme", "contacts"}: 20, {"acme", "organizations"}: 5, {"acme", "tickets"}: 5, {"acme", "tasks"}: 1,
		{"acme", "notes"}: 1, {"acme", "users"}: 10, {"acme", "groups"}: 2, {"globex", "leads"}: 3,
	}
	if diff := cmp.Diff(want, counts); diff != "" {
		t.Errorf("counts (-want +got):\n%s", diff)
	}
}
