//! Repeated `SIGKILL` of server and worker while webhooks pour in: each event that is answered with 2xx is applied exactly once, none is
//! lost once its sender has repeated it, and each new user gets one mail. `CHAOS_KILLS` sets the number of kills, as in `chaos`.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::Duration;

use serde_json::{Value, json};

use super::chaos::{Mails, kills, vendor};
use super::rolling::place;
use crate::harness::Backend;
use crate::harness::database::{Database, connect};
use crate::harness::process::until;
use omnistack::platform::clock::Clock;
use omnistack::platform::crypto::random;

use crate::harness::webhooks::{CLERK_SECRET, STRIPE_SECRET, clerk, stripe};

crate::on_both_backends![repeated_kills_apply_each_webhook_once];

/// Longest life of a server in milliseconds, from its readiness on.
const LIFE: u64 = 250;
/// Senders that deliver side by side.
const SENDERS: usize = 6;

/// An event on its way.
struct Event {
    provider: &'static str,
    id: String,
    body: String,
}

impl Event {
    /// Clerk's and Stripe's events about one user, in their order.
    fn of_user(n: usize) -> [Self; 4] {
        let (user, subscription) = (format!("user-{n}"), format!("sub-{n}"));
        let clerk = |version: i64, kind: &str| {
            let addresses = json!([{"id": "x", "email_address": format!("{user}@example.com")}]);
            let data = json!({"id": user, "updated_at": 1_700_000_000_000_i64 + version, "first_name": format!("Version{version}"), "email_addresses": addresses});
            Self { provider: "clerk", id: format!("msg-{n}-{version}"), body: json!({"type": kind, "data": data}).to_string() }
        };
        let stripe = |version: i64, kind: &str, status: &str| {
            let object = json!({"id": subscription, "customer": format!("cus-{n}"), "status": status, "metadata": {"user_id": user}});
            let id = format!("evt-{n}-{version}");
            let body = json!({"id": id, "type": kind, "created": 1_700_000_000 + version, "data": {"object": object}}).to_string();
            Self { provider: "stripe", id, body }
        };
        [
            clerk(0, "user.created"),
            clerk(1, "user.updated"),
            stripe(0, "customer.subscription.created", "active"),
            stripe(1, "customer.subscription.updated", "past_due"),
        ]
    }

    /// Signed now, as each repetition is.
    fn headers(&self) -> Vec<(&'static str, String)> {
        let now = Clock::System.now().timestamp();
        if self.provider == "clerk" { clerk(&self.id, now, self.body.as_bytes()) } else { stripe(STRIPE_SECRET, now, self.body.as_bytes()) }
    }
}

/// What the senders share: the address of the server that lives now, and what they were told.
#[derive(Default)]
struct Shared {
    url: RwLock<String>,
    stop: AtomicBool,
    next: AtomicUsize,
    /// Deliveries that broke off or were refused, and were repeated.
    repeated: AtomicUsize,
    /// The answers with status 2xx by event id.
    answers: Mutex<BTreeMap<String, Vec<String>>>,
}

impl Shared {
    /// Delivers an event until it is answered with 2xx, as senders do.
    async fn deliver(&self, http: &reqwest::Client, event: &Event) {
        loop {
            let url = format!("{}/api/v1/public/webhooks/{}", self.url.read().unwrap_or_else(PoisonError::into_inner), event.provider);
            let mut request = http.post(url).body(event.body.clone()).header("content-type", "application/json");
            for (name, value) in event.headers() {
                request = request.header(name, value);
            }
            if let Ok(answer) = request.send().await
                && answer.status().is_success()
                // A body that breaks off is no answer for the sender, although the event is applied.
                && let Ok(answer) = answer.json::<Value>().await
            {
                let status = answer["status"].as_str().unwrap().to_owned();
                self.answers.lock().unwrap_or_else(PoisonError::into_inner).entry(event.id.clone()).or_default().push(status);
                return;
            }
            self.repeated.fetch_add(1, Ordering::SeqCst);
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    /// Creates users with subscriptions until it is told to stop. Every third user's events are delivered twice at once.
    async fn send(&self) {
        let http = reqwest::Client::builder().no_proxy().timeout(Duration::from_secs(5)).build().unwrap();
        while !self.stop.load(Ordering::SeqCst) {
            let n = self.next.fetch_add(1, Ordering::SeqCst);
            for event in Event::of_user(n) {
                if n.is_multiple_of(3) {
                    tokio::join!(self.deliver(&http, &event), self.deliver(&http, &event));
                } else {
                    self.deliver(&http, &event).await;
                }
            }
        }
    }
}

async fn repeated_kills_apply_each_webhook_once(b: Backend) {
    let kills = kills();
    let (database, mails) = (Database::create(b).await, Mails::default());
    let place = place(&database)
        .with("LOG_LEVEL", "INFO")
        .with("WORKER_LEASE_SECONDS", "1")
        // A process of its own with a longer life: a job that loses many workers is given up as a poison job.
        .with("WORKER_ENABLED", "false")
        .with("CLERK_WEBHOOK_SECRET", CLERK_SECRET)
        .with("STRIPE_WEBHOOK_SECRET", STRIPE_SECRET)
        .with("AUTH_PROVIDER", "custom")
        .with("RATE_LIMIT_WEBHOOK", "1000000/minute")
        .with("EMAIL_PROVIDER", "resend")
        .with("RESEND_API_KEY", "re_of_a_test")
        .with("RESEND_BASE_URL", &vendor(mails.clone()).await);
    let (mut server, mut worker) = (place.serve().await, place.spawn(&["worker"]));
    let shared = Arc::new(Shared { url: RwLock::new(server.url.clone()), ..Shared::default() });
    let senders: Vec<_> = (0..SENDERS)
        .map(|_| {
            let shared = shared.clone();
            tokio::spawn(async move { shared.send().await })
        })
        .collect();
    for kill in 0..kills {
        let life = u64::from(random::<1>().unwrap()[0]) * LIFE / 255;
        tokio::time::sleep(Duration::from_millis(life)).await;
        server.signal("KILL");
        server.ended().await;
        if kill % 25 == 5 {
            worker.signal("KILL");
            worker.ended().await;
            worker = place.spawn(&["worker"]);
        }
        server = place.serve().await;
        shared.url.write().unwrap_or_else(PoisonError::into_inner).clone_from(&server.url);
    }
    shared.stop.store(true, Ordering::SeqCst);
    for sender in senders {
        sender.await.unwrap();
    }
    let (db, _) = connect(&database.url).await;
    until("every job has ended", async || {
        (database.number(&db, "SELECT COUNT(*) FROM jobs WHERE status IN ('queued', 'running')").await == 0).then_some(())
    })
    .await;
    let count = async |text: &str| usize::try_from(database.number(&db, text).await).unwrap();

    let answers = shared.answers.lock().unwrap_or_else(PoisonError::into_inner).clone();
    let mut rows = database.texts(&db, "SELECT idempotency_key || ' ' || status || ' ' || attempts FROM webhook_events").await;
    rows.sort();
    let mut wanted: Vec<_> = answers.keys().map(|id| format!("{id} processed 1")).collect();
    wanted.sort();
    assert_eq!(rows, wanted, "each answered event has one row, which was applied in one attempt");
    let twice: Vec<_> = answers.iter().filter(|(_, all)| all.iter().filter(|one| *one == "processed").count() > 1).collect();
    assert!(twice.is_empty(), "at most one delivery of an event is answered as processed: {twice:?}");

    let users = count("SELECT COUNT(*) FROM users").await;
    assert_eq!(users * 4, answers.len(), "each user has four events");
    let last = "SELECT COUNT(*) FROM users JOIN subscriptions ON subscriptions.user_id = users.id WHERE full_name = 'Version1' AND plan = 'pro'
        AND status = 'past_due' AND subscription_plan = plan AND subscription_status = status AND external_id = replace(users.id, 'user', 'sub')";
    assert_eq!((count(last).await, count("SELECT COUNT(*) FROM subscriptions").await), (users, users), "each is in the last state");
    let done = count("SELECT COUNT(*) FROM jobs WHERE status = 'done' AND function = 'send_welcome_email'").await;
    assert_eq!(
        (done, count("SELECT COUNT(*) FROM jobs WHERE function <> 'send_welcome_email' AND owner_id IS NOT NULL").await),
        (users, 0)
    );
    let mails = mails.lock().unwrap_or_else(PoisonError::into_inner).clone();
    assert_eq!(mails.len(), users, "each user has a mail, and there are no other mails");
    assert!(mails.values().all(|keys| keys.len() == 1), "each recipient has one idempotency key: {mails:?}");
    let (repeated, events) = (shared.repeated.load(Ordering::SeqCst), answers.len());
    let unanswered = answers.values().filter(|all| !all.iter().any(|one| one == "processed")).count();
    eprintln!("{b:?}: {kills} kills, {events} events of {users} users, {repeated} deliveries repeated, {unanswered} applied unanswered");
    assert!(users > kills, "too few events: {events}");
}
