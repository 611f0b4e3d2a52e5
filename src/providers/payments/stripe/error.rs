//! Failed calls to Stripe. Nothing here holds the text of Stripe's message, which may repeat an address or a name.

use std::time::Duration;

use http::StatusCode;
use serde_json::Value;

use super::{NAME, read};
use crate::platform::error::Error;
use crate::platform::outgoing::{Answer, CallError, Failure, Repeatable};

/// A failed call. Its text is for the log.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{cause}")]
pub struct StripeError {
    pub status: Option<StatusCode>,
    /// Fixed words, the status, and Stripe's own codes.
    pub cause: String,
    /// The parameter that names an object which Stripe does not have (`resource_missing`); empty if Stripe does not tell which.
    missing: Option<String>,
    /// A later call may succeed.
    transient: bool,
    /// Another request with the same idempotency key, or on the same object, is running.
    busy: bool,
    retry_after: Option<Duration>,
    vendor_works: Option<bool>,
}

impl StripeError {
    fn new(cause: String) -> Self {
        Self { status: None, cause, missing: None, transient: false, busy: false, retry_after: None, vendor_works: None }
    }

    /// An answer that is not a JSON object, because it was cut or comes from a server on the way.
    pub fn unreadable(status: StatusCode) -> Self {
        Self { status: Some(status), transient: true, ..Self::new(format!("{NAME}: {} without a readable body", status.as_u16())) }
    }

    /// A request that must not be sent.
    pub fn invalid(cause: &str) -> Self {
        Self::new(format!("{NAME}: {cause}"))
    }

    /// An answer with an error status (<https://docs.stripe.com/api/errors>).
    pub fn of_answer(answer: &Answer, body: &Value) -> Self {
        let error = &body["error"];
        let word = |name: &str| read::text(error, name).filter(|text| is_word(text)).unwrap_or_default();
        let (kind, code) = (word("type"), word("code"));
        // A key of the other mode (test, live) or another account does not show what is missing.
        let other_mode = read::text(error, "message").is_some_and(|message| message.contains("a similar object exists in"));
        let missing = (code == "resource_missing" && !other_mode).then(|| read::text(error, "param").unwrap_or_default().to_owned());
        let wants_retry = answer.headers.get("stripe-should-retry").and_then(|value| value.to_str().ok());
        let note = if other_mode { "(of the other mode)" } else { "" };
        let status = answer.status.as_u16().to_string();
        let words: Vec<&str> = [status.as_str(), kind, code, note].into_iter().filter(|word| !word.is_empty()).collect();
        Self {
            status: Some(answer.status),
            cause: format!("{NAME}: {}", words.join(" ")),
            missing,
            transient: answer.is_transient() && wants_retry != Some("false"),
            busy: answer.status == StatusCode::CONFLICT && wants_retry != Some("false"),
            retry_after: answer.retry_after(),
            vendor_works: Some(!answer.status.is_server_error()),
        }
    }

    /// Whether Stripe does not have an object that the request names.
    pub fn is_missing(&self) -> bool {
        self.missing.is_some()
    }

    /// Whether Stripe does not have the customer that the request names.
    pub fn is_customer_missing(&self) -> bool {
        self.missing.as_deref().is_some_and(|parameter| parameter.is_empty() || parameter == "customer")
    }

    /// Whether another request with the same idempotency key, or on the same object, is running.
    pub fn is_busy(&self) -> bool {
        self.busy
    }
}

/// Whether this is one of Stripe's identifiers, such as `card_declined`, and nothing personal.
fn is_word(text: &str) -> bool {
    text.len() <= 64 && text.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_')
}

impl From<CallError> for StripeError {
    fn from(error: CallError) -> Self {
        Self {
            transient: error.is_transient(),
            retry_after: error.retry_after(),
            vendor_works: error.is_outage().then_some(false),
            ..Self::new(error.to_string())
        }
    }
}

impl Repeatable for StripeError {
    fn may_be_repeated(&self) -> bool {
        self.transient
    }

    fn retry_after(&self) -> Option<Duration> {
        self.retry_after
    }
}

impl Failure for StripeError {
    fn vendor_works(&self) -> Option<bool> {
        self.vendor_works
    }
}

/// Reports only that Stripe failed; the cause is logged.
impl From<StripeError> for Error {
    fn from(error: StripeError) -> Self {
        let again = error.transient || error.busy;
        let retry_after =
            again.then(|| error.retry_after.map_or(1, |pause| u64::max(1, pause.as_secs() + u64::from(pause.subsec_nanos() > 0))));
        Self::Upstream { message: "The payment provider failed", service: NAME, reason: None, retry_after, cause: error.cause }
    }
}

#[cfg(test)]
mod tests {
    use http::HeaderMap;
    use serde_json::json;

    use super::*;

    fn error(status: u16, error: &Value) -> StripeError {
        let body = json!({"error": error});
        let answer = Answer { status: StatusCode::from_u16(status).unwrap(), headers: HeaderMap::new(), body: body.to_string().into() };
        StripeError::of_answer(&answer, &body)
    }

    #[test]
    fn missing_object_is_told_apart() {
        let missing =
            |param: &str| error(400, &json!({"code": "resource_missing", "param": param, "message": "No such customer: 'cus_x'"}));
        assert!(missing("customer").is_customer_missing() && !missing("line_items[0][price]").is_customer_missing());
        assert!(missing("id").is_missing() && error(404, &json!({"code": "resource_missing"})).is_customer_missing());
        assert!(!error(400, &json!({"code": "parameter_missing", "param": "customer"})).is_missing());
    }

    #[test]
    fn object_of_the_other_mode_is_not_missing() {
        let message = "No such customer: 'cus_x'; a similar object exists in live mode, but a test mode key was used to make this request.";
        let other = error(400, &json!({"code": "resource_missing", "param": "customer", "message": message}));
        assert!(!other.is_missing());
        assert_eq!(other.cause, "stripe: 400 resource_missing (of the other mode)");
    }

    #[test]
    fn cause_holds_codes_and_no_message() {
        let refused = error(402, &json!({"type": "card_error", "code": "card_declined", "message": "ada@example.com"}));
        assert_eq!(refused.cause, "stripe: 402 card_error card_declined");
        assert!(!refused.may_be_repeated() && refused.vendor_works() == Some(true));
        assert_eq!(error(400, &json!({"code": "Ada Lovelace", "type": 5})).cause, "stripe: 400");
        assert!(error(503, &json!({})).may_be_repeated() && error(409, &json!({})).is_busy());
    }
}
