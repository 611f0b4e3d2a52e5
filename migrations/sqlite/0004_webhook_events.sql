-- Every event a vendor sent, kept so that each is applied once and a failed one can be tried again.

CREATE TABLE webhook_events (
    id TEXT NOT NULL PRIMARY KEY,
    created_at TEXT NOT NULL DEFAULT (strftime('%Y-%m-%dT%H:%M:%f', 'now') || '000+00:00'),
    updated_at TEXT NOT NULL DEFAULT (strftime('%Y-%m-%dT%H:%M:%f', 'now') || '000+00:00'),
    provider TEXT NOT NULL,
    event_type TEXT NOT NULL,
    idempotency_key TEXT NOT NULL,
    payload TEXT NOT NULL DEFAULT '{}' CHECK (json_valid(payload)),
    status TEXT NOT NULL DEFAULT 'pending',
    error_message TEXT,
    processed_at TEXT,
    attempts INTEGER NOT NULL DEFAULT 0,
    occurred_at TEXT
) STRICT;

-- Two vendors may use the same id for different events.
CREATE UNIQUE INDEX webhook_events_provider_idempotency_key_key
    ON webhook_events (provider, idempotency_key);

-- The filters of the administrators' list, and its order.
CREATE INDEX webhook_events_provider_idx ON webhook_events (provider);
CREATE INDEX webhook_events_event_type_idx ON webhook_events (event_type);
CREATE INDEX webhook_events_status_idx ON webhook_events (status);
CREATE INDEX webhook_events_created_at_idx ON webhook_events (created_at DESC, id DESC);
