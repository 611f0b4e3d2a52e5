//! Vendors, each against a stand-in that speaks as it does. A file here is picked up by its name alone.

automod::dir!("tests/it/providers");

use omnistack::providers::ProviderError;
use omnistack::providers::email::mailer::{Content, Outgoing};
use omnistack::providers::email::message::Sent;
use serde_json::json;

use crate::harness::TestApp;

/// A welcome mail to Ada under a key.
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

/// Seconds to wait, and the message, of an error after which another try may help.
#[track_caller]
fn transient(sent: Result<Sent, ProviderError>) -> (Option<u64>, String) {
    match sent {
        Err(ProviderError::Transient { message, retry_after }) => (retry_after.map(|pause| pause.as_secs()), message),
        other => panic!("{other:?}"),
    }
}

/// The message of an error that is final.
#[track_caller]
fn rejected(sent: Result<Sent, ProviderError>) -> String {
    match sent {
        Err(ProviderError::Rejected(message)) => message,
        other => panic!("{other:?}"),
    }
}
