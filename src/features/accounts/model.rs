//! Request and response bodies of registration, login, sessions and recovery.

use std::net::IpAddr;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::features::users::model::UserRead;
use crate::platform::id::{Id, Resource, UserId};

pub type SessionId = Id<SessionRead>;

impl Resource for SessionRead {
    const NAME: &'static str = "Session";
}

/// Id of a further registration of an unverified address.
pub type RegistrationId = Id<NewRegistration>;

/// A further registration of an unverified address. It takes effect when the link that is mailed for it is used.
#[derive(Debug, Clone)]
pub struct NewRegistration {
    pub id: RegistrationId,
    pub user_id: UserId,
    pub password_hash: String,
    pub full_name: Option<String>,
    pub created_at: DateTime<Utc>,
    pub expires_at: DateTime<Utc>,
}

impl Resource for NewRegistration {
    const NAME: &'static str = "Registration";
}

/// Cached authorization state of an open session. May be a few seconds old.
#[derive(Debug, Clone, PartialEq, Eq, sqlx::FromRow)]
pub struct OpenSession {
    pub user_id: UserId,
    pub expires_at: DateTime<Utc>,
}

/// Ways to register and log in.
#[derive(Debug, Serialize, ToSchema)]
#[schema(example = json!({"provider": "local", "registration_open": true, "email_verification_required": false, "password_min_length": 8}))]
pub struct AuthConfig {
    /// `local`, `supabase`, `clerk` or `custom`.
    pub provider: &'static str,
    pub registration_open: bool,
    pub email_verification_required: bool,
    pub password_min_length: usize,
}

#[derive(Debug, Deserialize, ToSchema)]
#[schema(example = json!({"email": "ada@example.com", "password": "a long and unusual one", "full_name": "Ada Lovelace"}))]
pub struct Register {
    #[schema(format = Email, max_length = 255)]
    pub email: String,
    /// `password_min_length` of the login configuration to 128 characters after normalisation (NFC); none that is common or
    /// easy to guess.
    #[schema(format = Password)]
    pub password: String,
    #[serde(default)]
    #[schema(max_length = 255)]
    pub full_name: Option<String>,
}

#[derive(Debug, Deserialize, ToSchema)]
#[schema(example = json!({"email": "ada@example.com", "password": "a long and unusual one"}))]
pub struct Login {
    #[schema(max_length = 255)]
    pub email: String,
    /// At most 128 characters after normalisation (NFC).
    #[schema(format = Password)]
    pub password: String,
}

/// A refresh token, to be exchanged or revoked.
#[derive(Debug, Deserialize, ToSchema)]
#[schema(example = json!({"refresh_token": "AZnzsHweeyqS7m8PPBsqTQAAAAF3bWl0aCBhIHNpZ25hdHVyZSBvZiAzMiBieXRlcyE"}))]
pub struct RefreshToken {
    pub refresh_token: String,
}

/// The token of a link in a mail.
#[derive(Debug, Deserialize, ToSchema)]
#[schema(example = json!({"token": "q1x0bWl0aCBhIHNpZ25hdHVyZSBvZiAzMiBieXRlcyE"}))]
pub struct MailedToken {
    pub token: String,
}

#[derive(Debug, Deserialize, ToSchema)]
#[schema(example = json!({"email": "ada@example.com"}))]
pub struct Address {
    #[schema(max_length = 255)]
    pub email: String,
}

#[derive(Debug, Deserialize, ToSchema)]
#[schema(example = json!({"token": "q1x0bWl0aCBhIHNpZ25hdHVyZSBvZiAzMiBieXRlcyE", "password": "another unusual one"}))]
pub struct ResetPassword {
    pub token: String,
    /// By the rules of registering.
    #[schema(format = Password)]
    pub password: String,
}

#[derive(Debug, Deserialize, ToSchema)]
#[schema(example = json!({"current_password": "a long and unusual one", "new_password": "another unusual one"}))]
pub struct ChangePassword {
    #[schema(format = Password)]
    pub current_password: String,
    /// By the rules of registering.
    #[schema(format = Password)]
    pub new_password: String,
}

/// The tokens of a session.
#[derive(Debug, Serialize, ToSchema)]
#[schema(example = json!({
    "access_token": "eyJ0eXAiOiJhdCtqd3QiLCJhbGciOiJIUzI1NiJ9.e30.c2lnbmF0dXJl", "token_type": "bearer", "expires_in": 900,
    "refresh_token": "AZnzsHweeyqS7m8PPBsqTQAAAAF3bWl0aCBhIHNpZ25hdHVyZSBvZiAzMiBieXRlcyE", "refresh_expires_in": 1_209_600,
    "user": {"id": "0199f3b0-7c1e-7d2a-9f2e-6f0f3c1b2a4d", "email": "ada@example.com", "full_name": "Ada Lovelace", "avatar_url": null,
        "role": "user", "is_active": true, "subscription_plan": null, "subscription_status": null, "created_at": "2026-01-10T12:00:00.123456Z"}
}))]
pub struct AuthSession {
    pub access_token: String,
    /// `bearer`.
    pub token_type: &'static str,
    /// Seconds for which the access token holds.
    pub expires_in: i64,
    pub refresh_token: String,
    /// Seconds for which the refresh token holds, unless it is used before.
    pub refresh_expires_in: i64,
    pub user: UserRead,
}

/// What was done, in words.
#[derive(Debug, Serialize, ToSchema)]
#[schema(example = json!({"message": "If that is possible, a mail is on its way"}))]
pub struct AuthMessage {
    pub message: &'static str,
}

/// A credential that opens one WebSocket, as `?ticket=`.
#[derive(Debug, Serialize, ToSchema)]
#[schema(example = json!({"ticket": "q1x0bWl0aCBhIHNpZ25hdHVyZSBvZiAzMiBieXRlcyE", "expires_in": 30}))]
pub struct WsTicket {
    pub ticket: String,
    /// Seconds.
    pub expires_in: i64,
}

/// A logged-in device.
#[derive(Debug, Serialize, sqlx::FromRow, ToSchema)]
pub struct SessionRead {
    #[schema(value_type = String, format = "uuid")]
    pub id: SessionId,
    pub created_at: DateTime<Utc>,
    /// When it was last refreshed.
    pub last_used_at: DateTime<Utc>,
    pub ip_address: Option<String>,
    pub user_agent: Option<String>,
    /// Whether it is the session of this request.
    #[sqlx(default)]
    pub current: bool,
}

#[derive(Debug, Serialize, ToSchema)]
#[schema(example = json!({"items": [{
    "id": "0199f3b0-7c1e-7d2a-9f2e-6f0f3c1b2a4d", "created_at": "2026-01-10T12:00:00.123456Z", "last_used_at": "2026-01-10T12:00:00.123456Z",
    "ip_address": "203.0.113.7", "user_agent": "Mozilla/5.0", "current": true
}]}))]
pub struct SessionList {
    pub items: Vec<SessionRead>,
}

/// The client of a request.
#[derive(Debug, Clone)]
pub struct Device {
    pub address: IpAddr,
    pub user_agent: Option<String>,
}
