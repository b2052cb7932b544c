// Package workflow owns the life of workflows: their configuration in immutable revisions, their state, and the rules by which both
// change. It stores nothing itself, runs nothing and knows nothing about time.
//
// Two numbers count. The revision counts configurations and is what executions are pinned to. The version counts changes of
// configuration or state and is the etag. Every change is one compare-and-set on the version.
//
//	            create
//	              │
//	    ┌─────────┴─────────┐
//	    ▼                   ▼
//	INACTIVE ◄──────────► ACTIVE
//	    │                   │
//	    └────► DELETING ◄───┘ ──► gone (package deletion)
//
// # Saves
//
// A save that changes nothing makes no revision and moves no etag, whatever it was: an update, a publication, a reset. It is answered with
// the workflow as it is. Two configurations are equal when the hashes of their canonical documents are. A revision says what made it and,
// when the configuration was taken from another, from which; it stays as long as the workflow does.
//
// A request id works for every change alike: the answer is kept as JSON of its method. A deletion that is repeated when it is over is
// answered from the request itself.
//
// # Drafts
//
// A draft is apart from what is live: saving one asks no owner and moves neither revision nor etag. Its base is the revision that was live
// when it was begun; when another one becomes live, by whatever way, the draft is stale and cannot be published until it is saved with
// rebase. Its etag is made of base and content, so what is published is what was seen. Publishing ends it in the same transaction; of two
// who publish it the second finds no draft.
//
// # Backups
//
// A backup is a name for the revision that was live, and holds what that holds: references to connections, no secrets. Returning to one is
// a save, which takes the title too and keeps state and draft. The backup must still be the last, or still be there, when the change
// commits.
//
// Last backup and draft are part of every answer that holds a workflow and change under a lock of the workflow's row. They move no etag;
// the feed tells of them as annotations, which those who start workflows do not hear.
package workflow

import (
	"bytes"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"strconv"
	"time"
)

// Tenant names a tenant.
type Tenant string

// ID identifies a workflow: a UUIDv7 in its text form.
type ID string

// State is whether a workflow starts. The numbers are those of the contract.
type State int16

// The states.
const (
	Inactive State = 1
	Active   State = 2
	Deleting State = 3
)

// Workflow is a workflow with its configuration of one revision.
type Workflow struct {
	Tenant   Tenant
	ID       ID
	State    State
	Revision int32
	// Version changes with configuration and state.
	Version int64
	Config  Config
	// ActiveSince is when it last became ACTIVE; zero in any other state.
	ActiveSince time.Time
	CreateTime  time.Time
	CreateUser  string
	// UpdateTime is when the newest change took effect.
	UpdateTime time.Time
	UpdateUser string
	// LastBackup is what a reset returns to; nil when there is none. Neither it nor Draft is covered by the version.
	LastBackup *Backup
	// Draft tells of the draft; nil when there is none.
	Draft *DraftInfo
}

// ETag is the version as clients give it back.
func (w *Workflow) ETag() string { return strconv.FormatInt(w.Version, 10) }

// Fingerprint identifies what the etag covers, configuration and state, for the audit.
func (w *Workflow) Fingerprint() []byte {
	h := sha256.New()
	_, _ = h.Write([]byte{byte(w.State)}) // a hash accepts everything
	_, _ = h.Write(w.Config.Hash)
	return h.Sum(nil)
}

// Config is what a revision holds.
type Config struct {
	Title       string
	Description string
	// Document is the whole configuration, title and description included, as canonical JSON.
	Document json.RawMessage
	// Hash is of Document.
	Hash []byte
	// Calls are the steps that start other workflows. They are known of what is about to be saved, not of what is read.
	Calls []StepCall `json:"-"`
}

// NewConfig returns the configuration that document describes. The document is brought into a canonical form (sorted keys, no space),
// so that equal configurations have equal hashes whatever wrote them.
func NewConfig(title, description string, document []byte) (Config, error) {
	decoder := json.NewDecoder(bytes.NewReader(document))
	decoder.UseNumber()
	var value any
	if err := decoder.Decode(&value); err != nil {
		return Config{}, fmt.Errorf("decode configuration: %w", err)
	}
	var canonical bytes.Buffer
	encoder := json.NewEncoder(&canonical)
	encoder.SetEscapeHTML(false)
	if err := encoder.Encode(value); err != nil {
		return Config{}, fmt.Errorf("encode configuration: %w", err)
	}
	text := bytes.TrimSuffix(canonical.Bytes(), []byte("\n"))
	hash := sha256.Sum256(text)
	return Config{Title: title, Description: description, Document: text, Hash: hash[:]}, nil
}
