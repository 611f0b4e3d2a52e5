-- Reports of usage to Stripe's meters: what is sent is written down first, and sent word for word until Stripe answers.

CREATE TABLE usage_reports (
    id TEXT NOT NULL PRIMARY KEY,
    created_at TEXT NOT NULL DEFAULT (strftime('%Y-%m-%dT%H:%M:%f', 'now') || '000+00:00'),
    updated_at TEXT NOT NULL DEFAULT (strftime('%Y-%m-%dT%H:%M:%f', 'now') || '000+00:00'),
    user_id TEXT NOT NULL REFERENCES users (id),
    stripe_customer_id TEXT NOT NULL,
    metric TEXT NOT NULL,
    event_name TEXT NOT NULL, -- of the meter
    day TEXT NOT NULL, -- period_start of the row in usage_records
    number INTEGER NOT NULL, -- 1, 2, … of the user, metric and day
    value INTEGER NOT NULL CHECK (value > 0), -- used since the report before
    reported_at TEXT NOT NULL, -- the time that is told to Stripe, within the day
    identifier TEXT NOT NULL, -- by which Stripe knows a repetition
    state TEXT NOT NULL CHECK (state IN ('pending', 'delivered', 'refused', 'expired')),
    attempts INTEGER NOT NULL DEFAULT 0,
    first_sent_at TEXT, -- the first attempt that may have been counted without an answer
    next_attempt_at TEXT NOT NULL,
    error TEXT -- of the last attempt
) STRICT;

CREATE UNIQUE INDEX usage_reports_number_key ON usage_reports (user_id, metric, day, number);
CREATE UNIQUE INDEX usage_reports_identifier_key ON usage_reports (identifier);
-- The next report of a day follows the answer to the one before.
CREATE UNIQUE INDEX usage_reports_pending_key ON usage_reports (user_id, metric, day) WHERE state = 'pending';
CREATE INDEX usage_reports_due_idx ON usage_reports (attempts, next_attempt_at, id) WHERE state = 'pending';
CREATE INDEX usage_reports_day_idx ON usage_reports (day); -- the sweep
