//! The log of webhooks, with a sender of the tests' own: once, together with the effect, again after failures.

#[path = "webhooks/sender.rs"]
mod sender;

use std::sync::atomic::Ordering;

use chrono::TimeDelta;
use futures_util::future::join_all;
use http::Method;
use serde_json::{Value, json};

use crate::harness::{Backend, Client, Reply, TestApp};
use sender::{Behaviour, Bell};

crate::on_both_backends![
    event_is_applied_once_however_often_it_comes,
    twenty_deliveries_at_once_are_one_effect,
    failed_event_is_kept_without_effect_and_applied_later,
    failed_event_is_tried_again_by_a_job,
    job_gives_up_after_five_attempts,
    stale_processing_event_is_rescued,
    tie_is_decided_by_reading_once,
    restless_event_fails_instead_of_reading_for_ever,
    admin_replays_failed_event,
    admin_list_filters_and_detail_masks,
    erased_user_is_gone_from_the_log,
];
crate::on_sqlite![refused_delivery_leaves_no_trace, events_that_cannot_be_stored_are_refused, metrics_know_types_and_outcomes];

async fn start(b: Backend) -> TestApp {
    TestApp::with_feature(b, &Bell, &[]).await
}

async fn ring(client: &Client, id: &str, kind: &str, data: Value) -> Reply {
    let body = json!({"id": id, "type": kind, "data": data}).to_string();
    client.call(Method::POST, "/public/webhooks/bell").header("x-bell", "right").body("application/json", body).await
}

async fn effects(t: &TestApp) -> i64 {
    t.number("SELECT COUNT(*) FROM jobs WHERE function = 'act'").await
}

fn fail(t: &TestApp, failing: bool) {
    t.app.state::<Behaviour>().failing.store(failing, Ordering::SeqCst);
}

async fn event(t: &TestApp, admin: &Client, id: &str) -> Value {
    let list = admin.get("/admin/webhooks").await.expect(200);
    assert!(list["total"].as_i64().unwrap() <= t.number("SELECT COUNT(*) FROM webhook_events").await, "{list}");
    let found = list["items"].as_array().unwrap().iter().find(|event| event["idempotency_key"] == id);
    found.unwrap_or_else(|| panic!("no {id} in {list}")).clone()
}

async fn event_is_applied_once_however_often_it_comes(b: Backend) {
    let t = start(b).await;
    let anybody = t.anonymous();
    assert_eq!(ring(&anybody, "e1", "ring", json!({})).await.expect(200), json!({"status": "processed"}));
    assert_eq!(ring(&anybody, "e1", "ring", json!({})).await.expect(200), json!({"status": "already_processed"}));
    assert_eq!(ring(&anybody, "e2", "unheard_of", json!({})).await.expect(200), json!({"status": "processed"}));
    assert_eq!(ring(&anybody, "", "test", json!({})).await.expect(200), json!({"status": "test_acknowledged"}));
    assert_eq!((effects(&t).await, t.number("SELECT COUNT(*) FROM webhook_events").await), (2, 2));
}

async fn twenty_deliveries_at_once_are_one_effect(b: Backend) {
    let t = start(b).await;
    let anybody = t.anonymous();
    let replies = join_all((0..20).map(|_| ring(&anybody, "e1", "ring", json!({})))).await;
    let answers: Vec<_> = replies.into_iter().map(|reply| reply.expect(200)["status"].as_str().unwrap().to_owned()).collect();
    assert_eq!(answers.iter().filter(|answer| *answer == "processed").count(), 1, "{answers:?}");
    assert_eq!(answers.iter().filter(|answer| *answer == "already_processed").count(), 19, "{answers:?}");
    assert_eq!((effects(&t).await, t.number("SELECT SUM(attempts) FROM webhook_events").await), (1, 1));
}

async fn failed_event_is_kept_without_effect_and_applied_later(b: Backend) {
    let t = start(b).await;
    let (anybody, admin) = (t.anonymous(), t.admin().await);
    fail(&t, true);
    for _ in 0..2 {
        ring(&anybody, "e1", "fail", json!({"n": 1})).await.expect_error(500, "INTERNAL_ERROR");
    }
    let kept = event(&t, &admin, "e1").await;
    assert_eq!((&kept["status"], &kept["attempts"], &kept["processed_at"]), (&json!("failed"), &json!(2), &Value::Null));
    assert_eq!(kept["error_message"], "the bell is broken");
    assert_eq!(effects(&t).await, 0);
    fail(&t, false);
    assert_eq!(ring(&anybody, "e1", "fail", json!({"n": 1})).await.expect(200)["status"], "processed");
    let done = event(&t, &admin, "e1").await;
    assert_eq!((&done["status"], &done["attempts"], &done["error_message"]), (&json!("processed"), &json!(3), &Value::Null));
    assert_eq!(effects(&t).await, 1);
}

async fn failed_event_is_tried_again_by_a_job(b: Backend) {
    let t = start(b).await;
    let (anybody, admin) = (t.anonymous(), t.admin().await);
    fail(&t, true);
    ring(&anybody, "e1", "fail", json!({"n": 1})).await.expect_error(500, "INTERNAL_ERROR");
    fail(&t, false);
    t.run_jobs().await;
    assert_eq!(event(&t, &admin, "e1").await["status"], "failed", "before its time");
    t.clock.advance(TimeDelta::minutes(1));
    t.run_jobs().await;
    let done = event(&t, &admin, "e1").await;
    assert_eq!((&done["status"], &done["attempts"]), (&json!("processed"), &json!(2)));
    assert_eq!(effects(&t).await, 1);
}

async fn job_gives_up_after_five_attempts(b: Backend) {
    let t = start(b).await;
    fail(&t, true);
    ring(&t.anonymous(), "e1", "fail", json!({})).await.expect_error(500, "INTERNAL_ERROR");
    for minutes in [1, 2, 4, 8, 16, 32] {
        t.clock.advance(TimeDelta::minutes(minutes));
        t.run_jobs().await;
    }
    assert_eq!(t.number("SELECT SUM(attempts) FROM webhook_events").await, 6);
    assert_eq!(t.number("SELECT COUNT(*) FROM jobs WHERE function = 'retry_webhook' AND status = 'dead'").await, 1);
}

async fn stale_processing_event_is_rescued(b: Backend) {
    let t = start(b).await;
    let (anybody, admin) = (t.anonymous(), t.admin().await);
    fail(&t, true);
    ring(&anybody, "e1", "fail", json!({})).await.expect_error(500, "INTERNAL_ERROR");
    fail(&t, false);
    t.sql("DELETE FROM jobs").await;
    t.sql("UPDATE webhook_events SET status = 'processing'").await;
    ring(&anybody, "e1", "fail", json!({})).await.expect_error(409, "CONFLICT");
    t.clock.advance(TimeDelta::minutes(6));
    t.run_function("rescue_webhooks", json!({})).await.unwrap().1.unwrap();
    t.run_jobs().await;
    assert_eq!(event(&t, &admin, "e1").await["status"], "processed");
    assert_eq!(effects(&t).await, 1);
}

async fn tie_is_decided_by_reading_once(b: Backend) {
    let t = start(b).await;
    let anybody = t.anonymous();
    for (id, kind) in [("e1", "tie"), ("e2", "read")] {
        for answer in ["processed", "already_processed"] {
            assert_eq!(ring(&anybody, id, kind, json!({})).await.expect(200)["status"], answer);
        }
    }
    assert_eq!((effects(&t).await, t.app.state::<Behaviour>().reads.load(Ordering::SeqCst)), (2, 2));
}

async fn restless_event_fails_instead_of_reading_for_ever(b: Backend) {
    let t = start(b).await;
    ring(&t.anonymous(), "e1", "restless", json!({})).await.expect_error(500, "INTERNAL_ERROR");
    assert_eq!((effects(&t).await, t.number("SELECT COUNT(*) FROM webhook_events WHERE status = 'failed'").await), (0, 1));
}

async fn admin_replays_failed_event(b: Backend) {
    let t = start(b).await;
    let (anybody, admin) = (t.anonymous(), t.admin().await);
    fail(&t, true);
    ring(&anybody, "e1", "fail", json!({})).await.expect_error(500, "INTERNAL_ERROR");
    let path = format!("/admin/webhooks/{}/replay", event(&t, &admin, "e1").await["id"].as_str().unwrap());
    let again = admin.post(&path, json!({})).await.expect(200);
    assert_eq!((&again["status"], &again["attempts"]), (&json!("failed"), &json!(2)));
    fail(&t, false);
    let done = admin.post(&path, json!({})).await.expect(200);
    assert_eq!((&done["status"], &done["attempts"], &done["error_message"]), (&json!("processed"), &json!(3), &Value::Null));
    admin.post(&path, json!({})).await.expect_error(400, "BAD_REQUEST");
    assert_eq!(effects(&t).await, 1);
    t.sql("UPDATE webhook_events SET status = 'failed', provider = 'gone'").await;
    admin.post(&path, json!({})).await.expect_error(400, "BAD_REQUEST");
    let nobody = "/admin/webhooks/0199f3b0-7c1e-7d2a-9f2e-6f0f3c1b2a4d";
    admin.get(nobody).await.expect_error(404, "NOT_FOUND");
    admin.post(&format!("{nobody}/replay"), json!({})).await.expect_error(404, "NOT_FOUND");
    t.user("ada").await.get("/admin/webhooks").await.expect_error(403, "AUTHORIZATION_ERROR");
}

async fn admin_list_filters_and_detail_masks(b: Backend) {
    let t = start(b).await;
    let (anybody, admin) = (t.anonymous(), t.admin().await);
    let data = json!({"purchaseToken": "canary", "name": "Ada", "nul": "a\u{0}b"});
    ring(&anybody, "e1", "ring", data).await.expect(200);
    fail(&t, true);
    t.clock.advance(TimeDelta::seconds(1));
    ring(&anybody, "e2", "fail", json!({})).await.expect_error(500, "INTERNAL_ERROR");
    let keys = async |query: &[(&str, &str)]| {
        let list = admin.get("/admin/webhooks").query(query).await.expect(200);
        let items = list["items"].as_array().unwrap().clone();
        assert_eq!(list["total"], items.len());
        items.iter().map(|event| event["idempotency_key"].as_str().unwrap().to_owned()).collect::<Vec<_>>()
    };
    assert_eq!(keys(&[]).await, ["e2", "e1"]);
    assert_eq!(keys(&[("status", "failed")]).await, ["e2"]);
    assert_eq!(keys(&[("event_type", "ring"), ("provider", "bell")]).await, ["e1"]);
    assert!(keys(&[("provider", "stripe")]).await.is_empty());
    admin.get("/admin/webhooks?status=odd").await.expect_invalid();
    let listed = event(&t, &admin, "e1").await;
    assert!(listed.get("payload").is_none(), "{listed}");
    let detail = admin.get(&format!("/admin/webhooks/{}", listed["id"].as_str().unwrap())).await.expect(200);
    assert_eq!(detail["payload"], json!({"purchaseToken": "***", "name": "Ada", "nul": "a\u{fffd}b"}));
    assert_eq!(detail["provider"], "bell");
}

async fn erased_user_is_gone_from_the_log(b: Backend) {
    let t = start(b).await;
    let anybody = t.anonymous();
    t.user("ada").await;
    ring(&anybody, "e1", "ring", json!({"of": {"user": "ada"}})).await.expect(200);
    ring(&anybody, "e2", "ring", json!({"of": {"user": "adam"}})).await.expect(200);
    t.erase("ada").await.unwrap();
    assert_eq!(t.number("SELECT COUNT(*) FROM webhook_events WHERE idempotency_key = 'e2'").await, 1);
    assert_eq!(t.number("SELECT COUNT(*) FROM webhook_events").await, 1);
}

async fn refused_delivery_leaves_no_trace(b: Backend) {
    let t = start(b).await;
    let anybody = t.anonymous();
    let body = r#"{"id": "e1", "type": "ring", "data": {}}"#;
    anybody.call(Method::POST, "/public/webhooks/bell").body("application/json", body).await.expect_error(400, "BAD_REQUEST");
    assert_eq!(t.number("SELECT COUNT(*) FROM webhook_events").await, 0);
    assert_eq!(ring(&anybody, "e1", "ring", json!({})).await.expect(200)["status"], "processed");
    let large = vec![b' '; (1 << 20) + 1];
    anybody.call(Method::POST, "/public/webhooks/bell").body("application/json", large).await.expect_error(413, "PAYLOAD_TOO_LARGE");
}

async fn events_that_cannot_be_stored_are_refused(b: Backend) {
    let t = start(b).await;
    let anybody = t.anonymous();
    for (id, kind) in [("", "ring"), ("e1", ""), (&*"x".repeat(256), "ring"), ("e1", &*"x".repeat(256)), ("a\u{0}b", "ring")] {
        ring(&anybody, id, kind, json!({})).await.expect_error(400, "BAD_REQUEST");
    }
    ring(&anybody, &"é".repeat(255), "ring", json!({})).await.expect(200);
}

async fn metrics_know_types_and_outcomes(b: Backend) {
    let t = start(b).await;
    let anybody = t.anonymous();
    fail(&t, true);
    for (id, kind) in [("e1", "ring"), ("e1", "ring"), ("e2", "anything"), ("e3", "fail")] {
        ring(&anybody, id, kind, json!({})).await;
    }
    let page = anybody.get("/public/metrics").await.expect_text(200);
    for line in [
        r#"webhook_events_total{event_type="ring",provider="bell",status="processed"} 1"#,
        r#"webhook_events_total{event_type="ring",provider="bell",status="duplicate"} 1"#,
        r#"webhook_events_total{event_type="other",provider="bell",status="processed"} 1"#,
        r#"webhook_events_total{event_type="fail",provider="bell",status="failed"} 1"#,
        r#"webhook_processing_duration_seconds_count{provider="bell"} 4"#,
    ] {
        assert!(page.contains(line), "{line}");
    }
}
