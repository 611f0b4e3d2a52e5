//! Soak test: a long mixed load on our server, to check that its memory use levels off.
//!
//! Every connection belongs to a separate user, who reads and occasionally creates and deletes a project, so that the number of
//! rows stays constant.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use serde_json::Value;
use tokio::task::JoinSet;

use crate::compare::Scenario;
use crate::driver::{Answer, Connection, Tally, gather, request};
use crate::report::{Failures, count, mebibytes, millis};
use crate::servers::{Role, Server, Site};
use crate::{PROJECTS, settle_in, token};

const PROJECTS_BEFORE: usize = 20;
/// Requests of one iteration of a user. A create is followed by the delete of the new project.
const TURN: [Scenario; 8] =
    [Scenario::Me, Scenario::List, Scenario::Get, Scenario::Get, Scenario::Health, Scenario::List, Scenario::Get, Scenario::Create];
/// Number of memory samples.
const SAMPLES: u32 = 10;

pub async fn run(site: &mut Site, connections: u16, length: Duration) -> Result<bool> {
    let database = site.database(Role::Ours).await?;
    let mut server = Server::start(site, Role::Ours, &database).await?;
    let address = server.address;
    tokio::time::sleep(Duration::from_millis(500)).await;
    let before = server.resident();
    println!("\n{}: mixed load for {} s, {connections} connections\n", site.engine.name(), length.as_secs());
    println!("{:>9}{:>10}{:>11}", "seconds", "req/s", "RSS MiB");
    println!("{:>9}{:>10}{:>11}", 0, "-", mebibytes(before));

    let answered = Arc::new(AtomicU64::new(0));
    let mut users = Vec::new();
    for number in 0..connections {
        let token = token(&format!("soak-user-{number}"))?;
        let project = settle_in(address, &token, PROJECTS_BEFORE).await?;
        let connection = Connection::open(address).await?;
        users.push(User { address, connection, token, project, tally: Tally::default() });
    }
    let start = Instant::now();
    let mut tasks = JoinSet::new();
    for user in users {
        tasks.spawn(user.work(Arc::clone(&answered), start + length));
    }

    let mut early = None;
    let mut last = 0;
    for sample in 1..=SAMPLES {
        tokio::time::sleep_until((start + length * sample / SAMPLES).into()).await;
        server.check()?;
        let now = answered.load(Ordering::Relaxed);
        let rate = count(now - last) / (length / SAMPLES).as_secs_f64();
        last = now;
        let resident = server.resident();
        early = early.or(resident);
        println!("{:>9}{rate:>10.0}{:>11}", start.elapsed().as_secs(), mebibytes(resident));
    }
    let outcome = gather(tasks, Duration::ZERO).await;
    server.check()?;
    let tally = outcome?;
    tokio::time::sleep(Duration::from_millis(500)).await;
    let after = server.resident();

    println!(
        "\n{} requests, p50 {:.3} ms, p99 {:.3} ms",
        tally.latencies.total(),
        millis(tally.latencies.quantile(500)),
        millis(tally.latencies.quantile(990))
    );
    println!("RSS before {} MiB, after the first tenth {} MiB, after {} MiB", mebibytes(before), mebibytes(early), mebibytes(after));
    let mut failures = Failures::default();
    failures.note(&tally);
    failures.tell("soak");
    Ok(failures.none())
}

/// A simulated user with its own connection.
struct User {
    address: SocketAddr,
    connection: Connection,
    token: String,
    project: String,
    tally: Tally,
}

impl User {
    async fn work(mut self, answered: Arc<AtomicU64>, until: Instant) -> Result<Tally> {
        let turn: Vec<_> = TURN.iter().map(|step| (*step, step.request(&self.token, &self.project))).collect();
        while Instant::now() < until {
            for (step, asked) in &turn {
                let made = self.ask(asked, *step == Scenario::Create).await?;
                answered.fetch_add(1, Ordering::Relaxed);
                if let Some(id) = made {
                    let delete = request("DELETE", &format!("{PROJECTS}/{id}"), Some(&self.token), None);
                    self.ask(&delete, false).await?;
                    answered.fetch_add(1, Ordering::Relaxed);
                }
            }
        }
        Ok(self.tally)
    }

    /// Sends a request and records the result; with `read_id`, returns the id from the response.
    async fn ask(&mut self, request: &[u8], read_id: bool) -> Result<Option<String>> {
        let asked = Instant::now();
        match self.connection.send(request).await {
            Ok(answer) => {
                self.tally.latencies.record(asked.elapsed());
                if answer.is_success() {
                    return if read_id { id_of(&answer).map(Some) } else { Ok(None) };
                }
                self.tally.note_refusal(&answer);
            }
            Err(error) => {
                self.tally.note_break(&error);
                self.connection = Connection::open(self.address).await?;
            }
        }
        Ok(None)
    }
}

fn id_of(answer: &Answer<'_>) -> Result<String> {
    let body: Value = serde_json::from_slice(answer.body)?;
    Ok(body["id"].as_str().context("a new project without an id")?.to_owned())
}
