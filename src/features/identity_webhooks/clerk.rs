//! Clerk's webhooks (clerk.com/docs/webhooks).

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use serde_json::Value;

use super::config::CLERK_SECRET;
use super::model::{self, Change, Told, ToldProfile};
use super::state::State;
use super::{service, svix};
use crate::app::App;
use crate::features::users::service::profile_sync::Profile;
use crate::features::webhooks::service as webhooks;
use crate::features::webhooks::{Current, Delivery, Event, Opened, Sender, Step};
use crate::platform::auth::profile;
use crate::platform::db::Tx;
use crate::platform::error::{Error, Result};

pub struct Clerk;

const NAME: &str = "clerk";

#[async_trait]
impl Sender for Clerk {
    fn provider(&self) -> &'static str {
        NAME
    }

    fn kinds(&self) -> &'static [&'static str] {
        &["user.created", "user.updated", "user.deleted", "session.created"]
    }

    async fn open(&self, app: &App, delivery: Delivery<'_>) -> Result<Opened> {
        let secrets = &app.state::<State>().clerk;
        if secrets.is_empty() {
            return Err(Error::Unavailable { message: "Clerk's webhook is not configured", retry_after: None });
        }
        let verified = svix::verify(secrets, delivery.headers, delivery.body, app.clock.now());
        let id = verified.map_err(|why| webhooks::bad_signature(app, NAME, CLERK_SECRET, why))?;
        let mut body = model::object(delivery)?;
        let kind = model::kind(&body)?;
        let occurred_at = body.get("timestamp").and_then(milliseconds);
        match body.remove("data") {
            Some(payload @ Value::Object(_)) => Ok(Opened::Event(Event { id: id.to_owned(), kind, payload, occurred_at })),
            _ => Err(Error::BadRequest("The body must have an object `data`".to_owned())),
        }
    }

    async fn apply(&self, app: &App, tx: &mut Tx, event: &Event, _: Option<&Current>) -> Result<Step> {
        if let Some(told) = told(&event.kind, &event.payload) {
            service::apply(app, tx, told).await?;
        }
        Ok(Step::Done)
    }
}

/// What an event tells; `None` for other types and without a usable id.
fn told(kind: &str, user: &Value) -> Option<Told> {
    let change = match kind {
        "user.created" => Change::Created,
        "user.updated" => Change::Updated,
        "user.deleted" => Change::Deleted,
        _ => return None,
    };
    let names: Vec<_> = ["first_name", "last_name"].iter().filter_map(|name| profile::text(user.get(name)?)).collect();
    let profile = Profile {
        email: primary_email(user),
        full_name: (!names.is_empty()).then(|| profile::full_name(&names.join(" "))),
        avatar_url: user.get("image_url").and_then(profile::text).and_then(profile::avatar_url),
    };
    let (user, at) = (model::user_id(user)?, user.get("updated_at").and_then(milliseconds));
    Some(Told { provider: NAME, user, change, at, profile: ToldProfile { profile, unconfirmed: false } })
}

/// The primary address, else the first one. An address that Clerk marks as anything but verified is nobody's, as in tokens with
/// `email_verified: false`.
fn primary_email(user: &Value) -> Option<String> {
    let addresses = user.get("email_addresses")?.as_array()?;
    let primary = user.get("primary_email_address_id").and_then(Value::as_str);
    let is_primary = |address: &&Value| primary.is_some() && address.get("id").and_then(Value::as_str) == primary;
    let address = addresses.iter().find(is_primary).or(addresses.first())?;
    let verification = address.get("verification").and_then(|verification| verification.get("status")).and_then(Value::as_str);
    if verification.is_some_and(|status| status != "verified") {
        return None;
    }
    profile::email(profile::text(address.get("email_address")?)?)
}

/// A time in Unix milliseconds.
fn milliseconds(value: &Value) -> Option<DateTime<Utc>> {
    DateTime::from_timestamp_millis(value.as_i64()?).filter(service::is_storable)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn clerk_user_is_read_within_bounds() {
        let profile = |user: Value| told("user.updated", &user).unwrap().profile.profile;
        let all = json!({"id": "user_1", "first_name": " Ada ", "last_name": "Lovelace", "image_url": "https://img.example.com/a.png",
            "primary_email_address_id": "b", "email_addresses": [{"id": "a", "email_address": "a@example.com"}, {"id": "b", "email_address": " Ada@Example.COM"}]});
        let ada = Profile {
            email: Some("ada@example.com".to_owned()),
            full_name: Some("Ada Lovelace".to_owned()),
            avatar_url: Some("https://img.example.com/a.png".to_owned()),
        };
        assert_eq!(profile(all), ada);
        for odd in [json!(null), json!(5), json!([]), json!({}), json!(""), json!("\u{0}")] {
            let user = json!({"id": "user_1", "first_name": odd, "last_name": odd, "image_url": odd, "primary_email_address_id": odd, "email_addresses": odd});
            assert_eq!(profile(user), Profile::default());
            let user = json!({"id": "user_1", "email_addresses": [{"id": odd, "email_address": odd, "verification": odd}]});
            assert_eq!(profile(user), Profile::default());
        }
        let user = json!({"id": "user_1", "first_name": "é".repeat(300), "image_url": "javascript:alert(1)"});
        let bounded = profile(user);
        assert_eq!((bounded.full_name.unwrap().chars().count(), bounded.avatar_url), (255, None));
    }

    #[test]
    fn clerk_address_is_primary_else_first_and_verified() {
        let email = |primary: Value, status: &str| {
            primary_email(&json!({"primary_email_address_id": primary, "email_addresses": [
                {"id": "a", "email_address": "a@example.com"},
                {"id": "b", "email_address": "b@example.com", "verification": {"status": status}},
            ]}))
        };
        assert_eq!(email(json!("b"), "verified").as_deref(), Some("b@example.com"));
        assert_eq!(email(json!("b"), "unverified"), None, "not another one in its place");
        assert_eq!(email(json!(null), "verified").as_deref(), Some("a@example.com"));
        assert_eq!(email(json!("c"), "verified").as_deref(), Some("a@example.com"));
    }

    #[test]
    fn clerk_event_without_usable_id_or_of_other_type_tells_nothing() {
        for id in [json!(null), json!(""), json!(5), json!("a\nb"), json!("user_\u{FFFD}"), json!("x".repeat(256))] {
            assert_eq!(told("user.deleted", &json!({"id": id})), None, "{id}");
        }
        assert_eq!(told("session.created", &json!({"id": "x"})), None);
        let at = |time: Value| told("user.deleted", &json!({"id": "x", "updated_at": time})).unwrap().at;
        assert_eq!(at(json!(1_654_012_591_835_i64)).unwrap().timestamp_millis(), 1_654_012_591_835);
        for time in [json!("x"), json!(1.5), json!(i64::MAX), json!(i64::MIN), json!(null)] {
            assert_eq!(at(time), None);
        }
    }
}
