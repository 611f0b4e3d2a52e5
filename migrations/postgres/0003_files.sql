-- Uploaded files: the row here, the bytes in the storage under `key`. Deleting one deletes the row.
-- Also takes over an older table (see 0001_users.sql for the rules).

SET LOCAL client_min_messages = warning;
SET LOCAL timezone = 'UTC';

CREATE TABLE IF NOT EXISTS files (
    id text PRIMARY KEY,
    created_at timestamptz NOT NULL DEFAULT now(),
    updated_at timestamptz NOT NULL DEFAULT now(),
    owner_id text NOT NULL REFERENCES users (id),
    key text NOT NULL,
    filename varchar(255) NOT NULL,
    content_type varchar(100),
    size bigint NOT NULL DEFAULT 0,
    status text NOT NULL DEFAULT 'pending'
);

-- `filename` and `content_type` of an older table have no limit and keep none: their rows may be longer.
-- `size` was 32 bits wide, which ends at 2 GiB; this one change does rewrite the table.
ALTER TABLE files
    ALTER COLUMN id TYPE text,
    ALTER COLUMN owner_id TYPE text,
    ALTER COLUMN key TYPE text,
    ALTER COLUMN status TYPE text,
    ALTER COLUMN size TYPE bigint,
    ALTER COLUMN created_at TYPE timestamptz,
    ALTER COLUMN updated_at TYPE timestamptz;

UPDATE files SET created_at = COALESCE(updated_at, now()) WHERE created_at IS NULL;
UPDATE files SET updated_at = created_at WHERE updated_at IS NULL;

ALTER TABLE files
    ALTER COLUMN created_at SET DEFAULT now(),
    ALTER COLUMN created_at SET NOT NULL,
    ALTER COLUMN updated_at SET DEFAULT now(),
    ALTER COLUMN updated_at SET NOT NULL,
    ALTER COLUMN size SET DEFAULT 0,
    ALTER COLUMN status SET DEFAULT 'pending';

DROP INDEX IF EXISTS ix_files_id; -- the primary key has it
DROP INDEX IF EXISTS ix_files_key; -- not unique
DROP INDEX IF EXISTS ix_files_owner_id; -- the list's index begins with it

CREATE UNIQUE INDEX IF NOT EXISTS files_key_key ON files (key);
CREATE INDEX IF NOT EXISTS files_list_idx ON files (owner_id, created_at DESC, id DESC);
