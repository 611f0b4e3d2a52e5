//! How counts are stored: once, whatever fails meanwhile.

use chrono::TimeDelta;
use futures_util::future::join_all;
use omnistack::app::feature::When;
use omnistack::features::usage::service::flush::{flush, run};
use omnistack::platform::usage::Metric::{AiTokens, ApiRequests, FileUploads};
use serde_json::json;
use tokio_util::sync::CancellationToken;

use super::{fresh, record, record_at, stored, used};
use crate::harness::{Backend, TestApp, eventually};

crate::on_both_backends![
    count_is_seen_within_two_seconds_on_every_instance,
    instances_add_to_the_same_day,
    counts_wait_while_database_is_away,
    count_that_database_refuses_holds_back_no_other,
    use_of_erased_user_is_left_out,
    what_is_left_is_stored_at_the_end,
    events_beyond_what_can_wait_are_dropped_and_told,
    values_of_labels_are_bounded,
    records_are_kept_for_their_days,
];

async fn total(t: &TestApp, user: &str, metric: &str) -> i64 {
    let sql = "SELECT CAST(COALESCE(SUM(quantity), 0) AS BIGINT) FROM usage_records WHERE period_type";
    let daily = t.number(&format!("{sql} = 'daily' AND user_id = '{user}' AND metric = '{metric}'")).await;
    let monthly = t.number(&format!("{sql} = 'monthly' AND user_id = '{user}' AND metric = '{metric}'")).await;
    assert_eq!(daily, monthly, "the days and the month agree");
    daily
}

async fn count_is_seen_within_two_seconds_on_every_instance(b: Backend) {
    let t = TestApp::start(b).await;
    let other = t.second(&[]).await;
    let amy = fresh(&t, "amy").await;
    let (stop, app) = (CancellationToken::new(), t.app.clone());
    let running = tokio::spawn({
        let stop = stop.clone();
        async move { run(&app, stop).await }
    });
    let began = std::time::Instant::now();
    record(&t, "amy", FileUploads, 1, "file_type:x/y");
    let there = other.with_token(amy.token.as_ref().unwrap());
    eventually("the count is seen", async || used(&there, "current-period").await["usage"]["file_uploads"] == 1).await;
    // The clock of the test machine: half of it would be enough.
    assert!(began.elapsed().as_secs_f64() < 4.0, "{:?}", began.elapsed());
    stop.cancel();
    running.await.unwrap();
}

async fn instances_add_to_the_same_day(b: Backend) {
    let t = TestApp::start(b).await;
    let amy = fresh(&t, "amy").await;
    fresh(&t, "bob").await;
    let instances = [t.second(&[]).await, t.second(&[]).await, t.second(&[]).await];
    for round in 0..10_u64 {
        for (n, instance) in (0..).zip(&instances) {
            for user in ["amy", "bob"] {
                record(instance, user, AiTokens, round + n, if n == 0 { "model:a" } else { "model:b" });
                record(instance, user, FileUploads, 1, "file_type:x/y");
            }
        }
        for outcome in join_all(instances.iter().map(|instance| flush(&instance.app))).await {
            // Lost to another instance: the next round stores it.
            let _ = outcome;
        }
    }
    for instance in &instances {
        stored(instance).await;
    }
    for user in ["amy", "bob"] {
        assert_eq!((total(&t, user, "ai_tokens").await, total(&t, user, "file_uploads").await), (165, 30));
    }
    let body = used(&amy, "breakdown?metric=ai_tokens").await;
    assert_eq!((&body["total"], &body["breakdown"]), (&json!(165), &json!({"model:b": 120, "model:a": 45})));
}

async fn counts_wait_while_database_is_away(b: Backend) {
    let t = TestApp::start(b).await;
    fresh(&t, "amy").await;
    t.app.db.close().await;
    for _ in 0..3 {
        record(&t, "amy", FileUploads, 1, "file_type:x/y");
        flush(&t.app).await.unwrap_err();
    }
    let metrics = t.anonymous().get("/public/metrics").await.text();
    assert!(metrics.contains("usage_events_dropped_total 0"), "{metrics}");
}

async fn count_that_database_refuses_holds_back_no_other(b: Backend) {
    let t = TestApp::start(b).await;
    for user in ["amy", "bob", "cleo"] {
        fresh(&t, user).await;
    }
    record(&t, "bob", AiTokens, i64::MAX.unsigned_abs(), "model:a");
    stored(&t).await;
    for user in ["amy", "bob", "cleo"] {
        record(&t, user, AiTokens, 5, "model:a");
        record(&t, user, FileUploads, 1, "file_type:x/y");
    }
    stored(&t).await;
    for user in ["amy", "cleo"] {
        assert_eq!(total(&t, user, "ai_tokens").await, 5);
    }
    for user in ["amy", "bob", "cleo"] {
        assert_eq!(total(&t, user, "file_uploads").await, 1);
    }
    let metrics = t.anonymous().get("/public/metrics").await.text();
    assert!(metrics.contains("usage_events_dropped_total 2"), "the day and the month of one user: {metrics}");
}

async fn use_of_erased_user_is_left_out(b: Backend) {
    let t = TestApp::start(b).await;
    fresh(&t, "amy").await;
    fresh(&t, "bob").await;
    record(&t, "amy", FileUploads, 1, "file_type:x/y");
    stored(&t).await;
    t.erase("amy").await.unwrap();
    assert_eq!(t.number("SELECT COUNT(*) FROM usage_records").await, 0);
    for user in ["amy", "bob"] {
        record(&t, user, FileUploads, 1, "file_type:x/y");
    }
    stored(&t).await;
    assert_eq!(t.texts("SELECT DISTINCT user_id FROM usage_records").await, ["bob"]);
}

async fn what_is_left_is_stored_at_the_end(b: Backend) {
    let t = TestApp::start(b).await;
    fresh(&t, "amy").await;
    record(&t, "amy", ApiRequests, 7, "method:GET");
    let stop = CancellationToken::new();
    stop.cancel();
    run(&t.app, stop).await;
    assert_eq!(total(&t, "amy", "api_requests").await, 7);
}

async fn events_beyond_what_can_wait_are_dropped_and_told(b: Backend) {
    let t = TestApp::start(b).await;
    fresh(&t, "amy").await;
    for _ in 0..65_536 + 10 {
        record(&t, "amy", AiTokens, 1, "model:a");
    }
    stored(&t).await;
    assert_eq!(total(&t, "amy", "ai_tokens").await, 65_536);
    let metrics = t.anonymous().get("/public/metrics").await.text();
    assert!(metrics.contains("usage_events_dropped_total 10"), "{metrics}");
}

async fn values_of_labels_are_bounded(b: Backend) {
    let t = TestApp::start(b).await;
    let amy = fresh(&t, "amy").await;
    for n in 0..600 {
        record(&t, "amy", FileUploads, 1, &format!("file_type:x/{n}"));
    }
    stored(&t).await;
    let body = used(&amy, "breakdown?metric=file_uploads").await;
    assert_eq!((&body["total"], &body["breakdown"]["file_type:other"]), (&json!(600), &json!(100)));
    assert_eq!(body["other"], 600 - 100 - 19, "beyond the 20 largest");
}

async fn records_are_kept_for_their_days(b: Backend) {
    let t = TestApp::with(b, &[("USAGE_TTL_DAYS", "40")]).await;
    fresh(&t, "amy").await;
    for days in [0, 39, 40, 41, 100] {
        record_at(&t, t.clock.now() - TimeDelta::days(days), "amy", FileUploads, 1, "file_type:x/y");
    }
    stored(&t).await;
    let clean = async |when| {
        for feature in &t.app.features {
            if feature.name() == "usage" {
                while feature.cleanup(&t.app, when).await.unwrap().records > 0 {}
            }
        }
    };
    clean(When::Old).await;
    assert_eq!(t.number("SELECT COUNT(*) FROM usage_records WHERE period_type = 'daily'").await, 3, "the days since 40 days ago");
    assert_eq!(t.number("SELECT COUNT(*) FROM usage_batches").await, 2);
    t.clock.advance(TimeDelta::hours(25));
    clean(When::Expired).await;
    assert_eq!(t.number("SELECT COUNT(*) FROM usage_batches").await, 0);
}
