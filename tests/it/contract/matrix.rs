//! Access matrix: every registered route called by every kind of caller. A new route is tested automatically.

use chrono::TimeDelta;
use omnistack::features::{accounts, users};
use omnistack::platform::auth::Role;
use omnistack::platform::http::Route;
use omnistack::platform::http::policy::{Access, Caching};
use serde_json::json;

use super::{calls_at, head, is_endless, path_of};
use crate::harness::tokens::claims;
use crate::harness::{Backend, Client, Reply, SECRET, TestApp};

crate::on_both_backends![every_route_enforces_its_access_level, every_route_enforces_its_access_level_for_local_accounts];

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Who {
    Nobody,
    Expired,
    WrongKey,
    User,
    OtherUser,
    Deactivated,
    DeactivatedAdmin,
    Admin,
    Superadmin,
}

/// Who may call the route. Streams of events verify the token of the header themselves, as the gate does for other routes.
fn access(route: &Route) -> Access {
    if is_endless(route) { Access::User } else { route.policy.access }
}

/// Possible statuses of a refusal; none if the caller is allowed.
fn refusal(access: Access, who: Who) -> &'static [u16] {
    let verified = !matches!(who, Who::Nobody | Who::Expired | Who::WrongKey);
    let active = !matches!(who, Who::Deactivated | Who::DeactivatedAdmin);
    match access {
        // The tests call from the machine itself.
        Access::Public | Access::Developer => &[],
        // Links, webhooks and sockets check a proof of their own: without it every caller is refused. A webhook without a secret
        // is not configured.
        Access::SelfVerifying => &[400, 401, 403, 503],
        Access::User | Access::Admin if !verified => &[401],
        Access::User if active => &[],
        Access::Admin if matches!(who, Who::Admin | Who::Superadmin) => &[],
        Access::User | Access::Admin => &[403],
    }
}

async fn callers(t: &TestApp) -> Vec<(Who, Client)> {
    let expired = claims("amy", &t.clock).with("exp", (t.clock.now() - TimeDelta::hours(1)).timestamp().into()).sign(SECRET);
    let wrong_key = claims("amy", &t.clock).sign("another-secret-of-32-characters-or-more-");
    let (off, off_admin) = (t.user("off").await, t.user_with_role("off-admin", "admin").await);
    t.sql("UPDATE users SET is_active = FALSE WHERE id IN ('off', 'off-admin')").await;
    t.forget_identity("off");
    t.forget_identity("off-admin");
    vec![
        (Who::Nobody, t.anonymous()),
        (Who::Expired, t.with_token(&expired)),
        (Who::WrongKey, t.with_token(&wrong_key)),
        (Who::User, t.user("amy").await),
        (Who::OtherUser, t.user("bob").await),
        (Who::Deactivated, off),
        (Who::DeactivatedAdmin, off_admin),
        (Who::Admin, t.admin().await),
        (Who::Superadmin, t.user_with_role("the-superadmin", "superadmin").await),
    ]
}

async fn every_route_enforces_its_access_level(b: Backend) {
    enforces_access_levels(&TestApp::start(b).await).await;
}

/// Calls every route of the server as every kind of caller.
pub async fn enforces_access_levels(t: &TestApp) {
    let callers = callers(t).await;
    for (route, method) in calls_at(t) {
        for (who, client) in &callers {
            enforces_access_level(&route, &method, *who, client).await;
        }
    }
}

async fn enforces_access_level(route: &Route, method: &http::Method, who: Who, client: &Client) {
    let what = format!("{method} {} by {who:?}", route.template);
    let call = client.call(method.clone(), &path_of(route));
    // An empty object: validation of the body comes after the access check.
    let reply = if is_endless(route) {
        head(call).await
    } else if method == "GET" {
        call.await
    } else {
        call.json(&json!({})).await
    };
    match refusal(access(route), who) {
        refusals @ [_, ..] => assert!(refusals.contains(&reply.status.as_u16()), "{what}: {}", reply.text()),
        [] => assert!(!matches!(reply.status.as_u16(), 401 | 403), "{what}: {}", reply.text()),
    }
    check(&what, route, &reply);
}

async fn every_route_enforces_its_access_level_for_local_accounts(b: Backend) {
    let t = TestApp::with_accounts(b, &[]).await;
    let stranger = t.second_with_accounts(&[("SECRET_KEY", "the-service-secret-of-another-installation")]).await;
    let mut people = Vec::new();
    for (who, role) in [
        (Who::Expired, Role::User),
        (Who::WrongKey, Role::User),
        (Who::User, Role::User),
        (Who::OtherUser, Role::User),
        (Who::Deactivated, Role::User),
        (Who::DeactivatedAdmin, Role::Admin),
        (Who::Admin, Role::Admin),
        (Who::Superadmin, Role::Superadmin),
    ] {
        people.push((who, users::service::operator::find_or_create(&t.app, &format!("{who:?}@example.test"), role).await.unwrap()));
    }
    for (route, method) in calls_at(&t) {
        enforces_access_level(&route, &method, Who::Nobody, &t.anonymous()).await;
        for (who, user) in &people {
            // A new session for each call, because some calls end the session.
            let issuer = if *who == Who::WrongKey { &stranger } else { &t };
            let token = accounts::service::operator::token(&issuer.app, user).await.unwrap().unwrap();
            let off = matches!(who, Who::Deactivated | Who::DeactivatedAdmin);
            users::service::operator::set_active(&t.app, user.id.as_str(), !off).await.unwrap();
            if *who == Who::Expired {
                t.clock.advance(TimeDelta::minutes(16));
            }
            enforces_access_level(&route, &method, *who, &t.with_token(&token)).await;
            users::service::operator::set_active(&t.app, user.id.as_str(), true).await.unwrap();
        }
    }
}

/// Checks the rules for every response: status, error format, headers.
fn check(what: &str, route: &Route, reply: &Reply) {
    // A feature that is not configured returns 503 without `Retry-After`.
    let unconfigured = reply.status == 503 && reply.header("retry-after").is_none();
    assert!(!reply.status.is_server_error() || unconfigured, "{what}: {}", reply.text());
    if reply.status.is_client_error() || reply.status.is_server_error() {
        let code = reply.json()["error"]["code"].as_str().unwrap().to_owned();
        reply.clone().expect_error(reply.status.as_u16(), &code);
    }
    super::headers::carries_what_every_answer_does(what, reply);
    super::headers::tells_its_budget(what, reply, route.policy.budget.is_some());
    if is_endless(route) && reply.status.is_success() {
        assert_eq!((reply.header("cache-control"), reply.header("x-accel-buffering")), (Some("no-cache"), Some("no")), "{what}");
    } else if route.policy.cache == Caching::NoStore {
        assert_eq!(reply.header("cache-control"), Some("no-store"), "{what}");
    }
}

#[tokio::test]
async fn every_route_answers_head_as_get_and_refuses_others() {
    let t = TestApp::start(Backend::Sqlite).await;
    let admin = t.admin().await;
    let mut seen = std::collections::BTreeSet::new();
    for (route, _) in calls_at(&t) {
        if !seen.insert(route.template.clone()) {
            continue;
        }
        let path = path_of(&route);
        for method in ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "PROPFIND"] {
            let method: http::Method = method.parse().unwrap();
            // A template may be registered several times, with different methods.
            let offered = calls_at(&t).iter().any(|(other, _)| other.template == route.template && other.allows(&method));
            if offered && method != "HEAD" {
                continue;
            }
            let what = format!("{method} {}", route.template);
            // The result does not depend on a token, because the existence of a method is public.
            for client in [&admin, &t.anonymous()] {
                let reply = client.call(method.clone(), &path).await;
                super::headers::carries_what_every_answer_does(&what, &reply);
                if offered {
                    let get = if is_endless(&route) { head(client.get(&path)).await } else { client.get(&path).await };
                    assert_eq!((reply.status, reply.body.len()), (get.status, 0), "{what}");
                    assert_eq!(reply.header("content-type"), get.header("content-type"), "{what}");
                    continue;
                }
                assert_eq!(reply.status, 405, "{what}: {}", reply.text());
                let allow = reply.header("allow").unwrap_or_default();
                for method in &route.methods {
                    assert!(allow.split(',').any(|allowed| allowed.trim() == method.as_str()), "{what}: {allow}");
                }
                super::headers::tells_its_budget(&what, &reply, false);
                if method != "HEAD" {
                    assert_eq!(reply.expect_error(405, "METHOD_NOT_ALLOWED"), json!({}), "{what}");
                }
            }
        }
    }
}

#[tokio::test]
async fn unknown_path_returns_404_to_every_caller() {
    let t = TestApp::start(Backend::Sqlite).await;
    let amy = t.user("amy").await;
    for path in [
        "//",
        "//api",
        "/",
        "/app",
        "/app/",
        "/admin",
        "/app/users/me/",
        "/app//users/me",
        "/APP/users/me",
        "/app/nothing",
        "//api/v2/app/projects",
        "//api/v3/app/users/me",
        "//api/V1/app/users/me",
        "/app/projects/1/2",
        "//favicon.ico",
        "//.env",
    ] {
        for client in [&amy, &t.anonymous()] {
            for method in ["GET", "POST", "OPTIONS"] {
                let reply = client.call(method.parse().unwrap(), path).await;
                super::headers::carries_what_every_answer_does(path, &reply);
                super::headers::tells_its_budget(path, &reply, false);
                assert_eq!(reply.expect_error(404, "NOT_FOUND"), json!({}), "{path}");
            }
        }
    }
}
