package catalog_test

import (
	"strings"
	"sync"
	"testing"

	"google.golang.org/protobuf/proto"

	"workflow.uniconnect/pkg/auth"
	"workflow.uniconnect/pkg/fault"
	peerv1 "workflow.uniconnect/proto/gen/go/uniconnect/workflow/peer/v1"
	workflowv1 "workflow.uniconnect/proto/gen/go/uniconnect/workflow/v1"
	"workflow.uniconnect/services/workflow-catalog"
)

const document = `# kept in git
title: Greet
description: |
  Says hello.
  Twice.
trigger:
  event: {eventType: call.ended}
steps:
  - id: a
    set: {variables: {on: "'yes'"}}
  - id: b
    stop: {}
`

const (
	outcomeCreated   = workflowv1.ImportWorkflowResponse_CREATED
	outcomeUpdated   = workflowv1.ImportWorkflowResponse_UPDATED
	outcomeUnchanged = workflowv1.ImportWorkflowResponse_UNCHANGED
)

func importing(text string, edit ...func(*workflowv1.ImportWorkflowRequest)) *workflowv1.ImportWorkflowRequest {
	req := &workflowv1.ImportWorkflowRequest{Source: &workflowv1.ImportWorkflowRequest_Content{Content: text}}
	for _, e := range edit {
		e(req)
	}
	return req
}

func tryOnly(req *workflowv1.ImportWorkflowRequest) { req.ValidateOnly = true }

func into(id string) func(*workflowv1.ImportWorkflowRequest) {
	return func(req *workflowv1.ImportWorkflowRequest) { req.Id = id }
}

// changesOf tells a difference in short, for example `state` or `+c`.
func changesOf(d *workflowv1.Diff) string {
	var all []string
	for _, c := range d.GetChanges() {
		switch c.GetKind() {
		case workflowv1.Change_STEP_ADDED:
			all = append(all, "+"+c.GetStepId())
		case workflowv1.Change_STEP_REMOVED:
			all = append(all, "-"+c.GetStepId())
		default:
			all = append(all, strings.Trim(c.GetStepId()+"."+c.GetField(), "."))
		}
	}
	return strings.Join(all, " ")
}

func TestService_ImportWorkflow(t *testing.T) {
	t.Parallel()
	s, r := started(t)
	ctx, client := s.owner(t), r.workflows()
	imported := func(t *testing.T, req *workflowv1.ImportWorkflowRequest) *workflowv1.ImportWorkflowResponse {
		t.Helper()
		resp, err := client.ImportWorkflow(ctx, req)
		if err != nil {
			t.Fatal(err)
		}
		return resp
	}
	tried := imported(t, importing(document, tryOnly))
	if w := tried.GetWorkflow(); tried.GetOutcome() != outcomeCreated || w.GetId() != "" || w.GetTitle() != "Greet" || w.GetState() != workflowv1.Workflow_ACTIVE {
		t.Errorf("tried: got %v", tried)
	}
	if list, err := client.ListWorkflows(ctx, &workflowv1.ListWorkflowsRequest{}); err != nil || len(list.GetWorkflows()) != 0 {
		t.Fatalf("trying saved something: %v, %v", list, err)
	}
	first := imported(t, importing(document))
	w := first.GetWorkflow()
	if first.GetOutcome() != outcomeCreated || w.GetId() == "" || w.GetState() != workflowv1.Workflow_ACTIVE || w.GetRevision() != 1 {
		t.Errorf("first: got %v", first)
	}
	again := imported(t, importing(document))
	if again.GetOutcome() != outcomeUnchanged || again.GetDiff() != nil || again.GetWorkflow().GetEtag() != w.GetEtag() {
		t.Errorf("again: got %v", again)
	}

	changed := strings.Replace(document, "  - id: b\n", "  - id: c\n    stop: {}\n  - id: b\n", 1) + "state: INACTIVE\n"
	tried = imported(t, importing(changed, tryOnly))
	second := imported(t, importing(changed))
	for name, got := range map[string]*workflowv1.ImportWorkflowResponse{"tried": tried, "done": second} {
		if got.GetOutcome() != outcomeUpdated || changesOf(got.GetDiff()) != "state +c" || got.GetWorkflow().GetState() != workflowv1.Workflow_INACTIVE ||
			len(got.GetWorkflow().GetSteps()) != 3 || got.GetWorkflow().GetId() != w.GetId() {
			t.Errorf("%s: got %v %v", name, changesOf(got.GetDiff()), got)
		}
	}
	if d := second.GetDiff(); d.GetFromRevision() != 1 || d.GetToRevision() != 2 {
		t.Errorf("difference: got %v", d)
	}
	// A document that says nothing of the state leaves it, and a state alone is no revision.
	if got := imported(t, importing(strings.TrimSuffix(changed, "state: INACTIVE\n"))); got.GetOutcome() != outcomeUnchanged {
		t.Errorf("without a state: got %v", got)
	}
	third := imported(t, importing(strings.Replace(changed, "INACTIVE", "ACTIVE", 1)))
	if third.GetOutcome() != outcomeUpdated || changesOf(third.GetDiff()) != "state" || third.GetWorkflow().GetRevision() != 2 {
		t.Errorf("state alone: got %v", third)
	}
	if revision, err := client.ListRevisions(ctx, &workflowv1.ListRevisionsRequest{WorkflowId: w.GetId()}); err != nil || len(revision.GetRevisions()) != 2 {
		t.Errorf("revisions: got %v, %v", revision, err)
	}

	// Under an id the document renames; without one another title is another workflow.
	renamed := strings.Replace(changed, "title: Greet", "title: Salute", 1)
	if got := imported(t, importing(renamed, into(w.GetId()))); got.GetOutcome() != outcomeUpdated || got.GetWorkflow().GetTitle() != "Salute" || got.GetWorkflow().GetId() != w.GetId() {
		t.Errorf("renamed: got %v", got)
	}
	other := imported(t, importing(changed))
	if other.GetOutcome() != outcomeCreated || other.GetWorkflow().GetId() == w.GetId() || other.GetWorkflow().GetState() != workflowv1.Workflow_INACTIVE {
		t.Errorf("another: got %v", other)
	}
	var err error
	for _, edits := range [][]func(*workflowv1.ImportWorkflowRequest){{into(w.GetId())}, {into(w.GetId()), tryOnly}} {
		_, err = client.ImportWorkflow(ctx, importing(changed, edits...))
		if f := faultOf(t, err, fault.KindAlreadyExists, "WORKFLOW_EXISTS"); f.Metadata["workflow_id"] != other.GetWorkflow().GetId() {
			t.Errorf("title of another: got %v", f.Metadata)
		}
	}
	_, err = client.ImportWorkflow(ctx, importing(changed, into(nobody)))
	wantFault(t, err, fault.KindNotFound, "WORKFLOW_NOT_FOUND")

	// As a message it is the same.
	exported := proto.CloneOf(other.GetWorkflow())
	resp, err := client.ImportWorkflow(ctx, &workflowv1.ImportWorkflowRequest{Source: &workflowv1.ImportWorkflowRequest_Workflow{Workflow: exported}})
	if err != nil || resp.GetOutcome() != outcomeUnchanged {
		t.Errorf("message: got %v, %v", resp, err)
	}
}

func TestService_ImportWorkflow_of_what_is_being_deleted(t *testing.T) {
	t.Parallel()
	s, r := started(t)
	ctx, client := s.owner(t), r.workflows()
	s.owners.mu.Lock()
	s.owners.notYet = 1 << 30
	s.owners.mu.Unlock()
	first, err := client.ImportWorkflow(ctx, importing(document))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := client.DeleteWorkflow(ctx, &workflowv1.DeleteWorkflowRequest{Id: first.GetWorkflow().GetId()}); err != nil {
		t.Fatal(err)
	}
	_, err = client.ImportWorkflow(ctx, importing(document, into(first.GetWorkflow().GetId())))
	wantFault(t, err, fault.KindFailedPrecondition, "WORKFLOW_STATE")
	// Its title is free.
	second, err := client.ImportWorkflow(ctx, importing(document))
	if err != nil || second.GetOutcome() != outcomeCreated || second.GetWorkflow().GetId() == first.GetWorkflow().GetId() {
		t.Errorf("got %v, %v", second, err)
	}
}

func TestService_ImportWorkflow_refuses(t *testing.T) {
	t.Parallel()
	s, r := started(t)
	ctx, client := s.owner(t), r.workflows()

	_, err := client.ImportWorkflow(ctx, importing("title: x\nsteps:\n  - id: A\n    acton: {}\netag: y\n"))
	f := faultOf(t, err, fault.KindInvalidArgument, "DOCUMENT")
	if len(f.Violations) != 2 || f.Violations[0].Field != "steps[0].acton" || !strings.HasPrefix(f.Violations[0].Description, "4:5: unknown field") ||
		f.Violations[1].Field != "etag" {
		t.Errorf("document: got %+v", f.Violations)
	}
	// Everything that is wrong with the workflow is told at once, whoever knows it.
	s.owners.set(&peerv1.Violation{Field: "trigger.event.eventType", Description: "unknown"}, &peerv1.Violation{Field: "steps[0].action.type", Description: "unknown"})
	for _, edit := range [][]func(*workflowv1.ImportWorkflowRequest){nil, {tryOnly}} {
		_, err = client.ImportWorkflow(ctx, importing("title: ''\ntrigger:\n  event: {eventType: x.y}\nsteps:\n- id: A\n  action: {type: x}\n- id: A\n  stop: {}\n", edit...))
		f = faultOf(t, err, fault.KindInvalidArgument, "INVALID_FIELDS")
		fields := make(map[string]bool)
		for _, v := range f.Violations {
			fields[v.Field] = true
		}
		for _, want := range []string{"title", "trigger.event.eventType", "steps[0].id", "steps[0].action.type", "steps[1].id"} {
			if !fields[want] {
				t.Errorf("%s is not named: %+v", want, f.Violations)
			}
		}
	}
	s.owners.set()
	_, err = client.ImportWorkflow(ctx, &workflowv1.ImportWorkflowRequest{})
	wantFault(t, err, fault.KindInvalidArgument, "INVALID_FIELDS")
	// A request id that the database takes for no text is the caller's fault, whatever else there is.
	_, err = client.ImportWorkflow(ctx, importing(document, func(req *workflowv1.ImportWorkflowRequest) { req.RequestId = "a\x00b" }))
	if f := faultOf(t, err, fault.KindInvalidArgument, "INVALID_FIELDS"); len(f.Violations) != 1 || f.Violations[0].Field != "requestId" {
		t.Errorf("request id: got %+v", f.Violations)
	}
	s.stopOwners()
	_, err = client.ImportWorkflow(ctx, importing(document))
	wantFault(t, err, fault.KindUnavailable, "SERVICE_UNAVAILABLE")
}

func TestService_ImportWorkflow_needs_what_it_does(t *testing.T) {
	t.Parallel()
	s, r := started(t)
	client := r.workflows()
	role := func(name string, permissions ...string) catalog.RoleSeed {
		return catalog.RoleSeed{Title: name, Permissions: append(permissions, "workflow.view", "workflow.edit")}
	}
	if _, err := r.EnsureTenant(t.Context(), catalog.TenantSeed{
		Tenant: "initech", Title: "initech", TimeZone: "UTC",
		Roles: []catalog.RoleSeed{role("Editor"), role("Maker", "workflow.create"), role("Switcher", "workflow.activate")},
		Users: []catalog.UserSeed{
			{Subject: "editor", Roles: []string{"Editor"}}, {Subject: "maker", Roles: []string{"Maker"}}, {Subject: "switcher", Roles: []string{"Switcher"}},
		},
	}); err != nil {
		t.Fatal(err)
	}
	as := func(subject, text string, edit ...func(*workflowv1.ImportWorkflowRequest)) (*workflowv1.ImportWorkflowResponse, error) {
		return client.ImportWorkflow(s.as(t, auth.Principal{Tenant: "initech", Subject: subject}), importing(text, edit...))
	}
	lacks := func(err error, permission string) {
		t.Helper()
		if f := faultOf(t, err, fault.KindPermissionDenied, fault.ReasonPermissionMissing); f.Metadata["permission"] != permission {
			t.Errorf("got %v, want %s", f.Metadata, permission)
		}
	}
	for _, who := range []string{"editor", "switcher"} {
		for _, edit := range [][]func(*workflowv1.ImportWorkflowRequest){nil, {tryOnly}} {
			_, err := as(who, document, edit...)
			lacks(err, "workflow.create")
		}
	}
	if resp, err := as("maker", document); err != nil || resp.GetWorkflow().GetState() != workflowv1.Workflow_ACTIVE {
		t.Fatalf("maker: got %v, %v", resp, err)
	}
	off := document + "state: INACTIVE\n"
	for _, who := range []string{"editor", "maker"} {
		_, err := as(who, off)
		lacks(err, "workflow.activate")
		if resp, err := as(who, document+"state: ACTIVE\n"); err != nil || resp.GetOutcome() != outcomeUnchanged {
			t.Errorf("%s, the state that is: got %v, %v", who, resp, err)
		}
	}
	if resp, err := as("switcher", off); err != nil || resp.GetWorkflow().GetState() != workflowv1.Workflow_INACTIVE {
		t.Errorf("switcher: got %v, %v", resp, err)
	}
	if resp, err := as("editor", strings.Replace(document, "Twice", "Once", 1)); err != nil || resp.GetOutcome() != outcomeUpdated || changesOf(resp.GetDiff()) != "description" {
		t.Errorf("editor: got %v, %v", resp, err)
	}
}

func TestService_ImportWorkflow_is_repeated(t *testing.T) {
	t.Parallel()
	s, r := started(t)
	ctx, client := s.owner(t), r.workflows()
	under := func(key string) func(*workflowv1.ImportWorkflowRequest) {
		return func(req *workflowv1.ImportWorkflowRequest) { req.RequestId = key }
	}
	changed := strings.Replace(document, "Twice.", "Once.", 1) + "state: INACTIVE\n"
	steps := []struct{ key, text string }{
		{"create", document}, {"same", document}, {"change", changed}, {"state", strings.Replace(changed, "INACTIVE", "ACTIVE", 1)}, {"back", document},
	}
	first := make(map[string]*workflowv1.ImportWorkflowResponse)
	for _, step := range steps {
		resp, err := client.ImportWorkflow(ctx, importing(step.text, under(step.key)))
		if err != nil {
			t.Fatal(err)
		}
		first[step.key] = resp
	}
	for _, step := range steps {
		resp, err := client.ImportWorkflow(ctx, importing(step.text, under(step.key)))
		if err != nil {
			t.Fatal(err)
		}
		equal(t, step.key, first[step.key], resp)
	}
	_, err := client.ImportWorkflow(ctx, importing(changed, under("create")))
	wantFault(t, err, fault.KindFailedPrecondition, "REQUEST_ID_REUSED")
	if got := changesOf(first["change"].GetDiff()); got != "state description" {
		t.Errorf("change: got %q", got)
	}
}

// Many who apply the same document at once make one workflow.
func TestService_ImportWorkflow_at_once(t *testing.T) {
	t.Parallel()
	s, r := started(t)
	ctx, client := s.owner(t), r.workflows()
	outcomes := make([]workflowv1.ImportWorkflowResponse_Outcome, 8)
	var wg sync.WaitGroup
	for i := range outcomes {
		wg.Go(func() {
			resp, err := client.ImportWorkflow(ctx, importing(document))
			if err != nil {
				t.Error(err)
			}
			outcomes[i] = resp.GetOutcome()
		})
	}
	wg.Wait()
	created := 0
	for _, o := range outcomes {
		if o == outcomeCreated {
			created++
		} else if o != outcomeUnchanged {
			t.Errorf("got %v", o)
		}
	}
	if created != 1 {
		t.Errorf("created %d times", created)
	}
}

func TestService_ExportWorkflow(t *testing.T) {
	t.Parallel()
	s, r := started(t)
	ctx, client := s.owner(t), r.workflows()
	first, err := client.ImportWorkflow(ctx, importing(document))
	if err != nil {
		t.Fatal(err)
	}
	id := first.GetWorkflow().GetId()
	export := func(req *workflowv1.ExportWorkflowRequest) (string, string) {
		t.Helper()
		resp, err := client.ExportWorkflow(ctx, req)
		if err != nil {
			t.Fatal(err)
		}
		return string(resp.GetDocument().GetData()), resp.GetDocument().GetContentType()
	}
	yaml, contentType := export(&workflowv1.ExportWorkflowRequest{Id: id})
	const want = `title: Greet
description: |
  Says hello.
  Twice.
state: ACTIVE
trigger:
  event:
    eventType: call.ended
steps:
  - id: a
    set:
      variables:
        "on": "'yes'"
  - id: b
    stop: {}
`
	if yaml != want || contentType != "application/yaml" {
		t.Errorf("got %s\n%s", contentType, yaml)
	}
	json, contentType := export(&workflowv1.ExportWorkflowRequest{Id: id, Format: workflowv1.ExportFormat_JSON})
	if contentType != "application/json" || !strings.HasPrefix(json, "{\n  \"title\": \"Greet\",") {
		t.Errorf("got %s\n%s", contentType, json)
	}
	for _, text := range []string{yaml, json} {
		if resp, err := client.ImportWorkflow(ctx, importing(text)); err != nil || resp.GetOutcome() != outcomeUnchanged {
			t.Errorf("what was exported is not what there is: %v, %v", resp, err)
		}
	}
	r.rename(t, ctx, id, "Another")
	old, _ := export(&workflowv1.ExportWorkflowRequest{Id: id, Revision: 1})
	if old != strings.Replace(want, "state: ACTIVE\n", "", 1) {
		t.Errorf("revision 1: got\n%s", old)
	}
	_, err = client.ExportWorkflow(ctx, &workflowv1.ExportWorkflowRequest{Id: id, Revision: 9})
	wantFault(t, err, fault.KindNotFound, "REVISION_NOT_FOUND")
	_, err = client.ExportWorkflow(s.as(t, auth.Principal{Tenant: "globex", Subject: "owner"}), &workflowv1.ExportWorkflowRequest{Id: id})
	wantFault(t, err, fault.KindNotFound, "WORKFLOW_NOT_FOUND")
}

// A refused import is in the audit, a refused try is not: it would have changed nothing.
func TestService_ImportWorkflow_refused_in_the_audit(t *testing.T) {
	t.Parallel()
	s, r := started(t)
	ctx, client := s.owner(t), r.workflows()
	_, err := client.ImportWorkflow(ctx, importing("title: x\nfoo: 1\n", tryOnly))
	wantFault(t, err, fault.KindInvalidArgument, "DOCUMENT")
	_, err = client.ImportWorkflow(ctx, importing("title: x\nfoo: 1\n"))
	wantFault(t, err, fault.KindInvalidArgument, "DOCUMENT")
	if _, err := client.ImportWorkflow(ctx, importing(document)); err != nil {
		t.Fatal(err)
	}
	var entries []*workflowv1.AuditEntry
	until(t, "the refusal is written", func() bool {
		resp, err := client.ListAuditEntries(ctx, &workflowv1.ListAuditEntriesRequest{Filter: `action = "ImportWorkflow"`})
		if err != nil {
			t.Fatal(err)
		}
		entries = resp.GetAuditEntries()
		return len(entries) >= 2
	})
	outcomes := make(map[string]int)
	for _, e := range entries {
		outcomes[e.GetOutcome()+" "+e.GetReason()]++
	}
	if len(entries) != 2 || outcomes["OK "] != 1 || outcomes["INVALID_ARGUMENT DOCUMENT"] != 1 {
		t.Errorf("got %v", outcomes)
	}
}
