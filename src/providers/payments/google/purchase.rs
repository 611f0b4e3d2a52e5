//! A purchase as the Play Developer API describes it
//! (<https://developers.google.com/android-publisher/api-ref/rest/v3/purchases.subscriptionsv2>). Read member by member: one that is
//! missing or new must not make the others unusable.

use chrono::{DateTime, SubsecRound, Utc};
use serde_json::Value;

/// The state of a subscription.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum State {
    Active,
    /// Cancelled, and paid for until its end.
    Canceled,
    InGracePeriod,
    OnHold,
    Paused,
    /// The first payment is not made yet.
    Pending,
    /// The first payment was never made.
    PendingPurchaseCanceled,
    Expired,
    /// A state that came later than this version.
    Other(String),
}

/// A product in a purchase.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Line {
    pub product: String,
    pub expires: Option<DateTime<Utc>>,
}

/// A purchase of a subscription.
#[derive(Debug, Clone, PartialEq)]
pub struct Purchase {
    pub state: State,
    pub lines: Vec<Line>,
    /// The purchase that this one has replaced.
    pub linked: Option<String>,
    /// The app's own id of the buyer.
    pub account: Option<String>,
    pub acknowledgement_pending: bool,
    /// The answer without other purchases' tokens and personal data.
    pub raw: Value,
}

/// Members that are not kept.
const PRIVATE: [&str; 2] = ["linkedPurchaseToken", "subscribeWithGoogleInfo"];

impl Purchase {
    /// `None` if it has no state, so it is no purchase.
    pub fn read(answer: &Value) -> Option<Self> {
        let state = match answer["subscriptionState"].as_str()? {
            "SUBSCRIPTION_STATE_ACTIVE" => State::Active,
            "SUBSCRIPTION_STATE_CANCELED" => State::Canceled,
            "SUBSCRIPTION_STATE_IN_GRACE_PERIOD" => State::InGracePeriod,
            "SUBSCRIPTION_STATE_ON_HOLD" => State::OnHold,
            "SUBSCRIPTION_STATE_PAUSED" => State::Paused,
            "SUBSCRIPTION_STATE_PENDING" => State::Pending,
            "SUBSCRIPTION_STATE_PENDING_PURCHASE_CANCELED" => State::PendingPurchaseCanceled,
            "SUBSCRIPTION_STATE_EXPIRED" => State::Expired,
            other => State::Other(other.to_owned()),
        };
        let time = |text: &str| DateTime::parse_from_rfc3339(text).ok().map(|time| time.to_utc().trunc_subsecs(6));
        let line = |line: &Value| {
            Some(Line { product: line["productId"].as_str()?.to_owned(), expires: line["expiryTime"].as_str().and_then(time) })
        };
        let text = |value: &Value| value.as_str().filter(|text| !text.is_empty()).map(str::to_owned);
        let mut raw = answer.clone();
        if let Some(members) = raw.as_object_mut() {
            members.retain(|name, _| !PRIVATE.contains(&name.as_str()));
        }
        Some(Self {
            state,
            lines: answer["lineItems"].as_array().into_iter().flatten().filter_map(line).collect(),
            linked: text(&answer["linkedPurchaseToken"]),
            account: text(&answer["externalAccountIdentifiers"]["obfuscatedExternalAccountId"]),
            acknowledgement_pending: answer["acknowledgementState"] == "ACKNOWLEDGEMENT_STATE_PENDING",
            raw,
        })
    }

    /// The line that ends last.
    pub fn last_line(&self) -> Option<&Line> {
        self.lines.iter().max_by_key(|line| line.expires)
    }

    /// When the last line ends.
    pub fn expires(&self) -> Option<DateTime<Utc>> {
        self.last_line().and_then(|line| line.expires)
    }

    /// Whether its linked purchase is replaced: not while the first payment of this one is missing.
    pub fn has_begun(&self) -> bool {
        !matches!(self.state, State::Pending | State::PendingPurchaseCanceled)
    }

    /// Whether access ends with it, or has ended: expired, or cancelled and past its end.
    pub fn has_ended(&self, now: DateTime<Utc>) -> bool {
        match self.state {
            State::Expired | State::PendingPurchaseCanceled => true,
            State::Canceled => self.expires().is_some_and(|end| end <= now),
            _ => false,
        }
    }

    /// Whether the buyer has what was paid for, so that the purchase must be acknowledged within three days.
    pub fn needs_acknowledgement(&self, now: DateTime<Utc>) -> bool {
        self.acknowledgement_pending && self.has_begun() && !self.has_ended(now)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn purchase_is_read_member_by_member() {
        let purchase = Purchase::read(&json!({
            "subscriptionState": "SUBSCRIPTION_STATE_CANCELED", "linkedPurchaseToken": "old", "acknowledgementState": 5,
            "lineItems": [
                {"productId": "pro", "expiryTime": "2026-01-01T00:00:00.123456789Z"}, {"expiryTime": "2030-01-01T00:00:00Z"},
                {"productId": "extra", "expiryTime": "soon"}, 7
            ],
            "externalAccountIdentifiers": [], "subscribeWithGoogleInfo": {"emailAddress": "ada@example.com"}
        }))
        .unwrap();
        assert_eq!((purchase.lines.len(), purchase.last_line().unwrap().product.as_str()), (2, "pro"));
        let end = purchase.expires().unwrap();
        assert_eq!(end.to_rfc3339(), "2026-01-01T00:00:00.123456+00:00");
        assert!(purchase.has_ended(end) && !purchase.has_ended(end - chrono::TimeDelta::seconds(1)));
        assert!(!purchase.raw.to_string().contains("old") && !purchase.raw.to_string().contains("ada@"), "{}", purchase.raw);
        assert_eq!(Purchase::read(&json!({"error": {"code": 403}})), None);
        assert_eq!(Purchase::read(&json!([])), None);
    }
}
