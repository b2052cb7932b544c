package httpaction

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"net/http"
	"net/url"
	"strconv"
	"strings"

	"golang.org/x/net/http/httpguts"

	"workflow.uniconnect/pkg/fault"
	"workflow.uniconnect/services/executor/internal/action"
)

// params are the parameters of one call, understood.
type params struct {
	method      string
	url         *url.URL
	headers     map[string]string
	body        []byte
	hasBody     bool
	contentType string
}

// Check finds addresses that can never be allowed, and headers and bodies that can never be sent. Where a template stands in the way,
// the part before it is looked at.
func (c *Client) Check(raw map[string]any) []fault.Violation {
	var vs []fault.Violation
	if text, ok := raw["url"].(string); ok {
		if literal, enough := literalURL(text); enough {
			if _, v := c.parseURL(literal); v != nil {
				vs = append(vs, *v)
			}
		}
	}
	if headers, ok := raw["headers"].(map[string]any); ok {
		for name, value := range headers {
			text, isText := value.(string)
			if !isText || action.Templated(text) {
				text = ""
			}
			vs = append(vs, checkHeader(name, text)...)
		}
	}
	if body, ok := raw["body"].(string); ok && len(body) > maxRequest {
		vs = append(vs, violation("params.body", fmt.Sprintf("is larger than %d bytes", maxRequest)))
	}
	return vs
}

// literalURL returns the part of text that holds no template, and whether it is enough to look at: all of it, or at least the host.
func literalURL(text string) (literal string, enough bool) {
	start := action.TemplateStart(text)
	if start < 0 {
		return strings.ReplaceAll(text, "$${", "${"), true
	}
	literal = text[:start]
	_, rest, found := strings.Cut(literal, "://")
	return literal, found && strings.ContainsAny(rest, "/?#")
}

func (c *Client) build(ctx context.Context, call action.Call) (*http.Request, []fault.Violation) {
	p, violations := c.parse(call.Params)
	if len(violations) > 0 {
		return nil, violations
	}
	req := &http.Request{
		Method: p.method, URL: p.url, Host: p.url.Host,
		Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1,
		Header: c.header(ctx, p, call),
	}
	if p.hasBody {
		req.ContentLength = int64(len(p.body))
		req.Body = http.NoBody
		if len(p.body) > 0 {
			req.GetBody = func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(p.body)), nil }
			req.Body = io.NopCloser(bytes.NewReader(p.body))
		}
	}
	return req.WithContext(ctx), nil
}

func (c *Client) parse(raw map[string]any) (*params, []fault.Violation) {
	p := &params{}
	text, _ := raw["url"].(string) // the schema has checked the types
	var bad *fault.Violation
	if p.url, bad = c.parseURL(text); bad != nil {
		return nil, []fault.Violation{*bad}
	}
	var vs []fault.Violation
	if query, ok := raw["query"].(map[string]any); ok && len(query) > 0 {
		addQuery(p.url, query)
	}
	if headers, ok := raw["headers"].(map[string]any); ok && len(headers) > 0 {
		p.headers = make(map[string]string, len(headers))
		for name, value := range headers {
			text := format(value)
			vs = append(vs, checkHeader(name, text)...)
			p.headers[name] = text
		}
	}
	vs = append(vs, p.setBody(raw["body"])...)
	if p.method, _ = raw["method"].(string); p.method == "" {
		p.method = http.MethodGet
		if p.hasBody {
			p.method = http.MethodPost
		}
	}
	return p, vs
}

// parseURL accepts what may be called: http and https, nothing hidden in front of the host, no host that can never be allowed.
func (c *Client) parseURL(text string) (*url.URL, *fault.Violation) {
	refuse := func(rule string) (*url.URL, *fault.Violation) {
		v := violation("params.url", rule)
		return nil, &v
	}
	if strings.ContainsFunc(text, func(r rune) bool { return r < 0x20 || r == 0x7f }) {
		return refuse("holds a line break or another control character")
	}
	u, err := url.Parse(text)
	if err != nil {
		return refuse("is not a valid URL")
	}
	switch {
	case u.Scheme != "" && u.Scheme != "http" && u.Scheme != "https":
		return refuse("has the scheme " + u.Scheme + "; only http and https are allowed")
	case u.Scheme == "" || u.Hostname() == "":
		return refuse("is not a full URL that begins with http:// or https://")
	case u.User != nil:
		return refuse("holds a user name or password in front of the host; send credentials in a header")
	}
	port, err := portOf(u)
	if err != nil {
		return refuse("has no port from 1 to 65535")
	}
	if err := c.guard.CheckHost(u.Hostname(), port); err != nil {
		return nil, &fault.Violation{Field: "params.url", Description: err.Error(), Reason: action.ReasonBlockedDestination}
	}
	return u, nil
}

func portOf(u *url.URL) (uint16, error) {
	text := u.Port()
	switch {
	case text == "" && u.Scheme == "https":
		return 443, nil
	case text == "":
		return 80, nil
	}
	port, err := strconv.ParseUint(text, 10, 16)
	if err != nil || port == 0 {
		return 0, errors.New("no such port")
	}
	return uint16(port), nil
}

func (p *params) setBody(body any) []fault.Violation {
	switch b := body.(type) {
	case nil:
		return nil
	case string:
		p.body, p.contentType = []byte(b), "text/plain; charset=utf-8"
	default:
		encoded, err := json.Marshal(b)
		if err != nil {
			return []fault.Violation{violation("params.body", "cannot be written as JSON")}
		}
		p.body, p.contentType = encoded, "application/json"
	}
	p.hasBody = true
	if len(p.body) > maxRequest {
		return []fault.Violation{violation("params.body", fmt.Sprintf("is larger than %d bytes", maxRequest))}
	}
	return nil
}

func addQuery(u *url.URL, query map[string]any) {
	values := make(url.Values, len(query))
	for name, value := range query {
		list, ok := value.([]any)
		if !ok {
			values.Set(name, format(value))
			continue
		}
		for _, item := range list {
			values.Add(name, format(item))
		}
	}
	if u.RawQuery != "" {
		u.RawQuery += "&"
	}
	u.RawQuery += values.Encode()
}

// format writes a value as text, numbers without an exponent where that is not long.
func format(value any) string {
	switch v := value.(type) {
	case string:
		return v
	case bool:
		return strconv.FormatBool(v)
	case int64:
		return strconv.FormatInt(v, 10)
	case float64:
		if math.Abs(v) < 1e21 {
			return strconv.FormatFloat(v, 'f', -1, 64)
		}
		return strconv.FormatFloat(v, 'g', -1, 64)
	default:
		return fmt.Sprint(v)
	}
}

func violation(field, rule string) fault.Violation {
	return fault.Violation{Field: field, Description: rule, Reason: fault.ReasonFieldRule}
}

// checkHeader refuses names that steer the connection or that are ours, and text that would end the header.
func checkHeader(name, value string) []fault.Violation {
	field := "params.headers." + name
	switch {
	case !httpguts.ValidHeaderFieldName(name):
		return []fault.Violation{violation(field, "is not a valid header name")}
	case isOurs(name):
		return []fault.Violation{violation(field, "the header "+http.CanonicalHeaderKey(name)+" cannot be set")}
	case !httpguts.ValidHeaderFieldValue(value):
		return []fault.Violation{violation(field, "holds a line break or another control character")}
	}
	return nil
}

// isOurs reports whether a header is set by us or by the connection.
func isOurs(name string) bool {
	switch strings.ToLower(name) {
	case "host", "content-length", "idempotency-key", "accept-encoding", "traceparent", "tracestate", "expect",
		"connection", "keep-alive", "te", "trailer", "transfer-encoding", "upgrade", "http2-settings":
		return true
	}
	return strings.HasPrefix(strings.ToLower(name), "proxy-")
}
