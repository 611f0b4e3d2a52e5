//! Sends requests of `async-stripe` with our own client: time-outs, retries under one idempotency key, circuit breaker.

use std::time::Duration;

use chrono::{DateTime, Utc};
use http::{HeaderMap, HeaderValue, StatusCode, header};
use reqwest::{Client, RequestBuilder as HttpRequest};
use secrecy::ExposeSecret;
use stripe_client_core::{RequestBuilder, StripeMethod};
use tokio::time::Instant;
use uuid::Uuid;

use super::{API_VERSION, Config, NAME, Reply, StripeError};
use crate::platform::outgoing::{Limits, Outgoing, Repeatable, Retry, Service, repeat};

const HOME: &str = "https://api.stripe.com";
/// Limit on all calls of an operation together.
const TOTAL: Duration = Duration::from_secs(28);
/// The head of an answer must leave time for a second attempt. A list of a hundred invoices has about a mebibyte.
const LIMITS: Limits = Limits { head: Duration::from_secs(20), silence: Duration::from_secs(10), total: TOTAL, bytes: 8 << 20 };

/// The client. Cheap to clone.
#[derive(Clone)]
pub struct Stripe {
    base: String,
    headers: HeaderMap,
    service: Service,
}

/// One or more calls that together end within 28 seconds.
pub struct Operation<'s> {
    stripe: &'s Stripe,
    until: Instant,
}

impl Stripe {
    /// `None` without a key.
    pub fn new(config: &Config, outgoing: &Outgoing) -> Option<Self> {
        let key = config.secret_key.as_ref()?;
        let mut headers = HeaderMap::new();
        headers.insert("stripe-version", HeaderValue::from_static(API_VERSION));
        // A key that is no header value is left out: the request then fails at the vendor.
        if let Ok(mut value) = HeaderValue::try_from(format!("Bearer {}", key.expose_secret().trim())) {
            value.set_sensitive(true);
            headers.insert(header::AUTHORIZATION, value);
        }
        let base = config.api_base.as_ref().map_or(HOME, url::Url::as_str).trim_end_matches('/').to_owned();
        Some(Self { base, headers, service: outgoing.service_with_breaker(NAME) })
    }

    pub fn operation(&self) -> Operation<'_> {
        self.operation_within(TOTAL)
    }

    /// As [`Stripe::operation`], with a shorter limit.
    pub fn operation_within(&self, limit: Duration) -> Operation<'_> {
        Operation { stripe: self, until: Instant::now() + limit.min(TOTAL) }
    }
}

impl Operation<'_> {
    /// Sends a request. POST has an idempotency key, `key` or a random one, so that it may be repeated.
    pub(super) async fn send(&self, name: &str, request: RequestBuilder, key: Option<&str>) -> Result<Reply, StripeError> {
        check_path(&request)?;
        let key = matches!(request.method, StripeMethod::Post).then(|| key.map_or_else(|| Uuid::now_v7().to_string(), str::to_owned));
        let (request, key) = (&request, key.as_deref());
        // Stripe refuses a second request with the key of one that is running; the answer of the first one comes soon.
        let waits = Retry { times: 5, first_pause: Duration::from_millis(200), ..Retry::until(self.until) };
        let sent = repeat(waits, || async move {
            let attempt = || self.attempt(name, request, key);
            self.stripe.service.run(Retry::until(self.until), attempt).await.map_err(Busy)
        });
        sent.await.map_err(|Busy(error)| error)
    }

    /// Sends a request once, for callers that keep a record of each attempt.
    pub(super) async fn send_once(&self, name: &str, request: RequestBuilder, key: &str) -> Result<Reply, StripeError> {
        check_path(&request)?;
        let once = Retry { times: 0, ..Retry::until(self.until) };
        self.stripe.service.run(once, || self.attempt(name, &request, Some(key))).await
    }

    async fn attempt(&self, name: &str, request: &RequestBuilder, key: Option<&str>) -> Result<Reply, StripeError> {
        let service = &self.stripe.service;
        let request = self.stripe.request(service.client(), request, key);
        let answer = service.exchange_once(name, LIMITS.until(self.until), request).await?;
        // Stripe's 402 is about the customer's card, not about our account.
        if answer.status != StatusCode::PAYMENT_REQUIRED {
            service.account_status(answer.status);
        }
        let body = answer.json();
        if !answer.status.is_success() {
            return Err(StripeError::of_answer(&answer, &body));
        }
        if !body.is_object() {
            return Err(StripeError::unreadable(answer.status));
        }
        Ok(Reply { object: body, at: date(&answer.headers) })
    }
}

/// Ids come from events and the database; none may lead to another path.
fn check_path(request: &RequestBuilder) -> Result<(), StripeError> {
    if request.path.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'/' | b'_' | b'-')) {
        return Ok(());
    }
    Err(StripeError::invalid("an id has a character that ids do not have"))
}

impl Stripe {
    fn request(&self, client: &Client, request: &RequestBuilder, key: Option<&str>) -> HttpRequest {
        let query = request.query.as_deref().filter(|query| !query.is_empty()).map(|query| format!("?{query}")).unwrap_or_default();
        let url = format!("{}/v1{}{query}", self.base, request.path);
        let mut http = match request.method {
            StripeMethod::Get => client.get(url),
            StripeMethod::Post => client.post(url),
            StripeMethod::Delete => client.delete(url),
        };
        http = http.headers(self.headers.clone());
        if let Some(key) = key {
            http = http.header("idempotency-key", key);
        }
        match &request.body {
            Some(body) => http.header(header::CONTENT_TYPE, "application/x-www-form-urlencoded").body(body.clone()),
            None => http,
        }
    }
}

fn date(headers: &HeaderMap) -> Option<DateTime<Utc>> {
    let date = headers.get(header::DATE)?.to_str().ok()?;
    DateTime::parse_from_rfc2822(date).ok().map(|date| date.to_utc())
}

/// A failure that is repeated only while another request holds the key: other failures were repeated within.
struct Busy(StripeError);

impl Repeatable for Busy {
    fn may_be_repeated(&self) -> bool {
        self.0.is_busy()
    }

    fn retry_after(&self) -> Option<Duration> {
        self.0.retry_after()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn api_version_is_that_of_the_requests() {
        assert_eq!(API_VERSION, stripe_shared::version::VERSION.as_str());
    }

    #[test]
    fn date_header_is_read() {
        let mut headers = HeaderMap::new();
        assert_eq!(date(&headers), None);
        headers.insert(header::DATE, HeaderValue::from_static("Sat, 28 Nov 2026 05:00:00 GMT"));
        assert_eq!(date(&headers).map(|date| date.to_rfc3339()).as_deref(), Some("2026-11-28T05:00:00+00:00"));
    }
}
