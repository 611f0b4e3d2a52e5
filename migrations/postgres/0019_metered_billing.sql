-- Reports of usage to Stripe's meters: what is sent is written down first, and sent word for word until Stripe answers.

CREATE TABLE usage_reports (
    id text NOT NULL PRIMARY KEY,
    created_at timestamptz NOT NULL DEFAULT now(),
    updated_at timestamptz NOT NULL DEFAULT now(),
    user_id text NOT NULL REFERENCES users (id),
    stripe_customer_id text NOT NULL,
    metric text NOT NULL,
    event_name text NOT NULL, -- of the meter
    day timestamptz NOT NULL, -- period_start of the row in usage_records
    number bigint NOT NULL, -- 1, 2, … of the user, metric and day
    value bigint NOT NULL CHECK (value > 0), -- used since the report before
    reported_at timestamptz NOT NULL, -- the time that is told to Stripe, within the day
    identifier text NOT NULL, -- by which Stripe knows a repetition
    state text NOT NULL CHECK (state IN ('pending', 'delivered', 'refused', 'expired')),
    attempts bigint NOT NULL DEFAULT 0,
    first_sent_at timestamptz, -- the first attempt that may have been counted without an answer
    next_attempt_at timestamptz NOT NULL,
    error text -- of the last attempt
);

CREATE UNIQUE INDEX usage_reports_number_key ON usage_reports (user_id, metric, day, number);
CREATE UNIQUE INDEX usage_reports_identifier_key ON usage_reports (identifier);
-- The next report of a day follows the answer to the one before.
CREATE UNIQUE INDEX usage_reports_pending_key ON usage_reports (user_id, metric, day) WHERE state = 'pending';
CREATE INDEX usage_reports_due_idx ON usage_reports (attempts, next_attempt_at, id) WHERE state = 'pending';
CREATE INDEX usage_reports_day_idx ON usage_reports (day); -- the sweep
