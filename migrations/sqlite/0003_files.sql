-- Uploaded files: the row here, the bytes in the storage under `key`. Deleting one deletes the row.

CREATE TABLE files (
    id TEXT NOT NULL PRIMARY KEY,
    created_at TEXT NOT NULL DEFAULT (strftime('%Y-%m-%dT%H:%M:%f', 'now') || '000+00:00'),
    updated_at TEXT NOT NULL DEFAULT (strftime('%Y-%m-%dT%H:%M:%f', 'now') || '000+00:00'),
    owner_id TEXT NOT NULL REFERENCES users (id),
    key TEXT NOT NULL,
    filename TEXT NOT NULL,
    content_type TEXT,
    size INTEGER NOT NULL DEFAULT 0,
    status TEXT NOT NULL DEFAULT 'pending'
) STRICT;

CREATE UNIQUE INDEX files_key_key ON files (key);
CREATE INDEX files_list_idx ON files (owner_id, created_at DESC, id DESC);
