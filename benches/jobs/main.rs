//! `cargo bench --bench jobs`: throughput and latency of the job queue in one process, on SQLite and on Postgres.
//!
//! For each engine: the rate at which empty jobs, enqueued in one transaction, are executed, with no finished rows in the table
//! and with a million; and the time until an idle worker starts a new job. Postgres is taken from `BENCH_DATABASE_URL`, or from
//! the default port if it is reachable.

#![forbid(unsafe_code)]

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use clap::Parser;
use omnistack::app::config::Config;
use omnistack::app::feature::Feature;
use omnistack::app::jobs::worker::Settings;
use omnistack::app::jobs::{Fail, Job, New, Registry, Run};
use omnistack::app::{App, migrate};
use omnistack::features;
use omnistack::platform::clock::Clock;
use omnistack::platform::config::Env;
use omnistack::platform::db::{Db, Pools};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use sqlx::{AssertSqlSafe, Connection, Executor, PgConnection};

/// Used if `BENCH_DATABASE_URL` is not set.
const USUAL_POSTGRES: &str = "postgres://root@127.0.0.1:5432/postgres?sslmode=disable";

/// Measures the job queue.
#[derive(Parser)]
#[command(name = "jobs")]
struct Options {
    /// Jobs of one measurement
    #[arg(long, default_value_t = 20_000)]
    jobs: u64,
    /// Measurements of each kind; the best, the middle and the worst are told
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..))]
    rounds: u32,
    /// Finished rows that lie beside the jobs in the second half
    #[arg(long, default_value_t = 1_000_000)]
    finished: u64,
    /// Given by cargo, means nothing here
    #[arg(long, hide = true)]
    bench: bool,
}

static RAN: AtomicU64 = AtomicU64::new(0);

#[derive(Serialize, Deserialize)]
struct Nothing {}

impl Job<App> for Nothing {
    const NAME: &'static str = "nothing";

    async fn run(self, _: App, _: Run) -> Result<Value, Fail> {
        RAN.fetch_add(1, Ordering::SeqCst);
        Ok(Value::Null)
    }
}

struct Bench;

impl Feature<App> for Bench {
    fn name(&self) -> &'static str {
        "bench"
    }

    fn jobs(&self, registry: &mut Registry<App>) {
        registry.add::<Nothing>();
    }
}

#[tokio::main]
async fn main() -> Result<()> {
    let options = Options::parse();
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    let folder = tempfile::tempdir()?;
    measure("SQLite", &format!("sqlite:///{}/bench.db", folder.path().display()), &options).await?;

    let url = std::env::var("BENCH_DATABASE_URL").unwrap_or_else(|_| USUAL_POSTGRES.to_owned());
    let Ok(mut connection) = PgConnection::connect(&url).await else {
        println!("Postgres: none at hand, see BENCH_DATABASE_URL");
        return Ok(());
    };
    let name = format!("omnistack_bench_{}", std::process::id());
    connection.execute(AssertSqlSafe(format!("CREATE DATABASE {name}"))).await?;
    let mut own = url::Url::parse(&url)?;
    own.set_path(&name);
    let measured = measure("Postgres", own.as_str(), &options).await;
    connection.execute(AssertSqlSafe(format!("DROP DATABASE {name} WITH (FORCE)"))).await?;
    measured
}

async fn measure(engine: &str, url: &str, options: &Options) -> Result<()> {
    let vars = [("DATABASE_URL", url), ("SECRET_KEY", "bench-server-secret-0123456789-abcdefghij")];
    let vars = vars.map(|(name, value)| (name.to_owned(), value.to_owned()));
    let mut all = features::all();
    all.push(&Bench);
    let Ok(loaded) = Config::load(Env::from_vars(vars), &all) else { anyhow::bail!("the configuration has problems") };
    let app = App::new(loaded.config, Clock::System, all).await?;
    let url = app.config.database.url.as_ref().context("DATABASE_URL")?;
    migrate::run(&app.db, url, &features::all(), false).await?;

    latency(engine, &app).await?;
    throughput(engine, "nothing beside them", &app, options).await?;
    fill(&app.db, options.finished).await?;
    throughput(engine, &format!("beside {} finished rows", options.finished), &app, options).await?;
    app.db.close().await;
    Ok(())
}

async fn throughput(engine: &str, beside: &str, app: &App, options: &Options) -> Result<()> {
    let mut rates = Vec::new();
    for _ in 0..options.rounds {
        let mut tx = app.db.begin().await?;
        for _ in 0..options.jobs {
            app.jobs.enqueue(&mut tx, &Nothing {}, New::default()).await?;
        }
        tx.commit().await?;
        RAN.store(0, Ordering::SeqCst);
        let began = Instant::now();
        let worker = app.worker(Settings::new(&app.config.jobs, app.config.core.shutdown_grace));
        let stop = worker.stop().clone();
        let working = tokio::spawn(worker.run());
        while RAN.load(Ordering::SeqCst) < options.jobs {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        // The worker stops only after it has stored the last result, so the measured time includes it.
        stop.cancel();
        working.await??;
        #[expect(clippy::cast_precision_loss, reason = "a rate for people")]
        rates.push(options.jobs as f64 / began.elapsed().as_secs_f64());
        let left = app.jobs.waiting(&app.db).await?;
        ensure!(left == 0 && RAN.load(Ordering::SeqCst) == options.jobs, "{left} jobs are left, {} ran", RAN.load(Ordering::SeqCst));
    }
    rates.sort_by(f64::total_cmp);
    println!(
        "{engine}, {} jobs {beside}: {:.0} jobs/s (of {} runs: {:.0} to {:.0})",
        options.jobs,
        rates[rates.len() / 2],
        rates.len(),
        rates[0],
        rates[rates.len() - 1]
    );
    Ok(())
}

/// Measures the time from the start of the enqueue to the first line of the job.
async fn latency(engine: &str, app: &App) -> Result<()> {
    const TIMES: usize = 100;
    let worker = app.worker(Settings::new(&app.config.jobs, app.config.core.shutdown_grace));
    let stop = worker.stop().clone();
    let working = tokio::spawn(worker.run());
    let mut times = Vec::new();
    for n in 0..TIMES {
        // Varies the wait, so that jobs arrive in every phase of the worker's poll interval.
        tokio::time::sleep(Duration::from_millis(20 + 7 * n as u64 % 60)).await;
        RAN.store(0, Ordering::SeqCst);
        let began = Instant::now();
        app.jobs.enqueue(&app.db, &Nothing {}, New::default()).await?;
        while RAN.load(Ordering::SeqCst) == 0 {
            tokio::task::yield_now().await;
        }
        times.push(began.elapsed());
    }
    stop.cancel();
    working.await??;
    times.sort();
    let told = |n: usize| times[n].as_secs_f64() * 1000.0;
    println!("{engine}, start after enqueue: {:.1} ms (of {TIMES}: {:.1} to {:.1})", told(TIMES / 2), told(0), told(TIMES - 1));
    Ok(())
}

/// Inserts finished jobs with a finish time in 2999, so that no clean-up removes them.
async fn fill(db: &Db, rows: u64) -> Result<()> {
    let text = format!(
        "INSERT INTO jobs (id, function, status, attempts, success, finish_time)
         WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < {rows})
         SELECT 'old-' || i, 'nothing', 'done', 1, TRUE, '2999-01-01T00:00:00+00:00' FROM n"
    );
    let text = AssertSqlSafe(text);
    match &db.pools {
        Pools::Postgres(pool) => {
            pool.acquire().await?.execute(text).await?;
        }
        Pools::Sqlite { write, .. } => {
            write.acquire().await?.execute(text).await?;
        }
    }
    Ok(())
}
