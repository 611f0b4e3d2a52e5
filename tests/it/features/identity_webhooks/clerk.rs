//! Effects of Clerk's events.

use serde_json::{Value, json};

use super::{processed, stored, tell, user, welcomed};
use crate::harness::webhooks::SECRETS;
use crate::harness::{Backend, SECRET, TestApp, tokens};

crate::on_both_backends![
    clerk_created_inserts_user_with_one_mail,
    clerk_created_after_first_sight_changes_nothing,
    clerk_updated_changes_profile_of_known_user_only,
    clerk_deleted_ends_access_at_once,
    clerk_deleted_ends_sessions_of_own_accounts,
    clerk_deleted_last_admin_is_deactivated,
    clerk_email_of_another_user_is_left_out,
    clerk_unverified_address_inserts_nothing,
    clerk_event_of_other_type_changes_nothing,
];

async fn clerk_created_inserts_user_with_one_mail(b: Backend) {
    let t = TestApp::with_webhooks(b).await;
    let ada = user("user_1", " Ada@Example.com", "Ada", 1000);
    for _ in 0..2 {
        processed(tell(&t, "user.created", &ada).await);
    }
    assert_eq!(stored(&t, "user_1").await.as_deref(), Some("ada@example.com Ada Lovelace https://img.example.com/a.png"));
    // The first request finds the user, counts a log-in and sends no second mail.
    let token = tokens::claims("user_1", &t.clock).with("email", json!("ignored@example.com")).with("name", json!("Ignored")).sign(SECRET);
    let me = t.with_token(&token).get("/app/users/me").await.expect(200);
    assert_eq!((&me["email"], &me["full_name"]), (&json!("ada@example.com"), &json!("Ada Lovelace")));
    assert_eq!(welcomed(&t).await, ["ada@example.com"]);
    assert_eq!(t.number("SELECT COUNT(*) FROM users WHERE id = 'user_1' AND login_count = 1").await, 1);
}

async fn clerk_created_after_first_sight_changes_nothing(b: Backend) {
    let t = TestApp::with_webhooks(b).await;
    t.user("user_1").await;
    let before = stored(&t, "user_1").await;
    processed(tell(&t, "user.created", &user("user_1", "ada@example.com", "Ada", 1000)).await);
    assert_eq!(stored(&t, "user_1").await, before);
    assert!(welcomed(&t).await.len() <= 1, "the first sight's mail at most");
}

async fn clerk_updated_changes_profile_of_known_user_only(b: Backend) {
    let t = TestApp::with_webhooks(b).await;
    processed(tell(&t, "user.updated", &user("user_1", "ada@example.com", "Ada", 1000)).await);
    assert_eq!(stored(&t, "user_1").await, None);
    processed(tell(&t, "user.created", &user("user_2", "bea@example.com", "Bea", 1000)).await);
    processed(tell(&t, "user.updated", &json!({"id": "user_2", "first_name": "Beatrice", "image_url": "javascript:alert(1)"})).await);
    assert_eq!(stored(&t, "user_2").await.as_deref(), Some("bea@example.com Beatrice https://img.example.com/a.png"));
    processed(tell(&t, "user.updated", &json!({"id": "user_2", "email_addresses": [{"id": "x", "email_address": "b@example.com"}]})).await);
    assert_eq!(stored(&t, "user_2").await.as_deref(), Some("b@example.com Beatrice https://img.example.com/a.png"));
    for nothing in [json!({}), json!({"id": null}), json!({"id": 5}), json!({"id": "user_2"}), json!({"id": "user_2", "email_addresses": [], "first_name": null})] {
        processed(tell(&t, "user.updated", &nothing).await);
    }
    assert_eq!(stored(&t, "user_2").await.as_deref(), Some("b@example.com Beatrice https://img.example.com/a.png"));
}

async fn clerk_deleted_ends_access_at_once(b: Backend) {
    let t = TestApp::with_webhooks(b).await;
    let amy = t.user("amy").await;
    processed(tell(&t, "user.deleted", &json!({"id": "amy", "deleted": true, "object": "user"})).await);
    amy.get("/app/users/me").await.expect_error(403, "AUTHORIZATION_ERROR");
    // An administrator may let them in again; a repeated deletion is no new one.
    let admin = t.admin().await;
    admin.call(http::Method::POST, "/admin/users/amy/activate").await.expect(200);
    processed(tell(&t, "user.deleted", &json!({"id": "amy"})).await);
    amy.get("/app/users/me").await.expect(200);
}

async fn clerk_deleted_ends_sessions_of_own_accounts(b: Backend) {
    let t = TestApp::with_accounts(b, &SECRETS).await;
    let ada = t.register("ada@example.com").await;
    ada.client.get("/app/users/me").await.expect(200);
    processed(tell(&t, "user.deleted", &json!({"id": ada.id})).await);
    ada.client.get("/app/users/me").await.expect_error(403, "AUTHORIZATION_ERROR");
    assert!(matches!(t.refresh(&ada.refresh).await.status.as_u16(), 401 | 403));
    assert_eq!(t.number("SELECT COUNT(*) FROM sessions WHERE revoked_at IS NULL").await, 0);
}

async fn clerk_deleted_last_admin_is_deactivated(b: Backend) {
    let t = TestApp::with_webhooks(b).await;
    let admin = t.admin().await;
    processed(tell(&t, "user.deleted", &json!({"id": "the-admin"})).await);
    admin.get("/admin/users").await.expect_error(403, "AUTHORIZATION_ERROR");
}

async fn clerk_email_of_another_user_is_left_out(b: Backend) {
    let t = TestApp::with_webhooks(b).await;
    processed(tell(&t, "user.created", &user("user_1", "ada@example.com", "Ada", 1000)).await);
    processed(tell(&t, "user.created", &user("user_2", "ADA@example.com", "Bea", 1000)).await);
    assert_eq!(stored(&t, "user_2").await, None, "not created");
    processed(tell(&t, "user.created", &user("user_3", "cleo@example.com", "Cleo", 1000)).await);
    processed(tell(&t, "user.updated", &user("user_3", "Ada@example.com", "Cleopatra", 2000)).await);
    assert_eq!(stored(&t, "user_3").await.as_deref(), Some("cleo@example.com Cleopatra Lovelace https://img.example.com/a.png"));
    assert_eq!(t.number("SELECT COUNT(*) FROM webhook_events WHERE status <> 'processed'").await, 0);
    assert_eq!(welcomed(&t).await.len(), 2);
}

async fn clerk_unverified_address_inserts_nothing(b: Backend) {
    let t = TestApp::with_webhooks(b).await;
    let mut ada = user("user_1", "ada@example.com", "Ada", 1000);
    ada["email_addresses"][1]["verification"] = json!({"status": "unverified"});
    processed(tell(&t, "user.created", &ada).await);
    assert_eq!(stored(&t, "user_1").await, None);
    for address in [json!("not an address"), json!("x@placeholder.local"), json!("\u{0}ada@example.com"), Value::Null] {
        ada["email_addresses"] = json!([{"id": "idn_1", "email_address": address}]);
        processed(tell(&t, "user.created", &ada).await);
    }
    assert_eq!(stored(&t, "user_1").await, None);
    assert_eq!(welcomed(&t).await.len(), 0);
}

async fn clerk_event_of_other_type_changes_nothing(b: Backend) {
    let t = TestApp::with_webhooks(b).await;
    for kind in ["session.created", "organization.created", "user.future", "USER.DELETED"] {
        processed(tell(&t, kind, &json!({"id": "amy", "user_id": "amy"})).await);
    }
    assert_eq!(t.number("SELECT COUNT(*) FROM users").await, 0);
    assert_eq!(t.number("SELECT COUNT(*) FROM webhook_events WHERE provider = 'clerk' AND status = 'processed'").await, 4);
}
