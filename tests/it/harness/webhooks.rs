//! Deliveries of webhooks as their senders make them.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use omnistack::platform::crypto::{hex, hmac_sha256};

use super::{Backend, TestApp};

/// The key of Clerk's webhook, and the variable's value.
const CLERK_KEY: &[u8] = b"a-webhook-key-of-some-length";
pub const CLERK_SECRET: &str = "whsec_YS13ZWJob29rLWtleS1vZi1zb21lLWxlbmd0aA==";
pub const SUPABASE_SECRET: &str = "a-bearer-secret-of-a-database-hook";
pub const STRIPE_SECRET: &str = "whsec_of-a-webhook-endpoint";

/// The secrets of all senders.
pub const SECRETS: [(&str, &str); 3] =
    [("CLERK_WEBHOOK_SECRET", CLERK_SECRET), ("SUPABASE_WEBHOOK_SECRET", SUPABASE_SECRET), ("STRIPE_WEBHOOK_SECRET", STRIPE_SECRET)];

impl TestApp {
    /// Starts a server that knows the senders' secrets.
    pub async fn with_webhooks(b: Backend) -> Self {
        Self::with(b, &SECRETS).await
    }
}

/// Svix's headers of a body that was signed with this key at this time in Unix seconds.
pub fn svix(key: &[u8], id: &str, seconds: i64, body: &[u8]) -> Vec<(&'static str, String)> {
    let signature = hmac_sha256(key, &[format!("{id}.{seconds}.").as_bytes(), body].concat());
    vec![
        ("svix-id", id.to_owned()),
        ("svix-timestamp", seconds.to_string()),
        ("svix-signature", format!("v1,{}", STANDARD.encode(signature))),
    ]
}

/// [`svix`] with Clerk's key.
pub fn clerk(id: &str, seconds: i64, body: &[u8]) -> Vec<(&'static str, String)> {
    svix(CLERK_KEY, id, seconds, body)
}

/// Stripe's header of a body that was signed with this secret at this time in Unix seconds.
pub fn stripe(secret: &str, seconds: i64, body: &[u8]) -> Vec<(&'static str, String)> {
    let signature = hmac_sha256(secret.as_bytes(), &[format!("{seconds}.").as_bytes(), body].concat());
    vec![("stripe-signature", format!("t={seconds},v1={}", hex(&signature)))]
}
