//! The last administrator: no change takes all of them away, also when changes race, and a role by claim is not made permanent.

use chrono::TimeDelta;
use futures_util::future::join_all;
use http::Method;
use serde_json::{Value, json};

use crate::harness::{Backend, Client, Reply, SECRET, TestApp, tokens};

crate::on_both_backends![
    admins_deactivating_each_other_leave_one,
    admins_demoting_each_other_leave_one,
    admins_in_a_circle_leave_one,
    admin_deactivated_meanwhile_changes_nothing,
    claim_does_not_raise_ones_own_row,
    superadmin_by_claim_may_deactivate_last_admin_row,
];

/// Caller whose token has a role claim, independent of the stored role.
async fn claiming(t: &TestApp, name: &str, role: &str) -> Client {
    let client = t.with_token(&tokens::claims(name, &t.clock).with("role", json!(role)).sign(SECRET));
    client.get("/app/users/me").await.expect(200);
    client
}

async fn deactivate(actor: &Client, id: &str) -> Reply {
    actor.call(Method::POST, &format!("/admin/users/{id}/deactivate")).await
}

async fn demote(actor: &Client, id: &str) -> Reply {
    actor.patch(&format!("/admin/users/{id}"), json!({"role": "user"})).await
}

/// Gives both users the role again, and lets the server read their rows at the next request.
async fn appoint(t: &TestApp, names: &[&str], role: &str) {
    t.sql(&format!("UPDATE users SET role = '{role}', is_active = TRUE")).await;
    for name in names {
        t.forget_identity(name);
    }
}

async fn active_admins(t: &TestApp) -> i64 {
    t.number("SELECT COUNT(*) FROM users WHERE is_active = TRUE AND role <> 'user'").await
}

/// Checks that one of the replies is 200, and the others are refusals of one who lost the race.
#[track_caller]
fn one_won(replies: &[Reply]) {
    let won = replies.iter().filter(|reply| reply.status == 200).count();
    assert_eq!(won, 1, "{replies:?}");
    for reply in replies.iter().filter(|reply| reply.status != 200) {
        assert!([403, 409].contains(&reply.status.as_u16()), "{}", reply.text());
    }
}

async fn admins_deactivating_each_other_leave_one(b: Backend) {
    let t = TestApp::start(b).await;
    let there = t.second(&[]).await;
    let (ada, bea) = (t.user("ada").await, t.user("bea").await);
    let bea = there.with_token(bea.token.as_ref().unwrap());
    for round in 0..20 {
        appoint(&t, &["ada", "bea"], if round % 2 == 0 { "admin" } else { "superadmin" }).await;
        there.forget_identity("bea");
        // Each instance has admitted its caller before either of them acts.
        tokio::join!(ada.get("/admin/users"), bea.get("/admin/users"));
        let (first, second) = tokio::join!(deactivate(&ada, "bea"), deactivate(&bea, "ada"));
        one_won(&[first, second]);
        assert_eq!(active_admins(&t).await, 1, "round {round}");
    }
}

async fn admins_demoting_each_other_leave_one(b: Backend) {
    let t = TestApp::start(b).await;
    let (ada, bea) = (t.user("ada").await, t.user("bea").await);
    for round in 0..20 {
        appoint(&t, &["ada", "bea"], "admin").await;
        tokio::join!(ada.get("/admin/users"), bea.get("/admin/users"));
        let (first, second) = tokio::join!(demote(&ada, "bea"), deactivate(&bea, "ada"));
        one_won(&[first, second]);
        assert_eq!(active_admins(&t).await, 1, "round {round}");
    }
}

async fn admins_in_a_circle_leave_one(b: Backend) {
    let t = TestApp::start(b).await;
    let names = ["ada", "bea", "cleo", "dora"];
    let clients = join_all(names.map(|name| t.user(name))).await;
    for round in 0..10 {
        appoint(&t, &names, "admin").await;
        join_all(clients.iter().map(|client| client.get("/admin/users").into_future())).await;
        join_all((0..4).map(|n| deactivate(&clients[n], names[(n + 1) % 4]))).await;
        assert!(active_admins(&t).await >= 1, "round {round}");
    }
}

/// The identity of a caller is cached for seconds: what they were at the beginning of the request does not count.
async fn admin_deactivated_meanwhile_changes_nothing(b: Backend) {
    let t = TestApp::start(b).await;
    let (ada, _bea, _cleo) = (t.user_with_role("ada", "admin").await, t.user_with_role("bea", "admin").await, t.user("cleo").await);
    ada.get("/admin/users").await.expect(200);
    t.sql("UPDATE users SET is_active = FALSE WHERE id = 'ada'").await;
    assert_eq!(deactivate(&ada, "bea").await.expect_error(409, "CONFLICT"), json!({"resource": "User"}), "nobody would be left");
    assert_eq!(demote(&ada, "bea").await.expect_error(409, "CONFLICT"), json!({"resource": "User"}));
    deactivate(&ada, "cleo").await.expect_error(403, "AUTHORIZATION_ERROR");
    ada.patch("/admin/users/bea", json!({"full_name": "x"})).await.expect_error(403, "AUTHORIZATION_ERROR");
    t.sql("UPDATE users SET is_active = TRUE, role = 'user' WHERE id = 'ada'").await;
    ada.patch("/admin/users/cleo", json!({"role": "admin"})).await.expect_error(403, "AUTHORIZATION_ERROR");
    assert_eq!(t.texts("SELECT id FROM users WHERE is_active = TRUE AND role = 'admin' AND full_name IS NULL").await, ["bea"]);
    t.clock.advance(TimeDelta::seconds(5));
    ada.get("/admin/users").await.expect_error(403, "AUTHORIZATION_ERROR");
}

async fn claim_does_not_raise_ones_own_row(b: Backend) {
    let t = TestApp::start(b).await;
    for (name, claim, roles) in [("boss", "superadmin", &["superadmin"][..]), ("chief", "admin", &["admin", "superadmin"])] {
        let client = claiming(&t, name, claim).await;
        let path = format!("/admin/users/{name}");
        for role in roles {
            client.patch(&path, json!({"role": role, "full_name": "x"})).await.expect_error(403, "AUTHORIZATION_ERROR");
        }
        let row = client.get(&path).await.expect(200);
        assert_eq!((&row["role"], &row["full_name"]), (&json!("user"), &Value::Null));
        assert_eq!(client.patch(&path, json!({"full_name": "Me"})).await.expect(200)["full_name"], "Me");
    }
    // An administrator by row, whose token says more.
    let _amy = t.user_with_role("amy", "admin").await;
    let amy = claiming(&t, "amy", "superadmin").await;
    amy.patch("/admin/users/amy", json!({"role": "superadmin"})).await.expect_error(403, "AUTHORIZATION_ERROR");
    assert_eq!(amy.patch("/admin/users/boss", json!({"role": "superadmin"})).await.expect(200)["role"], "superadmin");
}

/// Who acts by claim is an administrator who is left.
async fn superadmin_by_claim_may_deactivate_last_admin_row(b: Backend) {
    let t = TestApp::start(b).await;
    let (_amy, boss) = (t.user_with_role("amy", "superadmin").await, claiming(&t, "boss", "superadmin").await);
    assert_eq!(deactivate(&boss, "amy").await.expect(200)["is_active"], false);
    assert_eq!(active_admins(&t).await, 0);
    boss.get("/admin/users").await.expect(200);
}
