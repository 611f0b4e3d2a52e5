//! Checks of the features beside a start: their warnings are part of the banner if they are known in time, and logged otherwise.

use std::time::Duration;

use tokio::time::timeout;

use crate::app::App;
use crate::app::feature::{Finding, Level, diagnose};
use crate::platform::config::Environment;

/// Longest delay of the banner. It passes only where a feature has something to ask of a vendor that is slow to answer.
const BANNER: Duration = Duration::from_secs(2);
/// Time limit of the checks.
const CHECKS: Duration = Duration::from_secs(30);

/// Runs the checks of the features, and returns their warnings for the banner. In production, which has no banner, and after two
/// seconds the start goes on without them, and they are logged.
pub async fn warnings(app: &App) -> Vec<Finding> {
    let checked = app.clone();
    let mut checks = tokio::spawn(async move {
        let mut findings = diagnose(&checked, &checked.features, CHECKS).await;
        findings.retain(|finding| finding.level != Level::Ok);
        findings
    });
    if app.config.core.environment != Environment::Production
        && let Ok(findings) = timeout(BANNER, &mut checks).await
    {
        return findings.unwrap_or_default();
    }
    tokio::spawn(async move {
        for Finding { what, text, remedy, .. } in checks.await.unwrap_or_default() {
            tracing::warn!(what, remedy, "{text}");
        }
    });
    Vec::new()
}
