-- Registrations of an address that is registered but not verified, and the failed log-ins of each account.

-- One row for each further registration of the address. The row whose link is used gives the account its password and name.
CREATE TABLE registrations (
    id TEXT NOT NULL PRIMARY KEY,
    user_id TEXT NOT NULL REFERENCES users (id) ON DELETE CASCADE,
    password_hash TEXT NOT NULL, -- argon2id, as a PHC string
    full_name TEXT,
    token_hash TEXT, -- SHA-256 of the mailed token, in hexadecimal; null until the mail is sent
    created_at TEXT NOT NULL DEFAULT (strftime('%Y-%m-%dT%H:%M:%f', 'now') || '000+00:00'),
    expires_at TEXT NOT NULL
) STRICT;

CREATE INDEX registrations_user_id_idx ON registrations (user_id);
CREATE UNIQUE INDEX registrations_token_hash_idx ON registrations (token_hash);
CREATE INDEX registrations_expires_at_idx ON registrations (expires_at); -- the sweep

-- When an unverified address was registered again: from then on, a mail that is requested without a password must not confirm
-- the password of the first registration.
ALTER TABLE credentials ADD COLUMN registered_again_at TEXT;

-- One row for each address that a log-in failed for, with or without an account.
CREATE TABLE login_failures (
    account TEXT NOT NULL PRIMARY KEY, -- keyed hash of the address
    failed_at TEXT NOT NULL DEFAULT '', -- Unix seconds of the failures of the last hour, oldest first, separated by commas
    waits INTEGER NOT NULL DEFAULT 0,
    wait_until TEXT,
    alerted_at TEXT,
    expires_at TEXT NOT NULL
) STRICT;

CREATE INDEX login_failures_expires_at_idx ON login_failures (expires_at); -- the sweep
