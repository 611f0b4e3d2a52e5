-- The people who sign in. `id` is the `sub` of their token: free text, never made here.
--
-- STRICT tables know neither times nor booleans: a time is RFC 3339 text in UTC, whose default has the six digits and
-- the offset the service writes (CURRENT_TIMESTAMP would sort wrongly beside them), and a boolean is 0 or 1.

CREATE TABLE users (
    id TEXT NOT NULL PRIMARY KEY,
    created_at TEXT NOT NULL DEFAULT (strftime('%Y-%m-%dT%H:%M:%f', 'now') || '000+00:00'),
    updated_at TEXT NOT NULL DEFAULT (strftime('%Y-%m-%dT%H:%M:%f', 'now') || '000+00:00'),
    email TEXT NOT NULL,
    full_name TEXT,
    avatar_url TEXT,
    role TEXT NOT NULL DEFAULT 'user',
    is_active INTEGER NOT NULL DEFAULT 1 CHECK (is_active IN (0, 1)),
    stripe_customer_id TEXT,
    subscription_status TEXT,
    subscription_plan TEXT,
    apple_original_transaction_id TEXT,
    google_purchase_token TEXT,
    last_login_at TEXT,
    login_count INTEGER NOT NULL DEFAULT 0,
    subscription_source TEXT,
    subscription_event_at TEXT,
    -- The only check on an enumeration, as on Postgres, where old rows may hold any plan or status.
    CONSTRAINT users_role_check CHECK (role IN ('user', 'admin', 'superadmin'))
) STRICT;

CREATE UNIQUE INDEX users_email_key ON users (email);

-- A vendor's id belongs to one account: a payment must not find two.
CREATE UNIQUE INDEX users_stripe_customer_id_key
    ON users (stripe_customer_id) WHERE stripe_customer_id IS NOT NULL;
CREATE UNIQUE INDEX users_apple_original_transaction_id_key
    ON users (apple_original_transaction_id) WHERE apple_original_transaction_id IS NOT NULL;
CREATE UNIQUE INDEX users_google_purchase_token_key
    ON users (google_purchase_token) WHERE google_purchase_token IS NOT NULL;

CREATE INDEX users_created_at_idx ON users (created_at DESC, id DESC); -- the administrators' list
