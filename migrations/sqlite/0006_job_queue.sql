-- The queue: what was promised in a transaction stands here as a row until it has been done.
--
-- A row's times are its own columns (`enqueue_time`, `start_time`, `finish_time`), so there are no `created_at` and
-- `updated_at`. `owner_id` says whose data the row holds, for their erasure.

CREATE TABLE jobs (
    id TEXT NOT NULL PRIMARY KEY,
    function TEXT NOT NULL,
    args TEXT NOT NULL DEFAULT '[]',
    kwargs TEXT NOT NULL DEFAULT '{}',
    status TEXT NOT NULL DEFAULT 'queued' CHECK (status IN ('queued', 'running', 'done', 'dead', 'cancelled')),
    priority INTEGER NOT NULL DEFAULT 0,
    attempts INTEGER NOT NULL DEFAULT 0,
    losses INTEGER NOT NULL DEFAULT 0, -- of its worker
    max_attempts INTEGER NOT NULL DEFAULT 3,
    run_at TEXT NOT NULL DEFAULT (strftime('%Y-%m-%dT%H:%M:%f', 'now') || '000+00:00'),
    enqueue_time TEXT NOT NULL DEFAULT (strftime('%Y-%m-%dT%H:%M:%f', 'now') || '000+00:00'),
    start_time TEXT,
    finish_time TEXT,
    success INTEGER CHECK (success IN (0, 1)),
    result TEXT,
    error TEXT,
    dedupe_key TEXT,
    owner_id TEXT,
    cancel_requested INTEGER NOT NULL DEFAULT 0 CHECK (cancel_requested IN (0, 1)),
    locked_by TEXT,
    locked_until TEXT
) STRICT;

-- Claims, the leases of running rows, counts by status, the sweep.
CREATE INDEX jobs_status_idx ON jobs (status, priority DESC, run_at, id);
-- One waiting or running job of a name; a finished one may be asked for again.
CREATE UNIQUE INDEX jobs_dedupe_key_key
    ON jobs (dedupe_key) WHERE dedupe_key IS NOT NULL AND status IN ('queued', 'running');

-- When each schedule last had its turn: moving `last_slot` on is what makes a slot run once.
CREATE TABLE cron_schedules (
    name TEXT NOT NULL PRIMARY KEY,
    last_slot TEXT NOT NULL
) STRICT;
