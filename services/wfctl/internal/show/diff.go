package show

import (
	"bytes"
	"encoding/json"
	"strings"

	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/types/known/structpb"

	workflowv1 "workflow.uniconnect/proto/gen/go/uniconnect/workflow/v1"
)

// Diff writes what differs, one change on a line; texts of several lines are compared line by line.
func (p *Printer) Diff(d *workflowv1.Diff) error {
	for _, c := range d.GetChanges() {
		for _, line := range changeLines(c) {
			if err := p.Line("%s", line); err != nil {
				return err
			}
		}
	}
	return nil
}

func changeLines(c *workflowv1.Change) []string {
	step := Text(c.GetStepId())
	if c.GetStepTitle() != "" {
		step += " (" + Text(c.GetStepTitle()) + ")"
	}
	switch c.GetKind() {
	case workflowv1.Change_STEP_ADDED:
		return []string{"+ step " + step + " at " + c.GetToPath()}
	case workflowv1.Change_STEP_REMOVED:
		return []string{"- step " + step + " at " + c.GetFromPath()}
	case workflowv1.Change_STEP_MOVED:
		return []string{"  step " + step + " moved from " + c.GetFromPath() + " to " + c.GetToPath()}
	}
	name := c.GetField()
	if c.GetStepId() != "" {
		name = "step " + step + ": " + name
	}
	lines := []string{"~ " + name}
	for _, side := range []struct {
		mark  string
		value *structpb.Value
	}{{"-", c.GetBefore()}, {"+", c.GetAfter()}} {
		if side.value == nil {
			continue
		}
		for line := range strings.SplitSeq(valueText(side.value), "\n") {
			lines = append(lines, "    "+side.mark+" "+Text(line))
		}
	}
	return lines
}

// valueText writes a value: a text of several lines as it is, anything else as JSON on one line.
func valueText(v *structpb.Value) string {
	if s, ok := v.GetKind().(*structpb.Value_StringValue); ok && strings.Contains(s.StringValue, "\n") {
		return strings.TrimSuffix(s.StringValue, "\n")
	}
	text, err := protojson.Marshal(v)
	if err != nil {
		return "(a value that cannot be shown)"
	}
	return string(unspaced(text))
}

// unspaced writes JSON with one spelling: protojson's differs from program to program.
func unspaced(text []byte) []byte {
	var out bytes.Buffer
	if json.Compact(&out, text) != nil {
		return text
	}
	return out.Bytes()
}
