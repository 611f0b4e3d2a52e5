//! What counts as usage, and of whom.

use chrono::TimeDelta;
use http::Method;
use omnistack::app::jobs::New;
use omnistack::platform::id::UserId;
use serde_json::{Value, json};

use super::{fresh, requests_stored, stored, used};
use crate::harness::files::{Place, link, upload};
use crate::harness::functions::{Act, Way};
use crate::harness::{Backend, Client, TestApp, statements};

crate::on_both_backends![
    request_counts_for_its_caller_after_its_answer,
    refused_and_public_requests_do_not_count,
    uploads_and_downloads_count,
    jobs_and_mails_count_for_their_user,
    tracking_switched_off_counts_nothing,
    recording_adds_no_statement_to_a_request,
];

async fn breakdown(client: &Client, metric: &str) -> (i64, Value) {
    let body = used(client, &format!("breakdown?metric={metric}")).await;
    (body["total"].as_i64().unwrap(), body["breakdown"].clone())
}

async fn request_counts_for_its_caller_after_its_answer(b: Backend) {
    let t = TestApp::start(b).await;
    let (amy, bob) = (fresh(&t, "amy").await, fresh(&t, "b:o|b").await);
    let project = amy.project("x").await;
    let path = format!("/app/projects/{}", project["id"].as_str().unwrap());
    for _ in 0..2 {
        amy.get(&path).await.expect(200);
    }
    amy.call(Method::HEAD, &path).await;
    bob.get("/app/users/me").await.expect(200);
    requests_stored(&t, "amy", 4).await;
    requests_stored(&t, "b:o|b", 1).await;
    let expected = json!({
        "endpoint:/api/v1/app/projects/{project_id}": 3, "method:GET": 2,
        "endpoint:/api/v1/app/projects": 1, "method:HEAD": 1, "method:POST": 1,
    });
    assert_eq!(breakdown(&amy, "api_requests").await, (4, expected));
    let first = breakdown(&bob, "api_requests").await;
    assert_eq!(first, (1, json!({"endpoint:/api/v1/app/users/me": 1, "method:GET": 1})), "the request that asks is not in its own answer");
    requests_stored(&t, "b:o|b", 2).await;
    assert_eq!(breakdown(&bob, "api_requests").await.0, 2, "but in the next one");
}

async fn refused_and_public_requests_do_not_count(b: Backend) {
    let t = TestApp::start(b).await;
    let amy = fresh(&t, "amy").await;
    amy.get("/app/projects/x").await.expect_error(404, "NOT_FOUND");
    amy.post("/app/projects", json!({})).await.expect_error(422, "VALIDATION_ERROR");
    amy.get("/admin/users").await.expect_error(403, "AUTHORIZATION_ERROR");
    amy.get("/public/health").await.expect(200);
    // Only the signature makes a caller: the claims of this token name amy.
    let forged = format!("{}x", amy.token.as_ref().unwrap());
    t.with_token(&forged).get("/app/users/me").await.expect_error(401, "AUTHENTICATION_ERROR");
    stored(&t).await;
    assert_eq!(t.number("SELECT COUNT(*) FROM usage_records").await, 0);
}

async fn uploads_and_downloads_count(b: Backend) {
    let place = Place::new(b).await;
    let t = &place.t;
    let amy = fresh(t, "amy").await;
    let file = upload(t, &amy, "a.txt", "text/plain", b"123456789").await;
    upload(t, &amy, "b.bin", "application/octet-stream", b"1").await;
    for _ in 0..2 {
        t.anonymous().get(&link(&amy, &file).await).await;
    }
    stored(t).await;
    let types = |text: i64, other: i64| json!({"file_type:text/plain": text, "file_type:application/octet-stream": other});
    assert_eq!(breakdown(&amy, "storage_bytes").await, (10, types(9, 1)), "downloads add nothing");
    let (uploads, by_type) = breakdown(&amy, "file_uploads").await;
    assert_eq!((uploads, by_type), (2, types(1, 1)));
    assert_eq!(breakdown(&amy, "file_downloads").await, (2, json!({"file_type:text/plain": 2})), "one for each link");
    let now = used(&amy, "current-period").await;
    assert_eq!((&now["usage"]["storage_bytes"], &now["usage_percent"]["storage_bytes"]), (&json!(10), &json!(0.0)));
    amy.delete(&format!("/app/files/{}", file["id"].as_str().unwrap())).await.expect(204);
    t.sql(&format!("UPDATE files SET size = {}", 25 << 20)).await;
    let now = used(&amy, "current-period").await;
    assert_eq!((&now["usage"]["storage_bytes"], &now["usage_percent"]["storage_bytes"]), (&json!(10), &json!(25.0)), "of what is stored now");
}

async fn jobs_and_mails_count_for_their_user(b: Backend) {
    let t = TestApp::start(b).await;
    let amy = fresh(&t, "amy").await;
    // The welcome mail.
    t.run_jobs().await;
    stored(&t).await;
    t.sql("DELETE FROM usage_records").await;
    let own = || New { owner_id: UserId::parse("amy"), ..New::default() };
    for way in [Way::Succeed, Way::FailForGood] {
        t.app.jobs.enqueue(&t.app.db, &Act::new(way), own()).await.unwrap();
    }
    // Nobody's, and one that is tried again.
    t.app.jobs.enqueue(&t.app.db, &Act::new(Way::Succeed), New::default()).await.unwrap();
    t.app.jobs.enqueue(&t.app.db, &Act::new(Way::FailFor(1000)), own()).await.unwrap();
    let mail = omnistack::features::emails::SendWelcomeEmail { email: "amy@example.com".to_owned(), name: "Amy".to_owned() };
    t.app.jobs.enqueue(&t.app.db, &mail, own()).await.unwrap();
    t.run_jobs().await;
    stored(&t).await;
    let expected = json!({"job:act": 2, "job:send_welcome_email": 1});
    assert_eq!(breakdown(&amy, "background_jobs").await, (3, expected.clone()), "what is to be tried again has not finished");
    t.clock.advance(TimeDelta::seconds(2));
    t.run_jobs().await;
    stored(&t).await;
    assert_eq!(breakdown(&amy, "background_jobs").await.0, 4);
    assert_eq!(breakdown(&amy, "email_sent").await, (1, json!({"template:welcome": 1})));
}

async fn tracking_switched_off_counts_nothing(b: Backend) {
    let t = TestApp::with(b, &[("USAGE_TRACKING_ENABLED", "false")]).await;
    let amy = t.user("amy").await;
    stored(&t).await;
    assert_eq!(t.number("SELECT COUNT(*) FROM usage_records").await, 0);
    assert_eq!(used(&amy, "summary").await["metrics"], json!({}));
    assert_eq!(used(&amy, "current-period").await["usage"], json!({}));
    assert_eq!(used(&amy, "daily?metric=api_requests").await["total"], 0);
}

async fn recording_adds_no_statement_to_a_request(b: Backend) {
    let t = TestApp::start(b).await;
    let amy = t.user("amy").await;
    amy.get("/app/users/me").await.expect(200);
    let (_, counted) = statements(amy.get("/app/projects")).await;
    let off = t.second(&[("USAGE_TRACKING_ENABLED", "false")]).await;
    let same = off.with_token(amy.token.as_ref().unwrap());
    same.get("/app/users/me").await.expect(200);
    let (_, without) = statements(same.get("/app/projects")).await;
    assert_eq!(counted, without);
}
