-- The queue: what was promised in a transaction stands here as a row until it has been done.
--
-- A row's times are its own columns (`enqueue_time`, `start_time`, `finish_time`), so there are no `created_at` and
-- `updated_at`. `owner_id` says whose data the row holds, for their erasure; no reference, which would lock the user's
-- row at every enqueue.

SET LOCAL client_min_messages = warning;

CREATE TABLE IF NOT EXISTS jobs (
    id text PRIMARY KEY,
    function text NOT NULL,
    args jsonb NOT NULL DEFAULT '[]',
    kwargs jsonb NOT NULL DEFAULT '{}',
    status text NOT NULL DEFAULT 'queued' CHECK (status IN ('queued', 'running', 'done', 'dead', 'cancelled')),
    priority integer NOT NULL DEFAULT 0,
    attempts integer NOT NULL DEFAULT 0,
    losses integer NOT NULL DEFAULT 0, -- of its worker
    max_attempts integer NOT NULL DEFAULT 3,
    run_at timestamptz NOT NULL DEFAULT now(),
    enqueue_time timestamptz NOT NULL DEFAULT now(),
    start_time timestamptz,
    finish_time timestamptz,
    success boolean,
    result jsonb,
    error text,
    dedupe_key text,
    owner_id text,
    cancel_requested boolean NOT NULL DEFAULT false,
    locked_by text,
    locked_until timestamptz
) WITH (
    -- Every row is changed twice and then removed: dead versions are cleared away before they slow the claims.
    autovacuum_vacuum_scale_factor = 0.02,
    autovacuum_analyze_scale_factor = 0.05
);

-- Claims, the leases of running rows, counts by status, the sweep.
CREATE INDEX IF NOT EXISTS jobs_status_idx ON jobs (status, priority DESC, run_at, id);
-- One waiting or running job of a name; a finished one may be asked for again.
CREATE UNIQUE INDEX IF NOT EXISTS jobs_dedupe_key_key
    ON jobs (dedupe_key) WHERE dedupe_key IS NOT NULL AND status IN ('queued', 'running');

-- When each schedule last had its turn: moving `last_slot` on is what makes a slot run once in a cluster.
CREATE TABLE IF NOT EXISTS cron_schedules (
    name text PRIMARY KEY,
    last_slot timestamptz NOT NULL
);
