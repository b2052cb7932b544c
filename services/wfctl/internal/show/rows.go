package show

import (
	"fmt"
	"strconv"
	"strings"
	"time"

	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/types/known/timestamppb"

	workflowv1 "workflow.uniconnect/proto/gen/go/uniconnect/workflow/v1"
)

const maxCell = 60

// Workflows is the table of workflows.
func (p *Printer) Workflows(all []*workflowv1.Workflow) *Columns {
	c := &Columns{
		Names: []string{"TITLE", "STATE", "TRIGGER", "REVISION", "BACKUP", "AGE", "!UPDATED BY", "!DRAFT", "!ID"},
		Empty: "No workflows.",
	}
	for _, w := range all {
		c.Add(Cut(w.GetTitle(), maxCell), w.GetState().String(), Trigger(w.GetTrigger()), strconv.Itoa(int(w.GetRevision())),
			p.backupAge(w), p.Age(w.GetCreateTime().AsTime()), w.GetUpdateUser(), draft(w.GetDraft()), w.GetId())
	}
	return c
}

func (p *Printer) backupAge(w *workflowv1.Workflow) string {
	if w.GetLastBackup() == nil {
		return ""
	}
	return p.Age(w.GetLastBackup().GetCreateTime().AsTime())
}

func draft(d *workflowv1.DraftInfo) string {
	switch {
	case d == nil:
		return ""
	case d.GetStale():
		return "stale"
	}
	return "yes"
}

// Trigger tells in short what starts a workflow.
func Trigger(t *workflowv1.Trigger) string {
	switch k := t.GetKind().(type) {
	case *workflowv1.Trigger_Event:
		return "event " + k.Event.GetEventType()
	case *workflowv1.Trigger_Schedule:
		return "schedule " + schedule(k.Schedule)
	case *workflowv1.Trigger_Manual:
		return "manual"
	}
	return ""
}

func schedule(s *workflowv1.ScheduleTrigger) string {
	text := ""
	switch k := s.GetSpec().(type) {
	case *workflowv1.ScheduleTrigger_Cron:
		text = k.Cron
	case *workflowv1.ScheduleTrigger_Interval:
		text = "every " + k.Interval.GetEvery().AsDuration().String()
	case *workflowv1.ScheduleTrigger_Calendar:
		text = "at " + strings.Join(k.Calendar.GetTimes(), ", ")
	case *workflowv1.ScheduleTrigger_At:
		text = "at " + Time(k.At)
	}
	if s.GetTimeZone() != "" {
		text += " " + s.GetTimeZone()
	}
	return text
}

// Time writes a time for people, in UTC.
func Time(t *timestamppb.Timestamp) string {
	if t == nil {
		return ""
	}
	return t.AsTime().Format("2006-01-02 15:04:05Z")
}

// Revisions is the table of revisions.
func (p *Printer) Revisions(all []*workflowv1.Revision) *Columns {
	c := &Columns{Names: []string{"REVISION", "LIVE", "ORIGIN", "TITLE", "AUTHOR", "AGE", "!CREATED"}}
	for _, r := range all {
		live, origin := "", r.GetOrigin().String()
		if r.GetLive() {
			live = "live"
		}
		if r.GetSourceRevision() > 0 {
			origin += " from " + strconv.Itoa(int(r.GetSourceRevision()))
		}
		c.Add(strconv.Itoa(int(r.GetRevision())), live, origin, Cut(r.GetTitle(), maxCell), r.GetCreateUser(), p.Age(r.GetCreateTime().AsTime()), Time(r.GetCreateTime()))
	}
	return c
}

// Backups is the table of backups.
func (p *Printer) Backups(all []*workflowv1.Backup) *Columns {
	c := &Columns{Names: []string{"NAME", "REVISION", "AUTHOR", "AGE", "ID", "!CREATED"}, Empty: "No backups."}
	for _, b := range all {
		c.Add(Cut(b.GetName(), maxCell), strconv.Itoa(int(b.GetRevision())), b.GetCreateUser(), p.Age(b.GetCreateTime().AsTime()), b.GetId(), Time(b.GetCreateTime()))
	}
	return c
}

// Templates is the table of templates.
func (p *Printer) Templates(all []*workflowv1.Template) *Columns {
	c := &Columns{Names: []string{"ID", "CATEGORY", "TITLE", "TRIGGER", "!DESCRIPTION"}, Empty: "No templates."}
	for _, t := range all {
		c.Add(t.GetId(), t.GetCategory(), t.GetTitle(), Trigger(t.GetWorkflow().GetTrigger()), t.GetDescription())
	}
	return c
}

// Executions is the table of runs. titles are those of their workflows, as far as they are known.
func (p *Printer) Executions(all []*workflowv1.Execution, titles map[string]string) *Columns {
	c := &Columns{Names: []string{"ID", "WORKFLOW", "STATE", "CAUSE", "TOOK", "AGE", "ERROR", "!REVISION", "!WORKFLOW ID"}, Empty: "No executions."}
	for _, e := range all {
		c.Add(e.GetId(), Cut(titles[e.GetWorkflowId()], maxCell), e.GetState().String(), Cause(e.GetCause()), p.took(e),
			p.Age(e.GetCreateTime().AsTime()), Cut(e.GetError().GetMessage(), maxCell), strconv.Itoa(int(e.GetWorkflowRevision())), e.GetWorkflowId())
	}
	return c
}

func (p *Printer) took(e *workflowv1.Execution) string {
	switch {
	case e.GetStartTime() == nil:
		return ""
	case e.GetEndTime() == nil:
		return Short(max(0, p.Now.Sub(e.GetStartTime().AsTime()))) + "…"
	}
	return Short(e.GetEndTime().AsTime().Sub(e.GetStartTime().AsTime()))
}

// Cause tells in short what started a run.
func Cause(c *workflowv1.Cause) string {
	switch k := c.GetKind().(type) {
	case *workflowv1.Cause_Event:
		return "event " + k.Event.GetType()
	case *workflowv1.Cause_Schedule:
		return "schedule " + Time(k.Schedule.GetNominalTime())
	case *workflowv1.Cause_Manual:
		return "manual " + k.Manual.GetUser()
	case *workflowv1.Cause_Parent:
		return "execution " + k.Parent.GetExecutionId()
	}
	return ""
}

// Audit is the table of audit entries.
func (p *Printer) Audit(all []*workflowv1.AuditEntry) *Columns {
	c := &Columns{Names: []string{"TIME", "ACTOR", "ACTION", "OUTCOME", "REASON", "WORKFLOW ID", "!ORIGIN", "!USER AGENT", "!REQUEST ID"}, Empty: "No audit entries."}
	for _, e := range all {
		c.Add(Time(e.GetCreateTime()), e.GetActor(), e.GetAction(), e.GetOutcome(), e.GetReason(), e.GetWorkflowId(), e.GetOrigin(), e.GetUserAgent(), e.GetRequestId())
	}
	return c
}

// EventTypes is the table of event types.
func (p *Printer) EventTypes(all []*workflowv1.EventType) *Columns {
	c := &Columns{Names: []string{"TYPE", "MODULE", "TITLE", "DESCRIPTION"}, Empty: "No event types."}
	for _, t := range all {
		c.Add(t.GetType(), t.GetModule(), t.GetTitle(), Cut(t.GetDescription(), 2*maxCell))
	}
	return c
}

// ActionTypes is the table of action types.
func (p *Printer) ActionTypes(all []*workflowv1.ActionType) *Columns {
	c := &Columns{Names: []string{"TYPE", "TITLE", "DESCRIPTION", "!IDEMPOTENCY"}, Empty: "No action types."}
	for _, t := range all {
		c.Add(t.GetType(), t.GetTitle(), Cut(t.GetDescription(), 2*maxCell), t.GetIdempotency())
	}
	return c
}

// Step tells of a step of a run that has ended, or stands still, in one line.
func Step(s *workflowv1.StepResult) string {
	at := s.GetEndTime()
	if at == nil {
		at = s.GetStartTime()
	}
	path := s.GetPath()
	if path == "" {
		path = s.GetStepId()
	}
	line := fmt.Sprintf("%s  %-24s %s", at.AsTime().Format("15:04:05.000"), Text(path), s.GetState())
	if s.GetEndTime() != nil && s.GetStartTime() != nil {
		line += "  " + Short(s.GetEndTime().AsTime().Sub(s.GetStartTime().AsTime()))
	}
	if s.GetAttempts() > 1 {
		line += fmt.Sprintf("  %d attempts", s.GetAttempts())
	}
	if s.GetWakeTime() != nil {
		line += "  until " + Time(s.GetWakeTime())
	}
	if e := s.GetError(); e != nil {
		line += "  " + e.GetReason() + ": " + Text(e.GetMessage())
	} else if s.GetOutput() != nil {
		line += "  " + Cut(Text(compact(s)), maxOutput)
	}
	return line
}

const maxOutput = 160

// compact writes the output of a step on one line.
func compact(s *workflowv1.StepResult) string {
	text, err := protojson.Marshal(s.GetOutput())
	if err != nil {
		return "(an output that cannot be shown)"
	}
	return string(unspaced(text))
}

// Since writes how long a run took.
func Since(from, to *timestamppb.Timestamp) string {
	if from == nil || to == nil {
		return ""
	}
	return Short(max(time.Duration(0), to.AsTime().Sub(from.AsTime())))
}
