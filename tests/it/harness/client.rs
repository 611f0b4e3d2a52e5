//! HTTP as a front end speaks it, with expectations that say what came instead.

use std::future::{Future, IntoFuture};
use std::pin::Pin;

use http::{HeaderMap, Method, StatusCode};
use serde_json::Value;

/// Somebody who calls the server.
#[derive(Clone)]
pub struct Client {
    url: String,
    pub token: Option<String>,
    http: reqwest::Client,
}

/// A request being put together; awaiting it sends it.
pub struct Call(reqwest::RequestBuilder);

/// What came back.
#[derive(Debug, Clone)]
pub struct Reply {
    pub status: StatusCode,
    pub headers: HeaderMap,
    pub body: Vec<u8>,
}

impl Client {
    pub fn new(url: &str, token: Option<String>) -> Self {
        // No decompression: a test sees what is on the wire.
        let http = reqwest::Client::builder().redirect(reqwest::redirect::Policy::none()).no_proxy().no_gzip().build().unwrap();
        Self { url: url.to_owned(), token, http }
    }

    /// As nobody, with many requests at a time on one connection.
    pub fn over_http2(url: &str) -> Self {
        let http = reqwest::Client::builder().http2_prior_knowledge().no_proxy().no_gzip().build().unwrap();
        Self { url: url.to_owned(), token: None, http }
    }

    /// A path below `/api/v1`, or any other if it starts with `//`: then one slash is taken off.
    pub fn call(&self, method: Method, path: &str) -> Call {
        let url = match path.strip_prefix("//") {
            Some(rest) => format!("{}/{rest}", self.url),
            None => format!("{}/api/v1{path}", self.url),
        };
        let request = self.http.request(method, url);
        Call(match &self.token {
            Some(token) => request.bearer_auth(token),
            None => request,
        })
    }

    pub fn get(&self, path: &str) -> Call {
        self.call(Method::GET, path)
    }

    pub fn delete(&self, path: &str) -> Call {
        self.call(Method::DELETE, path)
    }

    #[expect(clippy::needless_pass_by_value, reason = "callers write `json!` in place")]
    pub fn post(&self, path: &str, body: Value) -> Call {
        self.call(Method::POST, path).json(&body)
    }

    #[expect(clippy::needless_pass_by_value, reason = "callers write `json!` in place")]
    pub fn patch(&self, path: &str, body: Value) -> Call {
        self.call(Method::PATCH, path).json(&body)
    }

    /// Makes a project and gives it.
    pub async fn project(&self, name: &str) -> Value {
        self.post("/app/projects", serde_json::json!({"name": name})).await.expect(201)
    }
}

impl Call {
    pub fn json(self, body: &Value) -> Self {
        Self(self.0.json(body))
    }

    pub fn body(self, content_type: &str, body: impl Into<reqwest::Body>) -> Self {
        Self(self.0.header("content-type", content_type).body(body))
    }

    pub fn header(self, name: &str, value: impl AsRef<[u8]>) -> Self {
        Self(self.0.header(name, http::HeaderValue::from_bytes(value.as_ref()).unwrap()))
    }

    /// With an `Idempotency-Key`.
    pub fn key(self, key: &str) -> Self {
        self.header("idempotency-key", key)
    }

    pub fn query(self, pairs: &[(&str, &str)]) -> Self {
        let (client, request) = self.0.build_split();
        let mut request = request.unwrap();
        request.url_mut().query_pairs_mut().extend_pairs(pairs);
        Self(reqwest::RequestBuilder::from_parts(client, request))
    }
}

impl IntoFuture for Call {
    type Output = Reply;
    type IntoFuture = Pin<Box<dyn Future<Output = Reply> + Send>>;

    fn into_future(self) -> Self::IntoFuture {
        Box::pin(async move {
            let response = self.0.send().await.unwrap();
            let (status, headers) = (response.status(), response.headers().clone());
            Reply { status, headers, body: response.bytes().await.unwrap().to_vec() }
        })
    }
}

impl Reply {
    /// The JSON of an answer with this status; null for an empty body.
    #[track_caller]
    pub fn expect(self, status: u16) -> Value {
        assert_eq!(self.status.as_u16(), status, "{}", self.text());
        if self.body.is_empty() { Value::Null } else { self.json() }
    }

    /// The text of an answer with this status.
    #[track_caller]
    pub fn expect_text(self, status: u16) -> String {
        assert_eq!(self.status.as_u16(), status, "{}", self.text());
        self.text()
    }

    /// The `details` of an error with this status and code, in the one shape that errors have.
    #[track_caller]
    pub fn expect_error(self, status: u16, code: &str) -> Value {
        assert_eq!(self.status.as_u16(), status, "{}", self.text());
        let body = self.json();
        assert_eq!(body.as_object().map(serde_json::Map::len), Some(1), "{body}");
        let error = &body["error"];
        assert_eq!(error["code"], code, "{body}");
        assert!(error["message"].as_str().is_some_and(|message| !message.is_empty()), "{body}");
        assert!(error["details"].is_object(), "{body}");
        assert_eq!(error["request_id"].as_str(), self.header("x-request-id"), "{body}");
        error["details"].clone()
    }

    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).and_then(|value| value.to_str().ok())
    }

    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    #[track_caller]
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|error| panic!("{error}: {}", self.text()))
    }
}
