//! Whatever the order in which notices come, and however often: the end is that of the true order.

use futures_util::{StreamExt, stream};
use proptest::prelude::*;
use proptest::strategy::ValueTree;
use proptest::test_runner::TestRunner;
use serde_json::json;

use super::authority::APPLE;
use super::{DAY, ENTERPRISE, Notice, PRO, Period, Shop, notice, pair, period, state};
use crate::harness::Backend;

crate::on_sqlite![permuted_notices_end_in_the_true_state];

const CASES: usize = 300;

/// What happens next to a subscription.
#[derive(Debug, Clone, Copy)]
enum Step {
    Renew { enterprise: bool },
    /// To another product at once, for a period that may be shorter.
    Upgrade { days: i64 },
    Fail { grace: bool, retries: bool },
    Expire { after_grace: bool },
    /// Of the period that is so many periods old.
    Refund { back: usize, revoke: bool },
    Reverse { back: usize },
    /// Changes nothing.
    Log { kind: usize },
}

const LOGGED: [&str; 4] = ["DID_CHANGE_RENEWAL_STATUS", "PRICE_INCREASE", "REFUND_DECLINED", "CONSUMPTION_REQUEST"];

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        3 => any::<bool>().prop_map(|enterprise| Step::Renew { enterprise }),
        1 => (1..90_i64).prop_map(|days| Step::Upgrade { days }),
        2 => any::<(bool, bool)>().prop_map(|(grace, retries)| Step::Fail { grace, retries }),
        1 => any::<bool>().prop_map(|after_grace| Step::Expire { after_grace }),
        2 => (0..3_usize, any::<bool>()).prop_map(|(back, revoke)| Step::Refund { back, revoke }),
        1 => (0..3_usize).prop_map(|back| Step::Reverse { back }),
        1 => (0..LOGGED.len()).prop_map(|kind| Step::Log { kind }),
    ]
}

/// The notices of a history. Each is signed after the one before, or in the same millisecond where the types tell the order.
fn history(steps: &[(Step, bool)]) -> Vec<Notice> {
    let mut periods = vec![Period { start: -1000 * DAY, end: DAY, ..period("o", None) }];
    let mut all = vec![notice("SUBSCRIBED", Some("INITIAL_BUY"), -20_000, &periods[0])];
    for (n, (step, same_time)) in steps.iter().enumerate() {
        let last = periods.last().unwrap().clone();
        let later = |id: usize, product, end: i64| Period { id: format!("t{id}"), product, start: last.start + 30 * DAY, end, ..last.clone() };
        let back = |count: usize| periods[periods.len().saturating_sub(count + 1)].clone();
        let before = all.last().unwrap();
        let at = before.at + i64::from(!same_time);
        let mut next = match *step {
            Step::Renew { enterprise } => notice("DID_RENEW", None, at, &later(n, if enterprise { ENTERPRISE } else { PRO }, last.end + 30 * DAY)),
            Step::Upgrade { days } => notice("DID_CHANGE_RENEWAL_PREF", Some("UPGRADE"), at, &later(n, ENTERPRISE, days * DAY)),
            Step::Fail { grace, retries } => Notice {
                renewal: json!({"isInBillingRetryPeriod": retries}),
                ..notice("DID_FAIL_TO_RENEW", grace.then_some("GRACE_PERIOD"), at, &last)
            },
            Step::Expire { after_grace } => notice(if after_grace { "GRACE_PERIOD_EXPIRED" } else { "EXPIRED" }, None, at, &last),
            Step::Refund { back: count, revoke } => notice(if revoke { "REVOKE" } else { "REFUND" }, None, at, &back(count)),
            Step::Reverse { back: count } => notice("REFUND_REVERSED", None, at, &back(count)),
            Step::Log { kind } => notice(LOGGED[kind], None, at, &last),
        };
        // Notices about the same period at the same time are in their natural order; others come a second later.
        if *same_time && natural(&next) <= natural(before) {
            next.at = before.at + 1;
        }
        if last.id != next.period.id && !periods.iter().any(|known| known.id == next.period.id) {
            periods.push(next.period.clone());
        }
        all.push(next);
    }
    all
}

/// The order of types: a purchase, its failure, its end, the refund, and its reversal.
fn natural(notice: &Notice) -> usize {
    let order = ["DID_FAIL_TO_RENEW", "EXPIRED", "GRACE_PERIOD_EXPIRED", "REFUND", "REVOKE", "REFUND_REVERSED"];
    order.iter().position(|kind| *kind == notice.kind).map_or(0, |place| place + 1)
}

/// The end of a history that is told in its order: plan, status, and the newest period.
fn end_of(all: &[Notice]) -> ((String, String), String) {
    let (mut newest, mut status) = (all[0].period.clone(), "active");
    for notice in all {
        let is_newest = notice.period.id == newest.id;
        match notice.kind {
            "DID_RENEW" | "DID_CHANGE_RENEWAL_PREF" => (newest, status) = (notice.period.clone(), "active"),
            "DID_FAIL_TO_RENEW" if notice.subtype.is_some() => status = "active",
            "DID_FAIL_TO_RENEW" if notice.renewal["isInBillingRetryPeriod"] == true => status = "past_due",
            "DID_FAIL_TO_RENEW" => status = "incomplete",
            "EXPIRED" | "GRACE_PERIOD_EXPIRED" => status = "canceled",
            "REFUND" | "REVOKE" if is_newest => status = "canceled",
            "REFUND_REVERSED" if is_newest => status = "active",
            _ => {}
        }
    }
    let plan = match (status, newest.product) {
        ("canceled", _) => "free",
        (_, ENTERPRISE) => "enterprise",
        _ => "pro",
    };
    (pair(plan, status), newest.id)
}

/// A history and the order in which it is told, with repetitions.
fn told() -> impl Strategy<Value = (Vec<Notice>, Vec<usize>)> {
    prop::collection::vec((step(), any::<bool>()), 0..8).prop_flat_map(|steps| {
        let all = history(&steps);
        let more = prop::collection::vec(0..all.len(), 0..4);
        let order: Vec<_> = (0..all.len()).collect();
        let order = more.prop_flat_map(move |more| Just([order.clone(), more].concat()).prop_shuffle());
        (Just(all), order)
    })
}

async fn permuted_notices_end_in_the_true_state(b: Backend) {
    let shop = &Shop::open(b).await;
    let (strategy, mut runner) = (told(), TestRunner::default());
    let cases: Vec<_> = (0..CASES).map(|n| (n, strategy.new_tree(&mut runner).unwrap().current())).collect();
    let check = |(n, (all, order)): (usize, (Vec<Notice>, Vec<usize>))| async move {
        let name = format!("user{n}");
        let user = shop.t.user(&name).await;
        let sign = |notice: &Notice| {
            let mut own = notice.clone();
            own.period.id = format!("{name}-{}", notice.period.id);
            (own.period.original, own.period.account) = (format!("{name}-o"), Some(name.clone()));
            APPLE.sign(&shop.payload(&own))
        };
        let signed: Vec<_> = all.iter().map(sign).collect();
        for index in &order {
            shop.deliver(&signed[*index]).await.expect(200);
        }
        let newest = format!("SELECT last_transaction_id FROM subscriptions WHERE user_id = '{name}'");
        let newest = shop.t.texts(&newest).await.concat().replacen(&format!("{name}-"), "", 1);
        assert_eq!((state(&user).await, newest), end_of(&all), "history {all:#?}, told as {order:?}");
    };
    stream::iter(cases).for_each_concurrent(4, check).await;
}
