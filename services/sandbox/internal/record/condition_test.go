package record_test

import (
	"testing"

	"workflow.uniconnect/pkg/fault"
	"workflow.uniconnect/services/sandbox/internal/record"
)

func TestQuery_Matches(t *testing.T) {
	r := record.Record{Key: record.Key{ID: "lead-1"}, Fields: map[string]any{
		"status": "new", "score": 80.0, "vip": true, "due": "2026-11-03T08:00:00+01:00", "name": "Müller & Söhne", "tags": []any{"a"},
	}}
	cases := map[string]struct {
		condition record.Condition
		want      bool
	}{
		"equal":                        {record.Condition{Field: "status", Value: "new"}, true},
		"equal_bool":                   {record.Condition{Field: "vip", Value: true}, true},
		"equal_list":                   {record.Condition{Field: "tags", Value: []any{"a"}}, true},
		"text_is_no_number":            {record.Condition{Field: "score", Value: "80"}, false},
		"id":                           {record.Condition{Field: "id", Value: "lead-1"}, true},
		"missing_is_null":              {record.Condition{Field: "owner", Value: nil}, true},
		"there_is_not_null":            {record.Condition{Field: "status", Value: nil}, false},
		"not_equal":                    {record.Condition{Field: "status", Operator: record.NotEquals, Value: "old"}, true},
		"not_equal_of_missing":         {record.Condition{Field: "owner", Operator: record.NotEquals, Value: "user-1"}, true},
		"not_equal_of_equal":           {record.Condition{Field: "status", Operator: record.NotEquals, Value: "new"}, false},
		"greater":                      {record.Condition{Field: "score", Operator: record.GreaterThan, Value: 79.5}, true},
		"greater_is_not_equal":         {record.Condition{Field: "score", Operator: record.GreaterThan, Value: 80.0}, false},
		"less":                         {record.Condition{Field: "score", Operator: record.LessThan, Value: 81.0}, true},
		"less_of_missing":              {record.Condition{Field: "size", Operator: record.LessThan, Value: 81.0}, false},
		"times_across_zones":           {record.Condition{Field: "due", Operator: record.LessThan, Value: "2026-11-03T07:30:00Z"}, true},
		"times_across_zones_not":       {record.Condition{Field: "due", Operator: record.GreaterThan, Value: "2026-11-03T07:30:00Z"}, false},
		"text_by_order":                {record.Condition{Field: "status", Operator: record.GreaterThan, Value: "mew"}, true},
		"number_and_text":              {record.Condition{Field: "score", Operator: record.GreaterThan, Value: "1"}, false},
		"contains_whatever_the_case":   {record.Condition{Field: "name", Operator: record.Contains, Value: "MÜLLER"}, true},
		"contains_not":                 {record.Condition{Field: "name", Operator: record.Contains, Value: "Meier"}, false},
		"in":                           {record.Condition{Field: "status", Operator: record.In, Value: []any{"old", "new"}}, true},
		"in_not":                       {record.Condition{Field: "status", Operator: record.In, Value: []any{"old"}}, false},
		"contains_of_what_is_not_text": {record.Condition{Field: "score", Operator: record.Contains, Value: "8"}, false},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			if got := (record.Query{Conditions: []record.Condition{c.condition}}).Matches(r); got != c.want {
				t.Errorf("got %v, want %v", got, c.want)
			}
		})
	}
	both := record.Query{Conditions: []record.Condition{{Field: "status", Value: "new"}, {Field: "score", Value: 1.0}}}
	if both.Matches(r) {
		t.Error("a record matches though one of two conditions does not hold")
	}
}

func TestQuery_Check(t *testing.T) {
	err := record.Query{Conditions: []record.Condition{
		{Field: "a", Value: nil},
		{Field: "a", Operator: record.Contains, Value: 1.0},
		{Field: "a", Operator: record.In, Value: "x"},
		{Field: "a", Operator: record.LessThan, Value: true},
	}}.Check()
	f, _ := fault.As(err)
	if f == nil || len(f.Violations) != 3 || f.Violations[0].Field != "conditions[1].value" || f.Violations[2].Field != "conditions[3].value" {
		t.Errorf("got %+v, want a violation for each of the last three conditions", f)
	}
}
