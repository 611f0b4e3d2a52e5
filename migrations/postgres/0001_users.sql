-- The people who sign in. `id` is the `sub` of their token: free text, never made here.
--
-- Works on an empty database and on the tables of the service this one takes over. There it deletes no row and sets
-- no value to null; src/app/migrate/takeover.rs looks first at what would stand in the way, and names who is changed.

SET LOCAL client_min_messages = warning; -- "already exists, skipping" is what is meant to happen
SET LOCAL timezone = 'UTC'; -- old times are UTC without a zone; with this their change of type rewrites no table

CREATE TABLE IF NOT EXISTS users (
    id text PRIMARY KEY,
    created_at timestamptz NOT NULL DEFAULT now(),
    updated_at timestamptz NOT NULL DEFAULT now(),
    email text NOT NULL,
    full_name varchar(255),
    avatar_url varchar(2048),
    role text NOT NULL DEFAULT 'user',
    is_active boolean NOT NULL DEFAULT true,
    stripe_customer_id text,
    subscription_status text,
    subscription_plan text,
    apple_original_transaction_id text,
    google_purchase_token text,
    last_login_at timestamptz,
    login_count integer NOT NULL DEFAULT 0,
    subscription_source text,
    subscription_event_at timestamptz
);

-- From here on: what an older table lacks. On a new one nothing changes but for the constraint and the indexes.

ALTER TABLE users
    ADD COLUMN IF NOT EXISTS apple_original_transaction_id text,
    ADD COLUMN IF NOT EXISTS google_purchase_token text,
    ADD COLUMN IF NOT EXISTS subscription_source text,
    ADD COLUMN IF NOT EXISTS subscription_event_at timestamptz;

ALTER TABLE users
    ALTER COLUMN id TYPE text,
    ALTER COLUMN email TYPE text,
    ALTER COLUMN role TYPE text,
    ALTER COLUMN stripe_customer_id TYPE text,
    ALTER COLUMN subscription_status TYPE text,
    ALTER COLUMN subscription_plan TYPE text,
    ALTER COLUMN apple_original_transaction_id TYPE text,
    ALTER COLUMN google_purchase_token TYPE text,
    ALTER COLUMN created_at TYPE timestamptz,
    ALTER COLUMN updated_at TYPE timestamptz,
    ALTER COLUMN last_login_at TYPE timestamptz;

-- A row without times gets the earliest and the latest moment it is known to have existed at.
UPDATE users SET created_at = COALESCE(LEAST(updated_at, last_login_at), now()) WHERE created_at IS NULL;
UPDATE users SET updated_at = GREATEST(created_at, last_login_at) WHERE updated_at IS NULL;

UPDATE users SET role = 'user' WHERE role NOT IN ('user', 'admin', 'superadmin');

-- Addresses are looked up trimmed and in lower case. Where two rows would then hold one address, all that differ from
-- it stay as they are: which of the accounts is the right one is not ours to say. ASCII letters go first, because under
-- a Turkish locale `lower` makes a dotless letter of I. (takeover.rs holds the same expression.)
UPDATE users SET email = plain.address
FROM (
    SELECT id, address, count(*) OVER (PARTITION BY address) AS holders
    FROM (
        SELECT id, lower(lower(btrim(email, E' \t\r\n') COLLATE "C") COLLATE "default") AS address
        FROM users
    ) AS folded
) AS plain
WHERE users.id = plain.id AND plain.holders = 1 AND users.email <> plain.address;

ALTER TABLE users
    ALTER COLUMN created_at SET DEFAULT now(),
    ALTER COLUMN created_at SET NOT NULL,
    ALTER COLUMN updated_at SET DEFAULT now(),
    ALTER COLUMN updated_at SET NOT NULL,
    ALTER COLUMN role SET DEFAULT 'user',
    ALTER COLUMN is_active SET DEFAULT true,
    ALTER COLUMN login_count SET DEFAULT 0;

-- The only check on an enumeration: old rows may hold any plan or status, and those stay as they are.
ALTER TABLE users DROP CONSTRAINT IF EXISTS users_role_check;
ALTER TABLE users ADD CONSTRAINT users_role_check CHECK (role IN ('user', 'admin', 'superadmin'));

ALTER INDEX IF EXISTS ix_users_email RENAME TO users_email_key;
CREATE UNIQUE INDEX IF NOT EXISTS users_email_key ON users (email);

-- A vendor's id belongs to one account: a payment must not find two.
DROP INDEX IF EXISTS ix_users_stripe_customer_id;
DROP INDEX IF EXISTS ix_users_apple_original_transaction_id;
DROP INDEX IF EXISTS ix_users_google_purchase_token;
CREATE UNIQUE INDEX IF NOT EXISTS users_stripe_customer_id_key
    ON users (stripe_customer_id) WHERE stripe_customer_id IS NOT NULL;
CREATE UNIQUE INDEX IF NOT EXISTS users_apple_original_transaction_id_key
    ON users (apple_original_transaction_id) WHERE apple_original_transaction_id IS NOT NULL;
CREATE UNIQUE INDEX IF NOT EXISTS users_google_purchase_token_key
    ON users (google_purchase_token) WHERE google_purchase_token IS NOT NULL;

DROP INDEX IF EXISTS ix_users_id; -- the primary key has it
CREATE INDEX IF NOT EXISTS users_created_at_idx ON users (created_at DESC, id DESC); -- the administrators' list
