//! Any mail server that speaks SMTP. The code that does is in the build with the cargo feature `smtp`.

mod server;
#[cfg(feature = "smtp")]
mod transport;

use std::sync::Arc;

use secrecy::{ExposeSecret, SecretString};

use super::provider::EmailProvider;
use crate::platform::config::Env;
use crate::providers::ProviderError;
use crate::providers::vendor::{Outside, Vendor, VendorSettings};
use server::{NAME, Server};

pub(super) static VENDOR: Vendor<dyn EmailProvider> = Vendor { name: NAME, read: |env| Arc::new(Settings::read(env)) };

#[derive(Debug, Clone)]
struct Settings {
    /// A secret as a whole: it holds a password.
    url: Option<SecretString>,
}

impl Settings {
    fn read(env: &mut Env) -> Self {
        let url = env
            .var(
                "SMTP_URL",
                "smtp: `smtp://user:password@host:587` (STARTTLS, unless the host is loopback) or `smtps://user:password@host:465`",
            )
            .secret(1);
        if url.as_ref().is_some_and(|url| Server::parse(url.expose_secret()).is_none()) {
            env.problem("SMTP_URL", "must be an smtp or smtps URL with a host", "Percent-encode special characters of user and password");
        }
        Self { url }
    }
}

impl VendorSettings<dyn EmailProvider> for Settings {
    fn check(&self, env: &mut Env) {
        env.require("SMTP_URL", "EMAIL_PROVIDER", NAME);
        if cfg!(not(feature = "smtp")) {
            env.problem("EMAIL_PROVIDER", "is smtp, which is not in this build", "Build with the cargo feature `smtp`");
        }
    }

    fn connect(&self, outside: &Outside) -> Result<Arc<dyn EmailProvider>, ProviderError> {
        let server = self.url.as_ref().and_then(|url| Server::parse(url.expose_secret())).ok_or(ProviderError::NotConfigured(NAME))?;
        #[cfg(feature = "smtp")]
        return Ok(Arc::new(transport::Smtp::new(server, outside.service_with_breaker(NAME))?));
        #[cfg(not(feature = "smtp"))]
        {
            let _ = (server, outside);
            Err(ProviderError::NotConfigured(NAME))
        }
    }
}
