-- Pending files are counted for each upload, and swept each hour; uploaded ones are many more.
CREATE INDEX files_pending_idx ON files (owner_id, created_at) WHERE status = 'pending';
