//! Repeated `SIGKILL` of server and worker under load: every committed job is executed, and repeated mails carry the
//! same idempotency key. `CHAOS_KILLS` sets the number of kills (default 10).

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::Duration;

use axum::extract::{Json, State};
use axum::http::HeaderMap;
use serde_json::{Value, json};

use super::rolling::place;
use crate::harness::database::{Database, connect};
use crate::harness::process::{Server, until};
use crate::harness::tokens::claims;
use crate::harness::{Backend, SECRET};

crate::on_both_backends![repeated_kills_lose_no_committed_job];

/// Idempotency keys per recipient, with the number of requests.
pub(super) type Mails = Arc<Mutex<BTreeMap<String, BTreeMap<String, usize>>>>;

/// The number of kills: few, unless a figure is wanted.
pub(super) fn kills() -> usize {
    std::env::var("CHAOS_KILLS").ok().map_or(10, |text| text.parse().unwrap())
}

/// A vendor stub that accepts every mail.
pub(super) async fn vendor(mails: Mails) -> String {
    async fn take(State(mails): State<Mails>, headers: HeaderMap, Json(mail): Json<Value>) -> Json<Value> {
        let key = headers["idempotency-key"].to_str().unwrap().to_owned();
        let to = mail["to"][0].as_str().or(mail["to"].as_str()).unwrap().to_owned();
        *mails.lock().unwrap_or_else(PoisonError::into_inner).entry(to).or_default().entry(key.clone()).or_default() += 1;
        Json(json!({"id": key}))
    }
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let router = axum::Router::new().route("/emails", axum::routing::post(take)).with_state(mails);
    tokio::spawn(axum::serve(listener, router).into_future());
    url
}

async fn repeated_kills_lose_no_committed_job(b: Backend) {
    let kills = kills();
    let (database, mails) = (Database::create(b).await, Mails::default());
    let place = place(&database)
        .with("LOG_LEVEL", "INFO")
        .with("WORKER_LEASE_SECONDS", "1")
        .with("EMAIL_PROVIDER", "resend")
        .with("RESEND_API_KEY", "re_of_a_test")
        .with("RESEND_BASE_URL", &vendor(mails.clone()).await);
    let mut server = place.serve().await;
    let mut worker = place.spawn(&["worker"]);
    let (url, stop, confirmed) =
        (Arc::new(RwLock::new(server.url.clone())), Arc::new(AtomicBool::new(false)), Arc::new(Mutex::new(BTreeSet::new())));
    let number = Arc::new(AtomicUsize::new(0));
    let newcomers: Vec<_> = (0..4)
        .map(|_| {
            let (url, stop, confirmed, number) = (url.clone(), stop.clone(), confirmed.clone(), number.clone());
            tokio::spawn(async move {
                let http = reqwest::Client::builder().no_proxy().timeout(Duration::from_secs(5)).build().unwrap();
                while !stop.load(Ordering::SeqCst) {
                    let name = format!("newcomer-{}", number.fetch_add(1, Ordering::SeqCst));
                    let token = claims(&name, &omnistack::platform::clock::Clock::System).sign(SECRET);
                    let me = format!("{}/api/v1/app/users/me", url.read().unwrap_or_else(PoisonError::into_inner));
                    match http.get(me).bearer_auth(token).send().await {
                        Ok(answer) if answer.status().is_success() => {
                            confirmed.lock().unwrap_or_else(PoisonError::into_inner).insert(name);
                        }
                        // The server was killed or is starting again.
                        _ => tokio::time::sleep(Duration::from_millis(5)).await,
                    }
                }
            })
        })
        .collect();
    for kill in 0..kills {
        let wait = 100 + u64::from(uuid::Uuid::now_v7().as_bytes()[15]) * 2;
        tokio::time::sleep(Duration::from_millis(wait)).await;
        let (victim, both): (&mut Server, bool) = if kill % 2 == 0 { (&mut server, kill % 10 == 4) } else { (&mut worker, false) };
        victim.signal("KILL");
        victim.ended().await;
        if both {
            worker.signal("KILL");
            worker.ended().await;
            worker = place.spawn(&["worker"]);
        }
        if kill % 2 == 0 {
            server = place.serve().await;
            url.write().unwrap_or_else(PoisonError::into_inner).clone_from(&server.url);
        } else {
            worker = place.spawn(&["worker"]);
        }
    }
    stop.store(true, Ordering::SeqCst);
    for newcomer in newcomers {
        newcomer.await.unwrap();
    }
    let (db, _) = connect(&database.url).await;
    until("every job has ended", async || {
        (database.number(&db, "SELECT COUNT(*) FROM jobs WHERE status IN ('queued', 'running')").await == 0).then_some(())
    })
    .await;
    let count = async |text: &str| usize::try_from(database.number(&db, text).await).unwrap();
    let users: BTreeSet<String> = database.texts(&db, "SELECT id FROM users WHERE id LIKE 'newcomer-%'").await.into_iter().collect();
    let confirmed = confirmed.lock().unwrap_or_else(PoisonError::into_inner).clone();
    assert!(confirmed.is_subset(&users), "confirmed users are missing: {:?}", confirmed.difference(&users));
    let done = count("SELECT COUNT(*) FROM jobs WHERE status = 'done' AND function = 'send_welcome_email'").await;
    assert_eq!(done, users.len(), "the job of each committed user is done");
    let mails = mails.lock().unwrap_or_else(PoisonError::into_inner).clone();
    assert_eq!(mails.len(), users.len(), "each user has a mail, and there are no other mails");
    assert!(mails.values().all(|keys| keys.len() == 1), "each recipient has one idempotency key: {mails:?}");
    let again: usize = mails.values().flat_map(BTreeMap::values).map(|times| times - 1).sum();
    eprintln!("{b:?}: {kills} kills, {} confirmed, {done} jobs done, {again} mails repeated with the same key", confirmed.len());
    assert!(confirmed.len() > kills, "too few confirmed requests: {}", confirmed.len());
}
