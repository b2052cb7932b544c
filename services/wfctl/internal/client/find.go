package client

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"unicode"

	"github.com/google/uuid"

	"workflow.uniconnect/pkg/fault"

	workflowv1 "workflow.uniconnect/proto/gen/go/uniconnect/workflow/v1"
)

// pageSize is how much is fetched at a time.
const pageSize = 200

// Pages gathers the items of pages up to a limit; 0 means all. fetch returns a page and the token of the next.
func Pages[T any](limit int, fetch func(token string, size int32) ([]T, string, error)) ([]T, error) {
	var all []T
	for token := ""; ; {
		size := pageSize
		if limit > 0 {
			size = min(size, limit-len(all))
		}
		page, next, err := fetch(token, int32(size))
		if err != nil {
			return nil, err
		}
		all = append(all, page...)
		if next == "" || limit > 0 && len(all) >= limit {
			return all, nil
		}
		token = next
	}
}

// Workflows lists workflows.
func (c *Client) Workflows(ctx context.Context, limit int, req *workflowv1.ListWorkflowsRequest) ([]*workflowv1.Workflow, error) {
	return Pages(limit, func(token string, size int32) ([]*workflowv1.Workflow, string, error) {
		req.PageToken, req.PageSize = token, size
		page, err := c.Catalog.ListWorkflows(ctx, req)
		return page.GetWorkflows(), page.GetNextPageToken(), err
	})
}

// Workflow finds a workflow by its id or its exact title.
func (c *Client) Workflow(ctx context.Context, name string) (*workflowv1.Workflow, error) {
	id, err := c.WorkflowID(ctx, name)
	if err != nil {
		return nil, err
	}
	answer, err := c.Catalog.GetWorkflow(ctx, &workflowv1.GetWorkflowRequest{Id: id})
	return answer.GetWorkflow(), err
}

// IsID tells whether a name is an id.
func IsID(name string) bool {
	_, err := uuid.Parse(name)
	return err == nil && len(name) == len(uuid.Nil.String())
}

// WorkflowID returns the id of a workflow that is named by its id or its exact title. Of several of that title, which only workflows on
// their way out can share with another, it is the one that is not.
func (c *Client) WorkflowID(ctx context.Context, name string) (string, error) {
	if IsID(name) {
		return strings.ToLower(name), nil
	}
	candidates, err := c.Workflows(ctx, 0, &workflowv1.ListWorkflowsRequest{Filter: TitleFilter(name), View: workflowv1.WorkflowView_BASIC})
	if err != nil {
		return "", err
	}
	found, near := "", ""
	for _, w := range candidates {
		if strings.EqualFold(w.GetTitle(), strings.TrimSpace(name)) {
			near = fmt.Sprintf("; did you mean %q?", w.GetTitle())
		}
		if w.GetTitle() == name && (found == "" || w.GetState() != workflowv1.Workflow_DELETING) {
			found = w.GetId()
		}
	}
	if found == "" {
		return "", fault.NotFound("WORKFLOW_NOT_FOUND", fmt.Sprintf("there is no workflow with the id or title %q%s", name, near))
	}
	return found, nil
}

// maxWords is how many words of a title are looked for; the rest is compared here.
const maxWords = 4

// TitleFilter returns the filter for workflows whose titles have the words of a title. It holds nothing but letters and digits of it. A
// title without any is looked for among all.
func TitleFilter(title string) string {
	words := strings.FieldsFunc(title, func(r rune) bool { return !unicode.In(r, unicode.L, unicode.M, unicode.N) })
	if len(words) == 0 {
		return ""
	}
	return `title : "` + strings.Join(words[:min(maxWords, len(words))], " ") + `"`
}

// Backup finds a backup of a workflow by its id or its name. Of several with that name it is the newest.
func (c *Client) Backup(ctx context.Context, workflow, name string) (*workflowv1.Backup, error) {
	all, err := c.Backups(ctx, workflow, 0)
	if err != nil {
		return nil, err
	}
	for _, b := range all {
		if b.GetId() == strings.ToLower(name) || name != "" && b.GetName() == name {
			return b, nil
		}
	}
	return nil, fault.NotFound("BACKUP_NOT_FOUND", fmt.Sprintf("the workflow has no backup with the id or name %q", name))
}

// Backups lists the backups of a workflow, newest first.
func (c *Client) Backups(ctx context.Context, workflow string, limit int) ([]*workflowv1.Backup, error) {
	return Pages(limit, func(token string, size int32) ([]*workflowv1.Backup, string, error) {
		page, err := c.Catalog.ListBackups(ctx, &workflowv1.ListBackupsRequest{WorkflowId: workflow, PageToken: token, PageSize: size})
		return page.GetBackups(), page.GetNextPageToken(), err
	})
}

// Revisions lists what was saved of a workflow, newest first.
func (c *Client) Revisions(ctx context.Context, workflow string, limit int) ([]*workflowv1.Revision, error) {
	return Pages(limit, func(token string, size int32) ([]*workflowv1.Revision, string, error) {
		page, err := c.Catalog.ListRevisions(ctx, &workflowv1.ListRevisionsRequest{WorkflowId: workflow, PageToken: token, PageSize: size})
		return page.GetRevisions(), page.GetNextPageToken(), err
	})
}

// AuditEntries lists audit entries, newest first.
func (c *Client) AuditEntries(ctx context.Context, filter string, limit int) ([]*workflowv1.AuditEntry, error) {
	return Pages(limit, func(token string, size int32) ([]*workflowv1.AuditEntry, string, error) {
		page, err := c.Catalog.ListAuditEntries(ctx, &workflowv1.ListAuditEntriesRequest{Filter: filter, PageToken: token, PageSize: size})
		return page.GetAuditEntries(), page.GetNextPageToken(), err
	})
}

// Executions lists runs, newest first; of one workflow unless that is empty.
func (c *Client) Executions(ctx context.Context, workflow string, limit int) ([]*workflowv1.Execution, error) {
	return Pages(limit, func(token string, size int32) ([]*workflowv1.Execution, string, error) {
		page, err := c.Executor.ListExecutions(ctx, &workflowv1.ListExecutionsRequest{WorkflowId: workflow, PageToken: token, PageSize: size})
		return page.GetExecutions(), page.GetNextPageToken(), err
	})
}

// Execution finds a run by its id, or the newest run of a workflow that is named by its title.
func (c *Client) Execution(ctx context.Context, name string) (*workflowv1.Execution, error) {
	if !IsID(name) {
		workflow, err := c.WorkflowID(ctx, name)
		if err != nil {
			return nil, err
		}
		newest, err := c.Executions(ctx, workflow, 1)
		if err != nil {
			return nil, err
		}
		if len(newest) == 0 {
			return nil, fault.NotFound("EXECUTION_NOT_FOUND", fmt.Sprintf("workflow %q has not run yet", name))
		}
		name = newest[0].GetId()
	}
	answer, err := c.Executor.GetExecution(ctx, &workflowv1.GetExecutionRequest{Id: strings.ToLower(name)})
	return answer.GetExecution(), err
}

// Titles maps the ids of workflows to their titles. Of a workflow that is gone there is none; of others neither, when they may not be seen.
func (c *Client) Titles(ctx context.Context, ids map[string]struct{}) (map[string]string, error) {
	titles := make(map[string]string, len(ids))
	for id := range ids {
		answer, err := c.Catalog.GetWorkflow(ctx, &workflowv1.GetWorkflowRequest{Id: id})
		var f *fault.Error
		switch {
		case errors.As(err, &f) && (f.Kind == fault.KindNotFound || f.Kind == fault.KindPermissionDenied):
		case err != nil:
			return nil, err
		default:
			titles[id] = answer.GetWorkflow().GetTitle()
		}
	}
	return titles, nil
}
