//! Access token of the service account: fetched on first use, kept until shortly before it expires.

use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use http::StatusCode;
use http::header::CONTENT_TYPE;
use reqwest::Client;
use secrecy::SecretString;
use tokio::sync::Mutex;
use tokio::time::Instant;

use super::account::ServiceAccount;
use crate::platform::clock::Clock;
use crate::platform::outgoing::{AccountProblem, Limits, Service};
use crate::providers::ProviderError;

/// Time before its end at which a token is no longer used.
const MARGIN: TimeDelta = TimeDelta::minutes(2);
/// Lifetime that is assumed if the answer names none, in seconds.
const DEFAULT_LIFE: i64 = 300;
const GRANT: &str = "urn:ietf:params:oauth:grant-type:jwt-bearer";

pub struct Access {
    account: ServiceAccount,
    service: Service,
    clock: Clock,
    /// Locked while a token is fetched, so that one fetch at a time runs.
    known: Mutex<Option<(SecretString, DateTime<Utc>)>>,
}

impl Access {
    pub fn new(account: ServiceAccount, service: Service, clock: Clock) -> Self {
        Self { account, service, clock, known: Mutex::default() }
    }

    /// Returns an access token; the fetch, if one is needed, ends by this time.
    pub async fn token(&self, by: Instant) -> Result<SecretString, ProviderError> {
        let late = || ProviderError::Transient { message: format!("{}: no access token in time", self.service.name()), retry_after: None };
        let mut known = tokio::time::timeout_at(by, self.known.lock()).await.map_err(|_| late())?;
        let now = self.clock.now();
        if let Some((token, _)) = known.as_ref().filter(|(_, until)| now < *until) {
            return Ok(token.clone());
        }
        let (token, life) = self.fetch(now, by).await?;
        *known = Some((token.clone(), now + life - MARGIN));
        Ok(token)
    }

    /// Forgets the token, because the API has refused it.
    pub async fn forget(&self) {
        *self.known.lock().await = None;
    }

    async fn fetch(&self, now: DateTime<Utc>, by: Instant) -> Result<(SecretString, TimeDelta), ProviderError> {
        let assertion = self.account.assertion(now);
        let assertion = assertion.ok_or_else(|| ProviderError::Rejected("the service account cannot sign".to_owned()))?;
        let form = url::form_urlencoded::Serializer::new(String::new())
            .append_pair("grant_type", GRANT)
            .append_pair("assertion", &assertion)
            .finish();
        let limits = Limits { silence: Duration::from_secs(5), ..Limits::default() }.until(by);
        let request = |client: &Client| {
            client.post(self.account.token_uri().clone()).header(CONTENT_TYPE, "application/x-www-form-urlencoded").body(form.clone())
        };
        let answer = self.service.send_repeatable("token", limits, request).await?;
        let body = answer.json();
        let token = body["access_token"].as_str().filter(|_| answer.status.is_success());
        let Some(token) = token else {
            // `invalid_grant`: the key is deleted, the account disabled, or our clock wrong.
            if matches!(answer.status, StatusCode::BAD_REQUEST | StatusCode::UNAUTHORIZED) {
                self.service.account_problem(Some(AccountProblem::KeyRefused));
            }
            let words = body["error"].as_str().filter(|code| code.len() <= 64).unwrap_or("no access token");
            return Err(ProviderError::of_answer(self.service.name(), &answer, words, answer.status.is_success()));
        };
        let life = body["expires_in"].as_i64().unwrap_or(DEFAULT_LIFE).clamp(0, 86_400);
        Ok((SecretString::from(token), TimeDelta::seconds(life)))
    }
}
