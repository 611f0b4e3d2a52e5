//! A signed transaction's payload, read member by member: one that is missing or new must not refuse the whole.

use std::cmp::Ordering;

use chrono::{DateTime, TimeDelta, Utc};
use serde_json::Value;

/// Purchases that are closer than this do not tell periods apart; their ends do.
const SAME_PURCHASE: TimeDelta = TimeDelta::seconds(10);

/// One paid period of a subscription.
#[derive(Debug, Clone, PartialEq)]
pub struct Transaction {
    pub id: Option<String>,
    /// Id of the subscription's first transaction, which names the subscription.
    pub original_id: String,
    pub product: Option<String>,
    pub purchased: Option<DateTime<Utc>>,
    pub expires: Option<DateTime<Utc>>,
    pub revoked: Option<DateTime<Utc>>,
    pub signed: Option<DateTime<Utc>>,
    /// The user that the app named at the purchase.
    pub account: Option<String>,
}

impl Transaction {
    /// `None` if it is not about a subscription: consumables and other purchases have transactions and refunds, too.
    pub fn read(payload: &Value) -> Option<Self> {
        if payload["type"].as_str().is_some_and(|kind| kind != "Auto-Renewable Subscription") {
            return None;
        }
        let text = |name: &str| payload[name].as_str().filter(|text| !text.is_empty()).map(str::to_owned);
        Some(Self {
            id: text("transactionId"),
            original_id: text("originalTransactionId")?,
            product: text("productId"),
            purchased: time(payload, "purchaseDate"),
            expires: time(payload, "expiresDate"),
            revoked: time(payload, "revocationDate"),
            signed: time(payload, "signedDate"),
            account: text("appAccountToken"),
        })
    }

    /// The order of two periods of the same subscription, which is not that of what is told about them: an older period may be
    /// refunded after a newer one began. `Equal` if they are the same period, or if nothing tells them apart.
    pub fn cmp_period(&self, other: &Self) -> Ordering {
        if self.id == other.id {
            return Ordering::Equal;
        }
        // After an upgrade the newer period may end before the older one would have.
        if let (Some(mine), Some(others)) = (self.purchased, other.purchased)
            && (mine - others).abs() > SAME_PURCHASE
        {
            return mine.cmp(&others);
        }
        match (self.expires, other.expires) {
            (Some(mine), Some(others)) => mine.cmp(&others),
            _ => Ordering::Equal,
        }
    }
}

/// A time in milliseconds since 1970.
pub fn time(payload: &Value, name: &str) -> Option<DateTime<Utc>> {
    payload[name].as_i64().and_then(DateTime::from_timestamp_millis)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn period(id: &str, purchased: Option<i64>, expires: Option<i64>) -> Transaction {
        let payload = json!({
            "originalTransactionId": "1", "transactionId": id, "purchaseDate": purchased.map(|s| s * 1000), "expiresDate": expires.map(|s| s * 1000)
        });
        Transaction::read(&payload).unwrap()
    }

    #[test]
    fn periods_are_ordered_by_purchase_then_end() {
        let first = period("1", Some(0), Some(1000));
        let order = [
            (period("2", Some(1000), Some(2000)), Ordering::Less),
            (period("2", Some(500), Some(600)), Ordering::Less),
            (period("2", Some(5), Some(900)), Ordering::Greater),
            (period("2", None, Some(2000)), Ordering::Less),
            (period("2", None, None), Ordering::Equal),
            (period("1", Some(1000), Some(2000)), Ordering::Equal),
        ];
        for (other, want) in order {
            assert_eq!((first.cmp_period(&other), other.cmp_period(&first)), (want, want.reverse()), "{other:?}");
        }
    }

    #[test]
    fn only_subscriptions_are_read() {
        let of = |kind: &str| Transaction::read(&json!({"originalTransactionId": "1", "type": kind}));
        assert!(of("Auto-Renewable Subscription").is_some());
        for kind in ["Consumable", "Non-Consumable", "Non-Renewing Subscription", "Another"] {
            assert_eq!(of(kind), None, "{kind}");
        }
        for payload in [json!({}), json!([]), json!(null), json!({"originalTransactionId": ""}), json!({"originalTransactionId": 5})] {
            assert_eq!(Transaction::read(&payload), None, "{payload}");
        }
    }
}
