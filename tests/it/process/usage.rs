//! Usage across the ends of the process: a stop loses nothing, a kill at most what was not stored yet, and nothing counts twice.

use futures_util::future::join_all;

use super::rolling::{place, token};
use crate::harness::database::{Database, connect};
use crate::harness::process::until;
use crate::harness::{Backend, Client};

crate::on_both_backends![stopped_server_has_stored_every_request, killed_servers_lose_only_the_last_moment];

/// Sends requests side by side, all of which succeed.
async fn ask(client: &Client, requests: usize) {
    join_all((0..requests).map(|_| async { client.get("/app/users/me").await.expect(200) })).await;
}

/// The requests that are stored, as their days and as their months: one statement, because a server may be storing more.
async fn counted(database: &Database) -> i64 {
    let (db, _) = connect(&database.url).await;
    let sums = database
        .texts(
            &db,
            "SELECT CAST(COALESCE(SUM(CASE WHEN period_type = 'daily' THEN quantity END), 0) AS TEXT) || ' ' ||
                CAST(COALESCE(SUM(CASE WHEN period_type = 'monthly' THEN quantity END), 0) AS TEXT)
             FROM usage_records WHERE metric = 'api_requests'",
        )
        .await;
    db.close().await;
    let (daily, monthly) = sums[0].split_once(' ').unwrap();
    assert_eq!(daily, monthly);
    daily.parse().unwrap()
}

async fn stopped_server_has_stored_every_request(b: Backend) {
    let database = Database::create(b).await;
    let place = place(&database).with("LOG_LEVEL", "INFO");
    for round in 1..=3 {
        let mut server = place.serve().await;
        ask(&server.client(Some(token())), 50).await;
        server.signal("TERM");
        server.ended().await;
        assert_eq!(counted(&database).await, 50 * round);
    }
}

async fn killed_servers_lose_only_the_last_moment(b: Backend) {
    let database = Database::create(b).await;
    let place = place(&database).with("LOG_LEVEL", "INFO");
    let (mut sent, mut safe) = (0, 0);
    for round in 0..6_usize {
        let mut server = place.serve().await;
        let client = server.client(Some(token()));
        ask(&client, 40).await;
        sent += 40;
        if round % 2 == 0 {
            until("the requests are stored", async || (counted(&database).await == sent).then_some(())).await;
            safe = sent;
        }
        ask(&client, 5).await;
        sent += 5;
        server.signal("KILL");
        server.ended().await;
        let counted = counted(&database).await;
        assert!((safe..=sent).contains(&counted), "{counted} of {sent}, of which {safe} must not be lost");
        // What this kill lost, and no more, is lost.
        (sent, safe) = (counted, counted);
    }
    let server = place.serve().await;
    let client = server.client(Some(token()));
    let total = until("the count is shown", async || {
        client.get("/app/usage/summary").await.expect(200)["metrics"]["api_requests"]["total"].as_i64()
    })
    .await;
    assert!(total >= safe, "{total}");
}
