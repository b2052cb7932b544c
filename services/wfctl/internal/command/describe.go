package command

import (
	"strings"

	"github.com/spf13/cobra"

	"workflow.uniconnect/pkg/fault"
)

// describedRuns is how many runs a description ends with.
const describedRuns = 5

func (a *App) describe() *cobra.Command {
	return &cobra.Command{
		Use: "describe workflow WORKFLOW", Short: "Tell everything about a workflow", Args: args(1, 2),
		Example: "  wfctl describe workflow 'On Call Ended'", ValidArgsFunction: a.completeDescribe,
		RunE: func(cmd *cobra.Command, names []string) error {
			name := names[len(names)-1]
			if len(names) == 2 && names[0] != "workflow" && names[0] != "workflows" && names[0] != "wf" {
				return usage("usage: %s", cmd.UseLine())
			}
			s, err := a.session()
			if err != nil {
				return err
			}
			w, err := s.api.Workflow(cmd.Context(), name)
			if err != nil {
				return err
			}
			if s.IsDocument() {
				return s.Document(w)
			}
			runs, err := s.api.Executions(cmd.Context(), w.GetId(), describedRuns)
			if fault.KindOf(err) == fault.KindPermissionDenied {
				runs, err = nil, nil // who may see the workflow and not its runs
			}
			if err != nil {
				return err
			}
			return s.Workflow(w, runs)
		},
	}
}

// completeDescribe offers titles behind the word workflow, or in its place.
func (a *App) completeDescribe(cmd *cobra.Command, given []string, typed string) ([]string, cobra.ShellCompDirective) {
	if len(given) == 1 && given[0] == "workflow" {
		given = nil
	}
	offers, directive := completeFirst(a.titles)(cmd, given, typed)
	if len(given) == 0 && strings.HasPrefix("workflow", typed) && typed != "" {
		offers = append([]string{"workflow"}, offers...)
	}
	return offers, directive
}
