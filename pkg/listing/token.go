package listing

import (
	"bytes"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
)

// Scope is the list that a page token belongs to: a list of a tenant under one filter and in one order.
type Scope struct{ digest [digestSize]byte }

const (
	tokenVersion = 1
	digestSize   = 8
)

// NewScope returns the scope of a list. The parts are whatever the pages of one list have in common: its filter, its order, the resource
// that it belongs to.
func NewScope(list, tenant string, parts ...string) Scope {
	h := sha256.New()
	for _, part := range append([]string{list, tenant}, parts...) {
		// Lengths keep apart what otherwise could be the same text cut elsewhere. A hash accepts everything.
		_, _ = h.Write(binary.BigEndian.AppendUint64(nil, uint64(len(part))))
		_, _ = h.Write([]byte(part))
	}
	var s Scope
	copy(s.digest[:], h.Sum(nil))
	return s
}

// Token returns the token for a position in the list. It is a version, the digest of the list, and the position. The digest is no secret:
// it keeps a token from being used for another list by mistake, while whose list it is always comes from the caller's identity.
func (s Scope) Token(position []byte) string {
	b := append([]byte{tokenVersion}, s.digest[:]...)
	return base64.RawURLEncoding.EncodeToString(append(b, position...))
}

// Position returns what a token says, nil for the empty token of the first page.
func (s Scope) Position(token string) ([]byte, error) {
	if token == "" {
		return nil, nil
	}
	b, err := base64.RawURLEncoding.Strict().DecodeString(token)
	if err != nil || len(b) <= 1+digestSize || b[0] != tokenVersion || !bytes.Equal(b[1:1+digestSize], s.digest[:]) {
		return nil, ErrPageToken
	}
	return b[1+digestSize:], nil
}

// ErrPageToken answers for a token that a list did not give out, or not with this filter and this order.
var ErrPageToken = refuse("pageToken", ReasonPageToken, "is not one that this list gave out for this filter and order")
