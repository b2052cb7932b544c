package e2e

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"encoding/base64"
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/nats-io/nats.go"

	"workflow.uniconnect/test/stack"
)

// errorView is an error as the contract says that REST shows it.
type errorView struct {
	Error struct {
		Code    int
		Status  string
		Message string
		Details []struct {
			Type            string `json:"@type"`
			Reason, Domain  string
			Metadata        map[string]string
			FieldViolations []struct{ Field, Description, Reason string }
		}
	}
}

// reason is the machine-readable reason, fields are the paths of the violations.
func (e *errorView) reason() (reason string, fields []string) {
	for _, d := range e.Error.Details {
		if d.Reason != "" && d.Domain == "workflow.uniconnect" {
			reason = d.Reason
		}
		for _, v := range d.FieldViolations {
			fields = append(fields, v.Field+": "+v.Description)
		}
	}
	return reason, fields
}

// refusal is what a bad request must be answered with. Texts are parts of the answer; empty means any.
type refusal struct {
	status       int
	code, reason string
	text         string
}

func (want refusal) check(t *testing.T, res *stack.Response) {
	t.Helper()
	var got errorView
	if err := res.Decode(&got); err != nil {
		t.Fatal(err)
	}
	reason, fields := got.reason()
	all := got.Error.Message + " " + strings.Join(fields, " ")
	if res.Status != want.status || want.code != "" && got.Error.Status != want.code || want.reason != "" && reason != want.reason ||
		!strings.Contains(all, want.text) {
		t.Errorf("answer %d %s %s %q, want %d %s %s with %q", res.Status, got.Error.Status, reason, all, want.status, want.code, want.reason, want.text)
	}
	if got.Error.Code != res.Status {
		t.Errorf("the body says %d, the answer is %d", got.Error.Code, res.Status)
	}
	for _, leak := range []string{"pgx", "SQLSTATE", "SELECT ", "goroutine", "127.0.0.1", "/work/", ".go:"} {
		if strings.Contains(string(res.Body), leak) {
			t.Errorf("the answer holds %q: %s", leak, res.Body)
		}
	}
}

// badInput holds that each wrong request gets the one answer that names what is wrong, and changes nothing.
func badInput(t *testing.T, s *system) {
	title := unique("Bad")
	workflow := func(trigger, steps string) string {
		return `{"title":"` + title + `","trigger":` + trigger + `,"steps":` + steps + `}`
	}
	const manual, none = `{"manual":{}}`, `[]`
	action := func(kind string) string {
		return `[{"id":"a","action":{"type":"` + kind + `","params":{"method":"GET","url":"https://example.com/"}}}]`
	}
	event := func(filter string) string {
		return `{"event":{"eventType":"call.ended","filter":{"expression":"` + filter + `"}}}`
	}
	deep := strings.Repeat(`{"a":`, 100) + `1` + strings.Repeat(`}`, 100)
	cases := map[string]struct {
		method, path, body string
		want               refusal
	}{
		"unknown_field": {"POST", "/v1/workflows", `{"title":"x","trigger":{"manual":{}},"colour":"red"}`,
			refusal{400, "INVALID_ARGUMENT", "", "colour"}},
		"unknown_nested_field": {"POST", "/v1/workflows", workflow(manual, `[{"id":"a","stop":{"outcom":"FAILED"}}]`),
			refusal{400, "INVALID_ARGUMENT", "", "steps[0].stop.outcom"}},
		"duplicate_key": {"POST", "/v1/workflows", `{"title":"x","title":"y","trigger":{"manual":{}}}`, refusal{400, "INVALID_ARGUMENT", "", "title"}},
		"trailing_data": {"POST", "/v1/workflows", workflow(manual, none) + `{}`, refusal{400, "INVALID_ARGUMENT", "", ""}},
		"not_json":      {"POST", "/v1/workflows", `title: x`, refusal{400, "INVALID_ARGUMENT", "", ""}},
		"too_deep": {"POST", "/v1/workflows", workflow(manual, `[{"id":"a","action":{"type":"http.request","params":`+deep+`}}]`),
			refusal{400, "INVALID_ARGUMENT", "", "64"}},
		"too_large":     {"POST", "/v1/workflows", `{"title":"` + strings.Repeat("x", 2<<20) + `"}`, refusal{413, "", "TOO_LARGE", ""}},
		"no_title":      {"POST", "/v1/workflows", `{"trigger":{"manual":{}}}`, refusal{400, "INVALID_ARGUMENT", "", "title"}},
		"no_trigger":    {"POST", "/v1/workflows", `{"title":"x"}`, refusal{400, "INVALID_ARGUMENT", "", "trigger"}},
		"bad_step_id":   {"POST", "/v1/workflows", workflow(manual, `[{"id":"A b","stop":{}}]`), refusal{400, "INVALID_ARGUMENT", "", "steps[0].id"}},
		"same_step_id":  {"POST", "/v1/workflows", workflow(manual, `[{"id":"a","stop":{}},{"id":"a","stop":{}}]`), refusal{400, "INVALID_ARGUMENT", "", "steps[1].id"}},
		"unknown_type":  {"POST", "/v1/workflows", workflow(manual, action("http.requst")), refusal{400, "INVALID_ARGUMENT", "", "steps[0].action.type"}},
		"bad_params":    {"POST", "/v1/workflows", workflow(manual, `[{"id":"a","action":{"type":"http.request","params":{"method":"GET"}}}]`), refusal{400, "INVALID_ARGUMENT", "", "url"}},
		"unknown_event": {"POST", "/v1/workflows", workflow(`{"event":{"eventType":"call.endet"}}`, none), refusal{400, "INVALID_ARGUMENT", "", "trigger.event"}},
		"cel_syntax":    {"POST", "/v1/workflows", workflow(event(`event.data.x ==`), none), refusal{400, "INVALID_ARGUMENT", "", "1:16"}},
		"cel_type":      {"POST", "/v1/workflows", workflow(event(`1 + 1`), none), refusal{400, "INVALID_ARGUMENT", "", "bool"}},
		"cel_unknown":   {"POST", "/v1/workflows", workflow(event(`evnt.data.x == 1`), none), refusal{400, "INVALID_ARGUMENT", "", "1:1"}},
		"range_reversed": {"POST", "/v1/workflows",
			`{"title":"x","trigger":{"manual":{}},"dateRange":{"startTime":"2026-02-01T00:00:00Z","endTime":"2026-01-01T00:00:00Z"}}`,
			refusal{400, "INVALID_ARGUMENT", "", "dateRange"}},
		"not_a_uuid":      {"GET", "/v1/workflows/42", "", refusal{400, "INVALID_ARGUMENT", "", "id"}},
		"unknown_id":      {"GET", "/v1/workflows/01890000-0000-7000-8000-000000000000", "", refusal{404, "NOT_FOUND", "WORKFLOW_NOT_FOUND", ""}},
		"unknown_run":     {"GET", "/v1/executions/01890000-0000-7000-8000-000000000000", "", refusal{404, "NOT_FOUND", "EXECUTION_NOT_FOUND", ""}},
		"page_size":       {"GET", "/v1/workflows?pageSize=100000", "", refusal{400, "INVALID_ARGUMENT", "", "200"}},
		"page_token":      {"GET", "/v1/workflows?pageToken=forged", "", refusal{400, "INVALID_ARGUMENT", "", ""}},
		"unknown_query":   {"GET", "/v1/workflows?tenant=globex", "", refusal{400, "INVALID_ARGUMENT", "", "tenant"}},
		"unknown_route":   {"GET", "/v1/nothing", "", refusal{404, "NOT_FOUND", "", ""}},
		"wrong_method":    {"PUT", "/v1/workflows", `{}`, refusal{405, "", "", ""}},
		"event_type":      {"POST", "/v1/events", `{"source":"/e2e","data":{}}`, refusal{400, "INVALID_ARGUMENT", "", "type"}},
		"event_specified": {"POST", "/v1/events", `{"type":"call.ended","specversion":"0.3","data":{}}`, refusal{400, "INVALID_ARGUMENT", "", "specversion"}},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			var body any
			if tc.body != "" {
				body = tc.body
			}
			res, err := s.owner.Do(t.Context(), tc.method, tc.path, body)
			if err != nil {
				t.Fatal(err)
			}
			tc.want.check(t, res)
		})
	}
	t.Run("content_type", func(t *testing.T) {
		req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, s.RESTURL+"/v1/workflows", strings.NewReader("title=x"))
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		res, err := s.owner.Send(req)
		if err != nil {
			t.Fatal(err)
		}
		refusal{status: 415, reason: "CONTENT_TYPE"}.check(t, res)
	})
	t.Run("stale_etag", func(t *testing.T) {
		w := s.create(t, object{"title": unique("Etag"), "trigger": object{"manual": object{}}})
		change := object{"description": "changed", "etag": w.Etag}
		if err := s.owner.Call(t.Context(), http.MethodPatch, "/v1/workflows/"+w.ID+"?updateMask=description", change, nil); err != nil {
			t.Fatal(err)
		}
		res, err := s.owner.Do(t.Context(), http.MethodPatch, "/v1/workflows/"+w.ID+"?updateMask=description", change)
		if err != nil {
			t.Fatal(err)
		}
		refusal{409, "ABORTED", "ETAG_MISMATCH", ""}.check(t, res)
	})
	if n := s.mentions(t, title)["catalog.revisions"]; n != 0 {
		t.Errorf("refused requests stored %d workflows", n)
	}
}

// whoMay holds that a call passes with a valid token whose user's role grants it, and else gets the one answer.
func whoMay(t *testing.T, s *system) {
	const body = `{"title":"x","trigger":{"manual":{}}}`
	call := func(token, method, path, body string) *stack.Response {
		t.Helper()
		var content any
		if body != "" {
			content = body
		}
		res, err := s.ClientWithToken(token).Do(t.Context(), method, path, content)
		if err != nil {
			t.Fatal(err)
		}
		return res
	}
	good := s.owner.Token()
	parts := strings.Split(good, ".")
	encode := func(text string) string { return base64.RawURLEncoding.EncodeToString([]byte(text)) }
	tokens := map[string]struct {
		token string
		want  refusal
	}{
		"none":              {"", refusal{401, "UNAUTHENTICATED", "TOKEN_MISSING", ""}},
		"nonsense":          {"nonsense", refusal{401, "UNAUTHENTICATED", "TOKEN_INVALID", ""}},
		"alg_none":          {encode(`{"alg":"none","typ":"at+jwt"}`) + "." + parts[1] + ".", refusal{401, "UNAUTHENTICATED", "TOKEN_INVALID", ""}},
		"alg_hmac":          {encode(`{"alg":"HS256","typ":"at+jwt"}`) + "." + parts[1] + "." + parts[2], refusal{401, "UNAUTHENTICATED", "TOKEN_INVALID", ""}},
		"changed_payload":   {parts[0] + "." + encode(`{"tenant":"globex"}`) + "." + parts[2], refusal{401, "UNAUTHENTICATED", "TOKEN_INVALID", ""}},
		"foreign_signature": {parts[0] + "." + parts[1] + "." + foreignSignature(t), refusal{401, "UNAUTHENTICATED", "TOKEN_INVALID", ""}},
	}
	for name, tc := range tokens {
		t.Run(name, func(t *testing.T) {
			tc.want.check(t, call(tc.token, http.MethodGet, "/v1/workflows", ""))
			tc.want.check(t, call(tc.token, http.MethodPost, "/v1/workflows", body))
		})
	}
	missing := refusal{403, "PERMISSION_DENIED", "PERMISSION_MISSING", ""}
	t.Run("viewer", func(t *testing.T) {
		token := s.User(t, viewer).Token()
		if res := call(token, http.MethodGet, "/v1/workflows", ""); res.Status != http.StatusOK {
			t.Errorf("a viewer may not list: %s", res.Body)
		}
		missing.check(t, call(token, http.MethodPost, "/v1/workflows", body))
		// Who may not is told so before what was wrong.
		missing.check(t, call(token, http.MethodPost, "/v1/workflows", `{"nonsense":1}`))
		missing.check(t, call(token, http.MethodPost, "/v1/events", `{"type":"call.ended"}`))
	})
	t.Run("agent", func(t *testing.T) {
		token := s.User(t, agent).Token()
		missing.check(t, call(token, http.MethodGet, "/v1/workflows", ""))
		missing.check(t, call(token, http.MethodGet, "/v1/executions", ""))
	})
	t.Run("internal_methods_have_no_route", func(t *testing.T) {
		for _, path := range []string{"/uniconnect.workflow.peer.v1.StartService/StartExecutions", "/v1/definitions", "/v1/starts"} {
			if res := call(good, http.MethodPost, path, `{}`); res.Status != http.StatusNotFound {
				t.Errorf("POST %s answers %d, want 404", path, res.Status)
			}
		}
	})
}

// foreignSignature is the signature of a key that nobody knows.
func foreignSignature(t *testing.T) string {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	digest := make([]byte, 32)
	r, sig, err := ecdsa.Sign(rand.Reader, key, digest)
	if err != nil {
		t.Fatal(err)
	}
	both := make([]byte, 64)
	r.FillBytes(both[:32])
	sig.FillBytes(both[32:])
	return base64.RawURLEncoding.EncodeToString(both)
}

// tenants holds that another tenant's things do not exist, whatever is done with their real ids.
func tenants(t *testing.T, s *system) {
	call := unique("call")
	w := s.create(t, onCall(call, s.post("tell", path(), object{})))
	s.publish(t, "call.segment_ended", object{"call_id": call})
	e := s.awaitEnd(t, w.ID, 1)[0]
	stranger := s.User(t, foreign)
	for _, tc := range []struct{ method, path, body, reason string }{
		{"GET", "/v1/workflows/" + w.ID, "", "WORKFLOW_NOT_FOUND"},
		{"PATCH", "/v1/workflows/" + w.ID + "?updateMask=title", `{"title":"Taken over"}`, "WORKFLOW_NOT_FOUND"},
		{"DELETE", "/v1/workflows/" + w.ID, "", "WORKFLOW_NOT_FOUND"},
		{"POST", "/v1/workflows/" + w.ID + ":activate", `{}`, "WORKFLOW_NOT_FOUND"},
		{"POST", "/v1/workflows/" + w.ID + ":deactivate", `{}`, "WORKFLOW_NOT_FOUND"},
		{"POST", "/v1/workflows/" + w.ID + ":run", `{}`, "WORKFLOW_NOT_FOUND"},
		{"GET", "/v1/executions/" + e.ID, "", "EXECUTION_NOT_FOUND"},
	} {
		var body any
		if tc.body != "" {
			body = tc.body
		}
		res, err := stranger.Do(t.Context(), tc.method, tc.path, body)
		if err != nil {
			t.Fatal(err)
		}
		t.Run(tc.method+strings.ReplaceAll(tc.path, "/", "_"), func(t *testing.T) {
			refusal{404, "NOT_FOUND", tc.reason, ""}.check(t, res)
		})
	}
	var list struct{ Executions []executionView }
	if err := stranger.Call(t.Context(), http.MethodGet, "/v1/workflows/"+w.ID+"/executions", nil, &list); err == nil && len(list.Executions) > 0 {
		t.Errorf("another tenant sees %d executions", len(list.Executions))
	}
	var now workflowView
	if err := s.owner.Call(t.Context(), http.MethodGet, "/v1/workflows/"+w.ID, nil, &now); err != nil || now.Title != w.Title || now.State != "ACTIVE" {
		t.Errorf("after all that the workflow is %+v, %v; want it as it was: %+v", now, err, w)
	}
	if n := s.mentions(t, "Taken over"); len(n) > 0 {
		t.Errorf("the foreign change left rows: %v", n)
	}
}

// deadLetters holds that what is no event is set aside with its reason and holds up nothing.
func deadLetters(t *testing.T, s *system) {
	call := unique("call")
	w := s.create(t, onCall(call, s.post("tell", path(), object{})))
	mark := unique("letter")
	bad := []struct {
		reason string
		msg    *nats.Msg
	}{
		{"EVENT_MALFORMED", &nats.Msg{Subject: "uniconnect.events.acme.call.segment_ended", Data: []byte(`{"call_id": "` + mark)}},
		{"EVENT_TENANT_MISMATCH", &nats.Msg{Subject: "uniconnect.events.acme.call.segment_ended", Data: []byte(`{"tenant":"globex","mark":"` + mark + `"}`)}},
		{"EVENT_TYPE_MISMATCH", &nats.Msg{
			Subject: "uniconnect.events.acme.call.segment_ended", Data: []byte(`{"mark":"` + mark + `"}`),
			Header: nats.Header{"ce-specversion": {"1.0"}, "ce-id": {mark}, "ce-source": {"/e2e"}, "ce-type": {"call.started"}},
		}},
		{"EVENT_ATTRIBUTE", &nats.Msg{
			Subject: "uniconnect.events.acme.call.segment_ended", Data: []byte(`{"mark":"` + mark + `"}`),
			Header: nats.Header{"ce-specversion": {"0.3"}, "ce-id": {mark}, "ce-source": {"/e2e"}, "ce-type": {"call.segment_ended"}},
		}},
	}
	for _, b := range bad {
		if _, err := s.js.PublishMsg(t.Context(), b.msg); err != nil {
			t.Fatal(err)
		}
	}
	s.publish(t, "call.segment_ended", object{"call_id": call})
	s.awaitEnd(t, w.ID, 1) // came after them all
	stack.Eventually(t, soon, func(ctx context.Context) error {
		var list struct {
			DeadLetters []struct {
				ID, Subject, Reason, Message string
				Body                         []byte
			}
		}
		if err := s.owner.Call(ctx, http.MethodGet, "/v1/deadLetters?pageSize=200", nil, &list); err != nil {
			return err
		}
		found := make(map[string]bool)
		for _, d := range list.DeadLetters {
			if strings.Contains(string(d.Body), mark) && d.Message != "" {
				found[d.Reason] = true
			}
		}
		for _, b := range bad {
			if !found[b.reason] {
				return fmt.Errorf("no dead letter with reason %s; there are %v", b.reason, found)
			}
		}
		return nil
	})
	var list struct{ DeadLetters []object }
	if err := s.User(t, foreign).Call(t.Context(), http.MethodGet, "/v1/deadLetters", nil, &list); err != nil || len(list.DeadLetters) > 0 {
		t.Errorf("another tenant sees %d dead letters, %v", len(list.DeadLetters), err)
	}
}

// mentions counts the rows that hold a text anywhere, by table, over all tables of all services.
func (s *system) mentions(t *testing.T, text string) map[string]int {
	t.Helper()
	rows, err := s.db.Query(t.Context(), `
		SELECT n.nspname || '.' || c.relname FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
		WHERE c.relkind IN ('r', 'p') AND NOT c.relispartition AND n.nspname !~ '^(pg_|information_schema)'`)
	if err != nil {
		t.Fatal(err)
	}
	tables, err := pgx.CollectRows(rows, pgx.RowTo[string])
	if err != nil {
		t.Fatal(err)
	}
	if len(tables) < 10 {
		t.Fatalf("only %d tables found: %v", len(tables), tables)
	}
	counts := make(map[string]int)
	for _, table := range tables {
		var n int
		query := `SELECT count(*) FROM ` + pgx.Identifier(strings.Split(table, ".")).Sanitize() + ` AS r WHERE position($1 IN r::text) > 0`
		if err := s.db.QueryRow(t.Context(), query, text).Scan(&n); err != nil {
			t.Fatalf("scan %s: %v", table, err)
		}
		if n > 0 {
			counts[table] = n
		}
	}
	return counts
}
