package tenancy

import (
	"crypto/rand"
	"fmt"
	"testing"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/known/fieldmaskpb"
	"google.golang.org/protobuf/types/known/structpb"

	accessv1 "workflow.uniconnect/proto/gen/go/uniconnect/access/v1"
	workflowv1 "workflow.uniconnect/proto/gen/go/uniconnect/workflow/v1"
)

// request fills the request of a method with what is the victim's. Every field that could name something must be known here: one that is
// not fails the test, so that no RPC with an id goes untried.
func (w *world) request(t *testing.T, m protoreflect.MethodDescriptor) proto.Message {
	t.Helper()
	request := newMessage(t, m.Input())
	fields := m.Input().Fields()
	for i := range fields.Len() {
		field := fields.Get(i)
		value, known := w.field(m.Name(), field)
		if !known {
			t.Fatalf("%s: say here what of another tenant's belongs into %s, or that nothing does", m.Name(), field.FullName())
		}
		if value.IsValid() {
			request.ProtoReflect().Set(field, value)
		}
	}
	return request
}

// field returns what a field of a request is set to; an invalid value leaves it out.
func (w *world) field(method protoreflect.Name, field protoreflect.FieldDescriptor) (value protoreflect.Value, known bool) {
	var nothing protoreflect.Value
	switch field.Kind() {
	case protoreflect.BoolKind, protoreflect.EnumKind:
		return nothing, true // no ids
	case protoreflect.Int32Kind:
		if field.Name() == "revision" {
			return protoreflect.ValueOfInt32(1), true
		}
		return nothing, field.Name() == "page_size"
	case protoreflect.StringKind:
		text, known := w.text(method, field.Name())
		if text == "" {
			return nothing, known
		}
		return protoreflect.ValueOfString(text), known
	case protoreflect.MessageKind:
		message, known := w.message(method, field.Name())
		if message == nil {
			return nothing, known
		}
		return protoreflect.ValueOfMessage(message.ProtoReflect()), known
	default:
		return nothing, false
	}
}

// text returns what a text is set to.
func (w *world) text(method, field protoreflect.Name) (text string, known bool) {
	switch field {
	case "id":
		return w.id(method)
	case "workflow_id":
		return w.workflow, true
	case "page_token", "resume_token":
		return w.tokens[method], true
	case "etag":
		// A role's is not that of the workflow: there the id alone decides.
		if method == "DeleteRole" {
			return "", true
		}
		return w.etag, true
	case "confirm":
		return w.title, true
	case "request_id":
		return rand.Text(), true
	case "title", "name":
		return "attempt " + rand.Text()[:8], true
	case "from":
		return "1", true
	case "to":
		return "2", true
	case "filter":
		if method == "ListAuditEntries" {
			// The attacker's own entries tell which ids were tried.
			return fmt.Sprintf("actor = %q", victim), true
		}
		return "title:" + marker, method == "ListWorkflows"
	case "order_by":
		return "", true
	case "prefix":
		return "first@", method == "ListUsers"
	case "content":
		return "", method == "ImportWorkflow" // its alternative is set
	}
	return "", false
}

// id returns what the field id of a request names.
func (w *world) id(method protoreflect.Name) (id string, known bool) {
	switch method {
	case "GetWorkflow", "DeleteWorkflow", "ActivateWorkflow", "DeactivateWorkflow", "DuplicateWorkflow", "PreviewDelete", "DiffWorkflow",
		"GetDraft", "UpdateDraft", "DeleteDraft", "PublishWorkflow", "BackupWorkflow", "ResetWorkflow", "ExportWorkflow", "ImportWorkflow":
		return w.workflow, true
	case "DeleteBackup", "RestoreBackup":
		return w.backup, true
	case "GetExecution":
		return w.execution, true
	case "GetRole", "DeleteRole":
		return w.role, true
	case "GetTemplate":
		return "", true // templates are part of the product
	}
	return "", false
}

// message returns what a message in a request is set to.
func (w *world) message(method, field protoreflect.Name) (message proto.Message, known bool) {
	switch field {
	case "workflow":
		switch method {
		case "CreateWorkflow", "ValidateWorkflow":
			return calling("attempt "+rand.Text()[:8], w.workflow), true
		case "UpdateWorkflow":
			document := manual("attempt " + rand.Text()[:8])
			document.Id, document.Etag = w.workflow, w.etag
			return document, true
		case "UpdateDraft", "ImportWorkflow":
			return manual("attempt " + rand.Text()[:8]), true
		}
	case "role":
		if method == "CreateRole" {
			return &accessv1.Role{Title: "attempt " + rand.Text()[:8], Permissions: []string{"workflow.view"}}, true
		}
		return &accessv1.Role{Id: w.role, Title: "attempt " + rand.Text()[:8], Permissions: []string{"workflow.view"}}, true
	case "user":
		return &accessv1.User{User: "friend@acme.test", RoleIds: []string{w.role}}, true
	case "module":
		enabled := true
		return &accessv1.Module{Module: "workflow", Enabled: &enabled}, true
	case "settings":
		return &accessv1.TenantSettings{FailureWorkflowId: w.workflow}, true
	case "event":
		return &workflowv1.CloudEvent{
			Type: "call.segment_ended", Source: "/tenancy",
			Data: structpb.NewStructValue(&structpb.Struct{Fields: map[string]*structpb.Value{"tenant": structpb.NewStringValue(victimTenant)}}),
		}, true
	case "update_mask":
		switch method {
		case "UpdateTenantSettings":
			return &fieldmaskpb.FieldMask{Paths: []string{"failure_workflow_id"}}, true
		case "UpdateRole":
			return &fieldmaskpb.FieldMask{Paths: []string{"title"}}, true
		case "UpdateWorkflow":
			return nil, true
		}
	case "input":
		return nil, true
	}
	return nil, false
}
