package workflow

import "context"

// TitleFree reports whether a workflow may have a title: nobody else has it. A workflow that is not created yet has no id; one that does
// not exist is ErrNotFound.
func (c *Catalog) TitleFree(ctx context.Context, tenant Tenant, id ID, title string) (bool, error) {
	if id != "" {
		w, err := c.deps.Store.Get(ctx, tenant, id)
		if err != nil {
			return false, err
		}
		if w.Config.Title == title {
			return true, nil
		}
	}
	taken, err := c.deps.Store.Taken(ctx, tenant, []string{title})
	return len(taken) == 0, err
}
