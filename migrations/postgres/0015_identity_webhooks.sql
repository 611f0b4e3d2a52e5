-- What the identity provider's webhooks told of each user, so that late events change nothing. No reference to users: an
-- event may come before its user.

CREATE TABLE identity_profiles (
    user_id text PRIMARY KEY,
    told_at timestamptz, -- the provider's time of the newest object
    is_deleted boolean NOT NULL DEFAULT false, -- deleted at the provider
    waiting jsonb, -- the newest profile, until the event comes that inserts the user
    welcome_due boolean NOT NULL DEFAULT false, -- the welcome mail waits for the confirmation of the address
    created_at timestamptz NOT NULL DEFAULT now(),
    updated_at timestamptz NOT NULL DEFAULT now()
);

-- Profiles that no event has come for.
CREATE INDEX identity_profiles_waiting_idx ON identity_profiles (updated_at) WHERE waiting IS NOT NULL;
