//! SMTP by lettre: one message with both parts, under a Message-ID that follows from the mail's key.

use std::time::Duration;

use async_trait::async_trait;
use lettre::message::{Mailbox, MultiPart};
use lettre::transport::smtp::Error;
use lettre::transport::smtp::authentication::Credentials;
use lettre::transport::smtp::client::{Tls, TlsParameters};
use lettre::{Address, AsyncSmtpTransport, AsyncTransport, Message, Tokio1Executor};
use tokio::time::Instant;

use super::server::{NAME, Server};
use crate::platform::crypto;
use crate::platform::outgoing::{AccountProblem, Retry, Service};
use crate::providers::email::address::{one_line, told};
use crate::providers::email::message::{Email, Sent};
use crate::providers::email::provider::EmailProvider;
use crate::providers::{LibraryFailure, ProviderError};

/// Time limit of one mail. Shorter than that of its caller, so that the circuit breaker sees the failure of a server that does not
/// answer.
const MAIL: Duration = Duration::from_secs(28);
/// Time limit of one command.
const COMMAND: Duration = Duration::from_secs(20);

pub struct Smtp {
    transport: AsyncSmtpTransport<Tokio1Executor>,
    service: Service,
}

impl Smtp {
    pub fn new(server: Server, service: Service) -> Result<Self, ProviderError> {
        let tls = || TlsParameters::new(server.host.clone()).map_err(|_| ProviderError::NotConfigured("TLS for smtp"));
        let tls = match (server.implicit_tls, server.loopback) {
            (true, _) => Tls::Wrapper(tls()?),
            (false, false) => Tls::Required(tls()?),
            // Traffic to the loopback interface does not leave this machine.
            (false, true) => Tls::None,
        };
        let mut builder = AsyncSmtpTransport::<Tokio1Executor>::builder_dangerous(server.host).port(server.port).tls(tls);
        if let Some((user, password)) = server.user {
            builder = builder.credentials(Credentials::new(user, password));
        }
        Ok(Self { transport: builder.timeout(Some(COMMAND)).build(), service })
    }
}

#[async_trait]
impl EmailProvider for Smtp {
    fn name(&self) -> &'static str {
        NAME
    }

    async fn send(&self, mail: &Email) -> Result<Sent, ProviderError> {
        let id = message_id(mail)?;
        let message = message(mail, &id)?;
        // Once: servers do not know a mail that they have by its Message-ID. Its job tries again.
        let once = Retry { times: 0, ..Retry::until(Instant::now() + MAIL) };
        let send = || async { self.transport.send(message.clone()).await.map_err(|error| self.failed(&error)) };
        self.service.run(once, send).await.map_err(|failure| failure.error)?;
        self.service.account_problem(None);
        Ok(Sent { message_id: id })
    }
}

impl Smtp {
    /// Permanent: 5yz replies, and errors in the message or in our settings. All others are transient. A 4yz reply is about the
    /// mail or its recipient, except 421, by which a server ends its service (RFC 5321, section 3.8).
    fn failed(&self, error: &Error) -> LibraryFailure {
        let status = error.status().map(u16::from);
        if status == Some(535) {
            self.service.account_problem(Some(AccountProblem::KeyRefused));
        }
        let message = format!("{NAME}: {}", told(&error.to_string()));
        if error.is_permanent() || error.is_client() {
            return LibraryFailure { error: ProviderError::Rejected(message), vendor_works: status.map(|_| true) };
        }
        LibraryFailure {
            error: ProviderError::Transient { message, retry_after: None },
            vendor_works: Some(status.is_some_and(|status| status != 421)),
        }
    }
}

/// The same for each attempt, so that duplicates can be recognised.
fn message_id(mail: &Email) -> Result<String, ProviderError> {
    let unique = match &mail.key {
        Some(key) => crypto::hash(&[b"message-id", key.as_bytes()])[..16].to_vec(),
        None => {
            crypto::random::<16>().map_err(|error| ProviderError::Transient { message: error.to_string(), retry_after: None })?.to_vec()
        }
    };
    let host = mail.from.address.rsplit_once('@').map_or("localhost", |(_, host)| host);
    Ok(format!("<{}@{host}>", crypto::hex(&unique)))
}

fn message(mail: &Email, id: &str) -> Result<Message, ProviderError> {
    let address = |whose: &str, text: &str| {
        text.parse::<Address>().map_err(|_| ProviderError::Rejected(format!("the {whose} is not an e-mail address")))
    };
    let name = one_line(&mail.from.name);
    let from = Mailbox::new((!name.is_empty()).then_some(name), address("sender", &mail.from.address)?);
    Message::builder()
        .message_id(Some(id.to_owned()))
        .from(from)
        .to(Mailbox::new(None, address("recipient", &mail.to)?))
        .subject(mail.subject.as_str())
        .multipart(MultiPart::alternative_plain_html(mail.text.clone(), mail.html.clone()))
        .map_err(|_| ProviderError::Rejected(format!("{NAME}: the message cannot be made")))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::platform::email_address::EmailAddress;

    proptest! {
        /// One rule: what can be registered can be sent to.
        #[test]
        fn accepted_address_is_accepted_by_the_library(text in "[a-zA-Z0-9!#'*+/=?^_`{|}~.-]{1,66}@([a-zäß0-9-]{1,64}\\.){0,3}[a-zж0-9-]{1,8}") {
            if let Some(address) = EmailAddress::parse(&text) {
                prop_assert!(address.as_str().parse::<Address>().is_ok(), "{}", address.as_str());
            }
        }
    }
}
