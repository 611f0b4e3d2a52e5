//! File storage in a temporary local folder, and the steps of an upload.

use std::path::PathBuf;
use std::sync::Arc;

use http::Method;
use omnistack::platform::config::Env;
use omnistack::providers::ProviderError;
use omnistack::providers::storage::local_store::{Local, MinimumRate};
use omnistack::providers::storage::provider::StorageProvider;
use omnistack::providers::vendor::{Outside, VendorSettings};
use serde_json::{Value, json};
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;

use super::{Backend, Client, Reply, TestApp};

/// A server with a temporary storage folder.
pub struct Place {
    pub t: TestApp,
    pub folder: tempfile::TempDir,
}

impl Place {
    pub async fn new(b: Backend) -> Self {
        Self::with(b, &[]).await
    }

    pub async fn with(b: Backend, vars: &[(&str, &str)]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let dir = folder.path().join("storage").to_str().unwrap().to_owned();
        let vars: Vec<_> = vars.iter().copied().chain([("LOCAL_STORAGE_DIR", dir.as_str())]).collect();
        Self { t: TestApp::with(b, &vars).await, folder }
    }

    /// A server that ends uploads below another rate than the default one.
    pub async fn with_minimum_rate(b: Backend, rate: MinimumRate, vars: &[(&str, &str)]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let vendor = Arc::new(LocalAtRate { folder: folder.path().join("storage"), rate });
        Self { t: TestApp::with_config(b, vars, |config| config.storage.vendor = vendor).await, folder }
    }

    /// The paths of uploads that are being received.
    pub fn drafts(&self) -> Vec<String> {
        self.objects().into_iter().filter(|path| path.contains("/.uploads/")).collect()
    }

    /// The paths of all files below the folder.
    pub fn objects(&self) -> Vec<String> {
        fn walk(folder: &std::path::Path, found: &mut Vec<String>) {
            for entry in std::fs::read_dir(folder).into_iter().flatten() {
                let path = entry.unwrap().path();
                if path.is_dir() { walk(&path, found) } else { found.push(path.to_str().unwrap().to_owned()) }
            }
        }
        let mut found = Vec::new();
        walk(self.folder.path(), &mut found);
        found
    }
}

#[derive(Debug)]
struct LocalAtRate {
    folder: PathBuf,
    rate: MinimumRate,
}

impl VendorSettings<dyn StorageProvider> for LocalAtRate {
    fn check(&self, _: &mut Env) {}

    fn connect(&self, outside: &Outside) -> Result<Arc<dyn StorageProvider>, ProviderError> {
        Ok(Arc::new(Local::new(self.folder.clone(), &outside.keys).with_minimum_rate(self.rate)))
    }
}

/// Opens a connection and sends the head of an upload of `size` bytes of plain text, and its first bytes.
pub async fn begin_upload(authority: &str, asked: &Value, size: usize, first: &[u8]) -> TcpStream {
    let link = path(&asked["upload_url"]);
    let head = format!(
        "PUT /api/v1{link} HTTP/1.1\r\nHost: {authority}\r\nConnection: close\r\nContent-Type: text/plain\r\nContent-Length: {size}\r\n\r\n"
    );
    let mut stream = TcpStream::connect(authority).await.unwrap();
    stream.write_all(&[head.as_bytes(), first].concat()).await.unwrap();
    stream
}

pub async fn ask(client: &Client, name: &str, content_type: &str, size: usize) -> Value {
    let body = json!({"filename": name, "content_type": content_type, "size": size});
    client.post("/app/files/upload-url", body).await.expect(201)
}

/// The path of a URL below `/api/v1`, for [`Client::call`].
pub fn path(link: &Value) -> String {
    let link = link.as_str().unwrap();
    link.split_once("/api/v1").unwrap_or_else(|| panic!("{link}")).1.to_owned()
}

pub async fn send(t: &TestApp, asked: &Value, content_type: &str, bytes: &[u8]) -> Reply {
    t.anonymous().call(Method::PUT, &path(&asked["upload_url"])).body(content_type, bytes.to_vec()).await
}

pub async fn confirm(client: &Client, asked: &Value) -> Reply {
    client.post("/app/files/confirm", json!({"file_id": asked["file_id"]})).await
}

pub async fn upload(t: &TestApp, client: &Client, name: &str, content_type: &str, bytes: &[u8]) -> Value {
    let asked = ask(client, name, content_type, bytes.len()).await;
    send(t, &asked, content_type, bytes).await.expect(204);
    confirm(client, &asked).await.expect(200)
}

pub async fn link(client: &Client, file: &Value) -> String {
    let id = file["id"].as_str().unwrap();
    path(&client.get(&format!("/app/files/{id}/download-url")).await.expect(200)["download_url"])
}
