//! Rotation of `SECRET_KEY` on the real binary: what the earlier key made stays valid while it is listed in
//! `SECRET_KEY_PREVIOUS`, new tokens are made with the new key, and without the list the earlier key counts for nothing.

use serde_json::{Value, json};

use crate::harness::database::Database;
use crate::harness::process::{Place, Server, until};
use crate::harness::{Backend, Client, Reply, files};

const OLD: &str = "hunter2-old-secret-of-32-characters-or-more";
const NEW: &str = "hunter2-new-secret-of-32-characters-or-more";
const PASSWORD: &str = "a long and unusual one";

fn with_token(server: &Server, session: &Value) -> Client {
    server.client(Some(session["access_token"].as_str().unwrap().to_owned()))
}

async fn post(server: &Server, path: &str, body: Value) -> Reply {
    server.client(None).post(&format!("/public/auth/{path}"), body).await
}

async fn refresh(server: &Server, token: &Value) -> Reply {
    post(server, "refresh", json!({"refresh_token": token})).await
}

async fn create(client: &Client, name: &str, key: &str) -> Reply {
    client.post("/app/projects", json!({"name": name})).key(key).await
}

/// Uploads a file and returns the path of its signed download link.
async fn download_link(ada: &Client) -> String {
    let asked = files::ask(ada, "a.txt", "text/plain", 5).await;
    ada.call(http::Method::PUT, &files::path(&asked["upload_url"])).body("text/plain", "hello").await.expect(204);
    let file = files::confirm(ada, &asked).await.expect(200);
    files::link(ada, &file).await
}

/// Asks for a reset mail and returns the token of its link.
async fn reset_token(server: &Server) -> String {
    post(server, "forgot-password", json!({"email": "ada@example.com"})).await.expect(202);
    until("the reset mail is in the mailbox", async || {
        let mails = server.client(None).get("//dev/mailbox.json?to=ada@example.com").await.expect(200);
        let text = mails["items"].as_array()?.iter().find_map(|mail| mail["text"].as_str()?.split_once("/reset-password?token="))?.1;
        Some(text.chars().take_while(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '_')).collect())
    })
    .await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn secret_key_rotation_keeps_what_is_listed() {
    for b in [Backend::Sqlite, Backend::Postgres] {
        if !b.is_available() {
            continue;
        }
        let database = Database::empty(b).await;
        let place = Place::new().with("DATABASE_URL", &database.url).with("RATE_LIMIT_ENABLED", "false").with("SECRET_KEY", OLD);
        let server = place.serve().await;
        let first = post(&server, "register", json!({"email": "ada@example.com", "password": PASSWORD})).await.expect(201);
        let log_in =
            async |server: &Server| post(server, "login", json!({"email": "ada@example.com", "password": PASSWORD})).await.expect(200);
        let second = log_in(&server).await;
        let ada = with_token(&server, &first);
        let made = create(&ada, "one", "old-key").await.expect(201);
        create(&ada, "two", "other").await.expect(201);
        let cursor = ada.get("/app/projects?cursor=&limit=1").await.expect(200)["next_cursor"].as_str().unwrap().to_owned();
        let page = format!("/app/projects?limit=1&cursor={cursor}");
        let link = download_link(&ada).await;
        let reset = reset_token(&server).await;
        server.stop().await;

        // The new key signs, the old one still verifies.
        let place = place.with("SECRET_KEY", NEW).with("SECRET_KEY_PREVIOUS", OLD);
        let server = place.serve().await;
        let ada = with_token(&server, &first);
        ada.get("/app/users/me").await.expect(200);
        assert_eq!(ada.get(&page).await.expect(200)["items"], json!([made]));
        assert_eq!(server.client(None).get(&link).await.expect_text(200), "hello");
        let replay = create(&ada, "one", "old-key").await;
        assert_eq!((replay.status.as_u16(), replay.header("idempotency-replayed")), (201, Some("true")));
        assert_eq!(replay.json(), made);
        // Two tabs with the same token get the same successor.
        let newer = refresh(&server, &first["refresh_token"]).await.expect(200);
        let twin = refresh(&server, &first["refresh_token"]).await.expect(200);
        assert_eq!(newer["refresh_token"], twin["refresh_token"]);
        let ada = with_token(&server, &newer);
        create(&ada, "three", "new-key").await.expect(201);
        let new_link = download_link(&ada).await;
        let new_cursor = ada.get("/app/projects?cursor=&limit=1").await.expect(200)["next_cursor"].as_str().unwrap().to_owned();
        server.stop().await;

        // The old key alone: an instance that was not restarted yet refuses what the new key signed, and ends nothing.
        let server =
            Place::new().with("DATABASE_URL", &database.url).with("RATE_LIMIT_ENABLED", "false").with("SECRET_KEY", OLD).serve().await;
        refresh(&server, &newer["refresh_token"]).await.expect_error(401, "AUTHENTICATION_ERROR");
        with_token(&server, &newer).get("/app/users/me").await.expect_error(401, "AUTHENTICATION_ERROR");
        server.stop().await;

        // The new key alone.
        let place = place.with("SECRET_KEY_PREVIOUS", "");
        let server = place.serve().await;
        let ada = with_token(&server, &newer);
        assert_eq!(server.client(None).get(&new_link).await.expect_text(200), "hello");
        ada.get(&format!("/app/projects?limit=1&cursor={new_cursor}")).await.expect(200);
        assert_eq!(create(&ada, "three", "new-key").await.header("idempotency-replayed"), Some("true"));
        with_token(&server, &first).get("/app/users/me").await.expect_error(401, "AUTHENTICATION_ERROR");
        refresh(&server, &second["refresh_token"]).await.expect_error(401, "AUTHENTICATION_ERROR");
        assert_eq!(ada.get(&page).await.expect_invalid(), ["cursor"]);
        server.client(None).get(&link).await.expect_error(403, "AUTHORIZATION_ERROR");
        // The request took effect, but its answer cannot be read: never 500, and never done twice.
        let reply = create(&ada, "one", "old-key").await;
        assert!(reply.text().contains("can no longer be read"), "{}", reply.text());
        assert_eq!(reply.expect_error(409, "CONFLICT"), json!({}));
        assert_eq!(ada.get("/app/projects").await.expect(200)["total"], 3);
        refresh(&server, &newer["refresh_token"]).await.expect(200);
        // Links in mails and passwords need no key.
        post(&server, "reset-password", json!({"token": reset, "password": "another long and unusual one"})).await.expect(200);
        let output = server.stop().await;
        assert!(!output.contains("hunter2"), "{output}");
    }
}
