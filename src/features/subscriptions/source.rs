//! A vendor that can be asked for the current state of subscriptions.

use std::sync::Arc;

use async_trait::async_trait;

use super::model::{Snapshot, Subscription, Vendor};
use crate::app::App;
use crate::app::feature::Setup;
use crate::features::users::service::vendors::UserVendors;
use crate::platform::error::Result;

#[async_trait]
pub trait Source: Send + Sync {
    fn vendor(&self) -> Vendor;

    /// Whether its key is configured.
    fn can_ask(&self, app: &App) -> bool;

    /// Reads the current state of a stored subscription. `None` if the vendor tells nothing about it: it is kept until a day after
    /// the end of its paid time.
    async fn read(&self, app: &App, row: &Subscription) -> Result<Option<Snapshot>>;

    /// Reads all subscriptions of a user, also those that are not stored. Empty where the vendor has no such list.
    async fn list(&self, _app: &App, _user: &UserVendors) -> Result<Vec<Snapshot>> {
        Ok(Vec::new())
    }
}

/// The sources of this application. Cheap to clone.
#[derive(Clone, Default)]
pub struct Sources(Arc<[&'static dyn Source]>);

impl Sources {
    /// The source of this vendor, if it is installed and can be asked.
    pub fn of(&self, app: &App, vendor: Vendor) -> Option<&'static dyn Source> {
        self.askable(app).find(|source| source.vendor() == vendor)
    }

    pub fn askable<'s>(&'s self, app: &'s App) -> impl Iterator<Item = &'static dyn Source> + 's {
        self.0.iter().copied().filter(|source| source.can_ask(app))
    }
}

/// Adds a source; called in its feature's `setup`.
pub fn add_source(setup: &mut Setup<'_>, source: &'static dyn Source) {
    let Sources(known) = setup.kept().unwrap_or_default();
    setup.keep(Sources(known.iter().copied().chain([source]).collect()));
}
