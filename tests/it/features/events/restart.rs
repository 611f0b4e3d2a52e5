//! A killed server loses no event of a committed change, and its log holds no ticket.

use http::Method;
use omnistack::platform::clock::Clock;

use super::{PATH, Stream};
use crate::harness::database::Database;
use crate::harness::process::Place;
use crate::harness::tokens::claims;
use crate::harness::{Backend, Client, SECRET};

crate::on_both_backends![killed_server_keeps_events_of_committed_changes];

async fn killed_server_keeps_events_of_committed_changes(b: Backend) {
    let database = Database::create(b).await;
    let place = Place::of(&database).with("LOG_LEVEL", "DEBUG");
    let token = claims("amy", &Clock::System).sign(SECRET);
    let ticket = {
        let server = place.serve().await;
        let body = server.client(Some(token.clone())).call(Method::POST, "/app/events/ticket").await.expect(200);
        body["ticket"].as_str().unwrap().to_owned()
    };
    let ask = |client: &Client| client.get(PATH).query(&[("ticket", ticket.as_str())]);
    let mut seen = String::new();
    for round in 0..3 {
        let mut server = place.serve().await;
        let client = server.client(Some(token.clone()));
        let mut stream = Stream::open(ask(&server.client(None)).header("last-event-id", &seen)).await;
        assert_eq!(stream.event().await.0, "ready");
        if round > 0 {
            assert_eq!(stream.projects(1).await, [format!("unseen {}", round - 1)]);
        }
        client.project(&format!("seen {round}")).await;
        assert_eq!(stream.projects(1).await, [format!("seen {round}")]);
        seen.clone_from(&stream.seen);
        drop(stream);
        client.project(&format!("unseen {round}")).await;
        server.signal("KILL");
        server.ended().await;
        let output = server.output();
        assert!(output.contains("/app/events") && !output.contains(&ticket[..40]) && !output.contains("ticket="), "{output}");
    }
}
