-- Tenants that were deleted. Late starts find them here. A program of the release before does not look: it must be gone before a tenant is
-- deleted.

-- +goose Up
CREATE TABLE tenant_tombstones (
    tenant      text        NOT NULL PRIMARY KEY,
    create_time timestamptz NOT NULL DEFAULT now()
);
