//! Lists over many rows: whether the cost of a page depends on the number of rows, and the cost of an exact total.
//!
//! The rows are inserted directly into the database while no server runs. The pages are requested over HTTP on one connection, so
//! that the difference of two medians is the difference in cost.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use serde_json::Value;
use sqlx::sqlite::SqliteConnectOptions;
use sqlx::{ConnectOptions, Connection as _, PgConnection};
use url::form_urlencoded;

use crate::driver::{Connection, Load, call_json, drive, excerpt, request};
use crate::report::{Failures, median, millis};
use crate::servers::{Engine, Role, Server, Site};
use crate::{ME, Options, PROJECTS, token};

const FEW: u32 = 1_000;
const SOME: u32 = 10_000;
const MANY: u32 = 1_000_000;
/// Page size while advancing to a deep cursor; measured pages have the default size of 20.
const STRIDE: u32 = 100;

const INTO_POSTGRES: &str = "
    INSERT INTO projects (id, name, name_folded, description, owner_id, created_at, updated_at)
    SELECT gen_random_uuid()::text, 'Project ' || n, 'project ' || n, 'one of many', $1, made, made
    FROM generate_series(1, $2) AS n,
        LATERAL (SELECT timestamptz '2025-01-01 00:00:00.123456+00' + n * interval '1 second' AS made) AS times";

const INTO_SQLITE: &str = "
    WITH RECURSIVE numbers (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM numbers WHERE n < $2),
        rows (n, bits, made) AS (
            SELECT n, lower(hex(randomblob(16))),
                strftime('%Y-%m-%dT%H:%M:%S', 1735689600 + n, 'unixepoch') || '.123456+00:00'
            FROM numbers)
    INSERT INTO projects (id, name, name_folded, description, owner_id, created_at, updated_at)
    SELECT substr(bits, 1, 8) || '-' || substr(bits, 9, 4) || '-4' || substr(bits, 14, 3) || '-a'
            || substr(bits, 18, 3) || '-' || substr(bits, 21),
        'Project ' || n, 'project ' || n, 'one of many', $1, made, made
    FROM rows";

/// Measured requests, in the order of the table.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Page {
    First(u32),
    Deep(u32),
    WithTotal(u32),
}

impl Page {
    const ALL: [Self; 6] =
        [Self::First(FEW), Self::First(MANY), Self::Deep(FEW), Self::Deep(MANY), Self::WithTotal(SOME), Self::First(SOME)];

    fn name(self) -> &'static str {
        match self {
            Self::First(_) => "first page by cursor",
            Self::Deep(_) => "page by cursor, half way",
            Self::WithTotal(_) => "first page with total",
        }
    }

    fn rows(self) -> u32 {
        match self {
            Self::First(rows) | Self::Deep(rows) | Self::WithTotal(rows) => rows,
        }
    }
}

pub async fn run(site: &mut Site, options: &Options) -> Result<bool> {
    let database = site.database(Role::Ours).await?;
    let mut tokens = BTreeMap::new();
    let server = Server::start(site, Role::Ours, &database).await?;
    for rows in [FEW, SOME, MANY] {
        let token = token(&owner(rows))?;
        call_json(server.address, &request("GET", ME, Some(&token), None)).await?;
        tokens.insert(rows, token);
    }
    drop(server);
    let filling = Instant::now();
    fill(site.engine, &database).await?;
    eprintln!("{}: {} rows in {:.0?}", site.engine.name(), FEW + SOME + MANY, filling.elapsed());

    let mut server = Server::start(site, Role::Ours, &database).await?;
    let mut requests = Vec::new();
    for page in Page::ALL {
        let token = tokens.get(&page.rows()).context("an owner without a token")?;
        let path = match page {
            Page::First(_) => format!("{PROJECTS}?cursor="),
            Page::Deep(rows) => format!("{PROJECTS}?cursor={}", half_way(server.address, token, rows).await?),
            Page::WithTotal(rows) => {
                let list = call_json(server.address, &request("GET", PROJECTS, Some(token), None)).await?;
                ensure!(list["total"] == rows, "the list of {rows} rows says total {}", list["total"]);
                PROJECTS.to_owned()
            }
        };
        requests.push((page, request("GET", &path, Some(token), None)));
    }

    let load = Load { connections: 1, ..options.load() };
    let mut latencies: BTreeMap<Page, Vec<Duration>> = BTreeMap::new();
    let mut failures = Failures::default();
    for round in 0..options.rounds {
        eprintln!("{}: round {} of {} (pages)", site.engine.name(), round + 1, options.rounds);
        for (page, request) in &requests {
            let outcome = drive(server.address, load, request.clone()).await;
            server.check()?;
            let tally = outcome?;
            failures.note(&tally);
            latencies.entry(*page).or_default().push(tally.latencies.quantile(500));
        }
        requests.reverse();
    }
    drop(server);

    let p50 = |page| latencies.get(&page).map_or(f64::NAN, |all| median(all.iter().copied().map(millis)));
    println!(
        "\n{}: lists, {} × {} s for each, one connection; medians over the rounds\n",
        site.engine.name(),
        options.rounds,
        options.seconds
    );
    println!("{:<26}{:>12}{:>9}", "", "owner's rows", "p50 ms");
    for page in Page::ALL {
        println!("{:<26}{:>12}{:>9.3}", page.name(), page.rows(), p50(page));
    }
    println!("\nfirst page, {MANY} rows ÷ {FEW} rows: {:.2}", p50(Page::First(MANY)) / p50(Page::First(FEW)));
    println!("half way down, {MANY} rows ÷ {FEW} rows: {:.2}", p50(Page::Deep(MANY)) / p50(Page::Deep(FEW)));
    println!("half way down ÷ first page, {MANY} rows: {:.2}", p50(Page::Deep(MANY)) / p50(Page::First(MANY)));
    let total = p50(Page::WithTotal(SOME)) - p50(Page::First(SOME));
    println!("an exact total over {SOME} rows costs {:+.0} µs", total * 1000.0);
    failures.tell("pages");
    Ok(failures.none())
}

/// Returns the id of the user with this many projects.
fn owner(rows: u32) -> String {
    format!("owner-of-{rows}")
}

async fn fill(engine: Engine, database: &str) -> Result<()> {
    match engine {
        Engine::Postgres => {
            let mut connection = PgConnection::connect(database).await?;
            for rows in [FEW, SOME, MANY] {
                let rows_wanted = i32::try_from(rows)?;
                sqlx::query(INTO_POSTGRES).bind(owner(rows)).bind(rows_wanted).execute(&mut connection).await?;
            }
            // Otherwise autovacuum would run during the measurement.
            sqlx::raw_sql("VACUUM (ANALYZE) projects").execute(&mut connection).await?;
            connection.close().await?;
        }
        Engine::Sqlite => {
            let path = database.strip_prefix("sqlite:///").context("not a SQLite database")?;
            let mut connection = SqliteConnectOptions::new().filename(path).connect().await?;
            for rows in [FEW, SOME, MANY] {
                sqlx::query(INTO_SQLITE).bind(owner(rows)).bind(rows).execute(&mut connection).await?;
            }
            sqlx::raw_sql("PRAGMA wal_checkpoint(TRUNCATE)").execute(&mut connection).await?;
            connection.close().await?;
        }
    }
    Ok(())
}

/// Returns the cursor in the middle of an owner's rows, by following the pages as a client does.
async fn half_way(address: SocketAddr, token: &str, rows: u32) -> Result<String> {
    let mut connection = Connection::open(address).await?;
    let mut cursor = String::new();
    for page in 0..rows / 2 / STRIDE {
        let path = format!("{PROJECTS}?cursor={cursor}&limit={STRIDE}");
        let answer = connection.send(&request("GET", &path, Some(token), None)).await?;
        ensure!(answer.is_success(), "page {page} of {rows} rows: {} {}", answer.status, excerpt(answer.body));
        let body: Value = serde_json::from_slice(answer.body)?;
        let items = body["items"].as_array().map_or(0, Vec::len);
        ensure!(items == usize::try_from(STRIDE)?, "page {page} of {rows} rows has {items} items");
        let next = body["next_cursor"].as_str().with_context(|| format!("page {page} of {rows} rows is the last"))?;
        cursor = form_urlencoded::byte_serialize(next.as_bytes()).collect();
    }
    Ok(cursor)
}
