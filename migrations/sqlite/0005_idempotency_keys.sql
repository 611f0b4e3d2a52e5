-- Answers kept for a day, so that a repeated POST with the same Idempotency-Key gets the first one again.
--
-- The key is the caller's own name for a request and the primary key with the caller, so there is no `id`; and a row
-- changes at most once, when its answer comes in, so there is no `updated_at`. `answer` is null while the first request
-- still runs; it is encrypted, for some answers hold signed links. No reference to `users`: these rows are swept
-- after a day and need no protection.

CREATE TABLE idempotency_keys (
    user_id TEXT NOT NULL,
    key TEXT NOT NULL,
    fingerprint TEXT NOT NULL,
    answer BLOB,
    created_at TEXT NOT NULL DEFAULT (strftime('%Y-%m-%dT%H:%M:%f', 'now') || '000+00:00'),
    expires_at TEXT NOT NULL,
    PRIMARY KEY (user_id, key)
) STRICT;

CREATE INDEX idempotency_keys_expires_at_idx ON idempotency_keys (expires_at); -- the sweep
