//! HTTP client for tests, with expectations that print the actual response.

use std::future::{Future, IntoFuture};
use std::pin::Pin;

use http::{HeaderMap, Method, StatusCode};
use serde_json::Value;

/// A client of the server, with or without a token.
#[derive(Clone)]
pub struct Client {
    url: String,
    pub token: Option<String>,
    http: reqwest::Client,
}

/// A request under construction; `.await` sends it.
pub struct Call(reqwest::RequestBuilder);

/// A response.
#[derive(Debug, Clone)]
pub struct Reply {
    pub status: StatusCode,
    pub headers: HeaderMap,
    pub body: Vec<u8>,
}

impl Client {
    pub fn new(url: &str, token: Option<String>) -> Self {
        // No decompression: tests check the bytes on the wire.
        let http = reqwest::Client::builder().redirect(reqwest::redirect::Policy::none()).no_proxy().no_gzip().build().unwrap();
        Self { url: url.to_owned(), token, http }
    }

    /// A client without a token that multiplexes requests over HTTP/2.
    pub fn over_http2(url: &str) -> Self {
        let http = reqwest::Client::builder().http2_prior_knowledge().no_proxy().no_gzip().build().unwrap();
        Self { url: url.to_owned(), token: None, http }
    }

    /// Starts a request for a path below `/api/v1`; `//path` means `/path` from the root.
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

    /// Creates a project and returns it.
    pub async fn project(&self, name: &str) -> Value {
        self.post("/app/projects", serde_json::json!({"name": name})).await.expect(201)
    }

    /// All rows of a list, read page by page with cursors.
    pub async fn walk(&self, path: &str, filter: &[(&str, &str)], limit: usize) -> Vec<Value> {
        let (mut rows, mut cursor) = (Vec::new(), String::new());
        loop {
            let page = self.get(path).query(filter).query(&[("limit", &limit.to_string()), ("cursor", &cursor)]).await.expect(200);
            let items = page["items"].as_array().unwrap();
            assert_eq!(page["limit"], limit, "{page}");
            assert!(page.get("total").is_none() && page.get("skip").is_none(), "{page}");
            rows.extend(items.iter().cloned());
            let Some(next) = page["next_cursor"].as_str() else {
                assert!(page["next_cursor"].is_null(), "{page}");
                return rows;
            };
            assert_eq!(items.len(), limit, "a page before the last one is short: {page}");
            next.clone_into(&mut cursor);
        }
    }
}

/// The ids of the rows, in order.
pub fn ids<'r>(rows: impl IntoIterator<Item = &'r Value>) -> Vec<&'r str> {
    rows.into_iter().map(|row| row["id"].as_str().unwrap()).collect()
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

    /// Adds an `Idempotency-Key` header.
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

impl Call {
    /// Sends the request and returns with the head of the answer, whose body is read piece by piece.
    pub async fn open(self) -> reqwest::Response {
        self.0.send().await.unwrap()
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
    /// Checks the status and returns the JSON body; null for an empty body.
    #[track_caller]
    pub fn expect(self, status: u16) -> Value {
        assert_eq!(self.status.as_u16(), status, "{}", self.text());
        if self.body.is_empty() { Value::Null } else { self.json() }
    }

    /// Checks the status and returns the body as text.
    #[track_caller]
    pub fn expect_text(self, status: u16) -> String {
        assert_eq!(self.status.as_u16(), status, "{}", self.text());
        self.text()
    }

    /// Checks status, code and error format, and returns `details`.
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

    /// Checks for a 422 and returns the invalid fields, in order.
    #[track_caller]
    pub fn expect_invalid(self) -> Vec<String> {
        let details = self.expect_error(422, "VALIDATION_ERROR");
        let problems = details["errors"].as_array().unwrap();
        assert!(problems.iter().all(|problem| problem["message"].is_string() && problem["type"].is_string()), "{details}");
        let fields: Vec<_> = problems.iter().map(|problem| problem["field"].as_str().unwrap().to_owned()).collect();
        assert_eq!(details["field"].as_str(), fields.first().map(String::as_str), "{details}");
        fields
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
