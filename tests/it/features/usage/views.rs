//! The endpoints of users and administrators: their shapes, bounds and refusals.

use omnistack::platform::usage::Metric::{AiRequests, AiTokens, ApiRequests, FileUploads, StorageBytes};
use serde_json::{Value, json};

use super::{fresh, record, stored, used};
use crate::harness::{Backend, TestApp};

crate::on_both_backends![
    summary_shows_metrics_above_zero,
    current_period_shows_limits_of_the_plan,
    breakdown_shows_twenty_and_the_rest,
    administrators_see_every_user,
    unknown_user_has_used_nothing,
    top_users_are_those_who_used_most,
    metrics_are_listed_with_descriptions,
    wrong_parameters_are_named,
];

async fn summary_shows_metrics_above_zero(b: Backend) {
    let t = TestApp::start(b).await;
    let amy = fresh(&t, "amy").await;
    record(&t, "amy", FileUploads, 2, "file_type:image/png");
    record(&t, "amy", FileUploads, 3, "file_type:a/b");
    stored(&t).await;
    let text = amy.get("/app/usage/summary?days=7").await.expect_text(200);
    let body: Value = serde_json::from_str(&text).unwrap();
    assert_eq!((&body["user_id"], &body["days"]), (&json!("amy"), &json!(7)));
    assert_eq!(body["metrics"], json!({"file_uploads": {"total": 5, "breakdown": {"file_type:a/b": 3, "file_type:image/png": 2}}}));
    assert!(text.find("a/b").unwrap() < text.find("image/png").unwrap(), "largest first: {text}");
    assert_eq!(body["period_end"], json!(t.clock.now()));
}

async fn current_period_shows_limits_of_the_plan(b: Backend) {
    let t = TestApp::start(b).await;
    let amy = fresh(&t, "amy").await;
    record(&t, "amy", ApiRequests, 333, "method:GET");
    record(&t, "amy", AiRequests, 50, "model:a");
    stored(&t).await;
    let free = used(&amy, "current-period").await;
    assert_eq!(free["plan"], "free");
    assert_eq!(free["limits"], json!({"api_requests": 1000, "ai_requests": 50, "storage_bytes": 104_857_600}));
    assert_eq!(free["usage_percent"], json!({"api_requests": 33.3, "ai_requests": 100.0, "storage_bytes": 0.0}));
    let plan = async |plan: &str, status: &str| {
        t.sql(&format!("UPDATE users SET subscription_plan = '{plan}', subscription_status = '{status}' WHERE id = 'amy'")).await;
        used(&amy, "current-period").await
    };
    let pro = plan("pro", "trialing").await;
    assert_eq!(pro["limits"], json!({"api_requests": 50_000, "ai_requests": 2000, "storage_bytes": 10_485_760_000_i64}));
    assert_eq!(pro["usage_percent"]["ai_requests"], 2.5);
    let enterprise = plan("enterprise", "active").await;
    assert_eq!(enterprise["limits"], json!({"api_requests": null, "ai_requests": null, "storage_bytes": null}));
    assert_eq!(enterprise["usage_percent"], enterprise["limits"], "no limit, no percent");
    assert_eq!(plan("enterprise", "past_due").await["plan"], "free");
}

async fn breakdown_shows_twenty_and_the_rest(b: Backend) {
    let t = TestApp::start(b).await;
    let amy = fresh(&t, "amy").await;
    for n in 1..=25 {
        record(&t, "amy", AiTokens, n, &format!("model:{n}"));
    }
    stored(&t).await;
    let own = used(&amy, "breakdown?metric=ai_tokens").await;
    assert_eq!((&own["total"], &own["other"]), (&json!(325), &json!(1 + 2 + 3 + 4 + 5)));
    assert_eq!(own["breakdown"].as_object().unwrap().len(), 20);
    let admin = t.admin().await;
    let all = admin.get("/admin/usage/breakdown/amy?metric=ai_tokens").await.expect(200);
    assert_eq!((all["breakdown"].as_object().unwrap().len(), &all["user_id"], &all["other"]), (25, &json!("amy"), &Value::Null));
}

async fn administrators_see_every_user(b: Backend) {
    let t = TestApp::start(b).await;
    let (amy, admin) = (fresh(&t, "a:m|y").await, t.admin().await);
    record(&t, "a:m|y", AiTokens, 12, "model:a");
    stored(&t).await;
    let get = async |path: &str| admin.get(&format!("/admin/usage/{path}")).await.expect(200);
    let summary = get("summary/a%3Am%7Cy?days=3").await;
    assert_eq!((&summary["user_id"], &summary["metrics"]["ai_tokens"]["total"]), (&json!("a:m|y"), &json!(12)));
    assert_eq!(summary.as_object().unwrap().keys().collect::<Vec<_>>(), ["metrics", "period_end", "period_start", "user_id"]);
    let trends = get("trends/a%3Am%7Cy?metric=ai_tokens").await;
    assert_eq!((&trends["current_period"], &trends["previous_period"], &trends["peak_value"]), (&json!(12), &json!(0), &json!(12)));
    let daily = get("daily/a%3Am%7Cy?metric=ai_tokens&days=2").await;
    assert_eq!(daily["daily_usage"], used(&amy, "daily?metric=ai_tokens&days=2").await["daily_usage"]);
    assert!(daily.get("average").is_none() && daily["total"] == 12, "{daily}");
    for path in ["metrics", "summary/amy", "trends/amy?metric=ai_tokens", "daily/amy?metric=ai_tokens", "top-users?metric=ai_tokens"] {
        amy.get(&format!("/admin/usage/{path}")).await.expect_error(403, "AUTHORIZATION_ERROR");
    }
}

async fn unknown_user_has_used_nothing(b: Backend) {
    let t = TestApp::start(b).await;
    let admin = t.admin().await;
    let get = async |path: &str| admin.get(&format!("/admin/usage/{path}")).await.expect(200);
    assert_eq!(get("summary/nobody").await["metrics"], json!({}));
    assert_eq!(get("daily/nobody?metric=ai_tokens").await["total"], 0);
    assert_eq!(get("breakdown/nobody?metric=ai_tokens").await["breakdown"], json!({}));
    assert_eq!(get("trends/nobody?metric=ai_tokens").await["peak_day"], Value::Null);
}

async fn top_users_are_those_who_used_most(b: Backend) {
    let t = TestApp::start(b).await;
    for (name, tokens) in [("amy", 5), ("b:o:b", 50), ("cleo", 5), ("dan", 0)] {
        fresh(&t, name).await;
        record(&t, name, AiTokens, tokens, "model:a");
        record(&t, name, StorageBytes, 100 - tokens, "file_type:a/b");
    }
    stored(&t).await;
    let admin = t.admin().await;
    let top = admin.get("/admin/usage/top-users?metric=ai_tokens").await.expect(200);
    let users = json!([{"user_id": "b:o:b", "usage": 50}, {"user_id": "amy", "usage": 5}, {"user_id": "cleo", "usage": 5}]);
    assert_eq!(top, json!({"metric": "ai_tokens", "period": t.clock.now().format("%Y-%m").to_string(), "users": users}));
    let one = admin.get("/admin/usage/top-users?metric=storage_bytes&limit=1").await.expect(200);
    assert_eq!(one["users"], json!([{"user_id": "dan", "usage": 100}]));
}

async fn metrics_are_listed_with_descriptions(b: Backend) {
    let t = TestApp::start(b).await;
    let own = used(&t.user("amy").await, "metrics").await;
    let names: Vec<_> = own["metrics"].as_array().unwrap().iter().map(|metric| metric["name"].as_str().unwrap()).collect();
    let expected = "api_requests ai_tokens ai_requests storage_bytes file_uploads file_downloads websocket_messages background_jobs email_sent";
    assert_eq!(names.join(" "), expected);
    assert_eq!(own["metrics"][1]["description"], "Total AI/LLM tokens consumed");
    assert_eq!(t.admin().await.get("/admin/usage/metrics").await.expect(200), own);
}

async fn wrong_parameters_are_named(b: Backend) {
    let t = TestApp::start(b).await;
    let admin = t.admin().await;
    for (path, field) in [
        ("/app/usage/summary?days=0", "days"),
        ("/app/usage/summary?days=366", "days"),
        ("/app/usage/summary?days=x", "days"),
        ("/app/usage/trends?metric=x", "metric"),
        ("/app/usage/daily?metric=API_REQUESTS", "metric"),
        ("/app/usage/daily", "metric"),
        ("/app/usage/daily?metric=ai_tokens&days=91", "days"),
        ("/app/usage/breakdown?metric=", "metric"),
        ("/admin/usage/trends/amy", "metric"),
        ("/admin/usage/daily/amy?metric=x", "metric"),
        ("/admin/usage/breakdown/amy?metric=ai_tokens&days=366", "days"),
        ("/admin/usage/top-users?metric=x", "metric"),
        ("/admin/usage/top-users?metric=ai_tokens&limit=101", "limit"),
        ("/admin/usage/top-users?metric=ai_tokens&limit=0", "limit"),
    ] {
        assert_eq!(admin.get(path).await.expect_error(422, "VALIDATION_ERROR")["field"], field, "{path}");
    }
    admin.get("/admin/usage/summary/a%00b").await.expect_error(404, "NOT_FOUND");
}
