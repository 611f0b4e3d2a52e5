-- Updates and notices of users, for streams of events: kept for a little more than an hour.

CREATE TABLE user_events (
    -- Given at the insert, which follows the change: two changes of one row have ids in their order.
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    user_id text NOT NULL REFERENCES users (id),
    -- Place among the user's events. Given by the first reader that sees the row, because only then is it committed.
    seq bigint,
    event text NOT NULL CHECK (event IN ('notification', 'update')),
    data text NOT NULL, -- JSON
    created_at timestamptz NOT NULL DEFAULT now()
);

-- Readers look for rows without a number, in the order of their ids, and for those after a number.
CREATE INDEX user_events_reader_idx ON user_events (user_id, seq, id);

-- The last number that was given to an event of a user who has opened a stream.
CREATE TABLE event_positions (
    user_id text NOT NULL PRIMARY KEY REFERENCES users (id),
    last_seq bigint NOT NULL DEFAULT 0
);
