//! For development: nobody gets anything. On a laptop the mail is printed; elsewhere only the log says that there was one.

use async_trait::async_trait;

use super::{Email, EmailProvider, Sent};
use crate::platform::config::Env;
use crate::platform::crypto;
use crate::platform::text::{cut, mask_email};
use crate::providers::ProviderError;
use crate::providers::email::address;

/// Characters of the text that are printed.
const SHOWN: usize = 500;

pub(super) fn check(env: &mut Env) {
    if env.environment().is_production() {
        env.warning("EMAIL_PROVIDER", "is console: nobody gets any mail", "Choose who delivers it");
    }
}

pub struct Console {
    pub local: bool,
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

/// In one piece, so that two mails at a time are not mixed. A closed standard output is nobody's trouble.
fn print(mail: &Email) {
    use std::io::Write as _;
    let (from, text) = (address::shown(&mail.from), cut(&mail.text, SHOWN));
    // Control characters could make the terminal show something else than what is there.
    let text: String = text.chars().filter(|c| *c == '\n' || !c.is_control()).collect();
    let page = format!("--- e-mail ---\nFrom: {from}\nTo: {}\nSubject: {}\n\n{text}\n--------------\n", mail.to, mail.subject);
    let _ = std::io::stdout().lock().write_all(page.as_bytes());
}
