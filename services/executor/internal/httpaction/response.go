package httpaction

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"mime"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"workflow.uniconnect/pkg/fault"
	"workflow.uniconnect/services/executor/internal/action"
	"workflow.uniconnect/services/executor/internal/run"
)

const (
	maxHeaders     = 16   // recorded of an answer
	maxHeaderValue = 1024 // bytes recorded of each
)

// success reads the answer and makes it the step's output.
func (c *Client) success(ctx context.Context, resp *http.Response) run.Outcome {
	small := c.buffers.Get().(*[]byte)
	defer c.buffers.Put(small)
	n, ended, err := fill(resp.Body, *small)
	switch {
	case err != nil:
		return failure(ctx, err)
	case ended:
		return action.Succeeded(output(resp, (*small)[:n]))
	}
	return c.large(ctx, resp, *small)
}

// large is success for a body that goes on after its first part. There is room for a few of these only, so that many at once cannot
// take all memory: who gets none waits, and reads nothing from its target meanwhile.
func (c *Client) large(ctx context.Context, resp *http.Response, first []byte) run.Outcome {
	var room *[]byte
	select {
	case room = <-c.room:
	case <-ctx.Done():
		return action.Ended(ctx)
	}
	if room == nil {
		b := make([]byte, maxResponse+1)
		room = &b
	}
	defer func() { c.room <- room }()

	n := copy(*room, first)
	m, ended, err := fill(resp.Body, (*room)[n:])
	switch {
	case err != nil:
		return failure(ctx, err)
	case !ended:
		return action.Failed(fault.ReasonTooLarge, fmt.Sprintf("the target's answer is larger than %d bytes", maxResponse))
	}
	return action.Succeeded(output(resp, (*room)[:n+m]))
}

// fill reads until buf is full or r has ended. Unlike io.ReadFull it tells an end from a connection that broke off.
func fill(r io.Reader, buf []byte) (n int, ended bool, err error) {
	for n < len(buf) {
		m, err := r.Read(buf[n:])
		n += m
		if err == io.EOF {
			return n, true, nil
		}
		if err != nil {
			return n, false, err
		}
	}
	return n, false, nil
}

// output writes the answer as the step's output.
func output(resp *http.Response, body []byte) json.RawMessage {
	out := make([]byte, 0, len(body)+256)
	out = append(out, `{"status":`...)
	out = strconv.AppendInt(out, int64(resp.StatusCode), 10)
	out = append(out, `,"headers":`...)
	out = appendHeaders(out, resp.Header)
	out = append(out, `,"body":`...)
	switch data, ok := jsonBody(resp, body); {
	case len(body) == 0:
		out = append(out, "null"...)
	case ok:
		out = append(out, data...)
	default:
		out = appendText(out, string(body))
	}
	return append(out, '}')
}

// jsonBody returns the body as JSON that can be stored, when the target says that it is JSON and it is.
func jsonBody(resp *http.Response, body []byte) ([]byte, bool) {
	if !isJSON(resp.Header.Get("Content-Type")) || !json.Valid(body) {
		return nil, false
	}
	if utf8.Valid(body) && !bytes.Contains(body, []byte(`\u`)) {
		return body, true
	}
	// Bytes that are no text, NUL and halves of surrogates pass json.Valid, and no database takes them.
	d := json.NewDecoder(bytes.NewReader(body))
	d.UseNumber()
	var v any
	if err := d.Decode(&v); err != nil {
		return nil, false
	}
	clean, err := json.Marshal(storable(v))
	return clean, err == nil
}

// isJSON reports whether a content type means JSON: application/json, or anything with the suffix +json.
func isJSON(contentType string) bool {
	if contentType == "application/json" {
		return true
	}
	mediaType, _, err := mime.ParseMediaType(contentType)
	return err == nil && (mediaType == "application/json" || strings.HasSuffix(mediaType, "+json"))
}

// storable returns v with NUL replaced in every text.
func storable(v any) any {
	switch x := v.(type) {
	case string:
		return withoutNUL(x)
	case []any:
		for i := range x {
			x[i] = storable(x[i])
		}
	case map[string]any:
		clean := make(map[string]any, len(x))
		for key, value := range x {
			clean[withoutNUL(key)] = storable(value)
		}
		return clean
	}
	return v
}

func withoutNUL(s string) string { return strings.ReplaceAll(s, "\x00", "\uFFFD") }

// appendText appends s as a JSON string that can be stored.
func appendText(out []byte, s string) []byte {
	// A string always encodes; what is not UTF-8 becomes U+FFFD.
	encoded, _ := json.Marshal(withoutNUL(s))
	return append(out, encoded...)
}

// appendHeaders appends the headers worth keeping, a bounded number, names in lower case and in order.
func appendHeaders(out []byte, h http.Header) []byte {
	names := make([]string, 0, 4)
	for name := range h {
		if isRecorded(name) {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	out = append(out, '{')
	for i, name := range names[:min(len(names), maxHeaders)] {
		if i > 0 {
			out = append(out, ',')
		}
		out = appendText(out, strings.ToLower(name))
		out = append(out, ':')
		value := strings.Join(h[name], ", ")
		out = appendText(out, value[:min(len(value), maxHeaderValue)])
	}
	return append(out, '}')
}

// isRecorded leaves out what only concerns the connection, and cookies, which are credentials. Names are in canonical form.
func isRecorded(name string) bool {
	switch name {
	case "Content-Type", "Content-Language", "Etag", "Last-Modified", "Link", "Location", "Retry-After",
		"Ratelimit", "Ratelimit-Limit", "Ratelimit-Remaining", "Ratelimit-Reset":
		return true
	}
	return strings.HasPrefix(name, "X-")
}
