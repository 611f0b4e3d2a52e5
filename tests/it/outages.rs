//! Outages of Redis and of the database while the server runs, and recovery after them.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::harness::proxy::Proxy;
use crate::harness::{Backend, Client, TestApp, eventually, services};

/// Upper bound for a few requests. Generous for busy machines, but well below the request deadline of 30 seconds.
const SOON: Duration = Duration::from_secs(10);
/// Upper bound for a readiness check, which takes at most two seconds; the rest allows for a busy machine.
const CHECK: Duration = Duration::from_secs(4);

async fn readiness(client: &Client) -> (u16, Value) {
    let started = Instant::now();
    let reply = client.get("/public/health/ready").await;
    assert!(started.elapsed() < CHECK, "readiness took {:?}", started.elapsed());
    (reply.status.as_u16(), reply.json())
}

/// A server that reaches Redis through a proxy, and a second server that reaches it directly.
async fn with_redis() -> Option<(TestApp, TestApp, Proxy)> {
    let (proxy, url) = Proxy::before(services::redis()?).await;
    let prefix = format!("omnistack-test:{}:", uuid::Uuid::now_v7().simple());
    let common = [("REDIS_PREFIX", prefix.as_str()), ("RATE_LIMIT_DEFAULT", "5000/day")];
    let vars: Vec<_> = common.into_iter().chain([("REDIS_URL", url.as_str())]).collect();
    let t = TestApp::with(Backend::Sqlite, &vars).await;
    let vars: Vec<_> = common.into_iter().chain([("REDIS_URL", services::redis()?)]).collect();
    let direct = t.second(&vars).await;
    Some((t, direct, proxy))
}

async fn works(client: &Client, name: &str) {
    let started = Instant::now();
    let made = client.project(name).await;
    assert_eq!(client.get(&format!("/app/projects/{}", made["id"].as_str().unwrap())).await.expect(200)["name"], name);
    let reply = client.get("/app/users/me").await;
    assert!(reply.header("x-ratelimit-remaining").is_some());
    reply.expect(200);
    assert!(started.elapsed() < SOON, "{:?}", started.elapsed());
}

#[tokio::test]
async fn redis_outage_fails_no_request_and_recovers() {
    let Some((t, direct, proxy)) = with_redis().await else { return };
    let amy = t.user("amy").await;
    let there = direct.with_token(amy.token.as_ref().unwrap());
    let (status, body) = readiness(&amy).await;
    assert_eq!((status, &body["status"], &body["components"]["redis"]), (200, &json!("healthy"), &json!({"status": "healthy"})));
    works(&amy, "before").await;

    for (fail, how) in [(Proxy::cut as fn(&Proxy), "cut"), (Proxy::silence, "silent")] {
        // The outage begins while many requests are in progress.
        let calls: Vec<_> = (0..20)
            .map(|_| {
                let amy = amy.clone();
                tokio::spawn(async move { amy.get("/app/users/me").await })
            })
            .collect();
        fail(&proxy);
        for call in calls {
            call.await.unwrap().expect(200);
        }
        works(&amy, how).await;
        let (status, body) = readiness(&amy).await;
        assert_eq!((status, &body["status"]), (200, &json!("degraded")), "{how}: {body}");
        assert_eq!(body["components"]["redis"], json!({"status": "unhealthy", "error": "redis is unreachable"}));
        assert_eq!(body["components"]["database"]["status"], "healthy");
        works(&amy, how).await;

        proxy.mend();
        eventually("redis is healthy again", async || readiness(&amy).await.1["status"] == "healthy").await;
        // Redis is used again: both servers count in the same place.
        let remaining = async |client: &Client| {
            let reply = client.get("/app/users/me").await;
            reply.header("x-ratelimit-remaining").unwrap().parse::<i64>().unwrap()
        };
        eventually("the budget is shared again", async || remaining(&there).await - remaining(&amy).await == 1).await;
        works(&amy, "after").await;
    }
}

#[tokio::test]
async fn redis_unreachable_at_start_still_serves() {
    // The proxy closes every connection.
    let nowhere = Proxy::to(([127, 0, 0, 1], 1).into()).await;
    nowhere.cut();
    let url = format!("redis://127.0.0.1:{}/0", nowhere.port);
    let t = TestApp::with(Backend::Sqlite, &[("REDIS_URL", url.as_str()), ("RATE_LIMIT_DEFAULT", "50/minute")]).await;
    let amy = t.user("amy").await;
    works(&amy, "without").await;
    assert_eq!(readiness(&amy).await.1["status"], "degraded");
    assert_eq!(amy.get("/app/users/me").await.header("x-ratelimit-remaining"), Some("45"), "counted in memory");
}

#[tokio::test]
async fn readiness_without_redis_configured_is_healthy() {
    let t = TestApp::start(Backend::Sqlite).await;
    let (status, body) = readiness(&t.anonymous()).await;
    assert_eq!((status, &body["status"]), (200, &json!("healthy")));
    assert_eq!(body["components"], json!({"database": {"status": "healthy"}, "redis": {"status": "not_configured"}}));
    assert!(body["timestamp"].as_str().is_some_and(|time| time.ends_with('Z')), "{body}");
}

#[tokio::test]
async fn database_outage_returns_503_and_recovers() {
    if !Backend::Postgres.is_available() {
        return;
    }
    // A short deadline, because requests to a silent database fail only when it expires.
    let (t, proxy) = TestApp::behind_proxy(&[("REQUEST_TIMEOUT_SECONDS", "3")]).await;
    let amy = t.user("amy").await;
    let project = format!("/app/projects/{}", amy.project("Apollo").await["id"].as_str().unwrap());
    assert_eq!(readiness(&amy).await.1["status"], "healthy");

    for (fail, how) in [(Proxy::cut as fn(&Proxy), "cut"), (Proxy::silence, "silent")] {
        fail(&proxy);
        let (status, body) = readiness(&amy).await;
        assert_eq!((status, &body["status"]), (503, &json!("unhealthy")), "{how}: {body}");
        assert_eq!(body["components"]["database"], json!({"status": "unhealthy", "error": "database is unreachable"}));
        for reply in [amy.get("/app/users/me").await, amy.get(&project).await, amy.post("/app/projects", json!({"name": "x"})).await] {
            assert_eq!(reply.header("retry-after"), Some("1"), "{how}: {}", reply.text());
            assert_eq!(reply.expect_error(503, "SERVICE_UNAVAILABLE"), json!({}));
        }
        // A first request of an unknown user needs the database too: 503, not 401.
        let stranger = crate::harness::tokens::claims("stranger", &t.clock).sign(crate::harness::SECRET);
        t.with_token(&stranger).get("/app/users/me").await.expect_error(503, "SERVICE_UNAVAILABLE");
        // Liveness stays healthy, because a restart would not help; metrics stay available.
        assert_eq!(amy.get("/public/health").await.expect(200)["status"], "healthy");
        amy.get("/public/metrics").await.expect_text(200);
        t.anonymous().get("/app/users/me").await.expect_error(401, "AUTHENTICATION_ERROR");

        proxy.mend();
        eventually("the database is back", async || readiness(&amy).await.0 == 200).await;
        eventually("requests are served", async || amy.get(&project).await.status == 200).await;
    }
    assert_eq!(amy.get("/app/projects").await.expect(200)["total"], 1);
}

#[tokio::test]
async fn readiness_while_stopping_is_503_but_requests_are_served() {
    let t = TestApp::start(Backend::Sqlite).await;
    let amy = t.user("amy").await;
    t.app.phase.set_stopping();
    let (status, body) = readiness(&amy).await;
    assert_eq!((status, &body["status"]), (503, &json!("unhealthy")));
    assert_eq!(body["components"]["database"]["status"], "healthy");
    amy.get("/app/users/me").await.expect(200);
}
