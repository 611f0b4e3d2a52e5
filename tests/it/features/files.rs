//! Files in local storage: upload, confirm, download, list and delete, by the owner only.

use std::future::IntoFuture;

use futures_util::future::join_all;
use http::Method;
use serde_json::{Value, json};

use crate::harness::files::{Place, ask, confirm, link, path, send, upload};
use crate::harness::{Backend, ids};

crate::on_both_backends![
    file_upload_confirm_download_delete_succeeds,
    file_of_another_user_returns_404,
    upload_with_path_traversal_name_stays_in_folder,
    upload_larger_than_declared_returns_413,
    upload_after_confirm_returns_403,
    confirm_mismatched_content_type_returns_400,
    confirm_and_delete_concurrent_leave_no_row_or_object,
    upload_url_repeated_key_creates_one_file,
    file_list_with_status_filter_is_paginated,
];
crate::on_sqlite![
    upload_url_invalid_request_returns_422,
    signed_url_forged_or_expired_returns_403,
];

async fn file_upload_confirm_download_delete_succeeds(b: Backend) {
    let p = Place::new(b).await;
    let (t, amy) = (&p.t, p.t.user("amy").await);
    let bytes = "héllo wörld 🚀".as_bytes();
    let asked = ask(&amy, "grüße 🚀.txt", "text/plain; charset=utf-8", 100).await;
    let names: Vec<&str> = asked.as_object().unwrap().keys().map(String::as_str).collect();
    assert_eq!(names, ["expires_in", "fields", "file_id", "method", "upload_url"]);
    assert_eq!((&asked["method"], &asked["fields"], &asked["expires_in"]), (&json!("PUT"), &Value::Null, &json!(3600)));
    assert!(asked["upload_url"].as_str().unwrap().starts_with(&format!("{}/api/v1/public/storage/upload/", t.url)), "{asked}");
    confirm(&amy, &asked).await.expect_error(400, "BAD_REQUEST");
    let id = asked["file_id"].as_str().unwrap();
    amy.get(&format!("/app/files/{id}/download-url")).await.expect_error(400, "BAD_REQUEST");
    assert_eq!(amy.get(&format!("/app/files/{id}")).await.expect(200)["status"], "pending");

    let sent = send(t, &asked, "text/plain; charset=utf-8", bytes).await;
    assert_eq!((sent.status.as_u16(), sent.body.len()), (204, 0));
    let file = confirm(&amy, &asked).await.expect(200);
    assert_eq!((&file["filename"], &file["status"], &file["size"]), (&json!("grüße 🚀.txt"), &json!("uploaded"), &json!(bytes.len())));
    assert!(file.get("key").is_none());
    confirm(&amy, &asked).await.expect_error(400, "BAD_REQUEST");

    let got = t.anonymous().get(&link(&amy, &file).await).await;
    assert_eq!((got.status.as_u16(), got.body.as_slice()), (200, bytes));
    assert_eq!(got.header("content-type"), Some("text/plain; charset=utf-8"));
    assert_eq!(got.header("content-length"), Some(bytes.len().to_string().as_str()));
    let disposition = got.header("content-disposition").unwrap();
    assert!(disposition.starts_with("attachment; filename=\"gr__e _.txt\"; filename*=UTF-8''gr%C3%BC%C3%9Fe%20%F0%9F%9A%80.txt"), "{disposition}");
    assert_eq!((got.header("x-content-type-options"), got.header("content-encoding")), (Some("nosniff"), None));

    let download = link(&amy, &file).await;
    amy.delete(&format!("/app/files/{id}")).await.expect(204);
    amy.delete(&format!("/app/files/{id}")).await.expect_error(404, "NOT_FOUND");
    t.anonymous().get(&download).await.expect_error(404, "NOT_FOUND");
    assert!(p.objects().is_empty(), "{:?}", p.objects());
}

async fn file_of_another_user_returns_404(b: Backend) {
    let p = Place::new(b).await;
    let (amy, bob) = (p.t.user("amy").await, p.t.user("bob").await);
    let file = upload(&p.t, &amy, "a.txt", "text/plain", b"hello").await;
    let pending = ask(&amy, "b.txt", "text/plain", 5).await;
    let id = file["id"].as_str().unwrap();
    for strange in [id, "0199f3b0-7c1e-7d2a-9f2e-6f0f3c1b2a4d", "not-a-uuid"] {
        let one = format!("/app/files/{strange}");
        for reply in [bob.get(&one).await, bob.get(&format!("{one}/download-url")).await, bob.delete(&one).await] {
            let details = reply.expect_error(404, "NOT_FOUND");
            assert_eq!(details, json!({"resource": "File", "id": strange}));
        }
        bob.post("/app/files/confirm", json!({"file_id": strange})).await.expect_error(404, "NOT_FOUND");
    }
    confirm(&bob, &pending).await.expect_error(404, "NOT_FOUND");
    assert_eq!(bob.get("/app/files").await.expect(200)["total"], 0);
    amy.get(&format!("/app/files/{id}")).await.expect(200);
}

async fn upload_url_invalid_request_returns_422(b: Backend) {
    let p = Place::with(b, &[("STORAGE_ALLOWED_TYPES", "image/*, application/pdf"), ("STORAGE_MAX_BYTES", "1000")]).await;
    let amy = p.t.user("amy").await;
    for (field, body) in [
        ("filename", json!({"filename": "", "content_type": "image/png", "size": 1})),
        ("filename", json!({"filename": "x".repeat(256), "content_type": "image/png", "size": 1})),
        ("filename", json!({"filename": "a\0b", "content_type": "image/png", "size": 1})),
        ("filename", json!({"filename": "..", "content_type": "image/png", "size": 1})),
        ("content_type", json!({"filename": "a", "content_type": "", "size": 1})),
        ("content_type", json!({"filename": "a", "content_type": "x".repeat(101), "size": 1})),
        ("content_type", json!({"filename": "a", "content_type": "image/png\r\nx: y", "size": 1})),
        ("content_type", json!({"filename": "a", "content_type": "text/html", "size": 1})),
        ("size", json!({"filename": "a", "content_type": "image/png", "size": 0})),
        ("size", json!({"filename": "a", "content_type": "image/png", "size": 1.5})),
        ("size", json!({"filename": "a", "content_type": "image/png", "size": 1001})),
        ("size", json!({"filename": "a", "content_type": "image/png", "size": 104_857_601})),
        ("size", json!({"filename": "a", "content_type": "image/png"})),
    ] {
        let details = amy.post("/app/files/upload-url", body.clone()).await.expect_error(422, "VALIDATION_ERROR");
        assert_eq!(details["field"], field, "{body:.100}");
    }
    ask(&amy, "a.pdf", "Application/PDF; version=1", 1000).await;
    amy.get("/app/files?status=zzz").await.expect_error(422, "VALIDATION_ERROR");
    assert_eq!(p.t.number("SELECT COUNT(*) FROM files").await, 1);
}

async fn upload_with_path_traversal_name_stays_in_folder(b: Backend) {
    let p = Place::new(b).await;
    let long = "🚀".repeat(255);
    for (n, subject) in ["../../../../tmp/x", "auth0|7", "a/../../b", "x y", "..", long.as_str()].into_iter().enumerate() {
        let token = crate::harness::tokens::claims(subject, &p.t.clock).with("email", format!("u{n}@example.test").into());
        let user = p.t.with_token(&token.sign(crate::harness::SECRET));
        for name in ["../../../etc/passwd", "C:\\x.txt", "we\"ird; name='x'.txt", "photo\u{202e}gpj.exe", &long, "%2e%2e%2fx"] {
            let file = upload(&p.t, &user, name, "text/plain", b"hello").await;
            let shown = file["filename"].as_str().unwrap();
            assert!(!shown.contains(['/', '\\', '\u{202e}']) && !shown.is_empty(), "{shown}");
            let got = p.t.anonymous().get(&link(&user, &file).await).await;
            assert_eq!(got.body, b"hello");
            assert!(got.header("content-disposition").unwrap().starts_with("attachment; filename=\""));
        }
    }
    let root = p.folder.path().join("storage/uploads");
    assert_eq!(p.objects().len(), 36);
    assert!(p.objects().iter().all(|object| object.starts_with(root.to_str().unwrap())), "{:?}", p.objects());
}

async fn upload_larger_than_declared_returns_413(b: Backend) {
    let p = Place::new(b).await;
    let amy = p.t.user("amy").await;
    let asked = ask(&amy, "a.bin", "application/octet-stream", 1000).await;
    let put = |body: reqwest::Body| {
        p.t.anonymous().call(Method::PUT, &path(&asked["upload_url"])).body("application/octet-stream", body)
    };
    let details = put(vec![0; 1001].into()).await.expect_error(413, "PAYLOAD_TOO_LARGE");
    assert_eq!(details, json!({"limit": 1000}));
    // Without `Content-Length` the limit applies while the body is read.
    let pieces = futures_util::stream::iter((0..11).map(|_| Ok::<_, std::io::Error>(vec![7_u8; 100])));
    put(reqwest::Body::wrap_stream(pieces)).await.expect_error(413, "PAYLOAD_TOO_LARGE");
    put(Vec::new().into()).await.expect_error(400, "BAD_REQUEST");
    let other_type = p.t.anonymous().call(Method::PUT, &path(&asked["upload_url"])).body("text/html", vec![1]).await;
    other_type.expect_error(403, "AUTHORIZATION_ERROR");
    confirm(&amy, &asked).await.expect_error(400, "BAD_REQUEST");
    assert!(p.objects().is_empty(), "{:?}", p.objects());
    // Uploads up to the declared size are accepted. The last one replaces the earlier ones.
    for size in [1, 1000, 999] {
        put(vec![9; size].into()).await.expect(204);
    }
    assert_eq!(confirm(&amy, &asked).await.expect(200)["size"], 999);
}

async fn signed_url_forged_or_expired_returns_403(b: Backend) {
    let p = Place::new(b).await;
    let (t, amy) = (&p.t, p.t.user("amy").await);
    let asked = ask(&amy, "a.txt", "text/plain", 5).await;
    let put = async |path: &str| t.anonymous().call(Method::PUT, path).body("text/plain", b"hello".to_vec()).await;
    let (upload, file) = (path(&asked["upload_url"]), upload(t, &amy, "b.txt", "text/plain", b"other").await);
    let download = link(&amy, &file).await;
    t.anonymous().get(&upload.replace("/upload/", "/download/")).await.expect_error(403, "AUTHORIZATION_ERROR");
    put(&download.replace("/download/", "/upload/")).await.expect_error(403, "AUTHORIZATION_ERROR");
    let token = upload.rsplit('/').next().unwrap();
    let (payload, mac) = token.split_once('.').unwrap();
    let (last, swapped) = (&mac[..mac.len() - 1], if mac.ends_with('A') { "Q" } else { "A" });
    for forged in ["x".to_owned(), format!("{payload}."), format!("{payload}.{last}{swapped}"), format!("x{payload}.{mac}"), token.chars().rev().collect(), "..%2f..%2fetc%2fpasswd".to_owned()] {
        put(&format!("/public/storage/upload/{forged}")).await.expect_error(403, "AUTHORIZATION_ERROR");
        t.anonymous().get(&format!("/public/storage/download/{forged}")).await.expect_error(403, "AUTHORIZATION_ERROR");
    }
    let stranger = t.second(&[("SECRET_KEY", "the-service-secret-of-another-installation")]).await;
    stranger.anonymous().get(&download).await.expect_error(403, "AUTHORIZATION_ERROR");
    t.clock.advance(chrono::TimeDelta::hours(1));
    put(&upload).await.expect_error(403, "AUTHORIZATION_ERROR");
    t.anonymous().get(&download).await.expect_error(403, "AUTHORIZATION_ERROR");
}

async fn upload_after_confirm_returns_403(b: Backend) {
    let p = Place::new(b).await;
    let amy = p.t.user("amy").await;
    for round in 0..5 {
        let asked = ask(&amy, "a.txt", "text/plain", 5).await;
        send(&p.t, &asked, "text/plain", b"first").await.expect(204);
        // In any order of the requests, the confirmed content does not change.
        let again = join_all((0..5).map(|_| send(&p.t, &asked, "text/plain", b"evil")));
        let (confirmed, _) = tokio::join!(confirm(&amy, &asked), again);
        let file = confirmed.expect(200);
        send(&p.t, &asked, "text/plain", b"later").await.expect_error(403, "AUTHORIZATION_ERROR");
        let got = p.t.anonymous().get(&link(&amy, &file).await).await;
        assert_eq!(file["size"], got.body.len(), "round {round}");
    }
}

async fn confirm_mismatched_content_type_returns_400(b: Backend) {
    let p = Place::new(b).await;
    let amy = p.t.user("amy").await;
    let png = b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR and so on";
    upload(&p.t, &amy, "a.png", "image/png", png).await;
    let before = p.objects().len();
    for (content_type, bytes) in [("image/png", &b"<script>alert(1)</script>"[..]), ("application/pdf", png), ("image/jpeg", png)] {
        let asked = ask(&amy, "x", content_type, 100).await;
        send(&p.t, &asked, content_type, bytes).await.expect(204);
        confirm(&amy, &asked).await.expect_error(400, "BAD_REQUEST");
        assert_eq!(p.objects().len(), before, "the rejected object is deleted");
        assert_eq!(amy.get(&format!("/app/files/{}", asked["file_id"].as_str().unwrap())).await.expect(200)["status"], "pending");
    }
    // If the bytes match no known signature, the declared type is kept. The file is still served as an attachment.
    upload(&p.t, &amy, "x.html", "text/html", b"<script>alert(1)</script>").await;
}

async fn confirm_and_delete_concurrent_leave_no_row_or_object(b: Backend) {
    let p = Place::new(b).await;
    let amy = p.t.user("amy").await;
    for _ in 0..5 {
        let asked = ask(&amy, "a.txt", "text/plain", 5).await;
        let id = format!("/app/files/{}", asked["file_id"].as_str().unwrap());
        send(&p.t, &asked, "text/plain", b"hello").await.expect(204);
        let (confirms, deletes, sends) = tokio::join!(
            join_all((0..5).map(|_| confirm(&amy, &asked))),
            join_all((0..5).map(|_| amy.delete(&id).into_future())),
            join_all((0..5).map(|_| send(&p.t, &asked, "text/plain", b"again"))),
        );
        assert!(confirms.iter().filter(|reply| reply.status == 200).count() <= 1);
        assert!(confirms.iter().all(|reply| matches!(reply.status.as_u16(), 200 | 400 | 404)));
        assert_eq!(deletes.iter().filter(|reply| reply.status == 204).count(), 1);
        assert!(deletes.iter().all(|reply| matches!(reply.status.as_u16(), 204 | 404)));
        assert!(sends.iter().all(|reply| matches!(reply.status.as_u16(), 204 | 403 | 404 | 409)));
    }
    assert_eq!(p.t.number("SELECT COUNT(*) FROM files").await, 0);
    assert!(p.objects().is_empty(), "{:?}", p.objects());
}

async fn upload_url_repeated_key_creates_one_file(b: Backend) {
    let p = Place::new(b).await;
    let amy = p.t.user("amy").await;
    let ask = async || amy.post("/app/files/upload-url", json!({"filename": "a", "content_type": "text/plain", "size": 5})).key("k").await;
    let replies = join_all((0..5).map(|_| ask())).await;
    let answers: Vec<Value> = replies.into_iter().map(|reply| reply.expect(201)).collect();
    assert!(answers.iter().all(|answer| *answer == answers[0]));
    assert_eq!(p.t.number("SELECT COUNT(*) FROM files").await, 1);
}

async fn file_list_with_status_filter_is_paginated(b: Backend) {
    let p = Place::new(b).await;
    let amy = p.t.user("amy").await;
    for n in 0..7 {
        p.t.clock.advance(chrono::TimeDelta::seconds(1));
        if n % 2 == 0 { drop(upload(&p.t, &amy, "a", "text/plain", b"x").await) } else { drop(ask(&amy, "b", "text/plain", 5).await) }
    }
    let all = amy.get("/app/files?limit=100").await.expect(200);
    assert_eq!((&all["total"], all["items"].as_array().unwrap().len()), (&json!(7), 7));
    for (status, count) in [("pending", 3), ("uploaded", 4)] {
        let some = amy.get(&format!("/app/files?status={status}&limit=2&skip=1")).await.expect(200);
        assert_eq!((&some["total"], some["items"].as_array().unwrap().len()), (&json!(count), 2));
        assert_eq!(amy.walk("/app/files", &[("status", status)], 2).await.len(), count);
    }
    assert_eq!(ids(&amy.walk("/app/files", &[], 3).await), ids(all["items"].as_array().unwrap()));
}
