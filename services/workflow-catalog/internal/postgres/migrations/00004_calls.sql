-- Who calls whom, by the live configurations. Releases before this one refused to save a step that calls, so there is nothing to fill in.

-- +goose Up
-- A call goes with either of its ends, so that the release before, which knows no calls, can delete as well.
CREATE TABLE workflow_calls (
    tenant text NOT NULL,
    caller uuid NOT NULL,
    callee uuid NOT NULL,
    PRIMARY KEY (tenant, caller, callee),
    FOREIGN KEY (tenant, caller) REFERENCES workflows ON DELETE CASCADE,
    FOREIGN KEY (tenant, callee) REFERENCES workflows ON DELETE CASCADE
);
CREATE INDEX workflow_calls_callee ON workflow_calls (tenant, callee, caller);

-- The changes of a deleted workflow are removed with it.
CREATE INDEX changes_workflow ON changes (tenant, workflow_id);
