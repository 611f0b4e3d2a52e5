//! S3 storage: form uploads restricted by a policy, and outages.

use serde_json::{Value, json};

use super::bucket::{Bucket, form_of};
use crate::harness::Client;

async fn ask(client: &Client, content_type: &str, size: usize) -> Value {
    let body = json!({"filename": "grüße \"x\".png", "content_type": content_type, "size": size});
    client.post("/app/files/upload-url", body).await.expect(201)
}

/// Posts the form as a browser does and returns the status.
async fn post(url: &str, fields: &serde_json::Map<String, Value>, file: &[u8]) -> u16 {
    let (content_type, body) = form_of(fields, file);
    let http = reqwest::Client::builder().no_proxy().build().unwrap();
    http.post(url).header("content-type", content_type).body(body).send().await.unwrap().status().as_u16()
}

#[tokio::test]
async fn s3_form_upload_confirm_download_and_delete() {
    let bucket = Bucket::start().await;
    let t = bucket.server().await;
    let amy = t.user("amy").await;
    let png = b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR and so on";
    let asked = ask(&amy, "image/png", 100).await;
    assert_eq!((&asked["method"], asked["upload_url"].as_str().unwrap()), (&json!("POST"), format!("{}/files", bucket.url).as_str()));
    let confirm = async || amy.post("/app/files/confirm", json!({"file_id": asked["file_id"]})).await;
    confirm().await.expect_error(400, "BAD_REQUEST");
    let (url, fields) = (asked["upload_url"].as_str().unwrap(), asked["fields"].as_object().unwrap());
    // The policy rejects another key, another type, a larger file and an empty file.
    for (name, value) in [("key", "uploads/eve/000000000000/x"), ("Content-Type", "text/html"), ("policy", "e30="), ("x-amz-signature", "00")] {
        let mut other = fields.clone();
        other[name] = value.into();
        assert_eq!(post(url, &other, png).await, 403, "{name}");
    }
    assert_eq!(post(url, fields, &[0; 101]).await, 403);
    assert_eq!(post(url, fields, b"").await, 403);
    assert!(bucket.keys().is_empty());
    assert_eq!(post(url, fields, png).await, 204);
    let file = confirm().await.expect(200);
    assert_eq!((&file["size"], &file["status"]), (&json!(png.len()), &json!("uploaded")));

    let path = format!("/app/files/{}", file["id"].as_str().unwrap());
    let download = amy.get(&format!("{path}/download-url")).await.expect(200)["download_url"].as_str().unwrap().to_owned();
    let http = reqwest::Client::builder().no_proxy().build().unwrap();
    let got = http.get(&download).send().await.unwrap();
    let disposition = got.headers()["content-disposition"].to_str().unwrap().to_owned();
    assert_eq!(disposition, "attachment; filename=\"gr__e _x_.png\"; filename*=UTF-8''gr%C3%BC%C3%9Fe%20%22x%22.png");
    assert_eq!(got.bytes().await.unwrap().as_ref(), png);
    let altered = download.replace("x.png", "y.png");
    assert_eq!(http.get(altered.replace("attachment", "inline")).send().await.unwrap().status(), 403);
    amy.delete(&path).await.expect(204);
    assert!(bucket.keys().is_empty());
}

#[tokio::test]
async fn s3_confirm_with_wrong_content_removes_object() {
    let bucket = Bucket::start().await;
    let t = bucket.server().await;
    let amy = t.user("amy").await;
    let asked = ask(&amy, "image/png", 100).await;
    assert_eq!(post(asked["upload_url"].as_str().unwrap(), asked["fields"].as_object().unwrap(), b"<script>").await, 204);
    amy.post("/app/files/confirm", json!({"file_id": asked["file_id"]})).await.expect_error(400, "BAD_REQUEST");
    assert!(bucket.keys().is_empty());
}

#[tokio::test]
async fn s3_outage_returns_502_and_keeps_files() {
    let bucket = Bucket::start().await;
    let t = bucket.server().await;
    let amy = t.user("amy").await;
    let asked = ask(&amy, "text/plain", 100).await;
    assert_eq!(post(asked["upload_url"].as_str().unwrap(), asked["fields"].as_object().unwrap(), b"hello").await, 204);
    let confirm = async || amy.post("/app/files/confirm", json!({"file_id": asked["file_id"]})).await;
    let path = format!("/app/files/{}", asked["file_id"].as_str().unwrap());
    bucket.set_down(true);
    for reply in [confirm().await, amy.delete(&path).await] {
        let told = reply.text();
        assert_eq!(reply.expect_error(502, "EXTERNAL_SERVICE_ERROR"), json!({"service": "storage"}));
        assert!(!told.contains("SlowDown") && !told.contains(&bucket.url), "{told}");
    }
    // Presigning does not contact the store.
    ask(&amy, "text/plain", 1).await;
    bucket.set_down(false);
    confirm().await.expect(200);
    bucket.set_down(true);
    amy.get(&format!("{path}/download-url")).await.expect(200);
    amy.delete(&path).await.expect_error(502, "EXTERNAL_SERVICE_ERROR");
    amy.get(&path).await.expect(200);
    bucket.set_down(false);
    amy.delete(&path).await.expect(204);
    assert!(bucket.keys().is_empty());
}
