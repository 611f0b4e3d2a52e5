//! Keys that an issuer publishes: which are used, when they are fetched, and what happens while they cannot be.

use chrono::TimeDelta;
use serde_json::{Value, json};

use crate::harness::issuer::{Issuer, ec_key, rsa_key};
use crate::harness::tokens::{claims, seal, signed_part};
use crate::harness::{Backend, Reply, TestApp};

/// A server that trusts this issuer.
async fn trusting(issuer: &Issuer) -> TestApp {
    let url = format!("{}/keys", issuer.url);
    TestApp::with(Backend::Sqlite, &[("OAUTH_JWT_SECRET", ""), ("OAUTH_JWKS_URL", &url)]).await
}

fn body(t: &TestApp) -> Value {
    // Valid for days, because these stories move the clock.
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

/// The answer while keys are missing: not the bearer's fault, and worth another try.
#[track_caller]
fn later(reply: Reply) {
    let seconds: u64 = reply.header("retry-after").unwrap().parse().unwrap();
    assert!((1..=30).contains(&seconds), "{seconds}");
    assert_eq!(reply.expect_error(503, "SERVICE_UNAVAILABLE"), json!({}));
}

#[tokio::test]
async fn rs256_and_es256_are_verified_by_the_named_key() {
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
async fn an_algorithm_that_does_not_fit_the_key_is_refused() {
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
    // What everybody knows is no secret: the public key in every form, taken for an HMAC key.
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
async fn a_token_without_a_key_id_is_verified_by_the_only_key_that_fits() {
    let issuer = Issuer::start(&[rsa_key(0).named("r"), ec_key(0).named("e")]).await;
    let t = trusting(&issuer).await;
    me(&t, &rsa_key(0).sign(&json!({"alg": "RS256"}), &body(&t))).await.expect(200);
    me(&t, &ec_key(0).sign(&json!({"alg": "ES256"}), &body(&t))).await.expect(200);
    // Of two it cannot be told which one is meant.
    let issuer = Issuer::start(&[rsa_key(0).named("r1"), rsa_key(1).named("r2")]).await;
    let t = trusting(&issuer).await;
    refused(me(&t, &rsa_key(0).sign(&json!({"alg": "RS256"}), &body(&t))).await);
    refused(me(&t, &rsa_key(0).sign(&json!({"alg": "RS256", "kid": ["r1"]}), &body(&t))).await);
}

#[tokio::test]
async fn keys_without_names_do_not_stand_in_each_others_way() {
    let issuer = Issuer::start(&[rsa_key(0).jwk(), ec_key(0).jwk()]).await;
    let t = trusting(&issuer).await;
    me(&t, &rsa_key(0).sign(&json!({"alg": "RS256"}), &body(&t))).await.expect(200);
    me(&t, &ec_key(0).sign(&json!({"alg": "ES256"}), &body(&t))).await.expect(200);
    refused(me(&t, &rsa_key(0).token("", &body(&t))).await);
}

#[tokio::test]
async fn keys_that_are_not_for_verifying_are_passed_over() {
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
async fn an_unknown_key_is_asked_for_once_in_thirty_seconds() {
    let issuer = Issuer::start(&[rsa_key(0).named("old")]).await;
    let t = trusting(&issuer).await;
    let (old, new) = (rsa_key(0).token("old", &body(&t)), rsa_key(1).token("new", &body(&t)));
    me(&t, &old).await.expect(200);
    assert_eq!(issuer.fetches(), 1);
    for n in 0..10 {
        refused(me(&t, &rsa_key(1).token(&format!("unknown-{n}"), &body(&t))).await);
    }
    assert_eq!(issuer.fetches(), 2, "the first fetch of all does not count");
    // The issuer rotates; whoever asked for nonsense has delayed it, but by half a minute at most.
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
async fn a_key_that_the_issuer_takes_back_is_trusted_no_longer_than_the_cache_says() {
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
async fn many_first_requests_at_once_make_one_fetch() {
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
async fn an_issuer_that_is_down_at_first_is_tried_again_but_not_hammered() {
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
async fn an_issuer_that_stays_down_is_asked_more_and_more_seldom() {
    let issuer = Issuer::start(&[]).await;
    let t = trusting(&issuer).await;
    issuer.answer_with(503, "");
    let token = rsa_key(0).token("k", &body(&t));
    for _ in 0..600 {
        later(me(&t, &token).await);
        t.clock.advance(TimeDelta::seconds(1));
    }
    // At most every half minute in the long run, after a few quick attempts.
    assert!((18..=28).contains(&issuer.fetches()), "{}", issuer.fetches());
    // And no longer than half a minute passes until it is noticed that it is back.
    issuer.publish(&[rsa_key(0).named("k")]);
    t.clock.advance(TimeDelta::seconds(30));
    me(&t, &token).await.expect(200);
}

#[tokio::test]
async fn documents_that_are_none_are_like_an_issuer_that_is_down() {
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
async fn old_keys_serve_for_a_day_while_the_issuer_is_down() {
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
async fn a_slow_issuer_holds_up_nobody_whose_key_is_known() {
    let issuer = Issuer::start(&[rsa_key(0).named("k")]).await;
    let t = trusting(&issuer).await;
    let known = rsa_key(0).token("k", &body(&t));
    me(&t, &known).await.expect(200);
    issuer.hold(true);
    // Somebody waits for an unknown key …
    let stranger = t.with_token(&rsa_key(1).token("other", &body(&t)));
    let waiting = tokio::spawn(async move { stranger.get("/app/users/me").await });
    issuer.asked(2).await;
    // … and those with a known one do not: no token of these was seen before.
    for n in 0..5 {
        me(&t, &rsa_key(0).token("k", &claims(&format!("user-{n}"), &t.clock).body)).await.expect(200);
    }
    // Nor when the keys have aged meanwhile.
    t.clock.advance(TimeDelta::hours(2));
    for n in 0..5 {
        me(&t, &rsa_key(0).token("k", &claims(&format!("late-{n}"), &t.clock).body)).await.expect(200);
    }
    assert!(!waiting.is_finished());
    issuer.hold(false);
    refused(waiting.await.unwrap());
}

#[tokio::test]
async fn supabase_is_set_up_by_its_project_alone() {
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
async fn with_supabases_old_secret_its_keys_count_for_nothing() {
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
async fn clerks_issuer_may_or_may_not_end_in_a_slash() {
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
async fn without_any_source_of_keys_every_token_is_refused_as_not_configured() {
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
