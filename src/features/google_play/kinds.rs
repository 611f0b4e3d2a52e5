//! Types of subscription notifications, and what follows from a type if the purchase cannot be read.

use crate::features::subscriptions::model::Status;

/// A type of notification that is known.
pub struct Kind {
    number: i64,
    pub name: &'static str,
    /// What the type alone says; `None` changes nothing.
    pub effect: Option<Effect>,
}

/// The state of a subscription after a notification.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Effect {
    pub status: Status,
    /// Whether the plan stays as it was.
    pub keeps_plan: bool,
    /// Whether it ends with the period that is paid for. `None` leaves that as it is.
    pub ends: Option<bool>,
    /// The order of notifications of the same time. Different for each type, so that the order of arrival never decides.
    pub rank: i16,
}

/// Stored type of a voided purchase.
pub const VOIDED: &str = "VOIDED_PURCHASE";

const fn kind(number: i64, name: &'static str, effect: Option<Effect>) -> Kind {
    Kind { number, name, effect }
}

const fn to(status: Status, rank: i16) -> Effect {
    Effect { status, keeps_plan: false, ends: None, rank }
}

/// Active, and going on.
const fn renewing(rank: i16) -> Option<Effect> {
    Some(Effect { ends: Some(false), ..to(Status::Active, rank) })
}

const fn suspended(status: Status, rank: i16) -> Option<Effect> {
    Some(Effect { keeps_plan: true, ..to(status, rank) })
}

static KINDS: [Kind; 14] = [
    kind(1, "SUBSCRIPTION_RECOVERED", renewing(3)),
    kind(2, "SUBSCRIPTION_RENEWED", renewing(2)),
    kind(3, "SUBSCRIPTION_CANCELED", Some(Effect { ends: Some(true), ..to(Status::Active, 6) })),
    kind(4, "SUBSCRIPTION_PURCHASED", renewing(0)),
    kind(5, "SUBSCRIPTION_ON_HOLD", suspended(Status::PastDue, 8)),
    kind(6, "SUBSCRIPTION_IN_GRACE_PERIOD", Some(to(Status::Active, 5))),
    kind(7, "SUBSCRIPTION_RESTARTED", renewing(4)),
    kind(8, "SUBSCRIPTION_PRICE_CHANGE_CONFIRMED", Some(to(Status::Active, 1))),
    kind(9, "SUBSCRIPTION_DEFERRED", None),
    kind(10, "SUBSCRIPTION_PAUSED", suspended(Status::Incomplete, 7)),
    kind(11, "SUBSCRIPTION_PAUSE_SCHEDULE_CHANGED", None),
    kind(12, "SUBSCRIPTION_REVOKED", Some(to(Status::Canceled, 9))),
    kind(13, "SUBSCRIPTION_EXPIRED", Some(to(Status::Canceled, 10))),
    kind(20, "SUBSCRIPTION_PENDING_PURCHASE_CANCELED", None),
];

/// The names of all types that are known.
pub static NAMES: [&str; KINDS.len() + 1] = {
    let mut names = [VOIDED; KINDS.len() + 1];
    let mut at = 0;
    while at < KINDS.len() {
        names[at] = KINDS[at].name;
        at += 1;
    }
    names
};

pub fn find(number: i64) -> Option<&'static Kind> {
    KINDS.iter().find(|kind| kind.number == number)
}

/// The type as it is stored: by its name, or by its number if it is unknown.
pub fn name(number: i64) -> String {
    find(number).map_or_else(|| format!("SUBSCRIPTION_{number}"), |kind| kind.name.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranks_of_types_differ() {
        let mut ranks: Vec<_> = KINDS.iter().filter_map(|kind| kind.effect).map(|effect| effect.rank).collect();
        ranks.sort_unstable();
        assert_eq!(ranks, (0..11).collect::<Vec<_>>());
        assert_eq!((name(13), name(99), NAMES[14]), ("SUBSCRIPTION_EXPIRED".to_owned(), "SUBSCRIPTION_99".to_owned(), VOIDED));
    }
}
