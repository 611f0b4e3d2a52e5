//! Convergence: signed events in any order, repeated or lost, end in the state that Stripe has. What was lost is made good by the
//! comparison with Stripe.

use proptest::prelude::*;
use proptest::strategy::ValueTree;
use proptest::test_runner::TestRunner;
use serde_json::{Value, json};

use super::stub::Stub;
use super::{deliver, receiving, selling, subscription};
use crate::harness::{Backend, TestApp};

crate::on_sqlite![permuted_events_with_key_end_as_stripe_has_it, permuted_events_without_key_end_in_true_order, lost_events_are_made_good];

const CASES: usize = 200;

/// One thing that happened to one of two subscriptions.
#[derive(Debug, Clone)]
struct Happened {
    subscription: usize,
    kind: &'static str,
    second: i64,
    status: &'static str,
    price: &'static str,
    to_cancel: bool,
}

impl Happened {
    /// The subscription after it. Flexible billing says only `cancel_at`.
    fn object(&self, user: &str) -> Value {
        let mut object = subscription(user, self.status);
        object["id"] = format!("sub_{user}_{}", self.subscription).into();
        object["items"]["data"][0]["price"]["id"] = self.price.into();
        object["cancel_at"] = if self.to_cancel { json!(2_000_000_000) } else { Value::Null };
        object
    }

    fn event(&self, t: &TestApp, user: &str, n: usize) -> Value {
        let created = t.clock.now().timestamp() - 1000 + self.second;
        json!({"id": format!("evt_{user}_{n}"), "object": "event", "type": format!("customer.subscription.{}", self.kind),
            "created": created, "data": {"object": self.object(user)}})
    }
}

/// A true history. With `ties`, several updates may fall into one second, which only Stripe can tell apart.
fn history(ties: bool) -> impl Strategy<Value = Vec<Happened>> {
    let status = prop::sample::select(vec!["active", "trialing", "past_due", "unpaid", "paused", "incomplete"]);
    let price = prop::sample::select(vec!["price_month", "price_big", "price_unheard_of"]);
    let step = (0..2_usize, 0..3_i64, status, price, any::<bool>(), prop::bool::weighted(0.1));
    prop::collection::vec(step, 1..9).prop_map(move |steps| {
        let (mut last, mut ended, mut all) = ([None; 2], [false; 2], Vec::new());
        for (subscription, pause, status, price, to_cancel, ends) in steps {
            if ended[subscription] {
                continue;
            }
            let kind = match (last[subscription], ends) {
                (None, _) => "created",
                (Some(_), false) => "updated",
                (Some(_), true) => "deleted",
            };
            // Without Stripe's word only created < updated < deleted is known of one second.
            let (second, rank) = last[subscription].unwrap_or((0, -1));
            let own = ["created", "updated", "deleted"].iter().position(|name| *name == kind).map_or(0, |at| i64::try_from(at).unwrap());
            let second = if pause == 0 && (ties || own > rank) { second } else { second + pause.max(1) };
            last[subscription] = Some((second, own));
            ended[subscription] = kind == "deleted";
            let status = if kind == "deleted" { "canceled" } else { status };
            all.push(Happened { subscription, kind, second, status, price, to_cancel });
        }
        all
    })
}

/// A history, and an order in which it is told, with repetitions.
fn told(ties: bool) -> impl Strategy<Value = (Vec<Happened>, Vec<usize>)> {
    let order = history(ties).prop_flat_map(|all| {
        let again = prop::collection::vec(0..all.len(), 0..5);
        (Just(all.clone()), again).prop_map(|(all, again)| {
            let order: Vec<_> = (0..all.len()).chain(again).collect();
            (all, order)
        })
    });
    order.prop_flat_map(|(all, order)| (Just(all), Just(order).prop_shuffle()))
}

async fn add_user(t: &TestApp, user: &str) {
    let columns = "id, email, stripe_customer_id";
    t.sql(&format!("INSERT INTO users ({columns}) VALUES ('{user}', '{user}@example.com', 'cus_{user}')")).await;
}

/// What is stored of the user: the subscriptions, then plan and status.
async fn stored(t: &TestApp, user: &str) -> Vec<String> {
    let columns = "REPLACE(external_id, user_id, '') || ' ' || status || ' ' || plan || ' ' || COALESCE(product, '-') || ' ' ||
        CASE WHEN cancel_at IS NULL THEN 'goes on' ELSE 'ends' END";
    let mut all = t.texts(&format!("SELECT {columns} FROM subscriptions WHERE user_id = '{user}' ORDER BY external_id")).await;
    all.extend(t.texts(&format!("SELECT subscription_plan || ' ' || subscription_status FROM users WHERE id = '{user}'")).await);
    all
}

/// The last state of each subscription.
fn ends(all: &[Happened]) -> impl Iterator<Item = &Happened> {
    (0..2).filter_map(|subscription| all.iter().rfind(|happened| happened.subscription == subscription))
}

async fn tell(t: &TestApp, user: &str, all: &[Happened], order: impl IntoIterator<Item = usize>) {
    for n in order {
        deliver(t, &all[n].event(t, user, n)).await.expect(200);
    }
}

async fn permuted_events_with_key_end_as_stripe_has_it(b: Backend) {
    let stub = Stub::start().await;
    let t = selling(b, &stub).await;
    let (mut runner, cases) = (TestRunner::default(), told(true));
    for n in 0..CASES {
        let (all, order) = cases.new_tree(&mut runner).unwrap().current();
        let (truth, user) = (format!("truth{n}"), format!("user{n}"));
        for name in [&truth, &user] {
            add_user(&t, name).await;
            // Everything has happened before it is told, so Stripe has the last states.
            stub.with(|account| account.subscriptions = ends(&all).map(|end| end.object(name)).collect());
            let order = if *name == truth { (0..all.len()).collect() } else { order.clone() };
            tell(&t, name, &all, order).await;
        }
        let (is, ought) = (stored(&t, &user).await, stored(&t, &truth).await);
        assert_eq!(comparable(is, &all), comparable(ought, &all), "{all:#?} told as {order:?}");
    }
}

/// Which plan a failing payment keeps depends on what else Stripe told in the same second, and so does the subscription that decides
/// for the user. There only the states of the subscriptions are compared.
fn comparable(stored: Vec<String>, all: &[Happened]) -> Vec<String> {
    let kept = ends(all).any(|end| matches!(end.status, "past_due" | "paused" | "incomplete"));
    if !kept {
        return stored;
    }
    let without_plan = |line: &String| line.split(' ').filter(|word| !["free", "pro", "enterprise"].contains(word)).collect::<Vec<_>>().join(" ");
    stored.iter().filter(|line| line.starts_with("sub_")).map(without_plan).collect()
}

async fn permuted_events_without_key_end_in_true_order(b: Backend) {
    let t = receiving(b).await;
    let (mut runner, cases) = (TestRunner::default(), told(false));
    for n in 0..CASES {
        let (all, order) = cases.new_tree(&mut runner).unwrap().current();
        let (truth, user) = (format!("truth{n}"), format!("user{n}"));
        add_user(&t, &truth).await;
        add_user(&t, &user).await;
        tell(&t, &truth, &all, 0..all.len()).await;
        tell(&t, &user, &all, order.iter().copied()).await;
        assert_eq!(stored(&t, &user).await, stored(&t, &truth).await, "{all:#?} told as {order:?}");
    }
}

async fn lost_events_are_made_good(b: Backend) {
    let stub = Stub::start().await;
    let t = selling(b, &stub).await;
    let (mut runner, cases) = (TestRunner::default(), (told(true), any::<u64>()));
    for n in 0..CASES {
        let ((all, order), lost) = cases.new_tree(&mut runner).unwrap().current();
        let user = format!("user{n}");
        add_user(&t, &user).await;
        stub.with(|account| account.subscriptions = ends(&all).map(|end| end.object(&user)).collect());
        tell(&t, &user, &all, order.iter().copied().filter(|n| lost >> (n % 64) & 1 == 0)).await;
        let id = omnistack::platform::id::UserId::parse(&user).unwrap();
        omnistack::features::subscriptions::service::sync(&t.app, &id).await.unwrap();
        let is = stored(&t, &user).await;
        for end in ends(&all) {
            let status = match end.status {
                "unpaid" => "canceled",
                "paused" => "incomplete",
                status => status,
            };
            let line = format!("sub__{} {status} ", end.subscription);
            assert!(is.iter().any(|stored| stored.starts_with(&line)), "{line} in {is:?}; {all:#?} told as {order:?}, lost {lost:b}");
        }
        let payer = ends(&all).any(|end| matches!(end.status, "active" | "trialing"));
        assert!(!payer || is.last().is_some_and(|line| !line.starts_with("free")), "a payer is free: {is:?}");
        assert!(omnistack::features::subscriptions::service::sync(&t.app, &id).await.unwrap().is_empty());
    }
}
