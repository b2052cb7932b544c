-- +goose Up

-- Which call a remembered answer belongs to: a request id is good for one.
ALTER TABLE updates ADD COLUMN method text NOT NULL DEFAULT 'update';

-- Numbers of records that workflows make; the seeds' are smaller.
CREATE SEQUENCE record_numbers START 10001;

-- How often a list of users has been asked for the next one of them.
CREATE TABLE turns (
    tenant text   NOT NULL,
    module text   NOT NULL,
    pool   text   NOT NULL,
    taken  bigint NOT NULL,
    PRIMARY KEY (tenant, module, pool)
);
