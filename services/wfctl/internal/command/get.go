package command

import (
	"context"
	"strconv"

	"github.com/spf13/cobra"
	"google.golang.org/protobuf/proto"

	"workflow.uniconnect/services/wfctl/internal/show"

	workflowv1 "workflow.uniconnect/proto/gen/go/uniconnect/workflow/v1"
)

// defaultLimit is how many things a list shows unless asked for more.
const defaultLimit = 100

func (a *App) get() *cobra.Command {
	get := &cobra.Command{Use: "get RESOURCE [NAME]", Short: "List things, or show one",
		Example: "  wfctl get workflows\n  wfctl get workflow 'On Call Ended' -o yaml\n  wfctl get executions --limit 10 -o json | jq '.executions[].state'", Args: noSuchCommand, RunE: help}
	get.AddCommand(
		a.getWorkflows(), a.getRevisions(), a.getBackups(), a.getTemplates(), a.getExecutions(), a.getAudit(),
		a.getEventTypes(), a.getActionTypes(),
	)
	return get
}

// output writes things as a table or whole.
func (s *session) output(whole proto.Message, table func() *show.Columns) error {
	if s.IsDocument() {
		return s.Document(whole)
	}
	return s.Table(table())
}

// atMost lists no more than a limit, and says when there is more. 0 means all.
func atMost[T any](s *session, limit int, list func(limit int) ([]T, error)) ([]T, error) {
	switch {
	case limit < 0:
		return nil, usage("--limit: %d is less than nothing; 0 means all", limit)
	case limit == 0:
		return list(0)
	}
	all, err := list(limit + 1)
	if err != nil || len(all) <= limit {
		return all, err
	}
	return all[:limit], s.Note("There are more than these %d: --limit 0 shows all.", limit)
}

func limitFlag(cmd *cobra.Command, limit *int) {
	cmd.Flags().IntVar(limit, "limit", defaultLimit, "how many at most; 0 means all")
}

func (a *App) getWorkflows() *cobra.Command {
	req := &workflowv1.ListWorkflowsRequest{}
	limit := 0
	cmd := &cobra.Command{
		Use: "workflows [WORKFLOW]", Aliases: []string{"workflow", "wf"}, Short: "Workflows", Args: args(0, 1), ValidArgsFunction: completeFirst(a.titles),
		Example: `  wfctl get workflows --filter 'state = "ACTIVE" AND title : "call"' --order-by title`,
		RunE: func(cmd *cobra.Command, names []string) error {
			s, err := a.session()
			if err != nil {
				return err
			}
			if len(names) > 0 {
				w, err := s.api.Workflow(cmd.Context(), names[0])
				if err != nil {
					return err
				}
				return s.output(w, func() *show.Columns { return s.Workflows([]*workflowv1.Workflow{w}) })
			}
			if !s.IsDocument() {
				req.View = workflowv1.WorkflowView_BASIC
			}
			all, err := atMost(s, limit, func(limit int) ([]*workflowv1.Workflow, error) { return s.api.Workflows(cmd.Context(), limit, req) })
			if err != nil {
				return err
			}
			return s.output(&workflowv1.ListWorkflowsResponse{Workflows: all}, func() *show.Columns { return s.Workflows(all) })
		},
	}
	cmd.Flags().StringVar(&req.Filter, "filter", "", `for example 'state = "ACTIVE" AND trigger_type = "event"'`)
	cmd.Flags().StringVar(&req.OrderBy, "order-by", "", "create_time, update_time or title, with ' desc' to turn it round")
	limitFlag(cmd, &limit)
	return cmd
}

func (a *App) getRevisions() *cobra.Command {
	limit := 0
	cmd := &cobra.Command{
		Use: "revisions WORKFLOW [NUMBER]", Aliases: []string{"revision", "rev"}, Short: "What was saved of a workflow", Args: args(1, 2),
		Example:           "  wfctl get revisions Hello\n  wfctl export Hello --revision 1",
		ValidArgsFunction: completeFirst(a.titles),
		RunE: func(cmd *cobra.Command, names []string) error {
			s, err := a.session()
			if err != nil {
				return err
			}
			id, err := s.api.WorkflowID(cmd.Context(), names[0])
			if err != nil {
				return err
			}
			if len(names) == 2 {
				return s.revision(cmd.Context(), id, names[1])
			}
			all, err := atMost(s, limit, func(limit int) ([]*workflowv1.Revision, error) { return s.api.Revisions(cmd.Context(), id, limit) })
			if err != nil {
				return err
			}
			return s.output(&workflowv1.ListRevisionsResponse{Revisions: all}, func() *show.Columns { return s.Revisions(all) })
		},
	}
	limitFlag(cmd, &limit)
	return cmd
}

func (s *session) revision(ctx context.Context, workflow, text string) error {
	number, err := strconv.ParseInt(text, 10, 32)
	if err != nil {
		return usage("%q is not the number of a revision", text)
	}
	answer, err := s.api.Catalog.GetRevision(ctx, &workflowv1.GetRevisionRequest{WorkflowId: workflow, Revision: int32(number)})
	if err != nil {
		return err
	}
	return s.output(answer.GetRevision(), func() *show.Columns { return s.Revisions([]*workflowv1.Revision{answer.GetRevision()}) })
}

func (a *App) getBackups() *cobra.Command {
	limit := 0
	cmd := &cobra.Command{
		Use: "backups WORKFLOW [BACKUP]", Aliases: []string{"backup"}, Short: "Backups of a workflow", Args: args(1, 2), ValidArgsFunction: a.completeBackup(0),
		Example: "  wfctl get backups Hello",
		RunE: func(cmd *cobra.Command, names []string) error {
			s, err := a.session()
			if err != nil {
				return err
			}
			id, err := s.api.WorkflowID(cmd.Context(), names[0])
			if err != nil {
				return err
			}
			if len(names) == 2 {
				b, err := s.api.Backup(cmd.Context(), id, names[1])
				if err != nil {
					return err
				}
				return s.output(b, func() *show.Columns { return s.Backups([]*workflowv1.Backup{b}) })
			}
			all, err := atMost(s, limit, func(limit int) ([]*workflowv1.Backup, error) { return s.api.Backups(cmd.Context(), id, limit) })
			if err != nil {
				return err
			}
			return s.output(&workflowv1.ListBackupsResponse{Backups: all}, func() *show.Columns { return s.Backups(all) })
		},
	}
	limitFlag(cmd, &limit)
	return cmd
}

func (a *App) getExecutions() *cobra.Command {
	limit, workflow := 0, ""
	cmd := &cobra.Command{
		Use: "executions [ID]", Aliases: []string{"execution", "runs"}, Short: "Executions, newest first", Args: args(0, 1),
		RunE: func(cmd *cobra.Command, names []string) error {
			if len(names) == 0 {
				return a.listExecutions(cmd.Context(), workflow, limit)
			}
			s, err := a.session()
			if err != nil {
				return err
			}
			e, err := s.api.Execution(cmd.Context(), names[0])
			if err != nil {
				return err
			}
			return s.showExecutions(cmd.Context(), e, e)
		},
	}
	cmd.Flags().StringVar(&workflow, "workflow", "", "only those of this workflow")
	a.completeFlag(cmd, "workflow", a.titles)
	limitFlag(cmd, &limit)
	return cmd
}

func (a *App) executions() *cobra.Command {
	limit := 0
	cmd := &cobra.Command{
		Use: "executions [WORKFLOW]", Short: "List executions, of all workflows or of one", Args: args(0, 1), ValidArgsFunction: completeFirst(a.titles),
		RunE: func(cmd *cobra.Command, names []string) error {
			workflow := ""
			if len(names) > 0 {
				workflow = names[0]
			}
			return a.listExecutions(cmd.Context(), workflow, limit)
		},
	}
	limitFlag(cmd, &limit)
	return cmd
}

// listExecutions shows the newest runs, of a workflow unless that is empty.
func (a *App) listExecutions(ctx context.Context, workflow string, limit int) error {
	s, err := a.session()
	if err != nil {
		return err
	}
	id := ""
	if workflow != "" {
		if id, err = s.api.WorkflowID(ctx, workflow); err != nil {
			return err
		}
	}
	all, err := atMost(s, limit, func(limit int) ([]*workflowv1.Execution, error) { return s.api.Executions(ctx, id, limit) })
	if err != nil {
		return err
	}
	return s.showExecutions(ctx, &workflowv1.ListExecutionsResponse{Executions: all}, all...)
}

// showExecutions writes runs with the titles of their workflows.
func (s *session) showExecutions(ctx context.Context, whole proto.Message, all ...*workflowv1.Execution) error {
	if s.IsDocument() {
		return s.Document(whole)
	}
	ids := make(map[string]struct{})
	for _, e := range all {
		ids[e.GetWorkflowId()] = struct{}{}
	}
	titles, err := s.api.Titles(ctx, ids)
	if err != nil {
		return err
	}
	return s.Table(s.Executions(all, titles))
}

func (a *App) getAudit() *cobra.Command {
	limit, filter := 0, ""
	cmd := &cobra.Command{
		Use: "audit", Aliases: []string{"auditentries"}, Short: "Who changed what and who was refused, newest first", Args: args(0, 0),
		Example: `  wfctl get audit --filter 'outcome != "OK"'`,
		RunE: func(cmd *cobra.Command, _ []string) error {
			s, err := a.session()
			if err != nil {
				return err
			}
			all, err := atMost(s, limit, func(limit int) ([]*workflowv1.AuditEntry, error) {
				return s.api.AuditEntries(cmd.Context(), filter, limit)
			})
			if err != nil {
				return err
			}
			return s.output(&workflowv1.ListAuditEntriesResponse{AuditEntries: all}, func() *show.Columns { return s.Audit(all) })
		},
	}
	cmd.Flags().StringVar(&filter, "filter", "", `for example 'actor = "owner@acme.test"'`)
	limitFlag(cmd, &limit)
	return cmd
}
