package grpcapi

import (
	"crypto/sha256"
	"encoding/base64"
	"fmt"

	"github.com/google/uuid"

	"workflow.uniconnect/pkg/fault"
	"workflow.uniconnect/services/workflow-catalog/internal/workflow"
)

// A page token is the last id of the page before, preceded by a mark of the list and its tenant. The mark is no secret: whoever makes one
// up gets to choose where a list of their own tenant goes on.
const pageMark = 8

var errPageToken = fault.InvalidArgument("PAGE_TOKEN", "pageToken: is not one that this list gave out")

func pageToken(tenant workflow.Tenant, last workflow.ID) (string, error) {
	id, err := uuid.Parse(string(last))
	if err != nil {
		return "", fmt.Errorf("make page token: %w", err)
	}
	return base64.RawURLEncoding.EncodeToString(append(markOf(tenant), id[:]...)), nil
}

func parsePageToken(tenant workflow.Tenant, token string) (workflow.ID, error) {
	bytes, err := base64.RawURLEncoding.DecodeString(token)
	if err != nil || len(bytes) != pageMark+len(uuid.UUID{}) || string(bytes[:pageMark]) != string(markOf(tenant)) {
		return "", errPageToken
	}
	return workflow.ID(uuid.UUID(bytes[pageMark:]).String()), nil
}

func markOf(tenant workflow.Tenant) []byte {
	sum := sha256.Sum256([]byte("workflows\x00" + tenant))
	return sum[:pageMark:pageMark]
}
