//! Settings of Google Play.

use secrecy::ExposeSecret;
use url::Url;

use super::account::ServiceAccount;
use crate::platform::config::{Env, Section};

const API: &str = "https://androidpublisher.googleapis.com/";
const CERTS: &str = "https://www.googleapis.com/oauth2/v3/certs";

#[derive(Debug, Clone)]
pub struct Config {
    pub package_name: Option<String>,
    pub account: Option<ServiceAccount>,
    /// Required `aud` of push tokens.
    pub audience: Option<String>,
    /// Required `email` of push tokens.
    pub push_account: Option<String>,
    /// Base URL of the Play Developer API.
    pub base_url: Option<Url>,
    /// JWKS of the keys that sign push tokens.
    pub certs_url: Option<Url>,
}

impl Section for Config {
    fn read(env: &mut Env) -> Self {
        env.section("Payments");
        let package_name = env.var("GOOGLE_PLAY_PACKAGE_NAME", "Google Play: the app's package name").optional::<String>();
        let account = env
            .var(
                "GOOGLE_PLAY_SERVICE_ACCOUNT_JSON",
                "Google Play: base64 of the service account's JSON key; configured when this and the package name are set",
            )
            .secret(1);
        let account = account.and_then(|text| {
            let parsed = ServiceAccount::parse(text.expose_secret());
            if let Err(wants) = &parsed {
                env.problem(
                    "GOOGLE_PLAY_SERVICE_ACCOUNT_JSON",
                    format!("must be {wants}"),
                    "Create a JSON key in Google Cloud, and set its base64 (`base64 -w0 key.json`)",
                );
            }
            parsed.ok()
        });
        Self {
            package_name,
            account,
            audience: env.var("GOOGLE_PUBSUB_AUDIENCE", "Google Play: required `aud` of the token of pushed notifications").optional(),
            push_account: env
                .var("GOOGLE_PUBSUB_SERVICE_ACCOUNT", "Google Play: required `email` of the token of pushed notifications")
                .optional(),
            base_url: env
                .var("GOOGLE_PLAY_BASE_URL", "Google Play: another address of the Play Developer API, for tests")
                .shown_default(API)
                .optional()
                .or_else(|| Url::parse(API).ok()),
            certs_url: env
                .var("GOOGLE_CERTS_URL", "Google Play: another JWKS of the keys that sign push tokens, for tests")
                .shown_default(CERTS)
                .optional()
                .or_else(|| Url::parse(CERTS).ok()),
        }
    }
}

impl Config {
    pub fn is_configured(&self) -> bool {
        self.package_name.is_some() && self.account.is_some()
    }

    /// Reports what is missing for pushed notifications.
    pub fn check(&self, env: &mut Env) {
        if !self.is_configured() {
            return;
        }
        let production = env.environment().is_production();
        if self.audience.is_none() {
            let reason = "is unset, so every notification of Google Play is refused with 401";
            let remedy = "Set it to the audience of the push subscription in Pub/Sub";
            if production {
                env.problem("GOOGLE_PUBSUB_AUDIENCE", reason, remedy);
            } else {
                env.warning("GOOGLE_PUBSUB_AUDIENCE", reason, remedy);
            }
        }
        if self.push_account.is_none() {
            env.warning(
                "GOOGLE_PUBSUB_SERVICE_ACCOUNT",
                "is unset, so every notification of Google Play is refused with 401",
                "Set it to the e-mail address of the service account with which the push subscription authenticates",
            );
        }
        if production && self.certs_url.as_ref().is_some_and(|url| url.scheme() != "https") {
            env.problem("GOOGLE_CERTS_URL", "must be an https URL in production", "Leave it unset for Google's");
        }
    }
}
