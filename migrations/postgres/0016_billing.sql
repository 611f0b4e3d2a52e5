-- How many customers at Stripe a user has lost. The number is part of the idempotency key with which the next one is made,
-- because Stripe answers a repeated key with the first answer for a day, deleted or not.

CREATE TABLE stripe_customers (
    user_id text NOT NULL PRIMARY KEY REFERENCES users (id),
    created_at timestamptz NOT NULL DEFAULT now(),
    updated_at timestamptz NOT NULL DEFAULT now(),
    attempt bigint NOT NULL
);
