//! In-memory stub of Cloudinary. It verifies upload signatures (computed by the published rule), detects the resource
//! type from the content, and appends an extension to the delivery URL of images.

use std::collections::{BTreeMap, HashMap};
use std::sync::atomic::{AtomicU16, Ordering};
use std::sync::{Arc, Mutex};

use aws_lc_rs::digest;
use axum::body::{Body, Bytes};
use axum::response::Response;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::{HeaderMap, Method, Uri};
use serde_json::{Value, json};
use tokio::net::TcpListener;

use super::bucket::read_form;

pub const KEY: &str = "874837483274837";
pub const SECRET: &str = "the-secret-of-the-cloud";

/// Files by resource type and public id.
type Resources = Arc<Mutex<HashMap<(String, String), Bytes>>>;

pub struct Media {
    pub url: String,
    resources: Resources,
    /// Status of every response; 0 means normal operation.
    only: Arc<AtomicU16>,
}

impl Media {
    pub async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let media = Self { url: format!("http://{}", listener.local_addr().unwrap()), resources: Arc::default(), only: Arc::default() };
        let (resources, only) = (media.resources.clone(), media.only.clone());
        let serve = move |method: Method, uri: Uri, headers: HeaderMap, body: Bytes| async move {
            match only.load(Ordering::SeqCst) {
                0 => serve(&resources, &method, uri.path(), &headers, &body),
                status => answer(status, &json!({"error": {"message": "not now"}})),
            }
        };
        let router = axum::Router::new().fallback(serve).layer(axum::extract::DefaultBodyLimit::disable());
        tokio::spawn(axum::serve(listener, router).into_future());
        media
    }

    pub fn answer_only(&self, status: Option<u16>) {
        self.only.store(status.unwrap_or(0), Ordering::SeqCst);
    }

    /// The public ids of all stored files.
    pub fn names(&self) -> Vec<String> {
        self.resources.lock().unwrap().keys().map(|(_, name)| name.clone()).collect()
    }
}

fn answer(status: u16, body: &Value) -> Response {
    Response::builder().status(status).header("content-type", "application/json").body(body.to_string().into()).unwrap()
}

fn serve(resources: &Resources, method: &Method, path: &str, headers: &HeaderMap, body: &Bytes) -> Response {
    let parts: Vec<&str> = path.trim_start_matches('/').splitn(6, '/').collect();
    match (method.as_str(), parts.as_slice()) {
        ("POST", ["v1_1", "files", "auto", "upload"]) => upload(resources, headers, body),
        ("POST", ["v1_1", "files", kind, "destroy"]) => {
            let fields: BTreeMap<String, String> = url::form_urlencoded::parse(body).into_owned().collect();
            if !is_signed(&fields) {
                return answer(401, &json!({"error": {"message": "Invalid Signature"}}));
            }
            assert_eq!(fields["invalidate"], "true");
            let gone = resources.lock().unwrap().remove(&((*kind).to_owned(), fields["public_id"].clone()));
            answer(200, &json!({"result": if gone.is_some() { "ok" } else { "not found" }}))
        }
        ("GET", ["v1_1", "files", "resources", kind, "upload", name]) => {
            let basic = format!("Basic {}", STANDARD.encode(format!("{KEY}:{SECRET}")));
            if headers.get("authorization").is_none_or(|given| given != basic.as_str()) {
                return answer(401, &json!({"error": {"message": "unknown api_key"}}));
            }
            resource(resources, kind, name)
        }
        ("GET", ["files", kind, "upload", ..]) => deliver(resources, kind, path.split_once("/upload/").unwrap().1),
        _ => answer(404, &json!({"error": {"message": "no such action"}})),
    }
}

/// Verifies the signature: SHA-1 of the sorted parameters (without file and API key) and the secret.
fn is_signed(fields: &BTreeMap<String, String>) -> bool {
    let signed = |name: &str| !matches!(name, "file" | "api_key" | "signature");
    let pairs: Vec<String> = fields.iter().filter(|(name, _)| signed(name)).map(|(name, value)| format!("{name}={value}")).collect();
    let wanted = digest::digest(&digest::SHA1_FOR_LEGACY_USE_ONLY, format!("{}{SECRET}", pairs.join("&")).as_bytes());
    fields["api_key"] == KEY && fields["signature"] == omnistack::platform::crypto::hex(wanted.as_ref())
}

fn upload(resources: &Resources, headers: &HeaderMap, body: &Bytes) -> Response {
    let (fields, file) = if headers["content-type"] == "application/x-www-form-urlencoded" {
        let fields: BTreeMap<String, String> = url::form_urlencoded::parse(body).into_owned().collect();
        let file = STANDARD.decode(fields["file"].split_once(";base64,").unwrap().1).unwrap();
        (fields, file.into())
    } else {
        read_form(headers, body)
    };
    if !is_signed(&fields) {
        return answer(401, &json!({"error": {"message": "Invalid Signature"}}));
    }
    let name = &fields["public_id"];
    resources.lock().unwrap().insert((kind_of(&file).to_owned(), name.clone()), file);
    answer(200, &json!({"public_id": name}))
}

fn kind_of(file: &[u8]) -> &'static str {
    if file.starts_with(b"\x89PNG") { "image" } else { "raw" }
}

fn resource(resources: &Resources, kind: &str, name: &str) -> Response {
    match resources.lock().unwrap().get(&(kind.to_owned(), name.to_owned())) {
        Some(file) if kind == "image" => answer(200, &json!({"bytes": file.len(), "version": 7, "format": "png"})),
        Some(file) => answer(200, &json!({"bytes": file.len(), "version": 7})),
        None => answer(404, &json!({"error": {"message": format!("Resource not found - {name}")}})),
    }
}

/// `rest` is `[fl_attachment[:<name>]/]v7/<name>[.png]`.
fn deliver(resources: &Resources, kind: &str, rest: &str) -> Response {
    let (flag, rest) = rest.split_once("v7/").unwrap();
    // The extension of an image URL is its format, not part of the public id.
    let name = if kind == "image" { rest.strip_suffix(".png").unwrap() } else { rest };
    let Some(file) = resources.lock().unwrap().get(&(kind.to_owned(), name.to_owned())).cloned() else {
        return answer(404, &Value::Null);
    };
    let mut response = Response::builder();
    if let Some(named) = flag.strip_prefix("fl_attachment") {
        let named = match named.trim_matches([':', '/']) {
            "" => rest.rsplit('/').next().unwrap().to_owned(),
            named => format!("{named}.png"),
        };
        response = response.header("content-disposition", format!("attachment; filename=\"{named}\""));
    }
    response.body(Body::from(file)).unwrap()
}
