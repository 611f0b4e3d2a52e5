-- What the identity provider's webhooks told of each user, so that late events change nothing. No reference to users: an
-- event may come before its user.

CREATE TABLE identity_profiles (
    user_id TEXT NOT NULL PRIMARY KEY,
    told_at TEXT, -- the provider's time of the newest object
    is_deleted INTEGER NOT NULL DEFAULT 0 CHECK (is_deleted IN (0, 1)), -- deleted at the provider
    waiting TEXT CHECK (json_valid(waiting)), -- the newest profile, until the event comes that inserts the user
    welcome_due INTEGER NOT NULL DEFAULT 0 CHECK (welcome_due IN (0, 1)), -- the welcome mail waits for the confirmation of the address
    created_at TEXT NOT NULL DEFAULT (strftime('%Y-%m-%dT%H:%M:%f', 'now') || '000+00:00'),
    updated_at TEXT NOT NULL DEFAULT (strftime('%Y-%m-%dT%H:%M:%f', 'now') || '000+00:00')
) STRICT;

-- Profiles that no event has come for.
CREATE INDEX identity_profiles_waiting_idx ON identity_profiles (updated_at) WHERE waiting IS NOT NULL;
