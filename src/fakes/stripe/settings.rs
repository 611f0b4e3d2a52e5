//! Settings of the look-alike, and the switches that change while it runs.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use url::Url;

use crate::platform::clock::Clock;

/// How the look-alike starts.
#[derive(Debug, Clone)]
pub struct Settings {
    /// On 127.0.0.1; 0 takes any free one.
    pub port: u16,
    /// The only key that the API accepts.
    pub secret_key: String,
    /// Signs the webhooks.
    pub webhook_secret: String,
    /// Receives the webhooks. Without it, events are only listed.
    pub deliver_to: Option<Url>,
    /// Subscriptions of classic billing, which have `cancel_at_period_end` and a period of their own. Otherwise flexible billing:
    /// periods belong to the items, and a cancellation sets `cancel_at` alone.
    pub classic: bool,
    pub prices: Vec<Price>,
    /// Event names of the meters, which sum up.
    pub meters: Vec<String>,
    /// Number of times that an event is sent while it is not answered 2xx.
    pub attempts: u32,
    /// Pause before the second attempt; it doubles with each further one.
    pub retry_pause: Duration,
    pub clock: Clock,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            port: 0,
            secret_key: "sk_test_fake".to_owned(),
            webhook_secret: "whsec_fake".to_owned(),
            deliver_to: None,
            classic: false,
            prices: vec![
                Price::new("price_fake_monthly", "Pro, monthly", Interval::Month, 1900),
                Price::new("price_fake_yearly", "Pro, yearly", Interval::Year, 19000),
                Price::new("price_fake_enterprise", "Enterprise, monthly", Interval::Month, 9900),
            ],
            meters: ["fake_api_requests", "fake_ai_tokens"].map(str::to_owned).into(),
            attempts: 8,
            retry_pause: Duration::from_secs(1),
            clock: Clock::System,
        }
    }
}

/// A recurring price.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Price {
    pub id: String,
    pub name: String,
    pub interval: Interval,
    /// In cents.
    pub amount: u32,
}

impl Price {
    pub fn new(id: &str, name: &str, interval: Interval, amount: u32) -> Self {
        Self { id: id.to_owned(), name: name.to_owned(), interval, amount }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Interval {
    Month,
    Year,
}

impl Interval {
    pub fn name(self) -> &'static str {
        match self {
            Self::Month => "month",
            Self::Year => "year",
        }
    }

    pub fn months(self) -> u32 {
        match self {
            Self::Month => 1,
            Self::Year => 12,
        }
    }
}

/// What goes wrong on the way of the webhooks.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Switches {
    /// Each event is sent twice at once.
    pub duplicates: bool,
    /// Events of one change are sent last first.
    pub disorder: bool,
    /// Milliseconds before the first attempt.
    pub delay_ms: u64,
    /// Events are not sent.
    pub loss: bool,
    /// An event of the second version of Stripe's API goes with each change.
    pub v2_events: bool,
}
