package grpcapi

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"

	"github.com/google/uuid"

	"workflow.uniconnect/services/workflow-catalog/internal/feed"
	"workflow.uniconnect/services/workflow-catalog/internal/workflow"
)

// resumeToken names a position in a feed: 16 bytes of the feed, 8 of the number.
func resumeToken(feedID string, at feed.Seq) string {
	id, err := uuid.Parse(feedID)
	if err != nil {
		return "" // a watcher without a token begins anew, which is right for a feed without an id
	}
	return base64.RawURLEncoding.EncodeToString(binary.BigEndian.AppendUint64(id[:], uint64(at)))
}

// parseResumeToken returns the position that a token names in the feed of the window, and whether the watcher can go on from there.
func parseResumeToken(token string, window feed.Window) (feed.Seq, bool) {
	bytes, err := base64.RawURLEncoding.DecodeString(token)
	if err != nil || len(bytes) != 24 || uuid.UUID(bytes[:16]).String() != window.Feed {
		return 0, false
	}
	at := feed.Seq(binary.BigEndian.Uint64(bytes[16:]))
	return at, at >= window.Floor && at <= window.Newest
}

// tenantTokens makes the resume tokens of one tenant. Numbers of the feed count the changes of all tenants, which are nobody's business, so
// a token is one block of a cipher: a mark of the tenant, and the number. The key is made from the feed's id, which no tenant ever sees. A
// token of another feed or another tenant does not decode to the mark.
type tenantTokens struct {
	block cipher.Block
	mark  [8]byte
}

func newTenantTokens(feedID string, tenant workflow.Tenant) (*tenantTokens, error) {
	key := sha256.Sum256([]byte("resume tokens of feed " + feedID))
	block, err := aes.NewCipher(key[:])
	if err != nil {
		return nil, err
	}
	t := &tenantTokens{block: block}
	sum := sha256.Sum256([]byte(tenant))
	copy(t.mark[:], sum[:])
	return t, nil
}

func (t *tenantTokens) token(at feed.Seq) string {
	b := binary.BigEndian.AppendUint64(t.mark[:len(t.mark):len(t.mark)], uint64(at))
	t.block.Encrypt(b, b)
	return base64.RawURLEncoding.EncodeToString(b)
}

func (t *tenantTokens) parse(token string) (feed.Seq, bool) {
	b, err := base64.RawURLEncoding.Strict().DecodeString(token)
	if err != nil || len(b) != aes.BlockSize {
		return 0, false
	}
	t.block.Decrypt(b, b)
	return feed.Seq(binary.BigEndian.Uint64(b[len(t.mark):])), [8]byte(b[:len(t.mark)]) == t.mark
}
