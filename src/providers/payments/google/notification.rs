//! Real-time developer notifications in the envelope of a Pub/Sub push
//! (<https://developer.android.com/google/play/billing/rtdn-reference>).

use base64::Engine as _;
use chrono::{DateTime, Utc};
use serde_json::Value;

use super::account::BASE64;
use crate::platform::text::has_control;

/// Longest purchase token in bytes. Google's have about 150; longer ones would not fit into an index.
pub const MAX_TOKEN: usize = 1500;
/// Longest product id in bytes.
const MAX_PRODUCT: usize = 255;
/// `productType` of a subscription in a voided purchase.
const SUBSCRIPTION: i64 = 1;

/// A pushed message.
#[derive(Debug, Clone, PartialEq)]
pub struct Notification {
    pub message_id: String,
    /// The decoded data: a JSON object.
    pub data: Value,
}

/// What a notification is about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Notified {
    Subscription {
        kind: i64,
        purchase_token: String,
        product: Option<String>,
    },
    /// A subscription's purchase was refunded, revoked or charged back.
    Voided {
        purchase_token: String,
    },
    Test,
    /// One-time products, and whatever comes later.
    Other,
}

/// The delivery does not have its documented shape: what is wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Malformed(pub &'static str);

impl Notification {
    /// Reads the body of a push.
    pub fn parse(body: &[u8]) -> Result<Self, Malformed> {
        let body: Value = serde_json::from_slice(body).map_err(|_| Malformed("The body is not JSON"))?;
        let (Some(message), Some(_)) = (body["message"].as_object(), body["subscription"].as_str()) else {
            return Err(Malformed("The body has no message and subscription"));
        };
        let text = |name: &str| message.get(name).and_then(Value::as_str);
        let message_id = text("messageId").filter(|id| !id.is_empty()).ok_or(Malformed("The message has no messageId"))?;
        text("publishTime").ok_or(Malformed("The message has no publishTime"))?;
        let data = text("data").and_then(|data| BASE64.decode(data).ok()).ok_or(Malformed("The message's data is not base64"))?;
        let data: Value = serde_json::from_slice(&data).map_err(|_| Malformed("The message's data is not JSON"))?;
        if !data.is_object() {
            return Err(Malformed("The message's data is not an object"));
        }
        Ok(Self { message_id: message_id.to_owned(), data })
    }

    /// Google's time of the event, in milliseconds since 1970 as a number or text.
    pub fn occurred_at(&self) -> Option<DateTime<Utc>> {
        let millis = &self.data["eventTimeMillis"];
        let millis = millis.as_i64().or_else(|| millis.as_str()?.parse().ok()).filter(|millis| *millis >= 0)?;
        DateTime::from_timestamp_millis(millis)
    }
}

impl Notified {
    /// Reads the decoded data of a message.
    pub fn read(data: &Value) -> Result<Self, Malformed> {
        if data["testNotification"].is_object() {
            return Ok(Self::Test);
        }
        let (subscription, voided) = (&data["subscriptionNotification"], &data["voidedPurchaseNotification"]);
        if !subscription.is_null() {
            return Ok(Self::Subscription {
                kind: subscription["notificationType"].as_i64().ok_or(Malformed("The notification has no notificationType"))?,
                purchase_token: purchase_token(subscription)?,
                product: subscription["subscriptionId"].as_str().filter(|id| fits(id, MAX_PRODUCT)).map(str::to_owned),
            });
        }
        if !voided.is_null() && voided["productType"].as_i64().unwrap_or(SUBSCRIPTION) == SUBSCRIPTION {
            return Ok(Self::Voided { purchase_token: purchase_token(voided)? });
        }
        Ok(Self::Other)
    }
}

fn purchase_token(notification: &Value) -> Result<String, Malformed> {
    let token = notification["purchaseToken"].as_str().filter(|token| fits(token, MAX_TOKEN));
    token.map(str::to_owned).ok_or(Malformed("The notification has no purchaseToken"))
}

/// Whether the text can be a key in the database.
fn fits(text: &str, max: usize) -> bool {
    !text.is_empty() && text.len() <= max && !has_control(text)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn event_time_is_read_from_number_or_text() {
        let at = |millis: Value| {
            let notification = Notification { message_id: "1".to_owned(), data: json!({"eventTimeMillis": millis}) };
            notification.occurred_at().map(|at| at.timestamp_millis())
        };
        assert_eq!((at(json!("1700000000123")), at(json!(5))), (Some(1_700_000_000_123), Some(5)));
        for odd in [json!("soon"), json!(-1), json!("99999999999999999999"), json!(i64::MAX), json!(null), json!([1])] {
            assert_eq!(at(odd.clone()), None, "{odd}");
        }
    }

    #[test]
    fn voided_purchase_of_a_product_is_none_of_ours() {
        let read = |product: Value| Notified::read(&json!({"voidedPurchaseNotification": {"purchaseToken": "t", "productType": product}}));
        assert_eq!(read(json!(1)), Ok(Notified::Voided { purchase_token: "t".to_owned() }));
        assert_eq!(read(json!(2)), Ok(Notified::Other));
        assert_eq!(Notified::read(&json!({"oneTimeProductNotification": {}})), Ok(Notified::Other));
        assert!(Notified::read(&json!({"subscriptionNotification": []})).is_err());
        assert!(Notified::read(&json!({"subscriptionNotification": {"notificationType": 4, "purchaseToken": "a\u{0}b"}})).is_err());
    }
}
