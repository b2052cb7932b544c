package grpcapi

import (
	"crypto/sha256"
	"encoding/base64"

	"workflow.uniconnect/pkg/fault"
	"workflow.uniconnect/services/sandbox/internal/record"
)

// A page token is the last id of the page before, preceded by a mark of the query, so that it fits no other.
const pageMark = 8

func pageToken(q record.Query, last string) (string, error) {
	mark, err := markOf(q)
	if err != nil {
		return "", err
	}
	return base64.RawURLEncoding.EncodeToString(append(mark, last...)), nil
}

func parsePageToken(q record.Query, token string) (after string, err error) {
	if token == "" {
		return "", nil
	}
	mark, err := markOf(q)
	if err != nil {
		return "", err
	}
	bytes, err := base64.RawURLEncoding.DecodeString(token)
	if err != nil || len(bytes) <= pageMark || string(bytes[:pageMark]) != string(mark) {
		return "", fault.InvalidArgument("PAGE_TOKEN", "page_token: is not one that this search gave out")
	}
	return string(bytes[pageMark:]), nil
}

func markOf(q record.Query) ([]byte, error) {
	text, err := q.Fingerprint()
	if err != nil {
		return nil, fault.Internal(fault.ReasonInternal, "internal error").WithCause(err)
	}
	sum := sha256.Sum256(text)
	return sum[:pageMark:pageMark], nil
}
