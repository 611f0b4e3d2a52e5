//! Development provider: delivers no mail. Locally it prints each mail; elsewhere it only writes a log line.

use std::sync::Arc;

use async_trait::async_trait;

use super::message::{Email, Sent};
use super::provider::EmailProvider;
use crate::platform::config::{Env, Environment};
use crate::platform::crypto;
use crate::platform::text::{cut, mask_email};
use crate::providers::ProviderError;
use crate::providers::email::address;
use crate::providers::vendor::{Outside, Vendor, VendorSettings};

/// Characters of the text that are printed.
const SHOWN: usize = 500;

pub(super) static VENDOR: Vendor<dyn EmailProvider> =
    Vendor { name: "console", read: |env| Arc::new(Console { local: env.environment() == Environment::Local }) };

#[derive(Debug, Clone)]
struct Console {
    local: bool,
}

impl VendorSettings<dyn EmailProvider> for Console {
    fn check(&self, env: &mut Env) {
        if env.environment().is_production() {
            env.warning("EMAIL_PROVIDER", "is console: no mail is delivered", "Choose a vendor that delivers it");
        }
    }

    fn connect(&self, _: &Outside) -> Result<Arc<dyn EmailProvider>, ProviderError> {
        Ok(Arc::new(self.clone()))
    }
}

#[async_trait]
impl EmailProvider for Console {
    fn name(&self) -> &'static str {
        "console"
    }

    async fn send(&self, mail: &Email) -> Result<Sent, ProviderError> {
        if self.local {
            print(mail);
        } else {
            tracing::info!(template = mail.template, to = mask_email(&mail.to), "e-mail not delivered: EMAIL_PROVIDER is console");
        }
        let id = crypto::random::<6>().map_err(|error| ProviderError::Transient { message: error.to_string(), retry_after: None })?;
        Ok(Sent { message_id: format!("console-{}", crypto::hex(&id)) })
    }
}

/// Written in one call, so that concurrent mails do not mix. A closed standard output is ignored.
fn print(mail: &Email) {
    use std::io::Write as _;
    let _ = std::io::stdout().lock().write_all(page(mail).as_bytes());
}

fn page(mail: &Email) -> String {
    let (from, text) = (address::shown(&mail.from), cut(&mail.text, SHOWN));
    // Control characters could falsify what the terminal shows.
    let text: String = text.chars().filter(|c| *c == '\n' || !c.is_control()).collect();
    format!("--- e-mail ---\nFrom: {from}\nTo: {}\nSubject: {}\n\n{text}\n--------------\n", mail.to, mail.subject)
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use super::*;
    use crate::providers::email::message::Sender;

    fn mail() -> Email {
        Email {
            from: Sender { name: "My App".to_owned(), address: "app@example.com".to_owned() },
            to: "ada@example.com".to_owned(),
            subject: "Reset".to_owned(),
            html: String::new(),
            text: format!("https://a.example/?token=hunter2\n\u{1b}[31m{}", "x".repeat(600)),
            key: None,
            template: Some("password_reset".to_owned()),
        }
    }

    #[test]
    fn console_local_prints_start_of_mail() {
        let page = page(&mail());
        assert!(page.contains("From: My App <app@example.com>\nTo: ada@example.com\nSubject: Reset\n\nhttps://a.example"), "{page}");
        // 500 in all, of which 33 are the link's line and 5 an escape that the terminal must not see as one.
        assert!(page.contains(&"x".repeat(462)) && !page.contains(&"x".repeat(463)), "{page}");
        assert!(!page.contains('\u{1b}'), "{page}");
    }

    #[derive(Clone, Default)]
    struct Sink(Arc<Mutex<Vec<u8>>>);

    impl std::io::Write for Sink {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0.lock().unwrap().write(bytes)
        }

        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    #[tokio::test]
    async fn console_outside_local_logs_no_content_or_address() {
        let sink = Sink::default();
        let writer = sink.clone();
        let log = tracing_subscriber::fmt().with_ansi(false).with_writer(move || writer.clone()).finish();
        let guard = tracing::subscriber::set_default(log);
        let sent = Console { local: false }.send(&mail()).await.unwrap();
        drop(guard);
        assert!(sent.message_id.strip_prefix("console-").is_some_and(|hex| hex.len() == 12), "{sent:?}");
        let log = String::from_utf8(sink.0.lock().unwrap().clone()).unwrap();
        assert!(log.contains("password_reset") && log.contains("a***@example.com"), "{log}");
        assert!(!log.contains("ada@") && !log.contains("hunter2") && !log.contains("Reset\""), "{log}");
    }
}
