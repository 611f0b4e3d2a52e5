//! Usage: what is recorded, how it is stored, and what users and administrators see of it. Every file in this folder becomes a module
//! automatically.

automod::dir!("tests/it/features/usage");

use chrono::{DateTime, Utc};
use omnistack::features::usage::service::flush::flush;
use omnistack::platform::id::UserId;
use omnistack::platform::usage::{Labels, Metric};
use serde_json::Value;

use crate::harness::{Client, TestApp, eventually};

/// Stores what was recorded until now, as a server does every second.
async fn stored(t: &TestApp) {
    flush(&t.app).await.unwrap();
}

/// Records a use of a user at a time.
fn record_at(t: &TestApp, at: DateTime<Utc>, user: &str, metric: Metric, quantity: u64, label: &str) {
    let labels: Labels = [label.to_owned()].into();
    t.app.usage.record_at(at, Some(&UserId::parse(user).unwrap()), metric, quantity, &labels);
}

fn record(t: &TestApp, user: &str, metric: Metric, quantity: u64, label: &str) {
    record_at(t, t.clock.now(), user, metric, quantity, label);
}

/// Stores until the user's requests are counted. A request is counted once its answer is written, which its client may read sooner.
async fn requests_stored(t: &TestApp, user: &str, requests: i64) {
    let sql = format!(
        "SELECT CAST(COALESCE(SUM(quantity), 0) AS BIGINT) FROM usage_records
         WHERE user_id = '{user}' AND metric = 'api_requests' AND period_type = 'daily'"
    );
    eventually("the requests are counted", async || {
        stored(t).await;
        t.number(&sql).await >= requests
    })
    .await;
}

/// A user who has used nothing: their first request is taken out of the records.
async fn fresh(t: &TestApp, name: &str) -> Client {
    let client = t.user(name).await;
    requests_stored(t, name, 1).await;
    t.sql(&format!("DELETE FROM usage_records WHERE user_id = '{name}'")).await;
    client
}

async fn used(client: &Client, path: &str) -> Value {
    client.get(&format!("/app/usage/{path}")).await.expect(200)
}
