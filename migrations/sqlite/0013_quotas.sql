-- What users have used of the monthly quotas of their plans. Rows of past months are removed.

CREATE TABLE quota_counters (
    user_id TEXT NOT NULL REFERENCES users (id),
    feature TEXT NOT NULL, -- name of the quota, such as ai_requests
    period TEXT NOT NULL, -- month in UTC, such as 2026-11
    used INTEGER NOT NULL CHECK (used >= 0),
    last_limit INTEGER NOT NULL, -- that the last counted request was checked against; -1 is no limit
    PRIMARY KEY (user_id, feature, period)
) STRICT;

CREATE INDEX quota_counters_period_idx ON quota_counters (period); -- the sweep
