package edge

import (
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"workflow.uniconnect/pkg/fault"
)

// refusedWell fails the test unless err is the caller's to mend.
func refusedWell(t *testing.T, err error) {
	t.Helper()
	if k := fault.KindOf(err); k != fault.KindInvalidArgument && k != fault.KindDeadlineExceeded {
		t.Fatalf("got %v", err)
	}
}

// FuzzHeaders feeds the headers that mean something: what passes is what may go out as metadata of a call.
func FuzzHeaders(f *testing.F) {
	for _, seed := range [][3]string{
		{"key", `"etag"`, "5S"}, {"", "", ""}, {"a\x00b", `W/"x"`, "0n"}, {strings.Repeat("k", 129), `"a","b"`, "999999H"},
		{"é", "*", "99999999S"}, {" ", `"`, "-1S"}, {"k", `""`, "1.5S"}, {"k", `"a b"`, "١S"}, {"k\r\nX: y", "\"\x7f\"", "00000001u"},
	} {
		f.Add(seed[0], seed[1], seed[2])
	}
	bindings, err := publicBindings()
	if err != nil {
		f.Fatal(err)
	}
	patch := bindings["PATCH /v1/workflows/{workflow.id=*}"]
	f.Fuzz(func(t *testing.T, key, match, timeout string) {
		h := http.Header{headerIdempotencyKey: {key}, headerIfMatch: {match}}
		c := &call{binding: patch}
		if err := readHeaders(h, c); err != nil {
			refusedWell(t, err)
		} else if c.idempotencyKey != key || !printable(c.idempotencyKey) || len(c.idempotencyKey) > maxIdempotencyKey || !printable(c.etag) || strings.ContainsAny(c.etag, `", `) {
			t.Fatalf("%q, %q: got %q and %q", key, match, c.idempotencyKey, c.etag)
		}
		d, err := timeoutOf(timeout)
		if err != nil {
			refusedWell(t, err)
		} else if d < 0 || d > maxTimeout || d == 0 && timeout != "" || d > 0 && d < time.Nanosecond {
			t.Fatalf("%q: got %v", timeout, d)
		}
	})
}

// FuzzBinding feeds paths and queries: a path leads to routes of its own form alone, and a query that passes is of known parameters, each once.
func FuzzBinding(f *testing.F) {
	for _, seed := range [][2]string{
		{"/v1/workflows/1", "pageSize=1"}, {"/v1/workflows/1:activate", "a=%zz"}, {"/v1/workflows/..%2fexecutions", "pageSize=1&pageSize=2"},
		{"/v1/workflows:watch", "page_size=1&pageSize=1"}, {"//v1/workflows", "tenant=globex"}, {"/v1/workflows/", "filter=%00"}, {"", ";"},
		{"/v1/workflows/a:b:activate", "filter=\xff"}, {"/v1/access/users/a@b", "workflow.id=x"}, {"/v1/workflows/%2e%2e", "view=&view"},
	} {
		f.Add(seed[0], seed[1])
	}
	bindings, err := publicBindings()
	if err != nil {
		f.Fatal(err)
	}
	e := &Edge{bindings: bindings}
	f.Fuzz(func(t *testing.T, path, query string) {
		for _, method := range e.allowed(path) {
			if method == "" {
				t.Fatalf("%q is allowed without a method", path)
			}
		}
		for key, b := range bindings {
			if b.matches(path) && strings.Count(path, "/") != strings.Count(b.template, "/") {
				t.Fatalf("%q matches %s", path, key)
			}
			values, err := queryOf(query, b)
			if err != nil {
				refusedWell(t, err)
				continue
			}
			for name, given := range values {
				if len(given) != 1 || !b.takes(name) || !validText(given[0]) || strings.Contains(strings.ToLower(name), "tenant") {
					t.Fatalf("%s takes %q=%q", key, name, given)
				}
			}
			if _, err := url.ParseQuery(values.Encode()); err != nil {
				t.Fatal(err)
			}
		}
	})
}
