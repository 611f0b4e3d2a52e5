-- What users use: counted for each user, metric and day, and for each month.

CREATE TABLE usage_records (
    id text NOT NULL PRIMARY KEY,
    created_at timestamptz NOT NULL DEFAULT now(),
    updated_at timestamptz NOT NULL DEFAULT now(),
    user_id text NOT NULL REFERENCES users (id),
    metric text NOT NULL,
    quantity bigint NOT NULL CHECK (quantity >= 0),
    period_start timestamptz NOT NULL,
    period_end timestamptz NOT NULL, -- first instant after the period
    period_type text NOT NULL CHECK (period_type IN ('daily', 'weekly', 'monthly')),
    breakdown jsonb NOT NULL DEFAULT '{}', -- quantities by label, such as method:GET; empty for months
    metadata jsonb NOT NULL DEFAULT '{}',
    reported_to_stripe boolean NOT NULL DEFAULT FALSE, -- all of the quantity
    stripe_usage_record_id text -- identifier of the last report
);

CREATE UNIQUE INDEX usage_records_period_key ON usage_records (user_id, metric, period_type, period_start);
CREATE INDEX usage_records_period_idx ON usage_records (period_start); -- the sweep
-- The users who used most in a month.
CREATE INDEX usage_records_top_idx ON usage_records (metric, period_start, quantity DESC, user_id) WHERE period_type = 'monthly';

-- Batches of counts that are stored: a batch that is stored again changes nothing. Kept for a day.
CREATE TABLE usage_batches (
    id text NOT NULL PRIMARY KEY,
    created_at timestamptz NOT NULL
);

CREATE INDEX usage_batches_created_at_idx ON usage_batches (created_at); -- the sweep

-- The last warning of a user about a quota in a month.
CREATE TABLE usage_warnings (
    user_id text NOT NULL REFERENCES users (id),
    metric text NOT NULL,
    period text NOT NULL, -- month in UTC, such as 2026-11
    plan text NOT NULL,
    threshold bigint NOT NULL, -- percent
    PRIMARY KEY (user_id, metric, period)
);
