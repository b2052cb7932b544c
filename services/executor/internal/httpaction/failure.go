package httpaction

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strconv"
	"strings"
	"syscall"
	"time"
	"unicode"

	"workflow.uniconnect/services/executor/internal/action"
	"workflow.uniconnect/services/executor/internal/egress"
	"workflow.uniconnect/services/executor/internal/run"
)

const (
	maxExcerpt    = 256 // bytes of a refusal's body in the error
	maxRetryAfter = time.Hour
)

// refusal is the outcome when the target answered with anything but 2xx.
func (c *Client) refusal(resp *http.Response) run.Outcome {
	buf := c.buffers.Get().(*[]byte)
	defer c.buffers.Put(buf)
	// A body read to its end leaves the connection fit for the next attempt. A refusal stays a refusal when its body breaks off.
	n, _, _ := fill(resp.Body, *buf)
	text := fmt.Sprintf("the target answered %d %s", resp.StatusCode, http.StatusText(resp.StatusCode))
	if resp.StatusCode >= 300 && resp.StatusCode <= 399 {
		text += "; redirects are not followed"
	}
	if words := excerpt((*buf)[:n]); words != "" {
		text += ": " + words
	}
	if !isTemporary(resp.StatusCode) {
		return action.Failed(action.ReasonTargetStatus, text)
	}
	o := action.Retryable(action.ReasonTargetStatus, text)
	o.RetryAfter = retryAfter(resp.Header.Get("Retry-After"), time.Now())
	return o
}

func isTemporary(status int) bool {
	switch status {
	case http.StatusRequestTimeout, http.StatusTooEarly, http.StatusTooManyRequests:
		return true
	}
	return status >= 500
}

// retryAfter returns how long the target asked to be left alone, in seconds or as a date, within bounds.
func retryAfter(text string, now time.Time) time.Duration {
	if text == "" {
		return 0
	}
	wait := time.Duration(0)
	if seconds, err := strconv.ParseUint(text, 10, 32); err == nil {
		wait = time.Duration(seconds) * time.Second
	} else if at, err := http.ParseTime(text); err == nil {
		wait = at.Sub(now)
	}
	return min(max(wait, 0), maxRetryAfter)
}

// excerpt returns the beginning of a body as one line of text, nothing when it is not text.
func excerpt(body []byte) string {
	cut := body[:min(len(body), maxExcerpt)]
	text := strings.ToValidUTF8(string(cut), "")
	if len(cut)-len(text) > 3 { // more than a rune that the cut broke
		return ""
	}
	text = strings.Map(func(r rune) rune {
		if unicode.IsControl(r) || unicode.IsSpace(r) {
			return ' '
		}
		return r
	}, text)
	return strings.Join(strings.Fields(text), " ")
}

// failure is the outcome when there is no answer, or not all of it. It says what went wrong and nothing about addresses.
func failure(ctx context.Context, err error) run.Outcome {
	if errors.Is(err, egress.ErrBlocked) {
		return action.Failed(action.ReasonBlockedDestination, egress.ErrBlocked.Error())
	}
	if ctx.Err() != nil {
		return action.Ended(ctx)
	}
	return action.Retryable(action.ReasonTargetUnreachable, describe(err))
}

func describe(err error) string {
	var (
		dns    *net.DNSError
		cert   *tls.CertificateVerificationError
		record tls.RecordHeaderError
		op     *net.OpError
	)
	switch {
	case errors.As(err, &dns):
		return "the target's name cannot be resolved"
	case errors.As(err, &cert):
		return "the target's certificate is not valid"
	case errors.As(err, &record), errors.As(err, &op) && op.Op == "remote error":
		return "no secure connection to the target could be made"
	case errors.Is(err, syscall.ECONNREFUSED):
		return "the target refused the connection"
	case errors.Is(err, io.ErrUnexpectedEOF), errors.Is(err, io.EOF), errors.Is(err, syscall.ECONNRESET), errors.Is(err, syscall.EPIPE):
		return "the connection broke off before the answer was complete"
	case errors.As(err, &op) && op.Op == "dial" && op.Timeout():
		return fmt.Sprintf("no connection to the target within %s", egress.DialTimeout)
	}
	return "the call to the target failed before the answer was complete"
}
