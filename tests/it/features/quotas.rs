//! Plan quotas: what is counted, refused, given back and removed, and what a request learns of it.

use std::sync::Arc;

use axum::extract::State;
use axum::routing::post;
use chrono::{DateTime, Datelike, TimeDelta, TimeZone, Utc};
use futures_util::future::join_all;
use http::{HeaderMap, Method};
use omnistack::app::App;
use omnistack::app::feature::Feature;
use omnistack::features::quotas::Quota;
use omnistack::features::quotas::service::{Reservation, reserve};
use omnistack::platform::actor::{Actor, CurrentUser};
use omnistack::platform::auth::{Claims, Role};
use omnistack::platform::db::{Engine, Registered, Sql, query};
use omnistack::platform::error::{Error, Result};
use omnistack::platform::http::{Endpoints, Policy};
use omnistack::platform::id::UserId;
use serde_json::json;

use crate::harness::database::Database;
use crate::harness::pgbouncer::PgBouncer;
use crate::harness::{Backend, Client, Reply, TestApp, statements};

crate::on_both_backends![
    parallel_requests_on_two_instances_stop_at_limit,
    parallel_first_requests_of_user_stop_at_limit,
    quota_headers_show_what_is_left,
    month_turn_starts_new_count,
    plan_change_counts_at_once,
    plan_without_running_subscription_is_free,
    unlimited_plan_is_counted_and_shown_as_minus_one,
    limit_zero_refuses_first_request,
    request_given_back_can_be_used_again,
    count_given_back_is_never_negative,
    request_is_given_back_to_its_own_month,
    failed_give_back_leaves_request_counted,
    disabled_quota_refuses_and_counts_nothing,
    impersonated_request_uses_no_quota,
    reservation_is_one_statement,
    erased_user_cannot_reserve_and_leaves_no_counter,
    counters_are_removed_one_day_after_their_month,
];

/// The test server enforces no quotas unless it is told to.
pub(super) const LIMITED: (&str, &str) = ("PLAN_LIMITS_ENABLED", "true");

/// A feature with a route that uses up the quota.
struct Metered;

impl Feature<App> for Metered {
    fn name(&self) -> &'static str {
        "metered"
    }

    fn endpoints(&self) -> Endpoints<App> {
        Endpoints::new().page(Policy::user(), "/api/v1/app/metered", [Method::POST], post(metered))
    }
}

async fn metered(State(app): State<App>, user: CurrentUser) -> Result<HeaderMap> {
    let mut headers = HeaderMap::new();
    reserve(&app, &user, Quota::AiRequests).await?.set_headers(&mut headers);
    Ok(headers)
}

async fn server(b: Backend, vars: &[(&str, &str)]) -> TestApp {
    let vars: Vec<_> = [LIMITED].iter().chain(vars).copied().collect();
    TestApp::with_feature(b, &Metered, &vars).await
}

async fn ask(client: &Client) -> Reply {
    client.call(Method::POST, "/app/metered").await
}

/// A caller of the service. The user must exist.
pub(super) fn caller(name: &str) -> CurrentUser {
    let id = UserId::parse(name).unwrap();
    let claims = Claims {
        subject: id.clone(),
        email: None,
        full_name: None,
        avatar_url: None,
        role: Role::User,
        session: None,
        issued_at: None,
        expires_at: 0,
    };
    let actor = Actor { user: Some(id.clone()), ..Actor::operator() };
    CurrentUser { id, claims: Arc::new(claims), actor }
}

async fn taken(t: &TestApp, user: &CurrentUser) -> Reservation {
    reserve(&t.app, user, Quota::AiRequests).await.unwrap()
}

/// The limit and the used part in the refusal.
async fn refused(t: &TestApp, user: &CurrentUser) -> (i64, i64) {
    match reserve(&t.app, user, Quota::AiRequests).await {
        Err(Error::PlanLimit { limit, used, .. }) => (limit, used),
        other => panic!("{other:?}"),
    }
}

/// Sets what the user has used this month.
async fn set_used(t: &TestApp, user: &str, used: i64) {
    let month = t.clock.now().format("%Y-%m");
    t.sql(&format!("DELETE FROM quota_counters WHERE user_id = '{user}' AND period = '{month}'")).await;
    t.sql(&format!("INSERT INTO quota_counters VALUES ('{user}', 'ai_requests', '{month}', {used}, 50)")).await;
}

pub(super) async fn set_plan(t: &TestApp, plan: &str, status: &str) {
    t.sql(&format!("UPDATE users SET subscription_plan = {plan}, subscription_status = {status} WHERE id = 'amy'")).await;
}

/// The months that are counted, with what is used of each.
async fn counted(t: &TestApp) -> Vec<String> {
    t.texts("SELECT period || ' ' || CAST(used AS TEXT) FROM quota_counters ORDER BY period").await
}

pub(super) fn quota_headers(reply: &Reply) -> [&str; 3] {
    ["x-quota-limit", "x-quota-remaining", "x-quota-reset"].map(|name| reply.header(name).unwrap_or_default())
}

/// Checks that ten requests passed, each with another place, and returns the answers of the others.
#[track_caller]
pub(super) fn but_ten(replies: Vec<Reply>, passed: u16) -> Vec<Reply> {
    let (passed, others): (Vec<_>, Vec<_>) = replies.into_iter().partition(|reply| reply.status == passed);
    let mut left: Vec<i64> = passed.iter().map(|reply| quota_headers(reply)[1].parse().unwrap()).collect();
    left.sort_unstable();
    assert_eq!(left, (0..10).collect::<Vec<_>>(), "each of them got another place");
    others
}

/// Moves the clock to the last microsecond of the next December, and returns that instant.
fn end_of_year(t: &TestApp) -> DateTime<Utc> {
    let last: DateTime<Utc> = format!("{}-12-31T23:59:59.999999Z", t.clock.now().year() + 1).parse().unwrap();
    t.clock.advance(last - t.clock.now());
    last
}

async fn parallel_requests_on_two_instances_stop_at_limit(b: Backend) {
    let t = server(b, &[]).await;
    let other = t.second(&[LIMITED]).await;
    let amy = t.user("amy").await;
    set_used(&t, "amy", 40).await;
    let clients = [amy.clone(), other.with_token(amy.token.as_ref().unwrap())];
    let replies = join_all((0..50).map(|n| ask(&clients[n % 2]))).await;
    let refused = but_ten(replies, 200);
    assert_eq!(refused.len(), 40);
    for reply in refused {
        assert_eq!(reply.clone().expect_error(403, "PLAN_LIMIT_EXCEEDED")["used"], 50);
    }
    assert_eq!(t.number("SELECT used FROM quota_counters").await, 50);
}

async fn parallel_first_requests_of_user_stop_at_limit(b: Backend) {
    let t = server(b, &[]).await;
    let other = t.second(&[LIMITED]).await;
    t.user("amy").await;
    let user = caller("amy");
    let outcomes = join_all((0..60).map(|n| reserve(if n % 2 == 0 { &t.app } else { &other.app }, &user, Quota::AiRequests))).await;
    assert_eq!(outcomes.iter().filter(|outcome| outcome.is_ok()).count(), 50);
    assert!(outcomes.iter().filter_map(|outcome| outcome.as_ref().err()).all(|error| matches!(error, Error::PlanLimit { .. })));
}

async fn quota_headers_show_what_is_left(b: Backend) {
    let t = server(b, &[]).await;
    let (amy, bob) = (t.user("amy").await, t.user("bob").await);
    let month = t.clock.now();
    let reset = Utc.with_ymd_and_hms(month.year() + i32::from(month.month() == 12), month.month() % 12 + 1, 1, 0, 0, 0).unwrap();
    let seconds = reset.timestamp().to_string();
    assert_eq!(quota_headers(&ask(&amy).await), ["50", "49", &seconds]);
    set_used(&t, "amy", 49).await;
    assert_eq!(quota_headers(&ask(&amy).await), ["50", "0", &seconds]);
    let reply = ask(&amy).await;
    assert_eq!(quota_headers(&reply), ["50", "0", &seconds]);
    let details = reply.expect_error(403, "PLAN_LIMIT_EXCEEDED");
    assert_eq!(details, json!({"feature": "ai_requests", "limit": 50, "used": 50, "resets_at": reset}));
    assert_eq!(quota_headers(&ask(&bob).await)[1], "49", "another user has a quota of their own");
    assert_eq!(quota_headers(&amy.get("/app/users/me").await), [""; 3], "a route without a quota");
}

async fn month_turn_starts_new_count(b: Backend) {
    let t = server(b, &[]).await;
    t.user("amy").await;
    let user = caller("amy");
    let last = end_of_year(&t);
    let december = last.format("%Y-%m");
    set_used(&t, "amy", 49).await;
    let _ = taken(&t, &user).await;
    assert_eq!(refused(&t, &user).await, (50, 50));
    t.clock.advance(TimeDelta::microseconds(1));
    let january = t.clock.now().format("%Y-%m");
    let mut headers = HeaderMap::new();
    taken(&t, &user).await.set_headers(&mut headers);
    assert_eq!(headers["x-quota-remaining"], "49", "the first instant of a month belongs to it");
    assert_eq!(headers["x-quota-reset"], (t.clock.now() + TimeDelta::days(31)).timestamp().to_string());
    assert_eq!(counted(&t).await, [format!("{december} 50"), format!("{january} 1")]);
    t.clock.advance(TimeDelta::microseconds(-1));
    assert_eq!(refused(&t, &user).await, (50, 50), "a clock set back finds the old count");
}

async fn plan_change_counts_at_once(b: Backend) {
    let t = server(b, &[]).await;
    let amy = t.user("amy").await;
    set_used(&t, "amy", 50).await;
    ask(&amy).await.expect_error(403, "PLAN_LIMIT_EXCEEDED");
    set_plan(&t, "'pro'", "'active'").await;
    assert_eq!(quota_headers(&ask(&amy).await)[..2], ["2000", "1949"]);
    set_plan(&t, "'pro'", "'canceled'").await;
    let reply = ask(&amy).await;
    assert_eq!(quota_headers(&reply)[..2], ["50", "0"]);
    assert_eq!(reply.expect_error(403, "PLAN_LIMIT_EXCEEDED")["used"], 51, "what another plan allowed stays counted");
    set_plan(&t, "'enterprise'", "'trialing'").await;
    assert_eq!(ask(&amy).await.status, 200);
}

async fn plan_without_running_subscription_is_free(b: Backend) {
    let t = server(b, &[]).await;
    let amy = t.user("amy").await;
    for (plan, status, limit) in [
        ("'pro'", "'active'", "2000"),
        ("'pro'", "'trialing'", "2000"),
        ("'pro'", "'past_due'", "50"),
        ("'pro'", "'incomplete'", "50"),
        ("'pro'", "NULL", "50"),
        ("'free'", "'active'", "50"),
        ("NULL", "'active'", "50"),
        ("'gold'", "'active'", "50"),
        ("'PRO'", "'active'", "50"),
        ("'$.pro'", "'active'", "50"),
        ("'$['", "'active'", "50"),
        ("''", "''", "50"),
    ] {
        set_plan(&t, plan, status).await;
        let reply = ask(&amy).await;
        assert_eq!((reply.status.as_u16(), quota_headers(&reply)[0]), (200, limit), "{plan} {status}");
    }
}

async fn unlimited_plan_is_counted_and_shown_as_minus_one(b: Backend) {
    let t = server(b, &[]).await;
    let amy = t.user("amy").await;
    set_plan(&t, "'enterprise'", "'active'").await;
    set_used(&t, "amy", 1_000_000).await;
    assert_eq!(quota_headers(&ask(&amy).await)[..2], ["-1", "-1"]);
    assert_eq!(t.number("SELECT used FROM quota_counters").await, 1_000_001);
}

/// No plan has such a limit, so the statement of the store is run with limits of its own.
async fn limit_zero_refuses_first_request(b: Backend) {
    let t = server(b, &[]).await;
    t.user("amy").await;
    let other = if b == Backend::Postgres { Engine::Sqlite } else { Engine::Postgres };
    let of_store = |sql: &&'static Sql| sql.engine != other && sql.text.starts_with("INSERT INTO quota_counters");
    let sql = inventory::iter::<Registered>.into_iter().map(|Registered(sql)| *sql).find(of_store).unwrap();
    let mut used = Vec::new();
    for limit in [0, 0, 1, 1, 0] {
        let run = query(&t.app.db, sql).bind("amy").bind(sqlx::types::Json(json!({"free": limit}))).bind(limit);
        used.push(run.bind("ai_requests").bind("2026-11").fetch_optional::<(i64, i64)>().await.unwrap());
    }
    assert_eq!(used, [None, None, Some((1, 1)), None, None]);
}

async fn request_given_back_can_be_used_again(b: Backend) {
    let t = server(b, &[]).await;
    t.user("amy").await;
    let user = caller("amy");
    set_used(&t, "amy", 49).await;
    for _ in 0..3 {
        let reservation = taken(&t, &user).await;
        assert_eq!(refused(&t, &user).await, (50, 50), "a running request is counted");
        reservation.give_back(&t.app).await;
    }
    drop(taken(&t, &user).await);
    assert_eq!(refused(&t, &user).await, (50, 50), "a dropped reservation stays counted");
}

async fn count_given_back_is_never_negative(b: Backend) {
    let t = server(b, &[]).await;
    t.user("amy").await;
    let user = caller("amy");
    let (first, second) = (taken(&t, &user).await, taken(&t, &user).await);
    set_used(&t, "amy", 1).await;
    first.give_back(&t.app).await;
    second.give_back(&t.app).await;
    assert_eq!(t.number("SELECT used FROM quota_counters").await, 0);
    let third = taken(&t, &user).await;
    t.sql("DELETE FROM quota_counters").await;
    third.give_back(&t.app).await;
    assert_eq!(t.number("SELECT COUNT(*) FROM quota_counters").await, 0);
}

async fn request_is_given_back_to_its_own_month(b: Backend) {
    let t = server(b, &[]).await;
    t.user("amy").await;
    let user = caller("amy");
    let december = end_of_year(&t).format("%Y-%m");
    let (of_december, _) = (taken(&t, &user).await, taken(&t, &user).await);
    t.clock.advance(TimeDelta::microseconds(1));
    let january = t.clock.now().format("%Y-%m");
    let _ = taken(&t, &user).await;
    of_december.give_back(&t.app).await;
    assert_eq!(counted(&t).await, [format!("{december} 1"), format!("{january} 1")]);
}

async fn failed_give_back_leaves_request_counted(b: Backend) {
    let t = server(b, &[]).await;
    t.user("amy").await;
    let reservation = taken(&t, &caller("amy")).await;
    t.sql("ALTER TABLE quota_counters RENAME TO elsewhere").await;
    reservation.give_back(&t.app).await;
    assert_eq!(t.number("SELECT used FROM elsewhere").await, 1);
}

async fn disabled_quota_refuses_and_counts_nothing(b: Backend) {
    let t = server(b, &[("PLAN_LIMITS_ENABLED", "false")]).await;
    let amy = t.user("amy").await;
    set_used(&t, "amy", 50).await;
    let (reply, ran) = statements(amy.call(Method::POST, "/app/metered")).await;
    assert_eq!((reply.status.as_u16(), quota_headers(&reply)), (200, [""; 3]));
    assert!(ran.is_empty(), "{ran:#?}");
    taken(&t, &caller("amy")).await.give_back(&t.app).await;
    assert_eq!(t.number("SELECT used FROM quota_counters").await, 50);
}

/// The administrator's requests are not the user's.
async fn impersonated_request_uses_no_quota(b: Backend) {
    let t = server(b, &[]).await;
    t.user("amy").await;
    let mut user = caller("amy");
    user.actor.impersonator = Some(UserId::parse("eve").unwrap());
    set_used(&t, "amy", 50).await;
    let reservation = taken(&t, &user).await;
    let mut headers = HeaderMap::new();
    reservation.set_headers(&mut headers);
    assert!(headers.is_empty(), "{headers:?}");
    reservation.give_back(&t.app).await;
    assert_eq!(counted(&t).await.len(), 1);
    assert_eq!(t.number("SELECT used FROM quota_counters").await, 50);
}

async fn reservation_is_one_statement(b: Backend) {
    let t = server(b, &[]).await;
    let amy = t.user("amy").await;
    for _ in 0..2 {
        let (reply, ran) = statements(amy.call(Method::POST, "/app/metered")).await;
        assert_eq!((reply.status.as_u16(), ran.len()), (200, 1), "{ran:#?}");
    }
    set_used(&t, "amy", 50).await;
    let (reply, ran) = statements(amy.call(Method::POST, "/app/metered")).await;
    assert_eq!((reply.status.as_u16(), ran.len()), (403, 2), "{ran:#?}");
}

async fn erased_user_cannot_reserve_and_leaves_no_counter(b: Backend) {
    let t = server(b, &[]).await;
    let bob = t.user("bob").await;
    ask(&t.user("amy").await).await;
    ask(&bob).await;
    t.erase("amy").await.unwrap();
    assert_eq!(t.texts("SELECT user_id FROM quota_counters").await, ["bob"]);
    let outcome = reserve(&t.app, &caller("amy"), Quota::AiRequests).await;
    assert!(matches!(outcome, Err(Error::Unauthenticated(_))), "{outcome:?}");
    assert_eq!(t.texts("SELECT user_id FROM quota_counters").await, ["bob"]);
}

async fn counters_are_removed_one_day_after_their_month(b: Backend) {
    let t = server(b, &[]).await;
    t.user("amy").await;
    let user = caller("amy");
    let sweep = async || t.run_function("sweep_expired", json!({})).await.unwrap().1.unwrap();
    let december = end_of_year(&t).format("%Y-%m");
    let _ = taken(&t, &user).await;
    t.clock.advance(TimeDelta::days(1));
    let january = t.clock.now().format("%Y-%m");
    let _ = taken(&t, &user).await;
    sweep().await;
    assert_eq!(counted(&t).await, [format!("{december} 1"), format!("{january} 1")]);
    t.clock.advance(TimeDelta::microseconds(1));
    sweep().await;
    assert_eq!(counted(&t).await, [format!("{january} 1")]);
}

/// Each statement may run in another session of the pooler.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn quota_behind_pgbouncer_stops_at_limit() {
    if !Backend::Postgres.is_available() {
        return;
    }
    let database = Database::create(Backend::Postgres).await;
    let Some(pooler) = PgBouncer::start() else { return };
    let url = pooler.before(&database.url);
    let t = TestApp::on(database, &[LIMITED, ("DATABASE_URL", url.as_str()), ("DB_PGBOUNCER", "true")]).await;
    t.user("amy").await;
    let user = caller("amy");
    let outcomes = join_all((0..60).map(|_| reserve(&t.app, &user, Quota::AiRequests))).await;
    assert_eq!(outcomes.iter().filter(|outcome| outcome.is_ok()).count(), 50);
}
