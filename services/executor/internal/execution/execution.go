// Package execution holds the nouns of a run as they are accepted, stored and shown: ids, causes, starts and what an owner records.
// It decides nothing about steps (package run does) and knows neither SQL nor RPCs.
package execution

import (
	"crypto/rand"
	"encoding/binary"
	"encoding/hex"
	"time"
)

// ID identifies an execution. It is a UUIDv7, so that ids sort by the time of their acceptance, which partitions rely on.
type ID [16]byte

// WorkflowID identifies a workflow.
type WorkflowID [16]byte

// OwnerID identifies one life of a process: it is made anew whenever the lease behind it was lost.
type OwnerID [16]byte

// NewID returns an id for an execution accepted at now. The time has a resolution of a quarter of a microsecond, so that a list sorted by id is
// in the order of acceptance within one process.
func NewID(now time.Time) ID {
	var id ID
	// crypto/rand.Read never fails: it ends the process instead.
	_, _ = rand.Read(id[8:])
	putTime(&id, now)
	id[8] = id[8]&0x3f | 0x80
	return id
}

// NewOwnerID returns a random id.
func NewOwnerID() OwnerID {
	var id OwnerID
	_, _ = rand.Read(id[:])
	id[6] = id[6]&0x0f | 0x40
	id[8] = id[8]&0x3f | 0x80
	return id
}

// FloorID returns the smallest id of an instant; ids of executions accepted from t on are not below it.
func FloorID(t time.Time) ID {
	var id ID
	var ms [8]byte
	binary.BigEndian.PutUint64(ms[:], uint64(max(t.UnixMilli(), 0)))
	copy(id[:6], ms[2:])
	return id
}

// Time returns when the execution was accepted, by the clock of the process that accepted it. It is the same for whoever asks.
func (id ID) Time() time.Time {
	var ms [8]byte
	copy(ms[2:], id[:6])
	fraction := int64(binary.BigEndian.Uint16(id[6:8])&0x0fff) * int64(time.Millisecond) / 4096
	return time.UnixMilli(int64(binary.BigEndian.Uint64(ms[:]))).Add(time.Duration(fraction)).UTC()
}

func putTime(id *ID, now time.Time) {
	var ms [8]byte
	binary.BigEndian.PutUint64(ms[:], uint64(max(now.UnixMilli(), 0)))
	copy(id[:6], ms[2:])
	// RFC 9562, method 3: the fraction of the millisecond in the 12 bits after the version.
	fraction := uint16(now.Nanosecond() % int(time.Millisecond) * 4096 / int(time.Millisecond))
	binary.BigEndian.PutUint16(id[6:8], 0x7000|fraction&0x0fff)
}

// String returns the canonical form.
func (id ID) String() string { return format(id) }

// String returns the canonical form.
func (id WorkflowID) String() string { return format(id) }

// String returns the canonical form.
func (id OwnerID) String() string { return format(id) }

// ParseID reads the canonical form of an execution's id.
func ParseID(text string) (ID, bool) {
	id, ok := parse(text)
	return id, ok
}

// ParseWorkflowID reads the canonical form of a workflow's id.
func ParseWorkflowID(text string) (WorkflowID, bool) {
	id, ok := parse(text)
	return id, ok
}

func format(id [16]byte) string {
	var b [36]byte
	hex.Encode(b[:8], id[:4])
	b[8] = '-'
	hex.Encode(b[9:13], id[4:6])
	b[13] = '-'
	hex.Encode(b[14:18], id[6:8])
	b[18] = '-'
	hex.Encode(b[19:23], id[8:10])
	b[23] = '-'
	hex.Encode(b[24:], id[10:])
	return string(b[:])
}

func parse(text string) (id [16]byte, ok bool) {
	if len(text) != 36 || text[8] != '-' || text[13] != '-' || text[18] != '-' || text[23] != '-' {
		return id, false
	}
	at := 0
	for i := 0; i < len(text); i += 2 {
		if text[i] == '-' {
			i++
		}
		high, low := nibble(text[i]), nibble(text[i+1])
		if high > 15 || low > 15 {
			return [16]byte{}, false
		}
		id[at] = high<<4 | low
		at++
	}
	return id, true
}

func nibble(c byte) byte {
	switch {
	case c >= '0' && c <= '9':
		return c - '0'
	case c >= 'a' && c <= 'f':
		return c - 'a' + 10
	case c >= 'A' && c <= 'F':
		return c - 'A' + 10
	}
	return 0xff
}
