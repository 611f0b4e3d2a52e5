-- Data exports: where the documents are, and until when. The documents themselves are in the object storage.
--
-- No foreign key: an export outlives its job, and the row must stay until its object is removed, also after its user is gone.

CREATE TABLE data_exports (
    job_id TEXT NOT NULL PRIMARY KEY,
    user_id TEXT NOT NULL,
    object_key TEXT NOT NULL,
    bytes INTEGER, -- of the document; null until it is stored
    created_at TEXT NOT NULL DEFAULT (strftime('%Y-%m-%dT%H:%M:%f', 'now') || '000+00:00'),
    expires_at TEXT NOT NULL
) STRICT;

CREATE INDEX data_exports_user_id_idx ON data_exports (user_id, job_id);
CREATE INDEX data_exports_expires_at_idx ON data_exports (expires_at); -- the sweep
