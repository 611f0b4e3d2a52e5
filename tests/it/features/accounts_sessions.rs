//! Sessions: refresh token rotation, logout, list of sessions, expiry and WebSocket tickets.

use chrono::TimeDelta;
use futures_util::future::join_all;
use omnistack::app::jobs::New;
use omnistack::features::accounts::service::redeem_ticket;
use omnistack::platform::auth::own;
use omnistack::platform::id::UserId;
use serde_json::{Value, json};

use crate::harness::accounts::PASSWORD;
use crate::harness::{Backend, TestApp};

crate::on_both_backends![
    refresh_valid_token_returns_new_pair,
    refresh_concurrent_requests_return_same_successor,
    refresh_repeated_within_grace_returns_same_successor,
    refresh_reused_after_grace_ends_session,
    refresh_idle_or_past_max_age_returns_401,
    logout_valid_refresh_token_ends_session,
    sessions_list_and_delete_are_limited_to_owner,
    sessions_beyond_100_end_the_least_recently_used,
    sessions_after_user_deactivation_end_on_all_instances,
    token_used_for_another_purpose_is_rejected,
    ws_ticket_concurrent_redeem_succeeds_once_within_30s,
    sweep_expired_job_deletes_sessions_and_tokens,
    user_sessions_are_exported_and_erased,
];

fn refresh_token(session: &Value) -> &str {
    session["refresh_token"].as_str().unwrap()
}

async fn refresh_valid_token_returns_new_pair(b: Backend) {
    let t = TestApp::with_accounts(b, &[]).await;
    let ada = t.register("ada@example.test").await;
    let (mut refresh, mut seen) = (ada.refresh.clone(), vec![ada.refresh.clone()]);
    for _ in 0..5 {
        t.minutes_pass(10);
        let session = t.refresh(&refresh).await.expect(200);
        assert_eq!((&session["expires_in"], &session["user"]["id"]), (&json!(900), &json!(ada.id)));
        assert_eq!(session["refresh_expires_in"], 14 * 86_400, "restarts at each refresh");
        let client = t.account(&session).client;
        client.get("/app/users/me").await.expect(200);
        refresh_token(&session).clone_into(&mut refresh);
        assert!(!seen.contains(&refresh));
        seen.push(refresh.clone());
    }
    ada.client.get("/app/users/me").await.expect_error(401, "AUTHENTICATION_ERROR");
    assert_eq!(t.number("SELECT CAST(login_count AS BIGINT) FROM users").await, 1, "a refresh does not count as a login");
    assert_eq!(t.number("SELECT generation FROM sessions").await, 5);
    for junk in ["", "x", &refresh[1..], &format!("{refresh}A"), &refresh.replacen(&refresh[69..], "=", 1), &"A".repeat(70), "💥"] {
        t.refresh(junk).await.expect_error(401, "AUTHENTICATION_ERROR");
    }
    // Invalid tokens do not end the session.
    t.refresh(&refresh).await.expect(200);
}

async fn refresh_concurrent_requests_return_same_successor(b: Backend) {
    let t = TestApp::with_accounts(b, &[]).await;
    let other = t.second_with_accounts(&[]).await;
    let ada = t.register("ada@example.test").await;
    let replies = join_all((0..20).map(|n| if n % 2 == 0 { &t } else { &other }.refresh(&ada.refresh))).await;
    let sessions: Vec<Value> = replies.into_iter().map(|reply| reply.expect(200)).collect();
    assert!(sessions.iter().all(|session| refresh_token(session) == refresh_token(&sessions[0])));
    assert_eq!(t.number("SELECT generation FROM sessions").await, 1);
    t.refresh(refresh_token(&sessions[0])).await.expect(200);
}

async fn refresh_repeated_within_grace_returns_same_successor(b: Backend) {
    let t = TestApp::with_accounts(b, &[]).await;
    let ada = t.register("ada@example.test").await;
    let first = t.refresh(&ada.refresh).await.expect(200);
    t.clock.advance(TimeDelta::seconds(10));
    let second = t.refresh(&ada.refresh).await.expect(200);
    assert_eq!(refresh_token(&first), refresh_token(&second));
    // The grace period covers only the direct predecessor of the current token.
    let third = t.refresh(refresh_token(&first)).await.expect(200);
    t.refresh(&ada.refresh).await.expect_error(401, "AUTHENTICATION_ERROR");
    t.refresh(refresh_token(&third)).await.expect_error(401, "AUTHENTICATION_ERROR");
}

async fn refresh_reused_after_grace_ends_session(b: Backend) {
    let t = TestApp::with_accounts(b, &[]).await;
    let ada = t.register("ada@example.test").await;
    let phone = t.login("ada@example.test").await;
    let session = t.refresh(&ada.refresh).await.expect(200);
    let now = t.account(&session);
    now.client.get("/app/users/me").await.expect(200);
    t.clock.advance(TimeDelta::milliseconds(10_001));
    t.refresh(&ada.refresh).await.expect_error(401, "AUTHENTICATION_ERROR");
    for client in [&now.client, &ada.client] {
        client.get("/app/users/me").await.expect_error(401, "AUTHENTICATION_ERROR");
    }
    t.refresh(&now.refresh).await.expect_error(401, "AUTHENTICATION_ERROR");
    assert_eq!(t.texts("SELECT revoked_reason FROM sessions WHERE revoked_at IS NOT NULL").await, ["refresh_reuse"]);
    // The user's other session is not affected.
    phone.client.get("/app/users/me").await.expect(200);
    t.refresh(&phone.refresh).await.expect(200);
}

async fn refresh_idle_or_past_max_age_returns_401(b: Backend) {
    let t = TestApp::with_accounts(b, &[("AUTH_REFRESH_IDLE_DAYS", "2"), ("AUTH_REFRESH_MAX_DAYS", "5")]).await;
    let (idle, busy) = (t.register("ada@example.test").await, t.register("bea@example.test").await);
    let mut refresh = busy.refresh;
    for (day, left) in [(1, 2), (2, 2), (3, 2), (4, 1)] {
        t.clock.advance(TimeDelta::days(1));
        let session = t.refresh(&refresh).await.expect(200);
        assert_eq!(session["refresh_expires_in"], left * 86_400, "day {day}");
        refresh_token(&session).clone_into(&mut refresh);
    }
    t.refresh(&idle.refresh).await.expect_error(401, "AUTHENTICATION_ERROR");
    t.clock.advance(TimeDelta::days(1));
    t.refresh(&refresh).await.expect_error(401, "AUTHENTICATION_ERROR");
}

async fn logout_valid_refresh_token_ends_session(b: Backend) {
    let t = TestApp::with_accounts(b, &[]).await;
    let ada = t.register("ada@example.test").await;
    ada.client.get("/app/users/me").await.expect(200);
    let log_out = async |token: &str| t.anonymous().post("/public/auth/logout", json!({"refresh_token": token})).await;
    log_out("nonsense").await.expect(204);
    log_out(&ada.refresh.replace('A', "B")).await.expect(204);
    ada.client.get("/app/users/me").await.expect(200);
    for _ in 0..2 {
        log_out(&ada.refresh).await.expect(204);
        let refused = ada.client.get("/app/users/me").await;
        assert_eq!(refused.header("www-authenticate"), Some("Bearer"));
        refused.expect_error(401, "AUTHENTICATION_ERROR");
    }
    t.refresh(&ada.refresh).await.expect_error(401, "AUTHENTICATION_ERROR");
    // An already rotated refresh token also ends the session on logout.
    let again = t.login("ada@example.test").await;
    let session = t.refresh(&again.refresh).await.expect(200);
    t.minutes_pass(5);
    log_out(&again.refresh).await.expect(204);
    t.refresh(refresh_token(&session)).await.expect_error(401, "AUTHENTICATION_ERROR");
    t.anonymous().post("/public/auth/logout", json!({})).await.expect_error(422, "VALIDATION_ERROR");
}

async fn sessions_list_and_delete_are_limited_to_owner(b: Backend) {
    let t = TestApp::with_accounts(b, &[]).await;
    let (laptop, eve) = (t.register("ada@example.test").await, t.register("eve@example.test").await);
    t.minutes_pass(1);
    let phone = t.login("ada@example.test").await;
    let list = async |client: &crate::harness::Client| client.get("/app/auth/sessions").await.expect(200)["items"].as_array().unwrap().clone();
    for client in [&laptop.client, &phone.client] {
        let current: Vec<bool> = list(client).await.iter().map(|session| session["current"].as_bool().unwrap()).collect();
        assert_eq!(current, [true, false]);
    }
    let sessions = list(&phone.client).await;
    let names: Vec<&str> = sessions[0].as_object().unwrap().keys().map(String::as_str).collect();
    assert_eq!(names, ["created_at", "current", "id", "ip_address", "last_used_at", "user_agent"]);
    let phones = format!("/app/auth/sessions/{}", sessions[0]["id"].as_str().unwrap());
    for foreign in [phones.as_str(), "/app/auth/sessions/nonsense", "/app/auth/sessions/0199f3b0-7c1e-7d2a-9f2e-6f0f3c1b2a4d"] {
        let details = eve.client.delete(foreign).await.expect_error(404, "NOT_FOUND");
        assert_eq!(details["resource"], "Session");
    }
    phone.client.get("/app/users/me").await.expect(200);
    laptop.client.delete(&phones).await.expect(204);
    phone.client.get("/app/users/me").await.expect_error(401, "AUTHENTICATION_ERROR");
    laptop.client.delete(&phones).await.expect_error(404, "NOT_FOUND");
    assert_eq!(list(&laptop.client).await.len(), 1);
    t.login("ada@example.test").await;
    laptop.client.post("/app/auth/logout-all", json!({})).await.expect(204);
    laptop.client.get("/app/users/me").await.expect_error(401, "AUTHENTICATION_ERROR");
    assert_eq!(t.number("SELECT COUNT(*) FROM sessions WHERE revoked_at IS NULL").await, 1, "only eve's session remains");
}

async fn sessions_beyond_100_end_the_least_recently_used(b: Backend) {
    let t = TestApp::with_accounts(b, &[]).await;
    let laptop = t.register("ada@example.test").await;
    t.minutes_pass(1);
    let idle = t.login("ada@example.test").await;
    for _ in 0..98 {
        t.login("ada@example.test").await;
    }
    t.minutes_pass(1);
    let laptop = t.account(&t.refresh(&laptop.refresh).await.expect(200));
    let list = async || laptop.client.get("/app/auth/sessions").await.expect(200)["items"].as_array().unwrap().clone();
    assert_eq!(list().await.len(), 100);
    // The next log-in ends an idle session, not the one that was opened first.
    t.minutes_pass(1);
    let newest = t.login("ada@example.test").await;
    let sessions = list().await;
    assert_eq!((sessions.len(), &sessions[0]["current"]), (100, &json!(true)));
    let times: Vec<&str> = sessions[1..].iter().map(|session| session["last_used_at"].as_str().unwrap()).collect();
    assert!(times.is_sorted_by(|a, b| a >= b), "{times:?}");
    assert_eq!(t.texts("SELECT revoked_reason FROM sessions WHERE revoked_at IS NOT NULL").await, ["too_many_sessions"]);
    t.refresh(&idle.refresh).await.expect_error(401, "AUTHENTICATION_ERROR");
    idle.client.get("/app/users/me").await.expect_error(401, "AUTHENTICATION_ERROR");
    t.refresh(&newest.refresh).await.expect(200);
    // At once as well.
    join_all((0..30).map(|_| t.login("ada@example.test"))).await;
    assert_eq!(t.number("SELECT COUNT(*) FROM sessions WHERE revoked_at IS NULL").await, 100);
}

async fn sessions_after_user_deactivation_end_on_all_instances(b: Backend) {
    let t = TestApp::with_accounts(b, &[]).await;
    let other = t.second_with_accounts(&[]).await;
    let admin = t.register("root@example.test").await;
    t.sql(&format!("UPDATE users SET role = 'admin' WHERE id = '{}'", admin.id)).await;
    t.forget_identity(&admin.id);
    for way in ["deactivate", "patch", "erase"] {
        let ada = t.register(&format!("{way}@example.test")).await;
        let elsewhere = other.with_token(ada.client.token.as_ref().unwrap());
        elsewhere.get("/app/users/me").await.expect(200);
        let path = format!("/admin/users/{}", ada.id);
        match way {
            "deactivate" => drop(admin.client.post(&format!("{path}/deactivate"), json!({})).await.expect(200)),
            "patch" => drop(admin.client.patch(&path, json!({"is_active": false})).await.expect(200)),
            _ => drop(t.erase(&ada.id).await.unwrap()),
        }
        let refused = if way == "erase" { 401 } else { 403 };
        assert_eq!(ada.client.get("/app/users/me").await.status, refused, "{way}");
        t.refresh(&ada.refresh).await.expect_error(401, "AUTHENTICATION_ERROR");
        other.refresh(&ada.refresh).await.expect_error(401, "AUTHENTICATION_ERROR");
        t.clock.advance(TimeDelta::seconds(5));
        assert_eq!(elsewhere.get("/app/users/me").await.status, refused, "{way}");
        if way == "erase" {
            continue;
        }
        // Reactivation does not restore the sessions: the user has to log in again.
        admin.client.post(&format!("{path}/activate"), json!({})).await.expect(200);
        for client in [&ada.client, &elsewhere] {
            t.clock.advance(TimeDelta::seconds(5));
            client.get("/app/users/me").await.expect_error(401, "AUTHENTICATION_ERROR");
        }
        t.login(&format!("{way}@example.test")).await;
    }
}

async fn token_used_for_another_purpose_is_rejected(b: Backend) {
    let t = TestApp::with_accounts(b, &[]).await;
    let (ada, eve) = (t.register("ada@example.test").await, t.register("eve@example.test").await);
    let access = ada.client.token.clone().unwrap();
    t.refresh(&access).await.expect_error(401, "AUTHENTICATION_ERROR");
    t.with_token(&ada.refresh).get("/app/users/me").await.expect_error(401, "AUTHENTICATION_ERROR");
    let mailed = t.mailed_token("ada@example.test", "verify_email").await;
    t.refresh(&mailed).await.expect_error(401, "AUTHENTICATION_ERROR");
    t.with_token(&mailed).get("/app/users/me").await.expect_error(401, "AUTHENTICATION_ERROR");
    for token in [&access, &ada.refresh] {
        t.anonymous().post("/public/auth/verify-email", json!({"token": token})).await.expect_error(400, "BAD_REQUEST");
    }
    // An access token is valid only with the id of a session of its own user.
    let life = std::time::Duration::from_secs(900);
    let sessions = t.texts(&format!("SELECT id FROM sessions WHERE user_id = '{}'", eve.id)).await;
    for sid in [sessions[0].as_str(), "", "nonsense", "0199f3b0-7c1e-7d2a-9f2e-6f0f3c1b2a4d"] {
        let forged = own::mint(&t.app.keys, &UserId::parse(&ada.id).unwrap(), "ada@example.test", sid, t.clock.now(), life).unwrap();
        t.with_token(&forged).get("/app/users/me").await.expect_error(401, "AUTHENTICATION_ERROR");
    }
    // Tokens of an installation with another `SECRET_KEY` are rejected, in both directions.
    let stranger = t.second_with_accounts(&[("SECRET_KEY", "the-service-secret-of-another-installation")]).await;
    stranger.refresh(&ada.refresh).await.expect_error(401, "AUTHENTICATION_ERROR");
    stranger.with_token(&access).get("/app/users/me").await.expect_error(401, "AUTHENTICATION_ERROR");
    stranger.anonymous().post("/public/auth/logout", json!({"refresh_token": ada.refresh})).await.expect(204);
    let foreign = stranger.login("ada@example.test").await;
    t.refresh(&foreign.refresh).await.expect_error(401, "AUTHENTICATION_ERROR");
    t.refresh(&ada.refresh).await.expect(200);
}

async fn ws_ticket_concurrent_redeem_succeeds_once_within_30s(b: Backend) {
    let (t, elsewhere) = (TestApp::with_accounts(b, &[]).await, TestApp::start(b).await);
    let other = t.second_with_accounts(&[]).await;
    let ada = t.register("ada@example.test").await;
    let ask = async |client: &crate::harness::Client| client.post("/app/ws/ticket", json!({})).await.expect(200);
    let answer = ask(&ada.client).await;
    assert_eq!(answer["expires_in"], 30);
    let ticket = answer["ticket"].as_str().unwrap();
    assert!(!t.texts("SELECT claims FROM ws_tickets").await[0].contains(ada.client.token.as_ref().unwrap()));
    let redeemed = join_all((0..10).map(|n| redeem_ticket(if n % 2 == 0 { &t.app } else { &other.app }, ticket))).await;
    let claims: Vec<_> = redeemed.into_iter().filter_map(|claims| claims.unwrap()).collect();
    assert_eq!(claims.len(), 1);
    assert_eq!((claims[0].subject.as_str(), claims[0].email.as_deref()), (ada.id.as_str(), Some("ada@example.test")));
    let late = ask(&ada.client).await;
    t.clock.advance(TimeDelta::seconds(30));
    for worthless in [late["ticket"].as_str().unwrap(), "", "nonsense", ada.refresh.as_str()] {
        assert!(redeem_ticket(&t.app, worthless).await.unwrap().is_none());
    }
    // Tickets also work with an external issuer. They need an access token and cannot replace it.
    let amy = elsewhere.user("amy").await;
    let ticket = ask(&amy).await["ticket"].as_str().unwrap().to_owned();
    elsewhere.with_token(&ticket).get("/app/users/me").await.expect_error(401, "AUTHENTICATION_ERROR");
    assert!(redeem_ticket(&elsewhere.app, &ticket).await.unwrap().is_some());
    t.anonymous().post("/app/ws/ticket", json!({})).await.expect_error(401, "AUTHENTICATION_ERROR");
}

async fn sweep_expired_job_deletes_sessions_and_tokens(b: Backend) {
    let t = TestApp::with_accounts(b, &[]).await;
    t.register("ada@example.test").await;
    t.mails("ada@example.test", "verify_email").await;
    t.clock.advance(TimeDelta::days(10));
    let young = t.login("ada@example.test").await;
    t.clock.advance(TimeDelta::days(5));
    t.app.jobs.enqueue_by_name(&t.app.db, "sweep_expired", json!({}), New::default()).await.unwrap();
    t.run_jobs().await;
    assert_eq!(t.number("SELECT COUNT(*) FROM sessions").await, 1);
    assert_eq!(t.number("SELECT COUNT(*) FROM one_time_tokens").await, 0);
    t.refresh(&young.refresh).await.expect(200);
}

async fn user_sessions_are_exported_and_erased(b: Backend) {
    let t = TestApp::with_accounts(b, &[]).await;
    let ada = t.register("ada@example.test").await;
    t.mails("ada@example.test", "verify_email").await;
    let job = ada.client.post("/app/users/me/export", json!({})).await.expect(202)["job_id"].as_str().unwrap().to_owned();
    t.run_jobs().await;
    let copy = ada.client.get(&format!("/app/users/me/export/{job}")).await.expect(200);
    assert_eq!(copy["sessions"].as_array().unwrap().len(), 1);
    assert!(!copy.to_string().contains("argon2") && !copy.to_string().contains("seed"), "{copy}");
    t.erase(&ada.id).await.unwrap();
    for table in ["users", "credentials", "sessions", "one_time_tokens", "data_exports"] {
        assert_eq!(t.number(&format!("SELECT COUNT(*) FROM {table}")).await, 0, "{table}");
    }
    assert_eq!(t.number("SELECT COUNT(*) FROM jobs WHERE function <> 'remove_exports'").await, 0);
    t.try_login("ada@example.test", PASSWORD).await.expect_error(401, "AUTHENTICATION_ERROR");
}
