package command

import (
	"encoding/json"
	"fmt"
	"time"

	"github.com/spf13/cobra"
	"google.golang.org/protobuf/encoding/protojson"

	"workflow.uniconnect/services/wfctl/internal/show"

	workflowv1 "workflow.uniconnect/proto/gen/go/uniconnect/workflow/v1"
)

func (a *App) watch() *cobra.Command {
	return &cobra.Command{
		Use: "watch", Short: "Show changes of workflows as they happen, until interrupted", Args: args(0, 0),
		Example: "  wfctl watch\n  wfctl watch -o json | jq --unbuffered -r '.workflow.title // .deletedId'",
		RunE: func(cmd *cobra.Command, _ []string) error {
			s, err := a.session()
			if err != nil {
				return err
			}
			err = s.api.Watch(cmd.Context(), func(m *workflowv1.WatchWorkflowsResponse) error {
				if m.GetChange() == nil {
					return nil
				}
				return s.change(m, a.Now())
			})
			if cmd.Context().Err() != nil {
				err = nil // interrupting it is how it ends
			}
			return err
		},
	}
}

// change shows a change on one line, in YAML on several.
func (s *session) change(m *workflowv1.WatchWorkflowsResponse, now time.Time) error {
	switch s.Format {
	case show.JSON:
		text, err := protojson.Marshal(m)
		if err != nil {
			return fmt.Errorf("encode a change: %w", err)
		}
		return json.NewEncoder(s.Out).Encode(json.RawMessage(text))
	case show.YAML:
		return s.Document(m)
	}
	clock := now.Format("15:04:05")
	if id := m.GetDeletedId(); id != "" {
		return s.Line("%s  %s  gone", clock, id)
	}
	w := m.GetWorkflow()
	return s.Line("%s  %s  %-8s  revision %d  by %s  %s", clock, w.GetId(), w.GetState(), w.GetRevision(), show.Text(w.GetUpdateUser()), title(w))
}
