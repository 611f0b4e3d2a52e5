//! E-mail: what is sent and by whom. [`mailer::Mailer`] is what the rest of the server uses; a vendor is one file here, its
//! lines in `config.rs` and in [`provider`].

pub mod address;
pub mod api;
pub mod config;
pub mod console;
pub mod kept;
pub mod mailer;
pub mod resend;
pub mod sendgrid;
pub mod smtp;
pub mod template;
pub mod text;

use std::sync::Arc;
use std::time::{Duration, Instant};

use async_trait::async_trait;

use super::ProviderError;
use crate::platform::telemetry::metrics::METRICS;
pub use config::Config;
use config::Vendor;

/// The time for handing over one mail.
const TIMEOUT: Duration = Duration::from_secs(30);

/// Who a mail is from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sender {
    /// As it is displayed; may be empty.
    pub name: String,
    pub address: String,
}

/// One mail to one recipient, ready to go.
#[derive(Debug, Clone)]
pub struct Email {
    pub from: Sender,
    pub to: String,
    pub subject: String,
    pub html: String,
    pub text: String,
    /// The same for every attempt to send this mail and for no other mail.
    pub key: Option<String>,
    /// What it was made from, for logs.
    pub template: Option<String>,
}

/// What a vendor says of a mail that it took.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sent {
    pub message_id: String,
}

/// Somebody who delivers mail.
#[async_trait]
pub trait EmailProvider: Send + Sync + 'static {
    fn name(&self) -> &'static str;

    /// Hands one mail over, once: another attempt is the caller's to make.
    async fn send(&self, mail: &Email) -> Result<Sent, ProviderError>;
}

/// The configured vendor.
#[rustfmt::skip] // A line each: a vendor goes with its lines.
pub fn provider(config: &Config, client: &reqwest::Client) -> Result<Arc<dyn EmailProvider>, ProviderError> {
    match config.vendor {
        Vendor::Console => Ok(Arc::new(console::Console { local: config.local })),
        Vendor::Resend => resend::provider(&config.resend, client.clone()),
        Vendor::Sendgrid => sendgrid::provider(&config.sendgrid, client.clone()),
        Vendor::Smtp => config.smtp.provider(),
    }
}

/// Hands a mail over: refused here where an address could smuggle in a header, timed and counted otherwise.
async fn deliver(provider: &dyn EmailProvider, mail: &Email) -> Result<Sent, ProviderError> {
    within(TIMEOUT, provider, mail).await
}

async fn within(limit: Duration, provider: &dyn EmailProvider, mail: &Email) -> Result<Sent, ProviderError> {
    address::check("sender", &mail.from.address)?;
    address::check("recipient", &mail.to)?;
    let started = Instant::now();
    let sent = tokio::time::timeout(limit, provider.send(mail)).await;
    let sent = sent.unwrap_or_else(|_| {
        Err(ProviderError::Transient { message: format!("{}: no answer in {} s", provider.name(), limit.as_secs()), retry_after: None })
    });
    METRICS.external(provider.name(), "send", sent.is_ok(), started.elapsed().as_secs_f64());
    sent
}

#[cfg(test)]
mod tests {
    use super::*;

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
    async fn a_vendor_that_never_answers_is_given_up() {
        let mail = Email {
            from: Sender { name: String::new(), address: "app@example.com".to_owned() },
            to: "ada@example.com".to_owned(),
            subject: String::new(),
            html: String::new(),
            text: String::new(),
            key: None,
            template: None,
        };
        let sent = within(Duration::from_millis(1), &Silent, &mail).await;
        assert_eq!(sent, Err(ProviderError::Transient { message: "silent: no answer in 0 s".to_owned(), retry_after: None }));
    }
}
