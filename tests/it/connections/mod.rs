//! Connections: their limits, responses that are not read, responses before the body is read.

mod early_answers;
mod first_request;
mod unread;
mod unread_http2;

use std::time::Duration;

use crate::harness::{Backend, TestApp};
use crate::sample::feature::Sample;

/// Time limits in tests. Long enough for a busy machine that does make progress.
const LIMIT: Duration = Duration::from_secs(1);

/// A server whose connections lose patience after [`LIMIT`].
async fn impatient(vars: &[(&str, &str)]) -> TestApp {
    TestApp::with_limits(Backend::Sqlite, &Sample, vars, |limits| {
        limits.patience.head = LIMIT;
        limits.patience.write = LIMIT;
        limits.per_peer = 40;
    })
    .await
}

/// The number of running requests of the sample's large responses: each holds its place.
async fn running(t: &TestApp) -> i64 {
    let page = t.anonymous().get("/public/metrics").await.expect_text(200);
    let line = page.lines().find(|line| line.starts_with("http_requests_in_progress{") && line.contains("/sample/large"));
    line.map_or(0, |line| line.rsplit(' ').next().unwrap().parse().unwrap())
}
