-- Updates and notices of users, for streams of events: kept for a little more than an hour.

CREATE TABLE user_events (
    -- Given at the insert, which follows the change: two changes of one row have ids in their order.
    id INTEGER NOT NULL PRIMARY KEY,
    user_id TEXT NOT NULL REFERENCES users (id),
    -- Place among the user's events. Given by the first reader that sees the row, because only then is it committed.
    seq INTEGER,
    event TEXT NOT NULL CHECK (event IN ('notification', 'update')),
    data TEXT NOT NULL, -- JSON
    created_at TEXT NOT NULL DEFAULT (strftime('%Y-%m-%dT%H:%M:%f', 'now') || '000+00:00')
) STRICT;

-- Readers look for rows without a number, in the order of their ids, and for those after a number.
CREATE INDEX user_events_reader_idx ON user_events (user_id, seq, id);

-- The last number that was given to an event of a user who has opened a stream.
CREATE TABLE event_positions (
    user_id TEXT NOT NULL PRIMARY KEY REFERENCES users (id),
    last_seq INTEGER NOT NULL DEFAULT 0
) STRICT;
