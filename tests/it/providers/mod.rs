//! Tests of each vendor against a local stub server. Every file in this folder becomes a module automatically.

automod::dir!("tests/it/providers");

use omnistack::providers::ProviderError;
use omnistack::providers::email::mailer::{Content, Outgoing};
use omnistack::providers::email::message::Sent;
use serde_json::json;

use crate::harness::TestApp;

/// A welcome mail to Ada with an idempotency key.
fn welcome() -> Outgoing {
    Outgoing {
        to: "ada@example.com".to_owned(),
        subject: "Welcome".to_owned(),
        content: Content::Template { name: "welcome".to_owned(), data: json!({"name": "Ada"}) },
        from: None,
        key: Some("job-1".to_owned()),
    }
}

async fn send(t: &TestApp, mail: Outgoing) -> Result<Sent, ProviderError> {
    t.app.mailer.send(mail, t.clock.now()).await
}

/// `Retry-After` in seconds and message of a transient error; panics on any other result.
#[track_caller]
fn transient(sent: Result<Sent, ProviderError>) -> (Option<u64>, String) {
    match sent {
        Err(ProviderError::Transient { message, retry_after }) => (retry_after.map(|pause| pause.as_secs()), message),
        other => panic!("{other:?}"),
    }
}

/// Message of a permanent error; panics on any other result.
#[track_caller]
fn rejected(sent: Result<Sent, ProviderError>) -> String {
    match sent {
        Err(ProviderError::Rejected(message)) => message,
        other => panic!("{other:?}"),
    }
}
