//! Delivery of events: signed as Stripe signs them, and repeated while they are not answered 2xx.

use std::sync::Arc;
use std::time::Duration;

use futures_util::future::join_all;
use serde_json::{Value, json};
use tokio::sync::oneshot;
use tokio::time::{sleep, timeout};

use super::shared::Shared;
use super::world::{Delivery, Kind, World};
use crate::platform::crypto::{hex, hmac_sha256};
use crate::platform::outgoing::Limits;

/// How long a page waits for the first attempts, as Stripe's does.
const PATIENCE: Duration = Duration::from_secs(10);
const LONGEST_PAUSE: Duration = Duration::from_secs(3600);
/// Attempts that are kept.
const KEPT: usize = 10_000;

/// The value of `Stripe-Signature` (<https://docs.stripe.com/webhooks#verify-manually>).
pub fn signature(secret: &str, now: i64, body: &str) -> String {
    let signed = hmac_sha256(secret.as_bytes(), format!("{now}.{body}").as_bytes());
    format!("t={now},v1={}", hex(&signed))
}

/// Sends the events of the last changes. Returns when each was tried once, or after ten seconds; further attempts go on.
pub async fn send_and_wait(shared: &Arc<Shared>) {
    if let Some(tried) = send(shared) {
        let _ = timeout(PATIENCE, tried).await;
    }
}

/// Sends the events of the last changes in the background. The receiver hears when each was tried once.
pub fn send(shared: &Arc<Shared>) -> Option<oneshot::Receiver<()>> {
    let (mut events, switches) = {
        let mut world = shared.world();
        let mut events = std::mem::take(&mut world.outbox);
        if !events.is_empty() && world.switches.v2_events {
            events.push(second_version(&world));
        }
        (events, world.switches)
    };
    if events.is_empty() || shared.settings.deliver_to.is_none() {
        return None;
    }
    if switches.loss {
        let mut world = shared.world();
        for event in &events {
            note(&mut world, event, 0, Err("dropped on purpose".to_owned()));
        }
        return None;
    }
    if switches.disorder {
        events.reverse();
    }
    let (shared, (tried, receiver)) = (shared.clone(), oneshot::channel());
    let copies = if switches.duplicates { 2 } else { 1 };
    tokio::spawn(async move {
        let stop = shared.stop.clone();
        let deliver = async {
            sleep(Duration::from_millis(switches.delay_ms)).await;
            let mut failed = Vec::new();
            for event in &events {
                let sent = join_all((0..copies).map(|_| attempt(&shared, event, 1))).await;
                failed.extend(sent.into_iter().any(|accepted| !accepted).then_some(event));
            }
            // The page may have stopped waiting.
            let _ = tried.send(());
            join_all(failed.into_iter().map(|event| repeat(&shared, event))).await;
        };
        stop.run_until_cancelled(deliver).await;
    });
    Some(receiver)
}

async fn repeat(shared: &Shared, event: &Value) {
    let mut pause = shared.settings.retry_pause;
    for number in 2..=shared.settings.attempts {
        sleep(pause).await;
        if attempt(shared, event, number).await {
            return;
        }
        pause = (pause * 2).min(LONGEST_PAUSE);
    }
}

/// Sends the event once; returns whether it was accepted.
async fn attempt(shared: &Shared, event: &Value, number: u32) -> bool {
    let Some(to) = &shared.settings.deliver_to else { return true };
    let body = event.to_string();
    let signature = signature(&shared.settings.webhook_secret, shared.settings.clock.now().timestamp(), &body);
    let request = shared.service.client().post(to.clone());
    let request = request.header("content-type", "application/json; charset=utf-8").header("stripe-signature", signature).body(body);
    let sent = shared.service.send("deliver", Limits::default(), request).await;
    let accepted = sent.as_ref().is_ok_and(|answer| answer.status.is_success());
    let outcome = sent.map(|answer| answer.status.as_u16()).map_err(|error| error.to_string());
    note(&mut shared.world(), event, number, outcome);
    accepted
}

fn note(world: &mut World, event: &Value, attempt: u32, outcome: Result<u16, String>) {
    let text = |name: &str| event[name].as_str().unwrap_or_default().to_owned();
    let (status, note) = match outcome {
        Ok(status) => (Some(status), None),
        Err(note) => (None, Some(note)),
    };
    if world.deliveries.len() >= KEPT {
        world.deliveries.remove(0);
    }
    world.deliveries.push(Delivery { event: text("id"), kind: text("type"), attempt, status, note });
}

/// An event of the second version of the API: it names its object and does not hold it
/// (<https://docs.stripe.com/event-destinations#thin-events>).
fn second_version(world: &World) -> Value {
    let created = chrono::DateTime::from_timestamp(world.now(), 0).unwrap_or_default();
    json!({
        "id": Kind::Event.new_id(), "object": "v2.core.event", "type": "v1.billing.meter.error_report_triggered", "livemode": false,
        "created": created.to_rfc3339_opts(chrono::SecondsFormat::Millis, true), "context": null, "reason": null, "changes": null,
        "related_object": {"id": "mtr_fake", "type": "billing.meter", "url": "/v1/billing/meters/mtr_fake"},
        "data": {
            "developer_message_summary": "There is 1 invalid event", "reason": {"error_count": 1, "error_types": []},
            "validation_start": created, "validation_end": created
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn signature_has_time_and_scheme() {
        let signed = signature("whsec_x", 5, "{}");
        let mac = hmac_sha256(b"whsec_x", b"5.{}");
        assert_eq!(signed, format!("t=5,v1={}", hex(&mac)));
    }
}
