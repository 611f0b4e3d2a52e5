//! What a webhook tells of a user.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::features::users::service::profile_sync::Profile;
use crate::features::webhooks::Delivery;
use crate::platform::error::{Error, Result};
use crate::platform::id::UserId;
use crate::platform::json;

/// What happened to the user at the provider.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Change {
    Created,
    Updated,
    Deleted,
}

/// An event about a user.
#[derive(Debug, Clone, PartialEq)]
pub struct Told {
    pub provider: &'static str,
    pub user: UserId,
    pub change: Change,
    /// The provider's time of the object, by which late events are recognized.
    pub at: Option<DateTime<Utc>>,
    pub profile: ToldProfile,
}

/// The profile as the provider tells it.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct ToldProfile {
    #[serde(flatten)]
    pub profile: Profile,
    /// The provider says that the address is not confirmed yet.
    pub unconfirmed: bool,
}

impl ToldProfile {
    /// This profile, with members of an older one where it tells none.
    pub fn or(self, older: Self) -> Self {
        let (new, old) = (self.profile, older.profile);
        let unconfirmed = if new.email.is_some() { self.unconfirmed } else { older.unconfirmed };
        let profile = Profile {
            email: new.email.or(old.email),
            full_name: new.full_name.or(old.full_name),
            avatar_url: new.avatar_url.or(old.avatar_url),
        };
        Self { profile, unconfirmed }
    }
}

/// Reads a delivery's body, which must be a JSON object.
pub fn object(delivery: Delivery<'_>) -> Result<Map<String, Value>> {
    serde_json::from_slice(delivery.body).map_err(|_| Error::BadRequest("The body must be a JSON object".to_owned()))
}

/// The type of an event.
pub fn kind(body: &Map<String, Value>) -> Result<String> {
    let kind = body.get("type").and_then(Value::as_str).filter(|kind| !kind.is_empty());
    kind.map(str::to_owned).ok_or_else(|| Error::BadRequest("The body must have a `type`".to_owned()))
}

/// The id of the object's user. An id with a replaced character belongs to nobody.
pub fn user_id(object: &Value) -> Option<UserId> {
    UserId::parse(object.get("id")?.as_str()?).filter(|id| !id.as_str().contains(json::REPLACEMENT))
}
