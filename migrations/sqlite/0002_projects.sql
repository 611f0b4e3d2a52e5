-- What users own. A row with `deleted_at` is gone for every read.

CREATE TABLE projects (
    id TEXT NOT NULL PRIMARY KEY,
    created_at TEXT NOT NULL DEFAULT (strftime('%Y-%m-%dT%H:%M:%f', 'now') || '000+00:00'),
    updated_at TEXT NOT NULL DEFAULT (strftime('%Y-%m-%dT%H:%M:%f', 'now') || '000+00:00'),
    deleted_at TEXT,
    name TEXT NOT NULL,
    description TEXT,
    owner_id TEXT NOT NULL REFERENCES users (id),
    -- The name as people search it, written by the service: SQLite's `lower` and `LIKE` fold ASCII only.
    name_folded TEXT NOT NULL DEFAULT ''
) STRICT;

-- Both end with `deleted_at`: SQLite reads the table again for a column that stands only in an index's WHERE, and
-- with it a count is answered from the index alone.
CREATE INDEX projects_list_idx
    ON projects (owner_id, created_at DESC, id DESC, deleted_at) WHERE deleted_at IS NULL;
CREATE INDEX projects_search_idx
    ON projects (owner_id, name_folded, id, deleted_at) WHERE deleted_at IS NULL;
-- Rows whose name is still to be folded; otherwise empty, so that looking for them costs nothing at a start.
CREATE INDEX projects_unfolded_idx ON projects (id) WHERE name_folded = '';
