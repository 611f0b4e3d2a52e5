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
    /// What is asked for is done already: Stripe has the usage event with this identifier.
    duplicate: bool,
    /// The key is refused, lacks a permission, or is of the other mode: nothing was done.
    key_refused: bool,
    /// Stripe has understood the request and says no: nothing was done, and a repetition cannot succeed.
    refused: bool,
    /// A later call may succeed.
    transient: bool,
    /// Another request with the same idempotency key, or on the same object, is running.
    busy: bool,
    retry_after: Option<Duration>,
    vendor_works: Option<bool>,
}

impl StripeError {
    fn new(cause: String) -> Self {
        Self {
            status: None,
            cause,
            missing: None,
            duplicate: false,
            key_refused: false,
            refused: false,
            transient: false,
            busy: false,
            retry_after: None,
            vendor_works: None,
        }
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
        let message = read::text(error, "message").unwrap_or_default();
        let other_mode = message.contains("a similar object exists in");
        // The code is documented, but the first version of the API leaves it out (langfuse/langfuse#16292).
        let duplicate = code == "duplicate_meter_event"
            || (answer.status == StatusCode::BAD_REQUEST && message.contains("event already exists with identifier"));
        let key_refused = other_mode || matches!(answer.status, StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN);
        let missing = (code == "resource_missing" && !other_mode).then(|| read::text(error, "param").unwrap_or_default().to_owned());
        let wants_retry = answer.headers.get("stripe-should-retry").and_then(|value| value.to_str().ok());
        let note = if other_mode { "(of the other mode)" } else { "" };
        let status = answer.status.as_u16().to_string();
        let words: Vec<&str> = [status.as_str(), kind, code, note].into_iter().filter(|word| !word.is_empty()).collect();
        Self {
            status: Some(answer.status),
            cause: format!("{NAME}: {}", words.join(" ")),
            missing,
            duplicate,
            key_refused,
            refused: is_final(answer.status) && error.is_object() && !duplicate && !key_refused,
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

    /// Whether Stripe has the usage event already that the request reports.
    pub fn is_duplicate(&self) -> bool {
        self.duplicate
    }

    /// Whether Stripe did nothing because of the key: refused, without the permission, or of the other mode.
    pub fn is_key_refused(&self) -> bool {
        self.key_refused
    }

    /// Whether Stripe did nothing and never will, whatever the key: the request itself is refused.
    pub fn is_refusal(&self) -> bool {
        self.refused
    }

    /// Whether another request with the same idempotency key, or on the same object, is running.
    pub fn is_busy(&self) -> bool {
        self.busy
    }
}

/// Whether a status is about the request alone, and not about its time.
fn is_final(status: StatusCode) -> bool {
    let passes = matches!(status, StatusCode::REQUEST_TIMEOUT | StatusCode::CONFLICT | StatusCode::TOO_MANY_REQUESTS);
    status.is_client_error() && !passes
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
    fn duplicate_usage_event_is_told_apart() {
        let message = json!({"type": "invalid_request_error", "message": "An event already exists with identifier 5f."});
        for duplicate in [error(400, &json!({"code": "duplicate_meter_event"})), error(400, &message)] {
            assert!(duplicate.is_duplicate() && !duplicate.is_refusal());
        }
        assert!(!error(500, &message).is_duplicate());
        assert!(!error(400, &json!({"message": "The identifier is too long"})).is_duplicate());
    }

    #[test]
    fn refusal_is_about_the_request_alone() {
        let some = json!({"type": "invalid_request_error"});
        for (status, refusal, key) in [(400, true, false), (402, true, false), (404, true, false), (401, false, true), (403, false, true)] {
            let error = error(status, &some);
            assert_eq!((error.is_refusal(), error.is_key_refused()), (refusal, key), "{status}");
        }
        for status in [302, 408, 409, 429, 500, 503] {
            assert!(!error(status, &some).is_refusal(), "{status}");
        }
        assert!(!error(404, &Value::Null).is_refusal(), "a server on the way has answered, not Stripe");
        let other_mode = error(400, &json!({"message": "No such customer: 'cus_x'; a similar object exists in live mode"}));
        assert!(other_mode.is_key_refused() && !other_mode.is_refusal());
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
