package edge

import (
	"context"
	"net/http"
	"net/netip"
	"strings"

	"github.com/google/uuid"

	"workflow.uniconnect/pkg/auth"
)

// call is what the edge knows of one HTTP call. It is made first, filled on the way in and read on the way out, by one goroutine.
type call struct {
	requestID string
	// address is where the call came from, as far as this process sees; agent what the caller's program calls itself.
	address, agent string
	// route is the path template, for names of spans and metrics; empty while no route is found.
	route   string
	binding *binding
	// principal is the caller, once the token was verified.
	principal auth.Principal
	// body is what was read of the request, decompressed.
	body []byte

	idempotencyKey string
	// etag is the version that If-Match names; guarded says that the header was given.
	etag    string
	guarded bool

	// failure is the error that was answered, for the log.
	failure error
}

// maxAgent bounds what a program may call itself.
const maxAgent = 256

// newCall returns what is known of a call at once.
func newCall(r *http.Request) *call {
	c := &call{requestID: r.Header.Get(headerRequestID)}
	if !requestIDRegexp.MatchString(c.requestID) {
		c.requestID = uuid.NewString()
	}
	// What the caller says of where it comes from is not passed on: the audit would hold whatever anybody likes.
	if addr, err := netip.ParseAddrPort(r.RemoteAddr); err == nil {
		c.address = addr.Addr().Unmap().WithZone("").String()
	}
	// Only these characters are allowed in the metadata of gRPC.
	c.agent = strings.Map(func(r rune) rune {
		if r < 0x20 || r > 0x7e {
			return '?'
		}
		return r
	}, r.UserAgent())
	c.agent = c.agent[:min(len(c.agent), maxAgent)]
	return c
}

type callKey struct{}

func withCall(ctx context.Context, c *call) context.Context {
	return context.WithValue(ctx, callKey{}, c)
}

// callFrom returns the call of ctx. There always is one below guard; elsewhere, as in a readiness probe, an empty one serves.
func callFrom(ctx context.Context) *call {
	if c, ok := ctx.Value(callKey{}).(*call); ok {
		return c
	}
	return &call{}
}
