//! Slow uploads beside other requests: transfers have places of their own.

use std::time::{Duration, Instant};

use omnistack::providers::storage::local_store::MinimumRate;

use crate::harness::files::{Place, ask, begin_upload, path};
use crate::harness::{Backend, eventually};

/// More than all places of the API, and twice those of transfers.
const UPLOADS: usize = 1030;
const PER_USER: usize = 10;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn slow_uploads_leave_places_for_other_requests() {
    // Nearly no rate is too slow, so that the test may take its time. Uploads of many clients, through a proxy: one peer may not
    // open as many connections.
    let rate = MinimumRate { bytes: 1, window: Duration::from_secs(3600) };
    let p = Place::with_minimum_rate(Backend::Sqlite, rate, &[("TRUSTED_PROXIES", "127.0.0.1")]).await;
    let authority = p.t.url.trim_start_matches("http://").to_owned();
    let mut slow = Vec::new();
    for n in 0..UPLOADS / PER_USER {
        let user = p.t.user(&format!("user-{n}")).await;
        for _ in 0..PER_USER {
            let asked = ask(&user, "a.txt", "text/plain", 1_000_000).await;
            slow.push(begin_upload(&authority, &asked, 1_000_000, b"abc").await);
        }
    }
    let amy = p.t.user("amy").await;
    let running = async || {
        let page = p.t.anonymous().get("/public/metrics").await.expect_text(200);
        let line =
            page.lines().find(|line| line.starts_with("http_requests_in_progress{") && line.contains("/storage/upload")).unwrap_or("0");
        line.rsplit(' ').next().unwrap().parse::<usize>().unwrap()
    };
    eventually("transfers fill their places", async || running().await == 512).await;
    let mut times = Vec::new();
    for _ in 0..200 {
        let began = Instant::now();
        amy.get("/app/users/me").await.expect(200);
        times.push(began.elapsed());
    }
    times.sort();
    assert!(times[198] < Duration::from_millis(500), "p99 of users/me is {:?}", times[198]);
    // A further transfer is refused at once, and says when to come back.
    let link = path(&ask(&amy, "a.txt", "text/plain", 3).await["upload_url"]);
    let refused = p.t.anonymous().call(http::Method::PUT, &link).body("text/plain", "abc").await;
    assert_eq!(refused.header("retry-after"), Some("1"));
    refused.expect_error(503, "SERVICE_UNAVAILABLE");
    drop(slow);
    eventually("their places are free again", async || running().await == 0).await;
}
