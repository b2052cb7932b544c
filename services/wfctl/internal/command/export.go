package command

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"unicode"

	"github.com/spf13/cobra"

	"workflow.uniconnect/services/wfctl/internal/show"

	workflowv1 "workflow.uniconnect/proto/gen/go/uniconnect/workflow/v1"
)

func (a *App) export() *cobra.Command {
	var dir string
	var all bool
	var revision int32
	template := ""
	cmd := &cobra.Command{
		Use: "export WORKFLOW | --all --dir DIR | --template ID", Short: "Write workflows as documents, to keep them in git", Args: args(0, 1), ValidArgsFunction: completeFirst(a.titles),
		Long: `Write a workflow as a document, YAML unless -o json is given. It holds nothing that the server makes, so the same configuration is the same text.
With --all and --dir every workflow becomes a file, named after its title. With --template it is the workflow of a template, to begin with.`,
		Example: `  wfctl export 'On Call Ended' >on-call-ended.yaml
  wfctl export --all --dir workflows/
  wfctl export --template survey-after-call >survey.yaml`,
		RunE: func(cmd *cobra.Command, names []string) error {
			s, err := a.session()
			if err != nil {
				return err
			}
			switch {
			case template != "" && (all || dir != "" || len(names) > 0 || revision != 0):
				return usage("--template takes neither a workflow nor --all, --dir and --revision")
			case template != "":
				return s.exportTemplate(cmd.Context(), template)
			case all && (dir == "" || len(names) > 0 || revision != 0):
				return usage("--all needs --dir and takes neither a workflow nor --revision")
			case all:
				return s.exportAll(cmd.Context(), dir)
			case len(names) == 0:
				return usage("usage: %s", cmd.UseLine())
			}
			id, err := s.api.WorkflowID(cmd.Context(), names[0])
			if err != nil {
				return err
			}
			text, err := s.exported(cmd.Context(), id, revision)
			if err != nil {
				return err
			}
			if dir != "" {
				return s.writeDocument(dir, slug(names[0]), text)
			}
			_, err = s.Out.Write(text)
			return err
		},
	}
	cmd.Flags().StringVar(&dir, "dir", "", "write files into this directory")
	cmd.Flags().BoolVar(&all, "all", false, "every workflow")
	cmd.Flags().StringVar(&template, "template", "", "the workflow of this template")
	a.completeFlag(cmd, "template", a.templates)
	cmd.Flags().Int32Var(&revision, "revision", 0, "this revision; the live one when 0")
	return cmd
}

func (s *session) exported(ctx context.Context, id string, revision int32) ([]byte, error) {
	req := &workflowv1.ExportWorkflowRequest{Id: id, Revision: revision}
	if s.Format == show.JSON {
		req.Format = workflowv1.ExportFormat_JSON
	}
	answer, err := s.api.Catalog.ExportWorkflow(ctx, req)
	return answer.GetDocument().GetData(), err
}

func (s *session) exportAll(ctx context.Context, dir string) error {
	all, err := s.api.Workflows(ctx, 0, &workflowv1.ListWorkflowsRequest{View: workflowv1.WorkflowView_BASIC, OrderBy: "title"})
	if err != nil {
		return err
	}
	taken := make(map[string]bool)
	for _, w := range all {
		if w.GetState() == workflowv1.Workflow_DELETING {
			continue
		}
		text, err := s.exported(ctx, w.GetId(), 0)
		if err != nil {
			return fmt.Errorf("export %q: %w", w.GetTitle(), err)
		}
		name := free(taken, slug(w.GetTitle()))
		if err := s.writeDocument(dir, name, text); err != nil {
			return err
		}
	}
	return nil
}

// free returns a name that is not taken, and takes it. Titles that differ in signs only make the same name; the later ones get a number.
func free(taken map[string]bool, name string) string {
	candidate := name
	for n := 2; taken[candidate]; n++ {
		candidate = fmt.Sprintf("%s-%d", name, n)
	}
	taken[candidate] = true
	return candidate
}

// exportTemplate writes the workflow of a template as a document.
func (s *session) exportTemplate(ctx context.Context, id string) error {
	answer, err := s.api.Catalog.GetTemplate(ctx, &workflowv1.GetTemplateRequest{Id: id})
	if err != nil {
		return err
	}
	if s.Format != show.JSON {
		s.Format = show.YAML
	}
	return s.Document(answer.GetTemplate().GetWorkflow())
}

func (s *session) writeDocument(dir, name string, text []byte) error {
	if err := os.MkdirAll(dir, 0o755); err != nil { //nolint:gosec // documents hold no secrets and are for everybody who works on them
		return fmt.Errorf("make the directory: %w", err)
	}
	extension := ".yaml"
	if s.Format == show.JSON {
		extension = ".json"
	}
	path := filepath.Join(dir, name+extension)
	if err := os.WriteFile(path, text, 0o644); err != nil { //nolint:gosec // as above
		return fmt.Errorf("write the document: %w", err)
	}
	return s.Line("%s", path)
}

// maxSlug bounds file names: file systems take 255 bytes, and a number and an extension come behind.
const maxSlug = 200

// slug makes a file name of a title.
func slug(title string) string {
	words := strings.FieldsFunc(strings.ToLower(title), func(r rune) bool { return !unicode.IsLetter(r) && !unicode.IsDigit(r) && !unicode.IsMark(r) })
	if len(words) == 0 {
		return "workflow"
	}
	name := strings.Join(words, "-")
	for i := range name {
		if i > maxSlug {
			return name[:i]
		}
	}
	return name
}
