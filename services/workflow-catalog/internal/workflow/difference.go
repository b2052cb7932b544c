package workflow

import (
	"context"
	"fmt"
	"regexp"
	"strconv"
	"strings"

	"workflow.uniconnect/pkg/fault"
	"workflow.uniconnect/services/workflow-catalog/internal/diff"
)

// Difference is what makes two configurations of a workflow differ.
type Difference struct {
	// From and To are the revisions that were compared; 0 stands for the draft.
	From, To int32
	Changes  []diff.Change
}

// side names one configuration of a workflow: a revision by its number, a backup, the draft, or what is live.
type side struct {
	revision int32
	backup   BackupID
	draft    bool
}

const (
	sideLive   = "live"
	sideDraft  = "draft"
	sideBackup = "backup:"
)

var uuidForm = regexp.MustCompile(`^[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}$`)

// parseSide reads a side as clients write it. The zero side is what is live.
func parseSide(field, text string) (side, []fault.Violation) {
	backup, isBackup := strings.CutPrefix(text, sideBackup)
	switch {
	case text == sideLive:
		return side{}, nil
	case text == sideDraft:
		return side{draft: true}, nil
	case isBackup && uuidForm.MatchString(backup):
		return side{backup: BackupID(backup)}, nil
	}
	if number, err := strconv.ParseInt(text, 10, 32); err == nil && number > 0 {
		return side{revision: int32(number)}, nil
	}
	return side{}, []fault.Violation{{
		Field: field, Reason: fault.ReasonFieldRule,
		Description: fmt.Sprintf("must be the number of a revision, %q, %q, or %q with the id of a backup", sideLive, sideDraft, sideBackup),
	}}
}

// Diff compares two configurations of a workflow: numbers of revisions, `live`, `draft`, or `backup:` with an id. An empty from is the last
// backup, or the first revision when there is none; an empty to is what is live.
func (c *Catalog) Diff(ctx context.Context, tenant Tenant, id ID, from, to string) (Difference, error) {
	if to == "" {
		to = sideLive
	}
	after, found := parseSide("to", to)
	before := side{}
	if from != "" {
		var more []fault.Violation
		before, more = parseSide("from", from)
		found = append(more, found...)
	}
	if err := fault.Check(found...); err != nil {
		return Difference{}, err
	}
	live, err := c.deps.Store.Get(ctx, tenant, id)
	if err != nil {
		return Difference{}, err
	}
	if from == "" {
		before = side{revision: 1}
		if live.LastBackup != nil {
			before.revision = live.LastBackup.Revision
		}
	}
	d := Difference{}
	var was, is Config
	if was, d.From, err = c.load(ctx, live, before); err != nil {
		return Difference{}, err
	}
	if is, d.To, err = c.load(ctx, live, after); err != nil {
		return Difference{}, err
	}
	if d.Changes, err = diff.Compare(was.Document, is.Document); err != nil {
		return Difference{}, fmt.Errorf("compare configurations: %w", err)
	}
	return d, nil
}

// load returns the configuration that a side names, and its revision unless it is the draft.
func (c *Catalog) load(ctx context.Context, live Workflow, s side) (Config, int32, error) {
	switch {
	case s.draft:
		read, err := c.Draft(ctx, live.Tenant, live.ID)
		if err != nil {
			return Config{}, 0, err
		}
		return read.Draft.Config, 0, nil
	case s.backup != "":
		b, err := c.deps.Store.Backup(ctx, live.Tenant, live.ID, s.backup)
		if err != nil {
			return Config{}, 0, err
		}
		s.revision = b.Revision
	}
	if s.revision == 0 || s.revision == live.Revision {
		return live.Config, live.Revision, nil
	}
	r, err := c.deps.Store.Revision(ctx, live.Tenant, live.ID, s.revision)
	return r.Config, r.Number, err
}
