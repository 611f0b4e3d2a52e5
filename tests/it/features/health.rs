//! Probes of version 2: their bodies, and readiness with a broken database or Redis. Those of version 1 are in `outages.rs`.

use chrono::TimeDelta;
use serde_json::{Value, json};

use crate::harness::proxy::Proxy;
use crate::harness::{Backend, TestApp, eventually, services};

crate::on_both_backends![health_v2_names_service_and_uptime, readiness_v2_names_versions_of_its_components];
crate::on_sqlite![readiness_v2_while_stopping_is_503, probes_v2_have_no_limits];

const HEALTH: &str = "//api/v2/public/health";
const READY: &str = "//api/v2/public/health/ready";

/// The component, whose latency is replaced by whether it is a number that is not negative.
fn component(body: &Value, name: &str) -> Value {
    let mut component = body["components"][name].clone();
    if let Some(latency) = component["latency_ms"].as_f64() {
        assert!((latency * 100.0 - (latency * 100.0).round()).abs() < 1e-6, "{latency} has two decimals");
        component["latency_ms"] = json!(latency >= 0.0);
    }
    component
}

#[track_caller]
fn is_version_number(version: &Value) {
    let text = version.as_str().unwrap_or_default();
    assert!(text.starts_with(|c: char| c.is_ascii_digit()) && text.bytes().all(|b| b.is_ascii_digit() || b == b'.'), "{version}");
}

async fn health_v2_names_service_and_uptime(b: Backend) {
    let t = TestApp::with(b, &[("PROJECT_NAME", "Rocket")]).await;
    let uptime = |seconds: f64| json!({"status": "healthy", "timestamp": t.clock.now(), "version": "v2", "service": "Rocket", "uptime_seconds": seconds});
    assert_eq!(t.anonymous().get(HEALTH).await.expect(200), uptime(0.0));
    t.clock.advance(TimeDelta::milliseconds(90_126));
    assert_eq!(t.anonymous().get(HEALTH).await.expect(200), uptime(90.13));
    // Version 1 has not changed.
    assert_eq!(t.anonymous().get("/public/health").await.expect(200), json!({"status": "healthy", "timestamp": t.clock.now()}));
}

async fn readiness_v2_names_versions_of_its_components(b: Backend) {
    let t = TestApp::with(b, &[("PROJECT_NAME", "Rocket")]).await;
    let body = t.anonymous().get(READY).await.expect(200);
    let database = component(&body, "database");
    is_version_number(&database["version"]);
    assert_eq!(database, json!({"status": "healthy", "latency_ms": true, "version": database["version"], "error": null}));
    let absent = json!({"status": "not_configured", "latency_ms": null, "version": null, "error": null});
    assert_eq!(body["components"].as_object().unwrap().len(), 2);
    let wanted = json!({
        "status": "healthy", "timestamp": t.clock.now(), "version": "v2", "service": "Rocket", "environment": "local", "uptime_seconds": 0.0,
        "components": {"database": body["components"]["database"], "redis": absent},
    });
    assert_eq!(body, wanted);
}

async fn readiness_v2_while_stopping_is_503(b: Backend) {
    let t = TestApp::start(b).await;
    t.app.phase.set_stopping();
    let reply = t.anonymous().get(READY).await;
    assert_eq!(reply.header("retry-after"), Some("1"));
    let body = reply.expect(503);
    assert_eq!((&body["status"], &body["components"]["database"]["status"]), (&json!("unhealthy"), &json!("healthy")));
    t.anonymous().get(HEALTH).await.expect(200);
}

async fn probes_v2_have_no_limits(b: Backend) {
    let t = TestApp::with(b, &[("RATE_LIMIT_DEFAULT", "1/day"), ("RATE_LIMIT_ADDRESS", "1/day")]).await;
    for path in [HEALTH, READY, HEALTH, READY] {
        let reply = t.anonymous().get(path).await;
        assert_eq!((reply.status.as_u16(), reply.header("x-ratelimit-limit")), (200, None), "{path}");
    }
}

#[tokio::test]
async fn readiness_v2_without_database_is_503_and_tells_no_details() {
    if !Backend::Postgres.is_available() {
        return;
    }
    let (t, proxy) = TestApp::behind_proxy(&[]).await;
    t.anonymous().get(READY).await.expect(200);
    for (fail, how) in [(Proxy::cut as fn(&Proxy), "cut"), (Proxy::silence, "silent")] {
        fail(&proxy);
        let body = t.anonymous().get(READY).await.expect(503);
        assert_eq!(body["status"], "unhealthy", "{how}");
        let down = json!({"status": "unhealthy", "latency_ms": null, "version": null, "error": "database is unreachable"});
        assert_eq!(body["components"]["database"], down, "{how}");
        t.anonymous().get(HEALTH).await.expect(200);
        proxy.mend();
        eventually("the database is back", async || t.anonymous().get(READY).await.status == 200).await;
    }
}

#[tokio::test]
async fn readiness_v2_with_broken_redis_is_degraded_and_recovers() {
    let Some(redis) = services::redis() else { return };
    let (proxy, url) = Proxy::before(redis).await;
    let t = TestApp::with(Backend::Sqlite, &[("REDIS_URL", &url)]).await;
    let body = t.anonymous().get(READY).await.expect(200);
    let found = component(&body, "redis");
    is_version_number(&found["version"]);
    assert_eq!(found, json!({"status": "healthy", "latency_ms": true, "version": found["version"], "error": null}));
    for (fail, how) in [(Proxy::cut as fn(&Proxy), "cut"), (Proxy::silence, "silent")] {
        fail(&proxy);
        let body = t.anonymous().get(READY).await.expect(200);
        let down = json!({"status": "unhealthy", "latency_ms": null, "version": null, "error": "redis is unreachable"});
        assert_eq!((&body["status"], &body["components"]["redis"]), (&json!("degraded"), &down), "{how}");
        assert_eq!(body["components"]["database"]["status"], "healthy", "{how}");
        proxy.mend();
        eventually("Redis is back", async || t.anonymous().get(READY).await.json()["status"] == "healthy").await;
    }
}
