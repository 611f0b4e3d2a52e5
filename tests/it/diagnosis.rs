//! Checks of the features that are made beside a start, and their limits in time.

use std::time::Duration;

use async_trait::async_trait;
use omnistack::app::App;
use omnistack::app::feature::{Feature, Finding, Level, diagnose};
use omnistack::boot::diagnosis;
use tokio::time::Instant;

use crate::harness::{Backend, TestApp};
use crate::sample::feature::Sample;

/// Waits for a vendor that never answers.
struct Waiting;

#[async_trait]
impl Feature<App> for Waiting {
    fn name(&self) -> &'static str {
        "waiting"
    }

    async fn diagnose(&self, _: &App) -> Vec<Finding> {
        std::future::pending().await
    }
}

#[tokio::test]
async fn start_warnings_are_those_of_all_features() {
    let t = TestApp::with_feature(Backend::Sqlite, &Sample, &[]).await;
    let warnings = diagnosis::warnings(&t.app).await;
    let shown: Vec<_> = warnings.iter().map(|finding| (finding.level, finding.what, finding.text.as_str())).collect();
    assert_eq!(shown, [(Level::Warn, "sample", "its vendor retires")]);
}

#[tokio::test]
async fn start_waits_two_seconds_for_a_slow_check() {
    let t = TestApp::with_feature(Backend::Sqlite, &Waiting, &[]).await;
    // Time passes as soon as nothing else is left to do.
    tokio::time::pause();
    let started = Instant::now();
    assert_eq!(diagnosis::warnings(&t.app).await, []);
    assert_eq!(started.elapsed().as_secs(), 2);
    let findings = diagnose(&t.app, &t.app.features, Duration::from_secs(6)).await;
    tokio::time::resume();
    let late: Vec<_> = findings.iter().filter(|finding| finding.level == Level::Warn).collect();
    assert_eq!(late.len(), 1, "{findings:?}");
    assert_eq!((late[0].what, late[0].text.as_str()), ("waiting", "its checks did not end within 6 s"));
}

#[tokio::test]
async fn start_in_production_waits_for_no_check() {
    let t = TestApp::with_feature(Backend::Sqlite, &Waiting, &[]).await;
    let mut config = t.app.config.clone();
    config.core.environment = omnistack::platform::config::Environment::Production;
    let app = App::new(config, t.app.clock.clone(), t.app.features.clone()).await.unwrap();
    let started = Instant::now();
    assert_eq!(diagnosis::warnings(&app).await, []);
    assert!(started.elapsed() < Duration::from_secs(1));
    app.close().await;
}
