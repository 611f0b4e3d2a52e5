-- Bounds how many mails of one purpose go to one address. Each mail takes one of a few slots and keeps it for a while, so a
-- slot that is taken twice at the same moment is impossible, and nothing has to be counted.
--
-- Rows live for minutes, so the table has no `id`, `created_at` and `updated_at`.
CREATE TABLE email_slots (
    recipient text NOT NULL, -- keyed hash of purpose and address, in hexadecimal
    slot bigint NOT NULL,
    job_id text NOT NULL, -- the job that sends the mail; its later attempts use the same slot
    taken_at timestamptz NOT NULL,
    PRIMARY KEY (recipient, slot)
);

CREATE INDEX email_slots_taken_at_idx ON email_slots (taken_at); -- the sweep
