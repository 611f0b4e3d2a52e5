//! Uploads to the local folder: one at a time for each link, not too slow, of the declared type; and bounds of what is pending.

use std::time::Duration;

use futures_util::future::join_all;
use http::Method;
use omnistack::providers::storage::local_store::MinimumRate;
use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::harness::files::{Place, ask, begin_upload, confirm, link, path, send, upload};
use crate::harness::{Backend, Client, Reply, eventually};

crate::on_both_backends![
    upload_second_with_same_link_returns_409,
    pending_files_over_limit_return_400,
    pending_bytes_over_limit_return_400,
    pending_files_asked_in_parallel_stay_within_limit,
];
crate::on_sqlite![
    upload_of_lost_client_frees_its_link,
    upload_below_minimum_rate_returns_503,
    upload_content_type_ignores_case_and_parameters,
    confirm_pdf_and_heif_variants_returns_200,
];

const MIB: usize = 1 << 20;

fn authority(p: &Place) -> &str {
    p.t.url.trim_start_matches("http://")
}

/// Reads the answer until the connection ends.
async fn answer(mut stream: TcpStream) -> String {
    let mut text = String::new();
    stream.read_to_string(&mut text).await.unwrap();
    text
}

async fn upload_second_with_same_link_returns_409(b: Backend) {
    let p = Place::new(b).await;
    let amy = p.t.user("amy").await;
    let asked = ask(&amy, "a.txt", "text/plain", 20).await;
    let mut first = begin_upload(authority(&p), &asked, 20, b"0123456789").await;
    eventually("the first upload runs", async || p.drafts().len() == 1).await;
    let refused = send(&p.t, &asked, "text/plain", b"x").await;
    assert_eq!(refused.expect_error(409, "CONFLICT"), json!({"resource": "File"}));
    // Other links are free.
    upload(&p.t, &amy, "b.txt", "text/plain", b"other").await;
    first.write_all(b"abcdefghij").await.unwrap();
    let answered = answer(first).await;
    assert!(answered.starts_with("HTTP/1.1 204"), "{answered}");
    // The link is free again until the upload is confirmed.
    send(&p.t, &asked, "text/plain", b"0123456789ABCDEFGHIJ").await.expect(204);
    let file = confirm(&amy, &asked).await.expect(200);
    assert_eq!(p.t.anonymous().get(&link(&amy, &file).await).await.body, b"0123456789ABCDEFGHIJ");
    assert!(p.drafts().is_empty(), "{:?}", p.drafts());
}

async fn upload_of_lost_client_frees_its_link(b: Backend) {
    let p = Place::new(b).await;
    let amy = p.t.user("amy").await;
    let asked = ask(&amy, "a.txt", "text/plain", 20).await;
    let lost = begin_upload(authority(&p), &asked, 20, b"0123456789").await;
    eventually("the first upload runs", async || p.drafts().len() == 1).await;
    drop(lost);
    eventually("the link is free", async || send(&p.t, &asked, "text/plain", b"hello").await.status == 204).await;
    assert!(p.drafts().is_empty(), "{:?}", p.drafts());
    assert_eq!(confirm(&amy, &asked).await.expect(200)["size"], 5);
}

async fn upload_below_minimum_rate_returns_503(b: Backend) {
    let p = Place::with_minimum_rate(b, MinimumRate { bytes: 1000, window: Duration::from_secs(1) }, &[]).await;
    let amy = p.t.user("amy").await;
    let asked = ask(&amy, "a.txt", "text/plain", 2000).await;
    let slow = begin_upload(authority(&p), &asked, 2000, &[7; 999]).await;
    eventually("the upload runs", async || p.drafts().len() == 1).await;
    let answered = answer(slow).await;
    assert!(answered.starts_with("HTTP/1.1 503") && answered.contains("retry-after: 1\r\n"), "{answered}");
    assert!(answered.contains(r#"{"error":{"code":"SERVICE_UNAVAILABLE","message":"The upload was too slow","details":{}"#), "{answered}");
    assert!(p.objects().iter().all(|path| !path.contains("/storage/")), "{:?}", p.objects());
    confirm(&amy, &asked).await.expect_error(400, "BAD_REQUEST");
    send(&p.t, &asked, "text/plain", &[7; 2000]).await.expect(204);
    assert_eq!(confirm(&amy, &asked).await.expect(200)["size"], 2000);
}

async fn upload_content_type_ignores_case_and_parameters(b: Backend) {
    let p = Place::with(b, &[("STORAGE_ALLOWED_TYPES", "text/csv,text/plain")]).await;
    let amy = p.t.user("amy").await;
    for (declared, sent, served) in [
        ("Text/CSV", "text/csv", "text/csv"),
        ("text/csv", "TEXT/CSV; header=present", "text/csv"),
        ("text/plain; charset=UTF-8", "Text/Plain", "text/plain; charset=utf-8"),
        ("text/plain", "text/plain;charset=UTF-8", "text/plain"),
    ] {
        let asked = ask(&amy, "a", declared, 5).await;
        send(&p.t, &asked, sent, b"hello").await.expect(204);
        send(&p.t, &asked, "text/html", b"hello").await.expect_error(403, "AUTHORIZATION_ERROR");
        let file = confirm(&amy, &asked).await.expect(200);
        assert_eq!(file["content_type"], declared);
        let got = p.t.anonymous().get(&link(&amy, &file).await).await;
        assert_eq!(got.header("content-type"), Some(served));
    }
}

async fn confirm_pdf_and_heif_variants_returns_200(b: Backend) {
    let p = Place::new(b).await;
    let amy = p.t.user("amy").await;
    let pdf = [&[b'\n'; 1024][..], b"%PDF-1.7\n"].concat();
    upload(&p.t, &amy, "a.pdf", "Application/PDF", &pdf).await;
    for (brand, declared) in [("heix", "image/heic"), ("hevc", "image/heic-sequence"), ("heim", "image/heif"), ("mif1", "IMAGE/HEIF")] {
        let photo = format!("\0\0\0\x18ftyp{brand}\0\0\0\0mif1heic").into_bytes();
        upload(&p.t, &amy, "a.heic", declared, &photo).await;
    }
    let asked = ask(&amy, "a.heic", "image/heic", 100).await;
    send(&p.t, &asked, "image/heic", b"\0\0\0\x18ftypisom\0\0\0\0mp41isom").await.expect(204);
    confirm(&amy, &asked).await.expect_error(400, "BAD_REQUEST");
}

/// Asks for an upload of this size.
async fn wants(user: &Client, size: usize) -> Reply {
    user.post("/app/files/upload-url", json!({"filename": "a", "content_type": "text/plain", "size": size})).await
}

#[track_caller]
fn is_refused(reply: Reply) {
    assert!(reply.text().contains("confirm or delete some first"), "{}", reply.text());
    assert_eq!(reply.expect_error(400, "BAD_REQUEST"), json!({}));
}

async fn pending_files_over_limit_return_400(b: Backend) {
    let p = Place::new(b).await;
    let (amy, bob) = (p.t.user("amy").await, p.t.user("bob").await);
    let body = json!({"filename": "a", "content_type": "text/plain", "size": 5});
    let keyed = async || amy.post("/app/files/upload-url", body.clone()).key("k").await;
    let first = keyed().await.expect(201);
    for _ in 1..100 {
        wants(&amy, 5).await.expect(201);
    }
    is_refused(wants(&amy, 5).await);
    is_refused(amy.post("/app/files/upload-url", body.clone()).key("other").await);
    assert_eq!(keyed().await.expect(201), first, "a repeated key asks for nothing new");
    wants(&bob, 5).await.expect(201);
    // A confirmed or deleted file is not pending.
    send(&p.t, &first, "text/plain", b"hello").await.expect(204);
    confirm(&amy, &first).await.expect(200);
    let second = wants(&amy, 5).await.expect(201);
    is_refused(wants(&amy, 5).await);
    amy.delete(&format!("/app/files/{}", second["file_id"].as_str().unwrap())).await.expect(204);
    wants(&amy, 5).await.expect(201);
    is_refused(wants(&amy, 5).await);
}

async fn pending_bytes_over_limit_return_400(b: Backend) {
    let p = Place::new(b).await;
    let amy = p.t.user("amy").await;
    for _ in 0..10 {
        wants(&amy, 100 * MIB).await.expect(201);
    }
    is_refused(wants(&amy, 24 * MIB + 1).await);
    wants(&amy, 24 * MIB).await.expect(201);
    is_refused(wants(&amy, 1).await);
}

async fn pending_files_asked_in_parallel_stay_within_limit(b: Backend) {
    let p = Place::new(b).await;
    let amy = p.t.user("amy").await;
    for _ in 0..10 {
        wants(&amy, 100 * MIB).await.expect(201);
    }
    // 24 MiB are left: six files, whether asked for with a key or without one.
    let replies = join_all((0..24).map(async |n| {
        let body = json!({"filename": "a", "content_type": "text/plain", "size": 4 * MIB});
        let call = amy.call(Method::POST, "/app/files/upload-url").json(&body);
        if n % 2 == 0 { call.await } else { call.key(&format!("k{n}")).await }
    }))
    .await;
    let (made, refused): (Vec<_>, Vec<_>) = replies.into_iter().partition(|reply| reply.status == 201);
    assert_eq!(made.len(), 6);
    refused.into_iter().for_each(is_refused);
    assert_eq!(p.t.number("SELECT CAST(SUM(size) AS BIGINT) FROM files").await, 1 << 30);
    // Every link that was given works.
    for asked in made {
        let link = path(&asked.expect(201)["upload_url"]);
        p.t.anonymous().call(Method::PUT, &link).body("text/plain", "hello").await.expect(204);
    }
}
