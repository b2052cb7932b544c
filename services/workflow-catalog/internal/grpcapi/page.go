package grpcapi

import (
	"encoding/binary"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/google/uuid"

	"workflow.uniconnect/pkg/listing"
	"workflow.uniconnect/services/workflow-catalog/internal/workflow"
)

// A position in a list of workflows, as page tokens hold it: an id, and what the list is sorted by.

const (
	idSize   = len(uuid.UUID{})
	timeSize = 8
)

func positionBytes(order workflow.OrderBy, at workflow.Position) []byte {
	b := idBytes(string(at.ID))
	if order == workflow.ByTitle {
		return append(b, at.Title...)
	}
	return appendTime(b, at.Time)
}

func positionOf(order workflow.OrderBy, b []byte) (*workflow.Position, error) {
	if len(b) < idSize {
		return nil, listing.ErrPageToken
	}
	at := &workflow.Position{ID: workflow.ID(uuid.UUID(b[:idSize]).String())}
	rest := b[idSize:]
	if order == workflow.ByTitle {
		// Whatever is made up here is a place in the caller's own list, as long as the database takes it for a text.
		if at.Title = string(rest); !utf8.Valid(rest) || strings.ContainsFunc(at.Title, isControl) {
			return nil, listing.ErrPageToken
		}
		return at, nil
	}
	var err error
	at.Time, err = timeOf(rest)
	return at, err
}

// idBytes returns an id, which is ours and therefore well-formed, in its short form.
func idBytes(id string) []byte {
	parsed, err := uuid.Parse(id)
	if err != nil {
		return make([]byte, idSize)
	}
	return parsed[:]
}

// appendTime appends a time as exactly as the database keeps it.
func appendTime(b []byte, t time.Time) []byte {
	return binary.BigEndian.AppendUint64(b, uint64(t.UnixMicro()))
}

// The years that times of tokens lie in; the database takes more.
const minYear, maxYear = 1970, 9999

func timeOf(b []byte) (time.Time, error) {
	if len(b) != timeSize {
		return time.Time{}, listing.ErrPageToken
	}
	t := time.UnixMicro(int64(binary.BigEndian.Uint64(b))).UTC()
	if year := t.Year(); year < minYear || year > maxYear {
		return time.Time{}, listing.ErrPageToken
	}
	return t, nil
}
