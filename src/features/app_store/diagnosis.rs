//! Checks for `omnistack doctor` and the start: whether notices can be trusted, and whether Apple accepts the key of its API.

use super::state::State;
use crate::app::App;
use crate::app::feature::Finding;
use crate::providers::payments::apple::{Config, Environment};

const WHAT: &str = "app store";
/// An id that no subscription has: Apple answers whether it accepts the key all the same.
const NO_SUBSCRIPTION: &str = "1";

/// What the start banner says of the feature.
pub fn banner(app: &App) -> String {
    let config = app.settings::<Config>();
    match (&config.bundle_id, app.state::<State>().client()) {
        (None, _) => "off (set APPLE_BUNDLE_ID)".to_owned(),
        (Some(bundle), Some(_)) => format!("{bundle}, {}", environments(config)),
        (Some(bundle), None) => format!("{bundle}, {}; states cannot be read (set APPLE_PRIVATE_KEY)", environments(config)),
    }
}

fn environments(config: &Config) -> &'static str {
    config.environment.map_or("Production and Sandbox", Environment::name)
}

pub async fn diagnose(app: &App) -> Vec<Finding> {
    let config = app.settings::<Config>();
    let Some(bundle) = &config.bundle_id else {
        return vec![Finding::ok(WHAT, "not configured: its notices and purchases are answered with 503")];
    };
    let mut findings = vec![Finding::ok(WHAT, format!("notices of {bundle} are verified ({})", environments(config)))];
    if config.app_apple_id.is_none() && config.environment != Some(Environment::Sandbox) {
        findings.push(Finding::warn(
            WHAT,
            "the app's number in notices of Production is not checked",
            "Set APPLE_APP_APPLE_ID (App Store Connect, App Information, Apple ID)",
        ));
    }
    findings.push(of_key(app).await);
    findings
}

/// Whether states can be read.
async fn of_key(app: &App) -> Finding {
    let Some(client) = app.state::<State>().client() else {
        return Finding::warn(
            WHAT,
            "states of subscriptions cannot be read: what a lost notice said is never known",
            "Set APPLE_ISSUER_ID, APPLE_KEY_ID and APPLE_PRIVATE_KEY (App Store Connect, Users and Access, Integrations, In-App Purchase)",
        );
    };
    match client.subscription(NO_SUBSCRIPTION, app.clock.now()).await {
        Ok(_) => Finding::ok(WHAT, "Apple accepts the key, and states of subscriptions can be read"),
        Err(error) => Finding::warn(
            WHAT,
            format!("states of subscriptions cannot be read: {error}"),
            "Check APPLE_ISSUER_ID, APPLE_KEY_ID, APPLE_PRIVATE_KEY and APPLE_BUNDLE_ID, and the network",
        ),
    }
}
