package catalog_test

import (
	"context"
	"fmt"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/grpc"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/testing/protocmp"
	"google.golang.org/protobuf/types/known/fieldmaskpb"
	"pgregory.net/rapid"

	"workflow.uniconnect/pkg/auth"
	"workflow.uniconnect/pkg/fault"
	workflowv1 "workflow.uniconnect/proto/gen/go/uniconnect/workflow/v1"
	catalog "workflow.uniconnect/services/workflow-catalog"
)

// TestService_like_a_model sends sequences of requests, some of them repeated, and holds every answer and what is stored in the end to a
// model of a few lines.
func TestService_like_a_model(t *testing.T) {
	t.Parallel()
	s, r := started(t)
	tenants := 0
	rapid.Check(t, func(rt *rapid.T) {
		tenants++
		tenant := fmt.Sprint("model", tenants)
		_, err := r.EnsureTenant(t.Context(), catalog.TenantSeed{
			Tenant: tenant, Title: tenant, TimeZone: "Europe/Berlin", Users: []catalog.UserSeed{{Subject: "owner", Roles: []string{"System Owner"}}},
		})
		if err != nil {
			rt.Fatal(err)
		}
		m := &model{
			T: rt, ctx: s.as(t, auth.Principal{Tenant: tenant, Subject: "owner"}), client: r.workflows(), etags: make(map[string]bool),
		}
		operations := []func(){
			m.create, m.save, m.save, m.saveEqual, m.backup, m.backup, m.reset, m.restore, m.deleteBackup, m.duplicate, m.setState,
			m.putDraft, m.putDraft, m.publish, m.publish, m.deleteDraft, m.repeat, m.repeat,
		}
		m.create()
		for _, n := range rapid.SliceOfN(rapid.IntRange(0, len(operations)-1), 1, 30).Draw(rt, "operations") {
			operations[n]()
		}
		m.hold()
	})
}

// modelContent is what tells configurations apart.
type modelContent struct {
	title string
	steps int
}

func (c modelContent) message() *workflowv1.Workflow {
	w := &workflowv1.Workflow{Title: c.title, Trigger: &workflowv1.Trigger{Kind: &workflowv1.Trigger_Manual{Manual: &workflowv1.ManualTrigger{}}}}
	for i := range c.steps {
		w.Steps = append(w.Steps, &workflowv1.Step{Id: fmt.Sprint("s", i), Kind: &workflowv1.Step_Stop{Stop: &workflowv1.StopStep{}}})
	}
	return w
}

func contentOf(w *workflowv1.Workflow) modelContent {
	return modelContent{w.GetTitle(), len(w.GetSteps())}
}

type modelBackup struct {
	id       string
	revision int
}

type modelDraft struct {
	modelContent
	base int
}

// modelWorkflow is a workflow as the model has it.
type modelWorkflow struct {
	id        string
	active    bool
	etag      string
	revisions []modelContent // the last one is live
	origins   []string
	backups   []modelBackup
	dropped   []modelBackup
	draft     *modelDraft
}

func (w *modelWorkflow) live() modelContent { return w.revisions[len(w.revisions)-1] }

// model is what should be, beside the service that says what is.
type model struct {
	*rapid.T
	ctx       context.Context
	client    workflowv1.WorkflowCatalogServiceClient
	workflows []*modelWorkflow
	etags     map[string]bool
	requests  int
	answered  []func() // send a request again and compare
}

// send sends a request and remembers how to send it again. The answer is nil where a fault with the reason is what should come.
func send[Q, A proto.Message](m *model, what string, rpc func(context.Context, Q, ...grpc.CallOption) (A, error), req Q, named func(string), reason fault.Reason) (A, bool) {
	m.requests++
	named(fmt.Sprint("r", m.requests))
	answer, err := rpc(m.ctx, req)
	if reason != "" {
		if f, ok := fault.As(err); !ok || f.Reason != reason {
			m.Fatalf("%s %v: got %v, %v; want %s", what, req, answer, err, reason)
		}
		return answer, false
	}
	if err != nil {
		m.Fatalf("%s %v: %v", what, req, err)
	}
	m.answered = append(m.answered, func() {
		again, err := rpc(m.ctx, req)
		if diff := cmp.Diff(answer, again, protocmp.Transform()); err != nil || diff != "" {
			m.Fatalf("%s repeated: %v (-first +again):\n%s", what, err, diff)
		}
	})
	return answer, true
}

func (m *model) repeat() {
	rapid.SampledFrom(m.answered).Draw(m.T, "repeated")()
}

func (m *model) one() *modelWorkflow { return rapid.SampledFrom(m.workflows).Draw(m.T, "workflow") }

func (m *model) draw() modelContent {
	return modelContent{rapid.SampledFrom([]string{"a", "b", "c"}).Draw(m.T, "title"), rapid.IntRange(0, 2).Draw(m.T, "steps")}
}

// taken returns the reason for which a workflow cannot have a title, if there is one.
func (m *model) taken(title string, but *modelWorkflow) fault.Reason {
	for _, w := range m.workflows {
		if w != but && w.live().title == title {
			return "WORKFLOW_EXISTS"
		}
	}
	return ""
}

// become is what a save does to a workflow that is to have a content.
func (m *model) become(w *modelWorkflow, c modelContent, origin string, answer *workflowv1.Workflow) {
	if c != w.live() {
		w.revisions, w.origins = append(w.revisions, c), append(w.origins, origin)
		w.etag = ""
	}
	m.compare(w, answer)
}

// compare holds what the service says of a workflow to the model. An empty etag is one that must be new.
func (m *model) compare(w *modelWorkflow, got *workflowv1.Workflow) {
	if w.etag == "" {
		if w.etag = got.GetEtag(); m.etags[w.id+w.etag] {
			m.Fatalf("etag %s was used before", w.etag)
		}
		m.etags[w.id+w.etag] = true
	}
	want := w.live().message()
	want.Id, want.Etag, want.Revision, want.State = w.id, w.etag, int32(len(w.revisions)), workflowv1.Workflow_INACTIVE
	if w.active {
		want.State = workflowv1.Workflow_ACTIVE
	}
	if n := len(w.backups); n > 0 {
		want.LastBackup = &workflowv1.Backup{Id: w.backups[n-1].id, Revision: int32(w.backups[n-1].revision)}
	}
	if w.draft != nil {
		want.Draft = &workflowv1.DraftInfo{BaseRevision: int32(w.draft.base), Stale: w.draft.base != len(w.revisions)}
	}
	m.equal("workflow", want, got)
}

func (m *model) equal(what string, want, got proto.Message) {
	diff := cmp.Diff(want, got, protocmp.Transform(),
		protocmp.IgnoreFields(&workflowv1.Workflow{}, "create_time", "update_time", "create_user", "update_user", "warnings"),
		protocmp.IgnoreFields(&workflowv1.Backup{}, "name", "create_time", "create_user"),
		protocmp.IgnoreFields(&workflowv1.DraftInfo{}, "update_time", "update_user"))
	if diff != "" {
		m.Fatalf("%s (-model +service):\n%s", what, diff)
	}
}

func (m *model) add(c modelContent, active bool, answer *workflowv1.Workflow) {
	w := &modelWorkflow{id: answer.GetId(), active: active, revisions: []modelContent{c}, origins: []string{"CREATED"}}
	m.workflows = append(m.workflows, w)
	m.compare(w, answer)
}

// few keeps the workflows so few that operations meet.
func (m *model) few() bool { return len(m.workflows) < 3 }

func (m *model) create() {
	if !m.few() {
		m.save()
		return
	}
	c := m.draw()
	req := &workflowv1.CreateWorkflowRequest{Workflow: c.message()}
	active := rapid.Bool().Draw(m.T, "active")
	if !active {
		req.Workflow.State = workflowv1.Workflow_INACTIVE
	}
	if answer, ok := send(m, "create", m.client.CreateWorkflow, req, func(id string) { req.RequestId = id }, m.taken(c.title, nil)); ok {
		m.add(c, active, answer.GetWorkflow())
	}
}

func (m *model) save() { m.saveAs(m.one(), m.draw()) }

func (m *model) saveEqual() {
	w := m.one()
	m.saveAs(w, w.live())
}

func (m *model) saveAs(w *modelWorkflow, c modelContent) {
	req := &workflowv1.UpdateWorkflowRequest{Workflow: c.message(), UpdateMask: &fieldmaskpb.FieldMask{Paths: []string{"*"}}}
	req.Workflow.Id = w.id
	reason := m.taken(c.title, w)
	switch rapid.IntRange(0, 3).Draw(m.T, "etag") {
	case 0:
		req.Workflow.Etag, reason = "0", "ETAG_MISMATCH"
	case 1:
		req.Workflow.Etag = w.etag
	}
	if answer, ok := send(m, "save", m.client.UpdateWorkflow, req, func(id string) { req.RequestId = id }, reason); ok {
		m.become(w, c, "UPDATED", answer.GetWorkflow())
	}
}

func (m *model) setState() {
	w := m.one()
	var got *workflowv1.Workflow
	active := rapid.Bool().Draw(m.T, "active")
	if active {
		req := &workflowv1.ActivateWorkflowRequest{Id: w.id}
		answer, _ := send(m, "activate", m.client.ActivateWorkflow, req, func(id string) { req.RequestId = id }, "")
		got = answer.GetWorkflow()
	} else {
		req := &workflowv1.DeactivateWorkflowRequest{Id: w.id}
		answer, _ := send(m, "deactivate", m.client.DeactivateWorkflow, req, func(id string) { req.RequestId = id }, "")
		got = answer.GetWorkflow()
	}
	if w.active != active {
		w.active, w.etag = active, ""
	}
	m.compare(w, got)
}

func (m *model) backup() {
	w := m.one()
	req := &workflowv1.BackupWorkflowRequest{Id: w.id}
	answer, _ := send(m, "backup", m.client.BackupWorkflow, req, func(id string) { req.RequestId = id }, "")
	b := answer.GetBackup()
	if int(b.GetRevision()) != len(w.revisions) {
		m.Fatalf("backup: got %v, want revision %d", b, len(w.revisions))
	}
	w.backups = append(w.backups, modelBackup{b.GetId(), len(w.revisions)})
}

func (m *model) reset() {
	w := m.one()
	req := &workflowv1.ResetWorkflowRequest{Id: w.id}
	reason := fault.Reason("NO_BACKUP")
	var c modelContent
	var from int
	if n := len(w.backups); n > 0 {
		from = w.backups[n-1].revision
		c = w.revisions[from-1]
		reason = m.taken(c.title, w)
	}
	if answer, ok := send(m, "reset", m.client.ResetWorkflow, req, func(id string) { req.RequestId = id }, reason); ok {
		m.become(w, c, fmt.Sprint("RESET ", from), answer.GetWorkflow())
	}
}

// anyBackup draws a backup: of the workflow, of another, or one that is gone.
func (m *model) anyBackup(w *modelWorkflow) (b modelBackup, found bool) {
	all := append(slices.Clone(w.backups), w.dropped...)
	for _, other := range m.workflows {
		all = append(all, other.backups...)
	}
	if len(all) == 0 {
		return modelBackup{id: nobody}, false
	}
	b = rapid.SampledFrom(all).Draw(m.T, "backup")
	return b, slices.Contains(w.backups, b)
}

func (m *model) restore() {
	w := m.one()
	b, found := m.anyBackup(w)
	req := &workflowv1.RestoreBackupRequest{WorkflowId: w.id, Id: b.id}
	reason := fault.Reason("BACKUP_NOT_FOUND")
	var c modelContent
	if found {
		c = w.revisions[b.revision-1]
		reason = m.taken(c.title, w)
	}
	if answer, ok := send(m, "restore", m.client.RestoreBackup, req, func(id string) { req.RequestId = id }, reason); ok {
		m.become(w, c, fmt.Sprint("RESTORED ", b.revision), answer.GetWorkflow())
	}
}

func (m *model) deleteBackup() {
	w := m.one()
	b, found := m.anyBackup(w)
	req := &workflowv1.DeleteBackupRequest{WorkflowId: w.id, Id: b.id}
	reason := fault.Reason("")
	if !found {
		reason = "BACKUP_NOT_FOUND"
	}
	if _, ok := send(m, "delete backup", m.client.DeleteBackup, req, func(id string) { req.RequestId = id }, reason); ok {
		w.backups = slices.DeleteFunc(w.backups, func(other modelBackup) bool { return other == b })
		w.dropped = append(w.dropped, b)
	}
}

func (m *model) duplicate() {
	if !m.few() {
		m.setState()
		return
	}
	w := m.one()
	req := &workflowv1.DuplicateWorkflowRequest{Id: w.id}
	c := w.live()
	for n := 1; m.taken(c.title, nil) != ""; n++ {
		if c.title = w.live().title + " (copy)"; n > 1 {
			c.title = fmt.Sprintf("%s (copy %d)", w.live().title, n)
		}
	}
	answer, _ := send(m, "duplicate", m.client.DuplicateWorkflow, req, func(id string) { req.RequestId = id }, "")
	m.add(c, false, answer.GetWorkflow())
}

func (m *model) putDraft() {
	w := m.one()
	c := m.draw()
	req := &workflowv1.UpdateDraftRequest{Id: w.id, Workflow: c.message(), Rebase: rapid.Bool().Draw(m.T, "rebase")}
	answer, _ := send(m, "put draft", m.client.UpdateDraft, req, func(id string) { req.RequestId = id }, "")
	next := &modelDraft{c, len(w.revisions)}
	if w.draft != nil && !req.GetRebase() {
		next.base = w.draft.base
	}
	w.draft = next
	if got := answer.GetWorkflow(); contentOf(got) != c || int(got.GetDraft().GetBaseRevision()) != next.base || got.GetEtag() == w.etag {
		m.Fatalf("draft: got %v, want %v", got, next)
	}
}

func (m *model) deleteDraft() {
	w := m.one()
	req := &workflowv1.DeleteDraftRequest{Id: w.id}
	_, _ = send(m, "delete draft", m.client.DeleteDraft, req, func(id string) { req.RequestId = id }, "")
	w.draft = nil
}

func (m *model) publish() {
	w := m.one()
	req := &workflowv1.PublishWorkflowRequest{Id: w.id}
	reason := fault.Reason("DRAFT_NOT_FOUND")
	if w.draft != nil {
		if reason = m.taken(w.draft.title, w); w.draft.base != len(w.revisions) {
			reason = "DRAFT_STALE"
		}
	}
	if answer, ok := send(m, "publish", m.client.PublishWorkflow, req, func(id string) { req.RequestId = id }, reason); ok {
		c := w.draft.modelContent
		w.draft = nil
		m.become(w, c, "PUBLISHED", answer.GetWorkflow())
	}
}

// hold compares all that is stored with the model.
func (m *model) hold() {
	listed, err := m.client.ListWorkflows(m.ctx, &workflowv1.ListWorkflowsRequest{PageSize: 200})
	if err != nil || len(listed.GetWorkflows()) != len(m.workflows) {
		m.Fatalf("list: got %d, %v; want %d workflows", len(listed.GetWorkflows()), err, len(m.workflows))
	}
	for i, w := range m.workflows {
		m.compare(w, listed.GetWorkflows()[len(m.workflows)-1-i])
		got, err := m.client.GetWorkflow(m.ctx, &workflowv1.GetWorkflowRequest{Id: w.id})
		if err != nil {
			m.Fatal(err)
		}
		m.compare(w, got.GetWorkflow())
		m.holdHistory(w)
	}
}

func (m *model) holdHistory(w *modelWorkflow) {
	revisions, err := m.client.ListRevisions(m.ctx, &workflowv1.ListRevisionsRequest{WorkflowId: w.id, PageSize: 200})
	if err != nil || len(revisions.GetRevisions()) != len(w.revisions) {
		m.Fatalf("revisions: got %v, %v; want %d", revisions, err, len(w.revisions))
	}
	for i, r := range revisions.GetRevisions() {
		number := len(w.revisions) - i
		origin := r.GetOrigin().String()
		if r.GetSourceRevision() != 0 {
			origin += fmt.Sprint(" ", r.GetSourceRevision())
		}
		if int(r.GetRevision()) != number || origin != w.origins[number-1] || r.GetLive() != (i == 0) {
			m.Fatalf("got revision %v, want number %d by %s", r, number, w.origins[number-1])
		}
		got, err := m.client.GetRevision(m.ctx, &workflowv1.GetRevisionRequest{WorkflowId: w.id, Revision: r.GetRevision()})
		if err != nil || contentOf(got.GetRevision().GetWorkflow()) != w.revisions[number-1] {
			m.Fatalf("revision %d: got %v, %v; want %v", number, got, err, w.revisions[number-1])
		}
	}
	backups, err := m.client.ListBackups(m.ctx, &workflowv1.ListBackupsRequest{WorkflowId: w.id, PageSize: 200})
	if err != nil {
		m.Fatal(err)
	}
	var got []modelBackup
	for _, b := range slices.Backward(backups.GetBackups()) {
		got = append(got, modelBackup{b.GetId(), int(b.GetRevision())})
	}
	if !slices.Equal(got, w.backups) {
		m.Fatalf("backups: got %v, want %v", got, w.backups)
	}
	draft, err := m.client.GetDraft(m.ctx, &workflowv1.GetDraftRequest{Id: w.id})
	if found := err == nil; found != (w.draft != nil) || found && contentOf(draft.GetWorkflow()) != w.draft.modelContent {
		m.Fatalf("draft: got %v, %v; want %v", draft, err, w.draft)
	}
}
