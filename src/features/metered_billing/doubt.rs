//! Reports that may have been counted more than a day ago: Stripe no longer knows their identifiers, so the meter's sum decides.

use serde_json::Value;

use super::model::Report;
use super::store;
use crate::app::App;
use crate::platform::error::Result;
use crate::providers::payments::stripe::{MeterSpan, Stripe, StripeError, read};

/// The meters of the account, read when the first of a round is needed.
#[derive(Default)]
pub struct Meters(Option<Vec<Value>>);

impl Meters {
    /// The id of the meter; an active one before others.
    async fn find(&mut self, stripe: &Stripe, event_name: &str) -> std::result::Result<String, StripeError> {
        let all = match &mut self.0 {
            Some(all) => all,
            unread => unread.insert(stripe.operation().meters().await?),
        };
        let named: Vec<&Value> = all.iter().filter(|meter| meter["event_name"] == event_name).collect();
        let found = named.iter().find(|meter| meter["status"] == "active").or(named.first());
        let id = found.and_then(|meter| read::text(meter, "id"));
        id.map(str::to_owned).ok_or_else(|| StripeError::invalid("there is no meter of the report's event name"))
    }
}

/// Whether the meter's sum of the customer and day holds the report: then it is at least what was delivered, and the report.
pub async fn is_counted(
    app: &App,
    stripe: &Stripe,
    meters: &mut Meters,
    report: &Report,
) -> Result<std::result::Result<bool, StripeError>> {
    let delivered = store::delivered(&app.db, report).await?;
    Ok(sum(stripe, meters, report).await.map(|sum| sum >= delivered.saturating_add(report.value)))
}

async fn sum(stripe: &Stripe, meters: &mut Meters, report: &Report) -> std::result::Result<i64, StripeError> {
    let meter = meters.find(stripe, &report.event_name).await?;
    let span = MeterSpan { meter: &meter, customer: &report.stripe_customer_id, start: report.day, end: report.day_end() };
    let summaries = match stripe.operation().metered(&span).await {
        Ok(summaries) => summaries,
        // Nothing is counted of a customer that is gone.
        Err(error) if error.is_customer_missing() => return Ok(0),
        Err(error) => return Err(error),
    };
    let values = summaries.iter().map(|summary| read::quantity(summary, "aggregated_value"));
    values.sum::<Option<i64>>().ok_or_else(|| StripeError::invalid("the summary of the meter has no value"))
}
