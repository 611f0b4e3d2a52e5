//! Files under faults: storage errors, abandoned uploads, export and erasure of the owner.

use omnistack::app::jobs::New;
use serde_json::json;

use crate::harness::files::{Place, ask, confirm, send, upload};
use crate::harness::{Backend, ids};

crate::on_both_backends![
    storage_unavailable_returns_502_and_keeps_files,
    sweep_abandoned_uploads_deletes_row_and_object,
    sweep_failing_storage_fails_and_deletes_object_later,
    user_files_are_exported_and_erased,
];

async fn storage_unavailable_returns_502_and_keeps_files(b: Backend) {
    let p = Place::new(b).await;
    let amy = p.t.user("amy").await;
    let storage = p.folder.path().join("storage");
    let file = upload(&p.t, &amy, "a.txt", "text/plain", b"hello").await;
    let asked = ask(&amy, "b.txt", "text/plain", 5).await;
    // Replaces the storage folder with a file: every read and write below it fails, even for root.
    let away = p.folder.path().join("away");
    std::fs::rename(&storage, &away).unwrap();
    std::fs::write(&storage, "in the way").unwrap();
    let id = format!("/app/files/{}", file["id"].as_str().unwrap());
    for reply in [send(&p.t, &asked, "text/plain", b"hello").await, confirm(&amy, &asked).await, amy.delete(&id).await] {
        assert_eq!(reply.header("retry-after"), Some("1"));
        assert!(!reply.text().contains("in the way") && !reply.text().contains(storage.to_str().unwrap()));
        assert_eq!(reply.expect_error(502, "EXTERNAL_SERVICE_ERROR"), json!({"service": "storage"}));
    }
    amy.get(&id).await.expect(200);
    std::fs::remove_file(&storage).unwrap();
    std::fs::rename(&away, &storage).unwrap();
    send(&p.t, &asked, "text/plain", b"hello").await.expect(204);
    confirm(&amy, &asked).await.expect(200);
    amy.delete(&id).await.expect(204);
}

async fn sweep_abandoned_uploads_deletes_row_and_object(b: Backend) {
    let p = Place::new(b).await;
    let amy = p.t.user("amy").await;
    let kept = upload(&p.t, &amy, "kept.txt", "text/plain", b"hello").await;
    for name in ["sent.txt", "never.txt"] {
        let asked = ask(&amy, name, "text/plain", 5).await;
        if name == "sent.txt" {
            send(&p.t, &asked, "text/plain", b"hello").await.expect(204);
        }
    }
    let clean = async || {
        // Runs every hour.
        p.t.app.jobs.enqueue_by_name(&p.t.app.db, "sweep_expired", json!({}), New::default()).await.unwrap();
        p.t.run_jobs().await;
    };
    p.t.clock.advance(chrono::TimeDelta::hours(23));
    let amy = p.t.user("amy").await;
    clean().await;
    assert_eq!(amy.get("/app/files").await.expect(200)["total"], 3);
    p.t.clock.advance(chrono::TimeDelta::hours(2));
    let amy = p.t.user("amy").await;
    let young = ask(&amy, "young.txt", "text/plain", 5).await;
    clean().await;
    let left = amy.get("/app/files").await.expect(200);
    assert_eq!(ids(left["items"].as_array().unwrap()), [young["file_id"].as_str().unwrap(), kept["id"].as_str().unwrap()]);
    assert_eq!(p.objects().len(), 1);
}

async fn sweep_failing_storage_fails_and_deletes_object_later(b: Backend) {
    let p = Place::new(b).await;
    let amy = p.t.user("amy").await;
    let asked = ask(&amy, "a.txt", "text/plain", 5).await;
    send(&p.t, &asked, "text/plain", b"hello").await.expect(204);
    p.t.clock.advance(chrono::TimeDelta::hours(25));
    let (storage, away) = (p.folder.path().join("storage"), p.folder.path().join("away"));
    std::fs::rename(&storage, &away).unwrap();
    std::fs::write(&storage, "in the way").unwrap();
    let (_, swept) = p.t.run_function("sweep_expired", json!({})).await.unwrap();
    assert!(swept.unwrap_err().contains("storage"), "the operator learns of it");
    assert_eq!(p.t.number("SELECT COUNT(*) FROM files").await, 0);
    std::fs::remove_file(&storage).unwrap();
    std::fs::rename(&away, &storage).unwrap();
    p.t.run_jobs().await;
    assert!(p.objects().is_empty(), "{:?}", p.objects());
}

async fn user_files_are_exported_and_erased(b: Backend) {
    let p = Place::new(b).await;
    let (amy, bob) = (p.t.user("amy").await, p.t.user("bob").await);
    let mine = upload(&p.t, &amy, "a.txt", "text/plain", b"hello").await;
    upload(&p.t, &bob, "b.txt", "text/plain", b"hello").await;
    let job = amy.post("/app/users/me/export", json!({})).await.expect(202)["job_id"].as_str().unwrap().to_owned();
    p.t.run_jobs().await;
    let copy = amy.get(&format!("/app/users/me/export/{job}")).await.expect(200);
    assert_eq!(copy["files"], json!([mine]));
    p.t.erase("amy").await.unwrap();
    p.t.run_jobs().await;
    assert_eq!(p.t.number("SELECT COUNT(*) FROM files").await, 1);
    assert_eq!(p.objects().len(), 1, "{:?}", p.objects());
    assert_eq!(bob.get("/app/files").await.expect(200)["total"], 1);
}
