//! Cost of the AI gateway: time that it adds to an answer and to each piece of a stream at a fixed rate of requests, and memory of
//! many streams at once.
//!
//! The vendor is a stub (`vendor.rs`) that says when it read a request and wrote an answer. So its own time is subtracted from each
//! answer exactly, and the rest is compared with the same request sent to the stub directly. Token, quota, rate limit and metrics
//! are on. The load is open: requests are sent at their time, whether or not earlier ones are answered.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use sqlx::{Connection as _, Executor, PgConnection, SqliteConnection};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio::time::{MissedTickBehavior, interval, sleep};

use crate::driver::{Connection, Histogram, Tally, call_json, gather, request};
use crate::report::{Failures, mebibytes, millis};
use crate::servers::{Engine, Role, Server, Site};
use crate::vendor::{self, Script, Vendor};
use crate::{ME, Options, SUBJECT, token};

/// A vendor takes its time; with it, several requests are under way at once.
const STEADY: Script = Script { think: Duration::from_millis(20), pieces: 10, pause: Duration::from_millis(20) };
/// Streams of the memory measurement last 15 s.
const CROWD: Script = Script { think: Duration::from_millis(20), pieces: 30, pause: Duration::from_millis(500) };
/// Requests before the first counted ones: caches and connections to the vendor.
const WARM_UP: Duration = Duration::from_secs(1);
/// Longest time between two reads of a stream.
const PATIENCE: Duration = Duration::from_secs(20);

/// A way to the stub, and the requests to send there.
struct Route {
    name: &'static str,
    address: SocketAddr,
    whole: Arc<[u8]>,
    streamed: Arc<[u8]>,
    answers: Tally,
    first_pieces: Tally,
    later_pieces: Histogram,
}

impl Route {
    fn new(name: &'static str, address: SocketAddr, path: &str, token: Option<&str>) -> Self {
        let body = |stream: bool| {
            format!(r#"{{"model":"bench","messages":[{{"role":"user","content":"How long does this take?"}}],"stream":{stream}}}"#)
        };
        Self {
            name,
            address,
            whole: request("POST", path, token, Some(&body(false))).into(),
            streamed: request("POST", path, token, Some(&body(true))).into(),
            answers: Tally::default(),
            first_pieces: Tally::default(),
            later_pieces: Histogram::default(),
        }
    }

    fn through(server: &Server, token: &str) -> Self {
        Self::new("gateway", server.address, "/api/v1/app/ai/completions", Some(token))
    }

    fn direct(vendor: &Vendor) -> Self {
        Self::new("direct", vendor.address, "/v1/chat/completions", None)
    }
}

pub async fn run(site: &mut Site, options: &Options) -> Result<bool> {
    let database = site.database(Role::Ours).await?;
    let token = token(SUBJECT)?;
    let server = Server::start(site, Role::Ours, &database).await?;
    // The first request creates the user.
    call_json(server.address, &request("GET", ME, Some(&token), None)).await?;
    drop(server);
    allow_everything(site.engine, &database).await?;

    let failures = at_a_rate(site, options, &database, &token).await?;
    let crowd_failures = in_a_crowd(site, options, &database, &token).await?;
    failures.tell("at a fixed rate");
    crowd_failures.tell("streams at once");
    Ok(failures.none() && crowd_failures.none())
}

/// Gives the user a plan without limits. The quota is still counted.
async fn allow_everything(engine: Engine, database: &str) -> Result<()> {
    const UPDATE: &str = "UPDATE users SET subscription_plan = 'enterprise', subscription_status = 'active'";
    match engine {
        Engine::Postgres => PgConnection::connect(database).await?.execute(UPDATE).await.map(drop)?,
        Engine::Sqlite => SqliteConnection::connect(database).await?.execute(UPDATE).await.map(drop)?,
    }
    Ok(())
}

async fn start(site: &Site, database: &str, vendor: &Vendor) -> Result<Server> {
    let variables = [
        ("AI_DEFAULT_PROVIDER", "openai".to_owned()),
        ("OPENAI_API_KEY", "bench-key".to_owned()),
        ("OPENAI_BASE_URL", format!("http://{}/v1", vendor.address)),
        ("PLAN_LIMITS_ENABLED", "true".to_owned()),
        ("RATE_LIMIT_AI", "100000000/minute".to_owned()),
    ];
    let server = Server::start_with(site, Role::Ours, database, &variables).await?;
    sleep(Duration::from_millis(500)).await;
    Ok(server)
}

/// Whole answers, then streams, at a fixed rate; direct and through the gateway in turn.
async fn at_a_rate(site: &Site, options: &Options, database: &str, token: &str) -> Result<Failures> {
    let vendor = Vendor::start(STEADY).await?;
    let mut server = start(site, database, &vendor).await?;
    let mut routes = [Route::direct(&vendor), Route::through(&server, token)];
    let length = Duration::from_secs(options.seconds);
    // A stream of ten pieces is ten times the work.
    let streams = (options.rate / 10).max(1);
    for round in 0..options.rounds {
        eprintln!("{}: round {} of {} (AI)", site.engine.name(), round + 1, options.rounds);
        for route in &mut routes {
            let answers = whole_answers(route, options.rate, length).await;
            server.check()?;
            route.answers.add(answers?);
            let pieces = streamed_answers(route, streams, length).await;
            server.check()?;
            let (first, later) = pieces?;
            route.first_pieces.add(first);
            route.later_pieces.add(&later);
        }
        routes.reverse();
    }

    println!(
        "\n{}: AI at a fixed rate; time over the stub's own, ms; {} rounds of {} s\n",
        site.engine.name(),
        options.rounds,
        options.seconds
    );
    println!("{:<34}{:>9}{:>9}{:>9}", "", "count", "p50", "p99");
    routes.sort_by_key(|route| route.name);
    let [direct, gateway] = &routes;
    tell_pair(&format!("answers, {}/s", options.rate), &direct.answers.latencies, &gateway.answers.latencies);
    tell_pair(&format!("first pieces, {streams} streams/s"), &direct.first_pieces.latencies, &gateway.first_pieces.latencies);
    tell_pair("later pieces", &direct.later_pieces, &gateway.later_pieces);
    let mut failures = Failures::default();
    for route in &routes {
        failures.note(&route.answers);
        failures.note(&route.first_pieces);
    }
    Ok(failures)
}

fn tell_pair(what: &str, direct: &Histogram, gateway: &Histogram) {
    let figures = |histogram: &Histogram| [500, 990].map(|per_mille| millis(histogram.quantile(per_mille)));
    let ([p50, p99], [gateway_p50, gateway_p99]) = (figures(direct), figures(gateway));
    println!("{:<34}{:>9}{p50:>9.3}{p99:>9.3}", format!("{what}: direct"), direct.total());
    println!("{:<34}{:>9}{gateway_p50:>9.3}{gateway_p99:>9.3}", "  gateway", gateway.total());
    println!("{:<34}{:>9}{:>+9.3}{:>+9.3}", "  difference", "", gateway_p50 - p50, gateway_p99 - p99);
}

/// Runs `task` at a fixed rate, each run in a task of its own, and adds up what they note. Starts during the warm-up count nothing.
async fn at_rate<F>(rate: u32, length: Duration, mut task: impl FnMut(bool) -> F) -> Result<Tally>
where
    F: Future<Output = Result<Tally>> + Send + 'static,
{
    let mut ticks = interval(Duration::from_secs(1) / rate);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Burst);
    let mut tasks = JoinSet::new();
    let start = Instant::now();
    while start.elapsed() < WARM_UP + length {
        ticks.tick().await;
        tasks.spawn(task(start.elapsed() > WARM_UP));
    }
    gather(tasks, Duration::ZERO).await
}

async fn whole_answers(route: &Route, rate: u32, length: Duration) -> Result<Tally> {
    let idle = Arc::new(Mutex::new(Vec::<Connection>::new()));
    at_rate(rate, length, |counted| {
        let (idle, request, address) = (Arc::clone(&idle), Arc::clone(&route.whole), route.address);
        async move {
            let mut tally = Tally::default();
            let kept = idle.lock().unwrap_or_else(PoisonError::into_inner).pop();
            let mut connection = match kept {
                Some(connection) => connection,
                None => Connection::open(address).await?,
            };
            let asked = vendor::now();
            match connection.send(&request).await {
                Ok(answer) => {
                    let answered = vendor::now();
                    if !answer.is_success() {
                        tally.note_refusal(&answer);
                    } else if counted {
                        let [read, written] = times(answer.body)[..] else { bail!("an answer without the stub's times") };
                        tally.latencies.record(Duration::from_nanos((answered - asked).saturating_sub(written - read)));
                    }
                    idle.lock().unwrap_or_else(PoisonError::into_inner).push(connection);
                }
                Err(error) => tally.note_break(&error),
            }
            Ok(tally)
        }
    })
    .await
}

/// Returns the delays of first pieces, with failures, and of later pieces.
async fn streamed_answers(route: &Route, rate: u32, length: Duration) -> Result<(Tally, Histogram)> {
    let later = Arc::new(Mutex::new(Histogram::default()));
    let first = at_rate(rate, length, |counted| {
        let (later, request, address) = (Arc::clone(&later), Arc::clone(&route.streamed), route.address);
        async move {
            let mut tally = Tally::default();
            match stream(address, &request, STEADY.pieces, || {}).await {
                Ok(delays) if counted => {
                    let mut delays = delays.into_iter();
                    delays.next().into_iter().for_each(|delay| tally.latencies.record(delay));
                    let mut later = later.lock().unwrap_or_else(PoisonError::into_inner);
                    delays.for_each(|delay| later.record(delay));
                }
                Ok(_) => {}
                Err(error) => tally.note_break(&error),
            }
            Ok(tally)
        }
    })
    .await?;
    let later = std::mem::take(&mut *later.lock().unwrap_or_else(PoisonError::into_inner));
    Ok((first, later))
}

/// Opens many streams and watches the server's memory until they end.
async fn in_a_crowd(site: &Site, options: &Options, database: &str, token: &str) -> Result<Failures> {
    let vendor = Vendor::start(CROWD).await?;
    let mut server = start(site, database, &vendor).await?;
    let route = Route::through(&server, token);
    let idle = server.resident();
    let begun = Arc::new(Mutex::new(0_u32));
    let mut tasks = JoinSet::new();
    for _ in 0..options.streams {
        let (begun, request, address) = (Arc::clone(&begun), Arc::clone(&route.streamed), route.address);
        tasks.spawn(async move {
            let mut tally = Tally::default();
            match stream(address, &request, CROWD.pieces, || *begun.lock().unwrap_or_else(PoisonError::into_inner) += 1).await {
                Ok(delays) => delays.into_iter().for_each(|delay| tally.latencies.record(delay)),
                Err(error) => tally.note_break(&error),
            }
            Ok(tally)
        });
        // Opened within some three seconds: the backlog of the listener is not what is measured.
        sleep(Duration::from_millis(2)).await;
    }
    // The first streams last for some more seconds.
    sleep(CROWD.pause * CROWD.pieces / 3).await;
    let open = *begun.lock().unwrap_or_else(PoisonError::into_inner);
    let busy = server.resident();
    let outcome = gather(tasks, CROWD.pause * CROWD.pieces).await;
    server.check()?;
    let tally = outcome?;
    let peak = server.peak();

    println!("\n{}: {open} AI streams at once, a piece every {:?}\n", site.engine.name(), CROWD.pause);
    println!("RSS idle {} MiB, with the streams {} MiB, at its peak {} MiB", mebibytes(idle), mebibytes(busy), mebibytes(peak));
    let [p50, p99] = [500, 990].map(|per_mille| millis(tally.latencies.quantile(per_mille)));
    println!("{} pieces, after the stub sent them: p50 {p50:.3} ms, p99 {p99:.3} ms", tally.latencies.total());
    let mut failures = Failures::default();
    failures.note(&tally);
    Ok(failures)
}

/// Reads one streamed answer to its `[DONE]`; returns the delay of each piece. `began` is called at the first one.
async fn stream(address: SocketAddr, request: &[u8], pieces: u32, began: impl FnOnce()) -> Result<Vec<Duration>> {
    let mut connection = TcpStream::connect(address).await?;
    connection.set_nodelay(true)?;
    connection.write_all(request).await?;
    let mut began = Some(began);
    let mut delays = Vec::new();
    let mut unread = Vec::with_capacity(4096);
    let mut seen = 0;
    loop {
        let read = tokio::time::timeout(PATIENCE, connection.read_buf(&mut unread)).await.context("a stream was silent")??;
        let arrived = vendor::now();
        ensure!(read > 0, "a stream ended without [DONE]: {}", crate::driver::excerpt(&unread));
        if seen == 0 {
            ensure!(unread.starts_with(b"HTTP/1.1 200"), "no stream but {}", crate::driver::excerpt(&unread));
        }
        seen += read;
        // What follows the last line break may be the begin of a piece.
        let complete = unread.iter().rposition(|byte| *byte == b'\n').map_or(0, |end| end + 1);
        for sent in times(&unread[..complete]) {
            delays.push(Duration::from_nanos(arrived.saturating_sub(sent)));
            if let Some(began) = began.take() {
                began();
            }
        }
        if unread.windows(6).any(|part| part == b"[DONE]") {
            break;
        }
        unread.drain(..complete);
    }
    ensure!(delays.len() == pieces as usize, "a stream of {} pieces instead of {pieces}", delays.len());
    Ok(delays)
}

/// Returns the times of the stub in a text, written `<nanoseconds>`.
fn times(bytes: &[u8]) -> Vec<u64> {
    let text = String::from_utf8_lossy(bytes);
    text.split('<').skip(1).filter_map(|rest| rest.split_once('>')?.0.parse().ok()).collect()
}
