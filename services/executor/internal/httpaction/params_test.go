package httpaction_test

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"workflow.uniconnect/pkg/fault"
	"workflow.uniconnect/services/executor/internal/run"
)

const notAllowed = "the destination is not allowed"

func TestClient_refuses(t *testing.T) {
	blocked := []fault.Violation{{Field: "params.url", Description: notAllowed, Reason: "BLOCKED_DESTINATION"}}
	rule := func(field, text string) []fault.Violation {
		return []fault.Violation{{Field: field, Description: text, Reason: "FIELD_RULE"}}
	}
	url := func(text string) map[string]any { return map[string]any{"url": text} }
	header := func(name string, value any) map[string]any {
		return map[string]any{"url": "https://api.example.com", "headers": map[string]any{name: value}}
	}
	cases := map[string]struct {
		params map[string]any
		want   []fault.Violation
	}{
		"metadata":         {url("http://169.254.169.254/latest"), blocked},
		"mapped_loopback":  {url("http://[::ffff:127.0.0.1]"), blocked},
		"decimal":          {url("http://2130706433"), blocked},
		"hexadecimal":      {url("http://0x7f.1"), blocked},
		"localhost_dot":    {url("http://localhost."), blocked},
		"nat64":            {url("http://[64:ff9b::7f00:1]"), blocked},
		"zone":             {url("http://[fe80::1%25eth0]/"), blocked},
		"other_port":       {url("http://93.184.216.34:6379/"), blocked},
		"file":             {url("file:///etc/passwd"), rule("params.url", "has the scheme file; only http and https are allowed")},
		"gopher":           {url("gopher://a.example/"), rule("params.url", "has the scheme gopher; only http and https are allowed")},
		"opaque":           {url("http:a.example"), rule("params.url", "is not a full URL that begins with http:// or https://")},
		"relative":         {url("/a"), rule("params.url", "is not a full URL that begins with http:// or https://")},
		"no_host":          {url("http:///a"), rule("params.url", "is not a full URL that begins with http:// or https://")},
		"userinfo":         {url("http://a:b@api.example.com/"), rule("params.url", "holds a user name or password in front of the host; send credentials in a header")},
		"crlf_url":         {url("http://api.example.com/\r\nHost: x"), rule("params.url", "holds a line break or another control character")},
		"backslash":        {url(`http://api.example.com\@127.0.0.1/`), rule("params.url", "is not a valid URL")},
		"port_zero":        {url("http://api.example.com:0/"), rule("params.url", "has no port from 1 to 65535")},
		"port_high":        {url("http://api.example.com:70000/"), rule("params.url", "has no port from 1 to 65535")},
		"host_header":      {header("hOST", "x"), rule("params.headers.hOST", "the header Host cannot be set")},
		"transfer":         {header("Transfer-Encoding", "chunked"), rule("params.headers.Transfer-Encoding", "the header Transfer-Encoding cannot be set")},
		"length":           {header("Content-Length", "1"), rule("params.headers.Content-Length", "the header Content-Length cannot be set")},
		"hop_by_hop":       {header("Connection", "X-A"), rule("params.headers.Connection", "the header Connection cannot be set")},
		"proxy":            {header("Proxy-Authorization", "x"), rule("params.headers.Proxy-Authorization", "the header Proxy-Authorization cannot be set")},
		"key":              {header("Idempotency-Key", "x"), rule("params.headers.Idempotency-Key", "the header Idempotency-Key cannot be set")},
		"header_name":      {header("X A", "x"), rule("params.headers.X A", "is not a valid header name")},
		"header_name_crlf": {header("X\r\nHost", "x"), rule("params.headers.X\r\nHost", "is not a valid header name")},
		"header_crlf":      {header("X-A", "a\r\nHost: b"), rule("params.headers.X-A", "holds a line break or another control character")},
		"large_body":       {map[string]any{"url": "https://api.example.com", "body": strings.Repeat("x", 1<<20+1)}, rule("params.body", "is larger than 1048576 bytes")},
	}
	c := newClientAllowing(t, nil)
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			if diff := cmp.Diff(tc.want, c.Check(tc.params)); diff != "" {
				t.Errorf("when saved (-want +got):\n%s", diff)
			}
			want := &run.Error{Reason: "ACTION_PARAMS", Message: tc.want[0].Field + ": " + tc.want[0].Description}
			if tc.want[0].Reason == "BLOCKED_DESTINATION" {
				want.Reason = "BLOCKED_DESTINATION"
			}
			if diff := cmp.Diff(want, c.Do(t.Context(), call(tc.params)).Err); diff != "" {
				t.Errorf("when run (-want +got):\n%s", diff)
			}
		})
	}
}

func TestClient_Check_templates(t *testing.T) {
	c := newClientAllowing(t, nil)
	cases := map[string]struct {
		params map[string]any
		fields []string
	}{
		"whole_url":        {map[string]any{"url": "${event.data.url}"}, nil},
		"host":             {map[string]any{"url": "http://${event.data.host}/a"}, nil},
		"path":             {map[string]any{"url": "http://api.example.com/${event.data.id}"}, nil},
		"path_of_metadata": {map[string]any{"url": "http://169.254.169.254/${event.data.id}"}, []string{"params.url"}},
		"part_of_host":     {map[string]any{"url": "http://169.254.169.${event.data.id}/"}, nil},
		"scheme":           {map[string]any{"url": "ftp://a.example/${event.data.id}"}, []string{"params.url"}},
		"header_value":     {map[string]any{"url": "http://a.example", "headers": map[string]any{"X-A": "${event.data.x}\n"}}, nil},
		"header_name":      {map[string]any{"url": "http://a.example", "headers": map[string]any{"Host": "${event.data.x}"}}, []string{"params.headers.Host"}},
		"wrong_types":      {map[string]any{"url": 7.0, "headers": []any{}, "query": "x", "body": 1.0}, nil}, // the schema's to say
		"nothing":          {nil, nil},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			var got []string
			for _, v := range c.Check(tc.params) {
				got = append(got, v.Field)
			}
			if diff := cmp.Diff(tc.fields, got); diff != "" {
				t.Errorf("fields (-want +got):\n%s", diff)
			}
		})
	}
}

func TestClient_Do_blocks_what_only_resolving_shows(t *testing.T) {
	tg := newTarget(t, answerWith("text/plain", "inside"))
	// A name that the operator has not allowed, for an address of this machine.
	params := map[string]any{"url": strings.Replace(tg.URL, "127.0.0.1", "localhost", 1)}
	c := newClientAllowing(t, nil, "10.0.0.0/8")
	o := c.Do(t.Context(), call(params))
	if diff := cmp.Diff(&run.Error{Reason: "BLOCKED_DESTINATION", Message: "params.url: " + notAllowed}, o.Err); diff != "" {
		t.Errorf("error (-want +got):\n%s", diff)
	}
	if tg.count() != 0 {
		t.Error("the target was reached")
	}
}
