//! The list of features, dependencies first. To remove a feature, delete its folder, its test and its lines here.

use crate::app::DynFeature;

pub mod accounts;
pub mod ai;
pub mod app_store;
pub mod billing;
pub mod emails;
pub mod events;
pub mod files;
pub mod google_play;
pub mod health;
pub mod identity_webhooks;
pub mod jobs;
pub mod mailbox;
pub mod maintenance;
pub mod metered_billing;
pub mod metrics;
pub mod privacy;
pub mod projects;
pub mod quotas;
pub mod realtime;
pub mod reports;
pub mod subscriptions;
pub mod usage;
pub mod users;
pub mod webhooks;

#[rustfmt::skip] // One line each: a feature is removed with its lines.
pub fn all() -> Vec<&'static DynFeature> {
    vec![
        &health::Health,
        &metrics::Metrics,
        &emails::Emails,
        &users::Users,
        &accounts::Accounts,
        &quotas::Quotas,
        &usage::Usage,
        &webhooks::Webhooks,
        &subscriptions::Subscriptions,
        &billing::Billing,
        &metered_billing::MeteredBilling,
        &app_store::AppStore,
        &google_play::GooglePlay,
        &identity_webhooks::IdentityWebhooks,
        &ai::Ai,
        &projects::Projects,
        &files::Files,
        &events::Events,
        &realtime::Realtime,
        &privacy::Privacy,
        &reports::Reports,
        &jobs::Jobs,
        &maintenance::Maintenance,
        &mailbox::Mailbox,
    ]
}
