package workflow

import (
	"bytes"
	"context"
	"fmt"
	"time"
)

// DraftInfo is what there is to know of a draft beside its configuration.
type DraftInfo struct {
	// BaseRevision is the revision that was live when the draft was begun or last rebased.
	BaseRevision int32
	UpdateTime   time.Time
	UpdateUser   string
}

// Draft is a configuration apart from what is live. It may be incomplete.
type Draft struct {
	DraftInfo
	Config Config
}

// etagHash is how much of the configuration's hash tells drafts of one base apart.
const etagHash = 8

// ETag identifies what publishing would make of the workflow. It never looks like a workflow's own.
func (d *Draft) ETag() string {
	return fmt.Sprintf("d%d-%x", d.BaseRevision, d.Config.Hash[:min(etagHash, len(d.Config.Hash))])
}

// same reports whether another draft would be published alike.
func (d *Draft) same(other Draft) bool {
	return d.BaseRevision == other.BaseRevision && bytes.Equal(d.Config.Hash, other.Config.Hash)
}

// Drafted is a workflow with its draft, which is nil when there is none.
type Drafted struct {
	Live  Workflow
	Draft *Draft
}

// Drafts stores drafts.
type Drafts interface {
	// Draft returns a workflow and its draft if there is one, or ErrNotFound.
	Draft(ctx context.Context, tenant Tenant, id ID) (Drafted, error)
	// SaveDraft puts a draft in the place of the one that was read, if that and the workflow are still as they were read.
	SaveDraft(ctx context.Context, call Call, read Drafted, draft Draft) (Drafted, error)
	// DropDraft removes the draft that was read, if it and the workflow are still as they were read, and keeps the call's answer.
	DropDraft(ctx context.Context, call Call, read Drafted, answer any) error
}

// Draft returns a workflow with its draft.
func (c *Catalog) Draft(ctx context.Context, tenant Tenant, id ID) (Drafted, error) {
	read, err := c.deps.Store.Draft(ctx, tenant, id)
	if err == nil && read.Draft == nil {
		err = ErrDraftNotFound
	}
	return read, err
}

// DraftUpdate is a draft to be saved.
type DraftUpdate struct {
	// Target is the workflow; its etag is that of the draft, or of the workflow where there is no draft.
	Target
	Config Config
	// Rebase says that the author knows what is live now.
	Rebase bool
}

// UpdateDraft saves the whole draft. What is live stays as it is.
func (c *Catalog) UpdateDraft(ctx context.Context, call Call, update DraftUpdate) (Drafted, error) {
	return once(ctx, c, call, func() (Drafted, error) {
		return race(func() (Drafted, error) {
			read, err := c.openDraft(ctx, call, update.Target)
			if err != nil {
				return Drafted{}, err
			}
			next := Draft{Config: update.Config}
			next.BaseRevision, next.UpdateUser = read.Live.Revision, call.Actor
			if read.Draft != nil && !update.Rebase {
				next.BaseRevision = read.Draft.BaseRevision
			}
			read.Live.Config = Config{} // the answer is about the draft's
			if read.Draft != nil && read.Draft.same(next) {
				return read, c.deps.Store.Remember(ctx, call, read.Live, read)
			}
			return c.deps.Store.SaveDraft(ctx, call, read, next)
		})
	})
}

// DeleteDraft discards the draft. Without one it does nothing.
func (c *Catalog) DeleteDraft(ctx context.Context, call Call, id ID) error {
	_, err := once(ctx, c, call, func() (Nothing, error) {
		return race(func() (Nothing, error) {
			read, err := c.openDraft(ctx, call, Target{ID: id})
			if err != nil {
				return Nothing{}, err
			}
			if read.Draft == nil {
				return Nothing{}, c.deps.Store.Remember(ctx, call, read.Live, Nothing{})
			}
			return Nothing{}, c.deps.Store.DropDraft(ctx, call, read, Nothing{})
		})
	})
	return err
}

// Publish makes the draft the live configuration, as a new revision unless it is that already, and ends the draft. The target's etag is
// the draft's.
func (c *Catalog) Publish(ctx context.Context, call Call, target Target, build Build) (Workflow, error) {
	return once(ctx, c, call, func() (Workflow, error) {
		return race(func() (Workflow, error) {
			read, err := c.openDraft(ctx, call, Target{ID: target.ID})
			if err != nil {
				return Workflow{}, err
			}
			draft := read.Draft
			switch {
			case draft == nil:
				return Workflow{}, ErrDraftNotFound
			case target.ETag != "" && target.ETag != draft.ETag():
				return Workflow{}, draftMismatch(read)
			case draft.BaseRevision != read.Live.Revision:
				return Workflow{}, draftStale(read)
			}
			config, err := build(ctx, draft.Config)
			if err != nil {
				return Workflow{}, err
			}
			change := Change{Before: read.Live, State: read.Live.State, Config: &config, Origin: Published, Draft: draft}
			if change.settled() {
				read.Live.Draft = nil
				return read.Live, c.deps.Store.DropDraft(ctx, call, read, read.Live)
			}
			return c.deps.Store.Change(ctx, call, change)
		})
	})
}

// openDraft returns a workflow that may be changed with its draft. The target's etag is that of the draft, or of the workflow where there
// is no draft.
func (c *Catalog) openDraft(ctx context.Context, call Call, target Target) (Drafted, error) {
	read, err := c.deps.Store.Draft(ctx, call.Tenant, target.ID)
	switch {
	case err != nil:
		return Drafted{}, err
	case read.Live.State == Deleting:
		return Drafted{}, errDeleting
	case target.ETag == "":
		return read, nil
	case read.Draft != nil && target.ETag != read.Draft.ETag():
		return Drafted{}, draftMismatch(read)
	case read.Draft == nil && target.ETag != read.Live.ETag():
		return Drafted{}, etagMismatch(read.Live)
	}
	return read, nil
}
