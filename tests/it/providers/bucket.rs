//! In-memory stub of an S3 bucket. It checks form uploads against their policy and presigned requests against their
//! signature, which it computes itself (AWS Signature Version 4).

use std::collections::{BTreeMap, HashMap};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use aws_lc_rs::{digest, hmac};
use axum::body::{Body, Bytes};
use axum::response::Response;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::{HeaderMap, Method, Uri};
use serde_json::Value;
use tokio::net::TcpListener;

use crate::harness::{Backend, TestApp};

pub const SECRET: &str = "the-secret-of-the-bucket";
pub const ACCESS: &str = "AKIATEST";

type Objects = Arc<Mutex<HashMap<String, (String, Bytes)>>>;

pub struct Bucket {
    pub url: String,
    objects: Objects,
    down: Arc<AtomicBool>,
    turned_away: Arc<AtomicUsize>,
}

impl Bucket {
    pub async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let bucket = Self { url, objects: Arc::default(), down: Arc::default(), turned_away: Arc::default() };
        let (objects, down, turned_away) = (bucket.objects.clone(), bucket.down.clone(), bucket.turned_away.clone());
        let serve = move |method: Method, uri: Uri, headers: HeaderMap, body: Bytes| async move {
            if down.load(Ordering::SeqCst) {
                turned_away.fetch_add(1, Ordering::SeqCst);
                return answer(503, &[], "<Error><Code>SlowDown</Code></Error>".into());
            }
            serve(&objects, &method, &uri, &headers, body)
        };
        let router = axum::Router::new().fallback(serve).layer(axum::extract::DefaultBodyLimit::disable());
        tokio::spawn(axum::serve(listener, router).into_future());
        bucket
    }

    /// A server that stores its files in this bucket, as in one of S3.
    pub async fn server(&self) -> TestApp {
        let vars = [
            ("STORAGE_PROVIDER", "s3"),
            ("S3_ENDPOINT_URL", self.url.as_str()),
            ("AWS_S3_BUCKET", "files"),
            ("AWS_ACCESS_KEY_ID", ACCESS),
            ("AWS_SECRET_ACCESS_KEY", SECRET),
        ];
        TestApp::with(Backend::Sqlite, &vars).await
    }

    pub fn set_down(&self, down: bool) {
        self.down.store(down, Ordering::SeqCst);
    }

    /// Number of requests received while the bucket was down.
    pub fn turned_away(&self) -> usize {
        self.turned_away.load(Ordering::SeqCst)
    }

    /// The keys of all stored objects.
    pub fn keys(&self) -> Vec<String> {
        self.objects.lock().unwrap().keys().cloned().collect()
    }
}

fn answer(status: u16, headers: &[(&str, String)], body: Body) -> Response {
    let response = headers.iter().fold(Response::builder().status(status), |response, (name, value)| response.header(*name, value));
    response.body(body).unwrap()
}

fn refused(code: &str) -> Response {
    answer(403, &[("content-type", "application/xml".to_owned())], format!("<Error><Code>{code}</Code></Error>").into())
}

fn serve(objects: &Objects, method: &Method, uri: &Uri, headers: &HeaderMap, body: Bytes) -> Response {
    if *method == Method::POST {
        return form(objects, headers, &body);
    }
    let query = uri.query().unwrap_or_default();
    if query.contains("X-Amz-Signature=") && !is_signed(method, uri.path(), query, headers) {
        return refused("SignatureDoesNotMatch");
    }
    assert!(query.contains("X-Amz-Signature=") || headers.contains_key("authorization"), "the request is not signed");
    let key = uri.path().trim_start_matches("/files/").to_owned();
    let mut objects = objects.lock().unwrap();
    let text = |name| headers.get(name).map(|value: &http::HeaderValue| value.to_str().unwrap().to_owned());
    match method.as_str() {
        "PUT" => {
            objects.insert(key, (text("content-type").unwrap_or_default(), body));
            answer(200, &[], Body::empty())
        }
        "DELETE" => {
            objects.remove(&key);
            answer(204, &[], Body::empty())
        }
        "GET" | "HEAD" => {
            let Some((content_type, bytes)) = objects.get(&key) else {
                return answer(404, &[], "<Error><Code>NoSuchKey</Code></Error>".into());
            };
            let wanted = text("range").and_then(|range| range.strip_prefix("bytes=0-")?.parse::<usize>().ok());
            let end = wanted.map_or(bytes.len(), |last| bytes.len().min(last + 1));
            let asked: HashMap<_, _> = url::form_urlencoded::parse(query.as_bytes()).into_owned().collect();
            let mut headers = vec![("content-type", content_type.clone()), ("content-length", end.to_string())];
            headers.extend(asked.get("response-content-disposition").map(|value| ("content-disposition", value.clone())));
            answer(200, &headers, if *method == Method::HEAD { Body::empty() } else { bytes.slice(..end).into() })
        }
        _ => answer(405, &[], Body::empty()),
    }
}

fn mac(key: &[u8], data: &str) -> Vec<u8> {
    hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, key), data.as_bytes()).as_ref().to_vec()
}

fn hex(bytes: impl AsRef<[u8]>) -> String {
    omnistack::platform::crypto::hex(bytes.as_ref())
}

/// Signing key for a scope `<access>/<day>/<region>/s3/aws4_request`; `None` for another access key.
fn signing_key(scope: &str) -> Option<Vec<u8>> {
    let rest = scope.strip_prefix(ACCESS)?.strip_prefix('/')?;
    Some(rest.split('/').fold(format!("AWS4{SECRET}").into_bytes(), |key, part| mac(&key, part)))
}

fn is_signed(method: &Method, path: &str, query: &str, headers: &HeaderMap) -> bool {
    let asked: HashMap<_, _> = url::form_urlencoded::parse(query.as_bytes()).into_owned().collect();
    let mut pairs: Vec<&str> = query.split('&').filter(|pair| !pair.starts_with("X-Amz-Signature=")).collect();
    pairs.sort_unstable();
    let signed = &asked["X-Amz-SignedHeaders"];
    let line = |name: &str| [name, ":", headers.get(name).map_or("", |value| value.to_str().unwrap()), "\n"].concat();
    let lines: String = signed.split(';').map(line).collect();
    let request = format!("{method}\n{path}\n{}\n{lines}\n{signed}\nUNSIGNED-PAYLOAD", pairs.join("&"));
    let (credential, time) = (&asked["X-Amz-Credential"], &asked["X-Amz-Date"]);
    let scope = credential.split_once('/').unwrap().1;
    let text = format!("AWS4-HMAC-SHA256\n{time}\n{scope}\n{}", hex(digest::digest(&digest::SHA256, request.as_bytes())));
    signing_key(credential).is_some_and(|key| hex(mac(&key, &text)) == asked["X-Amz-Signature"])
}

/// Parses a form that [`form_of`] has written: its fields and the file.
pub fn read_form(headers: &HeaderMap, body: &Bytes) -> (BTreeMap<String, String>, Bytes) {
    let boundary = headers["content-type"].to_str().unwrap().split_once("boundary=").unwrap().1.to_owned();
    let (mut fields, mut file, mut rest) = (BTreeMap::new(), Bytes::new(), body.clone());
    let find = |bytes: &Bytes, what: &str| bytes.windows(what.len()).position(|window| window == what.as_bytes());
    while let Some(at) = find(&rest, "name=\"") {
        rest = rest.slice(at + 6..);
        let name = String::from_utf8(rest.slice(..find(&rest, "\"").unwrap()).to_vec()).unwrap();
        rest = rest.slice(find(&rest, "\r\n\r\n").unwrap() + 4..);
        let end = find(&rest, &format!("\r\n--{boundary}")).unwrap();
        let value = rest.slice(..end);
        rest = rest.slice(end..);
        if name == "file" { file = value } else { drop(fields.insert(name, String::from_utf8(value.to_vec()).unwrap())) }
    }
    (fields, file)
}

fn form(objects: &Objects, headers: &HeaderMap, body: &Bytes) -> Response {
    let (fields, file) = read_form(headers, body);
    let field = |name: &str| fields.get(name).cloned().unwrap_or_default();
    let signed = signing_key(&field("x-amz-credential")).is_some_and(|key| hex(mac(&key, &field("policy"))) == field("x-amz-signature"));
    if !signed {
        return refused("SignatureDoesNotMatch");
    }
    let policy: Value = serde_json::from_slice(&STANDARD.decode(field("policy")).unwrap()).unwrap();
    assert!(policy["expiration"].as_str().unwrap().ends_with('Z'));
    for condition in policy["conditions"].as_array().unwrap() {
        let kept = match condition {
            Value::Array(rule) if rule[0] == "content-length-range" => {
                (rule[1].as_u64().unwrap()..=rule[2].as_u64().unwrap()).contains(&(file.len() as u64))
            }
            Value::Array(rule) => field(rule[1].as_str().unwrap().trim_start_matches('$')) == rule[2].as_str().unwrap(),
            Value::Object(pair) => pair.iter().all(|(name, value)| name == "bucket" && value == "files" || field(name) == value.as_str().unwrap()),
            _ => false,
        };
        if !kept {
            return refused("AccessDenied");
        }
    }
    objects.lock().unwrap().insert(field("key"), (field("Content-Type"), file));
    answer(204, &[], Body::empty())
}

/// Builds a multipart form with these fields, then the file: content type and body.
pub fn form_of(fields: &serde_json::Map<String, Value>, file: &[u8]) -> (String, Vec<u8>) {
    let boundary = "a-boundary-of-no-file";
    let mut body = Vec::new();
    for (name, value) in fields {
        let value = value.as_str().unwrap();
        body.extend_from_slice(format!("--{boundary}\r\nContent-Disposition: form-data; name=\"{name}\"\r\n\r\n{value}\r\n").as_bytes());
    }
    body.extend_from_slice(format!("--{boundary}\r\nContent-Disposition: form-data; name=\"file\"; filename=\"f\"\r\n\r\n").as_bytes());
    body.extend_from_slice(file);
    body.extend_from_slice(format!("\r\n--{boundary}--\r\n").as_bytes());
    (format!("multipart/form-data; boundary={boundary}"), body)
}
