// Package exchange writes workflows as documents that people keep outside, in git for example, and reads them back. A document holds what
// people decide (title, description, state, trigger, date range, steps, settings) and nothing that the server makes, so the same
// configuration is the same text wherever and whenever it is written.
package exchange

import (
	"errors"

	"google.golang.org/protobuf/reflect/protoreflect"

	"workflow.uniconnect/pkg/fault"
	"workflow.uniconnect/pkg/protodoc"
	workflowv1 "workflow.uniconnect/proto/gen/go/uniconnect/workflow/v1"
)

// The limits of a document.
const (
	MaxBytes = 1 << 20
	MaxDepth = 64
)

// ReasonDocument is the reason of a text that is no document of a workflow.
const ReasonDocument fault.Reason = "DOCUMENT"

// Encode writes a workflow. A state that no document can ask for is left out.
func Encode(w *workflowv1.Workflow, format protodoc.Format) ([]byte, error) {
	return protodoc.Marshal(contentOf(w), format)
}

// Decode reads a document. The error is a fault with a violation for each mistake, whose description begins with line and column.
func Decode(text []byte) (*workflowv1.Workflow, error) {
	w := &workflowv1.Workflow{}
	err := protodoc.Unmarshal(text, w, protodoc.Limits{Bytes: MaxBytes, Depth: MaxDepth, Refuse: refused()})
	var wrong *protodoc.Error
	if errors.As(err, &wrong) {
		violations := make([]fault.Violation, len(wrong.Problems))
		for i, p := range wrong.Problems {
			violations[i] = fault.Violation{Field: p.Field, Description: p.At() + ": " + p.Description, Reason: ReasonDocument}
		}
		f := fault.Invalid(violations...)
		f.Reason = ReasonDocument
		return nil, f
	}
	return w, err
}

// contentOf returns the part of a workflow that a document holds.
func contentOf(w *workflowv1.Workflow) *workflowv1.Workflow {
	out := &workflowv1.Workflow{
		Title: w.GetTitle(), Description: w.GetDescription(), Trigger: w.GetTrigger(), DateRange: w.GetDateRange(),
		Steps: w.GetSteps(), Settings: w.GetSettings(),
	}
	if s := w.GetState(); s == workflowv1.Workflow_ACTIVE || s == workflowv1.Workflow_INACTIVE {
		out.State = s
	}
	return out
}

// refused are the fields of a workflow that no document has.
func refused() map[protoreflect.FullName]string {
	all := (*workflowv1.Workflow)(nil).ProtoReflect().Descriptor().Fields()
	out := make(map[protoreflect.FullName]string)
	for i := range all.Len() {
		f := all.Get(i)
		switch f.Name() {
		case "title", "description", "state", "trigger", "date_range", "steps", "settings":
		default:
			out[f.FullName()] = "is made by the server and belongs in no document: leave it out"
		}
	}
	return out
}
