-- Subscriptions at payment vendors, one row for each. The columns subscription_* of users are derived from them.

CREATE TABLE subscriptions (
    id TEXT NOT NULL PRIMARY KEY,
    created_at TEXT NOT NULL DEFAULT (strftime('%Y-%m-%dT%H:%M:%f', 'now') || '000+00:00'),
    updated_at TEXT NOT NULL DEFAULT (strftime('%Y-%m-%dT%H:%M:%f', 'now') || '000+00:00'),
    user_id TEXT NOT NULL REFERENCES users (id),
    provider TEXT NOT NULL,
    external_id TEXT NOT NULL, -- subscription id (Stripe), original transaction id (Apple), purchase token (Google)
    product TEXT, -- price or product id, as the vendor names it
    plan TEXT NOT NULL,
    status TEXT NOT NULL,
    current_period_end TEXT,
    cancel_at TEXT, -- when it ends by the customer's wish
    event_at TEXT NOT NULL, -- the vendor's time of the last event applied
    plan_at TEXT NOT NULL, -- the vendor's time of the last event that told the plan
    event_rank INTEGER NOT NULL, -- order of events of the same time
    last_transaction_id TEXT, -- the newest known one
    superseded_by TEXT, -- external id of the subscription that took its place
    raw TEXT NOT NULL DEFAULT '{}' CHECK (json_valid(raw))
) STRICT;

CREATE UNIQUE INDEX subscriptions_provider_external_id_key ON subscriptions (provider, external_id);
CREATE INDEX subscriptions_user_id_idx ON subscriptions (user_id);
-- Paid times that have ended, and the nightly comparison with the vendors.
CREATE INDEX subscriptions_running_idx ON subscriptions (current_period_end) WHERE status <> 'canceled';
CREATE INDEX subscriptions_created_at_idx ON subscriptions (created_at DESC, id DESC);
