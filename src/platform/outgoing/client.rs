//! The HTTP client shared by all vendors, and [`Service`], one vendor's handle to it.

use std::sync::Arc;
use std::time::Duration;

use backon::{ExponentialBuilder, Retryable};
use bytes::BytesMut;
use prometheus::IntGaugeVec;
use reqwest::{Client, RequestBuilder, StatusCode};
use tokio::time::{Instant, timeout_at};

use super::answer::{Answer, Streaming, is_transient};
use super::breaker::Breaker;
use super::error::CallError;
use crate::platform::telemetry::metrics::Metrics;

/// Retries of a call that may be repeated, besides the first attempt.
const RETRIES: usize = 2;
/// Longest pause before a retry. A longer `Retry-After` is left to the caller.
const LONGEST_PAUSE: Duration = Duration::from_secs(2);

/// Makes vendor clients. Cheap to clone.
#[derive(Clone)]
pub struct Outgoing {
    client: Client,
    metrics: Metrics,
    breakers: IntGaugeVec,
}

/// Time and size limits of a call.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// Until the head of the answer.
    pub head: Duration,
    /// Between two pieces of the body.
    pub silence: Duration,
    /// For the whole answer. A stream has no such limit.
    pub total: Duration,
    /// Bytes of the body that are read.
    pub bytes: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self { head: Duration::from_secs(25), silence: Duration::from_secs(10), total: Duration::from_secs(30), bytes: 64 * 1024 }
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
        Ok(Self { client, metrics: metrics.clone(), breakers })
    }

    /// Returns the handle of one vendor; `name` is its label in metrics.
    pub fn service(&self, name: &'static str) -> Service {
        Service { name, client: self.client.clone(), metrics: Some(self.metrics.clone()), breaker: None }
    }

    /// As [`Outgoing::service`], with a circuit breaker. For callers that have an alternative to waiting, such as another
    /// vendor or a later attempt.
    pub fn service_with_breaker(&self, name: &'static str) -> Service {
        let breaker = Breaker::new(self.breakers.with_label_values(&[name]));
        Service { breaker: Some(Arc::new(breaker)), ..self.service(name) }
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
        let exchange = self.measured(operation, self.exchange(limits, request), |answer| answer.status);
        self.through_breaker(exchange, |answer| answer.status).await
    }

    /// Sends a request that may be repeated (a read, or one with an idempotency key), up to three times: with growing pauses,
    /// or the vendor's `Retry-After` where it is short.
    pub async fn send_repeatable(
        &self,
        operation: &str,
        limits: Limits,
        request: impl Fn(&Client) -> RequestBuilder,
    ) -> Result<Answer, CallError> {
        let pauses = ExponentialBuilder::default().with_min_delay(Duration::from_millis(100)).with_max_times(RETRIES).with_jitter();
        let attempt = || async {
            let exchange = self.exchange(limits, request(&self.client));
            match self.measured(operation, exchange, |answer| answer.status).await {
                Ok(answer) if answer.is_transient() => Err(Failed::Answer(answer)),
                Ok(answer) => Ok(answer),
                Err(error) => Err(Failed::Call(error)),
            }
        };
        let attempts = async {
            let attempts = attempt.retry(pauses).when(Failed::may_be_repeated).adjust(|failed, pause| Some(failed.pause().max(pause?)));
            match attempts.await {
                Ok(answer) | Err(Failed::Answer(answer)) => Ok(answer),
                Err(Failed::Call(error)) => Err(error),
            }
        };
        self.through_breaker(attempts, |answer| answer.status).await
    }

    /// Sends a request once and returns with the head of its answer; the body is read piece by piece.
    pub async fn stream(&self, operation: &str, limits: Limits, request: RequestBuilder) -> Result<Streaming, CallError> {
        let head = async {
            let response = self.head(Instant::now() + limits.head, request).await?;
            Ok(Streaming { service: self.name, response, silence: limits.silence, left: limits.bytes })
        };
        self.through_breaker(self.measured(operation, head, Streaming::status), Streaming::status).await
    }

    /// Runs a request, with its retries, if the breaker admits it. Time-outs, failing connections and 5xx count as failures
    /// of the service; 4xx, our own limits and cancelled calls do not.
    async fn through_breaker<T>(
        &self,
        call: impl Future<Output = Result<T, CallError>>,
        status: impl FnOnce(&T) -> StatusCode,
    ) -> Result<T, CallError> {
        let Some(breaker) = &self.breaker else { return call.await };
        let attempt = breaker.admit().map_err(|retry_after| CallError::Open { service: self.name, retry_after })?;
        let outcome = call.await;
        attempt.note(match &outcome {
            Ok(answer) => !status(answer).is_server_error(),
            Err(error) => !error.is_transient(),
        });
        outcome
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
        let mut body = BytesMut::new();
        let whole = async {
            while let Some(piece) = streaming.next().await? {
                body.extend_from_slice(&piece);
            }
            Ok::<_, CallError>(())
        };
        if !matches!(timeout_at(by, whole).await, Ok(Ok(()))) {
            // Not an error: the status was received, so the vendor has handled the request.
            body.clear();
        }
        Ok(Answer { status, headers, body: body.freeze() })
    }
}

/// A failed attempt, with the response or the error.
enum Failed {
    Answer(Answer),
    Call(CallError),
}

impl Failed {
    fn may_be_repeated(&self) -> bool {
        match self {
            Self::Answer(_) => self.pause() <= LONGEST_PAUSE,
            Self::Call(error) => error.is_transient(),
        }
    }

    fn pause(&self) -> Duration {
        match self {
            Self::Answer(answer) => answer.retry_after().unwrap_or_default(),
            Self::Call(_) => Duration::ZERO,
        }
    }
}
