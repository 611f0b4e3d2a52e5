-- Every event a vendor sent, kept so that each is applied once and a failed one can be tried again.
-- Also takes over an older table (see 0001_users.sql for the rules).

SET LOCAL client_min_messages = warning;
SET LOCAL timezone = 'UTC';

CREATE TABLE IF NOT EXISTS webhook_events (
    id text PRIMARY KEY,
    created_at timestamptz NOT NULL DEFAULT now(),
    updated_at timestamptz NOT NULL DEFAULT now(),
    provider text NOT NULL,
    event_type text NOT NULL,
    idempotency_key text NOT NULL,
    payload jsonb NOT NULL DEFAULT '{}',
    status text NOT NULL DEFAULT 'pending',
    error_message text,
    processed_at timestamptz,
    attempts integer NOT NULL DEFAULT 0,
    occurred_at timestamptz
);

ALTER TABLE webhook_events ADD COLUMN IF NOT EXISTS occurred_at timestamptz;

ALTER TABLE webhook_events
    ALTER COLUMN id TYPE text,
    ALTER COLUMN provider TYPE text,
    ALTER COLUMN event_type TYPE text,
    ALTER COLUMN idempotency_key TYPE text,
    ALTER COLUMN status TYPE text,
    ALTER COLUMN error_message TYPE text,
    ALTER COLUMN created_at TYPE timestamptz,
    ALTER COLUMN updated_at TYPE timestamptz,
    ALTER COLUMN processed_at TYPE timestamptz;

UPDATE webhook_events SET created_at = COALESCE(LEAST(updated_at, processed_at), now()) WHERE created_at IS NULL;
UPDATE webhook_events SET updated_at = GREATEST(created_at, processed_at) WHERE updated_at IS NULL;

ALTER TABLE webhook_events
    ALTER COLUMN created_at SET DEFAULT now(),
    ALTER COLUMN created_at SET NOT NULL,
    ALTER COLUMN updated_at SET DEFAULT now(),
    ALTER COLUMN updated_at SET NOT NULL,
    ALTER COLUMN payload SET DEFAULT '{}',
    ALTER COLUMN status SET DEFAULT 'pending',
    ALTER COLUMN attempts SET DEFAULT 0;

-- Two vendors may use the same id for different events.
CREATE UNIQUE INDEX IF NOT EXISTS webhook_events_provider_idempotency_key_key
    ON webhook_events (provider, idempotency_key);
DROP INDEX IF EXISTS ix_webhook_events_idempotency_key;
DROP INDEX IF EXISTS ix_webhook_events_id; -- the primary key has it

-- The filters of the administrators' list, and its order.
ALTER INDEX IF EXISTS ix_webhook_events_provider RENAME TO webhook_events_provider_idx;
ALTER INDEX IF EXISTS ix_webhook_events_event_type RENAME TO webhook_events_event_type_idx;
ALTER INDEX IF EXISTS ix_webhook_events_status RENAME TO webhook_events_status_idx;
CREATE INDEX IF NOT EXISTS webhook_events_provider_idx ON webhook_events (provider);
CREATE INDEX IF NOT EXISTS webhook_events_event_type_idx ON webhook_events (event_type);
CREATE INDEX IF NOT EXISTS webhook_events_status_idx ON webhook_events (status);
CREATE INDEX IF NOT EXISTS webhook_events_created_at_idx ON webhook_events (created_at DESC, id DESC);
