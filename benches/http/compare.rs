//! Comparison of the hot routes of our server and of the floor, measured alternately.

use std::time::Duration;

use anyhow::Result;

use crate::driver::{drive, request};
use crate::report::{Results, Start, Visit};
use crate::servers::{Role, Server, Site};
use crate::{ME, NEW_PROJECT, Options, PROJECTS, SUBJECT, settle_in, token};

/// Projects of the caller before the first round; the list shows a page of 20 of them.
const PROJECTS_BEFORE: usize = 30;
/// Number of starts on a migrated database; the median is reported.
const STARTS: usize = 3;

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, clap::ValueEnum)]
pub enum Scenario {
    Health,
    Me,
    Get,
    List,
    Create,
}

impl Scenario {
    /// Reads run first, because every create adds rows to the tables they read.
    const GROUPS: [&[Self]; 2] = [&[Self::Health, Self::Me, Self::Get, Self::List], &[Self::Create]];

    pub fn name(self) -> &'static str {
        match self {
            Self::Health => "health",
            Self::Me => "me",
            Self::Get => "get",
            Self::List => "list",
            Self::Create => "create",
        }
    }

    /// With default settings, rate limits would stop the load on all routes but the probes.
    fn suits(self, role: Role) -> bool {
        role != Role::Defaults || self == Self::Health
    }

    pub fn request(self, token: &str, project: &str) -> Vec<u8> {
        match self {
            Self::Health => request("GET", "/api/v1/public/health", None, None),
            Self::Me => request("GET", ME, Some(token), None),
            Self::Get => request("GET", &format!("{PROJECTS}/{project}"), Some(token), None),
            Self::List => request("GET", PROJECTS, Some(token), None),
            Self::Create => request("POST", PROJECTS, Some(token), Some(NEW_PROJECT)),
        }
    }
}

/// A server under test and the project that `get` requests.
struct Candidate {
    server: Server,
    project: String,
}

pub async fn run(site: &mut Site, options: &Options) -> Result<bool> {
    let chosen = |scenario: &&Scenario| options.only.is_empty() || options.only.contains(scenario);
    let token = token(SUBJECT)?;
    let load = options.load();
    let mut results = Results::new(site.engine, &load, options.rounds);
    let mut candidates = Vec::new();

    for role in [Role::Floor, Role::Ours, Role::Defaults] {
        if role == Role::Defaults && !chosen(&&Scenario::Health) {
            continue;
        }
        let (server, start) = start(site, role).await?;
        results.note_start(role, start);
        let project = match role {
            Role::Defaults => String::new(),
            _ => settle_in(server.address, &token, PROJECTS_BEFORE).await?,
        };
        candidates.push(Candidate { server, project });
    }

    for group in Scenario::GROUPS {
        let group: Vec<_> = group.iter().filter(chosen).collect();
        if group.is_empty() {
            continue;
        }
        for round in 0..options.rounds {
            let what: Vec<_> = group.iter().map(|scenario| scenario.name()).collect();
            eprintln!("{}: round {} of {} ({})", site.engine.name(), round + 1, options.rounds, what.join(", "));
            for scenario in &group {
                for candidate in &mut candidates {
                    let role = candidate.server.role;
                    if scenario.suits(role) {
                        let request = scenario.request(&token, &candidate.project);
                        let before = driver_time();
                        let outcome = drive(candidate.server.address, load, request).await;
                        candidate.server.check()?;
                        let tally = outcome?;
                        let busy = before.zip(driver_time()).map(|(before, after)| after.saturating_sub(before));
                        results.note_visit(**scenario, role, Visit::new(&tally, &load, busy), &tally);
                        candidate.server.empty_log()?;
                    }
                }
            }
            // Reverses the order of the servers in every round.
            candidates.reverse();
        }
    }

    for candidate in &candidates {
        results.note_end(candidate.server.role, candidate.server.resident());
    }
    drop(candidates);
    results.print();
    Ok(results.clean())
}

/// Starts a server on a new database to migrate it, then measures further starts on the migrated database.
async fn start(site: &mut Site, role: Role) -> Result<(Server, Start)> {
    let database = site.database(role).await?;
    let mut server = Server::start(site, role, &database).await?;
    let mut ready = Vec::with_capacity(STARTS);
    for _ in 0..STARTS {
        drop(server);
        server = Server::start(site, role, &database).await?;
        ready.push(server.ready_after.as_secs_f64() * 1000.0);
    }
    tokio::time::sleep(Duration::from_millis(500)).await;
    let start = Start { ready_ms: ready, idle: server.resident(), after: None };
    Ok((server, start))
}

/// CPU time of the driver's single thread so far; `None` on systems without `/proc`.
fn driver_time() -> Option<Duration> {
    let text = std::fs::read_to_string("/proc/self/schedstat").ok()?;
    text.split_whitespace().next()?.parse().ok().map(Duration::from_nanos)
}
