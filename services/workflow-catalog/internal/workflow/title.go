package workflow

import (
	"context"
	"errors"
)

// CheckTitle answers TitleTaken when another workflow has the title. A workflow that is not created yet has no id; one that does not exist is
// ErrNotFound.
func (c *Catalog) CheckTitle(ctx context.Context, tenant Tenant, id ID, title string) error {
	if id != "" {
		if _, err := c.deps.Store.Get(ctx, tenant, id); err != nil {
			return err
		}
	}
	return c.checkTitle(ctx, tenant, id, title)
}

// checkTitle is CheckTitle for a workflow that exists, or is to be.
func (c *Catalog) checkTitle(ctx context.Context, tenant Tenant, id ID, title string) error {
	other, err := c.deps.Store.Titled(ctx, tenant, title)
	switch {
	case errors.Is(err, ErrNotFound):
		return nil
	case err == nil && other.ID != id:
		return TitleTaken(other.ID)
	}
	return err
}
