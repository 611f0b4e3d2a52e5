//! Stand-in for the client in builds without the cargo feature `stripe`. It cannot be made, so nothing here ever runs.

use std::convert::Infallible;
use std::time::Duration;

use serde_json::Value;

use super::{Config, MeterEvent, MeterSpan, NewCheckout, NewCustomer, Reply, StripeError};
use crate::platform::outgoing::Outgoing;

type Answer<T> = Result<T, StripeError>;

#[derive(Clone)]
pub struct Stripe(Infallible);

pub struct Operation<'s>(&'s Infallible);

impl Stripe {
    pub fn new(_: &Config, _: &Outgoing) -> Option<Self> {
        None
    }

    pub fn operation(&self) -> Operation<'_> {
        Operation(&self.0)
    }

    pub fn operation_within(&self, _: Duration) -> Operation<'_> {
        self.operation()
    }
}

macro_rules! calls {
    ($($name:ident($($argument:ty),*) -> $answer:ty;)*) => {
        #[allow(clippy::unused_async, reason = "the signatures are those of the real client")]
        impl Operation<'_> {
            $(calls!(@one $name($($argument),*) -> $answer);)*
        }
    };
    (@one $name:ident($a:ty) -> $answer:ty) => {
        pub async fn $name(&self, _: $a) -> Answer<$answer> { match *self.0 {} }
    };
    (@one $name:ident($a:ty, $b:ty) -> $answer:ty) => {
        pub async fn $name(&self, _: $a, _: $b) -> Answer<$answer> { match *self.0 {} }
    };
    (@one $name:ident() -> $answer:ty) => {
        pub async fn $name(&self) -> Answer<$answer> { match *self.0 {} }
    };
}

calls! {
    create_customer(&NewCustomer<'_>, &str) -> Value;
    create_checkout(&NewCheckout<'_>, &str) -> Value;
    checkouts(&str) -> Vec<Value>;
    create_portal(&str, &str) -> Value;
    subscriptions(&str, i64) -> Vec<Value>;
    subscription(&str) -> Reply;
    set_cancel_at_period_end(&str, bool) -> Reply;
    clear_cancel_at(&str) -> Reply;
    cancel_subscription(&str) -> Reply;
    invoices(&str, i64) -> Vec<Value>;
    price(&str) -> Reply;
    webhook_endpoints() -> Reply;
    report_usage(&MeterEvent<'_>, &str) -> ();
    meters() -> Vec<Value>;
    metered(&MeterSpan<'_>) -> Vec<Value>;
}
