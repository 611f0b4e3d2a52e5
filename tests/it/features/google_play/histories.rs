//! Notifications in any order, some twice, end in the state of the true order: with a Google that answers, without, and with one
//! that answers sometimes.

use proptest::prelude::*;
use proptest::strategy::ValueTree;
use proptest::test_runner::TestRunner;
use serde_json::json;

use super::google::Sold;
use super::{Shop, pair, state};
use crate::harness::Backend;

crate::on_sqlite![permuted_types_end_in_the_true_state, permuted_reads_end_in_the_true_state, permuted_failures_end_in_the_true_state];

const CASES: usize = 300;

/// A type, and the second in which it happened.
type Happened = (i64, i64);

/// A type, plan and status after it, and its rank among types of the same time.
type Row = (i64, Option<(&'static str, &'static str)>, i64);

/// What the types say.
const TYPES: [Row; 15] = [
    (1, Some(("enterprise", "active")), 3),
    (2, Some(("enterprise", "active")), 2),
    (3, Some(("enterprise", "active")), 6),
    (4, Some(("enterprise", "active")), 0),
    (5, Some(("enterprise", "past_due")), 8),
    (6, Some(("enterprise", "active")), 5),
    (7, Some(("enterprise", "active")), 4),
    (8, Some(("enterprise", "active")), 1),
    (9, None, 0),
    (10, Some(("enterprise", "incomplete")), 7),
    (11, None, 0),
    (12, Some(("free", "canceled")), 9),
    (13, Some(("free", "canceled")), 10),
    (20, None, 0),
    (42, None, 0),
];

/// The state after a history, told in its true order.
fn truth(history: &[Happened]) -> Option<(&'static str, &'static str)> {
    let says = |(kind, second): &Happened| {
        let (_, says, rank) = TYPES.iter().find(|(number, _, _)| number == kind).unwrap();
        says.map(|says| (*second, *rank, says))
    };
    history.iter().filter_map(says).max_by_key(|(second, rank, _)| (*second, *rank)).map(|(_, _, says)| says)
}

/// A history, and an order of it with repetitions.
fn history() -> impl Strategy<Value = (Vec<Happened>, Vec<usize>)> {
    let kind = prop::sample::select(&TYPES[..]).prop_map(|(kind, _, _)| kind);
    // Few seconds, so that many events have the same time.
    prop::collection::vec((kind, -6..0_i64), 1..7).prop_flat_map(|all| {
        let order = prop::collection::vec(0..all.len(), 0..4).prop_map({
            let len = all.len();
            move |more| (0..len).chain(more).collect::<Vec<_>>()
        });
        (Just(all), order.prop_flat_map(|order| Just(order).prop_shuffle()))
    })
}

/// Runs all cases, each with a user and a purchase of its own. `prepare` is called before each delivery, with the token and the number
/// of the delivery, and with `None` at the end, before the jobs run.
async fn for_all(
    shop: &Shop,
    prepare: impl Fn(&str, Option<usize>, &[Happened]),
    expected: impl Fn(&[Happened]) -> Option<(&'static str, &'static str)>,
) {
    let mut runner = TestRunner::default();
    let mut users = Vec::new();
    for case in 0..CASES {
        let (all, order) = history().new_tree(&mut runner).unwrap().current();
        let (name, token) = (format!("user-{case}"), format!("token-{case}"));
        let user = shop.buyer(&name, &token).await;
        for (n, index) in order.iter().enumerate() {
            let (kind, second) = all[*index];
            prepare(&token, Some(n), &all);
            let reply = shop.push(&format!("{case}-{index}"), &shop.note(kind, &token, "enterprise", second)).await;
            assert!(reply.expect(200)["status"].as_str().unwrap().contains("processed"));
        }
        prepare(&token, None, &all);
        users.push((user, all, order));
    }
    shop.jobs_after(61).await;
    for (user, all, order) in users {
        let (plan, status) = expected(&all).unwrap_or(("-", "-"));
        assert_eq!(state(&user).await, pair(plan, status), "{all:?} told as {order:?}");
    }
}

/// Google never answers, so only the types count.
async fn permuted_types_end_in_the_true_state(b: Backend) {
    let shop = Shop::open(b).await;
    for_all(&shop, |_, _, _| {}, truth).await;
}

/// The state at the end of a history, as Google has it. Not what its types say, so that a type that counts is noticed.
fn at_google(all: &[Happened]) -> (&'static str, &'static str, &'static str) {
    match truth(all) {
        Some((_, "canceled")) => ("ON_HOLD", "enterprise", "past_due"),
        Some((_, "past_due")) => ("EXPIRED", "free", "canceled"),
        _ => ("ACTIVE", "enterprise", "active"),
    }
}

fn sell(shop: &Shop, token: &str, all: &[Happened]) {
    shop.google.sell(token, Sold::new(at_google(all).0, "enterprise", shop.at(60 * 86_400)));
}

#[expect(clippy::unnecessary_wraps, reason = "as a function that may expect nothing")]
fn sold(all: &[Happened]) -> Option<(&'static str, &'static str)> {
    let (_, plan, status) = at_google(all);
    Some((plan, status))
}

async fn permuted_reads_end_in_the_true_state(b: Backend) {
    let shop = Shop::open(b).await;
    for_all(&shop, |token, _, all| sell(&shop, token, all), sold).await;
}

/// Google does not know the purchase at every second delivery, and a job reads it later.
async fn permuted_failures_end_in_the_true_state(b: Backend) {
    let shop = Shop::open(b).await;
    let prepare = |token: &str, delivery: Option<usize>, all: &[Happened]| match delivery {
        Some(n) if (n + all.len()).is_multiple_of(2) => shop.google.put(token, 404, json!({})),
        _ => sell(&shop, token, all),
    };
    for_all(&shop, prepare, sold).await;
}
