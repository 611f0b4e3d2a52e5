-- Data exports: where the documents are, and until when. The documents themselves are in the object storage.
--
-- No foreign key: an export outlives its job, and the row must stay until its object is removed, also after its user is gone.

SET LOCAL client_min_messages = warning;

CREATE TABLE IF NOT EXISTS data_exports (
    job_id text PRIMARY KEY,
    user_id text NOT NULL,
    object_key text NOT NULL,
    bytes bigint, -- of the document; null until it is stored
    created_at timestamptz NOT NULL DEFAULT now(),
    expires_at timestamptz NOT NULL
);

CREATE INDEX IF NOT EXISTS data_exports_user_id_idx ON data_exports (user_id, job_id);
CREATE INDEX IF NOT EXISTS data_exports_expires_at_idx ON data_exports (expires_at); -- the sweep
