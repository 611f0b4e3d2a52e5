//! R2 storage: presigned PUT of the declared size and content type.

use serde_json::json;

use super::bucket::{ACCESS, Bucket, SECRET};
use crate::harness::{Backend, TestApp};

#[tokio::test]
async fn r2_put_upload_confirm_download_and_delete() {
    let bucket = Bucket::start().await;
    let vars = [
        ("STORAGE_PROVIDER", "r2"),
        ("R2_ENDPOINT_URL", bucket.url.as_str()),
        ("R2_BUCKET", "files"),
        ("R2_ACCESS_KEY_ID", ACCESS),
        ("R2_SECRET_ACCESS_KEY", SECRET),
    ];
    let t = TestApp::with(Backend::Sqlite, &vars).await;
    let amy = t.user("amy").await;
    let body = json!({"filename": "a.txt", "content_type": "text/plain", "size": 5});
    let asked = amy.post("/app/files/upload-url", body).await.expect(201);
    assert_eq!((&asked["method"], &asked["fields"]), (&json!("PUT"), &json!(null)));
    let http = reqwest::Client::builder().no_proxy().build().unwrap();
    let put = async |content_type: &str, bytes: &'static [u8]| {
        let request = http.put(asked["upload_url"].as_str().unwrap()).header("content-type", content_type).body(bytes);
        request.send().await.unwrap().status().as_u16()
    };
    assert_eq!(put("text/html", b"hello").await, 403);
    assert_eq!(put("text/plain", b"hello!").await, 403, "the content length is signed");
    assert!(bucket.keys().is_empty());
    assert_eq!(put("text/plain", b"hello").await, 200);
    let file = amy.post("/app/files/confirm", json!({"file_id": asked["file_id"]})).await.expect(200);
    assert_eq!(file["size"], 5);
    let path = format!("/app/files/{}", file["id"].as_str().unwrap());
    let link = amy.get(&format!("{path}/download-url")).await.expect(200);
    let got = http.get(link["download_url"].as_str().unwrap()).send().await.unwrap();
    assert!(got.headers()["content-disposition"].to_str().unwrap().starts_with("attachment; filename=\"a.txt\""));
    assert_eq!(got.text().await.unwrap(), "hello");
    amy.delete(&path).await.expect(204);
    assert!(bucket.keys().is_empty());
}
