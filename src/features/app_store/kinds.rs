//! Types of notices, and what each says about its subscription.

use crate::features::subscriptions::model::Status;

/// All types that are known, for metrics.
pub static NAMES: [&str; 22] = [
    "SUBSCRIBED",
    "DID_RENEW",
    "OFFER_REDEEMED",
    "RENEWAL_EXTENDED",
    "REFUND_REVERSED",
    "EXPIRED",
    "GRACE_PERIOD_EXPIRED",
    "REFUND",
    "REVOKE",
    "DID_FAIL_TO_RENEW",
    "DID_CHANGE_RENEWAL_STATUS",
    "DID_CHANGE_RENEWAL_PREF",
    "REFUND_DECLINED",
    "CONSUMPTION_REQUEST",
    "RENEWAL_EXTENSION",
    "PRICE_INCREASE",
    "PRICE_CHANGE",
    "ONE_TIME_CHARGE",
    "EXTERNAL_PURCHASE_TOKEN",
    "METADATA_UPDATE",
    "RESCIND_CONSENT",
    "TEST",
];

/// What a notice says about a subscription.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Effect {
    /// The transaction is paid for.
    Active,
    /// The payment failed. Access goes on for the time that the app owner grants.
    Grace,
    /// The payment failed, and access ends.
    Failed,
    Ended,
}

/// What a type says, and its order among notices of the same time: a purchase comes before what happens to it. `None` changes
/// nothing.
pub fn effect(kind: &str, subtype: Option<&str>) -> Option<(Effect, i16)> {
    match (kind, subtype) {
        // A downgrade counts at the renewal, which is another notice.
        ("SUBSCRIBED" | "DID_RENEW" | "OFFER_REDEEMED", _) | ("DID_CHANGE_RENEWAL_PREF", Some("UPGRADE")) => {
            Some((Effect::Active, PURCHASED))
        }
        ("RENEWAL_EXTENDED", _) => Some((Effect::Active, 1)),
        ("DID_FAIL_TO_RENEW", Some("GRACE_PERIOD")) => Some((Effect::Grace, 2)),
        ("DID_FAIL_TO_RENEW", _) => Some((Effect::Failed, 3)),
        ("EXPIRED" | "GRACE_PERIOD_EXPIRED", _) => Some((Effect::Ended, 4)),
        ("REFUND" | "REVOKE", _) => Some((Effect::Ended, 5)),
        ("REFUND_REVERSED", _) => Some((Effect::Active, 6)),
        _ => None,
    }
}

/// The order of a purchase.
pub const PURCHASED: i16 = 0;
/// The order of what was read from Apple: it includes all notices of its time.
pub const READ: i16 = 7;

impl Effect {
    /// The status that follows. `retries`: Apple still tries to take the payment.
    pub fn status(self, retries: bool) -> Status {
        match self {
            Self::Active | Self::Grace => Status::Active,
            Self::Failed if retries => Status::PastDue,
            Self::Failed => Status::Incomplete,
            Self::Ended => Status::Canceled,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn types_with_an_effect_are_known() {
        let has_effect =
            |kind: &&&str| [None, Some("UPGRADE"), Some("GRACE_PERIOD")].iter().any(|subtype| effect(kind, *subtype).is_some());
        assert_eq!(NAMES.iter().filter(has_effect).count(), 11);
        assert_eq!(effect("DID_CHANGE_RENEWAL_PREF", Some("DOWNGRADE")), None);
        assert_eq!(effect("did_renew", None), None);
    }
}
