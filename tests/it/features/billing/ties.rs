//! Order of events: late ones, several in one second, and many at once.

use futures_util::future::join_all;
use serde_json::json;

use super::stub::{Stub, missing};
use super::{become_customer, cancel, deliver, event, receiving, selling, state, stored, subscription, tell};
use crate::harness::Backend;

crate::on_both_backends![
    events_of_one_second_are_decided_by_stripe,
    events_of_one_second_without_key_are_ranked,
    tie_with_missing_subscription_is_ranked,
    tie_while_stripe_fails_is_500,
    parallel_events_of_one_subscription_leave_one_row,
    late_event_changes_nothing,
    event_of_our_own_change_keeps_it,
];

async fn events_of_one_second_are_decided_by_stripe(b: Backend) {
    let stub = Stub::start().await;
    let t = selling(b, &stub).await;
    let ada = t.user("ada").await;
    for (first, then) in [("incomplete", "active"), ("active", "incomplete")] {
        stub.with(|account| account.subscriptions = vec![subscription("ada", "active")]);
        tell(&t, &[("customer.subscription.updated", &subscription("ada", first), 10)]).await;
        stub.take_calls();
        tell(&t, &[("customer.subscription.updated", &subscription("ada", then), 10)]).await;
        assert_eq!(stub.take_calls(), ["GET /v1/subscriptions/sub_ada"]);
        assert_eq!(stored(&ada).await, state("pro", "active"), "{first}, {then}");
        t.clock.advance(chrono::TimeDelta::seconds(60));
    }
}

async fn events_of_one_second_without_key_are_ranked(b: Backend) {
    let t = receiving(b).await;
    for (n, (first, then, expected)) in [
        (("deleted", "canceled"), ("updated", "active"), state("free", "canceled")),
        (("deleted", "canceled"), ("created", "active"), state("free", "canceled")),
        (("updated", "active"), ("created", "incomplete"), state("pro", "active")),
        (("created", "incomplete"), ("updated", "active"), state("pro", "active")),
        (("updated", "active"), ("deleted", "canceled"), state("free", "canceled")),
    ]
    .into_iter()
    .enumerate()
    {
        let name = format!("user{n}");
        let user = t.user(&name).await;
        for (kind, status) in [first, then] {
            tell(&t, &[(&format!("customer.subscription.{kind}"), &subscription(&name, status), 5)]).await;
        }
        assert_eq!(stored(&user).await, expected, "{first:?}, {then:?}");
    }
}

/// A key of another account finds nothing, which is no reason to end a subscription.
async fn tie_with_missing_subscription_is_ranked(b: Backend) {
    let stub = Stub::start().await;
    let t = selling(b, &stub).await;
    let ada = t.user("ada").await;
    stub.overrule(|_| Some(missing("id")));
    tell(&t, &[("customer.subscription.created", &subscription("ada", "incomplete"), 10)]).await;
    tell(&t, &[("customer.subscription.updated", &subscription("ada", "active"), 10)]).await;
    assert_eq!(stored(&ada).await, state("pro", "active"));
}

async fn tie_while_stripe_fails_is_500(b: Backend) {
    let stub = Stub::start().await;
    let t = selling(b, &stub).await;
    let ada = t.user("ada").await;
    tell(&t, &[("customer.subscription.created", &subscription("ada", "active"), 10)]).await;
    stub.overrule(|_| Some((400, json!({"error": {}}))));
    let tied = event(&t, "customer.subscription.updated", &subscription("ada", "canceled"), 10);
    deliver(&t, &tied).await.expect_error(500, "INTERNAL_ERROR");
    assert_eq!(stored(&ada).await, state("pro", "active"));
    stub.recover();
    stub.with(|account| account.subscriptions = vec![subscription("ada", "past_due")]);
    assert_eq!(deliver(&t, &tied).await.expect(200), json!({"status": "processed"}));
    assert_eq!(stored(&ada).await, state("pro", "past_due"));
}

async fn parallel_events_of_one_subscription_leave_one_row(b: Backend) {
    let stub = Stub::start().await;
    let t = selling(b, &stub).await;
    let ada = t.user("ada").await;
    stub.with(|account| account.subscriptions = vec![subscription("ada", "active")]);
    let events: Vec<_> = (0..20)
        .map(|n| {
            let (kind, status) = if n % 2 == 0 { ("created", "incomplete") } else { ("updated", "active") };
            event(&t, &format!("customer.subscription.{kind}"), &subscription("ada", status), 5)
        })
        .collect();
    for reply in join_all(events.iter().map(|event| deliver(&t, event))).await {
        assert_eq!(reply.expect(200), json!({"status": "processed"}));
    }
    assert_eq!(t.number("SELECT COUNT(*) FROM subscriptions").await, 1);
    assert_eq!(stored(&ada).await, state("pro", "active"));
    // The same event 20 times at once is processed once.
    let once = event(&t, "customer.subscription.updated", &subscription("ada", "active"), 0);
    let replies = join_all((0..20).map(|_| deliver(&t, &once))).await;
    let processed = replies.iter().filter(|reply| reply.status == 200 && reply.json()["status"] == "processed").count();
    assert!(replies.iter().all(|reply| matches!(reply.status.as_u16(), 200 | 409)));
    assert_eq!(processed, 1);
}

async fn late_event_changes_nothing(b: Backend) {
    let t = receiving(b).await;
    let ada = t.user("ada").await;
    let mut other = subscription("ada", "active");
    other["id"] = "sub_other".into();
    tell(
        &t,
        &[
            ("customer.subscription.deleted", &subscription("ada", "canceled"), 0),
            ("customer.subscription.updated", &subscription("ada", "active"), 600),
        ],
    )
    .await;
    assert_eq!(stored(&ada).await, state("free", "canceled"));
    // Order is kept for each subscription.
    tell(&t, &[("customer.subscription.created", &other, 900)]).await;
    assert_eq!(stored(&ada).await, state("pro", "active"));
    tell(&t, &[("customer.subscription.deleted", &subscription("ada", "canceled"), 0)]).await;
    assert_eq!(stored(&ada).await, state("pro", "active"));
}

/// A change that we asked for is stored at once; the event of it, and one from before it, do not undo it.
async fn event_of_our_own_change_keeps_it(b: Backend) {
    let stub = Stub::start().await;
    let t = selling(b, &stub).await;
    let ada = t.user("ada").await;
    become_customer(&t, "ada", "cus_ada").await;
    stub.with(|account| account.subscriptions = vec![subscription("ada", "active")]);
    tell(&t, &[("customer.subscription.created", &subscription("ada", "active"), 60)]).await;
    cancel(&ada, "?immediate=true").await.expect(200);
    assert_eq!(stored(&ada).await, state("free", "canceled"));
    tell(&t, &[("customer.subscription.updated", &subscription("ada", "active"), 30)]).await;
    assert_eq!(stored(&ada).await, state("free", "canceled"));
    tell(&t, &[("customer.subscription.deleted", &subscription("ada", "canceled"), 0)]).await;
    assert_eq!(stored(&ada).await, state("free", "canceled"));
}
