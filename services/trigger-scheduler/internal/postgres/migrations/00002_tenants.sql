-- Tenants that were deleted: nothing of theirs is set aside any more.

-- +goose Up
CREATE TABLE tenant_tombstones (
    tenant      text        NOT NULL PRIMARY KEY,
    create_time timestamptz NOT NULL DEFAULT now()
);
