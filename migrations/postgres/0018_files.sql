-- The files of a user are added up for the storage quota of their plan, from the index alone; the pending ones by themselves.
CREATE INDEX files_size_idx ON files (owner_id, status, size);
