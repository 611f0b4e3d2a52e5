-- Answers kept for a day, so that a repeated POST with the same Idempotency-Key gets the first one again.
--
-- The key is the caller's own name for a request and the primary key with the caller, so there is no `id`; and a row
-- changes at most once, when its answer comes in, so there is no `updated_at`. `answer` is null while the first request
-- still runs; it is encrypted, for some answers hold signed links. No reference to `users`: it would lock the
-- caller's row at every POST to protect rows that are swept after a day.

SET LOCAL client_min_messages = warning;

CREATE TABLE IF NOT EXISTS idempotency_keys (
    user_id text NOT NULL,
    key text NOT NULL,
    fingerprint text NOT NULL,
    answer bytea,
    created_at timestamptz NOT NULL DEFAULT now(),
    expires_at timestamptz NOT NULL,
    PRIMARY KEY (user_id, key)
);

CREATE INDEX IF NOT EXISTS idempotency_keys_expires_at_idx ON idempotency_keys (expires_at); -- the sweep
