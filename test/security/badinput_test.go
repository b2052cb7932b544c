package security

import (
	"context"
	"fmt"
	"math"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/fieldmaskpb"
	"google.golang.org/protobuf/types/known/structpb"
	"google.golang.org/protobuf/types/known/timestamppb"

	"workflow.uniconnect/test/stack"

	accessv1 "workflow.uniconnect/proto/gen/go/uniconnect/access/v1"
	workflowv1 "workflow.uniconnect/proto/gen/go/uniconnect/workflow/v1"
)

// attempt is a call that must be refused, over both protocols. Its number is the row of the table in docs/security.md.
type attempt struct {
	row     int
	name    string
	as      string // a user; the owner when empty
	request message
	want
}

// noToken is who sends none.
const noToken = "no token"

// want is the one right answer.
type want struct {
	code   codes.Code
	status int
	reason string
	// text must be part of what the client reads.
	text string
}

func (w want) check(t *testing.T, a answer) {
	t.Helper()
	if a.code != w.code || a.status != 0 && a.status != w.status || a.reason != w.reason && w.reason != anyReason || !strings.Contains(a.text, w.text) {
		t.Errorf("got %s %d %s %.800s, want %s %d %s with %q", a.code, a.status, a.reason, a.text, w.code, w.status, w.reason, w.text)
	}
	if leak := leakIn(a); leak != "" {
		t.Errorf("the answer holds %q: %.800s", leak, a.text)
	}
}

// anyReason is for what each protocol calls by another name.
const anyReason = "*"

func invalid(text string) want { return want{codes.InvalidArgument, 400, "INVALID_FIELDS", text} }

func notFound(reason string) want { return want{codes.NotFound, 404, reason, ""} }

// badInput makes each attempt over both protocols and holds that nothing has changed by it.
func (s *system) badInput(t *testing.T) {
	f := s.fixtures(t)
	state := s.quiet(t)
	for _, a := range attempts(f) {
		for _, face := range s.faces() {
			t.Run(fmt.Sprintf("%d_%s/%s", a.row, a.name, face.name()), func(t *testing.T) {
				as := a.as
				if as == "" {
					as = owner
				}
				token := ""
				if as != noToken {
					token = s.userToken(t, as)
				}
				a.check(t, face.call(t, token, proto.Clone(a.request)))
				state.unchanged(t)
			})
		}
	}
}

// fixtures are what the attempts are about.
type fixtures struct {
	workflow, inactive, deleted *workflowv1.Workflow
	// staleEtag is that of workflow before its last change.
	staleEtag string
	// key was used for the creation of workflow.
	key string
	// theirs is another tenant's.
	theirs                     *workflowv1.Workflow
	theirBackup, theirRun      string
	theirPageToken, otherToken string
	// keeper may administer access and nothing else; role is what makes it so.
	keeper string
	role   *accessv1.Role
}

func (s *system) fixtures(t *testing.T) *fixtures {
	t.Helper()
	if s.made != nil {
		return s.made
	}
	f := &fixtures{key: unique("key"), keeper: "keeper@acme.test"}
	create := func(user, title, key string, steps ...*workflowv1.Step) *workflowv1.Workflow {
		return must[*workflowv1.CreateWorkflowResponse](t, s, user, &workflowv1.CreateWorkflowRequest{Workflow: manual(title, steps...), RequestId: key}).GetWorkflow()
	}
	wait := &workflowv1.Step{Id: "wait", Kind: &workflowv1.Step_Delay{Delay: &workflowv1.DelayStep{Wait: &workflowv1.DelayStep_Duration{Duration: durationpb.New(time.Hour)}}}}
	f.workflow = create(owner, unique("Ours"), f.key)
	f.staleEtag = f.workflow.GetEtag()
	f.workflow = must[*workflowv1.UpdateWorkflowResponse](t, s, owner, &workflowv1.UpdateWorkflowRequest{
		Workflow: &workflowv1.Workflow{Id: f.workflow.GetId(), Description: "changed"}, UpdateMask: &fieldmaskpb.FieldMask{Paths: []string{"description"}},
	}).GetWorkflow()
	f.inactive = create(owner, unique("Inactive"), "")
	must[*workflowv1.DeactivateWorkflowResponse](t, s, owner, &workflowv1.DeactivateWorkflowRequest{Id: f.inactive.GetId()})
	f.deleted = create(owner, unique("Deleted"), "")
	must[*workflowv1.DeleteWorkflowResponse](t, s, owner, &workflowv1.DeleteWorkflowRequest{Id: f.deleted.GetId()})
	stack.Eventually(t, soon, func(context.Context) error {
		if a := s.grpc.call(t, s.userToken(t, owner), &workflowv1.GetWorkflowRequest{Id: f.deleted.GetId()}); a.code != codes.NotFound {
			return a.unexpected()
		}
		return nil
	})
	must[*workflowv1.PublishEventResponse](t, s, owner, &workflowv1.PublishEventRequest{Event: &workflowv1.CloudEvent{Type: "custom.security.first", Source: "/security", Id: f.key}})
	f.theirs = create(foreign, unique("Theirs"), "", wait)
	create(foreign, unique("Theirs"), "")
	f.theirBackup = must[*workflowv1.BackupWorkflowResponse](t, s, foreign, &workflowv1.BackupWorkflowRequest{Id: f.theirs.GetId()}).GetBackup().GetId()
	f.theirRun = must[*workflowv1.RunWorkflowResponse](t, s, foreign, &workflowv1.RunWorkflowRequest{WorkflowId: f.theirs.GetId()}).GetExecution().GetId()
	f.theirPageToken = must[*workflowv1.ListWorkflowsResponse](t, s, foreign, &workflowv1.ListWorkflowsRequest{PageSize: 1}).GetNextPageToken()
	f.otherToken = must[*workflowv1.ListWorkflowsResponse](t, s, owner, &workflowv1.ListWorkflowsRequest{PageSize: 1, OrderBy: "title"}).GetNextPageToken()
	if f.theirPageToken == "" || f.otherToken == "" {
		t.Fatal("there is no second page")
	}
	f.role = s.grant(t, f.keeper, "access.manage")
	s.made = f
	return f
}

// attempts lists the rows that the two protocols share. What only one of them can say is among httpAttempts and specials.
func attempts(f *fixtures) []attempt {
	all := []attempt{
		{1, "no_token", noToken, &workflowv1.ListWorkflowsRequest{}, want{codes.Unauthenticated, 401, "TOKEN_MISSING", "missing bearer token"}},
	}
	all = append(all, deniedAttempts(f)...)
	all = append(all, foreignAttempts(f)...)
	all = append(all, textAttempts(f)...)
	all = append(all, listAttempts(f)...)
	all = append(all, graphAttempts(f)...)
	all = append(all, expressionAttempts()...)
	all = append(all, targetAttempts()...)
	return append(all, stateAttempts(f)...)
}

func creation(w *workflowv1.Workflow) *workflowv1.CreateWorkflowRequest {
	return &workflowv1.CreateWorkflowRequest{Workflow: w}
}

// deniedAttempts are rows 8 and 53.
func deniedAttempts(f *fixtures) []attempt {
	denied := func(reason, permission string) want { return want{codes.PermissionDenied, 403, reason, permission} }
	grown := &accessv1.Role{Id: f.role.GetId(), Permissions: []string{"access.manage", "workflow.delete"}}
	return []attempt{
		{8, "delete_as_viewer", viewer, &workflowv1.DeleteWorkflowRequest{Id: f.workflow.GetId()}, denied("PERMISSION_MISSING", "workflow.delete")},
		{8, "run_as_viewer", viewer, &workflowv1.RunWorkflowRequest{WorkflowId: f.workflow.GetId()}, denied("PERMISSION_MISSING", "workflow.run")},
		{8, "anything_as_agent", agent, &workflowv1.ListWorkflowsRequest{}, denied("PERMISSION_MISSING", "workflow.view")},
		{8, "denied_before_invalid", viewer, &workflowv1.DeleteWorkflowRequest{Id: "no id"}, denied("PERMISSION_MISSING", "workflow.delete")},
		{53, "new_role_with_more", f.keeper, &accessv1.CreateRoleRequest{Role: &accessv1.Role{Title: "More", Permissions: []string{"workflow.delete"}}},
			denied("PERMISSION_NOT_HELD", "workflow.delete")},
		{53, "own_role", f.keeper, &accessv1.UpdateRoleRequest{Role: grown, UpdateMask: &fieldmaskpb.FieldMask{Paths: []string{"permissions"}}},
			denied("PERMISSION_NOT_HELD", "workflow.delete")},
	}
}

// foreignAttempts are row 9: another tenant's things do not exist, and are missing in the same words as what nobody has.
func foreignAttempts(f *fixtures) []attempt {
	id := f.theirs.GetId()
	workflow, execution, backup := notFound("WORKFLOW_NOT_FOUND"), notFound("EXECUTION_NOT_FOUND"), notFound("BACKUP_NOT_FOUND")
	return []attempt{
		{9, "get", "", &workflowv1.GetWorkflowRequest{Id: id}, workflow},
		{9, "update", "", &workflowv1.UpdateWorkflowRequest{Workflow: &workflowv1.Workflow{Id: id, Title: "Taken"}, UpdateMask: &fieldmaskpb.FieldMask{Paths: []string{"title"}}}, workflow},
		{9, "delete", "", &workflowv1.DeleteWorkflowRequest{Id: id}, workflow},
		{9, "activate", "", &workflowv1.ActivateWorkflowRequest{Id: id}, workflow},
		{9, "deactivate", "", &workflowv1.DeactivateWorkflowRequest{Id: id}, workflow},
		{9, "duplicate", "", &workflowv1.DuplicateWorkflowRequest{Id: id}, workflow},
		{9, "run", "", &workflowv1.RunWorkflowRequest{WorkflowId: id}, workflow},
		{9, "revisions", "", &workflowv1.ListRevisionsRequest{WorkflowId: id}, workflow},
		{9, "revision", "", &workflowv1.GetRevisionRequest{WorkflowId: id, Revision: 1}, workflow},
		{9, "backups", "", &workflowv1.ListBackupsRequest{WorkflowId: id}, workflow},
		{9, "backup", "", &workflowv1.BackupWorkflowRequest{Id: id}, workflow},
		{9, "reset", "", &workflowv1.ResetWorkflowRequest{Id: id}, workflow},
		{9, "export", "", &workflowv1.ExportWorkflowRequest{Id: id}, workflow},
		{9, "delete_preview", "", &workflowv1.PreviewDeleteRequest{Id: id}, workflow},
		{9, "draft", "", &workflowv1.UpdateDraftRequest{Id: id, Workflow: manual("Taken")}, workflow},
		{9, "execution", "", &workflowv1.GetExecutionRequest{Id: f.theirRun}, execution},
		{9, "their_backup_in_ours", "", &workflowv1.RestoreBackupRequest{WorkflowId: f.workflow.GetId(), Id: f.theirBackup}, backup},
		{9, "nobodys", "", &workflowv1.GetWorkflowRequest{Id: nobodysID}, workflow},
		{46, "their_backup", "", &workflowv1.RestoreBackupRequest{WorkflowId: id, Id: f.theirBackup}, workflow},
	}
}

// textAttempts are rows 16 to 18.
func textAttempts(f *fixtures) []attempt {
	deep := structpb.NewNumberValue(1)
	for range 100 {
		deep = structpb.NewListValue(&structpb.ListValue{Values: []*structpb.Value{deep}})
	}
	return []attempt{
		{16, "control_character", "", creation(manual("a\u0007b")), invalid("title")},
		{16, "update", "", &workflowv1.UpdateWorkflowRequest{
			Workflow: &workflowv1.Workflow{Id: f.workflow.GetId(), Title: "a\u0085b"}, UpdateMask: &fieldmaskpb.FieldMask{Paths: []string{"title"}},
		}, invalid("title")},
		{17, "empty", "", creation(manual("")), invalid("title")},
		{17, "long", "", creation(manual(strings.Repeat("x", 10_000))), invalid("128")},
		{17, "direction_override", "", creation(manual("safe\u202egpj.exe")), invalid("title")},
		{17, "role_title", "", &accessv1.CreateRoleRequest{Role: &accessv1.Role{Title: "a\u2066b"}}, invalid("title")},
		{18, "deep_event", "", &workflowv1.PublishEventRequest{Event: &workflowv1.CloudEvent{Type: "call.ended", Source: "/x", Data: deep}},
			want{codes.InvalidArgument, 400, anyReason, "64"}},
		{18, "deep_input", "", &workflowv1.RunWorkflowRequest{WorkflowId: f.workflow.GetId(), Input: &structpb.Struct{Fields: map[string]*structpb.Value{"a": deep}}},
			want{codes.InvalidArgument, 400, anyReason, "64"}},
	}
}

// listAttempts are rows 21 and 22.
func listAttempts(f *fixtures) []attempt {
	return []attempt{
		{21, "negative", "", &workflowv1.ListWorkflowsRequest{PageSize: -1}, invalid("pageSize")},
		{21, "huge", "", &workflowv1.ListExecutionsRequest{PageSize: 1e9}, invalid("pageSize")},
		{21, "most", "", &workflowv1.ListDeadLettersRequest{PageSize: math.MaxInt32}, invalid("pageSize")},
		{21, "forged_token", "", &workflowv1.ListWorkflowsRequest{PageToken: "forged"}, want{codes.InvalidArgument, 400, "PAGE_TOKEN", "pageToken"}},
		{21, "other_tenants_token", "", &workflowv1.ListWorkflowsRequest{PageSize: 1, PageToken: f.theirPageToken}, want{codes.InvalidArgument, 400, "PAGE_TOKEN", "pageToken"}},
		{21, "other_orders_token", "", &workflowv1.ListWorkflowsRequest{PageSize: 1, PageToken: f.otherToken}, want{codes.InvalidArgument, 400, "PAGE_TOKEN", "pageToken"}},
		{21, "executions_token", "", &workflowv1.ListExecutionsRequest{PageToken: "AAAA"}, want{codes.InvalidArgument, 400, "PAGE_TOKEN", "pageToken"}},
		{21, "dead_letters_token", "", &workflowv1.ListDeadLettersRequest{PageToken: "AAAA"}, want{codes.InvalidArgument, 400, "PAGE_TOKEN", "pageToken"}},
		{21, "roles_token", "", &accessv1.ListRolesRequest{PageToken: "AAAA"}, want{codes.InvalidArgument, 400, "PAGE_TOKEN", "pageToken"}},
		{21, "long_token", "", &workflowv1.ListWorkflowsRequest{PageToken: strings.Repeat("a", 4096)}, invalid("pageToken")},
		{22, "filter", "", &workflowv1.ListWorkflowsRequest{Filter: "id;drop"}, want{codes.InvalidArgument, 400, "FILTER", ""}},
		{22, "filter_value", "", &workflowv1.ListWorkflowsRequest{Filter: `title = "x' OR '1'='1" OR tenant = "globex"`}, want{codes.InvalidArgument, 400, "FILTER", ""}},
		{22, "audit_filter", "", &workflowv1.ListAuditEntriesRequest{Filter: `tenant = "globex"`}, want{codes.InvalidArgument, 400, "FILTER", "tenant"}},
		{22, "order", "", &workflowv1.ListWorkflowsRequest{OrderBy: "id;drop"}, want{codes.InvalidArgument, 400, "ORDER_BY", ""}},
		{22, "order_function", "", &workflowv1.ListWorkflowsRequest{OrderBy: "pg_sleep(10)"}, want{codes.InvalidArgument, 400, "ORDER_BY", ""}},
	}
}

func stop(id string) *workflowv1.Step {
	return &workflowv1.Step{Id: id, Kind: &workflowv1.Step_Stop{Stop: &workflowv1.StopStep{}}}
}

func action(kind string, params map[string]any) *workflowv1.Step {
	values, err := structpb.NewStruct(params)
	if err != nil {
		panic(err) // of this file
	}
	return &workflowv1.Step{Id: "call", Kind: &workflowv1.Step_Action{Action: &workflowv1.ActionStep{Type: kind, Params: values}}}
}

// graphAttempts are rows 23, 24, 32 and 33.
func graphAttempts(f *fixtures) []attempt {
	var many []*workflowv1.Step
	for i := range 501 {
		many = append(many, stop(fmt.Sprintf("s%d", i)))
	}
	call := func(id string) *workflowv1.Step {
		return &workflowv1.Step{Id: "call", Kind: &workflowv1.Step_CallWorkflow{CallWorkflow: &workflowv1.CallWorkflowStep{WorkflowId: id, Wait: true}}}
	}
	cycle := &workflowv1.UpdateWorkflowRequest{
		Workflow:   &workflowv1.Workflow{Id: f.workflow.GetId(), Steps: []*workflowv1.Step{call(f.workflow.GetId())}},
		UpdateMask: &fieldmaskpb.FieldMask{Paths: []string{"steps"}},
	}
	later := &workflowv1.Step{Id: "first", Kind: &workflowv1.Step_Set{Set: &workflowv1.SetStep{Variables: map[string]string{"x": "steps.second.output"}}}}
	dated := func(from, to time.Time) *workflowv1.Workflow {
		w := manual(unique("Dated"))
		w.DateRange = &workflowv1.DateRange{StartTime: timestamppb.New(from), EndTime: timestamppb.New(to)}
		return w
	}
	now := time.Date(2031, 1, 1, 0, 0, 0, 0, time.UTC)
	return []attempt{
		{23, "cycle", "", cycle, invalid("WORKFLOW_CYCLE")},
		{23, "unknown_workflow", "", creation(manual("Calls", call(nobodysID))), invalid("UNKNOWN_WORKFLOW")},
		{23, "step_not_before", "", creation(manual("Later", later, stop("second"))), invalid("UNKNOWN_STEP")},
		{23, "same_id", "", creation(manual("Twice", stop("a"), stop("a"))), invalid("DUPLICATE_ID")},
		{23, "too_many", "", creation(manual("Many", many...)), invalid("500")},
		{23, "no_trigger", "", creation(&workflowv1.Workflow{Title: "None"}), invalid("trigger")},
		{24, "action_type", "", creation(manual("Type", action("http.requst", nil))), invalid("UNKNOWN_ACTION_TYPE")},
		{24, "event_type", "", creation(onEvent("call.endet", "true")), invalid("UNKNOWN_EVENT_TYPE")},
		{32, "planet", "", zone("Mars/X"), invalid("TIME_ZONE")},
		{32, "file", "", zone("../etc/passwd"), invalid("TIME_ZONE")},
		{32, "machine", "", zone("Local"), invalid("TIME_ZONE")},
		{33, "end_before_start", "", creation(dated(now, now.Add(-time.Hour))), invalid("dateRange")},
		{33, "no_length", "", creation(dated(now, now)), invalid("dateRange")},
		{33, "over_a_century", "", creation(dated(now, now.AddDate(101, 0, 0))), invalid("dateRange")},
	}
}

// zone sets the zone of the tenant's schedules.
func zone(name string) message {
	return &accessv1.UpdateTenantSettingsRequest{
		Settings: &accessv1.TenantSettings{TimeZone: name}, UpdateMask: &fieldmaskpb.FieldMask{Paths: []string{"time_zone"}},
	}
}

func onEvent(eventType, filter string) *workflowv1.Workflow {
	w := manual(unique("On event"))
	w.Trigger = &workflowv1.Trigger{Kind: &workflowv1.Trigger_Event{Event: &workflowv1.EventTrigger{
		EventType: eventType, Filter: &workflowv1.Predicate{Kind: &workflowv1.Predicate_Expression{Expression: filter}},
	}}}
	return w
}

// expressionAttempts are rows 28 to 30.
func expressionAttempts() []attempt {
	bad := func(name, filter, text string) attempt {
		return attempt{28, name, "", creation(onEvent("call.ended", filter)), invalid(text)}
	}
	costly := "1"
	for i := range 7 { // ten million rounds, whatever the event is
		costly = fmt.Sprintf("[1,2,3,4,5,6,7,8,9,10].map(v%d, %s)", i, costly)
	}
	costly += " == []"
	all := []attempt{
		bad("syntax", "event.data.x ==", "1:16"), bad("type", "1 + 1", "bool"), bad("operands", "event.type == 1", "1:"), bad("unknown", "evnt.x == 1", "1:1"),
		bad("function", "env('HOME') == ''", "1:"), bad("over_budget", costly, "cost"),
		bad("megabyte", "event.type == '"+strings.Repeat("x", 900_000)+"'", "trigger.event.filter"),
		bad("deep", strings.Repeat("(", 1000)+"true"+strings.Repeat(")", 1000), "trigger.event.filter"),
		bad("deep_calls", strings.Repeat("size([", 1000)+"1"+strings.Repeat("])", 1000)+" > 0", "trigger.event.filter"),
	}
	for i := range all {
		switch all[i].name {
		case "over_budget":
			all[i].row = 29
		case "megabyte", "deep", "deep_calls":
			all[i].row = 30
		}
	}
	return all
}

// targetAttempts are rows 35 and 37, as far as they show when a workflow is saved.
func targetAttempts() []attempt {
	get := func(url string, headers map[string]any) message {
		return creation(manual("Target", action("http.request", map[string]any{"method": "GET", "url": url, "headers": headers})))
	}
	var all []attempt
	for name, url := range map[string]string{
		"metadata_service": "http://169.254.169.254/latest", "mapped": "http://[::ffff:127.0.0.1]/", "decimal": "http://2130706433/", "hexadecimal": "http://0x7f.1/",
		"localhost_dot": "http://localhost./", "nat64": "http://[64:ff9b::7f00:1]/", "zone": "http://[fe80::1%25eth0]/", "private": "http://10.0.0.1/", "ipv6_private": "http://[fd00::1]/",
	} {
		all = append(all, attempt{35, name, "", get(url, nil), invalid("BLOCKED_DESTINATION")})
	}
	for name, url := range map[string]string{
		"file": "file:///etc/passwd", "gopher": "gopher://example.com/", "userinfo": "http://a:b@example.com/", "line_break": "http://example.com/\r\nHost: x",
	} {
		all = append(all, attempt{37, name, "", get(url, nil), invalid("params.url")})
	}
	for _, header := range []string{"Host", "Transfer-Encoding", "Content-Length", "X\r\nHost"} {
		all = append(all, attempt{37, "header_" + strings.ToLower(header[:1]) + fmt.Sprint(len(header)), "", get("https://example.com/", map[string]any{header: "x"}), invalid("params.headers")})
	}
	return append(all, attempt{37, "header_value", "", get("https://example.com/", map[string]any{"X-A": "a\r\nHost: b"}), invalid("params.headers")})
}

// stateAttempts are rows 25 to 27, 44 to 46 and 42 as far as an event comes in by a call.
func stateAttempts(f *fixtures) []attempt {
	stale := &workflowv1.UpdateWorkflowRequest{
		Workflow: &workflowv1.Workflow{Id: f.workflow.GetId(), Description: "mine", Etag: f.staleEtag}, UpdateMask: &fieldmaskpb.FieldMask{Paths: []string{"description"}},
	}
	used := creation(manual("Another title"))
	used.RequestId = f.key
	event := func(e *workflowv1.CloudEvent) message { return &workflowv1.PublishEventRequest{Event: e} }
	return []attempt{
		{25, "update", "", stale, want{codes.Aborted, 409, "ETAG_MISMATCH", ""}},
		{25, "delete", "", &workflowv1.DeleteWorkflowRequest{Id: f.workflow.GetId(), Etag: f.staleEtag}, want{codes.Aborted, 409, "ETAG_MISMATCH", ""}},
		{26, "title", "", creation(manual(f.workflow.GetTitle())), want{codes.AlreadyExists, 409, "WORKFLOW_EXISTS", f.workflow.GetId()}},
		{26, "role", "", &accessv1.CreateRoleRequest{Role: &accessv1.Role{Title: f.role.GetTitle()}}, want{codes.AlreadyExists, 409, "ROLE_EXISTS", f.role.GetId()}},
		{27, "other_body", "", used, want{codes.FailedPrecondition, 409, "REQUEST_ID_REUSED", ""}},
		{42, "long_id", "", event(&workflowv1.CloudEvent{Type: "call.ended", Source: "/x", Id: strings.Repeat("x", 10_000)}), invalid("id")},
		{42, "other_body", "", event(&workflowv1.CloudEvent{Type: "custom.security.other", Source: "/security", Id: f.key}), want{codes.AlreadyExists, 409, "EVENT_CONFLICT", ""}},
		{42, "type", "", event(&workflowv1.CloudEvent{Type: "call.endet", Source: "/x"}), invalid("UNKNOWN_EVENT_TYPE")},
		{44, "wrong_title", "", &workflowv1.DeleteWorkflowRequest{Id: f.workflow.GetId(), Confirm: "not its title"}, want{codes.FailedPrecondition, 400, "CONFIRM_MISMATCH", ""}},
		{44, "twice", "", &workflowv1.DeleteWorkflowRequest{Id: f.deleted.GetId()}, notFound("WORKFLOW_NOT_FOUND")},
		{45, "deleted", "", &workflowv1.RunWorkflowRequest{WorkflowId: f.deleted.GetId()}, notFound("WORKFLOW_NOT_FOUND")},
		{45, "inactive", "", &workflowv1.RunWorkflowRequest{WorkflowId: f.inactive.GetId()}, want{codes.FailedPrecondition, 409, "WORKFLOW_STATE", ""}},
		{46, "truncated", "", &workflowv1.ImportWorkflowRequest{Source: &workflowv1.ImportWorkflowRequest_Content{Content: "title: x\nsteps:\n  - {id: a, sto"}},
			want{codes.InvalidArgument, 400, "DOCUMENT", "4:1"}},
		{46, "newer_schema", "", &workflowv1.ImportWorkflowRequest{Source: &workflowv1.ImportWorkflowRequest_Content{Content: "title: x\ntrigger: {manual: {}}\ncolour: red\n"}},
			want{codes.InvalidArgument, 400, "DOCUMENT", "colour"}},
		{46, "no_backup", "", &workflowv1.ResetWorkflowRequest{Id: f.workflow.GetId()}, want{codes.FailedPrecondition, 400, "NO_BACKUP", ""}},
	}
}
