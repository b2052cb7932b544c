package grpcapi

import (
	"bytes"
	"crypto/sha256"
	"encoding/base64"

	"workflow.uniconnect/pkg/fault"
	"workflow.uniconnect/services/executor/internal/execution"
)

const reasonPageToken fault.Reason = "PAGE_TOKEN"

// pageScope is the list that a page token belongs to.
type pageScope struct {
	tenant   string
	workflow execution.WorkflowID
}

// aboveAll is above all ids.
func aboveAll() execution.ID {
	return execution.ID(bytes.Repeat([]byte{0xff}, len(execution.ID{})))
}

// The token is a version, a digest of the list, and the id after which the next page begins. The digest is no secret: it keeps a
// token from being used for another list by mistake, while the tenant of the query always comes from the caller's identity.
const (
	tokenVersion = 1
	digestSize   = 8
	tokenSize    = 1 + digestSize + len(execution.ID{})
)

func (p pageScope) digest() []byte {
	h := sha256.New()
	h.Write([]byte("executions\x00" + p.tenant + "\x00"))
	h.Write(p.workflow[:])
	return h.Sum(nil)[:digestSize]
}

func (p pageScope) token(after execution.ID) string {
	b := append([]byte{tokenVersion}, p.digest()...)
	return base64.RawURLEncoding.EncodeToString(append(b, after[:]...))
}

// parse returns the id below which the page begins.
func (p pageScope) parse(token string) (execution.ID, error) {
	var id execution.ID
	if token == "" {
		return aboveAll(), nil
	}
	b, err := base64.RawURLEncoding.DecodeString(token)
	if err != nil || len(b) != tokenSize || b[0] != tokenVersion || !bytes.Equal(b[1:1+digestSize], p.digest()) {
		return id, fault.InvalidArgument(reasonPageToken, "pageToken: is not one that this list gave out")
	}
	copy(id[:], b[1+digestSize:])
	return id, nil
}
