//! Checks for `omnistack doctor` and the start: whether Google accepts the service account, lets it read the app's purchases, and
//! whether notifications can be verified.

use super::state::State;
use crate::app::App;
use crate::app::feature::Finding;
use crate::providers::payments::google::Config;

const WHAT: &str = "google play";

/// What the start banner says of the feature.
pub fn banner(app: &App) -> String {
    match app.state::<State>().client() {
        None => "off (set GOOGLE_PLAY_PACKAGE_NAME and GOOGLE_PLAY_SERVICE_ACCOUNT_JSON)".to_owned(),
        Some(play) if can_verify(app) => play.package_name().to_owned(),
        Some(play) => format!("{}, without notifications (set GOOGLE_PUBSUB_…)", play.package_name()),
    }
}

fn can_verify(app: &App) -> bool {
    let config = app.settings::<Config>();
    config.audience.is_some() && config.push_account.is_some()
}

pub async fn diagnose(app: &App) -> Vec<Finding> {
    let Some(play) = app.state::<State>().client() else {
        return vec![Finding::ok(WHAT, "not configured: its notifications and purchases are answered with 503")];
    };
    let mut findings = vec![match play.check_access().await {
        Ok(()) => Finding::ok(WHAT, format!("the service account may read purchases of {}", play.package_name())),
        Err(error) => Finding::warn(
            WHAT,
            error.to_string(),
            "Check GOOGLE_PLAY_PACKAGE_NAME and GOOGLE_PLAY_SERVICE_ACCOUNT_JSON, and invite the account in the Play Console with the \
             permissions to view financial data and to manage orders",
        ),
    }];
    findings.push(if can_verify(app) {
        Finding::ok(WHAT, "notifications are verified")
    } else {
        Finding::warn(
            WHAT,
            "every notification is refused with 401",
            "Set GOOGLE_PUBSUB_AUDIENCE and GOOGLE_PUBSUB_SERVICE_ACCOUNT to those of the push subscription in Pub/Sub",
        )
    });
    findings
}
