//! Rate limits: choice of the budget, response headers, and the same decisions in Redis as in memory.

use chrono::TimeDelta;
use omnistack::platform::clock::Clock;
use omnistack::platform::config::{Env, Section, Value};
use omnistack::platform::id::UserId;
use omnistack::platform::rate_limit::{Caller, DEFAULT, KeyedBy, Limit, Limiter, Limits, Rate};
use omnistack::platform::redis::{self, Redis};
use proptest::prelude::*;
use proptest::test_runner::TestRunner;
use serde_json::json;

use crate::harness::{Backend, Client, Reply, TestApp, services};

pub fn remaining(reply: &Reply) -> i64 {
    reply.header("x-ratelimit-remaining").unwrap().parse().unwrap()
}

/// Checks the headers and body of a 429 and returns the seconds of `Retry-After`.
#[track_caller]
pub fn refused(reply: Reply, clock: &Clock) -> i64 {
    let seconds: i64 = reply.header("retry-after").unwrap().parse().unwrap();
    assert!(seconds >= 1);
    assert_eq!(remaining(&reply), 0);
    let reset: i64 = reply.header("x-ratelimit-reset").unwrap().parse().unwrap();
    let ahead = reset - clock.now().timestamp();
    assert!(ahead == seconds || ahead == seconds + 1, "reset in {ahead}, retry after {seconds}");
    assert_eq!(reply.expect_error(429, "RATE_LIMIT_EXCEEDED"), json!({"retry_after": seconds}));
    seconds
}

#[tokio::test]
async fn rate_limit_user_shares_one_budget_across_paths() {
    let t = TestApp::with(Backend::Sqlite, &[("RATE_LIMIT_DEFAULT", "5/minute")]).await;
    let amy = t.user("amy").await;
    let mut left = 4;
    for path in ["/app/projects", "/app/projects/x", "/admin/users", "/app/users/me"] {
        left -= 1;
        let reply = amy.get(path).await;
        assert_eq!((remaining(&reply), reply.header("x-ratelimit-limit")), (left, Some("5")), "{path}: {}", reply.text());
    }
    for path in ["/app/projects", "/app/users/me", "/admin/users"] {
        refused(amy.get(path).await, &t.clock);
    }
    refused(amy.post("/app/projects", json!({"name": "x"})).await, &t.clock);
    // A second token of the same user shares the budget; other callers at the same address have their own budgets.
    let again = crate::harness::tokens::claims("amy", &t.clock).with("jti", "2".into()).sign(crate::harness::SECRET);
    refused(t.with_token(&again).get("/app/users/me").await, &t.clock);
    assert_eq!(remaining(&t.user("bob").await.get("/app/users/me").await), 3);
    assert_eq!(remaining(&t.anonymous().get("/app/users/me").await), 4);
}

#[tokio::test]
async fn rate_limit_unverified_token_counts_by_ip() {
    let t = TestApp::with(Backend::Sqlite, &[("RATE_LIMIT_DEFAULT", "4/minute")]).await;
    let other = crate::harness::tokens::claims("amy", &t.clock).sign("another-secret-of-32-characters-or-more-");
    let callers: [Client; 4] = [t.anonymous(), t.with_token("junk"), t.with_token(&other), t.with_token("a.b.c")];
    for (n, caller) in (0..).zip(&callers) {
        let reply = caller.get("/app/users/me").await;
        assert_eq!(remaining(&reply), 3 - n);
        reply.expect_error(401, "AUTHENTICATION_ERROR");
    }
    for caller in callers {
        refused(caller.get("/app/users/me").await, &t.clock);
    }
    // A forged token does not count against the user in its `sub` claim.
    assert_eq!(remaining(&t.user("amy").await.get("/app/users/me").await), 2);
}

#[tokio::test]
async fn rate_limit_retry_after_elapsed_admits_caller() {
    for rate in ["1/second", "3/minute", "3/hour", "2/day"] {
        let t = TestApp::with(Backend::Sqlite, &[("RATE_LIMIT_DEFAULT", rate)]).await;
        let anybody = t.anonymous();
        let limit: i64 = rate.split('/').next().unwrap().parse().unwrap();
        for n in 1..=limit {
            assert_eq!(remaining(&anybody.get("/app/users/me").await), limit - n, "{rate}");
        }
        // Further requests do not prolong the wait.
        let first = refused(anybody.get("/app/users/me").await, &t.clock);
        for _ in 0..20 {
            assert_eq!(refused(anybody.get("/app/users/me").await, &t.clock), first, "{rate}");
        }
        t.clock.advance(TimeDelta::seconds(first - 1));
        if first > 1 {
            assert_eq!(refused(anybody.get("/app/users/me").await, &t.clock), 1, "{rate}");
        }
        t.clock.advance(TimeDelta::seconds(1));
        // All requests fell into one sub-window, so the whole budget returns at once.
        for n in 1..=limit {
            let reply = anybody.get("/app/users/me").await;
            assert_eq!((reply.status.as_u16(), remaining(&reply)), (401, limit - n), "{rate}");
        }
        refused(anybody.get("/app/users/me").await, &t.clock);
    }
}

#[tokio::test]
async fn rate_limit_sliding_window_frees_oldest_request() {
    let t = TestApp::with(Backend::Sqlite, &[("RATE_LIMIT_DEFAULT", "3/minute")]).await;
    let anybody = t.anonymous();
    for _ in 0..3 {
        assert_eq!(anybody.get("/app/users/me").await.status, 401);
        t.clock.advance(TimeDelta::seconds(15));
    }
    // 45 seconds after the first request, in a sliding window: only the first request has expired.
    let wait = refused(anybody.get("/app/users/me").await, &t.clock);
    assert!((14..=15).contains(&wait), "{wait}");
    t.clock.advance(TimeDelta::seconds(wait));
    assert_eq!(anybody.get("/app/users/me").await.status, 401);
    let wait = refused(anybody.get("/app/users/me").await, &t.clock);
    assert!((14..=15).contains(&wait), "{wait}");
}

#[tokio::test]
async fn rate_limit_skips_probes_metrics_and_api_docs() {
    let t = TestApp::with(Backend::Sqlite, &[("RATE_LIMIT_DEFAULT", "1/day")]).await;
    for path in
        ["/public/health", "/public/health/ready", "/public/metrics", "/public/metrics/health", "/openapi.json", "//docs", "//redoc"]
    {
        for _ in 0..3 {
            let reply = t.anonymous().get(path).await;
            assert_eq!(reply.status, 200, "{path}");
            assert!(reply.headers.keys().all(|name| !name.as_str().starts_with("x-ratelimit")), "{path}");
        }
    }
}

#[tokio::test]
async fn rate_limit_disabled_sends_no_headers() {
    let t = TestApp::with(Backend::Sqlite, &[("RATE_LIMIT_DEFAULT", "1/day"), ("RATE_LIMIT_ENABLED", "false")]).await;
    for _ in 0..3 {
        let reply = t.anonymous().get("/app/users/me").await;
        assert!(reply.headers.keys().all(|name| !name.as_str().starts_with("x-ratelimit")));
        reply.expect_error(401, "AUTHENTICATION_ERROR");
    }
}

async fn from(t: &TestApp, forwarded: &str) -> Reply {
    t.anonymous().get("/app/users/me").header("x-forwarded-for", forwarded).await
}

#[tokio::test]
async fn client_ip_untrusted_peer_ignores_forwarded_headers() {
    let t = TestApp::with(Backend::Sqlite, &[("RATE_LIMIT_DEFAULT", "2/minute")]).await;
    assert_eq!(remaining(&from(&t, "1.1.1.1").await), 1);
    assert_eq!(remaining(&from(&t, "2.2.2.2").await), 0);
    refused(from(&t, "3.3.3.3").await, &t.clock);
    for name in ["x-real-ip", "forwarded", "cf-connecting-ip", "true-client-ip", "x-client-ip"] {
        refused(t.anonymous().get("/app/users/me").header(name, "4.4.4.4").await, &t.clock);
    }
}

#[tokio::test]
async fn client_ip_trusted_proxy_uses_nearest_untrusted_hop() {
    let proxies = [("RATE_LIMIT_DEFAULT", "2/minute"), ("TRUSTED_PROXIES", "127.0.0.1, 10.0.0.0/8")];
    let t = TestApp::with(Backend::Sqlite, &proxies).await;
    assert_eq!(remaining(&from(&t, "1.1.1.1").await), 1);
    assert_eq!(remaining(&from(&t, "2.2.2.2").await), 1);
    // Entries that the client sent itself are left of the entries that the proxies added.
    assert_eq!(remaining(&from(&t, "9.9.9.9, 1.1.1.1").await), 0);
    refused(from(&t, "8.8.8.8, 7.7.7.7, 1.1.1.1").await, &t.clock);
    refused(from(&t, "5.5.5.5,1.1.1.1 , 10.1.2.3").await, &t.clock);
    refused(from(&t, "127.0.0.1, 1.1.1.1:4711, 10.1.2.3, 10.3.2.1").await, &t.clock);
    let lines = t.anonymous().get("/app/users/me").header("x-forwarded-for", "6.6.6.6").header("x-forwarded-for", "1.1.1.1").await;
    refused(lines, &t.clock);
    // Without a valid address, the proxy's own address counts.
    assert_eq!(remaining(&from(&t, "nonsense").await), 1);
    assert_eq!(remaining(&from(&t, "1.1.1.1, nonsense").await), 0);
    refused(t.anonymous().get("/app/users/me").await, &t.clock);
}

/// Variables that connect to the shared test Redis under the given prefix.
pub fn redis_vars(prefix: &str) -> Option<[(&str, &str); 2]> {
    Some([("REDIS_URL", services::redis()?), ("REDIS_PREFIX", prefix)])
}

pub fn prefix() -> String {
    format!("omnistack-test:{}:", uuid::Uuid::now_v7().simple())
}

#[tokio::test]
async fn rate_limit_shared_redis_counts_across_instances() {
    let prefix = prefix();
    let Some(redis) = redis_vars(&prefix) else { return };
    let vars: Vec<_> = redis.into_iter().chain([("RATE_LIMIT_DEFAULT", "6/minute")]).collect();
    let here = TestApp::with(Backend::Sqlite, &vars).await;
    let there = here.second(&vars).await;
    let amy = here.user("amy").await;
    let there_too = there.with_token(amy.token.as_ref().unwrap());
    for left in (1..=4).rev() {
        let client = if left % 2 == 0 { &there_too } else { &amy };
        assert_eq!(remaining(&client.get("/app/users/me").await), left);
    }
    assert_eq!(remaining(&there_too.get("/app/users/me").await), 0);
    let wait = refused(amy.get("/app/users/me").await, &here.clock);
    assert_eq!(refused(there_too.get("/app/users/me").await, &here.clock), wait);
    here.clock.advance(TimeDelta::seconds(wait));
    there_too.get("/app/users/me").await.expect(200);
    // Concurrent requests are counted exactly.
    let crowd: Vec<_> = (0..20).map(|n| if n % 2 == 0 { amy.clone() } else { there_too.clone() }).collect();
    let calls: Vec<_> = crowd.into_iter().map(|client| tokio::spawn(async move { client.get("/app/users/me").await })).collect();
    let mut let_in = 0;
    for call in calls {
        let_in += usize::from(call.await.unwrap().status == 200);
    }
    assert_eq!(let_in, 5);
    // Another prefix has separate counters.
    let elsewhere = self::prefix();
    let vars: Vec<_> = redis_vars(&elsewhere).unwrap().into_iter().chain([("RATE_LIMIT_DEFAULT", "6/minute")]).collect();
    assert_eq!(remaining(&here.second(&vars).await.with_token(amy.token.as_ref().unwrap()).get("/app/users/me").await), 5);
}

fn connect(prefix: &str) -> Option<Redis> {
    let vars = redis_vars(prefix)?.map(|(name, value)| (name.to_owned(), value.to_owned()));
    Redis::connect(&redis::Config::read(&mut Env::from_vars(vars))).unwrap()
}

#[test]
fn rate_limit_redis_agrees_with_memory() {
    if services::redis().is_none() {
        return;
    }
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let rate = (1..=8u32, prop::sample::select(vec![("minute", 60_000), ("hour", 3_600_000), ("day", 86_400_000)]));
    // Steps of several sub-windows, because windows must fill, overflow and expire; two callers.
    let steps = prop::collection::vec((0.0..0.4f64, 0..2u8), 1..60);
    let mut runner = TestRunner::new(ProptestConfig { cases: 40, failure_persistence: None, ..ProptestConfig::default() });
    let checked = runner.run(&(rate, steps), |((limit, (unit, window)), steps)| {
        runtime.block_on(async {
            let limit = Limit { name: DEFAULT.name, rate: Rate::parse(&format!("{limit}/{unit}")).unwrap(), keyed_by: DEFAULT.keyed_by };
            let (memory, shared, clock) = (Limiter::new(None), Limiter::new(connect(&prefix())), Clock::manual());
            let limits = Limits {
                address: Limit { name: "address", rate: Rate { limit: 5, ..limit.rate }, keyed_by: KeyedBy::Address },
                route: Limit { name: "route", ..limit },
            };
            for (step, who) in steps {
                #[expect(clippy::cast_possible_truncation, reason = "less than a window")]
                clock.advance(TimeDelta::milliseconds((step * f64::from(window)) as i64));
                let caller = Caller::User(UserId::parse(&format!("user-{who}")).unwrap());
                let by_memory = memory.hit(&limit, &caller, clock.now()).await;
                let by_redis = shared.hit(&limit, &caller, clock.now()).await;
                prop_assert_eq!(by_memory, by_redis);
                let address = Caller::address([192, 0, 2, 1].into());
                let by_memory = memory.admit(&limits, &address, &caller, clock.now()).await;
                prop_assert_eq!(by_memory, shared.admit(&limits, &address, &caller, clock.now()).await);
                if who == 1 {
                    memory.give_back_address(&limits, &address, clock.now()).await;
                    shared.give_back_address(&limits, &address, clock.now()).await;
                }
                let by_memory = memory.hit_address(&limits, &address, clock.now()).await;
                prop_assert_eq!(by_memory, shared.hit_address(&limits, &address, clock.now()).await);
            }
            Ok(())
        })
    });
    checked.unwrap();
}
