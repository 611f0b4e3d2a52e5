-- Links a job to the request that enqueued it, for its log lines and, later, its trace.
ALTER TABLE jobs ADD COLUMN trace_context TEXT;
