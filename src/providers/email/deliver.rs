//! Delivery of a mail to the vendor, with a time limit and metrics.

use std::time::{Duration, Instant};

use super::address;
use super::message::{Email, Sent};
use super::provider::{EmailProvider, TIMEOUT};
use crate::platform::telemetry::metrics::Metrics;
use crate::providers::ProviderError;

/// Sends a mail to the vendor. Rejects addresses that could inject headers.
pub(super) async fn deliver(provider: &dyn EmailProvider, mail: &Email, metrics: &Metrics) -> Result<Sent, ProviderError> {
    within(TIMEOUT, provider, mail, metrics).await
}

async fn within(limit: Duration, provider: &dyn EmailProvider, mail: &Email, metrics: &Metrics) -> Result<Sent, ProviderError> {
    address::check("sender", &mail.from.address)?;
    address::check("recipient", &mail.to)?;
    let started = Instant::now();
    let sent = tokio::time::timeout(limit, provider.send(mail)).await;
    let sent = sent.unwrap_or_else(|_| {
        Err(ProviderError::Transient { message: format!("{}: no answer in {} s", provider.name(), limit.as_secs()), retry_after: None })
    });
    metrics.external(provider.name(), "send", sent.is_ok(), started.elapsed().as_secs_f64());
    sent
}

#[cfg(test)]
mod tests {
    use async_trait::async_trait;

    use super::*;
    use crate::providers::email::message::Sender;

    struct Silent;

    #[async_trait]
    impl EmailProvider for Silent {
        fn name(&self) -> &'static str {
            "silent"
        }

        async fn send(&self, _mail: &Email) -> Result<Sent, ProviderError> {
            std::future::pending().await
        }
    }

    #[tokio::test]
    async fn send_without_answer_times_out_as_transient() {
        let mail = Email {
            from: Sender { name: String::new(), address: "app@example.com".to_owned() },
            to: "ada@example.com".to_owned(),
            subject: String::new(),
            html: String::new(),
            text: String::new(),
            key: None,
            template: None,
        };
        let sent = within(Duration::from_millis(1), &Silent, &mail, &Metrics::default()).await;
        assert_eq!(sent, Err(ProviderError::Transient { message: "silent: no answer in 0 s".to_owned(), retry_after: None }));
    }
}
