//! The user row, its two views (user and administrator), and the request bodies that change it.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use crate::platform::auth::Role;
use crate::platform::cache::Cached;
use crate::platform::http::list::{Listed, SortKey};
use crate::platform::http::present;
use crate::platform::id::UserId;

/// Cached authorization state of a user. May be a few seconds old; never returned to clients.
#[derive(Debug, Clone, PartialEq, sqlx::FromRow)]
pub struct Identity {
    pub role: Role,
    pub is_active: bool,
    pub last_login_at: Option<DateTime<Utc>>,
}

impl Cached for Identity {}

/// A row of `users`.
#[derive(Debug, Clone, sqlx::FromRow)]
pub struct User {
    pub id: UserId,
    pub email: String,
    pub full_name: Option<String>,
    pub avatar_url: Option<String>,
    pub role: Role,
    pub is_active: bool,
    /// Vendor ids and plan are copies: the billing features write them in the same transaction as their own rows.
    pub stripe_customer_id: Option<String>,
    pub subscription_status: Option<String>,
    pub subscription_plan: Option<String>,
    pub apple_original_transaction_id: Option<String>,
    pub google_purchase_token: Option<String>,
    pub last_login_at: Option<DateTime<Utc>>,
    pub login_count: i32,
    pub created_at: DateTime<Utc>,
    pub updated_at: DateTime<Utc>,
}

impl Listed for User {
    fn sort_key(&self) -> SortKey {
        SortKey::Time(self.created_at)
    }

    fn id(&self) -> String {
        self.id.to_string()
    }
}

/// A user as they see themselves.
#[derive(Debug, Clone, Serialize, sqlx::FromRow, ToSchema)]
#[schema(example = json!({
    "id": "0199f3b0-7c1e-7d2a-9f2e-6f0f3c1b2a4d", "email": "ada@example.com", "full_name": "Ada Lovelace", "avatar_url": "https://example.com/ada.png",
    "role": "user", "is_active": true, "subscription_plan": null, "subscription_status": null, "created_at": "2026-01-10T12:00:00.123456Z"
}))]
pub struct UserRead {
    pub id: UserId,
    pub email: String,
    pub full_name: Option<String>,
    pub avatar_url: Option<String>,
    pub role: Role,
    pub is_active: bool,
    /// `free`, `pro` or `enterprise`.
    pub subscription_plan: Option<String>,
    /// `active`, `canceled`, `past_due`, `trialing` or `incomplete`.
    pub subscription_status: Option<String>,
    pub created_at: DateTime<Utc>,
}

/// Plans whose active subscription makes a user premium.
const PREMIUM_PLANS: [&str; 2] = ["pro", "enterprise"];

/// A user as they see themselves in version 2 of the API.
#[derive(Debug, Serialize, ToSchema)]
#[schema(example = json!({
    "id": "0199f3b0-7c1e-7d2a-9f2e-6f0f3c1b2a4d", "email": "ada@example.com", "full_name": "Ada Lovelace", "avatar_url": "https://example.com/ada.png",
    "role": "user", "is_active": true, "subscription_plan": "pro", "subscription_status": "active", "created_at": "2026-01-10T12:00:00.123456Z",
    "is_premium": true, "days_since_joined": 31
}))]
pub struct UserReadV2 {
    #[serde(flatten)]
    pub user: UserRead,
    /// Whether the subscription is active and its plan is `pro` or `enterprise`.
    pub is_premium: bool,
    /// Whole days since `created_at`.
    #[schema(minimum = 0)]
    pub days_since_joined: i64,
}

impl UserReadV2 {
    pub fn of(user: UserRead, now: DateTime<Utc>) -> Self {
        let is_active = user.subscription_status.as_deref() == Some("active");
        let is_premium = is_active && user.subscription_plan.as_deref().is_some_and(|plan| PREMIUM_PLANS.contains(&plan));
        let days_since_joined = (now - user.created_at).num_days().max(0);
        Self { user, is_premium, days_since_joined }
    }
}

/// The caller's row, if authentication read it: handlers can use it instead of another query.
#[derive(Debug, Clone)]
pub struct LoadedUser(pub UserRead);

/// A user as administrators see them.
#[derive(Debug, Serialize, ToSchema)]
#[schema(example = json!({
    "id": "0199f3b0-7c1e-7d2a-9f2e-6f0f3c1b2a4d", "email": "ada@example.com", "full_name": "Ada Lovelace", "avatar_url": null,
    "role": "user", "is_active": true, "subscription_plan": null, "subscription_status": null, "created_at": "2026-01-10T12:00:00.123456Z",
    "stripe_customer_id": null, "apple_original_transaction_id": null, "google_purchase_token": null,
    "last_login_at": "2026-01-10T12:00:00.123456Z", "login_count": 1, "updated_at": "2026-01-10T12:00:00.123456Z"
}))]
pub struct UserReadAdmin {
    #[serde(flatten)]
    pub user: UserRead,
    pub stripe_customer_id: Option<String>,
    pub apple_original_transaction_id: Option<String>,
    pub google_purchase_token: Option<String>,
    pub last_login_at: Option<DateTime<Utc>>,
    pub login_count: i32,
    pub updated_at: DateTime<Utc>,
}

impl From<User> for UserRead {
    fn from(user: User) -> Self {
        UserReadAdmin::from(user).user
    }
}

impl From<User> for UserReadAdmin {
    fn from(user: User) -> Self {
        Self {
            user: UserRead {
                id: user.id,
                email: user.email,
                full_name: user.full_name,
                avatar_url: user.avatar_url,
                role: user.role,
                is_active: user.is_active,
                subscription_plan: user.subscription_plan,
                subscription_status: user.subscription_status,
                created_at: user.created_at,
            },
            stripe_customer_id: user.stripe_customer_id,
            apple_original_transaction_id: user.apple_original_transaction_id,
            google_purchase_token: user.google_purchase_token,
            last_login_at: user.last_login_at,
            login_count: user.login_count,
            updated_at: user.updated_at,
        }
    }
}

/// The members of their profile that users can change; absent members stay, `null` clears.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[schema(example = json!({"full_name": "Ada Lovelace", "avatar_url": "https://example.com/ada.png"}))]
pub struct UpdateMe {
    #[serde(default, deserialize_with = "present")]
    #[schema(value_type = Option<String>, max_length = 255)]
    pub full_name: Option<Option<String>>,
    #[serde(default, deserialize_with = "present")]
    #[schema(value_type = Option<String>, format = "uri", max_length = 2048)]
    pub avatar_url: Option<Option<String>>,
}

/// The members of a user that administrators can change; absent members stay, `null` clears a profile member.
#[derive(Debug, Clone, Default, Deserialize, ToSchema)]
#[schema(example = json!({"role": "admin", "is_active": true}))]
pub struct UpdateUser {
    #[serde(default, deserialize_with = "present")]
    #[schema(value_type = Option<String>, max_length = 255)]
    pub full_name: Option<Option<String>>,
    #[serde(default, deserialize_with = "present")]
    #[schema(value_type = Option<String>, format = "uri", max_length = 2048)]
    pub avatar_url: Option<Option<String>>,
    #[schema(value_type = Role, required = false)]
    pub role: Option<Role>,
    #[schema(value_type = bool, required = false)]
    pub is_active: Option<bool>,
}

impl From<UpdateMe> for UpdateUser {
    fn from(change: UpdateMe) -> Self {
        Self { full_name: change.full_name, avatar_url: change.avatar_url, ..Self::default() }
    }
}

/// Filter of the list of users.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct UserFilter {
    /// Only active, or only deactivated users.
    #[param(required = false, value_type = bool)]
    pub is_active: Option<bool>,
}
