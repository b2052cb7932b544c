package event

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"workflow.uniconnect/pkg/expr"
	"workflow.uniconnect/pkg/fault"
)

// upper stands for protobuf: its "encoding" is JSON behind an exclamation mark.
type upper struct{}

func (upper) JSON(t Type, body []byte) ([]byte, error) {
	if len(body) > 0 && body[0] == '?' {
		panic("a defect")
	}
	raw, ok := strings.CutPrefix(string(body), "!")
	if !ok {
		return nil, errors.New("not encoded")
	}
	return []byte(raw), nil
}

var published = time.Date(2026, 11, 23, 10, 0, 0, 5, time.UTC)

const callEnded = "uniconnect.events.acme.call.ended"

func header(pairs ...string) map[string][]string {
	h := make(map[string][]string)
	for i := 0; i < len(pairs); i += 2 {
		h[pairs[i]] = append(h[pairs[i]], pairs[i+1])
	}
	return h
}

func decode(t *testing.T, subject string, h map[string][]string, body string) (Event, *Problem) {
	t.Helper()
	var ev Event
	m := Message{Subject: subject, Header: h, Body: []byte(body), Sequence: 42, Time: published}
	problem := NewDecoder(upper{}).Decode(&m, &ev)
	return ev, problem
}

func TestDecoder_Decode(t *testing.T) {
	const full = `{"id":"e1","type":"call.ended","source":"/pbx/1","time":"2026-11-23T11:00:00.5+01:00","subject":"c1","data":{"call_id":"c1","n": 1}}`
	const bare = `{"id":"42","type":"call.ended","source":"urn:uniconnect:bus","time":"2026-11-23T10:00:00.000000005Z","subject":"","data":%s}`
	binary := []string{"ce-specversion", "1.0", "ce-id", "e1", "ce-type", "com.uniconnect.call.ended", "ce-source", "/pbx/1",
		"ce-time", "2026-11-23T11:00:00.5+01:00", "ce-subject", "c1", "content-type", "application/json; charset=UTF-8"}
	cases := map[string]struct {
		header map[string][]string
		body   string
		want   string
	}{
		"binary":            {header(binary...), `{"call_id":"c1","n": 1}`, full},
		"binary_other_case": {header("Ce-Id", "e1", "CE-Type", "call.ended", "Ce-Source", "/pbx/1", "Ce-Time", "2026-11-23T11:00:00.5+01:00", "Ce-Subject", "c1", "Content-Type", "application/json"), `{"call_id":"c1","n": 1}`, full},
		"structured": {header("content-type", "application/cloudevents+json"),
			`{"specversion":"1.0","id":"e1","type":"call.ended","source":"/pbx/1","time":"2026-11-23T11:00:00.5+01:00","subject":"c1","datacontenttype":"application/json","extra":1,"data":{"call_id":"c1","n": 1}}`, full},
		"structured_base64": {header("content-type", "application/cloudevents+json; charset=utf-8", "ce-id", "e1"),
			`{"specversion":"1.0","id":"e1","type":"com.uniconnect.call.ended","source":"/pbx/1","time":"2026-11-23T11:00:00.5+01:00","subject":"c1","data_base64":"eyJjYWxsX2lkIjoiYzEiLCJuIjogMX0="}`, full},
		"no_headers":         {nil, ` {"a":[1,2.5e3,"\u00e9\ud83d\ude00"]} `, fmt.Sprintf(bare, `{"a":[1,2.5e3,"\u00e9\ud83d\ude00"]}`)},
		"message_id":         {header("Nats-Msg-Id", "m1"), `{}`, strings.Replace(fmt.Sprintf(bare, `{}`), `"42"`, `"m1"`, 1)},
		"empty_body":         {nil, ``, fmt.Sprintf(bare, `null`)},
		"scalar":             {nil, `"text"`, fmt.Sprintf(bare, `"text"`)},
		"protobuf":           {header("content-type", "application/protobuf"), `!{"call_id":"c1"}`, fmt.Sprintf(bare, `{"call_id":"c1"}`)},
		"percent_encoded_id": {header("ce-id", "a%20b%C3%A9"), `{}`, strings.Replace(fmt.Sprintf(bare, `{}`), `"42"`, `"a bé"`, 1)},
		"quotes_in_id":       {header("ce-id", `a"b\c`), `{}`, strings.Replace(fmt.Sprintf(bare, `{}`), `"42"`, `"a\"b\\c"`, 1)},
		"own_tenant":         {nil, `{"tenant_id":"acme","tenant":null}`, fmt.Sprintf(bare, `{"tenant_id":"acme","tenant":null}`)},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			ev, problem := decode(t, callEnded, c.header, c.body)
			if problem != nil {
				t.Fatal(problem)
			}
			if diff := cmp.Diff(c.want, string(ev.JSON())); diff != "" {
				t.Errorf("JSON (-want +got):\n%s", diff)
			}
			if !json.Valid(ev.JSON()) {
				t.Errorf("not JSON: %s", ev.JSON())
			}
			want, err := expr.Decode(ev.JSON())
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(want, any(ev.Value())); diff != "" {
				t.Errorf("Value (-want +got):\n%s", diff)
			}
			if got, want := ev.Tenant, Tenant("acme"); got != want {
				t.Errorf("tenant: got %q, want %q", got, want)
			}
			if got, want := ev.FromStream, ev.ID == "42"; got != want {
				t.Errorf("FromStream: got %v, want %v", got, want)
			}
		})
	}
}

func TestDecoder_Decode_problems(t *testing.T) {
	structured := header("content-type", "application/cloudevents+json")
	cases := map[string]struct {
		subject string
		header  map[string][]string
		body    string
		want    fault.Reason
	}{
		"not_json":              {callEnded, nil, `{"a":`, ReasonMalformed},
		"trailing":              {callEnded, nil, `{} {}`, ReasonMalformed},
		"leading_zero":          {callEnded, nil, `{"a":01}`, ReasonMalformed},
		"bad_utf8":              {callEnded, nil, "{\"a\":\"\xff\"}", ReasonMalformed},
		"raw_control":           {callEnded, nil, "{\"a\":\"\x01\"}", ReasonMalformed},
		"nul":                   {callEnded, nil, `{"a":"\u0000"}`, ReasonAttribute},
		"half_surrogate":        {callEnded, nil, `{"a":"\ud800x"}`, ReasonAttribute},
		"low_surrogate":         {callEnded, nil, `{"a":"\udc00"}`, ReasonAttribute},
		"huge_number":           {callEnded, nil, `{"a":1e400}`, ReasonAttribute},
		"deep":                  {callEnded, nil, strings.Repeat("[", 65) + strings.Repeat("]", 65), ReasonAttribute},
		"large":                 {callEnded, nil, `"` + strings.Repeat("a", MaxSize) + `"`, ReasonAttribute},
		"text":                  {callEnded, header("content-type", "text/plain"), `hello`, ReasonMalformed},
		"latin1":                {callEnded, header("content-type", "application/json; charset=iso-8859-1"), `{}`, ReasonMalformed},
		"batch":                 {callEnded, header("content-type", "application/cloudevents-batch+json"), `[]`, ReasonMalformed},
		"protobuf_broken":       {callEnded, header("content-type", "application/protobuf"), `x`, ReasonMalformed},
		"protobuf_panics":       {callEnded, header("content-type", "application/protobuf"), `?`, ReasonMalformed},
		"tenant_in_payload":     {callEnded, nil, `{"tenant":"globex"}`, ReasonTenantMismatch},
		"tenant_id_in_payload":  {callEnded, nil, `{"a":1,"tenant_id" : "globex"}`, ReasonTenantMismatch},
		"tenant_in_escaped_key": {callEnded, nil, `{"ten\u0061nt":"globex"}`, ReasonTenantMismatch},
		"tenant_second_time":    {callEnded, nil, `{"tenant":"acme","tenant":"globex"}`, ReasonTenantMismatch},
		"tenant_number":         {callEnded, nil, `{"tenant":7}`, ReasonTenantMismatch},
		"tenant_in_header":      {callEnded, header("ce-tenant", "globex"), `{}`, ReasonTenantMismatch},
		"tenant_in_envelope":    {callEnded, structured, `{"tenant":"globex","data":{}}`, ReasonTenantMismatch},
		"type":                  {callEnded, header("ce-type", "call.started"), `{}`, ReasonTypeMismatch},
		"type_in_envelope":      {callEnded, structured, `{"type":"call.started"}`, ReasonTypeMismatch},
		"id_long":               {callEnded, header("ce-id", strings.Repeat("x", 257)), `{}`, ReasonAttribute},
		"id_empty":              {callEnded, header("ce-id", ""), `{}`, ReasonAttribute},
		"id_empty_in_envelope":  {callEnded, structured, `{"id":""}`, ReasonAttribute},
		"id_number":             {callEnded, structured, `{"id":7}`, ReasonAttribute},
		"id_twice":              {callEnded, header("ce-id", "a", "ce-id", "b"), `{}`, ReasonAttribute},
		"id_twice_other_case":   {callEnded, header("ce-id", "a", "Ce-Id", "b"), `{}`, ReasonAttribute},
		"id_twice_in_envelope":  {callEnded, structured, `{"id":"a","id":"a"}`, ReasonAttribute},
		"id_differs":            {callEnded, header("content-type", "application/cloudevents+json", "ce-id", "b"), `{"id":"a"}`, ReasonAttribute},
		"encoded_nul":           {callEnded, header("ce-id", "a%00"), `{}`, ReasonAttribute},
		"encoded_bad_utf8":      {callEnded, header("ce-id", "a%ff"), `{}`, ReasonAttribute},
		"control_in_source":     {callEnded, header("ce-source", "a\tb"), `{}`, ReasonAttribute},
		"source_long":           {callEnded, header("ce-source", strings.Repeat("x", 1025)), `{}`, ReasonAttribute},
		"version":               {callEnded, header("ce-specversion", "2.0"), `{}`, ReasonAttribute},
		"time":                  {callEnded, header("ce-time", "yesterday"), `{}`, ReasonAttribute},
		"time_without_zone":     {callEnded, header("ce-time", "2026-11-23T10:00:00"), `{}`, ReasonAttribute},
		"time_before_1970":      {callEnded, header("ce-time", "1969-12-31T23:59:59Z"), `{}`, ReasonAttribute},
		"time_after_9998":       {callEnded, header("ce-time", "9999-01-01T00:00:00Z"), `{}`, ReasonAttribute},
		"time_fraction":         {callEnded, header("ce-time", "2026-11-23T10:00:00.0000000000000000000000001Z"), `{}`, ReasonAttribute},
		"envelope_array":        {callEnded, structured, `[1]`, ReasonMalformed},
		"envelope_empty":        {callEnded, structured, ``, ReasonMalformed},
		"both_data":             {callEnded, structured, `{"data":{},"data_base64":"e30="}`, ReasonMalformed},
		"base64":                {callEnded, structured, `{"data_base64":"***"}`, ReasonMalformed},
		"base64_not_json":       {callEnded, structured, `{"data_base64":"aGk="}`, ReasonMalformed},
		"tenant_token":          {"uniconnect.events.Acme.call.ended", nil, `{}`, ReasonAttribute},
		"tenant_token_long":     {"uniconnect.events." + strings.Repeat("a", 33) + ".call.ended", nil, `{}`, ReasonAttribute},
		"no_type":               {"uniconnect.events.acme", nil, `{}`, ReasonAttribute},
		"type_token":            {"uniconnect.events.acme.Call.Ended", nil, `{}`, ReasonAttribute},
		"type_of_one_part":      {"uniconnect.events.acme.call", nil, `{}`, ReasonAttribute},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			_, problem := decode(t, c.subject, c.header, c.body)
			if problem == nil || problem.Reason != c.want {
				t.Fatalf("got %v, want %s", problem, c.want)
			}
			if problem.Message == "" || len(problem.Message) > 300 {
				t.Errorf("message: got %q", problem.Message)
			}
		})
	}
}

func TestRegistry_Known(t *testing.T) {
	for typ, want := range map[Type]bool{
		"call.ended": true, "workflow.failed": true, "custom.shop.order_paid": true, "custom.a.b.c": true,
		"call.exploded": false, "custom.shop": false, "custom.Shop.x": false, "custom..x": false, "": false,
	} {
		if got := NewRegistry().Known(typ); got != want {
			t.Errorf("%q: got %v, want %v", typ, got, want)
		}
	}
}

// FuzzDecode holds the decoder to its promise: whatever arrives is an event whose JSON is valid and says what was decoded, or a problem.
func FuzzDecode(f *testing.F) {
	f.Add(callEnded, "application/json", "e1", "2026-11-23T11:00:00Z", []byte(`{"call_id":"c1","tenant":"acme"}`))
	f.Add(callEnded, "application/cloudevents+json", "", "", []byte(`{"id":"a\"b","type":"call.ended","data":{"a":[1,2,{"b":null}]}}`))
	f.Add(callEnded, "application/cloudevents+json", "x", "", []byte(`{"data_base64":"eyJhIjoxfQ=="}`))
	f.Add("uniconnect.events.acme.custom.a.b", "", "%41", "", []byte(`[1e5,-0.1,"\ud83d\ude00",true,false,null]`))
	f.Add("uniconnect.events..x", "application/protobuf", "\x00", "0000", []byte("!{}"))
	f.Fuzz(func(t *testing.T, subject, contentType, id, at string, body []byte) {
		h := map[string][]string{"content-type": {contentType}}
		if id != "" {
			h["ce-id"] = []string{id}
		}
		if at != "" {
			h["ce-time"] = []string{at}
		}
		var ev Event
		m := Message{Subject: subject, Header: h, Body: body, Sequence: 1, Time: published}
		problem := NewDecoder(upper{}).Decode(&m, &ev)
		if problem != nil {
			if problem.Reason == "" || problem.Message == "" {
				t.Fatalf("a problem without reason or message: %+v", problem)
			}
			if strings.Contains(problem.Message, "the decoder failed") && (len(body) == 0 || body[0] != '?') && !strings.Contains(string(body), "base64") {
				t.Fatalf("the decoder has a defect: %v", problem)
			}
			return
		}
		var got struct {
			ID, Type, Source, Time, Subject string
			Data                            any
		}
		if err := json.Unmarshal(ev.JSON(), &got); err != nil {
			t.Fatalf("%v: %s", err, ev.JSON())
		}
		want, err := expr.Decode(ev.JSON())
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(want, any(ev.Value())); diff != "" {
			t.Fatalf("Value (-want +got):\n%s", diff)
		}
		if got.ID != ev.ID || got.Type != string(ev.Type) || got.Subject != ev.Subject || got.Source != ev.Source {
			t.Fatalf("got %+v, want %+v", got, ev)
		}
	})
}

func benchmarkMessage() Message {
	return Message{
		Subject: callEnded, Sequence: 7, Time: published,
		Header: header("ce-specversion", "1.0", "ce-id", "0192f0c1-7a5e-7c3c-9a7e-3d8b0f7f1a11", "ce-type", "call.ended",
			"ce-source", "/pbx/berlin", "ce-time", "2026-11-23T10:00:00.123Z", "content-type", "application/json"),
		Body: []byte(`{"call_id":"c-81273","pbx_id":"pbx-1","segment_count":2,"direction":"inbound","media":"voice","from_e164":"+4930123456",` +
			`"to_e164":"+4930654321","queue":"sales","agent_user_id":"u-17","agent_extension":"107","lead_id":"lead-1007",` +
			`"started_at":"2026-11-23T09:55:00Z","answered_at":"2026-11-23T09:55:08Z","ended_at":"2026-11-23T10:00:00Z",` +
			`"ring_ms":8000,"talk_ms":292000,"hold_ms":0,"result":"answered","end_reason":"hangup","ended_by":"customer","campaign_id":"c42"}`),
	}
}

func BenchmarkDecode(b *testing.B) {
	d := NewDecoder(upper{})
	m := benchmarkMessage()
	b.ReportAllocs()
	for b.Loop() {
		var ev Event
		if problem := d.Decode(&m, &ev); problem != nil {
			b.Fatal(problem)
		}
	}
}

func BenchmarkEvent_JSON(b *testing.B) {
	d := NewDecoder(upper{})
	m := benchmarkMessage()
	var ev Event
	if problem := d.Decode(&m, &ev); problem != nil {
		b.Fatal(problem)
	}
	b.ReportAllocs()
	for b.Loop() {
		ev.json = nil
		ev.JSON()
	}
}

// TestEvent_JSON_largest: what passes the decoder's limits must pass those of the executor, or the event would start nothing.
func TestEvent_JSON_largest(t *testing.T) {
	quotes := func(n int) string { return strings.Repeat(`"`, n) }
	ev, problem := decode(t, "uniconnect.events.acme.custom."+strings.Repeat("m", MaxType-9)+".e",
		header("ce-id", quotes(MaxID), "ce-source", quotes(MaxAttribute), "ce-subject", quotes(MaxAttribute), "ce-time", "2026-11-23T11:00:00.999999999+01:00"),
		`"`+strings.Repeat("a", MaxSize-2)+`"`)
	if problem != nil {
		t.Fatal(problem)
	}
	if got := len(ev.JSON()); got > MaxJSON {
		t.Errorf("got %d bytes, want at most %d", got, MaxJSON)
	}
}

func TestDecoder_Decode_protobuf_that_grows(t *testing.T) {
	_, problem := decode(t, callEnded, header("content-type", "application/protobuf"), `!"`+strings.Repeat("a", MaxSize-3)+`"`)
	if problem != nil {
		t.Errorf("the largest: %v", problem)
	}
	var ev Event
	problem = NewDecoder(grows{}).Decode(&Message{Subject: callEnded, Header: header("content-type", "application/protobuf"), Body: []byte("x")}, &ev)
	if problem == nil || problem.Reason != ReasonAttribute {
		t.Errorf("got %v", problem)
	}
}

// grows stands for a payload whose JSON is larger than itself.
type grows struct{}

func (grows) JSON(Type, []byte) ([]byte, error) {
	return []byte(`"` + strings.Repeat("a", MaxSize) + `"`), nil
}
