//! HTTP stub for a vendor: records requests and sends a configured response.

use std::sync::{Arc, Mutex};

use axum::body::{Body, Bytes};
use axum::response::Response;
use http::{HeaderMap, Method, Uri};
use serde_json::Value;
use tokio::net::TcpListener;

/// A received request.
#[derive(Clone)]
pub struct Asked {
    pub method: Method,
    pub path: String,
    pub headers: HeaderMap,
    pub body: Value,
}

impl Asked {
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(|value| value.to_str().unwrap())
    }
}

type Answer = (u16, Vec<(String, String)>, String);

pub struct Stub {
    pub url: String,
    answer: Arc<Mutex<Answer>>,
    asked: Arc<Mutex<Vec<Asked>>>,
}

impl Stub {
    pub async fn start(status: u16, headers: &[(&str, &str)], body: &str) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let stub = Self { url: format!("http://{}", listener.local_addr().unwrap()), answer: Arc::default(), asked: Arc::default() };
        stub.answer(status, headers, body);
        let (answer, asked) = (stub.answer.clone(), stub.asked.clone());
        let serve = move |method: Method, uri: Uri, headers: HeaderMap, body: Bytes| async move {
            let body = serde_json::from_slice(&body).unwrap_or_default();
            asked.lock().unwrap().push(Asked { method, path: uri.path().to_owned(), headers, body });
            let (status, headers, body) = answer.lock().unwrap().clone();
            let response = headers.iter().fold(Response::builder().status(status), |response, (name, value)| response.header(name, value));
            response.body(Body::from(body)).unwrap()
        };
        tokio::spawn(axum::serve(listener, axum::Router::new().fallback(serve)).into_future());
        stub
    }

    /// Sets the response of all further requests.
    pub fn answer(&self, status: u16, headers: &[(&str, &str)], body: &str) {
        let headers = headers.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        *self.answer.lock().unwrap() = (status, headers, body.to_owned());
    }

    /// All received requests, oldest first.
    pub fn asked(&self) -> Vec<Asked> {
        self.asked.lock().unwrap().clone()
    }
}

/// A local port that accepts connections and closes them at once.
pub async fn rude_port() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move { while listener.accept().await.is_ok() {} });
    port
}

/// A local port without a listener.
pub async fn closed_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap().port()
}
