-- The service's own accounts: how their owners prove who they are, and where they are logged in.
--
-- The user's id or the token's hash is the key of two of these tables, and each has times of its own instead of
-- `created_at` and `updated_at`. What belongs to a user goes with the user's row.

CREATE TABLE credentials (
    user_id TEXT NOT NULL PRIMARY KEY REFERENCES users (id) ON DELETE CASCADE,
    password_hash TEXT NOT NULL, -- argon2id, as a PHC string
    email_verified_at TEXT,
    password_changed_at TEXT NOT NULL DEFAULT (strftime('%Y-%m-%dT%H:%M:%f', 'now') || '000+00:00')
) STRICT;

-- Refresh tokens are computed from `seed` and `generation` with a key that is not in the database.
CREATE TABLE sessions (
    id TEXT NOT NULL PRIMARY KEY,
    user_id TEXT NOT NULL REFERENCES users (id) ON DELETE CASCADE,
    seed BLOB NOT NULL,
    generation INTEGER NOT NULL DEFAULT 0,
    rotated_at TEXT,
    user_agent TEXT,
    ip_address TEXT,
    created_at TEXT NOT NULL DEFAULT (strftime('%Y-%m-%dT%H:%M:%f', 'now') || '000+00:00'),
    last_used_at TEXT NOT NULL DEFAULT (strftime('%Y-%m-%dT%H:%M:%f', 'now') || '000+00:00'),
    expires_at TEXT NOT NULL,
    revoked_at TEXT,
    revoked_reason TEXT
) STRICT;

CREATE INDEX sessions_user_id_idx ON sessions (user_id);
CREATE INDEX sessions_expires_at_idx ON sessions (expires_at); -- the sweep

CREATE TABLE one_time_tokens (
    token_hash TEXT NOT NULL PRIMARY KEY, -- SHA-256, in hexadecimal
    user_id TEXT NOT NULL REFERENCES users (id) ON DELETE CASCADE,
    purpose TEXT NOT NULL CHECK (purpose IN ('verify_email', 'reset_password')),
    expires_at TEXT NOT NULL,
    used_at TEXT
) STRICT;

CREATE INDEX one_time_tokens_user_id_purpose_idx ON one_time_tokens (user_id, purpose);
CREATE INDEX one_time_tokens_expires_at_idx ON one_time_tokens (expires_at); -- the sweep

-- What a browser opens a WebSocket with instead of a token in its address: used once, within seconds.
CREATE TABLE ws_tickets (
    ticket_hash TEXT NOT NULL PRIMARY KEY, -- SHA-256, in hexadecimal
    user_id TEXT NOT NULL,
    claims TEXT NOT NULL, -- JSON: what the token said, but not the token
    expires_at TEXT NOT NULL
) STRICT;

CREATE INDEX ws_tickets_expires_at_idx ON ws_tickets (expires_at); -- the sweep
