package httpapi

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"regexp"
	"strconv"
	"strings"
	"time"

	"workflow.uniconnect/pkg/fault"
	"workflow.uniconnect/services/sandbox/internal/sink"
)

const maxBody = 1 << 20

var sinkName = regexp.MustCompile(`^[A-Za-z0-9._-]{1,64}$`)

// sink answers /sink/{name}.
func (h *handler) sink(w http.ResponseWriter, r *http.Request) {
	name := r.PathValue("name")
	if !sinkName.MatchString(name) {
		h.fail(w, r, fault.Invalid(fault.Violation{Field: "name", Description: "is not 1 to 64 letters, digits, dots, dashes and underscores"}))
		return
	}
	switch r.Method {
	case http.MethodGet:
		h.list(w, r, name)
	case http.MethodDelete:
		if err := h.Requests.Empty(r.Context(), name); err != nil {
			h.fail(w, r, err)
			return
		}
		h.counter.Forget(name)
		w.WriteHeader(http.StatusNoContent)
	default:
		h.take(w, r, name)
	}
}

// take records a request and answers it as it asks to be.
func (h *handler) take(w http.ResponseWriter, r *http.Request, name string) {
	now := time.Now()
	shape, err := sink.ParseShape(r.URL.Query())
	if err != nil {
		h.fail(w, r, err)
		return
	}
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxBody))
	if err != nil {
		h.fail(w, r, bodyFault(err))
		return
	}
	path := strings.ToValidUTF8(r.RequestURI, "\uFFFD")
	if shape.Times > 0 {
		before, err := h.counter.Next(r.Context(), name, path)
		if err != nil {
			h.fail(w, r, err)
			return
		}
		if before >= shape.Times {
			shape.Status = http.StatusOK
		}
	}
	err = h.Recorder.Record(r.Context(), sink.Request{
		Name: name, Method: r.Method, Path: path, Headers: headersOf(r), Body: body, Time: now,
	})
	if err != nil {
		h.fail(w, r, err)
		return
	}
	if !pause(r, shape.Delay) {
		return
	}
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(shape.Status)
	if shape.Status != http.StatusNoContent && shape.Status != http.StatusNotModified {
		_, _ = io.WriteString(w, `{"recorded":true}`) // a sender that went away needs no answer
	}
}

func bodyFault(err error) error {
	var tooLarge *http.MaxBytesError
	if errors.As(err, &tooLarge) {
		return fault.ResourceExhausted(fault.ReasonTooLarge, fmt.Sprintf("the body is larger than %d bytes", maxBody))
	}
	return fault.Invalid(fault.Violation{Field: "body", Description: "cannot be read"}).WithCause(err)
}

// pause waits and reports whether somebody is still there to answer.
func pause(r *http.Request, d time.Duration) bool {
	if d == 0 {
		return true
	}
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-r.Context().Done():
		return false
	}
}

// headersOf returns the headers as an object of name to value.
func headersOf(r *http.Request) json.RawMessage {
	headers := make(map[string]string, len(r.Header)+1)
	headers["Host"] = r.Host
	for name, values := range r.Header {
		headers[name] = strings.Join(values, ", ")
	}
	encoded, _ := json.Marshal(headers) // texts always encode
	return encoded
}

// list shows what was recorded, oldest first: all that is kept, or the last ?limit=.
func (h *handler) list(w http.ResponseWriter, r *http.Request, name string) {
	limit := sink.Keep
	if text := r.URL.Query().Get("limit"); text != "" {
		n, err := strconv.Atoi(text)
		if err != nil || n < 1 || n > sink.Keep {
			h.fail(w, r, fault.Invalid(fault.Violation{Field: "limit", Description: fmt.Sprintf("is not a number from 1 to %d", sink.Keep)}))
			return
		}
		limit = n
	}
	begin := func() {
		w.Header().Set("Content-Type", "application/json")
		_, _ = io.WriteString(w, `{"requests":[`) // a failed write shows at the next one
	}
	first := true
	err := h.Requests.Each(r.Context(), name, limit, func(req sink.Request) error {
		encoded, err := json.Marshal(viewRequest(req))
		if err != nil {
			return err
		}
		if first {
			begin()
		} else {
			encoded = append([]byte{','}, encoded...)
		}
		first = false
		_, err = w.Write(encoded)
		return err
	})
	switch {
	case err != nil && first:
		h.fail(w, r, err)
		return
	case err != nil:
		panic(http.ErrAbortHandler) // half a list must not look like a whole one
	case first:
		begin()
	}
	_, _ = io.WriteString(w, "]}\n")
}

type requestView struct {
	Method  string          `json:"method"`
	Path    string          `json:"path"`
	Headers json.RawMessage `json:"headers"`
	// Body is the text as it came; JSON is the same as data, when it is that.
	Body string          `json:"body"`
	JSON json.RawMessage `json:"json,omitempty"`
	Time time.Time       `json:"time"`
}

func viewRequest(r sink.Request) requestView {
	v := requestView{
		Method: r.Method, Path: r.Path, Headers: r.Headers,
		Body: strings.ToValidUTF8(string(r.Body), "\uFFFD"), Time: r.Time.UTC(),
	}
	if json.Valid(r.Body) {
		v.JSON = r.Body
	}
	return v
}
