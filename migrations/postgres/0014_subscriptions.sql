-- Subscriptions at payment vendors, one row for each. The columns subscription_* of users are derived from them.

CREATE TABLE subscriptions (
    id text NOT NULL PRIMARY KEY,
    created_at timestamptz NOT NULL DEFAULT now(),
    updated_at timestamptz NOT NULL DEFAULT now(),
    user_id text NOT NULL REFERENCES users (id),
    provider text NOT NULL,
    external_id text NOT NULL, -- subscription id (Stripe), original transaction id (Apple), purchase token (Google)
    product text, -- price or product id, as the vendor names it
    plan text NOT NULL,
    status text NOT NULL,
    current_period_end timestamptz,
    cancel_at timestamptz, -- when it ends by the customer's wish
    event_at timestamptz NOT NULL, -- the vendor's time of the last event applied
    plan_at timestamptz NOT NULL, -- the vendor's time of the last event that told the plan
    event_rank smallint NOT NULL, -- order of events of the same time
    last_transaction_id text, -- the newest known one
    superseded_by text, -- external id of the subscription that took its place
    raw jsonb NOT NULL DEFAULT '{}'
);

CREATE UNIQUE INDEX subscriptions_provider_external_id_key ON subscriptions (provider, external_id);
CREATE INDEX subscriptions_user_id_idx ON subscriptions (user_id);
-- Paid times that have ended, and the nightly comparison with the vendors.
CREATE INDEX subscriptions_running_idx ON subscriptions (current_period_end) WHERE status <> 'canceled';
CREATE INDEX subscriptions_created_at_idx ON subscriptions (created_at DESC, id DESC);

-- Purchases in app stores that an earlier version knew. Only if nothing else can have set the user's plan; Stripe's
-- subscriptions are read from Stripe.
INSERT INTO subscriptions (id, user_id, provider, external_id, plan, status, event_at, plan_at, event_rank)
SELECT gen_random_uuid()::text, id, provider, external_id, COALESCE(subscription_plan, 'free'), subscription_status,
    COALESCE(subscription_event_at, to_timestamp(0)), COALESCE(subscription_event_at, to_timestamp(0)), 0
FROM (
    SELECT id, subscription_plan, subscription_status, subscription_event_at,
        CASE WHEN google_purchase_token IS NULL THEN 'apple' ELSE 'google' END AS provider,
        COALESCE(google_purchase_token, apple_original_transaction_id) AS external_id
    FROM users
    WHERE stripe_customer_id IS NULL AND (apple_original_transaction_id IS NULL) <> (google_purchase_token IS NULL)
        AND subscription_status IN ('active', 'canceled', 'past_due', 'trialing', 'incomplete')
        AND COALESCE(subscription_plan, 'free') IN ('free', 'pro', 'enterprise')
) AS bought;
