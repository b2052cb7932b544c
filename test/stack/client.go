package stack

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"time"

	"workflow.uniconnect/pkg/auth"
	"workflow.uniconnect/pkg/devusers"
)

const tokenTTL = time.Hour

// Client speaks to the gateway as one user.
type Client struct {
	base  string
	token string
	http  *http.Client
}

// Client returns a client for a user of development, for example `owner@acme.test`.
func (s *Stack) Client(user string) (*Client, error) {
	known, ok := devusers.Find(user)
	if !ok {
		return nil, fmt.Errorf("%s is no user of development", user)
	}
	issuer, err := auth.OpenIssuer(s.Dir)
	if err != nil {
		return nil, err
	}
	token, err := issuer.Issue(known.Principal(), tokenTTL)
	if err != nil {
		return nil, err
	}
	return s.ClientWithToken(token), nil
}

// ClientWithToken returns a client that sends this token, or none when it is empty.
func (s *Stack) ClientWithToken(token string) *Client {
	return &Client{base: s.RESTURL, token: token, http: &http.Client{Timeout: 30 * time.Second}}
}

// Token is what the client sends.
func (c *Client) Token() string { return c.token }

// Response is an answer of the gateway.
type Response struct {
	Status int
	Header http.Header
	Body   []byte
}

// Decode reads the body into v.
func (r *Response) Decode(v any) error {
	if err := json.Unmarshal(r.Body, v); err != nil {
		return fmt.Errorf("answer %d %s: %w", r.Status, r.Body, err)
	}
	return nil
}

// AwaitRetry returns when the time has come at which the answer says to come again.
func (r *Response) AwaitRetry(ctx context.Context) error {
	seconds, err := strconv.Atoi(r.Header.Get("Retry-After"))
	if err != nil || seconds < 1 {
		return fmt.Errorf("answer %d does not say when to come again: %s", r.Status, r.Body)
	}
	timer := time.NewTimer(time.Duration(seconds) * time.Second)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// Do sends a request. body is sent as it is when it is a string or bytes, else as JSON; nil means none.
func (c *Client) Do(ctx context.Context, method, path string, body any) (*Response, error) {
	var content io.Reader = http.NoBody
	switch b := body.(type) {
	case nil:
	case string:
		content = bytes.NewReader([]byte(b))
	case []byte:
		content = bytes.NewReader(b)
	default:
		text, err := json.Marshal(b)
		if err != nil {
			return nil, err
		}
		content = bytes.NewReader(text)
	}
	req, err := http.NewRequestWithContext(ctx, method, c.base+path, content)
	if err != nil {
		return nil, err
	}
	if body != nil {
		req.Header.Set("Content-Type", "application/json")
	}
	return c.Send(req)
}

// Send sends a request with the client's token.
func (c *Client) Send(req *http.Request) (*Response, error) {
	if c.token != "" {
		req.Header.Set("Authorization", "Bearer "+c.token)
	}
	res, err := c.http.Do(req)
	if err != nil {
		return nil, err
	}
	defer res.Body.Close()
	text, err := io.ReadAll(res.Body)
	if err != nil {
		return nil, err
	}
	return &Response{Status: res.StatusCode, Header: res.Header, Body: text}, nil
}

// Call is Do for calls that must succeed; the answer is read into out unless that is nil. A call beyond the tenant's rate limit is made
// again at the time that the answer names.
func (c *Client) Call(ctx context.Context, method, path string, body, out any) error {
	res, err := c.Do(ctx, method, path, body)
	for err == nil && res.Status == http.StatusTooManyRequests {
		if err = res.AwaitRetry(ctx); err == nil {
			res, err = c.Do(ctx, method, path, body)
		}
	}
	if err != nil {
		return err
	}
	if res.Status != http.StatusOK {
		return fmt.Errorf("%s %s: status %d: %s", method, path, res.Status, res.Body)
	}
	if out == nil {
		return nil
	}
	return res.Decode(out)
}
