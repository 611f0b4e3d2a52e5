//! `--usage`: what it costs to count usage. The users' own row, with usage and quotas and without, in turns; events recorded in one
//! process at 20,000 a second and as fast as it goes; and the figures of a table of a million rows.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use omnistack::app::App;
use omnistack::app::config::Config;
use omnistack::features;
use omnistack::platform::clock::Clock;
use omnistack::platform::config::Env;
use omnistack::platform::id::UserId;
use omnistack::platform::usage::{Labels, Metric};
use tokio::time::{MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;

use crate::driver::{Load, call, call_json, drive, request};
use crate::report::{Failures, median, millis};
use crate::servers::{Engine, JWT_SECRET, Role, Server, Site};
use crate::{ME, Options, SUBJECT, token};

/// Users of the recorded events, in turn.
const USERS: u64 = 1000;
/// Events per second that must be recorded without loss.
const RATE: u64 = 20_000;
/// Users of the large table, each with a day's and a month's row of five metrics on each of 100 days.
const BUSY: u64 = 1900;

pub async fn run(site: &mut Site, options: &Options) -> Result<bool> {
    let database = site.database(Role::Ours).await?;
    let mut failures = Failures::default();
    compare(site, options, &database, &mut failures).await?;
    record(site.engine, &database, options).await?;
    figures(site, options, &database, &mut failures).await?;
    failures.tell("requests");
    Ok(failures.none())
}

async fn compare(site: &Site, options: &Options, database: &str, failures: &mut Failures) -> Result<()> {
    let switches = |on: &str| [("USAGE_TRACKING_ENABLED", on.to_owned()), ("PLAN_LIMITS_ENABLED", on.to_owned())];
    let mut servers = [
        (Server::start_with(site, Role::Ours, database, &switches("true")).await?, Vec::new()),
        (Server::start_with(site, Role::Ours, database, &switches("false")).await?, Vec::new()),
    ];
    let me = request("GET", ME, Some(&token(SUBJECT)?), None);
    for round in 0..options.rounds {
        eprintln!("{}: round {} of {} (me)", site.engine.name(), round + 1, options.rounds);
        for (server, rates) in &mut servers {
            let tally = drive(server.address, options.load(), me.clone()).await?;
            failures.note(&tally);
            rates.push(tally.latencies.total() / options.seconds);
        }
        servers.reverse();
    }
    if options.rounds % 2 == 1 {
        servers.reverse();
    }
    let (_, metrics) = call(servers[0].0.address, &request("GET", "/api/v1/public/metrics", None, None)).await?;
    ensure!(String::from_utf8_lossy(&metrics).contains("usage_events_dropped_total 0"), "uses were dropped");
    let [with, without] = servers.map(|(_, rates)| median(rates.into_iter().map(crate::report::count)));
    println!("\n{}: {ME}, {} × {} s each", site.engine.name(), options.rounds, options.seconds);
    println!("counted {with:.0} per s, not counted {without:.0} per s: {:.3}; none dropped", with / without);
    Ok(())
}

async fn record(engine: Engine, database: &str, options: &Options) -> Result<()> {
    add_users(engine, database, USERS).await?;
    let vars = [
        ("DATABASE_URL", database),
        ("SECRET_KEY", "a-service-secret-for-benchmarks-of-32-characters"),
        ("AUTH_PROVIDER", "custom"),
        ("OAUTH_JWT_SECRET", JWT_SECRET),
    ];
    let env = Env::from_vars(vars.map(|(name, value)| (name.to_owned(), value.to_owned())));
    let config = Config::load(env, &features::all()).map_err(|found| anyhow::anyhow!("{:?}", found.problems))?.config;
    let app = App::new(config, Clock::System, features::all()).await?;
    let feature = app.features.iter().find(|feature| feature.name() == "usage").context("the feature is installed")?;
    let users: Vec<UserId> = (0..USERS).filter_map(|n| UserId::parse(&format!("busy-{n}"))).collect();
    let labels: Vec<Labels> = (0..20).map(|n| [format!("endpoint:/api/v1/app/{n}"), "method:GET".to_owned()].into()).collect();
    let stop = CancellationToken::new();
    let recording = async {
        let mut ticks = interval(Duration::from_millis(5));
        ticks.set_missed_tick_behavior(MissedTickBehavior::Burst);
        let (began, mut sent, mut spent) = (Instant::now(), 0_u64, Duration::ZERO);
        while began.elapsed() < Duration::from_secs(options.seconds) {
            ticks.tick().await;
            let start = Instant::now();
            for user in users.iter().cycle().skip(usize::try_from(sent % USERS).unwrap_or(0)).take(usize::try_from(RATE / 200).unwrap_or(0))
            {
                app.usage.record(Some(user), Metric::ApiRequests, 1, &labels[usize::try_from(sent % 20).unwrap_or(0)]);
                sent += 1;
            }
            spent += start.elapsed();
        }
        let rate = u128::from(sent) * 1000 / began.elapsed().as_millis().max(1);
        stop.cancel();
        (sent, rate, spent)
    };
    let ((sent, rate, spent), ()) = tokio::join!(recording, feature.run(&app, stop.clone()));
    let stored = engine
        .number(database, "SELECT CAST(SUM(quantity) AS BIGINT) FROM usage_records WHERE period_type = 'daily' AND user_id LIKE 'busy-%'")
        .await?;
    ensure!(u64::try_from(stored)? == sent, "{stored} of {sent} events are stored");
    let each = spent.as_nanos() / u128::from(sent.max(1));
    println!("{}: {sent} events of {USERS} users at {rate} per s, all stored; recording one takes {each} ns", engine.name());
    app.close().await;
    Ok(())
}

async fn figures(site: &Site, options: &Options, database: &str, failures: &mut Failures) -> Result<()> {
    fill(site.engine, database).await?;
    let server = Server::start(site, Role::Ours, database).await?;
    let rows = site.engine.number(database, "SELECT COUNT(*) FROM usage_records").await?;
    println!("{}: {rows} rows of usage, one connection", site.engine.name());
    let admin = token("the-admin")?;
    call_json(server.address, &request("GET", ME, Some(&admin), None)).await?;
    site.engine.execute(database, "UPDATE users SET role = 'admin' WHERE id = 'the-admin'").await?;
    tokio::time::sleep(Duration::from_secs(6)).await;
    for path in ["top-users?metric=api_requests&limit=100", "summary/whole-year?days=365", "summary/busy-7?days=90"] {
        let load = Load { connections: 1, ..options.load() };
        let tally = drive(server.address, load, request("GET", &format!("/api/v1/admin/usage/{path}"), Some(&admin), None)).await?;
        failures.note(&tally);
        println!("{path:<42} p50 {:>7.2} ms, p99 {:>7.2} ms", millis(tally.latencies.quantile(500)), millis(tally.latencies.quantile(990)));
    }
    Ok(())
}

async fn add_users(engine: Engine, database: &str, users: u64) -> Result<()> {
    let values: Vec<_> = (0..users).map(|n| format!("('busy-{n}', 'busy-{n}@example.com')")).collect();
    engine.execute(database, &format!("INSERT INTO users (id, email) VALUES {} ON CONFLICT DO NOTHING", values.join(", "))).await
}

/// A million rows of many users, and one user with nine metrics on every day of a year.
async fn fill(engine: Engine, database: &str) -> Result<()> {
    add_users(engine, database, BUSY).await?;
    engine.execute(database, "INSERT INTO users (id, email) VALUES ('whole-year', 'whole-year@example.com')").await?;
    let names = "VALUES ('api_requests'), ('ai_tokens'), ('ai_requests'), ('file_uploads'), ('storage_bytes'), ('file_downloads'),
        ('email_sent'), ('background_jobs'), ('websocket_messages')";
    let breakdown = r#"'{"endpoint:/api/v1/app/projects": 5, "endpoint:/api/v1/app/users/me": 5, "method:GET": 8, "method:POST": 2}'"#;
    let columns = "INSERT INTO usage_records (id, user_id, metric, quantity, period_start, period_end, period_type, breakdown)";
    let (few, all) = ("WHERE metric IN ('api_requests', 'ai_tokens', 'ai_requests', 'file_uploads', 'storage_bytes')", "");
    for (who, days, which) in [("LIKE 'busy-%'", 100, few), ("= 'whole-year'", 365, all)] {
        let text = match engine {
            Engine::Postgres => format!(
                "{columns} SELECT gen_random_uuid()::text, u.id, metric, 10 + ascii(right(u.id, 1)), day, day + interval '1 day', 'daily', {breakdown}
                 FROM users u, ({names}) AS m (metric), generate_series(0, {days} - 1) AS n,
                    LATERAL (SELECT date_trunc('day', now(), 'UTC') - n * interval '1 day' AS day) AS days {which} {} u.id {who} ON CONFLICT DO NOTHING",
                if which.is_empty() { "WHERE" } else { "AND" }
            ),
            Engine::Sqlite => format!(
                "{columns} WITH RECURSIVE numbers (n) AS (SELECT 0 UNION ALL SELECT n + 1 FROM numbers WHERE n < {days} - 1), m (metric) AS ({names})
                 SELECT lower(hex(randomblob(16))), u.id, metric, 10 + unicode(substr(u.id, -1)), date('now', -n || ' days') || 'T00:00:00+00:00',
                    date('now', (1 - n) || ' days') || 'T00:00:00+00:00', 'daily', {breakdown}
                 FROM users u, m, numbers {which} {} u.id {who} ON CONFLICT DO NOTHING",
                if which.is_empty() { "WHERE" } else { "AND" }
            ),
        };
        engine.execute(database, &text).await?;
    }
    let (id, month) = match engine {
        Engine::Postgres => (
            "gen_random_uuid()::text",
            "date_trunc('month', period_start, 'UTC'), date_trunc('month', period_start, 'UTC') + interval '1 month'",
        ),
        Engine::Sqlite => (
            "lower(hex(randomblob(16)))",
            "strftime('%Y-%m-01T00:00:00+00:00', period_start), strftime('%Y-%m-01T00:00:00+00:00', period_start, 'start of month', '1 month')",
        ),
    };
    let months = format!(
        "{columns} SELECT {id}, user_id, metric, SUM(quantity), {month}, 'monthly', '{{}}' FROM usage_records
         WHERE period_type = 'daily' GROUP BY user_id, metric, 5, 6 ON CONFLICT DO NOTHING"
    );
    engine.execute(database, &months).await?;
    engine.execute(database, "ANALYZE").await
}
