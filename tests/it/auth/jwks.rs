//! Keys from an issuer's JWKS document: key selection, fetching, caching, and outages of the issuer.

use chrono::TimeDelta;
use serde_json::{Value, json};

use crate::harness::issuer::{Issuer, ec_key, rsa_key};
use crate::harness::tokens::{claims, seal, signed_part};
use crate::harness::{Backend, Reply, TestApp};

/// Starts a server that trusts this issuer.
async fn trusting(issuer: &Issuer) -> TestApp {
    let url = format!("{}/keys", issuer.url);
    TestApp::with(Backend::Sqlite, &[("OAUTH_JWT_SECRET", ""), ("OAUTH_JWKS_URL", &url)]).await
}

fn body(t: &TestApp) -> Value {
    // Valid for ten days, because the tests advance the clock.
    claims("amy", &t.clock).with("exp", (t.clock.now().timestamp() + 864_000).into()).body
}

async fn me(t: &TestApp, token: &str) -> Reply {
    t.with_token(token).get("/app/users/me").await
}

#[track_caller]
fn refused(reply: Reply) {
    assert_eq!(reply.json()["error"]["message"], "Invalid token");
    reply.expect_error(401, "AUTHENTICATION_ERROR");
}

/// Checks for the response while keys are unavailable: 503 with `Retry-After`.
#[track_caller]
fn later(reply: Reply) {
    let seconds: u64 = reply.header("retry-after").unwrap().parse().unwrap();
    assert!((1..=30).contains(&seconds), "{seconds}");
    assert_eq!(reply.expect_error(503, "SERVICE_UNAVAILABLE"), json!({}));
}

#[tokio::test]
async fn jwks_rs256_and_es256_verify_by_key_id() {
    let issuer = Issuer::start(&[rsa_key(0).named("r"), ec_key(0).named("e")]).await;
    let t = trusting(&issuer).await;
    me(&t, &rsa_key(0).token("r", &body(&t))).await.expect(200);
    me(&t, &ec_key(0).token("e", &body(&t))).await.expect(200);
    assert_eq!(issuer.fetches(), 1);
    // Right algorithm, wrong key.
    refused(me(&t, &rsa_key(1).token("r", &body(&t))).await);
    refused(me(&t, &ec_key(1).token("e", &body(&t))).await);
}

#[tokio::test]
async fn jwks_algorithm_mismatch_is_refused() {
    let issuer = Issuer::start(&[rsa_key(0).named("r"), ec_key(0).named("e")]).await;
    let t = trusting(&issuer).await;
    let body = body(&t);
    let header = |alg: &str, kid: &str| json!({"alg": alg, "kid": kid});
    refused(me(&t, &rsa_key(0).sign(&header("ES256", "r"), &body)).await);
    refused(me(&t, &rsa_key(0).sign(&header("ES256", "e"), &body)).await);
    refused(me(&t, &ec_key(0).sign(&header("RS256", "e"), &body)).await);
    refused(me(&t, &ec_key(0).sign(&header("ES256", "r"), &body)).await);
    for alg in ["RS384", "RS512", "PS256", "ES384", "EdDSA", "none"] {
        refused(me(&t, &rsa_key(0).sign(&header(alg, "r"), &body)).await);
    }
    // Algorithm confusion: the public key in every encoding, used as an HMAC key.
    let jwk = rsa_key(0).jwk();
    let forms =
        [rsa_key(0).public_bytes(), ec_key(0).public_bytes(), jwk.to_string().into_bytes(), jwk["n"].as_str().unwrap().into(), Vec::new()];
    for public in forms {
        for kid in ["r", "e"] {
            refused(me(&t, &seal(&signed_part(header("HS256", kid).to_string(), body.to_string()), &public)).await);
        }
    }
}

#[tokio::test]
async fn jwks_token_without_key_id_uses_the_only_fitting_key() {
    let issuer = Issuer::start(&[rsa_key(0).named("r"), ec_key(0).named("e")]).await;
    let t = trusting(&issuer).await;
    me(&t, &rsa_key(0).sign(&json!({"alg": "RS256"}), &body(&t))).await.expect(200);
    me(&t, &ec_key(0).sign(&json!({"alg": "ES256"}), &body(&t))).await.expect(200);
    // With two fitting keys the choice is ambiguous.
    let issuer = Issuer::start(&[rsa_key(0).named("r1"), rsa_key(1).named("r2")]).await;
    let t = trusting(&issuer).await;
    refused(me(&t, &rsa_key(0).sign(&json!({"alg": "RS256"}), &body(&t))).await);
    refused(me(&t, &rsa_key(0).sign(&json!({"alg": "RS256", "kid": ["r1"]}), &body(&t))).await);
}

#[tokio::test]
async fn jwks_keys_without_ids_are_chosen_by_algorithm() {
    let issuer = Issuer::start(&[rsa_key(0).jwk(), ec_key(0).jwk()]).await;
    let t = trusting(&issuer).await;
    me(&t, &rsa_key(0).sign(&json!({"alg": "RS256"}), &body(&t))).await.expect(200);
    me(&t, &ec_key(0).sign(&json!({"alg": "ES256"}), &body(&t))).await.expect(200);
    refused(me(&t, &rsa_key(0).token("", &body(&t))).await);
}

#[tokio::test]
async fn jwks_unsuitable_keys_are_ignored() {
    let with = |mut jwk: Value, name: &str, value: Value| {
        jwk[name] = value;
        jwk
    };
    let issuer = Issuer::start(&[
        json!({"kty": "oct", "kid": "oct", "k": "c2VjcmV0"}),
        json!({"kty": "OKP", "crv": "Ed25519", "kid": "ed", "x": "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}),
        json!({"kty": "unheard of", "kid": "new"}),
        json!({"kty": "RSA", "kid": "broken"}),
        json!("not a key"),
        with(rsa_key(0).named("enc"), "use", "enc".into()),
        with(rsa_key(0).named("ps"), "alg", "PS256".into()),
        with(rsa_key(0).named("es"), "alg", "ES256".into()),
        with(ec_key(0).named("rs"), "alg", "RS256".into()),
        with(with(rsa_key(0).named("good"), "use", "sig".into()), "alg", "RS256".into()),
    ])
    .await;
    let t = trusting(&issuer).await;
    me(&t, &rsa_key(0).token("good", &body(&t))).await.expect(200);
    for kid in ["oct", "ed", "new", "broken", "enc", "ps", "es", "rs"] {
        refused(me(&t, &rsa_key(0).token(kid, &body(&t))).await);
        refused(me(&t, &ec_key(0).token(kid, &body(&t))).await);
        refused(me(&t, &seal(&signed_part(json!({"alg": "HS256", "kid": kid}).to_string(), body(&t).to_string()), b"secret")).await);
    }
}

#[tokio::test]
async fn jwks_unknown_key_refetches_once_per_30_seconds() {
    let issuer = Issuer::start(&[rsa_key(0).named("old")]).await;
    let t = trusting(&issuer).await;
    let (old, new) = (rsa_key(0).token("old", &body(&t)), rsa_key(1).token("new", &body(&t)));
    me(&t, &old).await.expect(200);
    assert_eq!(issuer.fetches(), 1);
    for n in 0..10 {
        refused(me(&t, &rsa_key(1).token(&format!("unknown-{n}"), &body(&t))).await);
    }
    assert_eq!(issuer.fetches(), 2, "ten unknown keys cause one more fetch");
    // The issuer rotates its keys. Unknown keys delay the refetch by at most 30 seconds.
    issuer.publish(&[rsa_key(0).named("old"), rsa_key(1).named("new")]);
    t.clock.advance(TimeDelta::seconds(29));
    refused(me(&t, &new).await);
    assert_eq!(issuer.fetches(), 2);
    t.clock.advance(TimeDelta::seconds(1));
    me(&t, &new).await.expect(200);
    me(&t, &old).await.expect(200);
    assert_eq!(issuer.fetches(), 3);
}

#[tokio::test]
async fn jwks_withdrawn_key_is_refused_after_cache_ttl() {
    let issuer = Issuer::start(&[rsa_key(0).named("a")]).await;
    let t = trusting(&issuer).await;
    let token = rsa_key(0).token("a", &body(&t));
    me(&t, &token).await.expect(200);
    issuer.publish(&[rsa_key(1).named("b")]);
    t.clock.advance(TimeDelta::seconds(3600));
    refused(me(&t, &token).await);
    me(&t, &rsa_key(1).token("b", &body(&t))).await.expect(200);
}

#[tokio::test]
async fn jwks_concurrent_first_requests_fetch_once() {
    let issuer = Issuer::start(&[rsa_key(0).named("k")]).await;
    let t = trusting(&issuer).await;
    issuer.hold(true);
    let calls: Vec<_> = (0..20)
        .map(|n| {
            let client = t.with_token(&rsa_key(0).token("k", &claims(&format!("user-{n}"), &t.clock).body));
            tokio::spawn(async move { client.get("/app/users/me").await })
        })
        .collect();
    issuer.asked(1).await;
    issuer.hold(false);
    for call in calls {
        call.await.unwrap().expect(200);
    }
    assert_eq!(issuer.fetches(), 1);
}

#[tokio::test]
async fn jwks_issuer_down_at_first_is_retried_after_a_pause() {
    let issuer = Issuer::start(&[]).await;
    let t = trusting(&issuer).await;
    let token = rsa_key(0).token("k", &body(&t));
    issuer.answer_with(500, "oops");
    for _ in 0..5 {
        later(me(&t, &token).await);
    }
    assert_eq!(issuer.fetches(), 1);
    issuer.publish(&[rsa_key(0).named("k")]);
    t.clock.advance(TimeDelta::seconds(1));
    me(&t, &token).await.expect(200);
    assert_eq!(issuer.fetches(), 2);
}

#[tokio::test]
async fn jwks_issuer_down_for_long_is_fetched_with_backoff() {
    let issuer = Issuer::start(&[]).await;
    let t = trusting(&issuer).await;
    issuer.answer_with(503, "");
    let token = rsa_key(0).token("k", &body(&t));
    for _ in 0..600 {
        later(me(&t, &token).await);
        t.clock.advance(TimeDelta::seconds(1));
    }
    // A few quick attempts, then at most one every 30 seconds.
    assert!((18..=28).contains(&issuer.fetches()), "{}", issuer.fetches());
    // Recovery is detected within 30 seconds.
    issuer.publish(&[rsa_key(0).named("k")]);
    t.clock.advance(TimeDelta::seconds(30));
    me(&t, &token).await.expect(200);
}

#[tokio::test]
async fn jwks_invalid_document_returns_503_and_is_refetched() {
    for (status, document) in [
        (200, b"<html>hello</html>".to_vec()),
        (200, Vec::new()),
        (200, b"[]".to_vec()),
        (200, b"{}".to_vec()),
        (200, br#"{"keys": {}}"#.to_vec()),
        (200, br#"{"keys": []}"#.to_vec()),
        (404, json!({"keys": [rsa_key(0).named("k")]}).to_string().into_bytes()),
        (302, Vec::new()),
        (200, json!({"keys": [rsa_key(0).named("k")], "pad": "x".repeat(1024 * 1024)}).to_string().into_bytes()),
    ] {
        let issuer = Issuer::start(&[]).await;
        let t = trusting(&issuer).await;
        issuer.answer_with(status, document);
        later(me(&t, &rsa_key(0).token("k", &body(&t))).await);
        issuer.publish(&[rsa_key(0).named("k")]);
        t.clock.advance(TimeDelta::seconds(2));
        me(&t, &rsa_key(0).token("k", &body(&t))).await.expect(200);
    }
}

#[tokio::test]
async fn jwks_issuer_down_keeps_old_keys_for_one_day() {
    let issuer = Issuer::start(&[rsa_key(0).named("k")]).await;
    let t = trusting(&issuer).await;
    let token = rsa_key(0).token("k", &body(&t));
    me(&t, &token).await.expect(200);
    issuer.answer_with(500, "");
    t.clock.advance(TimeDelta::hours(1));
    me(&t, &token).await.expect(200);
    t.clock.advance(TimeDelta::hours(23));
    me(&t, &token).await.expect(200);
    assert_eq!(issuer.fetches(), 3);
    t.clock.advance(TimeDelta::hours(1));
    later(me(&t, &token).await);
    issuer.publish(&[rsa_key(0).named("k")]);
    t.clock.advance(TimeDelta::seconds(30));
    me(&t, &token).await.expect(200);
}

#[tokio::test]
async fn jwks_slow_fetch_does_not_block_known_keys() {
    let issuer = Issuer::start(&[rsa_key(0).named("k")]).await;
    let t = trusting(&issuer).await;
    let known = rsa_key(0).token("k", &body(&t));
    me(&t, &known).await.expect(200);
    issuer.hold(true);
    // One request waits for an unknown key.
    let stranger = t.with_token(&rsa_key(1).token("other", &body(&t)));
    let waiting = tokio::spawn(async move { stranger.get("/app/users/me").await });
    issuer.asked(2).await;
    // Requests with a known key do not wait, although their tokens are new.
    for n in 0..5 {
        me(&t, &rsa_key(0).token("k", &claims(&format!("user-{n}"), &t.clock).body)).await.expect(200);
    }
    // The same holds after the cached keys have become stale.
    t.clock.advance(TimeDelta::hours(2));
    for n in 0..5 {
        me(&t, &rsa_key(0).token("k", &claims(&format!("late-{n}"), &t.clock).body)).await.expect(200);
    }
    assert!(!waiting.is_finished());
    issuer.hold(false);
    refused(waiting.await.unwrap());
}

#[tokio::test]
async fn supabase_project_url_configures_issuer_and_keys() {
    for slash in ["", "/"] {
        let issuer = Issuer::start(&[ec_key(0).named("k")]).await;
        let url = format!("{}{slash}", issuer.url);
        let t = TestApp::with(Backend::Sqlite, &[("AUTH_PROVIDER", ""), ("OAUTH_JWT_SECRET", ""), ("SUPABASE_PROJECT_URL", &url)]).await;
        let ours = claims("amy", &t.clock).with("iss", format!("{}/auth/v1", issuer.url).into()).with("aud", "authenticated".into());
        me(&t, &ec_key(0).token("k", &ours.body)).await.expect(200);
        assert_eq!(issuer.paths(), ["/auth/v1/.well-known/jwks.json"]);
        refused(me(&t, &ec_key(0).token("k", &ours.clone().with("aud", "anon".into()).body)).await);
        refused(me(&t, &ec_key(0).token("k", &ours.with("iss", "https://other.supabase.co/auth/v1".into()).body)).await);
    }
}

#[tokio::test]
async fn supabase_legacy_secret_disables_jwks() {
    let issuer = Issuer::start(&[ec_key(0).named("k")]).await;
    let vars =
        [("AUTH_PROVIDER", ""), ("OAUTH_JWT_SECRET", ""), ("SUPABASE_PROJECT_URL", issuer.url.as_str()), ("SUPABASE_JWT_SECRET", "legacy")];
    let t = TestApp::with(Backend::Sqlite, &vars).await;
    let ours = claims("amy", &t.clock).with("iss", format!("{}/auth/v1", issuer.url).into()).with("aud", "authenticated".into());
    me(&t, &ours.sign("legacy")).await.expect(200);
    refused(me(&t, &ec_key(0).token("k", &ours.body)).await);
    refused(me(&t, &ours.without("aud").sign("legacy")).await);
    assert_eq!(issuer.fetches(), 0);
}

#[tokio::test]
async fn clerk_issuer_trailing_slash_is_optional() {
    for (configured, claimed) in [("", ""), ("/", ""), ("", "/"), ("/", "/")] {
        let issuer = Issuer::start(&[rsa_key(0).named("k")]).await;
        let url = format!("{}{configured}", issuer.url);
        let t = TestApp::with(Backend::Sqlite, &[("AUTH_PROVIDER", "clerk"), ("OAUTH_JWT_SECRET", ""), ("CLERK_ISSUER_URL", &url)]).await;
        let ours = claims("amy", &t.clock).with("iss", format!("{}{claimed}", issuer.url).into());
        me(&t, &rsa_key(0).token("k", &ours.body)).await.expect(200);
        assert_eq!(issuer.paths(), ["/.well-known/jwks.json"]);
        refused(me(&t, &rsa_key(0).token("k", &ours.clone().with("iss", "https://evil.example".into()).body)).await);
        refused(me(&t, &rsa_key(0).token("k", &ours.without("iss").body)).await);
    }
}

#[tokio::test]
async fn auth_without_key_source_returns_503() {
    let t = TestApp::with(Backend::Sqlite, &[("OAUTH_JWT_SECRET", "")]).await;
    let body = body(&t);
    let unsigned = format!("{}.", signed_part(r#"{"alg":"none"}"#, body.to_string()));
    for token in
        [claims("amy", &t.clock).sign("x"), claims("amy", &t.clock).sign(""), rsa_key(0).token("k", &body), unsigned, "junk".to_owned()]
    {
        me(&t, &token).await.expect_error(503, "SERVICE_UNAVAILABLE");
    }
    t.anonymous().get("/app/users/me").await.expect_error(401, "AUTHENTICATION_ERROR");
    t.anonymous().get("/public/health").await.expect(200);
    assert_eq!(t.number("SELECT COUNT(*) FROM users").await, 0);
}

#[tokio::test]
async fn jwks_redirect_is_not_followed() {
    let elsewhere = Issuer::start(&[rsa_key(0).named("k")]).await;
    for status in [301, 302, 303, 307, 308] {
        let issuer = Issuer::start(&[]).await;
        issuer.redirect_to(status, &format!("{}/keys", elsewhere.url));
        let t = trusting(&issuer).await;
        later(me(&t, &rsa_key(0).token("k", &body(&t))).await);
        assert_eq!((issuer.fetches(), elsewhere.fetches()), (1, 0), "{status}");
    }
}
