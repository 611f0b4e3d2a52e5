//! Subscriptions: what an event changes, which plan follows, and how lost events are made good.

#[path = "subscriptions/vendor.rs"]
mod vendor;

use chrono::{DateTime, TimeDelta, Utc};
use futures_util::future::join_all;
use omnistack::features::subscriptions::model::{Applied, CancelAt, Plan, Snapshot, Status, Told, Vendor};
use omnistack::features::subscriptions::service;
use omnistack::platform::id::UserId;
use omnistack::transaction;
use proptest::prelude::*;
use proptest::strategy::ValueTree;
use proptest::test_runner::TestRunner;
use serde_json::{Value, json};

use crate::harness::{Backend, Client, TestApp};
use Status::{Active, Canceled, Incomplete, PastDue, Trialing};
use vendor::{Shelf, Till, snapshot};

crate::on_both_backends![
    older_event_changes_nothing,
    event_of_same_time_is_decided_by_rank_or_asked,
    plan_is_kept_while_payment_fails,
    end_of_one_subscription_leaves_the_other,
    superseded_subscription_gives_no_plan,
    parallel_subscriptions_are_reported_once,
    twenty_changes_at_once_leave_one_row_and_the_last_state,
    owner_of_a_subscription_stays,
    status_without_subscription_shows_stored_copy,
    sweep_ends_silent_subscription_after_a_day,
    sweep_asks_the_vendor_where_it_can,
    nightly_comparison_mends_lost_events,
    sync_finds_subscription_that_was_never_told,
    administrators_see_all_subscriptions_of_a_user,
];
crate::on_sqlite![permuted_events_end_in_the_true_state];

async fn start(b: Backend) -> TestApp {
    TestApp::with_feature(b, &Till, &[]).await
}

fn at(t: &TestApp, seconds: i64) -> DateTime<Utc> {
    t.clock.now() + TimeDelta::seconds(seconds)
}

fn id(user: &str) -> UserId {
    UserId::parse(user).unwrap()
}

async fn tell(t: &TestApp, user: &str, snapshot: &Snapshot, told: Told, ask: bool) -> Applied {
    let user = id(user);
    let applied: omnistack::platform::error::Result<Applied> =
        transaction!(t.app.db, |tx| { service::apply(&t.app, tx, &user, snapshot, told, ask).await });
    applied.unwrap()
}

async fn event(t: &TestApp, user: &str, snapshot: &Snapshot, seconds: i64) -> Applied {
    tell(t, user, snapshot, Told { at: at(t, seconds), rank: 1, current: false }, false).await
}

/// Plan and status in the user's own view; both views must agree.
async fn state(user: &Client) -> (String, String) {
    let me = user.get("/app/users/me").await.expect(200);
    let billing = user.get("/app/billing/status").await.expect(200);
    assert_eq!((&me["subscription_plan"], &me["subscription_status"]), (&billing["plan"], &billing["status"]), "{me} {billing}");
    let text = |name: &str| me[name].as_str().unwrap_or_default().to_owned();
    (text("subscription_plan"), text("subscription_status"))
}

fn pair(plan: &str, status: &str) -> (String, String) {
    (plan.to_owned(), status.to_owned())
}

fn pro(id: &str, status: Status) -> Snapshot {
    snapshot(id, status, Some(Plan::Pro), None)
}

async fn older_event_changes_nothing(b: Backend) {
    let t = start(b).await;
    let ada = t.user("ada").await;
    assert_eq!(event(&t, "ada", &pro("s1", Canceled), 0).await, Applied::Changed);
    assert_eq!(event(&t, "ada", &pro("s1", Active), -1).await, Applied::Unchanged);
    assert_eq!(state(&ada).await, pair("free", "canceled"));
    assert_eq!(event(&t, "ada", &pro("s1", Active), 1).await, Applied::Changed);
    assert_eq!(state(&ada).await, pair("pro", "active"));
    assert_eq!(event(&t, "nobody", &pro("s2", Active), 1).await, Applied::Unchanged);
}

async fn event_of_same_time_is_decided_by_rank_or_asked(b: Backend) {
    let t = start(b).await;
    let ada = t.user("ada").await;
    let told = |rank, current| Told { at: at(&t, 0), rank, current };
    assert_eq!(tell(&t, "ada", &pro("s1", Active), told(1, false), false).await, Applied::Changed);
    assert_eq!(tell(&t, "ada", &pro("s1", Incomplete), told(0, false), false).await, Applied::Unchanged);
    assert_eq!(tell(&t, "ada", &pro("s1", PastDue), told(1, false), true).await, Applied::Tie);
    assert_eq!(state(&ada).await, pair("pro", "active"));
    assert_eq!(tell(&t, "ada", &pro("s1", PastDue), told(0, true), true).await, Applied::Changed);
    assert_eq!(state(&ada).await, pair("pro", "past_due"));
    assert_eq!(tell(&t, "ada", &pro("s1", Canceled), told(2, false), false).await, Applied::Changed);
    assert_eq!(tell(&t, "ada", &pro("s1", Active), told(1, false), false).await, Applied::Unchanged);
    assert_eq!(state(&ada).await, pair("free", "canceled"));
}

async fn plan_is_kept_while_payment_fails(b: Backend) {
    let t = start(b).await;
    let ada = t.user("ada").await;
    event(&t, "ada", &snapshot("s1", Active, Some(Plan::Enterprise), None), 0).await;
    for (n, status, name) in [(1, PastDue, "past_due"), (2, Incomplete, "incomplete")] {
        event(&t, "ada", &snapshot("s1", status, None, None), n).await;
        assert_eq!(state(&ada).await, pair("enterprise", name));
    }
    assert_eq!(event(&t, "ada", &pro("s1", Active), -1).await, Applied::Unchanged);
    // An event that comes late tells the plan that was to be kept.
    event(&t, "ada", &snapshot("s2", PastDue, None, None), 9).await;
    assert_eq!(event(&t, "ada", &snapshot("s2", Active, Some(Plan::Enterprise), Some(at(&t, 99))), 8).await, Applied::Changed);
    assert_eq!(state(&ada).await, pair("enterprise", "past_due"));
    event(&t, "ada", &snapshot("s2", Canceled, None, None), 10).await;
    event(&t, "ada", &snapshot("s1", Canceled, None, None), 3).await;
    assert_eq!(state(&ada).await, pair("free", "canceled"));
}

async fn end_of_one_subscription_leaves_the_other(b: Backend) {
    let t = start(b).await;
    let ada = t.user("ada").await;
    event(&t, "ada", &pro("old", Active), 0).await;
    event(&t, "ada", &pro("new", Trialing), 1).await;
    assert_eq!(state(&ada).await, pair("pro", "active"));
    event(&t, "ada", &pro("old", Canceled), 2).await;
    assert_eq!(state(&ada).await, pair("pro", "trialing"));
    event(&t, "ada", &Snapshot { vendor: Vendor::Apple, ..snapshot("s1", Active, Some(Plan::Enterprise), None) }, 3).await;
    assert_eq!(state(&ada).await, pair("enterprise", "active"));
    event(&t, "ada", &pro("new", Canceled), 4).await;
    assert_eq!(state(&ada).await, pair("enterprise", "active"));
}

async fn superseded_subscription_gives_no_plan(b: Backend) {
    let t = start(b).await;
    let ada = t.user("ada").await;
    event(&t, "ada", &snapshot("old", Active, Some(Plan::Enterprise), None), 0).await;
    event(&t, "ada", &pro("new", Active), 1).await;
    let supersede = async |old: &str| {
        let done: omnistack::platform::error::Result<()> =
            transaction!(t.app.db, |tx| { service::supersede(&t.app, tx, &id("ada"), Vendor::Stripe, old, "new").await });
        done.unwrap();
    };
    supersede("old").await;
    assert_eq!(state(&ada).await, pair("pro", "active"));
    assert_eq!(event(&t, "ada", &snapshot("old", Active, Some(Plan::Enterprise), None), 9).await, Applied::Unchanged);
    supersede("unheard of").await;
    assert_eq!(event(&t, "ada", &snapshot("unheard of", Active, Some(Plan::Enterprise), None), 9).await, Applied::Unchanged);
    assert_eq!(state(&ada).await, pair("pro", "active"));
}

async fn parallel_subscriptions_are_reported_once(b: Backend) {
    let t = start(b).await;
    let ada = t.user("ada").await;
    t.sql("DELETE FROM jobs").await;
    event(&t, "ada", &pro("s1", Active), 0).await;
    assert!(ada.get("/app/billing/status").await.expect(200).get("also_running").is_none());
    for n in 1..4 {
        event(&t, "ada", &pro("s2", Active), n).await;
    }
    let status = ada.get("/app/billing/status").await.expect(200);
    assert_eq!(status["also_running"].as_array().unwrap().len(), 1, "{status}");
    assert_eq!(t.number("SELECT COUNT(*) FROM jobs WHERE function = 'send_notification_email'").await, 1);
    let page = t.anonymous().get("/public/metrics").await.expect_text(200);
    assert!(page.contains(r#"subscription_parallel_total{provider="stripe"} 1"#), "{page}");
}

async fn twenty_changes_at_once_leave_one_row_and_the_last_state(b: Backend) {
    let t = start(b).await;
    let ada = t.user("ada").await;
    let changes = (0..20).map(|n| {
        let t = &t;
        async move { event(t, "ada", &pro("s1", if n == 19 { Active } else { Incomplete }), n).await }
    });
    join_all(changes).await;
    assert_eq!(t.number("SELECT COUNT(*) FROM subscriptions").await, 1);
    assert_eq!(state(&ada).await, pair("pro", "active"));
}

async fn owner_of_a_subscription_stays(b: Backend) {
    let t = start(b).await;
    let (ada, eve) = (t.user("ada").await, t.user("eve").await);
    event(&t, "ada", &pro("s1", Active), 0).await;
    event(&t, "eve", &pro("s1", PastDue), 1).await;
    assert_eq!(state(&ada).await, pair("pro", "past_due"));
    assert_eq!(eve.get("/app/users/me").await.expect(200)["subscription_plan"], Value::Null);
}

async fn status_without_subscription_shows_stored_copy(b: Backend) {
    let t = start(b).await;
    let ada = t.user("ada").await;
    let free = json!({"plan": "free", "status": null, "current_period_end": null, "cancel_at_period_end": false, "has_active_subscription": false});
    assert_eq!(ada.get("/app/billing/status").await.expect(200), free);
    t.sql("UPDATE users SET subscription_plan = 'pro', subscription_status = 'active' WHERE id = 'ada'").await;
    let stored = ada.get("/app/billing/status").await.expect(200);
    assert_eq!((&stored["plan"], &stored["has_active_subscription"]), (&json!("pro"), &json!(true)));
    event(&t, "ada", &snapshot("s1", PastDue, None, None), 0).await;
    assert_eq!(state(&ada).await, pair("pro", "past_due"), "the plan of a first row is the one that was stored");
}

async fn sweep_ends_silent_subscription_after_a_day(b: Backend) {
    let t = start(b).await;
    let ada = t.user("ada").await;
    event(&t, "ada", &snapshot("s1", Active, Some(Plan::Pro), Some(at(&t, 3600))), 0).await;
    let sweep = async || t.run_function("sweep_subscriptions", json!({})).await.unwrap().1.unwrap();
    t.clock.advance(TimeDelta::hours(24));
    assert_eq!(sweep().await["corrected"], 0, "the silent grace is not over");
    t.clock.advance(TimeDelta::hours(2));
    assert_eq!(sweep().await["corrected"], 1);
    assert_eq!(t.number("SELECT COUNT(*) FROM users WHERE subscription_status = 'canceled' AND subscription_plan = 'free'").await, 1);
    assert_eq!(sweep().await["compared"], 0);
    // A renewal that comes late still counts.
    event(&t, "ada", &snapshot("s1", Active, Some(Plan::Pro), Some(at(&t, 86_400))), -3600).await;
    assert_eq!(t.number("SELECT COUNT(*) FROM users WHERE subscription_status = 'active'").await, 1);
    drop(ada);
}

async fn sweep_asks_the_vendor_where_it_can(b: Backend) {
    let t = start(b).await;
    t.user("ada").await;
    let end = at(&t, 60);
    event(&t, "ada", &snapshot("s1", Active, Some(Plan::Pro), Some(end)), 0).await;
    t.clock.advance(TimeDelta::days(3));
    t.app.state::<Shelf>().says(&[snapshot("s1", Active, Some(Plan::Pro), Some(at(&t, 86_400)))]);
    assert_eq!(t.run_function("sweep_subscriptions", json!({})).await.unwrap().1.unwrap()["corrected"], 1);
    assert_eq!(t.number("SELECT COUNT(*) FROM users WHERE subscription_status = 'active'").await, 1, "the vendor says so");
}

async fn nightly_comparison_mends_lost_events(b: Backend) {
    let t = start(b).await;
    let (ada, eve) = (t.user("ada").await, t.user("eve").await);
    event(&t, "ada", &pro("s1", Active), 0).await;
    event(&t, "eve", &pro("s2", PastDue), 0).await;
    t.app.state::<Shelf>().says(&[pro("s2", Active)]);
    let run = async || t.run_function("reconcile_subscriptions", json!({})).await.unwrap().1.unwrap();
    assert_eq!(run().await, json!({"compared": 2, "corrected": 2, "failed": 0}));
    assert_eq!((state(&ada).await, state(&eve).await), (pair("free", "canceled"), pair("pro", "active")));
    assert_eq!(run().await, json!({"compared": 1, "corrected": 0, "failed": 0}));
    let page = t.anonymous().get("/public/metrics").await.expect_text(200);
    assert!(page.contains(r#"subscription_differences_total{provider="stripe"} 2"#), "{page}");
    // A late event from before the comparison does not undo it.
    assert_eq!(event(&t, "ada", &pro("s1", Active), -1).await, Applied::Unchanged);
}

async fn sync_finds_subscription_that_was_never_told(b: Backend) {
    let t = start(b).await;
    let ada = t.user("ada").await;
    t.sql("UPDATE users SET stripe_customer_id = 'cus_1' WHERE id = 'ada'").await;
    t.app.state::<Shelf>().says(&[pro("s1", Active)]);
    let status = ada.get("/app/billing/status").await.expect(200);
    assert_eq!(status["plan"], "pro", "the status asks the vendor: {status}");
    assert_eq!(t.number("SELECT COUNT(*) FROM subscriptions").await, 0, "and changes nothing");
    let run = t.run_function("reconcile_customers", json!({})).await.unwrap().1.unwrap();
    assert_eq!(run, json!({"compared": 1, "corrected": 1, "failed": 0}));
    assert_eq!(state(&ada).await, pair("pro", "active"));
    assert_eq!(service::sync(&t.app, &id("ada")).await.unwrap(), []);
}

async fn administrators_see_all_subscriptions_of_a_user(b: Backend) {
    let t = start(b).await;
    let (ada, admin) = (t.user("ada").await, t.admin().await);
    event(&t, "ada", &Snapshot { cancel_at: CancelAt::At(at(&t, 60)), ..pro("s1", Active) }, 0).await;
    let all = admin.get("/admin/users/ada/subscriptions").await.expect(200);
    assert_eq!((all[0]["external_id"].as_str(), all[0]["status"].as_str(), all.as_array().unwrap().len()), (Some("s1"), Some("active"), 1));
    assert_eq!(ada.get("/app/billing/status").await.expect(200)["cancel_at_period_end"], true);
    admin.get("/admin/users/nobody/subscriptions").await.expect_error(404, "NOT_FOUND");
    ada.get("/admin/users/ada/subscriptions").await.expect_error(403, "AUTHORIZATION_ERROR");
    t.erase("ada").await.unwrap();
    assert_eq!(t.number("SELECT COUNT(*) FROM subscriptions").await, 0);
}

/// An event of a history: which subscription, its second, its order within the second, and its state.
#[derive(Debug, Clone, Copy)]
struct Happened {
    subscription: usize,
    second: i64,
    rank: i16,
    status: Status,
    plan: Plan,
}

/// A true history of two subscriptions: seconds never fall, and within one second ranks rise.
fn history() -> impl Strategy<Value = Vec<Happened>> {
    let status = prop_oneof![Just(Active), Just(Trialing), Just(PastDue), Just(Incomplete)];
    let plan = prop_oneof![Just(Plan::Pro), Just(Plan::Enterprise)];
    let step = (0..2_usize, 0..3_i64, status, plan, prop::bool::weighted(0.15));
    prop::collection::vec(step, 1..12).prop_map(|steps| {
        let (mut last, mut ended) = ([(0, -1); 2], [false; 2]);
        let mut all = Vec::new();
        for (subscription, pause, status, plan, ends) in steps {
            if ended[subscription] {
                continue;
            }
            let (second, rank) = last[subscription];
            // Within a second: created, updated, ended. What does not fit comes a second later.
            let (second, rank) = match (pause, ends) {
                (0, true) if rank < 2 => (second, 2),
                (0, false) if rank < 1 => (second, rank + 1),
                (pause, true) => (second + pause.max(1), 2),
                (pause, false) => (second + pause.max(1), 1),
            };
            last[subscription] = (second, rank);
            ended[subscription] = ends;
            all.push(Happened { subscription, second, rank, status: if ends { Canceled } else { status }, plan });
        }
        all
    })
}

const CASES: usize = 400;

/// Whatever the order and the repetitions: the end is that of the true order, and a payer is never free after all was told.
async fn permuted_events_end_in_the_true_state(b: Backend) {
    let t = start(b).await;
    let order = history().prop_flat_map(|all| {
        let more = prop::collection::vec(0..all.len(), 0..6);
        (Just(all.clone()), Just((0..all.len()).collect::<Vec<_>>()), more).prop_map(|(all, mut order, more)| {
            order.extend(more);
            (all, order)
        })
    });
    let order = order.prop_flat_map(|(all, order)| (Just(all), Just(order).prop_shuffle()));
    let mut runner = TestRunner::default();
    for n in 0..CASES {
        let (all, order) = order.new_tree(&mut runner).unwrap().current();
        let (truth, permuted) = (format!("truth-{n}"), format!("permuted-{n}"));
        for user in [&truth, &permuted] {
            t.sql(&format!("INSERT INTO users (id, email) VALUES ('{user}', '{user}@example.com')")).await;
        }
        let deliver = async |user: &str, happened: &Happened| {
            // A failing payment keeps the plan.
            let plan = Some(happened.plan).filter(|_| !matches!(happened.status, PastDue | Incomplete));
            let said = snapshot(&format!("{user}-{}", happened.subscription), happened.status, plan, None);
            let told = Told { at: at(&t, happened.second), rank: happened.rank, current: false };
            tell(&t, user, &said, told, false).await;
        };
        for happened in &all {
            deliver(&truth, happened).await;
        }
        for index in &order {
            deliver(&permuted, &all[*index]).await;
        }
        let end = async |user: &str| {
            let row = service::of_user(&t.app, &id(user)).await.unwrap();
            let mut rows: Vec<_> = row.into_iter().map(|row| (row.external_id[user.len()..].to_owned(), row.status, row.plan)).collect();
            rows.sort();
            (rows, service::stored(&t.app, &id(user)).await.unwrap())
        };
        assert_eq!(end(&truth).await, end(&permuted).await, "history {all:?}, told as {order:?}");
    }
}
