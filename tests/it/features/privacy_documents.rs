//! Documents of data exports in the storage: encrypted, for a day, removed with their user, and never in a row of the queue.

use chrono::TimeDelta;
use http::Method;
use omnistack::app::jobs::JobId;
use serde_json::{Value, json};

use crate::harness::files::Place;
use crate::harness::{Backend, Client, Reply, TestApp};

crate::on_both_backends![
    export_document_is_encrypted_and_in_no_row,
    export_made_for_a_user_by_an_operator_is_theirs,
    export_job_run_twice_keeps_one_document,
    export_sixth_document_replaces_the_oldest,
    export_expired_document_is_removed_by_the_sweep,
    export_of_erased_user_is_removed,
    export_of_user_erased_meanwhile_is_removed,
    export_with_failing_store_is_tried_again,
    export_whose_object_is_gone_returns_404,
];

async fn ask(client: &Client) -> String {
    client.call(Method::POST, "/app/users/me/export").await.expect(202)["job_id"].as_str().unwrap().to_owned()
}

async fn fetch(client: &Client, id: &str) -> Reply {
    client.get(&format!("/app/users/me/export/{id}")).await
}

/// Requests an export and runs its job; returns the id.
async fn export(t: &TestApp, client: &Client) -> String {
    let id = ask(client).await;
    t.run_jobs().await;
    id
}

async fn rows(t: &TestApp) -> i64 {
    t.number("SELECT COUNT(*) FROM data_exports").await
}

async fn sweep(t: &TestApp) {
    t.run_function("sweep_expired", json!({})).await.unwrap().1.unwrap();
}

async fn export_document_is_encrypted_and_in_no_row(b: Backend) {
    let place = Place::new(b).await;
    let t = &place.t;
    let (amy, admin) = (t.user("amy").await, t.admin().await);
    for n in 0..30 {
        amy.post("/app/projects", json!({"name": format!("secret plan {n}"), "description": "long ".repeat(40)})).await.expect(201);
    }
    let id = export(t, &amy).await;
    let document = fetch(&amy, &id).await;
    assert_eq!((document.header("content-type"), document.header("cache-control")), (Some("application/json"), Some("no-store")));
    let bytes = document.body.len();
    assert_eq!(document.expect(200)["projects"].as_array().unwrap().len(), 30);
    let [object] = place.objects().try_into().unwrap();
    assert!(object.contains("/exports/") && !object.contains("amy") && !object.contains(&id), "{object}");
    let stored = String::from_utf8_lossy(&std::fs::read(object).unwrap()).into_owned();
    assert!(!stored.contains("secret plan") && !stored.contains("amy"));
    // Neither view of the job shows more than its size and its time.
    let expected = json!({"bytes": bytes, "expires_at": t.clock.now() + TimeDelta::hours(24)});
    assert_eq!(admin.get(&format!("/admin/jobs/{id}")).await.expect(200)["result"], expected);
    let page = admin.get("/admin/jobs").await;
    assert!(!page.text().contains("secret plan"), "{}", page.text());
    let page = page.expect(200);
    assert_eq!(page["jobs"].as_array().unwrap().iter().find(|job| job["job_id"] == *id).unwrap()["result"], expected);
    for column in t.columns("jobs").await {
        let found = t.texts(&format!("SELECT CAST({column} AS TEXT) FROM jobs WHERE {column} IS NOT NULL")).await;
        assert!(found.iter().all(|value| !value.contains("secret plan")), "{column}");
    }
    fetch(&admin, &id).await.expect_error(404, "NOT_FOUND");
}

async fn export_made_for_a_user_by_an_operator_is_theirs(b: Backend) {
    let t = TestApp::start(b).await;
    let (amy, bob) = (t.user("amy").await, t.user("bob").await);
    let (id, result) = t.run_function("export_user_data", json!({"user_id": "amy"})).await.unwrap();
    assert!(result.unwrap()["bytes"].as_i64().unwrap() > 100);
    assert_eq!(fetch(&amy, &id.to_string()).await.expect(200)["user"]["id"], "amy");
    fetch(&bob, &id.to_string()).await.expect_error(404, "NOT_FOUND");
}

async fn export_job_run_twice_keeps_one_document(b: Backend) {
    let place = Place::new(b).await;
    let t = &place.t;
    let amy = t.user("amy").await;
    let id = export(t, &amy).await;
    let first = fetch(&amy, &id).await.expect(200);
    amy.project("made later").await;
    // The worker was lost after the document was stored, but before the outcome was: once with its mark, once without.
    for lost in ["bytes = bytes", "bytes = NULL"] {
        t.sql(&format!("UPDATE data_exports SET {lost}; UPDATE jobs SET status = 'queued', attempts = 0 WHERE id = '{id}'")).await;
        if lost == "bytes = NULL" {
            fetch(&amy, &id).await.expect_error(409, "CONFLICT");
        }
        t.run_jobs().await;
        assert_eq!((rows(t).await, place.objects().len()), (1, 1));
        let again = fetch(&amy, &id).await.expect(200);
        assert_eq!(again == first, lost != "bytes = NULL", "{again}");
    }
}

async fn export_sixth_document_replaces_the_oldest(b: Backend) {
    let place = Place::new(b).await;
    let t = &place.t;
    let (amy, bob) = (t.user("amy").await, t.user("bob").await);
    let his = export(t, &bob).await;
    let mut made = Vec::new();
    for _ in 0..6 {
        made.push(export(t, &amy).await);
    }
    assert_eq!((rows(t).await, place.objects().len()), (6, 6));
    fetch(&amy, &made[0]).await.expect_error(404, "NOT_FOUND");
    for id in &made[1..] {
        fetch(&amy, id).await.expect(200);
    }
    fetch(&bob, &his).await.expect(200);
}

async fn export_expired_document_is_removed_by_the_sweep(b: Backend) {
    let place = Place::new(b).await;
    let t = &place.t;
    export(t, &t.user("amy").await).await;
    t.clock.advance(TimeDelta::hours(23));
    let kept = export(t, &t.user("bob").await).await;
    sweep(t).await;
    assert_eq!((rows(t).await, place.objects().len()), (2, 2));
    t.clock.advance(TimeDelta::hours(1));
    sweep(t).await;
    assert_eq!((rows(t).await, place.objects().len()), (1, 1));
    fetch(&t.user("bob").await, &kept).await.expect(200);
    // What was reserved and never written is removed as well.
    t.sql("UPDATE data_exports SET bytes = NULL").await;
    t.clock.advance(TimeDelta::hours(23));
    sweep(t).await;
    assert_eq!((rows(t).await, place.objects().len()), (0, 0));
}

async fn export_of_erased_user_is_removed(b: Backend) {
    let place = Place::new(b).await;
    let t = &place.t;
    let (amy, bob) = (t.user("amy").await, t.user("bob").await);
    let (hers, his) = (export(t, &amy).await, export(t, &bob).await);
    t.erase("amy").await.unwrap();
    fetch(&amy, &hers).await.expect_error(404, "NOT_FOUND");
    t.run_jobs().await;
    assert_eq!((rows(t).await, place.objects().len()), (1, 1));
    fetch(&bob, &his).await.expect(200);
    let payloads = t.texts("SELECT CAST(kwargs AS TEXT) FROM jobs WHERE function = 'remove_exports'").await;
    assert!(payloads.len() == 2 && payloads.iter().all(|payload| !payload.contains("amy")), "{payloads:?}");
}

/// An export that runs while its user is erased may write its object afterwards.
async fn export_of_user_erased_meanwhile_is_removed(b: Backend) {
    let place = Place::new(b).await;
    let t = &place.t;
    let amy = t.user("amy").await;
    export(t, &amy).await;
    let [object] = place.objects().try_into().unwrap();
    let written = std::fs::read(&object).unwrap();
    t.erase("amy").await.unwrap();
    t.run_jobs().await;
    assert!(place.objects().is_empty());
    std::fs::create_dir_all(std::path::Path::new(&object).parent().unwrap()).unwrap();
    std::fs::write(&object, written).unwrap();
    t.clock.advance(TimeDelta::minutes(11));
    t.run_jobs().await;
    assert!(place.objects().is_empty());
    // A job that starts after the erasure stores nothing.
    let (_, result) = t.run_function("export_user_data", json!({"user_id": "amy"})).await.unwrap();
    assert_eq!(result.unwrap(), json!({"error": "User not found"}));
    assert_eq!((rows(t).await, place.objects().len()), (0, 0));
}

async fn export_with_failing_store_is_tried_again(b: Backend) {
    let place = Place::new(b).await;
    let t = &place.t;
    let amy = t.user("amy").await;
    // The folder's place is taken by a file.
    let folder = place.folder.path().join("storage");
    std::fs::write(&folder, "").unwrap();
    let id = export(t, &amy).await;
    assert_eq!(t.texts(&format!("SELECT status FROM jobs WHERE id = '{id}'")).await, ["queued"], "another attempt follows");
    fetch(&amy, &id).await.expect_error(409, "CONFLICT");
    std::fs::remove_file(&folder).unwrap();
    t.clock.advance(TimeDelta::minutes(1));
    t.run_jobs().await;
    fetch(&amy, &id).await.expect(200);
    // A store that fails later is a 502; the document is there again with the store.
    let away = place.folder.path().join("away");
    std::fs::rename(&folder, &away).unwrap();
    std::fs::write(&folder, "").unwrap();
    assert_eq!(fetch(&amy, &id).await.expect_error(502, "EXTERNAL_SERVICE_ERROR"), json!({"service": "storage"}));
    std::fs::remove_file(&folder).unwrap();
    std::fs::rename(&away, &folder).unwrap();
    fetch(&amy, &id).await.expect(200);
}

async fn export_whose_object_is_gone_returns_404(b: Backend) {
    let place = Place::new(b).await;
    let t = &place.t;
    let amy = t.user("amy").await;
    let id = export(t, &amy).await;
    let [object] = place.objects().try_into().unwrap();
    // Another document in its place does not decrypt: it belongs to this job alone.
    let other = export(t, &amy).await;
    let foreign = place.objects().into_iter().find(|path| *path != object).unwrap();
    std::fs::copy(&foreign, &object).unwrap();
    fetch(&amy, &id).await.expect_error(404, "NOT_FOUND");
    fetch(&amy, &other).await.expect(200);
    std::fs::remove_file(&object).unwrap();
    fetch(&amy, &id).await.expect_error(404, "NOT_FOUND");
    fetch(&amy, &JobId::new().to_string()).await.expect_error(404, "NOT_FOUND");
    let nothing: Value = fetch(&amy, "x").await.expect_error(404, "NOT_FOUND");
    assert_eq!(nothing, json!({"resource": "Export", "id": "x"}));
}
