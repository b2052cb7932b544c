package grpcapi

import (
	"encoding/base64"
	"strings"

	"workflow.uniconnect/pkg/fault"
	"workflow.uniconnect/services/trigger-scheduler/internal/event"
)

const defaultPage = 50

// A page token names list, tenant and position. It grants nothing: the tenant of a call is its token's.
const (
	deadLetterToken = "deadLetters/"
	eventTypeToken  = "eventTypes/"
)

func writeToken(tenant event.Tenant, list, position string) string {
	return base64.RawURLEncoding.EncodeToString([]byte(list + string(tenant) + "/" + position))
}

// readToken returns the position, empty for the first page.
func readToken(tenant event.Tenant, list, token string) (string, error) {
	if token == "" {
		return "", nil
	}
	raw, err := base64.RawURLEncoding.DecodeString(token)
	position, ok := strings.CutPrefix(string(raw), list+string(tenant)+"/")
	if err != nil || !ok || position == "" {
		return "", badToken()
	}
	return position, nil
}

func badToken() error {
	return fault.InvalidArgument("PAGE_TOKEN", "pageToken: is not one that this list gave out")
}
