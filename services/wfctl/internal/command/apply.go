package command

import (
	"context"
	"errors"
	"fmt"

	"github.com/spf13/cobra"

	"workflow.uniconnect/pkg/fault"
	"workflow.uniconnect/services/wfctl/internal/show"

	workflowv1 "workflow.uniconnect/proto/gen/go/uniconnect/workflow/v1"
)

const (
	imported  = workflowv1.ImportWorkflowResponse_CREATED
	changed   = workflowv1.ImportWorkflowResponse_UPDATED
	unchanged = workflowv1.ImportWorkflowResponse_UNCHANGED
)

// exchange sends a document.
func (s *session) exchange(ctx context.Context, d document, into string, tryOnly bool) (*workflowv1.ImportWorkflowResponse, error) {
	answer, err := s.api.Catalog.ImportWorkflow(ctx, &workflowv1.ImportWorkflowRequest{
		Source: &workflowv1.ImportWorkflowRequest_Content{Content: d.text}, Id: into, ValidateOnly: tryOnly,
	})
	if err != nil {
		return nil, fmt.Errorf("%s: %w", d.name, err)
	}
	return answer, nil
}

// each handles every document, whatever became of those before, unless the system is away. What is wrong with one is told at once.
func (a *App) each(documents []document, handle func(document) error) error {
	var worst error
	for _, d := range documents {
		err := handle(d)
		switch {
		case err == nil:
		case errors.Is(err, ErrDifferent):
			if worst == nil {
				worst = err
			}
		case ExitCode(err) != exitRefused || len(documents) == 1:
			return err
		default:
			if _, err := fmt.Fprint(a.Stderr, Problem(err)); err != nil {
				return err
			}
			worst = errTold
		}
	}
	return worst
}

func (a *App) apply() *cobra.Command {
	var files fileFlags
	var tryOnly bool
	var name string
	cmd := &cobra.Command{
		Use: "apply -f FILE", Short: "Make workflows be as documents describe them", Args: args(0, 0),
		Long: `Make workflows be as documents describe them: each becomes the workflow of its title, which is created when there is none and changed when it
differs. Applying the same documents again changes nothing. A document without a state leaves the state as it is; a new workflow is ACTIVE.
A file may hold several documents, with --- between them.`,
		Example: "  wfctl apply -f workflows/ --dry-run\n  wfctl export 'On Call Ended' | sed s/hot/warm/ | wfctl apply -f -",
		RunE: func(cmd *cobra.Command, _ []string) error {
			s, documents, into, err := a.documents(cmd.Context(), &files, name)
			if err != nil {
				return err
			}
			return a.each(documents, func(d document) error {
				answer, err := s.exchange(cmd.Context(), d, into, tryOnly)
				if err != nil {
					return err
				}
				if tryOnly {
					return s.tried(answer)
				}
				return s.applied(answer)
			})
		},
	}
	files.add(cmd)
	cmd.Flags().BoolFunc("dry-run", "only show what would change", func(text string) (err error) {
		tryOnly, err = isTrial(text)
		return err
	})
	cmd.Flags().StringVar(&name, "workflow", "", "apply one document to this workflow whatever its title, for example to change the title")
	a.completeFlag(cmd, "workflow", a.titles)
	return cmd
}

// isTrial reads the value of --dry-run, which kubectl has words for. It is always the server that tries.
func isTrial(text string) (bool, error) {
	switch text {
	case "true", "server", "client":
		return true, nil
	case "false", "none":
		return false, nil
	}
	return false, errors.New("give none, or server")
}

// documents reads the documents, and finds the workflow that one of them is for.
func (a *App) documents(ctx context.Context, files *fileFlags, workflow string) (*session, []document, string, error) {
	documents, err := files.read(a.Stdin)
	if err != nil {
		return nil, nil, "", err
	}
	if workflow != "" && len(documents) > 1 {
		return nil, nil, "", usage("--workflow is for one document, and there are %d", len(documents))
	}
	s, err := a.session()
	if err != nil || workflow == "" {
		return s, documents, "", err
	}
	into, err := s.api.WorkflowID(ctx, workflow)
	return s, documents, into, err
}

// applied tells what was done with a document.
func (s *session) applied(answer *workflowv1.ImportWorkflowResponse) error {
	if s.IsDocument() {
		return s.Document(answer)
	}
	if err := s.Line("workflow %q %s", title(answer.GetWorkflow()), outcome(answer)); err != nil {
		return err
	}
	return s.warnings(answer.GetWorkflow())
}

// tried tells what would be done with a document.
func (s *session) tried(answer *workflowv1.ImportWorkflowResponse) error {
	if s.IsDocument() {
		return s.Document(answer)
	}
	if err := s.Line("workflow %q %s (dry run)", title(answer.GetWorkflow()), outcome(answer)); err != nil {
		return err
	}
	if err := s.Diff(answer.GetDiff()); err != nil {
		return err
	}
	return s.warnings(answer.GetWorkflow())
}

// outcome is the word for what becomes of a document, as kubectl has it.
func outcome(answer *workflowv1.ImportWorkflowResponse) string {
	switch answer.GetOutcome() {
	case imported:
		return "created"
	case changed:
		return "configured"
	}
	return "unchanged"
}

// warnings writes what is allowed but probably not meant.
func (s *session) warnings(w *workflowv1.Workflow) error {
	for _, warning := range w.GetWarnings() {
		if err := s.Line("  warning: %s: %s", warning.GetField(), show.Text(warning.GetDescription())); err != nil {
			return err
		}
	}
	return nil
}

func (a *App) create() *cobra.Command {
	var files fileFlags
	cmd := &cobra.Command{
		Use: "create -f FILE", Short: "Create workflows from documents", Args: args(0, 0),
		Example: "  wfctl create -f hello.yaml\n  wfctl export --template survey-after-call | wfctl create -f -",
		Long:    "Create workflows from documents. A title that a workflow has already is refused; apply changes that workflow instead.",
		RunE: func(cmd *cobra.Command, _ []string) error {
			s, documents, _, err := a.documents(cmd.Context(), &files, "")
			if err != nil {
				return err
			}
			return a.each(documents, func(d document) error {
				tried, err := s.exchange(cmd.Context(), d, "", true)
				if err != nil {
					return err
				}
				// Whether the title is free is for the creation itself to find out.
				w := tried.GetWorkflow()
				if tried.GetOutcome() != imported {
					return fmt.Errorf("%s: %w", d.name, fault.AlreadyExists("WORKFLOW_EXISTS", fmt.Sprintf("a workflow %q exists already; use apply to change it", w.GetTitle())))
				}
				answer, err := s.api.Catalog.CreateWorkflow(cmd.Context(), &workflowv1.CreateWorkflowRequest{Workflow: w})
				if err != nil {
					return fmt.Errorf("%s: %w", d.name, err)
				}
				return s.applied(&workflowv1.ImportWorkflowResponse{Outcome: imported, Workflow: answer.GetWorkflow()})
			})
		},
	}
	files.add(cmd)
	return cmd
}

func (a *App) diff() *cobra.Command {
	var files fileFlags
	var name string
	cmd := &cobra.Command{
		Use: "diff -f FILE", Short: "Show what apply would change; exit code 1 when anything", Args: args(0, 0),
		Long:    "Show what apply would change. Exit codes: 0 nothing, 1 something, 2 a document is refused, 3 the system is away.",
		Example: "  wfctl diff -f workflows/\n  wfctl diff -f workflows/ -o json | jq .diff",
		RunE: func(cmd *cobra.Command, _ []string) error {
			s, documents, into, err := a.documents(cmd.Context(), &files, name)
			if err != nil {
				return err
			}
			return refusedDiff(a.each(documents, func(d document) error {
				answer, err := s.exchange(cmd.Context(), d, into, true)
				if err != nil {
					return err
				}
				return s.differs(d, answer)
			}))
		},
	}
	files.add(cmd)
	cmd.Flags().StringVar(&name, "workflow", "", "compare one document with this workflow whatever its title")
	a.completeFlag(cmd, "workflow", a.titles)
	return cmd
}

// diffError is why there is no difference to show. Its exit code is not that of a difference, so that scripts can tell.
type diffError struct{ error }

// Unwrap returns what went wrong.
func (e diffError) Unwrap() error { return e.error }

func refusedDiff(err error) error {
	if err == nil || errors.Is(err, ErrDifferent) {
		return err
	}
	return diffError{err}
}

// differs shows a difference, and is ErrDifferent when there is one.
func (s *session) differs(d document, answer *workflowv1.ImportWorkflowResponse) error {
	if s.IsDocument() {
		if err := s.Document(answer); err != nil {
			return err
		}
	}
	if answer.GetOutcome() == unchanged {
		return nil
	}
	if !s.IsDocument() {
		name := title(answer.GetWorkflow())
		if answer.GetOutcome() == imported {
			return errors.Join(s.Line("+ workflow %q (%s) is new", name, d.name), ErrDifferent)
		}
		if err := s.Line("workflow %q (%s)", name, d.name); err != nil {
			return err
		}
		if err := s.Diff(answer.GetDiff()); err != nil {
			return err
		}
	}
	return ErrDifferent
}

func (a *App) validate() *cobra.Command {
	var files fileFlags
	cmd := &cobra.Command{
		Use: "validate -f FILE", Short: "Find everything that is wrong with documents", Args: args(0, 0),
		Example: "  wfctl validate -f workflows/ -R",
		RunE: func(cmd *cobra.Command, _ []string) error {
			s, documents, _, err := a.documents(cmd.Context(), &files, "")
			if err != nil {
				return err
			}
			return a.each(documents, func(d document) error {
				return s.check(cmd.Context(), d)
			})
		},
	}
	files.add(cmd)
	return cmd
}

// check tells what is wrong with a document: as an error what keeps it from being saved, else what is probably not meant.
func (s *session) check(ctx context.Context, d document) error {
	tried, err := s.exchange(ctx, d, "", true)
	if err != nil {
		return err
	}
	answer, err := s.api.Catalog.ValidateWorkflow(ctx, &workflowv1.ValidateWorkflowRequest{Workflow: tried.GetWorkflow()})
	if err != nil {
		return fmt.Errorf("%s: %w", d.name, err)
	}
	if s.IsDocument() {
		return s.Document(answer)
	}
	if err := s.Line("%s: valid", d.name); err != nil {
		return err
	}
	return s.warnings(&workflowv1.Workflow{Warnings: answer.GetProblems()})
}
