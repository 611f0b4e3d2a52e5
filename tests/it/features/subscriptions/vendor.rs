//! A payment vendor that exists in the tests alone, in the place of Stripe: it says what the test puts into it.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use omnistack::app::App;
use omnistack::app::feature::{Feature, Setup};
use omnistack::features::subscriptions::model::{CancelAt, Plan, Snapshot, Status, Subscription, Vendor};
use omnistack::features::subscriptions::Source;
use omnistack::features::subscriptions::service::add_source;
use omnistack::features::users::service::vendors::UserVendors;
use omnistack::platform::error::{Error, Result};
use serde_json::json;

pub struct Till;

/// The subscriptions at the vendor by id; `None` while it is away.
#[derive(Clone, Default)]
pub struct Shelf(pub Arc<Mutex<Option<BTreeMap<String, Snapshot>>>>);

impl Shelf {
    /// From now on the vendor can be asked, and says this.
    pub fn says(&self, all: &[Snapshot]) {
        *self.0.lock().unwrap() = Some(all.iter().map(|s| (s.external_id.clone(), s.clone())).collect());
    }

    fn all(&self) -> Result<BTreeMap<String, Snapshot>> {
        let away = || Error::Upstream { message: "away", service: "till", reason: None, retry_after: None, cause: String::new() };
        self.0.lock().unwrap().clone().ok_or_else(away)
    }
}

pub fn snapshot(id: &str, status: Status, plan: Option<Plan>, end: Option<DateTime<Utc>>) -> Snapshot {
    Snapshot {
        vendor: Vendor::Stripe,
        external_id: id.to_owned(),
        product: Some("price_1".to_owned()),
        status: Some(status),
        plan,
        current_period_end: end,
        cancel_at: CancelAt::Never,
        transaction_id: None,
        raw: json!({"id": id}),
    }
}

#[async_trait]
impl Feature<App> for Till {
    fn name(&self) -> &'static str {
        "till"
    }

    fn setup(&self, setup: &mut Setup<'_>) -> anyhow::Result<()> {
        setup.keep(Shelf::default());
        add_source(setup, &TillSource);
        Ok(())
    }
}

struct TillSource;

#[async_trait]
impl Source for TillSource {
    fn vendor(&self) -> Vendor {
        Vendor::Stripe
    }

    fn can_ask(&self, app: &App) -> bool {
        app.state::<Shelf>().0.lock().unwrap().is_some()
    }

    async fn read(&self, app: &App, row: &Subscription) -> Result<Option<Snapshot>> {
        let gone = || snapshot(&row.external_id, Status::Canceled, None, None);
        Ok(Some(app.state::<Shelf>().all()?.remove(&row.external_id).unwrap_or_else(gone)))
    }

    async fn list(&self, app: &App, _: &UserVendors) -> Result<Vec<Snapshot>> {
        Ok(app.state::<Shelf>().all()?.into_values().collect())
    }
}
