-- What users use: counted for each user, metric and day, and for each month.

CREATE TABLE usage_records (
    id TEXT NOT NULL PRIMARY KEY,
    created_at TEXT NOT NULL DEFAULT (strftime('%Y-%m-%dT%H:%M:%f', 'now') || '000+00:00'),
    updated_at TEXT NOT NULL DEFAULT (strftime('%Y-%m-%dT%H:%M:%f', 'now') || '000+00:00'),
    user_id TEXT NOT NULL REFERENCES users (id),
    metric TEXT NOT NULL,
    quantity INTEGER NOT NULL CHECK (quantity >= 0),
    period_start TEXT NOT NULL,
    period_end TEXT NOT NULL, -- first instant after the period
    period_type TEXT NOT NULL CHECK (period_type IN ('daily', 'weekly', 'monthly')),
    breakdown TEXT NOT NULL DEFAULT '{}' CHECK (json_valid(breakdown)), -- quantities by label, such as method:GET; empty for months
    metadata TEXT NOT NULL DEFAULT '{}' CHECK (json_valid(metadata)),
    reported_to_stripe INTEGER NOT NULL DEFAULT 0 CHECK (reported_to_stripe IN (0, 1)), -- all of the quantity
    stripe_usage_record_id TEXT -- identifier of the last report
) STRICT;

CREATE UNIQUE INDEX usage_records_period_key ON usage_records (user_id, metric, period_type, period_start);
CREATE INDEX usage_records_period_idx ON usage_records (period_start); -- the sweep
-- The users who used most in a month.
CREATE INDEX usage_records_top_idx ON usage_records (metric, period_start, quantity DESC, user_id) WHERE period_type = 'monthly';

-- Batches of counts that are stored: a batch that is stored again changes nothing. Kept for a day.
CREATE TABLE usage_batches (
    id TEXT NOT NULL PRIMARY KEY,
    created_at TEXT NOT NULL
) STRICT;

CREATE INDEX usage_batches_created_at_idx ON usage_batches (created_at); -- the sweep

-- The last warning of a user about a quota in a month.
CREATE TABLE usage_warnings (
    user_id TEXT NOT NULL REFERENCES users (id),
    metric TEXT NOT NULL,
    period TEXT NOT NULL, -- month in UTC, such as 2026-11
    plan TEXT NOT NULL,
    threshold INTEGER NOT NULL, -- percent
    PRIMARY KEY (user_id, metric, period)
) STRICT;
