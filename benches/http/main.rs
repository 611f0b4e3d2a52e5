//! `cargo bench --bench http`: cost of the server over HTTP, relative to a minimal server (the floor) in the same run.
//!
//! The floor (`floor.rs`) is a minimal axum and sqlx server with the hot routes. Both servers run as separate processes on the
//! same CPU and are measured alternately, round by round, so that noise affects both. Absolute numbers depend on the machine;
//! compare the ratio and the additional microseconds per request.
//!
//! No external tool is needed. The release binary is built by cargo; the floor is this program started with the argument `floor`.
//! Postgres is taken from `BENCH_DATABASE_URL`, or from the default port if it is reachable. `--pages` measures lists over many
//! rows (`pages.rs`), `--files` large files (`files.rs`), `--soak` memory under a long mixed load (`soak.rs`), `--ai` the AI gateway
//! in front of a stub (`ai.rs`), `--webhooks` signed events of a payment vendor (`webhooks.rs`), `--usage` the cost of counting usage (`usage.rs`),
//! `--sockets` ten thousand WebSockets (`sockets.rs`).

#![forbid(unsafe_code)]

mod ai;
mod compare;
mod driver;
mod files;
mod floor;
mod pages;
mod report;
mod servers;
mod soak;
mod sockets;
mod usage;
mod vendor;
mod webhooks;

use std::net::SocketAddr;
use std::process::ExitCode;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::{Result, bail};
use clap::Parser;
use jsonwebtoken::{EncodingKey, Header};
use serde_json::Value;

use crate::compare::Scenario;
use crate::driver::{Load, call_json, request};
use crate::servers::{Engine, JWT_SECRET, Pinning, Site};

/// User of the comparison: created by the floor at startup, by our server at the first request.
const SUBJECT: &str = "bench-user";
const ME: &str = "/api/v1/app/users/me";
const PROJECTS: &str = "/api/v1/app/projects";
const NEW_PROJECT: &str = r#"{"name":"Bench project","description":"made under load"}"#;

/// Measures the server over HTTP against a bare axum and sqlx server.
#[derive(Parser)]
#[command(name = "http")]
struct Options {
    /// Length of one visit to one route of one server
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u64).range(1..))]
    seconds: u64,
    /// Visits to every route of every server
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u64).range(1..))]
    rounds: u64,
    /// Keep-alive connections, each with one request under way
    #[arg(long, default_value_t = 32, value_parser = clap::value_parser!(u16).range(1..))]
    connections: u16,
    /// Only these scenarios
    #[arg(long, value_delimiter = ',')]
    only: Vec<Scenario>,
    /// Only this engine, which must then be there
    #[arg(long)]
    engine: Option<Engine>,
    /// Instead: a mixed load of that many seconds on our server alone, watching its memory
    #[arg(long, value_name = "SECONDS", conflicts_with = "pages", value_parser = clap::value_parser!(u64).range(1..))]
    soak: Option<u64>,
    /// Instead: pages and totals over up to a million rows
    #[arg(long)]
    pages: bool,
    /// Instead: large files up and down, and many slow uploads
    #[arg(long, conflicts_with_all = ["pages", "soak"])]
    files: bool,
    /// Instead: what the AI gateway adds to a vendor's time, and the memory of many streams
    #[arg(long, conflicts_with_all = ["pages", "soak", "files"])]
    ai: bool,
    /// Instead: signed events of a payment vendor, each recorded and applied
    #[arg(long, conflicts_with_all = ["pages", "soak", "files", "ai"])]
    webhooks: bool,
    /// Instead: what it costs to count usage
    #[arg(long, conflicts_with_all = ["pages", "soak", "files", "ai", "webhooks"])]
    usage: bool,
    /// Instead: ten thousand WebSockets
    #[arg(long, conflicts_with_all = ["pages", "soak", "files", "ai", "webhooks", "usage"])]
    sockets: bool,
    /// With --ai: requests per second
    #[arg(long, default_value_t = 500, value_parser = clap::value_parser!(u32).range(1..))]
    rate: u32,
    /// With --ai: streams at once; each takes two open files of the server and two of the driver
    #[arg(long, default_value_t = 1000, value_parser = clap::value_parser!(u32).range(1..))]
    streams: u32,
    /// Given by cargo
    #[arg(long, hide = true)]
    bench: bool,
}

impl Options {
    fn load(&self) -> Load {
        let length = Duration::from_secs(self.seconds);
        Load { connections: self.connections.into(), warm_up: (length / 10).min(Duration::from_millis(500)), length }
    }
}

fn main() -> ExitCode {
    let mut arguments = std::env::args().skip(1);
    if arguments.next().as_deref() == Some("floor") {
        return ended(floor::run().map(|()| true));
    }
    // `cargo test --all-targets` also runs this program, without `--bench`.
    if !std::env::args().any(|argument| argument == "--bench" || argument == "--help") {
        eprintln!("measures only under `cargo bench --bench http`");
        return ExitCode::SUCCESS;
    }
    let options = Options::parse();
    let pinning = Pinning::settle();
    ended(bench(&options, &pinning))
}

fn ended(outcome: Result<bool>) -> ExitCode {
    match outcome {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => {
            eprintln!("failed: not every answer was 2xx");
            ExitCode::FAILURE
        }
        Err(error) => {
            eprintln!("failed: {error:#}");
            ExitCode::FAILURE
        }
    }
}

/// Runs the requested measurements on each engine. `false` if some responses were not 2xx.
fn bench(options: &Options, pinning: &Pinning) -> Result<bool> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        println!("{}", pinning.told);
        let mut clean = true;
        for engine in [Engine::Sqlite, Engine::Postgres] {
            if options.engine.is_some_and(|wanted| wanted != engine) {
                continue;
            }
            let Some(mut site) = Site::open(engine, options.engine.is_some(), pinning).await? else {
                println!("\n{}: skipped, none answers on the usual port (set BENCH_DATABASE_URL)", engine.name());
                continue;
            };
            // The servers are dropped before the databases, even if the measurement fails.
            let outcome = tokio::select! {
                outcome = measure(&mut site, options) => outcome,
                stopped = told_to_stop() => stopped,
            };
            let closed = site.close().await;
            clean &= outcome?;
            closed?;
        }
        Ok(clean)
    })
}

async fn measure(site: &mut Site, options: &Options) -> Result<bool> {
    if let Some(seconds) = options.soak {
        soak::run(site, options.connections, Duration::from_secs(seconds)).await
    } else if options.pages {
        pages::run(site, options).await
    } else if options.files {
        files::run(site, options).await
    } else if options.ai {
        ai::run(site, options).await
    } else if options.webhooks {
        webhooks::run(site, options).await
    } else if options.usage {
        usage::run(site, options).await
    } else if options.sockets {
        sockets::run(site).await
    } else {
        compare::run(site, options).await
    }
}

/// Waits for SIGINT or SIGTERM and then returns an error.
async fn told_to_stop() -> Result<bool> {
    #[cfg(unix)]
    {
        use tokio::signal::unix::{SignalKind, signal};
        let mut terminate = signal(SignalKind::terminate())?;
        tokio::select! {
            interrupted = tokio::signal::ctrl_c() => interrupted?,
            _ = terminate.recv() => {}
        }
    }
    #[cfg(not(unix))]
    tokio::signal::ctrl_c().await?;
    bail!("stopped by a signal")
}

/// Returns an access token for the subject, as the configured issuer would sign it.
fn token(subject: &str) -> Result<String> {
    let now = SystemTime::now().duration_since(UNIX_EPOCH)?.as_secs();
    let claims = serde_json::json!({
        "sub": subject,
        "email": format!("{subject}@example.com"),
        "iat": now,
        "exp": now + 7 * 24 * 3600,
    });
    Ok(jsonwebtoken::encode(&Header::default(), &claims, &EncodingKey::from_secret(JWT_SECRET.as_bytes()))?)
}

/// Creates the user and their projects on the server; returns the id of the last project.
async fn settle_in(address: SocketAddr, token: &str, projects: usize) -> Result<String> {
    call_json(address, &request("GET", ME, Some(token), None)).await?;
    let mut last = Value::Null;
    for _ in 0..projects {
        last = call_json(address, &request("POST", PROJECTS, Some(token), Some(NEW_PROJECT))).await?;
    }
    let Some(id) = last["id"].as_str() else { bail!("a new project without an id: {last}") };
    Ok(id.to_owned())
}
