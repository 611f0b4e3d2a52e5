-- What users own. A row with `deleted_at` is gone for every read.
-- Also takes over an older table (see 0001_users.sql for the rules).

SET LOCAL client_min_messages = warning;
SET LOCAL timezone = 'UTC';

CREATE TABLE IF NOT EXISTS projects (
    id text PRIMARY KEY,
    created_at timestamptz NOT NULL DEFAULT now(),
    updated_at timestamptz NOT NULL DEFAULT now(),
    deleted_at timestamptz,
    name varchar(255) NOT NULL,
    description varchar(2000),
    owner_id text NOT NULL REFERENCES users (id),
    name_folded text COLLATE "C" NOT NULL DEFAULT ''
);

-- `name_folded` is the name as people search it, written by the service: SQL's `lower` depends on the database's locale.
-- "C" gives the byte order that SQLite has too. Old rows start empty and are filled in after the migrations.
ALTER TABLE projects ADD COLUMN IF NOT EXISTS name_folded text COLLATE "C" NOT NULL DEFAULT '';

ALTER TABLE projects
    ALTER COLUMN id TYPE text,
    ALTER COLUMN owner_id TYPE text,
    ALTER COLUMN created_at TYPE timestamptz,
    ALTER COLUMN updated_at TYPE timestamptz,
    ALTER COLUMN deleted_at TYPE timestamptz;

UPDATE projects SET created_at = COALESCE(LEAST(updated_at, deleted_at), now()) WHERE created_at IS NULL;
UPDATE projects SET updated_at = GREATEST(created_at, deleted_at) WHERE updated_at IS NULL;

ALTER TABLE projects
    ALTER COLUMN created_at SET DEFAULT now(),
    ALTER COLUMN created_at SET NOT NULL,
    ALTER COLUMN updated_at SET DEFAULT now(),
    ALTER COLUMN updated_at SET NOT NULL;

-- The first repeats the primary key, and no query goes by the others: every read asks for one owner's live projects.
DROP INDEX IF EXISTS ix_projects_id;
DROP INDEX IF EXISTS ix_projects_name;
DROP INDEX IF EXISTS ix_projects_owner_id;

CREATE INDEX IF NOT EXISTS projects_list_idx
    ON projects (owner_id, created_at DESC, id DESC) WHERE deleted_at IS NULL;
CREATE INDEX IF NOT EXISTS projects_search_idx
    ON projects (owner_id, name_folded, id) WHERE deleted_at IS NULL;
-- Empty as soon as the old rows are filled in, so that looking for more costs nothing at a start.
CREATE INDEX IF NOT EXISTS projects_unfolded_idx ON projects (id) WHERE name_folded = '';
