//! Events that come late, twice, or side by side.

use chrono::TimeDelta;
use futures_util::future::join_all;
use proptest::strategy::{Strategy, ValueTree};
use proptest::test_runner::TestRunner;
use serde_json::{Value, json};

use super::{hook, processed, stored, tell, user, welcomed};
use crate::harness::{Backend, SECRET, TestApp, tokens};

crate::on_both_backends![
    older_event_changes_nothing,
    update_before_creation_waits_for_it,
    update_waiting_too_long_is_removed,
    events_in_any_order_end_in_the_newest_state,
    deletion_is_final,
    concurrent_events_of_one_user_make_one_row_and_mail,
    webhook_and_first_sight_at_once_send_one_mail,
    concurrent_changes_to_one_address_keep_it_unique,
    erased_user_leaves_no_profile,
];

async fn older_event_changes_nothing(b: Backend) {
    let t = TestApp::with_webhooks(b).await;
    processed(tell(&t, "user.created", &user("user_1", "ada@example.com", "Ada", 1000)).await);
    processed(tell(&t, "user.updated", &user("user_1", "new@example.com", "Augusta", 3000)).await);
    processed(tell(&t, "user.updated", &user("user_1", "old@example.com", "Adele", 2999)).await);
    assert_eq!(stored(&t, "user_1").await.as_deref(), Some("new@example.com Augusta Lovelace https://img.example.com/a.png"));
    // The same time, and none: applied as they come.
    processed(tell(&t, "user.updated", &user("user_1", "new@example.com", "Same", 3000)).await);
    processed(tell(&t, "user.updated", &json!({"id": "user_1", "first_name": "Undated", "updated_at": "yesterday"})).await);
    processed(tell(&t, "user.updated", &user("user_1", "old@example.com", "Adele", 2999)).await);
    assert_eq!(stored(&t, "user_1").await.as_deref(), Some("new@example.com Undated https://img.example.com/a.png"));
}

async fn update_before_creation_waits_for_it(b: Backend) {
    let t = TestApp::with_webhooks(b).await;
    processed(tell(&t, "user.updated", &user("user_1", "new@example.com", "Augusta", 2000)).await);
    assert_eq!(stored(&t, "user_1").await, None);
    processed(tell(&t, "user.created", &user("user_1", "ada@example.com", "Ada", 1000)).await);
    assert_eq!(stored(&t, "user_1").await.as_deref(), Some("new@example.com Augusta Lovelace https://img.example.com/a.png"));
    assert_eq!(welcomed(&t).await, ["new@example.com"]);
    assert_eq!(t.number("SELECT COUNT(*) FROM identity_profiles WHERE waiting IS NOT NULL").await, 0);
}

async fn update_waiting_too_long_is_removed(b: Backend) {
    let t = TestApp::with_webhooks(b).await;
    processed(tell(&t, "user.created", &user("user_1", "ada@example.com", "Ada", 1000)).await);
    processed(tell(&t, "user.updated", &user("user_2", "bea@example.com", "Bea", 1000)).await);
    t.clock.advance(TimeDelta::days(6));
    t.run_function("sweep_expired", json!({})).await.unwrap().1.unwrap();
    assert_eq!(t.number("SELECT COUNT(*) FROM identity_profiles").await, 2);
    t.clock.advance(TimeDelta::days(2));
    t.run_function("sweep_expired", json!({})).await.unwrap().1.unwrap();
    assert_eq!(t.texts("SELECT user_id FROM identity_profiles").await, ["user_1"]);
}

/// Deliveries of one user's creation and updates, shuffled and with repetitions; true state: the update of the latest time.
async fn events_in_any_order_end_in_the_newest_state(b: Backend) {
    let t = TestApp::with_webhooks(b).await;
    let mut runner = TestRunner::deterministic();
    let order = proptest::collection::vec(0_i64..5, 5..12).prop_map(|mut order| {
        order.extend(0..5);
        order
    });
    let shuffled = order.prop_flat_map(|order| proptest::strategy::Just(order).prop_shuffle());
    for n in 0..60 {
        let order = shuffled.new_tree(&mut runner).unwrap().current();
        let id = format!("user_{n}");
        for version in &order {
            let object = user(&id, &format!("{id}-{version}@example.com"), &format!("Ada{version}"), 1000 + version);
            processed(tell(&t, if *version == 0 { "user.created" } else { "user.updated" }, &object).await);
        }
        let newest = format!("{id}-4@example.com Ada4 Lovelace https://img.example.com/a.png");
        assert_eq!(stored(&t, &id).await, Some(newest), "{order:?}");
    }
    assert_eq!(welcomed(&t).await.len(), 60);
}

async fn deletion_is_final(b: Backend) {
    let t = TestApp::with_webhooks(b).await;
    // Before its creation, too: then there is no user.
    processed(tell(&t, "user.deleted", &json!({"id": "user_1"})).await);
    processed(tell(&t, "user.created", &user("user_1", "ada@example.com", "Ada", 1000)).await);
    assert_eq!((stored(&t, "user_1").await, welcomed(&t).await.len()), (None, 0));
    processed(tell(&t, "user.created", &user("user_2", "bea@example.com", "Bea", 1000)).await);
    processed(tell(&t, "user.deleted", &json!({"id": "user_2"})).await);
    processed(tell(&t, "user.updated", &user("user_2", "late@example.com", "Late", 2000)).await);
    processed(tell(&t, "user.created", &user("user_2", "late@example.com", "Late", 3000)).await);
    assert_eq!(stored(&t, "user_2").await.as_deref(), Some("bea@example.com Bea Lovelace https://img.example.com/a.png inactive"));
}

async fn concurrent_events_of_one_user_make_one_row_and_mail(b: Backend) {
    let t = TestApp::with_webhooks(b).await;
    join_all((0..20).map(|n| {
        let t = &t;
        async move {
            let kind = if n % 2 == 0 { "user.created" } else { "user.updated" };
            processed(tell(t, kind, &user("user_1", "ada@example.com", &format!("Ada{n}"), 1000 + n)).await);
        }
    }))
    .await;
    assert_eq!(welcomed(&t).await, ["ada@example.com"]);
    assert_eq!(t.number("SELECT COUNT(*) FROM webhook_events WHERE status = 'processed' AND attempts = 1").await, 20);
    assert_eq!(stored(&t, "user_1").await.as_deref(), Some("ada@example.com Ada19 Lovelace https://img.example.com/a.png"));
}

async fn webhook_and_first_sight_at_once_send_one_mail(b: Backend) {
    let t = TestApp::with_webhooks(b).await;
    for n in 0..10 {
        let (id, email) = (format!("user_{n}"), format!("ada{n}@example.com"));
        let token = tokens::claims(&id, &t.clock).with("email", json!(email)).sign(SECRET);
        let client = t.with_token(&token);
        let object = user(&id, &email, "Ada", 1000);
        let (reply, me) = tokio::join!(tell(&t, "user.created", &object), async { client.get("/app/users/me").await });
        processed(reply);
        me.expect(200);
    }
    assert_eq!(welcomed(&t).await.len(), 10);
}

/// Ten users take the same address at once: one gets it, and no event fails.
async fn concurrent_changes_to_one_address_keep_it_unique(b: Backend) {
    let t = TestApp::with_webhooks(b).await;
    for n in 0..10 {
        processed(tell(&t, "user.created", &user(&format!("user_{n}"), &format!("ada{n}@example.com"), "Ada", 1000)).await);
    }
    let replies = join_all((0..10).map(|n| {
        let t = &t;
        async move { tell(t, "user.updated", &user(&format!("user_{n}"), "same@example.com", "Same", 2000)).await }
    }));
    for reply in replies.await {
        processed(reply);
    }
    assert_eq!(t.number("SELECT COUNT(*) FROM users WHERE email = 'same@example.com'").await, 1);
    assert_eq!(t.number("SELECT COUNT(*) FROM users WHERE full_name = 'Same Lovelace'").await, 10);
}

async fn erased_user_leaves_no_profile(b: Backend) {
    let t = TestApp::with_webhooks(b).await;
    processed(tell(&t, "user.created", &user("user_1", "ada@example.com", "Ada", 1000)).await);
    let row: Value = json!({"id": "user_2", "email": "bea@example.com"});
    processed(hook(&t, "INSERT", row, Value::Null).await);
    t.erase("user_1").await.unwrap();
    assert_eq!(t.texts("SELECT user_id FROM identity_profiles").await, ["user_2"]);
    assert_eq!(t.number("SELECT COUNT(*) FROM webhook_events").await, 1);
}
