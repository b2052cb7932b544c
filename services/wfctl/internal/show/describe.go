package show

import (
	"fmt"
	"strings"

	workflowv1 "workflow.uniconnect/proto/gen/go/uniconnect/workflow/v1"
)

// Workflow describes a workflow in full, for people.
func (p *Printer) Workflow(w *workflowv1.Workflow, runs []*workflowv1.Execution) error {
	var b strings.Builder
	field := func(name, value string) {
		if value != "" {
			fmt.Fprintf(&b, "%-13s %s\n", name+":", value)
		}
	}
	field("Title", Text(w.GetTitle()))
	field("Id", w.GetId())
	field("State", w.GetState().String())
	field("Description", strings.ReplaceAll(multiline(w.GetDescription()), "\n", "\n"+strings.Repeat(" ", 14)))
	field("Trigger", Text(Trigger(w.GetTrigger())))
	field("Filter", filter(w.GetTrigger().GetEvent().GetFilter()))
	if r := w.GetDateRange(); r != nil {
		field("Date range", strings.TrimSpace(open("from ", Time(r.GetStartTime()))+" "+open("until ", Time(r.GetEndTime()))))
	}
	field("Revision", fmt.Sprintf("%d, saved by %s %s ago", w.GetRevision(), Text(w.GetUpdateUser()), p.Age(w.GetUpdateTime().AsTime())))
	field("Created", fmt.Sprintf("%s by %s", Time(w.GetCreateTime()), Text(w.GetCreateUser())))
	if backup := w.GetLastBackup(); backup != nil {
		name := ""
		if backup.GetName() != "" {
			name = fmt.Sprintf("%q, ", Text(backup.GetName()))
		}
		field("Last backup", fmt.Sprintf("%srevision %d, %s ago", name, backup.GetRevision(), p.Age(backup.GetCreateTime().AsTime())))
	}
	if d := w.GetDraft(); d != nil {
		text := fmt.Sprintf("based on revision %d, saved by %s %s ago", d.GetBaseRevision(), Text(d.GetUpdateUser()), p.Age(d.GetUpdateTime().AsTime()))
		if d.GetStale() {
			text += "; stale, another revision is live by now"
		}
		field("Draft", text)
	}
	for _, warning := range w.GetWarnings() {
		field("Warning", strings.TrimPrefix(warning.GetField()+": "+warning.GetDescription(), ": "))
	}
	b.WriteString("Steps:\n")
	if len(w.GetSteps()) == 0 {
		b.WriteString("  none: the workflow starts nothing\n")
	}
	steps(&b, w.GetSteps(), "  ")
	if len(runs) > 0 {
		b.WriteString("Last executions:\n")
	}
	for _, e := range runs {
		fmt.Fprintf(&b, "  %s  %-9s %s ago, %s  %s\n", e.GetId(), e.GetState(), p.Age(e.GetCreateTime().AsTime()), Text(Cause(e.GetCause())), Text(e.GetError().GetMessage()))
	}
	return p.Line("%s", strings.TrimSuffix(trimLines(b.String()), "\n"))
}

func open(word, value string) string {
	if value == "" {
		return ""
	}
	return word + value
}

func filter(f *workflowv1.Predicate) string {
	switch {
	case f.GetExpression() != "":
		return Text(f.GetExpression())
	case f.GetRules() != nil:
		return "rules (wfctl export shows them)"
	}
	return ""
}

// multiline keeps the lines of a text.
func multiline(s string) string {
	lines := strings.Split(strings.TrimSuffix(s, "\n"), "\n")
	for i := range lines {
		lines[i] = Text(lines[i])
	}
	return strings.Join(lines, "\n")
}

func trimLines(s string) string {
	lines := strings.Split(s, "\n")
	for i := range lines {
		lines[i] = strings.TrimRight(lines[i], " ")
	}
	return strings.Join(lines, "\n")
}

// steps writes steps as a tree.
func steps(b *strings.Builder, all []*workflowv1.Step, indent string) {
	for _, s := range all {
		fmt.Fprintf(b, "%s%s  %s", indent, s.GetId(), kind(s))
		if s.GetTitle() != "" {
			fmt.Fprintf(b, "  (%s)", Text(s.GetTitle()))
		}
		b.WriteByte('\n')
		inside := func(title string, list []*workflowv1.Step) {
			if len(list) > 0 {
				fmt.Fprintf(b, "%s  %s\n", indent, Text(title))
				steps(b, list, indent+"    ")
			}
		}
		for i, branch := range s.GetCondition().GetBranches() {
			inside(branchTitle("when", i, branch.GetTitle()), branch.GetSteps())
		}
		inside("otherwise:", s.GetCondition().GetOtherwise())
		inside("for each item:", s.GetBulk().GetSteps())
		for i, branch := range s.GetParallel().GetBranches() {
			inside(branchTitle("branch", i, branch.GetTitle()), branch.GetSteps())
		}
		inside("after the timeout:", s.GetWaitForEvent().GetOnTimeout())
		inside("on error:", s.GetOnError().GetSteps())
	}
}

func branchTitle(word string, i int, title string) string {
	if title == "" {
		title = fmt.Sprint(i + 1)
	}
	return word + " " + title + ":"
}

func kind(s *workflowv1.Step) string {
	switch k := s.GetKind().(type) {
	case *workflowv1.Step_Action:
		return k.Action.GetType()
	case *workflowv1.Step_Condition:
		return "condition"
	case *workflowv1.Step_Delay:
		if k.Delay.GetUntil() != "" {
			return "delay until " + Text(k.Delay.GetUntil())
		}
		return "delay " + Short(k.Delay.GetDuration().AsDuration())
	case *workflowv1.Step_Bulk:
		return "bulk"
	case *workflowv1.Step_Parallel:
		return "parallel"
	case *workflowv1.Step_CallWorkflow:
		return "call workflow " + k.CallWorkflow.GetWorkflowId()
	case *workflowv1.Step_WaitForEvent:
		return "wait for " + k.WaitForEvent.GetEventType()
	case *workflowv1.Step_Set:
		return "set"
	case *workflowv1.Step_Stop:
		return "stop"
	}
	return ""
}
