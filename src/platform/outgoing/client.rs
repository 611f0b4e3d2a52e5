//! The HTTP client shared by all vendors, and [`Service`], one vendor's handle to it.

use std::sync::Arc;
use std::time::Duration;

use reqwest::{Client, RequestBuilder, StatusCode};
use tokio::time::{Instant, timeout_at};

use super::answer::{Answer, Streaming, is_transient};
use super::breaker::{Attempt, Breaker};
use super::error::CallError;
use super::retry::{Repeatable, Retry, repeat};
use super::vendors::{AccountProblem, Shared, VendorState, Vendors};
use crate::platform::telemetry::metrics::Metrics;

/// Makes vendor clients. Cheap to clone.
#[derive(Clone)]
pub struct Outgoing {
    client: Client,
    metrics: Metrics,
    vendors: Vendors,
}

/// Time and size limits of a call.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// Until the head of the answer.
    pub head: Duration,
    /// Between two pieces of the body.
    pub silence: Duration,
    /// For the whole answer, retries included. A stream has no such limit.
    pub total: Duration,
    /// Bytes of the body that are read.
    pub bytes: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self { head: Duration::from_secs(25), silence: Duration::from_secs(10), total: Duration::from_secs(30), bytes: 64 * 1024 }
    }
}

impl Limits {
    /// Shortens the limits, so that the call ends by this time. A stream's body is not limited by it.
    #[must_use]
    pub fn until(self, by: Instant) -> Self {
        let left = by.saturating_duration_since(Instant::now());
        Self { head: self.head.min(left), total: self.total.min(left), ..self }
    }
}

impl Outgoing {
    pub fn new(metrics: &Metrics) -> anyhow::Result<Self> {
        let client = Client::builder()
            .connect_timeout(Duration::from_secs(5))
            // A redirect would send our credentials to another address.
            .redirect(reqwest::redirect::Policy::none())
            .user_agent(concat!("omnistack/", env!("CARGO_PKG_VERSION")))
            .build()?;
        let breakers = metrics.gauge("external_service_breaker_state", "Circuit breaker: 0 closed, 1 half-open, 2 open", &["service"]);
        Ok(Self { client, metrics: metrics.clone(), vendors: Vendors::new(breakers) })
    }

    /// Returns the handle of one vendor; `name` is its label in metrics. All handles of a name share its state.
    pub fn service(&self, name: &'static str) -> Service {
        let shared = self.vendors.shared(name);
        Service { name, client: self.client.clone(), metrics: Some(self.metrics.clone()), breaker: None, shared }
    }

    /// As [`Outgoing::service`], with a circuit breaker.
    pub fn service_with_breaker(&self, name: &'static str) -> Service {
        Service { breaker: Some(self.vendors.breaker(name)), ..self.service(name) }
    }

    /// The state of every vendor that has a handle, by name.
    pub fn vendors(&self) -> Vec<VendorState> {
        self.vendors.states()
    }
}

/// Calls one vendor. Cheap to clone.
#[derive(Clone)]
pub struct Service {
    name: &'static str,
    client: Client,
    /// `None` where the caller counts whole operations instead of HTTP calls.
    metrics: Option<Metrics>,
    breaker: Option<Arc<Breaker>>,
    shared: Arc<Shared>,
}

/// A failed call that the circuit breaker judges.
pub trait Failure: Repeatable + From<CallError> {
    /// Whether the vendor works all the same, because it has answered. `None` if the failure does not tell, because the request
    /// was not made.
    fn vendor_works(&self) -> Option<bool>;
}

impl Service {
    pub fn name(&self) -> &'static str {
        self.name
    }

    /// Turns off the metrics per HTTP call, for callers that count operations of several calls.
    #[must_use]
    pub fn counted_by_caller(mut self) -> Self {
        self.metrics = None;
        self
    }

    /// Returns the HTTP client, to build a request for the other methods.
    pub fn client(&self) -> &Client {
        &self.client
    }

    /// Sends a request once and reads its whole answer. For calls that must not be repeated, or that a job repeats.
    pub async fn send(&self, operation: &str, limits: Limits, request: RequestBuilder) -> Result<Answer, CallError> {
        let attempt = self.admit()?;
        let outcome = self.exchange_once(operation, limits, request).await;
        judge(attempt, outcome, |answer| answer.status)
    }

    /// Sends a request that may be repeated (a read, or one with an idempotency key), up to three times within
    /// `limits.total`: with growing pauses, or the vendor's `Retry-After` where it is short. The breaker counts it once.
    pub async fn send_repeatable(
        &self,
        operation: &str,
        limits: Limits,
        request: impl Fn(&Client) -> RequestBuilder,
    ) -> Result<Answer, CallError> {
        let attempt = self.admit()?;
        let by = Instant::now() + limits.total;
        let outcome =
            repeat(Retry::until(by), async || match self.exchange_once(operation, limits.until(by), request(&self.client)).await {
                Ok(answer) if answer.is_transient() => Err(Failed::Answer(answer)),
                Ok(answer) => Ok(answer),
                Err(error) => Err(Failed::Call(error)),
            });
        let outcome = match outcome.await {
            Ok(answer) | Err(Failed::Answer(answer)) => Ok(answer),
            Err(Failed::Call(error)) => Err(error),
        };
        judge(attempt, outcome, |answer| answer.status)
    }

    /// Sends a request once and returns with the head of its answer; the body is read piece by piece.
    pub async fn stream(&self, operation: &str, limits: Limits, request: RequestBuilder) -> Result<Streaming, CallError> {
        let attempt = self.admit()?;
        let outcome = self.open_stream(operation, limits, request).await;
        judge(attempt, outcome, Streaming::status)
    }

    /// Runs a call that another library makes, with retries, if the breaker admits it. It ends by `retry.until`, which must be
    /// before any limit of the caller's own, because a call that the caller drops does not count.
    pub async fn run<T, E, F>(&self, retry: Retry, call: impl FnMut() -> F) -> Result<T, E>
    where
        F: Future<Output = Result<T, E>>,
        E: Failure,
    {
        let attempt = self.admit()?;
        let outcome = timeout_at(retry.until, repeat(retry, call)).await;
        let outcome = outcome.unwrap_or_else(|_| Err(CallError::TimedOut(self.name).into()));
        match outcome.as_ref().map_or_else(Failure::vendor_works, |_| Some(true)) {
            Some(works) => attempt.note(works),
            None => drop(attempt),
        }
        outcome
    }

    /// Asks the breaker for a call made of the parts below: [`Service::exchange_once`], [`Service::open_stream`], [`repeat`].
    /// Always admitted without a breaker.
    pub fn admit(&self) -> Result<Attempt, CallError> {
        let Some(breaker) = &self.breaker else { return Ok(Attempt::unguarded()) };
        breaker.admit().map_err(|retry_after| CallError::Open { service: self.name, retry_after })
    }

    /// Sends a request once, past the breaker, and reads its whole answer.
    pub async fn exchange_once(&self, operation: &str, limits: Limits, request: RequestBuilder) -> Result<Answer, CallError> {
        self.measured(operation, self.exchange(limits, request), |answer| answer.status).await
    }

    /// Sends a request once, past the breaker, and returns with the head of its answer.
    pub async fn open_stream(&self, operation: &str, limits: Limits, request: RequestBuilder) -> Result<Streaming, CallError> {
        let head = async {
            let response = self.head(Instant::now() + limits.head, request).await?;
            Ok(Streaming { service: self.name, response, silence: limits.silence, left: limits.bytes })
        };
        self.measured(operation, head, Streaming::status).await
    }

    /// The time for which the vendor asked not to be called about this, such as a model; `None` if it may be called.
    pub fn cooling(&self, what: &str) -> Option<Duration> {
        self.shared.cool_downs.left(what)
    }

    /// Notes that the vendor asked for a pause: until the latest of all pauses, a minute at most.
    pub fn cool_down(&self, what: &str, pause: Duration) {
        self.shared.cool_downs.add(what, pause);
    }

    /// Notes what the vendor says about our account; `None` after a success.
    pub fn account_problem(&self, problem: Option<AccountProblem>) {
        self.shared.set_account(problem);
    }

    /// Notes what a status says about our account. For vendors that use 401 for the key, 402 for the bill, and 2xx for success.
    pub fn account_status(&self, status: StatusCode) {
        match status {
            StatusCode::UNAUTHORIZED => self.account_problem(Some(AccountProblem::KeyRefused)),
            StatusCode::PAYMENT_REQUIRED => self.account_problem(Some(AccountProblem::Billing)),
            status if status.is_success() => self.account_problem(None),
            _ => {}
        }
    }

    /// Counts and times one call. Its trace span belongs here, too.
    async fn measured<T>(
        &self,
        operation: &str,
        call: impl Future<Output = Result<T, CallError>>,
        status: impl FnOnce(&T) -> StatusCode,
    ) -> Result<T, CallError> {
        let Some(metrics) = &self.metrics else { return call.await };
        let started = Instant::now();
        let outcome = call.await;
        let ok = outcome.as_ref().is_ok_and(|answer| !is_transient(status(answer)));
        metrics.external(self.name, operation, ok, started.elapsed().as_secs_f64());
        outcome
    }

    async fn head(&self, by: Instant, request: RequestBuilder) -> Result<reqwest::Response, CallError> {
        let response = timeout_at(by, request.send()).await.map_err(|_| CallError::TimedOut(self.name))?;
        response.map_err(|error| CallError::of(self.name, &error))
    }

    async fn exchange(&self, limits: Limits, request: RequestBuilder) -> Result<Answer, CallError> {
        let by = Instant::now() + limits.total;
        let response = self.head(by.min(Instant::now() + limits.head), request).await?;
        let (status, headers) = (response.status(), response.headers().clone());
        let mut streaming = Streaming { service: self.name, response, silence: limits.silence, left: limits.bytes };
        // A broken body is no error: the status was received, so the vendor has handled the request.
        let body = streaming.read_whole(by, limits.bytes).await.unwrap_or_default();
        Ok(Answer { status, headers, body })
    }
}

/// Notes the outcome of a call: time-outs, failing connections and 5xx are failures of the service, 4xx are not. A call that our
/// own limits ended does not count.
fn judge<T>(attempt: Attempt, outcome: Result<T, CallError>, status: impl FnOnce(&T) -> StatusCode) -> Result<T, CallError> {
    match &outcome {
        Ok(answer) => attempt.note(!status(answer).is_server_error()),
        Err(error) if error.is_outage() => attempt.note(false),
        Err(_) => drop(attempt),
    }
    outcome
}

/// A failed attempt, with the response or the error.
enum Failed {
    Answer(Answer),
    Call(CallError),
}

impl Repeatable for Failed {
    fn may_be_repeated(&self) -> bool {
        match self {
            Self::Answer(answer) => answer.is_transient(),
            Self::Call(error) => error.may_be_repeated(),
        }
    }

    fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::Answer(answer) => answer.retry_after(),
            Self::Call(_) => None,
        }
    }
}
