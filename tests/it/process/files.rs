//! Files as the process writes them: modes, and what a killed process leaves.

use std::collections::BTreeSet;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use http::Method;
use serde_json::json;

use crate::harness::files::{ask, begin_upload, confirm, path};
use crate::harness::process::{Place, banner_password, mode, until};

/// The paths of everything below a folder.
fn below(folder: &Path) -> Vec<std::path::PathBuf> {
    let entries = std::fs::read_dir(folder).into_iter().flatten().map(|entry| entry.unwrap().path());
    entries.flat_map(|path| if path.is_dir() { [vec![path.clone()], below(&path)].concat() } else { vec![path] }).collect()
}

fn has_draft(place: &Place) -> bool {
    below(&place.path("storage/.uploads")).len() == 1
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn files_of_server_are_readable_by_its_user_only() {
    let place = Place::new();
    // The operator's own folder keeps its mode.
    std::fs::create_dir(place.path("storage")).unwrap();
    std::fs::set_permissions(place.path("storage"), std::fs::Permissions::from_mode(0o755)).unwrap();
    let mut server = place.serve().await;
    let admin = server.admin(&banner_password(&server.output())).await;
    let asked = ask(&admin, "a.txt", "text/plain", 5).await;
    server.client(None).call(Method::PUT, &path(&asked["upload_url"])).body("text/plain", "hello").await.expect(204);
    confirm(&admin, &asked).await.expect(200);
    let unfinished = ask(&admin, "b.txt", "text/plain", 5).await;
    let _open = begin_upload(server.authority(), &unfinished, 5, b"he").await;
    until("an upload is being received", async || has_draft(&place).then_some(())).await;
    server.client(None).post("/public/auth/forgot-password", json!({"email": "admin@localhost"})).await.expect(202);
    until("a mail is in the mailbox", async || (!below(&place.path("data/mailbox")).is_empty()).then_some(())).await;
    place.run(&["doctor"]).await;
    // Killed, so that the unfinished upload stays and nothing else changes.
    server.signal("KILL");
    server.ended().await;

    assert_eq!(mode(&place.path("storage")), 0o755);
    let (storage, data) = (below(&place.path("storage")), [vec![place.path("data")], below(&place.path("data"))].concat());
    let kinds: BTreeSet<_> = storage.iter().chain(&data).map(|path| (path.is_dir(), mode(path))).collect();
    assert_eq!(kinds, BTreeSet::from([(true, 0o700), (false, 0o600)]), "{storage:?} {data:?}");
    assert_eq!(storage.iter().filter(|path| path.is_file()).count(), 2);
    assert!(data.iter().filter(|path| path.is_file()).count() >= 2, "{data:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn upload_cut_by_kill_can_be_sent_again() {
    let place = Place::new();
    let mut server = place.serve().await;
    let admin = server.admin(&banner_password(&server.output())).await;
    let asked = ask(&admin, "a.txt", "text/plain", 20).await;
    let _open = begin_upload(server.authority(), &asked, 20, b"0123456789").await;
    until("an upload is being received", async || has_draft(&place).then_some(())).await;
    server.signal("KILL");
    server.ended().await;
    assert!(has_draft(&place), "a kill leaves the temporary file, which the clean-up removes");

    let server = place.serve().await;
    server.client(None).call(Method::PUT, &path(&asked["upload_url"])).body("text/plain", "hello").await.expect(204);
    assert_eq!(confirm(&server.client(admin.token), &asked).await.expect(200)["size"], 5);
    server.stop().await;
}
