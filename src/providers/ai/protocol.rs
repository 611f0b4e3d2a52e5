//! What distinguishes the vendors' HTTP APIs: how to ask, and how to read what comes back.

use chrono::DateTime;
use reqwest::{Client, RequestBuilder};
use serde_json::Value;

use super::error::{AiError, Reason};
use super::model::{Completion, Figures, Prompt};
use super::parameters::Parameters;
use super::provider::ListedModel;
use crate::platform::outgoing::AccountProblem;
use crate::platform::outgoing::event_stream::Event;

/// One vendor's API.
pub trait Protocol: Send + Sync + 'static {
    const NAME: &'static str;
    const DEFAULT_MODEL: &'static str;

    /// Parameters that the model is known to refuse.
    fn refused(&self, model: &str) -> Parameters;

    /// The request for an answer, whole or as a stream.
    fn request(&self, client: &Client, ask: &Ask<'_>) -> RequestBuilder;

    /// Reads a whole answer; `None` if it is none.
    fn read_answer(&self, body: &Value) -> Option<Answered>;

    /// Reads one event of a stream.
    fn read_event(&self, event: &Event, reading: &mut Reading) -> Result<Signal, Fault>;

    /// The request for the list of models.
    fn list_request(&self, client: &Client) -> RequestBuilder;

    /// Reads the list of models; `None` if it is none.
    fn read_list(&self, body: &Value) -> Option<Vec<ListedModel>>;
}

/// One call.
#[derive(Clone, Copy)]
pub struct Ask<'a> {
    pub model: &'a str,
    pub prompt: &'a Prompt,
    /// Parameters to leave out.
    pub without: Parameters,
    pub stream: bool,
}

impl Ask<'_> {
    /// The temperature to send, where the model takes one.
    pub fn temperature(&self) -> Option<f64> {
        const DEFAULT: f64 = 0.7;
        (!self.without.has(super::parameters::Parameter::Temperature)).then_some(self.prompt.temperature.unwrap_or(DEFAULT))
    }
}

/// A whole answer as a vendor gives it.
#[derive(Debug)]
pub struct Answered {
    pub content: String,
    pub figures: Figures,
    pub finish_reason: String,
}

impl Answered {
    pub fn completed(self, latency: std::time::Duration) -> Completion {
        Completion { content: self.content, usage: self.figures.usage(), finish_reason: self.finish_reason, latency }
    }
}

/// What is known of a stream so far.
#[derive(Debug, Default)]
pub struct Reading {
    pub figures: Figures,
    /// The vendor has ended its answer. Figures may follow.
    pub ended: bool,
    /// Nothing follows.
    pub closed: bool,
}

/// What an event means.
#[derive(Debug, PartialEq, Eq)]
pub enum Signal {
    /// Nothing: a ping, or an event of an unknown kind.
    Idle,
    /// The model works: thinking, figures, an empty piece.
    Progress,
    Text(String),
}

impl Signal {
    pub fn text(text: String) -> Self {
        if text.is_empty() { Self::Progress } else { Self::Text(text) }
    }
}

/// An error as a vendor reports it, in an answer of its own or inside a stream. Its words are for classification only: they
/// may repeat prompts, keys and addresses.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Fault {
    pub status: u16,
    /// Type, code, parameter and message, in lower case.
    pub words: String,
}

impl Fault {
    /// An event or a body that is not what the vendor's documentation describes.
    pub const MALFORMED: Self = Self { status: 0, words: String::new() };

    /// The error of an answer with this status.
    pub fn of_answer(status: u16, body: &Value) -> Self {
        Self { status, words: words(error_of(body).unwrap_or(&Value::Null)) }
    }

    /// The error in a body or an event that came with status 200, if it holds one.
    pub fn within(body: &Value) -> Option<Self> {
        let error = error_of(body)?;
        let words = words(error);
        let number = |value: &Value| value.as_u64().or_else(|| value.as_str()?.parse().ok()).filter(|code| (400..600).contains(code));
        let named = STATUSES.iter().find(|(name, _)| words.split(' ').any(|word| word == *name)).map(|(_, status)| *status);
        let status = number(&error["code"]).and_then(|code| u16::try_from(code).ok()).or(named).unwrap_or(500);
        Some(Self { status, words })
    }
}

/// The statuses that the vendors' error types stand for, the most specific first.
const STATUSES: [(&str, u16); 14] = [
    ("overloaded_error", 529),
    ("insufficient_quota", 429),
    ("rate_limit_error", 429),
    ("rate_limit_exceeded", 429),
    ("resource_exhausted", 429),
    ("authentication_error", 401),
    ("permission_error", 403),
    ("billing_error", 402),
    ("not_found_error", 404),
    ("model_not_found", 404),
    ("request_too_large", 413),
    ("context_length_exceeded", 400),
    ("invalid_request_error", 400),
    ("invalid_argument", 400),
];

/// The error object. Gemini sometimes wraps it in a list.
fn error_of(body: &Value) -> Option<&Value> {
    let error = body.get("error").or_else(|| body.get(0)?.get("error"))?;
    (!error.is_null()).then_some(error)
}

fn words(error: &Value) -> String {
    let reasons = error["details"].as_array().into_iter().flatten().map(|detail| &detail["reason"]);
    let members = ["type", "code", "status", "param", "message"].map(|name| &error[name]);
    let texts = std::iter::once(error).chain(members).chain(reasons).filter_map(Value::as_str);
    texts.map(str::to_lowercase).collect::<Vec<_>>().join(" ")
}

/// Converts a vendor's error to ours.
pub fn classify(vendor: &'static str, fault: &Fault) -> AiError {
    let says = |texts: &[&str]| texts.iter().any(|text| fault.words.contains(text));
    let account = |problem, reason, cause| AiError { account: Some(problem), ..AiError::new(vendor, reason, cause) };
    let billing = || account(AccountProblem::Billing, Reason::Quota, "the account has no credit");
    let key = || account(AccountProblem::KeyRefused, Reason::Unavailable, "the API key is refused");
    let transient = |reason, cause, blames_vendor| AiError { transient: true, blames_vendor, ..AiError::new(vendor, reason, cause) };
    let error = match fault.status {
        0 => return AiError::malformed(vendor),
        402 => billing(),
        400 | 403 | 429 if says(BILLING) => billing(),
        401 | 403 => key(),
        400 if says(&["api_key_invalid", "api key not valid"]) => key(),
        404 => AiError::new(vendor, Reason::ModelNotFound, "the model is unknown"),
        429 => transient(Reason::Quota, "rate limited", false),
        413 => AiError::new(vendor, Reason::ContextTooLong, "the request is too large"),
        400 | 422 if says(CONTEXT) => AiError::new(vendor, Reason::ContextTooLong, "the conversation is too long"),
        408 => transient(Reason::Unavailable, "the vendor waited too long for the request", false),
        400..500 => AiError::new(vendor, Reason::InvalidRequest, "the request is refused"),
        500.. => transient(Reason::Unavailable, "the vendor failed", true),
        _ => AiError::new(vendor, Reason::Unavailable, "an unexpected status"),
    };
    AiError { status: Some(fault.status), ..error }
}

/// How the vendors say that an account has no credit. Messages about rate limits mention billing too.
const BILLING: &[&str] = &["credit balance", "insufficient_quota", "billing_not_active", "billing_hard_limit_reached"];

/// How the vendors say that a conversation is too long.
const CONTEXT: &[&str] = &[
    "context_length_exceeded",
    "context length",
    "context window",
    "context limit",
    "maximum context",
    "prompt is too long",
    "input token count",
    "exceeds the maximum number of tokens",
    "too many tokens",
];

/// Reads a list of models whose names are in this member; `None` if it is none. Dates in the formats that vendors use.
pub fn listed(models: &Value, name: &str) -> Option<Vec<ListedModel>> {
    let date = |value: &Value| match value {
        Value::String(text) => text.get(..10)?.parse().ok(),
        Value::Number(seconds) => Some(DateTime::from_timestamp(seconds.as_i64()?, 0)?.date_naive()),
        _ => None,
    };
    let model = |model: &Value| {
        let id = model[name].as_str()?;
        Some(ListedModel { id: id.strip_prefix("models/").unwrap_or(id).to_owned(), retires: date(&model["shutdown_date"]) })
    };
    Some(models.as_array()?.iter().filter_map(model).collect())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn reason(status: u16, body: &Value) -> (Reason, bool) {
        let error = classify("x", &Fault::of_answer(status, body));
        (error.reason, error.transient)
    }

    #[test]
    fn errors_of_each_vendor_are_classified() {
        let openai = |kind: &str, code: &str, message: &str| json!({"error": {"type": kind, "code": code, "message": message}});
        let anthropic = |kind: &str, message: &str| json!({"type": "error", "error": {"type": kind, "message": message}});
        let gemini = |status: &str, message: &str| json!([{"error": {"code": 400, "status": status, "message": message}}]);
        let invalid = "invalid_request_error";
        for (status, body, expected) in [
            (400, openai(invalid, "context_length_exceeded", "x"), (Reason::ContextTooLong, false)),
            (400, anthropic(invalid, "prompt is too long: 210000 tokens > 200000 maximum"), (Reason::ContextTooLong, false)),
            (400, gemini("INVALID_ARGUMENT", "The input token count (9) exceeds the maximum"), (Reason::ContextTooLong, false)),
            (400, anthropic(invalid, "Your credit balance is too low to access the API"), (Reason::Quota, false)),
            (429, openai("insufficient_quota", "insufficient_quota", "You exceeded your current quota"), (Reason::Quota, false)),
            (429, openai("requests", "rate_limit_exceeded", "Slow down"), (Reason::Quota, true)),
            (400, gemini("INVALID_ARGUMENT", "API key not valid. Please pass a valid API key."), (Reason::Unavailable, false)),
            (401, openai(invalid, "invalid_api_key", "Incorrect API key provided: sk-1"), (Reason::Unavailable, false)),
            (403, Value::Null, (Reason::Unavailable, false)),
            (404, openai(invalid, "model_not_found", "The model does not exist"), (Reason::ModelNotFound, false)),
            (422, Value::Null, (Reason::InvalidRequest, false)),
            (500, Value::Null, (Reason::Unavailable, true)),
            (529, anthropic("overloaded_error", "Overloaded"), (Reason::Unavailable, true)),
            (302, Value::Null, (Reason::Unavailable, false)),
        ] {
            assert_eq!(reason(status, &body), expected, "{status} {body}");
        }
    }

    #[test]
    fn error_inside_an_answer_has_the_status_it_stands_for() {
        let status = |body: &Value| Fault::within(body).map(|fault| fault.status);
        assert_eq!(status(&json!({"type": "error", "error": {"type": "overloaded_error", "message": "Overloaded"}})), Some(529));
        assert_eq!(status(&json!({"error": {"code": 503, "status": "UNAVAILABLE"}})), Some(503));
        assert_eq!(status(&json!({"error": {"code": "429", "message": "x"}})), Some(429));
        assert_eq!(status(&json!({"error": {"message": "x"}})), Some(500));
        assert_eq!(status(&json!({"error": "it broke"})), Some(500));
        assert_eq!(status(&json!({"error": null, "choices": []})), None);
    }
}
