//! The metrics page: access, counted events, and bounded label values. Metrics are shared by all tests of the process,
//! so these tests check only the increase of a value.

use chrono::TimeDelta;
use http::Method;
use serde_json::json;

use crate::harness::tokens::claims;
use crate::harness::{Backend, Client, SECRET, TestApp};

async fn page(client: &Client) -> String {
    client.get("/public/metrics").await.expect_text(200)
}

/// The value of the sample with these labels; 0 if the sample does not exist yet.
fn sample(page: &str, name: &str, labels: &[(&str, &str)]) -> f64 {
    let fits = |line: &&str| {
        line.strip_prefix(name).is_some_and(|rest| rest.starts_with(['{', ' ']))
            && labels.iter().all(|(label, value)| line.contains(&format!("{label}=\"{value}\"")))
    };
    page.lines().find(fits).map_or(0.0, |line| line.rsplit(' ').next().unwrap().parse().unwrap())
}

/// The increase of a sample while `act` ran. Parallel tests may add to it.
async fn grew(t: &TestApp, name: &str, labels: &[(&str, &str)], act: impl AsyncFnOnce()) -> f64 {
    let before = sample(&page(&t.anonymous()).await, name, labels);
    act().await;
    sample(&page(&t.anonymous()).await, name, labels) - before
}

#[tokio::test]
async fn metrics_page_at_start_declares_each_name_once() {
    let t = TestApp::start(Backend::Sqlite).await;
    let reply = t.anonymous().get("/public/metrics").await;
    assert!(reply.header("content-type").unwrap().starts_with("text/plain; version="), "{:?}", reply.headers);
    let page = reply.expect_text(200);
    for (kind, names) in [
        (
            "gauge",
            "app_info http_requests_in_progress db_pool_connections redis_connections background_job_queue_size users_total active_subscriptions_total",
        ),
        (
            "counter",
            "http_requests_total db_queries_total db_errors_total cache_hits_total cache_misses_total background_jobs_total llm_requests_total llm_tokens_total external_service_requests_total rate_limit_hits_total webhook_events_total auth_failures_total",
        ),
        (
            "histogram",
            "http_request_duration_seconds db_query_duration_seconds background_job_duration_seconds llm_request_duration_seconds external_service_duration_seconds",
        ),
    ] {
        for name in names.split(' ') {
            assert_eq!(page.matches(&format!("# TYPE {name} {kind}\n")).count(), 1, "{name} is a {kind}");
            assert_eq!(page.matches(&format!("# TYPE {name} ")).count(), 1, "{name}");
            assert_eq!(page.matches(&format!("# HELP {name} ")).count(), 1, "{name}");
        }
    }
    for state in ["idle", "active", "overflow"] {
        assert!(page.contains(&format!("db_pool_connections{{state=\"{state}\"}} ")), "{state}");
    }
    assert!(page.lines().any(|line| line.starts_with("app_info{") && line.ends_with(" 1")));
}

#[tokio::test]
async fn metrics_requests_are_labelled_by_route_template() {
    let t = TestApp::start(Backend::Sqlite).await;
    let subject = "somebody-whose-name-is-nobodys-business";
    let amy = t.user(subject).await;
    let id = amy.project("Apollo").await["id"].as_str().unwrap().to_owned();
    let template = "/api/v1/app/projects/{project_id}";
    let ok = [("endpoint", template), ("method", "GET"), ("status_code", "200")];
    let added = grew(&t, "http_requests_total", &ok, async || {
        for _ in 0..3 {
            amy.get(&format!("/app/projects/{id}")).await.expect(200);
        }
    })
    .await;
    assert!(added >= 3.0);
    let timed = [("endpoint", template), ("method", "GET")];
    let added = grew(&t, "http_request_duration_seconds_count", &timed, async || {
        amy.get("/app/projects/no-such-project").await.expect_error(404, "NOT_FOUND");
    })
    .await;
    assert!(added >= 1.0);
    let unmatched = [("endpoint", "unmatched"), ("method", "GET"), ("status_code", "404")];
    let added = grew(&t, "http_requests_total", &unmatched, async || {
        amy.get("/app/wp-login-7c1e.php").await.expect_error(404, "NOT_FOUND");
    })
    .await;
    assert!(added >= 1.0);
    let refused = [("endpoint", "/api/v1/app/users/me"), ("method", "DELETE"), ("status_code", "405")];
    let added = grew(&t, "http_requests_total", &refused, async || {
        amy.delete("/app/users/me").await.expect_error(405, "METHOD_NOT_ALLOWED");
    })
    .await;
    assert!(added >= 1.0);
    let odd = [("endpoint", "unmatched"), ("method", "OTHER"), ("status_code", "404")];
    let added = grew(&t, "http_requests_total", &odd, async || {
        for method in ["PROPFIND", "XYZZY"] {
            let method = Method::from_bytes(method.as_bytes()).unwrap();
            amy.call(method, "/nothing").await.expect_error(404, "NOT_FOUND");
        }
    })
    .await;
    assert!(added >= 2.0);
    let page = page(&t.anonymous()).await;
    for secret in [id.as_str(), subject, "wp-login-7c1e", "XYZZY", "no-such-project", "Apollo", "@example.test"] {
        assert!(!page.contains(secret), "{secret}");
    }
    assert!(sample(&page, "db_queries_total", &[("table", "projects")]) > 0.0);
    assert!(
        page.contains("http_request_duration_seconds_bucket{endpoint=\"/api/v1/app/projects/{project_id}\",method=\"GET\",le=\"0.005\"}")
    );
}

#[tokio::test]
async fn metrics_auth_failures_are_counted_by_reason() {
    let t = TestApp::start(Backend::Sqlite).await;
    let amy = t.user("amy").await;
    let off = t.user("off").await;
    t.sql("UPDATE users SET is_active = FALSE WHERE id = 'off'").await;
    t.forget_identity("off");
    let expired = claims("amy", &t.clock).with("exp", (t.clock.now() - TimeDelta::hours(1)).timestamp().into()).sign(SECRET);
    for (reason, client, path) in [
        ("missing_token", t.anonymous(), "/app/users/me"),
        ("expired_token", t.with_token(&expired), "/app/users/me"),
        ("invalid_token", t.with_token("junk"), "/app/users/me"),
        ("forbidden", amy, "/admin/users"),
        ("inactive_user", off, "/app/users/me"),
    ] {
        let added = grew(&t, "auth_failures_total", &[("reason", reason)], async || {
            assert!(matches!(client.get(path).await.status.as_u16(), 401 | 403));
        })
        .await;
        assert!(added >= 1.0, "{reason}");
    }
}

#[tokio::test]
async fn metrics_rate_limit_hits_are_labelled_by_class_and_route() {
    let t = TestApp::with(Backend::Sqlite, &[("RATE_LIMIT_DEFAULT", "1/day")]).await;
    let amy = t.user("amy").await;
    t.anonymous().get("/app/users/me").await.expect_error(401, "AUTHENTICATION_ERROR");
    for (client, kind) in [(amy, "user"), (t.anonymous(), "ip")] {
        let labels = [("class", "default"), ("endpoint", "/api/v1/app/projects/{project_id}"), ("client_type", kind)];
        let added = grew(&t, "rate_limit_hits_total", &labels, async || {
            client.get("/app/projects/1").await.expect_error(429, "RATE_LIMIT_EXCEEDED");
        })
        .await;
        assert!(added >= 1.0, "{kind}");
    }
    let t = TestApp::with(Backend::Sqlite, &[("RATE_LIMIT_ADDRESS", "1/day")]).await;
    let amy = t.user("amy").await;
    let labels = [("class", "address"), ("endpoint", "/api/v1/app/projects/{project_id}"), ("client_type", "ip")];
    let added = grew(&t, "rate_limit_hits_total", &labels, async || {
        amy.get("/app/projects/1").await.expect_error(429, "RATE_LIMIT_EXCEEDED");
    })
    .await;
    assert!(added >= 1.0);
}

#[tokio::test]
async fn metrics_page_with_token_configured_requires_bearer() {
    let t = TestApp::with(Backend::Sqlite, &[("METRICS_TOKEN", "scrape-me-0123456789")]).await;
    for header in ["Bearer scrape-me-0123456789", "bearer scrape-me-0123456789"] {
        t.anonymous().get("/public/metrics").header("authorization", header).await.expect_text(200);
    }
    let admin = t.admin().await;
    for header in [
        "Bearer scrape-m",
        "Bearer scrape-me-01234567892",
        "Bearer SCRAPE-ME",
        "Basic scrape-me-0123456789",
        "scrape-me-0123456789",
        "Bearer ",
        "",
    ] {
        let reply = t.anonymous().get("/public/metrics").header("authorization", header).await;
        assert_eq!(reply.header("www-authenticate"), Some("Bearer"), "{header}");
        assert_eq!(reply.expect_error(401, "AUTHENTICATION_ERROR"), json!({}), "{header}");
    }
    t.anonymous().get("/public/metrics").await.expect_error(401, "AUTHENTICATION_ERROR");
    admin.get("/public/metrics").await.expect_error(401, "AUTHENTICATION_ERROR");
    t.anonymous().get("/public/metrics").query(&[("token", "scrape-me-0123456789")]).await.expect_error(401, "AUTHENTICATION_ERROR");
    // The health of the metrics is public.
    let health = t.anonymous().get("/public/metrics/health").await.expect(200);
    assert_eq!(health, json!({"status": "healthy", "prometheus_available": true, "environment": "local"}));
}

#[tokio::test]
async fn metrics_page_in_production_without_token_is_absent() {
    if !Backend::Postgres.is_available() {
        return;
    }
    let mut vars = crate::contract::PRODUCTION.to_vec();
    let t = TestApp::with(Backend::Postgres, &vars).await;
    t.anonymous().get("/public/metrics").await.expect_error(404, "NOT_FOUND");
    t.anonymous().get("/public/metrics").header("authorization", "Bearer x").await.expect_error(404, "NOT_FOUND");
    vars.push(("METRICS_TOKEN", "scrape-me-0123456789"));
    let t = TestApp::with(Backend::Postgres, &vars).await;
    t.anonymous().get("/public/metrics").await.expect_error(401, "AUTHENTICATION_ERROR");
    t.anonymous().get("/public/metrics").header("authorization", "Bearer scrape-me-0123456789").await.expect_text(200);
}
