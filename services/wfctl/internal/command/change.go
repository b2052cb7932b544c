package command

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/spf13/cobra"
	"google.golang.org/protobuf/proto"

	"workflow.uniconnect/services/wfctl/internal/show"

	workflowv1 "workflow.uniconnect/proto/gen/go/uniconnect/workflow/v1"
)

// onWorkflow is a command that does something with one workflow.
func (a *App) onWorkflow(use, short string, do func(ctx context.Context, s *session, id string, more []string) error) *cobra.Command {
	fields := strings.Fields(use)
	return &cobra.Command{
		Use: use, Short: short, Args: args(len(fields)-1, len(fields)-1), ValidArgsFunction: completeFirst(a.titles),
		RunE: func(cmd *cobra.Command, names []string) error {
			s, err := a.session()
			if err != nil {
				return err
			}
			id, err := s.api.WorkflowID(cmd.Context(), names[0])
			if err != nil {
				return err
			}
			return do(cmd.Context(), s, id, names[1:])
		},
	}
}

// done writes what a change has made: one line, or the whole.
func (s *session) done(whole proto.Message, format string, args ...any) error {
	if s.IsDocument() {
		return s.Document(whole)
	}
	if err := s.Line(format, args...); err != nil {
		return err
	}
	if w, ok := whole.(*workflowv1.Workflow); ok && w.GetState() != workflowv1.Workflow_DELETING {
		return s.warnings(w)
	}
	return nil
}

func title(w *workflowv1.Workflow) string { return show.Text(w.GetTitle()) }

func (a *App) activate() *cobra.Command {
	return a.onWorkflow("activate WORKFLOW", "Let the trigger start a workflow", func(ctx context.Context, s *session, id string, _ []string) error {
		answer, err := s.api.Catalog.ActivateWorkflow(ctx, &workflowv1.ActivateWorkflowRequest{Id: id})
		if err != nil {
			return err
		}
		return s.done(answer.GetWorkflow(), "workflow %q activated", title(answer.GetWorkflow()))
	})
}

func (a *App) deactivate() *cobra.Command {
	return a.onWorkflow("deactivate WORKFLOW", "Stop new starts; runs under way finish", func(ctx context.Context, s *session, id string, _ []string) error {
		answer, err := s.api.Catalog.DeactivateWorkflow(ctx, &workflowv1.DeactivateWorkflowRequest{Id: id})
		if err != nil {
			return err
		}
		return s.done(answer.GetWorkflow(), "workflow %q deactivated", title(answer.GetWorkflow()))
	})
}

func (a *App) backup() *cobra.Command {
	name := ""
	cmd := a.onWorkflow("backup WORKFLOW", "Keep the configuration as it is", func(ctx context.Context, s *session, id string, _ []string) error {
		answer, err := s.api.Catalog.BackupWorkflow(ctx, &workflowv1.BackupWorkflowRequest{Id: id, Name: name})
		if err != nil {
			return err
		}
		return s.done(answer.GetBackup(), "backup %s of revision %d made", answer.GetBackup().GetId(), answer.GetBackup().GetRevision())
	})
	cmd.Example = "  wfctl backup Hello --name 'before the change'"
	cmd.Flags().StringVar(&name, "name", "", "what to call the backup")
	return cmd
}

func (a *App) reset() *cobra.Command {
	return a.onWorkflow("reset WORKFLOW", "Return to the last backup", func(ctx context.Context, s *session, id string, _ []string) error {
		answer, err := s.api.Catalog.ResetWorkflow(ctx, &workflowv1.ResetWorkflowRequest{Id: id})
		if err != nil {
			return err
		}
		return s.done(answer.GetWorkflow(), "workflow %q is as its last backup has it, revision %d", title(answer.GetWorkflow()), answer.GetWorkflow().GetRevision())
	})
}

func (a *App) restore() *cobra.Command {
	cmd := a.onWorkflow("restore WORKFLOW BACKUP", "Return to a backup, by its id or name", func(ctx context.Context, s *session, id string, more []string) error {
		b, err := s.api.Backup(ctx, id, more[0])
		if err != nil {
			return err
		}
		answer, err := s.api.Catalog.RestoreBackup(ctx, &workflowv1.RestoreBackupRequest{WorkflowId: id, Id: b.GetId()})
		if err != nil {
			return err
		}
		return s.done(answer.GetWorkflow(), "workflow %q is as backup %s has it, revision %d", title(answer.GetWorkflow()), b.GetId(), answer.GetWorkflow().GetRevision())
	})
	cmd.Example = "  wfctl restore Hello 'before the change'"
	cmd.ValidArgsFunction = a.completeBackup(0)
	return cmd
}

func (a *App) duplicate() *cobra.Command {
	req := &workflowv1.DuplicateWorkflowRequest{}
	active := false
	cmd := a.onWorkflow("duplicate WORKFLOW", "Copy a workflow; the copy is inactive", func(ctx context.Context, s *session, id string, _ []string) error {
		req.Id = id
		if active {
			req.State = workflowv1.Workflow_ACTIVE
		}
		answer, err := s.api.Catalog.DuplicateWorkflow(ctx, req)
		if err != nil {
			return err
		}
		return s.done(answer.GetWorkflow(), "workflow %q created, %s", title(answer.GetWorkflow()), answer.GetWorkflow().GetState())
	})
	cmd.Example = "  wfctl duplicate Hello --title 'Hello in French'"
	cmd.Flags().StringVar(&req.Title, "title", "", "title of the copy; one is found otherwise")
	cmd.Flags().BoolVar(&active, "active", false, "let the trigger start the copy")
	return cmd
}

func (a *App) remove() *cobra.Command {
	yes, wait := false, false
	cmd := &cobra.Command{
		Use: "delete WORKFLOW | delete backup WORKFLOW BACKUP", Short: "Delete a workflow with everything that belongs to it, or a backup", Args: args(1, 3),
		Long: `Delete a workflow for good: its revisions, backups, draft, executions and what waits. What would go is shown first, and the title must be typed
unless --yes is given. "delete backup WORKFLOW BACKUP" deletes a backup, named by its id or name.`,
		Example:           "  wfctl delete Hello\n  wfctl delete Hello --yes --wait\n  wfctl delete backup Hello 'before the change'",
		ValidArgsFunction: a.completeDelete,
		RunE: func(cmd *cobra.Command, names []string) error {
			s, err := a.session()
			if err != nil {
				return err
			}
			switch {
			case len(names) == 3 && names[0] == "backup":
				return s.removeBackup(cmd.Context(), names[1], names[2])
			case len(names) == 2 && (names[0] == "workflow" || names[0] == "workflows"):
				names = names[1:]
			case len(names) != 1:
				return usage("usage: %s", cmd.UseLine())
			}
			return a.removeWorkflow(cmd.Context(), s, names[0], removal{yes, wait})
		},
	}
	cmd.Flags().BoolVarP(&yes, "yes", "y", false, "do not ask")
	cmd.Flags().BoolVar(&wait, "wait", false, "return when everything is gone")
	return cmd
}

// completeDelete offers titles, and behind the word backup a title and its backups.
func (a *App) completeDelete(cmd *cobra.Command, given []string, typed string) ([]string, cobra.ShellCompDirective) {
	if len(given) > 0 && given[0] == "backup" {
		return a.completeBackup(1)(cmd, given, typed)
	}
	if len(given) == 1 && given[0] == "workflow" {
		given = nil
	}
	return completeFirst(a.titles)(cmd, given, typed)
}

func (s *session) removeBackup(ctx context.Context, workflow, name string) error {
	id, err := s.api.WorkflowID(ctx, workflow)
	if err != nil {
		return err
	}
	b, err := s.api.Backup(ctx, id, name)
	if err != nil {
		return err
	}
	if _, err := s.api.Catalog.DeleteBackup(ctx, &workflowv1.DeleteBackupRequest{WorkflowId: id, Id: b.GetId()}); err != nil {
		return err
	}
	return s.done(b, "backup %s deleted; revision %d stays", b.GetId(), b.GetRevision())
}

// removal says how a workflow is deleted.
type removal struct{ yes, wait bool }

func (a *App) removeWorkflow(ctx context.Context, s *session, name string, how removal) error {
	id, err := s.api.WorkflowID(ctx, name)
	if err != nil {
		return err
	}
	answer, err := s.api.Catalog.PreviewDelete(ctx, &workflowv1.PreviewDeleteRequest{Id: id})
	if err != nil {
		return err
	}
	preview := answer.GetPreview()
	req := &workflowv1.DeleteWorkflowRequest{Id: id}
	if !how.yes {
		if req.Confirm, err = a.confirm(preview); err != nil {
			return err
		}
		req.Etag = preview.GetEtag() // what goes is what was shown
	}
	deleted, err := s.api.Catalog.DeleteWorkflow(ctx, req)
	if err != nil {
		return err
	}
	if how.wait {
		if err := s.api.AwaitGone(ctx, id); err != nil {
			return err
		}
		return s.done(deleted.GetWorkflow(), "workflow %q deleted", show.Text(preview.GetTitle()))
	}
	return s.done(deleted.GetWorkflow(), "workflow %q is being deleted", show.Text(preview.GetTitle()))
}

// counted writes a number of things.
func counted(n int32, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return fmt.Sprintf("%d %ss", n, what)
}

// confirm shows what would go and has the title typed.
func (a *App) confirm(p *workflowv1.DeletePreview) (string, error) {
	if !a.Interactive {
		return "", usage("deleting is final: give --yes when nobody can be asked")
	}
	var b strings.Builder
	fmt.Fprintf(&b, "Deleting %q is final. With it go %s, %s", show.Text(p.GetTitle()), counted(p.GetRevisions(), "revision"), counted(p.GetBackups(), "backup"))
	if p.GetDraft() {
		b.WriteString(", its draft")
	}
	if n := p.GetUnfinishedExecutions(); n > 0 {
		fmt.Fprintf(&b, ", %s not ended yet", counted(n, "execution"))
	}
	b.WriteString(" and the history of its runs.\n")
	for _, c := range p.GetCallers() {
		fmt.Fprintf(&b, "It is called by %q (%s), which would fail there.\n", show.Text(c.GetTitle()), c.GetState())
	}
	b.WriteString("Type the title to go on: ")
	if _, err := fmt.Fprint(a.Stderr, b.String()); err != nil {
		return "", err
	}
	line, err := bufio.NewReader(a.Stdin).ReadString('\n')
	if isInterrupted(err) {
		return "", err
	}
	if err != nil && line == "" {
		return "", errors.New("nothing was typed; nothing was deleted")
	}
	typed := strings.TrimRight(line, "\r\n")
	if typed != p.GetTitle() {
		return "", errors.New("that is not the title; nothing was deleted")
	}
	return typed, nil
}
