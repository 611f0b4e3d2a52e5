//! Counts calls and tokens: one call, [`Meter`], for every way in which a request can end.

use std::collections::HashSet;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use chrono::{DateTime, Utc};
use prometheus::{HistogramVec, IntCounterVec};

use crate::platform::actor::CurrentUser;
use crate::platform::http::RequestContext;
use crate::platform::id::UserId;
use crate::platform::telemetry::metrics::Metrics;
use crate::platform::telemetry::millis;
use crate::platform::usage::{Labels, Metric, Usage};
use crate::providers::ai::{Completed, Figures, Prompt, Target, estimated_tokens};

/// Limit on the values of the label `model`. Clients name models, so further ones are counted as `other`.
const MAX_MODELS: usize = 100;
const BUCKETS: &[f64] = &[0.5, 1.0, 2.0, 5.0, 10.0, 30.0, 60.0];

/// The metrics of AI calls. Cheap to clone (`Arc`).
#[derive(Clone)]
pub struct Meters {
    requests: IntCounterVec,
    tokens: IntCounterVec,
    duration: HistogramVec,
    usage: Usage,
    models: Arc<Mutex<HashSet<String>>>,
}

/// How a call ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Outcome {
    Success,
    Error,
    /// The client left before the end.
    Cancelled,
}

impl Outcome {
    fn name(self) -> &'static str {
        match self {
            Self::Success => "success",
            Self::Error => "error",
            Self::Cancelled => "cancelled",
        }
    }
}

impl Meters {
    /// `models` are those of the configuration, which always have labels of their own.
    pub fn new(metrics: &Metrics, usage: &Usage, models: impl Iterator<Item = String>) -> Self {
        Self {
            usage: usage.clone(),
            requests: metrics.counter("llm_requests_total", "Requests to language models", &["provider", "model", "status"]),
            tokens: metrics.counter("llm_tokens_total", "Tokens used by language models", &["provider", "model", "type"]),
            duration: metrics.histogram(
                "llm_request_duration_seconds",
                "Duration of requests to language models",
                &["provider", "model"],
                BUCKETS,
            ),
            models: Arc::new(Mutex::new(models.collect())),
        }
    }

    /// The label of a model. Only models that have answered get one of their own.
    fn label<'m>(&self, model: &'m str, answered: bool) -> &'m str {
        let mut models = self.models.lock().unwrap_or_else(PoisonError::into_inner);
        if models.contains(model) {
            return model;
        }
        if !answered || models.len() >= MAX_MODELS {
            return "other";
        }
        models.insert(model.to_owned());
        model
    }
}

/// Tokens of a call.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Tokens {
    prompt: u64,
    completion: u64,
    /// At least one of the figures is an estimate.
    estimated: bool,
}

/// Measures one call. Dropped before it ends, it counts a call whose client has left, with the tokens so far.
pub struct Meter {
    meters: Meters,
    user: UserId,
    /// The user on whose account it counts.
    account: Option<UserId>,
    /// When the quota counted it: both count it in the same month.
    at: DateTime<Utc>,
    provider: &'static str,
    model: String,
    started: Instant,
    prompt_estimate: u64,
    /// Bytes of text that the vendor has sent.
    received: usize,
    figures: Figures,
    ended: bool,
    /// A stream ends outside of its handler; its log line names the request all the same.
    context: Option<Arc<RequestContext>>,
}

impl Meter {
    pub fn start(meters: &Meters, user: &CurrentUser, at: DateTime<Utc>, target: &Target, prompt: &Prompt) -> Self {
        Self {
            meters: meters.clone(),
            user: user.id.clone(),
            account: user.account().cloned(),
            at,
            provider: target.provider(),
            model: target.model.clone(),
            started: Instant::now(),
            prompt_estimate: prompt.estimated_tokens(),
            received: 0,
            figures: Figures::default(),
            ended: false,
            context: RequestContext::current(),
        }
    }

    /// Another vendor may have taken the target's place.
    pub fn answered_by(&mut self, target: &Target) {
        self.provider = target.provider();
        self.model.clone_from(&target.model);
    }

    /// A piece of a stream has arrived, and the vendor's figures so far.
    pub fn received(&mut self, piece: &str, figures: Figures) {
        self.received += piece.len();
        self.figures = figures;
    }

    /// A whole answer.
    pub fn completed(mut self, completed: &Completed) {
        self.answered_by(&completed.target);
        let usage = completed.completion.usage;
        let tokens = Tokens { prompt: usage.prompt_tokens, completion: usage.completion_tokens, estimated: false };
        self.end(Outcome::Success, tokens, true);
    }

    /// The vendor has produced nothing. `given_back`: the request does not count.
    pub fn refused(mut self, given_back: bool) {
        self.end(Outcome::Error, Tokens::default(), !given_back);
    }

    /// A stream has ended as it should.
    pub fn finished(mut self, figures: Figures) {
        self.figures = figures;
        self.end(Outcome::Success, self.tokens(), true);
    }

    /// A stream has broken off after its first piece.
    pub fn broken_off(mut self, figures: Figures) {
        self.figures = figures;
        self.end(Outcome::Error, self.tokens(), true);
    }

    /// The vendor's last figures, else estimates.
    fn tokens(&self) -> Tokens {
        Tokens {
            prompt: self.figures.prompt.unwrap_or(self.prompt_estimate),
            completion: self.figures.completion.unwrap_or_else(|| estimated_tokens(self.received)),
            estimated: self.figures.prompt.is_none() || self.figures.completion.is_none(),
        }
    }

    /// Counts the call. Everything that is to know of finished calls is told here.
    fn end(&mut self, outcome: Outcome, tokens: Tokens, counts: bool) {
        self.ended = true;
        let took = self.started.elapsed();
        let model = self.meters.label(&self.model, outcome == Outcome::Success || self.received > 0);
        self.meters.requests.with_label_values(&[self.provider, model, outcome.name()]).inc();
        self.meters.duration.with_label_values(&[self.provider, model]).observe(took.as_secs_f64());
        for (kind, count) in [("prompt", tokens.prompt), ("completion", tokens.completion)] {
            self.meters.tokens.with_label_values(&[self.provider, model, kind]).inc_by(count);
        }
        if counts {
            let (account, usage) = (self.account.as_ref(), &self.meters.usage);
            let labels: Labels = [format!("provider:{}", self.provider), format!("model:{model}")].into();
            usage.record_at(self.at, account, Metric::AiRequests, 1, &labels);
            usage.record_at(self.at, account, Metric::AiTokens, tokens.prompt + tokens.completion, &labels);
        }
        let log = || {
            tracing::info!(
                user_id = self.user.as_str(),
                provider = self.provider,
                model,
                outcome = outcome.name(),
                prompt_tokens = tokens.prompt,
                completion_tokens = tokens.completion,
                estimated = tokens.estimated,
                duration_ms = millis(took),
                "AI request finished"
            );
        };
        match &self.context {
            Some(context) => context.scope_sync(log),
            None => log(),
        }
    }
}

impl Drop for Meter {
    fn drop(&mut self) {
        if !self.ended {
            let tokens = self.tokens();
            self.end(Outcome::Cancelled, tokens, true);
        }
    }
}
