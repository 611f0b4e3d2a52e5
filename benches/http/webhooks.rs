//! `--webhooks`: signed subscription events of many customers, each a new one, as fast as the server takes them and at a fixed
//! rate. Every event is recorded and applied: the subscription, the user's plan and the mark are one transaction.

use std::fmt::Write;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use anyhow::{Result, ensure};
use aws_lc_rs::hmac;
use tokio::task::JoinSet;
use tokio::time::{MissedTickBehavior, interval};

use crate::Options;
use crate::driver::{Connection, Tally, gather};
use crate::report::{Failures, millis};
use crate::servers::{Engine, Role, Server, Site};

const SECRET: &str = "whsec_bench";
/// Customers whose subscriptions change in turn.
const CUSTOMERS: u64 = 1000;
/// Events per second of the second measurement.
const RATE: u32 = 1000;
/// Connections of the first measurement.
const CONNECTIONS: usize = 32;

pub async fn run(site: &mut Site, options: &Options) -> Result<bool> {
    let database = site.database(Role::Ours).await?;
    drop(Server::start(site, Role::Ours, &database).await?);
    add_customers(site.engine, &database).await?;
    let variables = [("STRIPE_WEBHOOK_SECRET", SECRET.to_owned()), ("RATE_LIMIT_WEBHOOK", "100000000/minute".to_owned())];
    let server = Server::start_with(site, Role::Ours, &database, &variables).await?;
    let length = Duration::from_secs(options.seconds);
    let events = Arc::new(Events::default());

    println!("\n{}: signed events of {CUSTOMERS} customers\n{:<26}{:>10}{:>10}{:>10}", site.engine.name(), "", "per s", "p50 ms", "p99 ms");
    let mut failures = Failures::default();
    for (what, tally) in [
        (format!("{CONNECTIONS} connections"), saturated(&server, &events, length).await?),
        (format!("at {RATE}/s"), at_rate(&server, &events, length).await?),
    ] {
        let latencies = &tally.latencies;
        let per_second = latencies.total() / options.seconds;
        println!("{what:<26}{per_second:>10}{:>10.2}{:>10.2}", millis(latencies.quantile(500)), millis(latencies.quantile(990)));
        failures.note(&tally);
    }
    failures.tell("events");
    let (recorded, subscriptions) = count(site.engine, &database).await?;
    let sent = events.next.load(Ordering::SeqCst);
    println!("{recorded} of {sent} events are recorded, in {subscriptions} subscriptions");
    ensure!(recorded == sent && subscriptions == CUSTOMERS.min(sent), "events were lost");
    Ok(failures.none())
}

/// Makes each event once.
#[derive(Default)]
struct Events {
    next: AtomicU64,
}

impl Events {
    /// The request of the next event: an update of the next customer's subscription.
    fn request(&self) -> Vec<u8> {
        let n = self.next.fetch_add(1, Ordering::SeqCst);
        let (customer, turn) = (n % CUSTOMERS, n / CUSTOMERS);
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
        let (created, end) = (now - 1_000_000 + turn, now + 2_592_000);
        let body = format!(
            r#"{{"id":"evt_{n}","object":"event","type":"customer.subscription.updated","created":{created},"data":{{"object":{{"id":"sub_{customer}","object":"subscription","customer":"cus_{customer}","status":"active","cancel_at_period_end":false,"cancel_at":null,"metadata":{{}},"items":{{"object":"list","data":[{{"id":"si_{customer}","current_period_end":{end},"price":{{"id":"price_bench"}}}}]}}}}}}}}"#
        );
        let key = hmac::Key::new(hmac::HMAC_SHA256, SECRET.as_bytes());
        let mut signature = String::new();
        for byte in hmac::sign(&key, format!("{now}.{body}").as_bytes()).as_ref() {
            // Writing to a String cannot fail.
            let _ = write!(signature, "{byte:02x}");
        }
        let head = format!(
            "POST /api/v1/public/webhooks/stripe HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\n\
             Stripe-Signature: t={now},v1={signature}\r\nContent-Length: {}\r\n\r\n",
            body.len()
        );
        (head + &body).into_bytes()
    }
}

async fn saturated(server: &Server, events: &Arc<Events>, length: Duration) -> Result<Tally> {
    let (until, mut tasks) = (Instant::now() + length, JoinSet::new());
    for _ in 0..CONNECTIONS {
        let (events, mut connection) = (Arc::clone(events), Connection::open(server.address).await?);
        tasks.spawn(async move {
            let mut tally = Tally::default();
            while Instant::now() < until {
                send(&mut connection, &events, &mut tally).await;
            }
            Ok(tally)
        });
    }
    gather(tasks, length).await
}

async fn at_rate(server: &Server, events: &Arc<Events>, length: Duration) -> Result<Tally> {
    let mut ticks = interval(Duration::from_secs(1) / RATE);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Burst);
    let (until, mut tasks) = (Instant::now() + length, JoinSet::new());
    while Instant::now() < until {
        ticks.tick().await;
        tasks.spawn(one(server.address, Arc::clone(events)));
    }
    gather(tasks, length).await
}

/// Sends one event over a connection of its own, as a vendor may.
async fn one(address: SocketAddr, events: Arc<Events>) -> Result<Tally> {
    let (mut tally, mut connection) = (Tally::default(), Connection::open(address).await?);
    send(&mut connection, &events, &mut tally).await;
    Ok(tally)
}

async fn send(connection: &mut Connection, events: &Events, tally: &mut Tally) {
    let (request, asked) = (events.request(), Instant::now());
    match connection.send(&request).await {
        Ok(answer) if answer.is_success() => tally.latencies.record(asked.elapsed()),
        Ok(answer) => tally.note_refusal(&answer),
        Err(error) => tally.note_break(&error),
    }
}

/// Adds the customers as users.
async fn add_customers(engine: Engine, database: &str) -> Result<()> {
    let values: Vec<_> = (0..CUSTOMERS).map(|n| format!("('customer-{n}', 'customer-{n}@example.com', 'cus_{n}')")).collect();
    engine.execute(database, &format!("INSERT INTO users (id, email, stripe_customer_id) VALUES {}", values.join(", "))).await
}

/// The processed events and the active subscriptions.
async fn count(engine: Engine, database: &str) -> Result<(u64, u64)> {
    let events = engine.number(database, "SELECT COUNT(*) FROM webhook_events WHERE status = 'processed'").await?;
    let subscriptions = engine.number(database, "SELECT COUNT(*) FROM subscriptions WHERE status = 'active'").await?;
    Ok((events.try_into()?, subscriptions.try_into()?))
}
