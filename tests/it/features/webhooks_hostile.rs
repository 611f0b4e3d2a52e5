//! Hostile deliveries: the same table for every sender. A sender joins with a file in the folder, which becomes a module
//! automatically, and a line in [`SENDERS`].

automod::dir!("tests/it/features/webhooks_hostile");

use futures_util::future::join_all;
use http::Method;
use serde_json::{Value, json};

use crate::harness::webhooks::SECRETS;
use crate::harness::{Backend, Reply, TestApp};

crate::on_both_backends![
    forged_delivery_is_refused_without_a_trace,
    altered_delivery_is_refused_without_a_trace,
    repeated_delivery_is_applied_once,
    simultaneous_repetitions_are_applied_once,
    late_delivery_changes_nothing,
    signed_nonsense_is_400_without_a_trace,
    body_limit_is_exact,
    nesting_beyond_the_limit_is_400,
    unknown_types_and_users_change_nothing,
    odd_texts_do_no_harm,
];

type Headers = Vec<(&'static str, String)>;

type Forge = fn(&str, i64, &[u8]) -> Vec<(&'static str, Headers)>;

/// A sender as this table needs it.
struct Sender {
    provider: &'static str,
    /// The status of a delivery without a valid proof.
    refused: u16,
    /// Whether its events change only users that exist.
    needs_user: bool,
    /// The headers that prove exactly these bytes: event id, Unix time of the signature, body.
    prove: fn(&str, i64, &[u8]) -> Headers,
    /// Headers that prove nothing, with what is wrong about them; same parameters.
    forge: Forge,
    /// An event that changes something.
    event: fn(&Told) -> Value,
    /// Another event about nothing that is known here: of an unknown type, about an unknown user.
    unknown: fn(&str) -> Vec<Value>,
    /// JSON that is signed but is no event.
    nonsense: &'static [&'static str],
}

/// What an event tells.
struct Told<'e> {
    id: &'e str,
    user: &'e str,
    text: &'e str,
    /// Counts up with the sender's time; 0 is the first event of a user.
    version: i64,
}

/// Every sender of webhooks. Apple and Google join here.
const SENDERS: [Sender; 3] = [clerk::SENDER, supabase::SENDER, stripe::SENDER];

/// JSON that is no event of any sender.
const NONSENSE: [&str; 12] = ["", " ", "not json", "{", "[]", "[{}]", "null", "5", "\"x\"", "{}", "{\"type\": null}", "{\"type\": \"x\", \"data\": []}"];

async fn post(t: &TestApp, sender: &Sender, headers: &Headers, body: impl Into<Vec<u8>>) -> Reply {
    let path = format!("/public/webhooks/{}", sender.provider);
    let call = t.anonymous().call(Method::POST, &path).body("application/json", body.into());
    headers.iter().fold(call, |call, (name, value)| call.header(name, value)).await
}

/// The id of a user whom the sender's events change.
async fn user_of(t: &TestApp, sender: &Sender) -> String {
    let user = format!("{}-1", sender.provider);
    if sender.needs_user {
        t.user(&user).await;
    }
    user
}

/// Delivers this body with a valid proof.
async fn deliver(t: &TestApp, sender: &Sender, id: &str, body: impl Into<Vec<u8>>) -> Reply {
    let body = body.into();
    post(t, sender, &(sender.prove)(id, t.clock.now().timestamp(), &body), body).await
}

/// Everything that events change, and the log of events.
async fn state(t: &TestApp) -> (Vec<String>, Vec<String>) {
    let users = "SELECT id || ' ' || email || ' ' || COALESCE(full_name, '-') || ' ' || COALESCE(subscription_plan, '-')
        || ' ' || COALESCE(subscription_status, '-') || CASE WHEN is_active THEN '' ELSE ' inactive' END FROM users ORDER BY id";
    let events = "SELECT provider || ' ' || idempotency_key || ' ' || status FROM webhook_events ORDER BY provider, idempotency_key";
    (t.texts(users).await, t.texts(events).await)
}

fn told<'e>(id: &'e str, user: &'e str) -> Told<'e> {
    Told { id, user, text: "Ada", version: 0 }
}

async fn forged_delivery_is_refused_without_a_trace(b: Backend) {
    let t = TestApp::with_webhooks(b).await;
    for sender in &SENDERS {
        let body = (sender.event)(&told("event-1", "user_1")).to_string();
        let before = state(&t).await;
        for (what, headers) in (sender.forge)("event-1", t.clock.now().timestamp(), body.as_bytes()) {
            let reply = post(&t, sender, &headers, body.clone()).await;
            assert_eq!(reply.status.as_u16(), sender.refused, "{}: {what}: {}", sender.provider, reply.text());
        }
        assert_eq!(state(&t).await, before, "{}", sender.provider);
        // The same id, delivered correctly.
        assert_eq!(deliver(&t, sender, "event-1", body).await.expect(200)["status"], "processed");
    }
}

/// One byte less, one more, another one: for senders that prove the exact bytes.
async fn altered_delivery_is_refused_without_a_trace(b: Backend) {
    let t = TestApp::with_webhooks(b).await;
    for sender in SENDERS.iter().filter(|sender| sender.provider != supabase::SENDER.provider) {
        let body = (sender.event)(&told("event-1", "user_1")).to_string();
        let headers = (sender.prove)("event-1", t.clock.now().timestamp(), body.as_bytes());
        let before = state(&t).await;
        let truncated = (0..body.len()).step_by(37).map(|end| body[..end].to_owned());
        let others = [format!("{body} "), format!(" {body}"), body.replace("user_1", "user_2"), body.replace(':', ": ")];
        for altered in truncated.chain(others) {
            let reply = post(&t, sender, &headers, altered.clone()).await;
            assert_eq!(reply.status.as_u16(), sender.refused, "{}: {altered}: {}", sender.provider, reply.text());
        }
        assert_eq!(state(&t).await, before, "{}", sender.provider);
    }
}

async fn repeated_delivery_is_applied_once(b: Backend) {
    let t = TestApp::with_webhooks(b).await;
    for sender in &SENDERS {
        let body = (sender.event)(&told("event-1", &user_of(&t, sender).await)).to_string();
        assert_eq!(deliver(&t, sender, "event-1", body.clone()).await.expect(200), json!({"status": "processed"}));
        let before = state(&t).await;
        for _ in 0..3 {
            t.clock.advance(chrono::TimeDelta::hours(1));
            assert_eq!(deliver(&t, sender, "event-1", body.clone()).await.expect(200), json!({"status": "already_processed"}));
        }
        assert_eq!(state(&t).await, before);
    }
}

async fn simultaneous_repetitions_are_applied_once(b: Backend) {
    let t = TestApp::with_webhooks(b).await;
    let other = t.second(&SECRETS).await;
    for sender in &SENDERS {
        let body = (sender.event)(&told("event-1", &user_of(&t, sender).await)).to_string();
        let replies = join_all((0..20).map(|n| deliver(if n % 2 == 0 { &t } else { &other }, sender, "event-1", body.clone()))).await;
        let mut processed = 0;
        for reply in replies {
            match reply.status.as_u16() {
                200 if reply.json()["status"] == "processed" => processed += 1,
                200 => assert_eq!(reply.json(), json!({"status": "already_processed"})),
                status => assert_eq!(status, 409, "{}: {}", sender.provider, reply.text()),
            }
        }
        assert_eq!(processed, 1, "{}", sender.provider);
        let rows = format!("SELECT COUNT(*) FROM webhook_events WHERE provider = '{}' AND attempts = 1", sender.provider);
        assert_eq!(t.number(&rows).await, 1, "{}", sender.provider);
    }
}

async fn late_delivery_changes_nothing(b: Backend) {
    let t = TestApp::with_webhooks(b).await;
    for sender in &SENDERS {
        let user = user_of(&t, sender).await;
        let event = |version: i64| {
            let (id, text) = (format!("event-{version}"), format!("Version{version}"));
            let body = (sender.event)(&Told { id: &id, user: &user, text: &text, version }).to_string();
            let t = &t;
            async move { assert_eq!(deliver(t, sender, &id, body).await.expect(200)["status"], "processed") }
        };
        event(0).await;
        event(3).await;
        let before = state(&t).await.0;
        event(1).await;
        event(2).await;
        assert_eq!(state(&t).await.0, before, "{}", sender.provider);
        event(4).await;
        assert_ne!(state(&t).await.0, before, "{}", sender.provider);
    }
}

async fn signed_nonsense_is_400_without_a_trace(b: Backend) {
    let t = TestApp::with_webhooks(b).await;
    for sender in &SENDERS {
        for body in NONSENSE.iter().chain(sender.nonsense) {
            let reply = deliver(&t, sender, "event-1", *body).await;
            assert_eq!(reply.status, 400, "{}: {body}: {}", sender.provider, reply.text());
            reply.expect_error(400, "BAD_REQUEST");
        }
        for bytes in [&b"\xff\xfe{\0}\0"[..], b"{\"type\": \"\xff\"}", b"\0", b"\xef\xbb\xbf[]"] {
            deliver(&t, sender, "event-1", bytes).await.expect_error(400, "BAD_REQUEST");
        }
    }
    assert_eq!(state(&t).await, (vec![], vec![]));
}

async fn body_limit_is_exact(b: Backend) {
    let t = TestApp::with_webhooks(b).await;
    for sender in &SENDERS {
        let limit = 1 << 20;
        let mut body = (sender.event)(&told("event-1", &format!("{}-1", sender.provider))).to_string().into_bytes();
        body.resize(limit + 1, b' ');
        deliver(&t, sender, "event-1", body.clone()).await.expect_error(413, "PAYLOAD_TOO_LARGE");
        body.pop();
        assert_eq!(deliver(&t, sender, "event-1", body).await.expect(200)["status"], "processed", "{}", sender.provider);
    }
}

async fn nesting_beyond_the_limit_is_400(b: Backend) {
    let t = TestApp::with_webhooks(b).await;
    let nested = |open: &str, close: &str, levels: usize| format!("{}1{}", open.repeat(levels), close.repeat(levels));
    for sender in &SENDERS {
        let mut event = (sender.event)(&told("event-1", &format!("{}-1", sender.provider)));
        event.as_object_mut().unwrap().insert("more".to_owned(), json!("HERE"));
        for (open, close) in [("[", "]"), ("{\"a\":", "}"), ("{\"a\":[", "]}")] {
            let deep = nested(open, close, 10_000);
            let inside = event.to_string().replace("\"HERE\"", &deep);
            for body in [deep, inside, open.repeat(500_000 / open.len())] {
                deliver(&t, sender, "event-1", body).await.expect_error(400, "BAD_REQUEST");
            }
        }
        let inside = event.to_string().replace("\"HERE\"", &nested("[", "]", 100));
        assert_eq!(deliver(&t, sender, "event-1", inside).await.expect(200)["status"], "processed", "{}", sender.provider);
    }
}

async fn unknown_types_and_users_change_nothing(b: Backend) {
    let t = TestApp::with_webhooks(b).await;
    for sender in &SENDERS {
        for (n, event) in (sender.unknown)("nobody-1").iter().enumerate() {
            let reply = deliver(&t, sender, &format!("event-{n}"), event.to_string()).await.expect(200);
            assert_eq!(reply, json!({"status": "processed"}), "{}: {event}", sender.provider);
        }
    }
    let (users, events) = state(&t).await;
    assert_eq!(users, Vec::<String>::new());
    assert!(events.iter().all(|event| event.ends_with(" processed")), "{events:?}");
    let failed = "SELECT COUNT(*) FROM jobs WHERE function = 'retry_webhook'";
    assert_eq!(t.number(failed).await, 0);
}

/// NUL and other characters that databases or terminals dislike, and ids of 10,000 characters.
async fn odd_texts_do_no_harm(b: Backend) {
    let t = TestApp::with_webhooks(b).await;
    for (n, sender) in SENDERS.iter().enumerate() {
        let user = user_of(&t, sender).await;
        let mut count = 0;
        for text in ["A\0B", "\0", "\u{202e}\u{200b}\u{7f}\n", "\u{fffd}\u{10ffff}", "' OR 1=1 --", "${jndi:x}", &"é".repeat(10_000)] {
            count += 1;
            let id = format!("event-{count}");
            let body = (sender.event)(&Told { id: &id, user: &user, text, version: count }).to_string();
            assert_eq!(deliver(&t, sender, &id, body).await.expect(200)["status"], "processed", "{}: {text:?}", sender.provider);
        }
        let long = "x".repeat(10_000);
        let before = state(&t).await.0;
        // Ids that no user can have.
        for (n, user) in [long.as_str(), "", "a\0b", "a\nb"].into_iter().enumerate() {
            let id = format!("user-{n}");
            let reply = deliver(&t, sender, &id, (sender.event)(&told(&id, user)).to_string()).await;
            assert!(matches!(reply.status.as_u16(), 200 | 400), "{}: {}", sender.provider, reply.text());
        }
        assert_eq!(state(&t).await.0, before, "{}", sender.provider);
        // An event id of that length.
        let reply = deliver(&t, sender, &long, (sender.event)(&told(&long, &format!("{}-2", sender.provider))).to_string()).await;
        assert!(matches!(reply.status.as_u16(), 200 | 400 | 431), "{}: {}", sender.provider, reply.text());
        // The administrators' list shows all of it.
        let admin = t.user_with_role(&format!("admin-{n}"), "admin").await;
        let page = admin.get(&format!("/admin/webhooks?provider={}", sender.provider)).await.expect(200);
        for event in page["items"].as_array().unwrap() {
            admin.get(&format!("/admin/webhooks/{}", event["id"].as_str().unwrap())).await.expect(200);
        }
    }
}
