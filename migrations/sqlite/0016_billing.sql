-- How many customers at Stripe a user has lost. The number is part of the idempotency key with which the next one is made,
-- because Stripe answers a repeated key with the first answer for a day, deleted or not.

CREATE TABLE stripe_customers (
    user_id TEXT NOT NULL PRIMARY KEY REFERENCES users (id),
    created_at TEXT NOT NULL DEFAULT (strftime('%Y-%m-%dT%H:%M:%f', 'now') || '000+00:00'),
    updated_at TEXT NOT NULL DEFAULT (strftime('%Y-%m-%dT%H:%M:%f', 'now') || '000+00:00'),
    attempt INTEGER NOT NULL
) STRICT;
