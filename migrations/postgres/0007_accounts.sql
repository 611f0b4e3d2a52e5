-- The service's own accounts: how their owners prove who they are, and where they are logged in.
--
-- The user's id or the token's hash is the key of two of these tables, and each has times of its own instead of
-- `created_at` and `updated_at`. What belongs to a user goes with the user's row.

SET LOCAL client_min_messages = warning;

CREATE TABLE IF NOT EXISTS credentials (
    user_id text PRIMARY KEY REFERENCES users (id) ON DELETE CASCADE,
    password_hash text NOT NULL, -- argon2id, as a PHC string
    email_verified_at timestamptz,
    password_changed_at timestamptz NOT NULL DEFAULT now()
);

-- Refresh tokens are computed from `seed` and `generation` with a key that is not in the database.
CREATE TABLE IF NOT EXISTS sessions (
    id text PRIMARY KEY,
    user_id text NOT NULL REFERENCES users (id) ON DELETE CASCADE,
    seed bytea NOT NULL,
    generation bigint NOT NULL DEFAULT 0,
    rotated_at timestamptz,
    user_agent text,
    ip_address text,
    created_at timestamptz NOT NULL DEFAULT now(),
    last_used_at timestamptz NOT NULL DEFAULT now(),
    expires_at timestamptz NOT NULL,
    revoked_at timestamptz,
    revoked_reason text
);

CREATE INDEX IF NOT EXISTS sessions_user_id_idx ON sessions (user_id);
CREATE INDEX IF NOT EXISTS sessions_expires_at_idx ON sessions (expires_at); -- the sweep

CREATE TABLE IF NOT EXISTS one_time_tokens (
    token_hash text PRIMARY KEY, -- SHA-256, in hexadecimal
    user_id text NOT NULL REFERENCES users (id) ON DELETE CASCADE,
    purpose text NOT NULL CHECK (purpose IN ('verify_email', 'reset_password')),
    expires_at timestamptz NOT NULL,
    used_at timestamptz
);

CREATE INDEX IF NOT EXISTS one_time_tokens_user_id_purpose_idx ON one_time_tokens (user_id, purpose);
CREATE INDEX IF NOT EXISTS one_time_tokens_expires_at_idx ON one_time_tokens (expires_at); -- the sweep

-- What a browser opens a WebSocket with instead of a token in its address: used once, within seconds.
CREATE TABLE IF NOT EXISTS ws_tickets (
    ticket_hash text PRIMARY KEY, -- SHA-256, in hexadecimal
    user_id text NOT NULL,
    claims text NOT NULL, -- JSON: what the token said, but not the token
    expires_at timestamptz NOT NULL
);

CREATE INDEX IF NOT EXISTS ws_tickets_expires_at_idx ON ws_tickets (expires_at); -- the sweep
