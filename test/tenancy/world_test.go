package tenancy

import (
	"context"
	"crypto/rand"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/google/uuid"
	"google.golang.org/grpc/codes"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"

	accessv1 "workflow.uniconnect/proto/gen/go/uniconnect/access/v1"
	workflowv1 "workflow.uniconnect/proto/gen/go/uniconnect/workflow/v1"
	"workflow.uniconnect/test/stack"
)

// marker is in everything that the victim has a name for. No answer to the attacker may hold it.
const marker = "globexsecret"

// world is what the victim has, one of each kind that has an id, and what the victim's own calls were given.
type world struct {
	workflow, backup, execution, role string
	title, etag                       string
	// tokens are the victim's page and resume tokens, by method.
	tokens map[protoreflect.Name]string
}

// ids are those that only the victim can know.
func (w *world) ids() []string { return []string{w.workflow, w.backup, w.execution, w.role} }

// unknown is the world with ids that nobody has.
func (w *world) unknown() *world {
	other := *w
	other.workflow, other.backup, other.execution, other.role = uuid.NewString(), uuid.NewString(), uuid.NewString(), uuid.NewString()
	return &other
}

// must makes a call of the victim that has to succeed.
func must[R proto.Message](t *testing.T, s *system, request proto.Message) R {
	t.Helper()
	a := s.call(t, "grpc", victim, methodOf(t, request), request)
	response, ok := a.response.(R)
	if a.code != codes.OK || !ok {
		t.Fatalf("%T by %s: %s", request, victim, a)
	}
	return response
}

// methodOf finds the RPC of a request: no two have the same.
func methodOf(t *testing.T, request proto.Message) protoreflect.MethodDescriptor {
	t.Helper()
	for _, m := range publicMethods(t) {
		if m.Input().FullName() == request.ProtoReflect().Descriptor().FullName() {
			return m
		}
	}
	t.Fatalf("no public RPC takes %T", request)
	return nil
}

func secret(kind string) string { return marker + " " + kind + " " + rand.Text()[:8] }

// newWorld makes what the victim has. There is more than one of each, so that every list has a second page.
func newWorld(t *testing.T, s *system) *world {
	t.Helper()
	w := &world{tokens: make(map[protoreflect.Name]string)}
	for range 2 {
		w.add(t, s)
	}
	for _, user := range []string{"first@globex.test", "second@globex.test"} {
		must[*accessv1.UpdateUserResponse](t, s, &accessv1.UpdateUserRequest{User: &accessv1.User{User: user, RoleIds: []string{w.role}}})
	}
	w.addLetters(t, s)
	for _, m := range publicMethods(t) {
		w.addToken(t, s, m)
	}
	return w
}

// add makes a workflow with two revisions, two backups, a draft and two executions, and a role.
func (w *world) add(t *testing.T, s *system) {
	t.Helper()
	created := must[*workflowv1.CreateWorkflowResponse](t, s, &workflowv1.CreateWorkflowRequest{Workflow: manual(secret("workflow"))}).GetWorkflow()
	w.workflow = created.GetId()
	must[*workflowv1.ActivateWorkflowResponse](t, s, &workflowv1.ActivateWorkflowRequest{Id: w.workflow})
	document := manual(secret("workflow"))
	document.Id, document.Description = w.workflow, secret("description")
	must[*workflowv1.UpdateWorkflowResponse](t, s, &workflowv1.UpdateWorkflowRequest{Workflow: document})
	for range 2 {
		w.backup = must[*workflowv1.BackupWorkflowResponse](t, s, &workflowv1.BackupWorkflowRequest{Id: w.workflow, Name: secret("backup")}).GetBackup().GetId()
		w.execution = must[*workflowv1.RunWorkflowResponse](t, s, &workflowv1.RunWorkflowRequest{WorkflowId: w.workflow}).GetExecution().GetId()
	}
	stack.Eventually(t, soon, func(context.Context) error {
		for _, e := range must[*workflowv1.ListExecutionsResponse](t, s, &workflowv1.ListExecutionsRequest{}).GetExecutions() {
			if e.GetEndTime() == nil {
				return fmt.Errorf("execution %s is %s", e.GetId(), e.GetState())
			}
		}
		return nil
	})
	must[*workflowv1.UpdateDraftResponse](t, s, &workflowv1.UpdateDraftRequest{Id: w.workflow, Workflow: manual(secret("draft"))})
	live := must[*workflowv1.GetWorkflowResponse](t, s, &workflowv1.GetWorkflowRequest{Id: w.workflow}).GetWorkflow()
	w.title, w.etag = live.GetTitle(), live.GetEtag()
	w.role = must[*accessv1.CreateRoleResponse](t, s, &accessv1.CreateRoleRequest{Role: &accessv1.Role{
		Title: secret("role"), Permissions: []string{"workflow.view"},
	}}).GetRole().GetId()
}

// addLetters publishes what is no event, under the victim's name.
func (w *world) addLetters(t *testing.T, s *system) {
	t.Helper()
	js := s.JetStream(t)
	for range 2 {
		if _, err := js.Publish(t.Context(), "uniconnect.events."+victimTenant+".call.ended", []byte(`{"`+secret("letter"))); err != nil {
			t.Fatal(err)
		}
	}
	stack.Eventually(t, soon, func(context.Context) error {
		if n := len(must[*workflowv1.ListDeadLettersResponse](t, s, &workflowv1.ListDeadLettersRequest{}).GetDeadLetters()); n < 2 {
			return fmt.Errorf("%d dead letters", n)
		}
		return nil
	})
}

// addToken asks as the victim for what leads to the next page, or on with a watch.
func (w *world) addToken(t *testing.T, s *system, m protoreflect.MethodDescriptor) {
	t.Helper()
	in, out := m.Input().Fields(), m.Output().Fields()
	field := out.ByName("next_page_token")
	if field == nil {
		field = out.ByName("resume_token")
	}
	if field == nil {
		return
	}
	request := cleared(w.request(t, m), "page_token", "resume_token", "filter", "prefix").ProtoReflect()
	if fd := in.ByName("page_size"); fd != nil {
		request.Set(fd, protoreflect.ValueOfInt32(1))
	}
	a := s.call(t, "grpc", victim, m, request.Interface())
	if a.code != codes.OK {
		t.Fatalf("%s by the victim: %s", m.Name(), a)
	}
	if w.tokens[m.Name()] = a.response.ProtoReflect().Get(field).String(); w.tokens[m.Name()] == "" {
		t.Fatalf("%s has no second page for the victim: %s", m.Name(), a)
	}
}

// cleared empties fields of a message, as far as it has them.
func cleared(m proto.Message, fields ...protoreflect.Name) proto.Message {
	for _, name := range fields {
		if fd := m.ProtoReflect().Descriptor().Fields().ByName(name); fd != nil {
			m.ProtoReflect().Clear(fd)
		}
	}
	return m
}

// manual is a workflow that people start and that does nothing.
func manual(title string) *workflowv1.Workflow {
	return &workflowv1.Workflow{
		Title: title, Trigger: &workflowv1.Trigger{Kind: &workflowv1.Trigger_Manual{Manual: &workflowv1.ManualTrigger{}}},
		Steps: []*workflowv1.Step{{Id: "end", Kind: &workflowv1.Step_Stop{Stop: &workflowv1.StopStep{}}}},
	}
}

// calling is a workflow that calls another.
func calling(title, callee string) *workflowv1.Workflow {
	w := manual(title)
	w.Steps = []*workflowv1.Step{{Id: "call", Kind: &workflowv1.Step_CallWorkflow{CallWorkflow: &workflowv1.CallWorkflowStep{WorkflowId: callee}}}}
	return w
}

// holds returns what of the victim's an answer holds beside what the request said itself.
func (w *world) holds(request proto.Message, a answer) string {
	text := a.text
	for _, said := range texts(request.ProtoReflect()) {
		text = strings.ReplaceAll(text, said, "")
	}
	for _, id := range append(w.ids(), marker, victimTenant) {
		if strings.Contains(text, id) {
			return id
		}
	}
	return ""
}

// texts are the texts in a message, the longest first.
func texts(m protoreflect.Message) []string {
	var all []string
	var visit func(protoreflect.Message)
	add := func(fd protoreflect.FieldDescriptor, v protoreflect.Value) {
		switch {
		case fd.Kind() == protoreflect.StringKind && v.String() != "":
			all = append(all, v.String())
		case fd.Message() != nil:
			visit(v.Message())
		}
	}
	visit = func(m protoreflect.Message) {
		m.Range(func(fd protoreflect.FieldDescriptor, v protoreflect.Value) bool {
			switch {
			case fd.IsList():
				for i := range v.List().Len() {
					add(fd, v.List().Get(i))
				}
			case fd.IsMap():
				v.Map().Range(func(_ protoreflect.MapKey, v protoreflect.Value) bool {
					add(fd.MapValue(), v)
					return true
				})
			default:
				add(fd, v)
			}
			return true
		})
	}
	visit(m)
	slices.SortFunc(all, func(a, b string) int { return len(b) - len(a) })
	return all
}
