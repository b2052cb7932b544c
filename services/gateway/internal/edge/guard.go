package edge

import (
	"net/http"
	"strconv"
	"time"

	"workflow.uniconnect/pkg/fault"
	"workflow.uniconnect/pkg/telemetry"
)

const (
	// maxHeaders bounds all headers of a call together, and with it what is passed on as metadata.
	maxHeaders = 16 << 10
	// MaxHeaderBytes is for the http.Server: what is between the two gets an answer in our shape, what is above gets net/http's.
	MaxHeaderBytes = 256 << 10

	// limitKey is the metadata that names the limit of TOO_LARGE.
	limitKey     = "limit"
	limitHeaders = "headers"
	limitBody    = "body"
)

var errCrossOrigin = fault.PermissionDenied(reasonCrossOrigin, "cross-origin request refused")

func tooLarge(limit, what string, bytes int) error {
	return fault.ResourceExhausted(fault.ReasonTooLarge, what+" too large: the limit is "+strconv.Itoa(bytes)+" bytes").
		With(limitKey, limit).With("bytes", strconv.Itoa(bytes))
}

// answerTime is how long a call may take in all: its body, its RPC, and a reader that is slow. Streams have a time for each line instead.
const answerTime = bodyTime + maxTimeout + 30*time.Second

// guard refuses what no route should see, and sets the headers that no answer should lack.
func guard(t *telemetry.Telemetry, next http.Handler) (http.Handler, error) {
	dropper, err := newDropper(t)
	if err != nil {
		return nil, err
	}
	origin := http.NewCrossOriginProtection()
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		// Only a test's writer cannot do this.
		_ = http.NewResponseController(w).SetWriteDeadline(time.Now().Add(answerTime))
		h := w.Header()
		h.Set("X-Content-Type-Options", "nosniff")
		h.Set("Referrer-Policy", "no-referrer")
		h.Set("X-Frame-Options", "DENY")
		h.Set("Cross-Origin-Resource-Policy", "same-origin")
		h.Set("Cross-Origin-Opener-Policy", "same-origin")
		h.Set("Content-Security-Policy", "default-src 'none'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'")
		h.Set("Cache-Control", "no-store")
		if headerSize(r) > maxHeaders {
			h.Set("Connection", "close")
			writeError(w, r, tooLarge(limitHeaders, "request header", maxHeaders))
			return
		}
		dropper.drop(r.Context(), r.Header)
		if origin.Check(r) != nil || r.Header.Get("Origin") == "null" && !safe(r.Method) {
			writeError(w, r, errCrossOrigin)
			return
		}
		next.ServeHTTP(w, r)
	}), nil
}

func safe(method string) bool {
	return method == http.MethodGet || method == http.MethodHead || method == http.MethodOptions
}

func headerSize(r *http.Request) int {
	size := len(r.RequestURI)
	for name, values := range r.Header {
		for _, v := range values {
			size += len(name) + len(v) + len(": \r\n")
		}
	}
	return size
}
