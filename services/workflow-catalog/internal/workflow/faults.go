package workflow

import (
	"strconv"

	"workflow.uniconnect/pkg/fault"
)

// ErrNotFound answers for a workflow that does not exist, never did, or belongs to another tenant: nobody can tell which.
var ErrNotFound = fault.NotFound("WORKFLOW_NOT_FOUND", "the workflow does not exist")

// ErrRevisionNotFound answers for a revision that a workflow does not have.
var ErrRevisionNotFound = fault.NotFound("REVISION_NOT_FOUND", "the revision does not exist")

// ErrRequestIDReused answers when a request id comes back with another request.
var ErrRequestIDReused = fault.FailedPrecondition("REQUEST_ID_REUSED", "the request id was used before for another request")

// errRequestGone answers for a request id that was known and, when its answer was looked for, had been kept for long enough.
var errRequestGone = fault.Aborted("REQUEST_ID_REUSED", "the request id was in use until just now")

// errDeleting answers for a change of a workflow on its way out.
var errDeleting = fault.FailedPrecondition("WORKFLOW_STATE", "the workflow is being deleted").With("state", "DELETING")

// ErrBackupNotFound answers for a backup that a workflow does not have.
var ErrBackupNotFound = fault.NotFound("BACKUP_NOT_FOUND", "the backup does not exist")

// ErrDraftNotFound answers for a workflow that has no draft.
var ErrDraftNotFound = fault.NotFound("DRAFT_NOT_FOUND", "the workflow has no draft")

var errNoBackup = fault.FailedPrecondition("NO_BACKUP", "the workflow has no backup to return to; make one first")

// errBusy answers when others kept changing a workflow whenever a change was ready. Nothing was changed.
var errBusy = fault.Aborted("ETAG_MISMATCH", "the workflow is being changed by others; try again")

var errTooManyCopies = fault.AlreadyExists("WORKFLOW_EXISTS", "there are too many copies of this workflow; give the copy a title")

var errConfirm = fault.FailedPrecondition("CONFIRM_MISMATCH", "confirm is not the workflow's title")

// TitleTaken answers for a title that another workflow of the tenant has. The id is left out when that one is gone by now.
func TitleTaken(existing ID) error {
	f := fault.AlreadyExists("WORKFLOW_EXISTS", "a workflow with this title exists")
	if existing != "" {
		f = f.With("workflow_id", string(existing))
	}
	return f
}

// etagMismatch names what the workflow is at now, so that a client can show the difference.
func etagMismatch(current Workflow) error {
	return fault.Aborted("ETAG_MISMATCH", "the workflow changed since it was read").
		With("revision", strconv.FormatInt(int64(current.Revision), 10)).
		With("etag", current.ETag())
}

// draftMismatch names what the draft is at now.
func draftMismatch(read Drafted) error {
	return fault.Aborted("ETAG_MISMATCH", "the draft changed since it was read").
		With("revision", strconv.FormatInt(int64(read.Live.Revision), 10)).
		With("etag", read.Draft.ETag())
}

// draftStale names the two revisions that a person has to compare.
func draftStale(read Drafted) error {
	return fault.Aborted("DRAFT_STALE", "another revision became live since the draft was begun; compare the two, then save the draft with rebase").
		With("base_revision", strconv.FormatInt(int64(read.Draft.BaseRevision), 10)).
		With("live_revision", strconv.FormatInt(int64(read.Live.Revision), 10))
}
