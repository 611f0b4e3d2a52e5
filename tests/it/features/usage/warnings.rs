//! Warnings at 80 % and 100 % of a monthly quota: a mail and a notice, once for each threshold, again after a change of plan.

use std::sync::{LazyLock, Mutex, PoisonError};

use async_trait::async_trait;
use chrono::TimeDelta;
use futures_util::future::join_all;
use omnistack::app::App;
use omnistack::app::feature::Feature;
use omnistack::app::news::Notice;
use omnistack::features::usage::service::flush::flush;
use omnistack::platform::db::Tx;
use omnistack::platform::error::Result;
use omnistack::platform::usage::Metric::{self, AiRequests, AiTokens, ApiRequests};

use super::{fresh, record, stored};
use crate::harness::{Backend, TestApp};

crate::on_both_backends![
    user_is_warned_once_for_each_threshold,
    leap_over_both_thresholds_warns_once,
    warning_reaches_mailbox_and_features,
    instances_at_once_warn_once,
    change_of_plan_warns_anew,
    next_month_warns_anew,
    unlimited_and_other_metrics_do_not_warn,
    warnings_switched_off_or_without_quotas_are_not_sent,
];

const LIMITED: (&str, &str) = ("PLAN_LIMITS_ENABLED", "true");

async fn start(b: Backend) -> TestApp {
    TestApp::with(b, &[LIMITED]).await
}

/// Uses that much, and returns the thresholds of the warnings that are new.
async fn warned(t: &TestApp, metric: Metric, quantity: u64) -> Vec<String> {
    record(t, "amy", metric, quantity, "x:y");
    stored(t).await;
    taken(t).await
}

/// The warnings in the queue, which are taken out of it.
async fn taken(t: &TestApp) -> Vec<String> {
    let column = if t.app.db.is_postgres() { "kwargs #>> '{}'" } else { "kwargs" };
    let rows = t.texts(&format!("SELECT CAST({column} AS TEXT) FROM jobs WHERE function = 'warn_of_usage' ORDER BY id")).await;
    t.sql("DELETE FROM jobs WHERE function = 'warn_of_usage'").await;
    let shown = |row: String| {
        let row: serde_json::Value = serde_json::from_str(&row).unwrap();
        format!("{} {} {}", row["metric"].as_str().unwrap(), row["plan"].as_str().unwrap(), row["threshold"])
    };
    rows.into_iter().map(shown).collect()
}

async fn set_plan(t: &TestApp, plan: &str) {
    t.sql(&format!("UPDATE users SET subscription_plan = '{plan}', subscription_status = 'active' WHERE id = 'amy'")).await;
}

async fn user_is_warned_once_for_each_threshold(b: Backend) {
    let t = start(b).await;
    fresh(&t, "amy").await;
    assert_eq!(warned(&t, ApiRequests, 799).await, [""; 0]);
    assert_eq!(warned(&t, ApiRequests, 1).await, ["api_requests free 80"]);
    assert_eq!(warned(&t, ApiRequests, 199).await, [""; 0]);
    assert_eq!(warned(&t, ApiRequests, 1).await, ["api_requests free 100"]);
    assert_eq!(warned(&t, ApiRequests, 500).await, [""; 0]);
    assert_eq!(warned(&t, AiRequests, 40).await, ["ai_requests free 80"]);
}

async fn leap_over_both_thresholds_warns_once(b: Backend) {
    let t = start(b).await;
    fresh(&t, "amy").await;
    assert_eq!(warned(&t, AiRequests, 51).await, ["ai_requests free 100"]);
    assert_eq!(warned(&t, AiRequests, 1).await, [""; 0]);
}

/// A feature that reaches users in a way of its own.
struct Pager;

static PAGES: LazyLock<Mutex<Vec<(String, Notice)>>> = LazyLock::new(Mutex::default);

#[async_trait]
impl Feature<App> for Pager {
    fn name(&self) -> &'static str {
        "pager"
    }

    async fn notify(&self, app: &App, _: &mut Tx, notice: &Notice) -> Result<()> {
        let page = (app.config.core.project_name.clone(), notice.clone());
        PAGES.lock().unwrap_or_else(PoisonError::into_inner).push(page);
        Ok(())
    }
}

async fn warning_reaches_mailbox_and_features(b: Backend) {
    let own = format!("pager on {b:?}");
    let t = TestApp::with_feature(b, &Pager, &[LIMITED, ("PROJECT_NAME", &own)]).await;
    fresh(&t, "amy").await;
    t.sql("UPDATE users SET email = 'amy@example.com' WHERE id = 'amy'").await;
    record(&t, "amy", ApiRequests, 1000, "x:y");
    stored(&t).await;
    t.run_jobs().await;
    let mails = t.anonymous().get("//dev/mailbox").await.text();
    assert!(mails.contains("You have used all API requests of this month") && mails.contains("amy@example.com"), "{mails}");
    let pages: Vec<_> = PAGES.lock().unwrap().iter().filter(|(name, _)| *name == own).map(|(_, notice)| notice.clone()).collect();
    let [page] = &pages[..] else { panic!("{pages:?}") };
    assert_eq!((page.user.as_str(), page.kind, page.data["threshold"].as_i64()), ("amy", "usage_warning", Some(100)));
}

async fn instances_at_once_warn_once(b: Backend) {
    let t = start(b).await;
    fresh(&t, "amy").await;
    let instances = [t.second(&[LIMITED]).await, t.second(&[LIMITED]).await, t.second(&[LIMITED]).await];
    for _ in 0..10 {
        for instance in &instances {
            record(instance, "amy", ApiRequests, 40, "x:y");
        }
        for instance in &instances {
            // Lost to another instance: the next round stores it.
            let _ = join_all([flush(&instance.app), flush(&instances[0].app)]).await;
        }
    }
    assert_eq!(taken(&t).await, ["api_requests free 80", "api_requests free 100"]);
}

async fn change_of_plan_warns_anew(b: Backend) {
    let t = start(b).await;
    fresh(&t, "amy").await;
    assert_eq!(warned(&t, AiRequests, 60).await, ["ai_requests free 100"]);
    set_plan(&t, "pro").await;
    assert_eq!(warned(&t, AiRequests, 1).await, [""; 0], "61 of 2,000");
    assert_eq!(warned(&t, AiRequests, 1600).await, ["ai_requests pro 80"]);
    set_plan(&t, "free").await;
    assert_eq!(warned(&t, AiRequests, 1).await, ["ai_requests free 100"], "the plan's end counts at once");
}

async fn next_month_warns_anew(b: Backend) {
    let t = start(b).await;
    fresh(&t, "amy").await;
    assert_eq!(warned(&t, AiRequests, 50).await, ["ai_requests free 100"]);
    t.clock.advance(TimeDelta::days(32));
    assert_eq!(warned(&t, AiRequests, 39).await, [""; 0]);
    assert_eq!(warned(&t, AiRequests, 1).await, ["ai_requests free 80"]);
}

async fn unlimited_and_other_metrics_do_not_warn(b: Backend) {
    let t = start(b).await;
    fresh(&t, "amy").await;
    assert_eq!(warned(&t, AiTokens, 1_000_000).await, [""; 0]);
    set_plan(&t, "enterprise").await;
    assert_eq!(warned(&t, ApiRequests, 1_000_000).await, [""; 0]);
}

async fn warnings_switched_off_or_without_quotas_are_not_sent(b: Backend) {
    for vars in [[LIMITED, ("USAGE_WARNINGS_ENABLED", "false")], [("PLAN_LIMITS_ENABLED", "false"), ("USAGE_WARNINGS_ENABLED", "true")]] {
        let t = TestApp::with(b, &vars).await;
        fresh(&t, "amy").await;
        assert_eq!(warned(&t, ApiRequests, 2000).await, [""; 0]);
    }
}
