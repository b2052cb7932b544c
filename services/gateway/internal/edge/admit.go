package edge

import (
	"context"
	"net/http"
	"net/url"
	"regexp"
	"strconv"
	"strings"
	"time"

	"github.com/grpc-ecosystem/grpc-gateway/v2/runtime"
	"google.golang.org/grpc/metadata"

	"workflow.uniconnect/pkg/access"
	"workflow.uniconnect/pkg/auth"
	"workflow.uniconnect/pkg/fault"
	"workflow.uniconnect/services/gateway/internal/strictjson"

	accessv1 "workflow.uniconnect/proto/gen/go/uniconnect/access/v1"
)

// module is the module whose gate the public services stand behind.
const module = "workflow"

const (
	headerIdempotencyKey = "Idempotency-Key"
	headerIfMatch        = "If-Match"
	headerTimeout        = "Grpc-Timeout"

	maxIdempotencyKey = 128
	// maxTimeout caps the deadline that a client may ask for.
	maxTimeout = 30 * time.Second
)

// admit lets a call of the contract pass to its RPC. The order of refusal is the contract's: who are you, may you, is it well-formed.
func (e *Edge) admit(next runtime.HandlerFunc) runtime.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request, pathParams map[string]string) {
		c := callFrom(r.Context())
		b, ok := e.bindingOf(r)
		if !ok || !b.matches(r.URL.EscapedPath()) {
			e.noRoute(w, r)
			return
		}
		c.binding, c.route = b, b.template
		ctx, err := e.authenticate(w, r, c)
		if err != nil {
			writeError(w, r, err)
			return
		}
		// The token travels in the context from here on, and the deadline too.
		r = r.Clone(ctx)
		ctx, cancel, err := e.wellFormed(w, r, c, pathParams)
		if err != nil {
			// What is wrong with a request is told to those who may make it.
			if denied := e.enforcer.Authorize(r.Context(), b.rpc, c.principal); fault.KindOf(denied) == fault.KindPermissionDenied {
				err = denied
			}
			writeError(w, r, err)
			return
		}
		defer cancel()
		r = r.WithContext(ctx)
		if !b.stream {
			next(w, r, pathParams)
			return
		}
		e.streamed(w, r, func(w http.ResponseWriter, r *http.Request) { next(w, r, pathParams) })
	}
}

// authenticate takes the token of the call, else that of its session.
func (e *Edge) authenticate(w http.ResponseWriter, r *http.Request, c *call) (context.Context, error) {
	given := r.Header.Values("Authorization")
	token, err := auth.Bearer(given...)
	if len(given) == 0 && e.sessions != nil {
		token, err = e.sessions.Token(w, r)
	}
	if err != nil {
		return nil, err
	}
	r.Header.Set("Authorization", "Bearer "+token) // where the translation below reads it
	if c.principal, err = e.verifier.Verify(r.Context(), token); err != nil {
		return nil, err
	}
	return auth.NewTokenContext(auth.NewContext(r.Context(), c.principal), token), nil
}

// wellFormed reads headers, path, query and body, and returns the context of the RPC.
func (e *Edge) wellFormed(w http.ResponseWriter, r *http.Request, c *call, pathParams map[string]string) (context.Context, context.CancelFunc, error) {
	if err := readHeaders(r.Header, c); err != nil {
		return nil, nil, err
	}
	timeout, err := timeoutOf(r.Header.Get(headerTimeout))
	if err != nil {
		return nil, nil, err
	}
	r.Header.Del(headerTimeout)
	for name, value := range pathParams {
		if wrong := c.binding.misfit(name, value); wrong != "" {
			return nil, nil, violation(name, wrong)
		}
	}
	query, err := queryOf(r.URL.RawQuery, c.binding)
	if err != nil {
		return nil, nil, err
	}
	if err := readBody(w, r, c); err != nil {
		return nil, nil, err
	}
	if c.binding.body != nil && len(c.body) > 0 {
		if err := strictjson.Check(c.body, c.binding.body); err != nil {
			return nil, nil, err
		}
	}
	if r.Method == http.MethodPatch && !query.Has("updateMask") && !query.Has("update_mask") {
		maskFromBody(query, c)
	}
	r.URL.RawQuery = query.Encode()
	if timeout == 0 {
		return r.Context(), func() {}, nil
	}
	ctx, cancel := context.WithTimeout(r.Context(), timeout)
	return ctx, cancel, nil
}

func violation(field, description string) error {
	return fault.Invalid(fault.Violation{Field: field, Description: description})
}

func readHeaders(h http.Header, c *call) error {
	if values := h.Values(headerIdempotencyKey); len(values) > 0 {
		if len(values) > 1 || len(values[0]) > maxIdempotencyKey || values[0] == "" || !printable(values[0]) {
			return violation(headerIdempotencyKey, "must be one value of 1 to "+strconv.Itoa(maxIdempotencyKey)+" printable characters")
		}
		c.idempotencyKey = values[0]
	}
	if values := h.Values(headerIfMatch); len(values) > 0 && !safeBinding(c) {
		tag := strings.TrimSpace(values[0])
		if tag == "*" && len(values) == 1 {
			return nil // any version will do, which is what a call without the header says
		}
		if unquoted, ok := strings.CutPrefix(tag, `"`); ok {
			tag, ok = strings.CutSuffix(unquoted, `"`)
			if !ok {
				tag = ""
			}
		}
		if len(values) > 1 || tag == "" || !printable(tag) || strings.ContainsAny(tag, `", `) || strings.HasPrefix(tag, "W/") {
			return violation(headerIfMatch, "must be one etag in quotes")
		}
		c.etag, c.guarded = tag, true
	}
	return nil
}

func safeBinding(c *call) bool { return c.binding.method == http.MethodGet }

func printable(s string) bool {
	return !strings.ContainsFunc(s, func(r rune) bool { return r < 0x20 || r > 0x7e })
}

var timeoutRegexp = regexp.MustCompile(`^[0-9]{1,8}[HMSmun]$`)

// timeoutOf reads the deadline that a client gives a call, as gRPC writes it. Zero means that there is none.
func timeoutOf(text string) (time.Duration, error) {
	if text == "" {
		return 0, nil
	}
	if !timeoutRegexp.MatchString(text) {
		return 0, violation(headerTimeout, "must be up to eight digits and a unit, one of H M S m u n")
	}
	unit := map[byte]time.Duration{
		'H': time.Hour, 'M': time.Minute, 'S': time.Second, 'm': time.Millisecond, 'u': time.Microsecond, 'n': time.Nanosecond,
	}[text[len(text)-1]]
	n, err := strconv.ParseInt(text[:len(text)-1], 10, 64)
	if err != nil {
		return 0, violation(headerTimeout, "is not a number")
	}
	switch {
	case n == 0:
		return 0, fault.DeadlineExceeded(fault.ReasonDeadline, "the call took longer than its deadline")
	case n > int64(maxTimeout/unit):
		return maxTimeout, nil
	}
	return time.Duration(n) * unit, nil
}

// queryOf parses the query and refuses parameters that mean nothing here: a filter that is ignored would show more than was asked for.
func queryOf(raw string, b *binding) (url.Values, error) {
	query, err := url.ParseQuery(raw)
	if err != nil {
		return nil, violation("query", "is not well-formed")
	}
	var violations []fault.Violation
	for name, values := range query {
		switch {
		case !b.takes(name):
			violations = append(violations, fault.Violation{Field: name, Description: "unknown parameter"})
		case len(values) > 1:
			violations = append(violations, fault.Violation{Field: name, Description: "is given twice"})
		case !validText(values[0]):
			violations = append(violations, fault.Violation{Field: name, Description: "invalid character"})
		default:
			if wrong := b.misfit(name, values[0]); wrong != "" {
				violations = append(violations, fault.Violation{Field: name, Description: wrong})
			}
		}
	}
	return query, fault.Check(violations...)
}

// grantsFrom asks the catalog what the caller of ctx may do, with the caller's own token. Only calls that are refused anyway ask.
func grantsFrom(catalog *conn) access.GrantsFunc {
	client := accessv1.NewAccessServiceClient(catalog)
	return func(ctx context.Context, _ auth.Principal) (access.Grants, error) {
		token, _ := auth.TokenFromContext(ctx)
		ctx = metadata.AppendToOutgoingContext(ctx, "authorization", "Bearer "+token)
		answer, err := client.GetMe(ctx, &accessv1.GetMeRequest{})
		if f, ok := fault.As(err); ok && f.Reason == fault.ReasonTenantState {
			return access.Grants{TenantClosed: true}, nil
		}
		if err != nil {
			return access.Grants{}, err
		}
		grants := access.Grants{Permissions: make(map[string]struct{})}
		for _, m := range answer.GetMe().GetModules() {
			grants.ModuleEnabled = grants.ModuleEnabled || m == module
		}
		for _, p := range answer.GetMe().GetPermissions() {
			grants.Permissions[p] = struct{}{}
		}
		return grants, nil
	}
}
