//! Cloudinary storage: signed form uploads, resource types, and outages.

use serde_json::{Map, Value, json};

use super::bucket::form_of;
use super::cloudinary_stub::{KEY, Media, SECRET};
use crate::harness::{Backend, Client, TestApp};

async fn server(media: &Media) -> TestApp {
    let vars = [
        ("STORAGE_PROVIDER", "cloudinary"),
        ("CLOUDINARY_BASE_URL", media.url.as_str()),
        ("CLOUDINARY_DELIVERY_BASE_URL", media.url.as_str()),
        ("CLOUDINARY_CLOUD_NAME", "files"),
        ("CLOUDINARY_API_KEY", KEY),
        ("CLOUDINARY_API_SECRET", SECRET),
    ];
    TestApp::with(Backend::Sqlite, &vars).await
}

async fn ask(client: &Client, name: &str, content_type: &str, size: usize) -> (String, Map<String, Value>, Value) {
    let body = json!({"filename": name, "content_type": content_type, "size": size});
    let asked = client.post("/app/files/upload-url", body).await.expect(201);
    assert_eq!(asked["method"], "POST");
    (asked["upload_url"].as_str().unwrap().to_owned(), asked["fields"].as_object().unwrap().clone(), asked["file_id"].clone())
}

/// Posts the form as a browser does and returns the status.
async fn post(url: &str, fields: &Map<String, Value>, file: &[u8]) -> u16 {
    let (content_type, body) = form_of(fields, file);
    http().post(url).header("content-type", content_type).body(body).send().await.unwrap().status().as_u16()
}

fn http() -> reqwest::Client {
    reqwest::Client::builder().no_proxy().build().unwrap()
}

const PNG: &[u8] = b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR and so on";

#[tokio::test]
async fn cloudinary_image_upload_confirm_download_and_delete() {
    let media = Media::start().await;
    let t = server(&media).await;
    let amy = t.user("amy").await;
    let (url, fields, id) = ask(&amy, "grüße \"x\".png", "image/png", 100).await;
    assert_eq!(url, format!("{}/v1_1/files/auto/upload", media.url));
    assert_eq!(fields.keys().collect::<Vec<_>>(), ["api_key", "public_id", "signature", "timestamp"]);
    let confirm = async || amy.post("/app/files/confirm", json!({"file_id": id})).await;
    confirm().await.expect_error(400, "BAD_REQUEST");
    for (name, value) in [("public_id", "uploads/eve/000000000000/x"), ("timestamp", "1"), ("signature", "00"), ("api_key", "x")] {
        let mut other = fields.clone();
        other[name] = value.into();
        assert_eq!(post(&url, &other, PNG).await, 401, "{name}");
    }
    assert!(media.names().is_empty());
    assert_eq!(post(&url, &fields, PNG).await, 200);
    let file = confirm().await.expect(200);
    assert_eq!((&file["size"], &file["status"]), (&json!(PNG.len()), &json!("uploaded")));

    let path = format!("/app/files/{}", file["id"].as_str().unwrap());
    let link = amy.get(&format!("{path}/download-url")).await.expect(200)["download_url"].as_str().unwrap().to_owned();
    assert!(link.contains("/files/image/upload/fl_attachment:gr__e__x_/v7/uploads/") && link.ends_with(".png.png"), "{link}");
    let got = http().get(&link).send().await.unwrap();
    assert_eq!(got.headers()["content-disposition"], "attachment; filename=\"gr__e__x_.png\"");
    assert_eq!(got.bytes().await.unwrap().as_ref(), PNG);
    amy.delete(&path).await.expect(204);
    assert!(media.names().is_empty());
}

#[tokio::test]
async fn cloudinary_resource_type_follows_content() {
    let media = Media::start().await;
    let t = server(&media).await;
    let amy = t.user("amy").await;
    // The extension of `odd.png` does not match its content: Cloudinary detects the type from the content.
    for (name, bytes, ending) in [("notes.txt", &b"hello"[..], "/notes.txt"), ("odd.png", b"no picture", "/odd.png"), ("bare", PNG, "/bare.png")] {
        let (url, fields, id) = ask(&amy, name, "application/octet-stream", 100).await;
        assert_eq!(post(&url, &fields, bytes).await, 200);
        let file = amy.post("/app/files/confirm", json!({"file_id": id})).await.expect(200);
        assert_eq!(file["size"], bytes.len());
        let path = format!("/app/files/{}", file["id"].as_str().unwrap());
        let link = amy.get(&format!("{path}/download-url")).await.expect(200)["download_url"].as_str().unwrap().to_owned();
        assert!(link.contains("/fl_attachment") && link.ends_with(ending), "{link}");
        assert_eq!(http().get(&link).send().await.unwrap().bytes().await.unwrap().as_ref(), bytes);
        amy.delete(&path).await.expect(204);
        assert!(media.names().is_empty());
    }
}

#[tokio::test]
async fn cloudinary_confirm_with_wrong_type_or_size_is_rejected() {
    let media = Media::start().await;
    let t = server(&media).await;
    let amy = t.user("amy").await;
    let (url, fields, id) = ask(&amy, "a.png", "image/png", 100).await;
    assert_eq!(post(&url, &fields, b"<script>").await, 200);
    amy.post("/app/files/confirm", json!({"file_id": id})).await.expect_error(400, "BAD_REQUEST");
    assert!(media.names().is_empty(), "the rejected file is deleted");
    // The signature does not limit the size, so the confirmation checks it.
    let (url, fields, id) = ask(&amy, "a.txt", "text/plain", 4).await;
    assert_eq!(post(&url, &fields, b"hello").await, 200);
    amy.post("/app/files/confirm", json!({"file_id": id})).await.expect_error(400, "BAD_REQUEST");
    assert_eq!(amy.get(&format!("/app/files/{}", id.as_str().unwrap())).await.expect(200)["status"], "pending");
}

#[tokio::test]
async fn cloudinary_outage_returns_502_and_keeps_files() {
    let media = Media::start().await;
    let t = server(&media).await;
    let amy = t.user("amy").await;
    let (url, fields, id) = ask(&amy, "a.png", "image/png", 100).await;
    assert_eq!(post(&url, &fields, PNG).await, 200);
    let path = format!("/app/files/{}", id.as_str().unwrap());
    let confirm = async || amy.post("/app/files/confirm", json!({"file_id": id})).await;
    for status in [503, 429, 420, 401] {
        media.answer_only(Some(status));
        let details = confirm().await.expect_error(502, "EXTERNAL_SERVICE_ERROR");
        assert_eq!(details["service"], "storage");
        amy.delete(&path).await.expect_error(502, "EXTERNAL_SERVICE_ERROR");
        assert_eq!(amy.get(&path).await.expect(200)["status"], "pending");
    }
    media.answer_only(None);
    confirm().await.expect(200);
    media.answer_only(Some(503));
    amy.get(&format!("{path}/download-url")).await.expect_error(502, "EXTERNAL_SERVICE_ERROR");
    amy.delete(&path).await.expect_error(502, "EXTERNAL_SERVICE_ERROR");
    media.answer_only(None);
    amy.delete(&path).await.expect(204);
    assert!(media.names().is_empty());
}
