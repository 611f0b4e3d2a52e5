//! Errors of the API, in the shape that Stripe gives them (<https://docs.stripe.com/api/errors>).

use http::StatusCode;
use serde_json::{Value, json};

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    pub status: StatusCode,
    kind: &'static str,
    code: Option<&'static str>,
    message: String,
    param: Option<String>,
}

impl Refusal {
    fn new(status: StatusCode, code: Option<&'static str>, message: String, param: Option<&str>) -> Self {
        Self { status, kind: "invalid_request_error", code, message, param: param.map(str::to_owned) }
    }

    pub fn unauthorized() -> Self {
        Self::new(StatusCode::UNAUTHORIZED, None, "The API key is missing or wrong.".to_owned(), None)
    }

    pub fn no_route(method: &str, path: &str) -> Self {
        Self::new(StatusCode::NOT_FOUND, None, format!("The look-alike has no {method} {path}."), None)
    }

    /// The object that the path or a parameter names does not exist. Stripe answers 404 for the path and 400 for a parameter.
    pub fn missing(noun: &str, id: &str, param: &str) -> Self {
        let status = if param == "id" { StatusCode::NOT_FOUND } else { StatusCode::BAD_REQUEST };
        Self::new(status, Some("resource_missing"), format!("No such {noun}: '{id}'"), Some(param))
    }

    pub fn required(param: &str) -> Self {
        Self::new(StatusCode::BAD_REQUEST, Some("parameter_missing"), format!("The parameter {param} is required."), Some(param))
    }

    pub fn invalid(param: &str, message: &str) -> Self {
        Self::new(StatusCode::BAD_REQUEST, Some("parameter_invalid"), message.to_owned(), Some(param))
    }

    /// The object is in a state that does not allow the change.
    pub fn state(message: &str) -> Self {
        Self::new(StatusCode::BAD_REQUEST, None, message.to_owned(), None)
    }

    /// An idempotency key comes again with other parameters.
    pub fn reused_key() -> Self {
        let message = "The idempotency key was used before, with other parameters.".to_owned();
        Self { kind: "idempotency_error", ..Self::new(StatusCode::BAD_REQUEST, None, message, None) }
    }

    pub fn message(&self) -> &str {
        &self.message
    }

    /// The envelope.
    pub fn body(&self) -> Value {
        let mut error = json!({"type": self.kind, "message": self.message});
        if let Some(code) = self.code {
            error["code"] = code.into();
        }
        if let Some(param) = &self.param {
            error["param"] = param.as_str().into();
        }
        json!({"error": error})
    }
}
