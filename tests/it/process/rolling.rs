//! Rolling restarts under load, and crashes.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use serde_json::{Value, json};

use crate::harness::database::{Database, connect};
use crate::harness::process::{Place, Server, until};
use crate::harness::tokens::claims;
use crate::harness::{Backend, Client, SECRET};

crate::on_both_backends![
    rolling_restart_under_load_fails_no_request,
    killed_server_keeps_confirmed_writes,
    newer_schema_is_served_by_older_binary,
];

pub(super) fn place(database: &Database) -> Place {
    Place::of(database).with("LOG_LEVEL", "WARNING")
}

/// An issuer's token, valid by the system clock.
pub(super) fn token() -> String {
    claims("amy", &omnistack::platform::clock::Clock::System).sign(SECRET)
}

/// A client with a load balancer's failover: it tries the next instance only if a connection is refused.
struct Balanced {
    http: reqwest::Client,
    urls: Vec<String>,
    token: String,
}

impl Balanced {
    async fn send(&self, n: usize) -> Result<Value, String> {
        for url in self.urls.iter().cycle().skip(n % self.urls.len()).take(self.urls.len()) {
            let url = format!("{url}/api/v1/app/projects");
            let call = if n.is_multiple_of(3) { self.http.post(url).json(&json!({"name": format!("p{n}")})) } else { self.http.get(url) };
            match call.bearer_auth(&self.token).send().await {
                Ok(answer) if answer.status().is_success() => return answer.json().await.map_err(|error| format!("{error:?}")),
                Ok(answer) => return Err(format!("{} {:?}", answer.status(), answer.text().await)),
                Err(error) if error.is_connect() => {}
                Err(error) => return Err(format!("{error:?}")),
            }
        }
        Err("every instance refused".to_owned())
    }
}

async fn rolling_restart_under_load_fails_no_request(b: Backend) {
    let database = Database::create(b).await;
    let (mut old, new): (Server, Server) = {
        let place = place(&database);
        let quick = place.with("LOG_LEVEL", "INFO");
        (quick.serve().await, quick.serve().await)
    };
    let http = reqwest::Client::builder().no_proxy().build().unwrap();
    let client = Arc::new(Balanced { http, urls: vec![old.url.clone(), new.url.clone()], token: token() });
    client.send(0).await.unwrap();
    let (done, answered) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
    let workers: Vec<_> = (0..8)
        .map(|worker| {
            let (client, done, answered) = (client.clone(), done.clone(), answered.clone());
            tokio::spawn(async move {
                let mut made = 0;
                for n in (worker * 10_000).. {
                    if done.load(Ordering::SeqCst) {
                        break;
                    }
                    client.send(n).await.unwrap_or_else(|error| panic!("request {n} failed: {error}"));
                    made += usize::from(n % 3 == 0);
                    answered.fetch_add(1, Ordering::SeqCst);
                }
                made
            })
        })
        .collect();
    let some_more = async |count: usize| {
        let goal = answered.load(Ordering::SeqCst) + count;
        until("requests are answered", async || (answered.load(Ordering::SeqCst) >= goal).then_some(())).await;
    };
    some_more(50).await;
    old.signal("TERM");
    assert_eq!(old.ended().await.code(), Some(0), "{}", old.output());
    some_more(50).await;
    done.store(true, Ordering::SeqCst);
    let mut made = 1;
    for worker in workers {
        made += worker.await.unwrap();
    }
    let listed = new.client(Some(client.token.clone())).get("/app/projects").await.expect(200);
    assert_eq!(listed["total"], made, "every confirmed project exists");
}

async fn killed_server_keeps_confirmed_writes(b: Backend) {
    let database = Database::create(b).await;
    let place = place(&database).with("LOG_LEVEL", "INFO");
    let mut confirmed: Vec<Value> = Vec::new();
    for round in 0..3 {
        let mut server = place.serve().await;
        let amy: Client = server.client(Some(token()));
        for known in &confirmed {
            let path = format!("/app/projects/{}", known["id"].as_str().unwrap());
            assert_eq!(amy.get(&path).await.expect(200), *known, "project lost in round {round}");
        }
        let made = amy.post("/app/projects", json!({"name": format!("round {round}")})).key(&format!("round-{round}")).await.expect(201);
        server.signal("KILL");
        assert_eq!(server.ended().await.code(), None, "the process was killed by a signal");
        confirmed.push(made);
    }
    let server = place.serve().await;
    let amy = server.client(Some(token()));
    assert_eq!(amy.get("/app/projects").await.expect(200)["total"], 3);
    // The idempotency key of the last project still returns the same response.
    let again = amy.post("/app/projects", json!({"name": "round 2"})).key("round-2").await.expect(201);
    assert_eq!(again, confirmed[2]);
}

/// During a rolling update the new version has migrated, and instances of the old one start and serve meanwhile.
async fn newer_schema_is_served_by_older_binary(b: Backend) {
    let database = Database::create(b).await;
    let (db, _) = connect(&database.url).await;
    let checksum = if b == Backend::Postgres { "'\\x00'" } else { "x'00'" };
    for step in [
        "ALTER TABLE projects ADD COLUMN colour TEXT NOT NULL DEFAULT 'red'".to_owned(),
        "ALTER TABLE users ADD COLUMN nickname TEXT".to_owned(),
        "CREATE TABLE of_tomorrow (id TEXT PRIMARY KEY)".to_owned(),
        format!(
            "INSERT INTO _sqlx_migrations (version, description, success, checksum, execution_time)
             VALUES (9999, 'of tomorrow', TRUE, {checksum}, 1)"
        ),
    ] {
        database.execute(&db, &step).await;
    }
    db.close().await;
    let place = place(&database).with("LOG_LEVEL", "INFO");
    place.run(&["migrate"]).await.expect_ok();
    let server = place.serve().await;
    let amy = server.client(Some(token()));
    let made = amy.project("Apollo").await;
    assert_eq!(amy.get("/app/projects").await.expect(200)["items"], json!([made]));
    amy.get("/app/users/me").await.expect(200);
    server.client(None).get("/public/health/ready").await.expect(200);
    server.stop().await;
}
