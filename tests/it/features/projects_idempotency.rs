//! `Idempotency-Key`: replay, scope of a key, expiry and concurrent requests.

use chrono::TimeDelta;
use futures_util::future::join_all;
use http::Method;
use omnistack::platform::http::idempotency;
use serde_json::{Value, json};

use crate::harness::{Backend, Client, Reply, TestApp};

crate::on_both_backends![
    idempotency_key_repeated_creates_once,
    idempotency_replay_returns_first_response_verbatim,
    idempotency_key_with_other_request_returns_422,
    idempotency_key_of_other_user_is_independent,
    idempotency_key_of_rejected_request_stays_unused,
    idempotency_key_malformed_returns_422,
    idempotency_key_with_invalid_body_reports_body_error,
    idempotency_key_on_other_methods_is_ignored,
    idempotency_key_sent_concurrently_creates_once,
    idempotency_key_after_24_hours_creates_again,
    idempotency_stored_response_is_encrypted,
    idempotency_sweep_deletes_only_expired_keys,
];

const NAME: &str = "Apollo";

async fn create(client: &Client, key: &str) -> Reply {
    client.post("/app/projects", json!({"name": NAME})).key(key).await
}

fn is_replay(reply: &Reply) -> bool {
    match reply.header("idempotency-replayed") {
        None => false,
        Some(value) => value == "true" || panic!("{value}"),
    }
}

async fn total(client: &Client) -> Value {
    client.get("/app/projects").await.expect(200)["total"].clone()
}

async fn idempotency_key_repeated_creates_once(b: Backend) {
    let t = TestApp::start(b).await;
    let amy = t.user("amy").await;
    let first = amy.post("/app/projects", json!({"name": "x"})).key("k1").await.expect(201);
    let again = amy.post("/app/projects", json!({"name": "x"})).key("k1").await;
    assert_eq!(again.header("idempotency-replayed"), Some("true"));
    assert_eq!(again.expect(201), first);
    amy.post("/app/projects", json!({"name": "y"})).key("k1").await.expect_error(422, "VALIDATION_ERROR");
    assert_eq!(amy.get("/app/projects").await.expect(200)["total"], 1);
}

async fn idempotency_replay_returns_first_response_verbatim(b: Backend) {
    let t = TestApp::start(b).await;
    let other = t.second(&[]).await;
    let here = t.user("amy").await;
    let there = other.with_token(here.token.as_ref().unwrap());
    let first = create(&here, "k").await;
    assert!(!is_replay(&first));
    t.clock.advance(TimeDelta::minutes(10));
    for client in [&here, &there] {
        let again = create(client, "k").await;
        assert!(is_replay(&again));
        assert_eq!((again.status, &again.body), (first.status, &first.body));
        for name in ["location", "content-type"] {
            assert!(again.header(name).is_some() && again.header(name) == first.header(name), "{name}");
        }
        assert_ne!(again.header("x-request-id"), first.header("x-request-id"));
    }
    // The replay is the first response, even if the project has changed since.
    let project = first.json();
    here.patch(&format!("/app/projects/{}", project["id"].as_str().unwrap()), json!({"name": "Gemini"})).await.expect(200);
    assert_eq!(create(&here, "k").await.expect(201), project);
    assert_eq!(total(&here).await, 1);
}

async fn idempotency_key_with_other_request_returns_422(b: Backend) {
    let t = TestApp::start(b).await;
    let amy = t.user("amy").await;
    let send = |path: &str, body: &str| amy.call(Method::POST, path).body("application/json", body.to_owned()).key("k");
    send("/app/projects", r#"{"name":"x"}"#).await.expect(201);
    for (path, body) in [
        ("/app/projects", r#"{"name":"y"}"#),
        ("/app/projects", r#"{"name": "x"}"#), // bodies are compared as bytes, not as JSON
        ("/app/projects", r#"{"name":"x","description":null}"#),
        ("/app/projects?", r#"{"name":"y"}"#),
        ("/app/projects?a=1", r#"{"name":"x"}"#),
    ] {
        assert_eq!(send(path, body).await.expect_invalid(), ["Idempotency-Key"], "{path} {body}");
    }
    assert!(is_replay(&send("/app/projects", r#"{"name":"x"}"#).await), "the stored response is unchanged");
    assert_eq!(total(&amy).await, 1);
}

async fn idempotency_key_of_other_user_is_independent(b: Backend) {
    let t = TestApp::start(b).await;
    let (amy, bob) = (t.user("amy").await, t.user("bob").await);
    for client in [&amy, &bob] {
        let reply = create(client, "k").await;
        assert!(!is_replay(&reply));
        reply.expect(201);
    }
    assert_eq!(create(&amy, "k").await.expect(201)["owner_id"], "amy");
    assert_eq!(create(&bob, "k").await.expect(201)["owner_id"], "bob");
    // Keys are case-sensitive.
    assert!(!is_replay(&create(&amy, "K").await));
}

async fn idempotency_key_of_rejected_request_stays_unused(b: Backend) {
    let t = TestApp::start(b).await;
    let amy = t.user("amy").await;
    amy.post("/app/projects", json!({"name": " "})).key("k").await.expect_invalid();
    amy.call(Method::POST, "/app/projects").body("application/json", "{").key("k").await.expect_error(400, "BAD_REQUEST");
    amy.call(Method::POST, "/app/projects").body("text/plain", "{}").key("k").await.expect_error(415, "UNSUPPORTED_MEDIA_TYPE");
    t.anonymous().post("/app/projects", json!({"name": NAME})).key("k").await.expect_error(401, "AUTHENTICATION_ERROR");
    let corrected = create(&amy, "k").await;
    assert!(!is_replay(&corrected));
    corrected.expect(201);
}

async fn idempotency_key_malformed_returns_422(b: Backend) {
    let t = TestApp::start(b).await;
    let amy = t.user("amy").await;
    let visible: String = ('!'..='~').collect();
    for good in ["k", &"k".repeat(255), &visible, "\"8e03978e-40d5-43dd-bc93-6894a57f9324\""] {
        create(&amy, good).await.expect(201);
    }
    assert_eq!(total(&amy).await, 4);
    for bad in ["".as_bytes(), &b"k".repeat(256), b"a b", b"a\tb", "schlüssel".as_bytes(), b"\xff"] {
        let reply = amy.post("/app/projects", json!({"name": NAME})).header("idempotency-key", bad).await;
        assert_eq!(reply.expect_invalid(), ["Idempotency-Key"], "{bad:?}");
    }
    assert_eq!(total(&amy).await, 4);
}

async fn idempotency_key_with_invalid_body_reports_body_error(b: Backend) {
    let t = TestApp::start(b).await;
    let amy = t.user("amy").await;
    create(&amy, "used").await.expect(201);
    for key in ["a b", "used"] {
        assert_eq!(amy.post("/app/projects", json!({"name": ""})).key(key).await.expect_invalid(), ["name"]);
        amy.call(Method::POST, "/app/projects").body("application/json", "{").key(key).await.expect_error(400, "BAD_REQUEST");
    }
}

async fn idempotency_key_on_other_methods_is_ignored(b: Backend) {
    let t = TestApp::start(b).await;
    let amy = t.user("amy").await;
    let project = create(&amy, "k").await.expect(201);
    let path = format!("/app/projects/{}", project["id"].as_str().unwrap());
    for key in ["k", "a b"] {
        for name in ["one", "two"] {
            let changed = amy.patch(&path, json!({"name": name})).key(key).await;
            assert!(!is_replay(&changed));
            assert_eq!(changed.expect(200)["name"], name);
        }
        amy.get(&path).key(key).await.expect(200);
    }
    amy.delete(&path).key("k").await.expect(204);
}

async fn idempotency_key_sent_concurrently_creates_once(b: Backend) {
    let t = TestApp::start(b).await;
    let other = t.second(&[]).await;
    let here = t.user("amy").await;
    let there = other.with_token(here.token.as_ref().unwrap());
    for key in ["k1", "k2", "k3"] {
        let replies = join_all((0..20).map(|n| create(if n % 2 == 0 { &here } else { &there }, key))).await;
        assert_eq!(replies.iter().filter(|reply| !is_replay(reply)).count(), 1);
        for reply in &replies {
            assert_eq!((reply.status.as_u16(), &reply.body), (201, &replies[0].body));
            assert_eq!(reply.header("location"), replies[0].header("location"));
        }
    }
    assert_eq!(total(&here).await, 3);
}

async fn idempotency_key_after_24_hours_creates_again(b: Backend) {
    let t = TestApp::start(b).await;
    let amy = t.user("amy").await;
    let first = create(&amy, "k").await.expect(201);
    amy.delete(&format!("/app/projects/{}", first["id"].as_str().unwrap())).await.expect(204);
    // The one-hour token has expired, so the user signs in again.
    t.clock.advance(TimeDelta::hours(24) - TimeDelta::microseconds(1));
    let amy = t.user("amy").await;
    assert_eq!(create(&amy, "k").await.expect(201), first);
    assert_eq!(total(&amy).await, 0);
    t.clock.advance(TimeDelta::microseconds(1));
    let anew = create(&amy, "k").await;
    assert!(!is_replay(&anew));
    let anew = anew.expect(201);
    assert_ne!(anew["id"], first["id"]);
    // The new response is kept for 24 hours. After that the key may be used for another request.
    assert_eq!(create(&amy, "k").await.expect(201), anew);
    t.clock.advance(TimeDelta::hours(24));
    let amy = t.user("amy").await;
    amy.post("/app/projects", json!({"name": "Gemini"})).key("k").await.expect(201);
    assert_eq!(create(&amy, "k").await.expect_invalid(), ["Idempotency-Key"]);
}

async fn idempotency_stored_response_is_encrypted(b: Backend) {
    let t = TestApp::start(b).await;
    let amy = t.user("amy").await;
    create(&amy, "k").await.expect(201);
    let holds = |text: &str| match b {
        Backend::Sqlite => format!("SELECT COUNT(*) FROM idempotency_keys WHERE instr(answer, CAST('{text}' AS BLOB)) > 0"),
        Backend::Postgres => format!("SELECT COUNT(*) FROM idempotency_keys WHERE position(CAST('{text}' AS bytea) IN answer) > 0"),
    };
    assert_eq!(t.number("SELECT COUNT(*) FROM idempotency_keys WHERE answer IS NOT NULL").await, 1);
    for text in [NAME, "owner_id", "amy", "location"] {
        assert_eq!(t.number(&holds(text)).await, 0, "{text}");
    }
    // Checks that the query finds plain text if it is present.
    t.sql(match b {
        Backend::Sqlite => "INSERT INTO idempotency_keys (user_id, key, fingerprint, answer, expires_at) VALUES ('x', 'x', 'x', CAST('an Apollo' AS BLOB), '2026')",
        Backend::Postgres => "INSERT INTO idempotency_keys (user_id, key, fingerprint, answer, expires_at) VALUES ('x', 'x', 'x', 'an Apollo', now())",
    })
    .await;
    assert_eq!(t.number(&holds(NAME)).await, 1);
    // A stored response copied to another key cannot be decrypted.
    create(&amy, "other").await.expect(201);
    t.sql("UPDATE idempotency_keys SET answer = (SELECT answer FROM idempotency_keys WHERE key = 'other') WHERE key = 'k'").await;
    create(&amy, "k").await.expect_error(409, "CONFLICT");
}

async fn idempotency_sweep_deletes_only_expired_keys(b: Backend) {
    let t = TestApp::start(b).await;
    let sweep = || async { idempotency::sweep(&t.app.db, t.clock.now()).await.unwrap() };
    let amy = t.user("amy").await;
    for key in ["old 1", "old 2"].map(|key| key.replace(' ', "-")) {
        create(&amy, &key).await.expect(201);
    }
    t.clock.advance(TimeDelta::hours(12));
    let amy = t.user("amy").await;
    let young = create(&amy, "young").await.expect(201);
    assert_eq!(sweep().await, 0);
    t.clock.advance(TimeDelta::hours(12));
    assert_eq!((sweep().await, sweep().await), (2, 0));
    let amy = t.user("amy").await;
    assert_eq!(create(&amy, "young").await.expect(201), young);
    assert!(!is_replay(&create(&amy, "old-1").await));
}
