package command

import (
	"context"
	"fmt"
	"time"

	"github.com/spf13/cobra"
	"google.golang.org/protobuf/types/known/structpb"
	"google.golang.org/protobuf/types/known/timestamppb"

	"workflow.uniconnect/pkg/protodoc"
	"workflow.uniconnect/services/wfctl/internal/client"
	"workflow.uniconnect/services/wfctl/internal/show"

	workflowv1 "workflow.uniconnect/proto/gen/go/uniconnect/workflow/v1"
)

// maxDepth is how deep values on the command line may nest, as deep as the gateway lets them.
const maxDepth = 64

func limits() protodoc.Limits { return protodoc.Limits{Bytes: maxDocument, Depth: maxDepth} }

func (a *App) run() *cobra.Command {
	input, wait := "", false
	cmd := a.onWorkflow("run WORKFLOW", "Start a workflow by hand", func(ctx context.Context, s *session, id string, _ []string) error {
		req := &workflowv1.RunWorkflowRequest{WorkflowId: id}
		if input != "" {
			text, err := valueOf("input", input, a.Stdin)
			if err != nil {
				return err
			}
			req.Input = &structpb.Struct{}
			if err := protodoc.Unmarshal([]byte(text), req.Input, limits()); err != nil {
				return usage("--input: %v", err)
			}
		}
		answer, err := s.api.Executor.RunWorkflow(ctx, req)
		if err != nil {
			return err
		}
		if !wait {
			return s.done(answer.GetExecution(), "execution %s started", answer.GetExecution().GetId())
		}
		if !s.IsDocument() {
			if err := s.Line("execution %s started", answer.GetExecution().GetId()); err != nil {
				return err
			}
		}
		return s.follow(ctx, answer.GetExecution().GetId())
	})
	cmd.Example = `  wfctl run Hello --input '{"lead_id": "lead-1001"}' --wait
  wfctl run Hello --input @input.yaml`
	cmd.Flags().StringVar(&input, "input", "", "what expressions see as event.data: an object as JSON or YAML, or @file")
	cmd.Flags().BoolVar(&wait, "wait", false, "show the steps as they end; exit code 1 unless the run succeeds")
	return cmd
}

// follow shows a run until it is over. One that did not succeed is an error that was told.
func (s *session) follow(ctx context.Context, id string) error {
	shown := make(map[string]bool)
	e, err := s.api.Follow(ctx, id, func(e *workflowv1.Execution) error {
		if s.IsDocument() {
			return nil
		}
		return s.steps(e, shown)
	})
	if isInterrupted(err) || client.IsAway(err) {
		// A failure to say so changes nothing about err.
		_ = s.Note("The execution goes on: wfctl logs %s -f", id)
	}
	if err != nil {
		return err
	}
	if s.IsDocument() {
		err = s.Document(e)
	} else {
		err = s.outcome(e)
	}
	if err == nil && e.GetState() != workflowv1.Execution_SUCCEEDED {
		err = ErrDifferent
	}
	return err
}

// steps shows the steps that have ended and were not shown before.
func (s *session) steps(e *workflowv1.Execution, shown map[string]bool) error {
	for i, step := range e.GetSteps() {
		key := fmt.Sprint(i, step.GetPath())
		if shown[key] || step.GetEndTime() == nil && !client.Ended(e) {
			continue
		}
		shown[key] = true
		if err := s.Line("%s", show.Step(step)); err != nil {
			return err
		}
	}
	return nil
}

// outcome tells how a run has ended, or where it stands.
func (s *session) outcome(e *workflowv1.Execution) error {
	line := e.GetState().String()
	if took := show.Since(e.GetStartTime(), e.GetEndTime()); took != "" {
		line += " after " + took
	}
	if e.GetWakeTime() != nil && !client.Ended(e) {
		line += " until " + show.Time(e.GetWakeTime())
	}
	if failure := e.GetError(); failure != nil {
		line += "  " + failure.GetReason() + ": " + show.Text(failure.GetMessage())
	}
	return s.Line("%s", line)
}

func (a *App) logs() *cobra.Command {
	follow := false
	cmd := &cobra.Command{
		Use: "logs EXECUTION | WORKFLOW", Short: "Show what the steps of a run did; of a workflow its newest run", Args: args(1, 1),
		Example:           "  wfctl logs Hello -f\n  wfctl logs 01a20953-ffdf-7714-8702-867c09c9f19d -o json | jq '.steps[].output'",
		ValidArgsFunction: completeFirst(a.titles),
		RunE: func(cmd *cobra.Command, names []string) error {
			s, err := a.session()
			if err != nil {
				return err
			}
			e, err := s.api.Execution(cmd.Context(), names[0])
			if err != nil {
				return err
			}
			if follow {
				return s.follow(cmd.Context(), e.GetId())
			}
			if s.IsDocument() {
				return s.Document(e)
			}
			for _, step := range e.GetSteps() {
				if err := s.Line("%s", show.Step(step)); err != nil {
					return err
				}
			}
			return s.outcome(e)
		},
	}
	cmd.Flags().BoolVarP(&follow, "follow", "f", false, "go on until the run is over; exit code 1 unless it succeeds")
	return cmd
}

func (a *App) publishEvent() *cobra.Command {
	event := &workflowv1.CloudEvent{Specversion: "1.0"}
	data, at := "", ""
	cmd := &cobra.Command{
		Use: "publish-event TYPE", Short: "Publish an event, which starts the workflows that wait for it", Args: args(1, 1), ValidArgsFunction: completeFirst(a.eventTypeNames),
		Example: `  wfctl publish-event call.ended --data '{"call_id": "c-1", "lead_id": "lead-1001", "result": "answered"}'`,
		RunE: func(cmd *cobra.Command, names []string) error {
			event.Type = names[0]
			if err := a.fillEvent(event, data, at); err != nil {
				return err
			}
			s, err := a.session()
			if err != nil {
				return err
			}
			answer, err := s.api.Scheduler.PublishEvent(cmd.Context(), &workflowv1.PublishEventRequest{Event: event})
			if err != nil {
				return err
			}
			before := ""
			if answer.GetDuplicate() {
				before = "; it was there before and starts nothing"
			}
			return s.done(answer, "event %s stored as %s%s", show.Text(answer.GetEventId()), answer.GetId(), before)
		},
	}
	cmd.Flags().StringVar(&data, "data", "", "the payload as JSON or YAML, or @file")
	cmd.Flags().StringVar(&event.Id, "id", "", "identifies the event together with its source; one is made otherwise")
	cmd.Flags().StringVar(&event.Source, "source", "/wfctl", "who says so")
	cmd.Flags().StringVar(&event.Subject, "subject", "", "what it is about")
	cmd.Flags().StringVar(&at, "time", "", "when it happened, for example 2026-11-23T12:00:00Z; now otherwise")
	return cmd
}

func (a *App) fillEvent(event *workflowv1.CloudEvent, data, at string) error {
	if data != "" {
		text, err := valueOf("data", data, a.Stdin)
		if err != nil {
			return err
		}
		event.Data = &structpb.Value{}
		if err := protodoc.Unmarshal([]byte(text), event.GetData(), limits()); err != nil {
			return usage("--data: %v", err)
		}
	}
	if at != "" {
		t, err := time.Parse(time.RFC3339, at)
		if err != nil {
			return usage("--time: %q is not a time such as 2026-11-23T12:00:00Z", at)
		}
		event.Time = timestamppb.New(t)
	}
	return nil
}
