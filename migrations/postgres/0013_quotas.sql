-- What users have used of the monthly quotas of their plans. Rows of past months are removed.

CREATE TABLE quota_counters (
    user_id text NOT NULL REFERENCES users (id),
    feature text NOT NULL, -- name of the quota, such as ai_requests
    period text NOT NULL, -- month in UTC, such as 2026-11
    used bigint NOT NULL CHECK (used >= 0),
    last_limit bigint NOT NULL, -- that the last counted request was checked against; -1 is no limit
    PRIMARY KEY (user_id, feature, period)
) WITH (fillfactor = 50); -- room for the next version of a row on its page, so that a count writes no index

CREATE INDEX quota_counters_period_idx ON quota_counters (period); -- the sweep
