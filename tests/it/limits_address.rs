//! Rate limit per client address, in front of all others: shared by everything that an address sends, counted before the token.

use chrono::TimeDelta;
use serde_json::json;

use crate::harness::issuer::{Issuer, rsa_key};
use crate::harness::{Backend, Client, Reply, SECRET, TestApp, tokens};
use crate::limits::{prefix, redis_vars, refused, remaining};

/// Checks a 429 by the budget of the address, whose numbers are in no header, and returns the seconds of `Retry-After`.
#[track_caller]
fn refused_by_address(reply: Reply) -> i64 {
    assert!(reply.headers.keys().all(|name| !name.as_str().starts_with("x-ratelimit")), "{:?}", reply.headers);
    let seconds: i64 = reply.header("retry-after").unwrap().parse().unwrap();
    assert!(seconds >= 1);
    assert_eq!(reply.expect_error(429, "RATE_LIMIT_EXCEEDED"), json!({"retry_after": seconds}));
    seconds
}

/// A client whose token is new to the server: it is verified at its first request.
fn fresh(t: &TestApp, name: &str) -> Client {
    let claims = tokens::claims(name, &t.clock).with("jti", uuid::Uuid::now_v7().to_string().into());
    t.with_token(&claims.sign(SECRET))
}

#[tokio::test]
async fn address_limit_is_shared_by_all_callers() {
    let t = TestApp::with(Backend::Sqlite, &[("RATE_LIMIT_ADDRESS", "9/minute")]).await;
    for n in 0..3 {
        fresh(&t, &format!("user-{n}")).get("/app/users/me").await.expect(200);
        t.with_token("forged").get("/app/users/me").await.expect_error(401, "AUTHENTICATION_ERROR");
        t.anonymous().get("/public/auth/config").header("x-forwarded-for", "192.0.2.7").await.expect(200);
    }
    let wait = refused_by_address(t.anonymous().get("/public/auth/config").await);
    for _ in 0..20 {
        assert_eq!(refused_by_address(fresh(&t, "user-0").get("/app/users/me").await), wait, "refused requests use up nothing");
    }
    for free in ["/public/health", "/public/metrics", "/openapi.json"] {
        assert_eq!(t.anonymous().get(free).await.status, 200, "{free}");
    }
    t.anonymous().get("/app/nothing").await.expect_error(404, "NOT_FOUND");
    t.clock.advance(TimeDelta::seconds(wait));
    assert!(fresh(&t, "user-0").get("/app/users/me").await.header("x-ratelimit-limit").is_some());
}

#[tokio::test]
async fn address_limit_refuses_before_token_is_verified() {
    let issuer = Issuer::start(&[rsa_key(0).named("k")]).await;
    let url = format!("{}/keys", issuer.url);
    let vars = [("OAUTH_JWT_SECRET", ""), ("OAUTH_JWKS_URL", url.as_str()), ("RATE_LIMIT_ADDRESS", "1/minute")];
    let t = TestApp::with(Backend::Sqlite, &vars).await;
    t.anonymous().get("/app/users/me").await.expect_error(401, "AUTHENTICATION_ERROR");
    let amy = t.with_token(&rsa_key(0).token("k", &tokens::claims("amy", &t.clock).body));
    let wait = refused_by_address(amy.get("/app/users/me").await);
    assert_eq!(issuer.fetches(), 0);
    t.clock.advance(TimeDelta::seconds(wait));
    amy.get("/app/users/me").await.expect(200);
    assert_eq!(issuer.fetches(), 1);
}

#[tokio::test]
async fn address_limit_is_not_used_up_by_refused_users() {
    for redis in [false, true] {
        let prefix = prefix();
        let mut vars = vec![("RATE_LIMIT_DEFAULT", "2/minute"), ("RATE_LIMIT_ADDRESS", "5/minute")];
        match redis_vars(&prefix) {
            Some(more) if redis => vars.extend(more),
            None if redis => continue,
            _ => {}
        }
        let t = TestApp::with(Backend::Sqlite, &vars).await;
        let amy = t.user("amy").await;
        amy.get("/app/users/me").await.expect(200);
        for _ in 0..10 {
            refused(amy.get("/app/users/me").await, &t.clock);
            // Its token is not known yet, so the address is counted first and the count is taken back.
            refused(fresh(&t, "amy").get("/app/users/me").await, &t.clock);
        }
        for (n, left) in [(0, 1), (1, 0)] {
            assert_eq!(remaining(&fresh(&t, "bob").get("/app/users/me").await), left, "{n}");
        }
        assert_eq!(remaining(&fresh(&t, "cleo").get("/app/users/me").await), 1);
        refused_by_address(fresh(&t, "cleo").get("/app/users/me").await);
    }
}

#[tokio::test]
async fn address_limit_with_redis_is_shared_by_instances() {
    let prefix = prefix();
    let Some(redis) = redis_vars(&prefix) else { return };
    let vars: Vec<_> = redis.into_iter().chain([("RATE_LIMIT_ADDRESS", "4/minute")]).collect();
    let here = TestApp::with(Backend::Sqlite, &vars).await;
    let there = here.second(&vars).await;
    for n in 0..2 {
        fresh(&here, &format!("user-{n}")).get("/app/users/me").await.expect(200);
        there.anonymous().get("/public/auth/config").await.expect(200);
    }
    refused_by_address(fresh(&here, "user-0").get("/app/users/me").await);
    refused_by_address(there.anonymous().get("/public/auth/config").await);
}

#[tokio::test]
async fn address_limit_counts_ipv6_by_network() {
    let t = TestApp::with(Backend::Sqlite, &[("RATE_LIMIT_ADDRESS", "2/minute"), ("TRUSTED_PROXIES", "127.0.0.1")]).await;
    let from = async |address: &str| fresh(&t, "amy").get("/app/users/me").header("x-forwarded-for", address).await;
    for address in ["2001:db8::1", "2001:db8::2:1"] {
        from(address).await.expect(200);
    }
    refused_by_address(from("2001:db8::3:1").await);
    from("2001:db8:0:1::1").await.expect(200);
}

#[tokio::test]
async fn address_limit_defaults_to_ten_times_the_default() {
    let t = TestApp::with(Backend::Sqlite, &[("RATE_LIMIT_DEFAULT", "2/hour")]).await;
    for n in 0..20 {
        fresh(&t, &format!("user-{n}")).get("/app/users/me").await.expect(200);
    }
    let wait = refused_by_address(fresh(&t, "one-more").get("/app/users/me").await);
    assert!(wait > 3000, "{wait}");
}

#[tokio::test]
async fn auth_limit_with_own_tokens_counts_by_address() {
    let t = TestApp::with_accounts(Backend::Sqlite, &[("RATE_LIMIT_AUTH", "4/minute")]).await;
    let mut accounts = Vec::new();
    for n in 0..3 {
        accounts.push(t.register(&format!("user{n}@example.test")).await);
    }
    let log_in = json!({"email": "user0@example.test", "password": "a wrong and unusual one"});
    accounts[0].client.post("/public/auth/login", log_in.clone()).await.expect(401);
    for account in &accounts {
        refused(account.client.post("/public/auth/login", log_in.clone()).await, &t.clock);
        let mail = json!({"email": "victim@example.test"});
        refused(account.client.post("/public/auth/forgot-password", mail).await, &t.clock);
        account.client.get("/app/users/me").await.expect(200);
    }
    refused(t.anonymous().post("/public/auth/login", log_in).await, &t.clock);
}
