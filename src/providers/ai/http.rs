//! Calls to vendors with an HTTP API: time-outs, retries, cool-down, circuit breaker and learned parameters, the same for all.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use reqwest::RequestBuilder;
use serde_json::Value;
use tokio::time::Instant;

use super::error::AiError;
use super::model::{Completion, Prompt};
use super::parameters::{Learned, Parameter, Parameters};
use super::protocol::{Ask, Fault, Protocol, classify};
use super::provider::{Clocks, ListedModel, Llm, Pieces};
use super::stream::HttpPieces;
use crate::platform::outgoing::{Attempt, Limits, Retry, Service, Streaming, repeat};
use crate::providers::vendor::Outside;

/// Limit on a whole answer and on the list of models, in bytes. 128,000 tokens are about half a mebibyte.
const MAX_ANSWER: usize = 4 << 20;
/// Limit on a stream, in bytes. Each piece comes with a few hundred bytes around it.
const MAX_STREAM: usize = 64 << 20;
/// Limit on an error's body, in bytes, and on the wait for it.
const MAX_ERROR: usize = 64 << 10;
const ERROR_WAIT: Duration = Duration::from_secs(2);
/// Limit on the wait for the list of models.
const LIST_WAIT: Duration = Duration::from_secs(5);

/// A vendor with an HTTP API.
pub struct HttpLlm<P> {
    protocol: Arc<P>,
    service: Service,
    learned: Learned,
}

impl<P: Protocol> HttpLlm<P> {
    pub fn new(protocol: P, outside: &Outside) -> Self {
        Self { protocol: Arc::new(protocol), service: outside.outgoing.service_with_breaker(P::NAME), learned: Learned::default() }
    }

    /// Admits a call, unless the model is cooling down or the vendor's breaker is open.
    fn admit(&self, model: &str) -> Result<Attempt, AiError> {
        if let Some(left) = self.service.cooling(model) {
            return Err(AiError::cooling(P::NAME, left));
        }
        self.service.admit().map_err(|error| AiError::of_call(P::NAME, &error, true))
    }

    /// Notes the failure of a request and all its retries.
    fn note_failure(&self, attempt: Attempt, error: &AiError) {
        if let Some(problem) = error.account {
            tracing::warn!(service = P::NAME, cause = error.cause, "the vendor refuses this account");
            self.service.account_problem(Some(problem));
        }
        // Dropped without a note, the attempt counts neither way: a broken answer tells nothing about the next one.
        if error.blames_vendor {
            attempt.note(false);
        } else if error.status.is_some() {
            attempt.note(true);
        }
    }

    /// Makes one attempt. A parameter that the vendor's 400 names is left out once, and for this model from then on.
    async fn ask(&self, model: &str, prompt: &Prompt, stream: bool, by: Instant) -> Result<Streaming, AiError> {
        let known = self.protocol.refused(model);
        let mut learned = self.learned.of(model);
        let before = learned;
        loop {
            let without = known.and(learned);
            let request = self.protocol.request(self.service.client(), &Ask { model, prompt, without, stream });
            let error = match self.open(if stream { "stream" } else { "complete" }, request, by, stream).await? {
                Ok(answer) => {
                    if learned != before {
                        self.learned.remember(model, learned);
                    }
                    return Ok(answer);
                }
                Err(fault) => fault,
            };
            match refused_parameter(&error, without) {
                Some(parameter) => learned = learned.with(parameter),
                None => return Err(self.refused(model, &error)),
            }
        }
    }

    /// Sends a request; returns the answer with its body unread, or the vendor's error.
    async fn open(
        &self,
        operation: &str,
        request: RequestBuilder,
        by: Instant,
        stream: bool,
    ) -> Result<Result<Streaming, Failure>, AiError> {
        let left = by.saturating_duration_since(Instant::now());
        let bytes = if stream { MAX_STREAM } else { MAX_ANSWER };
        // The body has clocks of its own.
        let limits = Limits { head: left, silence: Duration::MAX, bytes, ..Limits::default() };
        let opened = self.service.open_stream(operation, limits, request).await;
        let mut answer = opened.map_err(|error| AiError::of_call(P::NAME, &error, true))?;
        let status = answer.status();
        if status.is_success() {
            return Ok(Ok(answer));
        }
        let by = by.min(Instant::now() + ERROR_WAIT);
        let body = answer.read_whole(by, MAX_ERROR).await.map(|body| serde_json::from_slice(&body).unwrap_or_default());
        let fault = Fault::of_answer(status.as_u16(), &body.unwrap_or(Value::Null));
        Ok(Err(Failure { fault, retry_after: answer.retry_after() }))
    }

    /// Converts a vendor's error, and begins the model's cool-down if the error asks for one.
    fn refused(&self, model: &str, failure: &Failure) -> AiError {
        let mut error = classify(P::NAME, &failure.fault);
        error.retry_after = failure.retry_after;
        if failure.fault.status == 429
            && let Some(pause) = failure.retry_after
        {
            self.service.cool_down(model, pause);
        }
        error
    }

    async fn try_complete(&self, model: &str, prompt: &Prompt, by: Instant) -> Result<Completion, AiError> {
        let started = Instant::now();
        let mut answer = self.ask(model, prompt, false, by).await?;
        let body = answer.read_whole(by, MAX_ANSWER).await.map_err(|error| AiError::of_call(P::NAME, &error, false))?;
        let body: Value = serde_json::from_slice(&body).map_err(|_| AiError::malformed(P::NAME))?;
        if let Some(fault) = Fault::within(&body) {
            return Err(self.refused(model, &Failure { fault, retry_after: None }));
        }
        let answered = self.protocol.read_answer(&body).ok_or_else(|| AiError::malformed(P::NAME))?;
        Ok(answered.completed(started.elapsed()))
    }

    async fn try_stream(&self, model: &str, prompt: &Prompt, clocks: Clocks) -> Result<HttpPieces<P>, AiError> {
        let body = self.ask(model, prompt, true, clocks.first_piece).await?;
        HttpPieces::begin(self.protocol.clone(), body, clocks).await
    }
}

/// A vendor's error with the pause that it asks for.
struct Failure {
    fault: Fault,
    retry_after: Option<Duration>,
}

/// The parameter that a 400 names and that was sent; some compatible servers send 422.
fn refused_parameter(failure: &Failure, without: Parameters) -> Option<Parameter> {
    let named = matches!(failure.fault.status, 400 | 422).then(|| Parameter::named_in(&failure.fault.words)).flatten();
    named.filter(|parameter| !without.has(*parameter))
}

#[async_trait]
impl<P: Protocol> Llm for HttpLlm<P> {
    fn name(&self) -> &'static str {
        P::NAME
    }

    fn default_model(&self) -> &'static str {
        P::DEFAULT_MODEL
    }

    async fn complete(&self, model: &str, prompt: &Prompt, by: Instant) -> Result<Completion, AiError> {
        let attempt = self.admit(model)?;
        match repeat(Retry::until(by), || self.try_complete(model, prompt, by)).await {
            Ok(completion) => {
                attempt.note(true);
                self.service.account_problem(None);
                Ok(completion)
            }
            Err(error) => {
                self.note_failure(attempt, &error);
                Err(error)
            }
        }
    }

    async fn stream(&self, model: &str, prompt: &Prompt, clocks: Clocks) -> Result<Box<dyn Pieces>, AiError> {
        let mut attempt = self.admit(model)?;
        match repeat(Retry::until(clocks.first_piece), || self.try_stream(model, prompt, clocks)).await {
            Ok(pieces) => {
                attempt.progressed();
                self.service.account_problem(None);
                Ok(Box::new(pieces.judged_by(attempt)))
            }
            Err(error) => {
                self.note_failure(attempt, &error);
                Err(error)
            }
        }
    }

    async fn models(&self) -> Result<Option<Vec<ListedModel>>, AiError> {
        let by = Instant::now() + LIST_WAIT;
        let request = self.protocol.list_request(self.service.client());
        let mut answer = match self.open("models", request, by, false).await? {
            Ok(answer) => answer,
            Err(failure) => return Err(classify(P::NAME, &failure.fault)),
        };
        let body = answer.read_whole(by, MAX_ANSWER).await.map_err(|error| AiError::of_call(P::NAME, &error, false))?;
        let body: Value = serde_json::from_slice(&body).map_err(|_| AiError::malformed(P::NAME))?;
        self.protocol.read_list(&body).map(Some).ok_or_else(|| AiError::malformed(P::NAME))
    }
}
