//! The encoding of request bodies: one rule for every operation with a body.

use http::Method;
use serde_json::json;

use super::{calls_at, described, path_of};
use crate::harness::files::{self, Place};
use crate::harness::{Backend, Call, Client, TestApp};

/// A server with every account route, an administrator, and every operation with a JSON body: method and path.
async fn every_json_body() -> (TestApp, Client, Vec<(Method, String)>) {
    let t = TestApp::with_accounts(Backend::Sqlite, &[]).await;
    let admin = t.register("root@example.test").await;
    t.sql("UPDATE users SET role = 'admin'").await;
    t.forget_identity(&admin.id);
    let with_body = calls_at(&t)
        .into_iter()
        .filter(|(route, method)| described(route, method)["requestBody"]["content"]["application/json"].is_object());
    let operations: Vec<_> = with_body.map(|(route, method)| (method, path_of(&route))).collect();
    for area in ["public", "app", "admin"] {
        assert!(operations.iter().any(|(_, path)| path.starts_with(&format!("//api/v1/{area}/"))), "{area}: {operations:?}");
    }
    (t, admin.client, operations)
}

fn json_call(client: &Client, method: &Method, path: &str, body: impl Into<reqwest::Body>) -> Call {
    client.call(method.clone(), path).body("application/json", body)
}

#[tokio::test]
async fn json_body_after_byte_order_mark_is_read() {
    let (_t, admin, operations) = every_json_body().await;
    for (method, path) in operations {
        let details = json_call(&admin, &method, &path, "\u{feff}[]").await.expect_error(422, "VALIDATION_ERROR");
        assert_eq!(details["field"], "body", "{method} {path}");
    }
    let project = json_call(&admin, &Method::POST, "/app/projects", "\u{feff}{\"name\": \"\u{feff}Apollo\"}").await.expect(201);
    assert_eq!(project["name"], "\u{feff}Apollo", "only the mark before the text is dropped");
}

#[tokio::test]
async fn json_body_in_utf16_or_utf32_returns_400() {
    let (_t, admin, operations) = every_json_body().await;
    let text = r#"{"name": "Apollo"}"#;
    let marked = format!("\u{feff}{text}");
    let little = |text: &str| text.encode_utf16().flat_map(u16::to_le_bytes).collect::<Vec<_>>();
    let big = |text: &str| text.encode_utf16().flat_map(u16::to_be_bytes).collect::<Vec<_>>();
    let wide: Vec<u8> = text.chars().flat_map(|c| u32::from(c).to_be_bytes()).collect();
    let latin1 = b"{\"name\": \"caf\xe9\"}".to_vec();
    // Compressed, without a header that says so.
    let gzip = b"\x1f\x8b\x08\x00\x00\x00\x00\x00\x00\x03\xab\xae\x05\x00\x43\xbf\xa6\xa3\x02\x00\x00\x00".to_vec();
    for (method, path) in operations {
        for body in [little(text), big(text), little(&marked), big(&marked), wide.clone(), latin1.clone(), gzip.clone()] {
            let reply = json_call(&admin, &method, &path, body).await;
            assert!(reply.text().contains("is not UTF-8"), "{method} {path}: {}", reply.text());
            reply.expect_error(400, "BAD_REQUEST");
        }
    }
}

#[tokio::test]
async fn json_body_with_content_encoding_returns_415() {
    let (_t, admin, operations) = every_json_body().await;
    for (method, path) in operations {
        for coding in ["gzip", "GZIP", "br", "zstd", "deflate", "identity, gzip", "aes128gcm", "x"] {
            let reply = json_call(&admin, &method, &path, "[]").header("content-encoding", coding).await;
            assert_eq!(reply.header("accept-encoding"), Some("identity"), "{method} {path} {coding}");
            assert!(reply.text().contains("uncompressed"), "{}", reply.text());
            assert_eq!(reply.expect_error(415, "UNSUPPORTED_MEDIA_TYPE"), json!({}));
        }
        for coding in ["identity", "Identity", ""] {
            let reply = json_call(&admin, &method, &path, "[]").header("content-encoding", coding).await;
            reply.expect_error(422, "VALIDATION_ERROR");
        }
    }
}

#[tokio::test]
async fn upload_with_content_encoding_returns_415() {
    let p = Place::new(Backend::Sqlite).await;
    let amy = p.t.user("amy").await;
    let asked = files::ask(&amy, "a.txt", "text/plain", 100).await;
    let put = || p.t.anonymous().call(Method::PUT, &files::path(&asked["upload_url"])).body("text/plain", "hello");
    let refused = put().header("content-encoding", "gzip").await;
    assert_eq!(refused.header("accept-encoding"), Some("identity"));
    refused.expect_error(415, "UNSUPPORTED_MEDIA_TYPE");
    assert_eq!(p.objects(), Vec::<String>::new());
    put().header("content-encoding", "identity").await.expect(204);
    files::confirm(&amy, &asked).await.expect(200);
}
