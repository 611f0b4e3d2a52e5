//! Stripe as a source of subscriptions, for the status, the nightly comparison and `billing sync`.

use async_trait::async_trait;

use super::state::State;
use super::subscription;
use crate::app::App;
use crate::features::subscriptions::Source;
use crate::features::subscriptions::model::{Snapshot, Subscription, Vendor};
use crate::features::users::service::vendors::UserVendors;
use crate::platform::error::Result;
use crate::providers::payments::stripe::Config;

/// Number of subscriptions that are listed, newest first.
const LISTED: i64 = 10;

pub struct StripeSource;

#[async_trait]
impl Source for StripeSource {
    fn vendor(&self) -> Vendor {
        Vendor::Stripe
    }

    fn can_ask(&self, app: &App) -> bool {
        app.state::<State>().stripe.is_some()
    }

    async fn read(&self, app: &App, row: &Subscription) -> Result<Option<Snapshot>> {
        match app.state::<State>().operation()?.subscription(&row.external_id).await {
            Ok(reply) => Ok(subscription::snapshot(app.settings::<Config>(), &reply.object)),
            // Stripe keeps ended subscriptions, so the key is rather that of another account: no reason to end what is paid for.
            Err(error) if error.is_missing() => {
                tracing::warn!(subscription = row.external_id, "Stripe does not know the subscription: is the key of the same account?");
                Ok(None)
            }
            Err(error) => Err(error.into()),
        }
    }

    async fn list(&self, app: &App, user: &UserVendors) -> Result<Vec<Snapshot>> {
        let Some(customer) = &user.stripe_customer_id else { return Ok(Vec::new()) };
        match app.state::<State>().operation()?.subscriptions(customer, LISTED).await {
            Ok(all) => Ok(all.iter().filter_map(|object| subscription::snapshot(app.settings::<Config>(), object)).collect()),
            Err(error) if error.is_customer_missing() => Ok(Vec::new()),
            Err(error) => Err(error.into()),
        }
    }
}
