package edge

import (
	"bytes"
	"compress/gzip"
	"encoding/json"
	"errors"
	"io"
	"mime"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"google.golang.org/protobuf/reflect/protoreflect"

	"workflow.uniconnect/pkg/fault"
	"workflow.uniconnect/services/gateway/internal/strictjson"

	workflowv1 "workflow.uniconnect/proto/gen/go/uniconnect/workflow/v1"
)

const (
	maxBody = 1 << 20
	// bodyTime is how long a client may take to send a body.
	bodyTime = 20 * time.Second
)

var (
	errBodyTime = fault.DeadlineExceeded(fault.ReasonDeadline, "the request's body did not arrive in time")
	errForm     = fault.InvalidArgument(reasonContentType, "the content type is not supported: send application/json")
	errBodyCut  = fault.InvalidArgument(strictjson.ReasonMalformedJSON, "the request's body could not be read")
)

// readBody reads the whole body into c and puts it back into r, so that what is checked is what is decoded.
func readBody(w http.ResponseWriter, r *http.Request, c *call) error {
	if r.Body == nil || r.Body == http.NoBody || r.ContentLength == 0 {
		return nil
	}
	controller := http.NewResponseController(w)
	if err := controller.SetReadDeadline(time.Now().Add(bodyTime)); err != nil {
		return errBodyCut.WithCause(err)
	}
	body, err := readLimited(http.MaxBytesReader(w, r.Body, maxBody))
	if err != nil {
		return err
	}
	if err := controller.SetReadDeadline(time.Time{}); err != nil {
		return errBodyCut.WithCause(err)
	}
	if len(body) == 0 {
		return nil
	}
	if c.binding.body == nil {
		return fault.InvalidArgument(reasonContentType, "the route takes no body")
	}
	if err := checkContentType(r.Header, c.binding); err != nil {
		return err
	}
	if c.body, err = decompressed(r.Header, body); err != nil {
		return err
	}
	r.Body, r.ContentLength = io.NopCloser(bytes.NewReader(c.body)), int64(len(c.body))
	return nil
}

func readLimited(body io.Reader) ([]byte, error) {
	content, err := io.ReadAll(body)
	var large *http.MaxBytesError
	var timeout interface{ Timeout() bool }
	switch {
	case err == nil:
		return content, nil
	case errors.As(err, &large):
		return nil, tooLarge(limitBody, "request body", maxBody)
	case errors.As(err, &timeout) && timeout.Timeout():
		return nil, errBodyTime.WithCause(err)
	}
	return nil, errBodyCut.WithCause(err)
}

func checkContentType(h http.Header, b *binding) error {
	accepted := []string{"application/json"}
	if b.body.FullName() == (*workflowv1.CloudEvent)(nil).ProtoReflect().Descriptor().FullName() {
		accepted = append(accepted, "application/cloudevents+json")
	}
	values := h.Values("Content-Type")
	if len(values) == 1 {
		media, params, err := mime.ParseMediaType(values[0])
		charset, hasCharset := params["charset"]
		if err == nil && slices.Contains(accepted, media) && (!hasCharset || strings.EqualFold(charset, "utf-8")) {
			return nil
		}
	}
	return fault.InvalidArgument(reasonContentType, "the content type is not supported: send "+strings.Join(accepted, " or "))
}

func isForm(h http.Header) bool {
	media, _, err := mime.ParseMediaType(h.Get("Content-Type"))
	return err == nil && (media == "application/x-www-form-urlencoded" || media == "multipart/form-data")
}

// decompressed returns the body without its content coding. A body that grows beyond the limit is refused as if it had come so.
func decompressed(h http.Header, body []byte) ([]byte, error) {
	switch coding := strings.ToLower(strings.Join(h.Values("Content-Encoding"), ",")); coding {
	case "", "identity":
		return body, nil
	case "gzip":
		reader, err := gzip.NewReader(bytes.NewReader(body))
		if err != nil {
			return nil, errBodyCut.WithCause(err)
		}
		content, err := io.ReadAll(io.LimitReader(reader, maxBody+1))
		if err != nil {
			return nil, errBodyCut.WithCause(err)
		}
		if len(content) > maxBody {
			return nil, tooLarge(limitBody, "decompressed request body", maxBody)
		}
		return content, nil
	}
	return nil, fault.InvalidArgument(reasonContentType, "the content encoding is not supported: send gzip or none")
}

// maskFromBody names the fields that a PATCH without a mask gives: those at the top of its body. Without this, what lies deepest would be
// named, and a trigger could not be replaced by one of another kind.
func maskFromBody(query url.Values, c *call) {
	fd := c.binding.input.Fields().ByName("update_mask")
	if fd == nil {
		return
	}
	var members map[string]json.RawMessage
	if json.Unmarshal(c.body, &members) != nil {
		return // an empty body gives nothing
	}
	var paths []string
	for key := range members {
		field := c.binding.body.Fields().ByJSONName(key)
		if field == nil {
			field = c.binding.body.Fields().ByName(protoreflect.Name(key))
		}
		// The id is the path's, and the etag guards the change without being part of it.
		if field != nil && field.Name() != "id" && field.Name() != "etag" {
			paths = append(paths, string(field.Name()))
		}
	}
	if len(paths) > 0 {
		slices.Sort(paths)
		query.Set("updateMask", strings.Join(paths, ","))
	}
}

func validText(s string) bool { return utf8.ValidString(s) && !strings.ContainsRune(s, 0) }
