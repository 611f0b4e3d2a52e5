//! Claims of a verified token, reduced to those that the service trusts.
//!
//! A claim of an unexpected type counts as absent. Roles are read only from claims that the issuer's
//! users cannot write themselves.

use std::sync::Arc;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use utoipa::ToSchema;

use super::config::Provider;
use super::profile::{self, PLACEHOLDER};
use super::refusal::Refusal;
use crate::platform::crypto;
use crate::platform::id::UserId;

/// What a user may do; a later one includes the earlier ones.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, sqlx::Type, ToSchema)]
#[serde(rename_all = "lowercase")]
#[sqlx(type_name = "TEXT", rename_all = "lowercase")]
pub enum Role {
    User,
    Admin,
    Superadmin,
}

impl Role {
    pub fn parse(name: &str) -> Option<Self> {
        match name {
            "user" => Some(Self::User),
            "admin" => Some(Self::Admin),
            "superadmin" => Some(Self::Superadmin),
            _ => None,
        }
    }

    pub fn name(self) -> &'static str {
        match self {
            Self::User => "user",
            Self::Admin => "admin",
            Self::Superadmin => "superadmin",
        }
    }
}

/// The trusted claims of a verified token.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Claims {
    pub subject: UserId,
    /// Trimmed, lower-cased and well-formed; `None` unless the issuer vouches for it.
    pub email: Option<String>,
    pub full_name: Option<String>,
    pub avatar_url: Option<String>,
    /// The highest role that the issuer's trusted claims give.
    pub role: Role,
    /// The session of a token that the service itself issued; `None` for other issuers.
    pub session: Option<Arc<str>>,
    /// Unix seconds.
    pub issued_at: Option<i64>,
    pub expires_at: i64,
}

impl Claims {
    pub(super) fn read(payload: &Map<String, Value>, provider: Provider) -> Result<Self, Refusal> {
        let subject = payload.get("sub").and_then(Value::as_str).ok_or(Refusal::Invalid("no subject"))?;
        let subject = UserId::parse(subject).ok_or(Refusal::Invalid("subject is out of bounds"))?;
        let session = match provider {
            Provider::Local => Some(payload.get("sid").and_then(Value::as_str).ok_or(Refusal::Invalid("no session"))?.into()),
            _ => None,
        };
        let first = |paths: &[&[&str]]| paths.iter().find_map(|path| string(payload, path));
        let full_name = first(&[&["name"], &["full_name"], &["user_metadata", "full_name"], &["user_metadata", "name"]]);
        let avatar_url = first(&[&["picture"], &["avatar_url"], &["user_metadata", "avatar_url"], &["user_metadata", "picture"]]);
        Ok(Self {
            subject,
            email: trusted_email(payload),
            full_name: full_name.map(profile::full_name),
            avatar_url: avatar_url.and_then(profile::avatar_url),
            role: trusted_role(payload, provider),
            session,
            issued_at: seconds(payload, "iat"),
            expires_at: seconds(payload, "exp").ok_or(Refusal::Invalid("no expiry"))?,
        })
    }
}

/// A numeric date (RFC 7519 §2) in whole seconds.
#[expect(clippy::cast_possible_truncation, reason = "a float beyond the range saturates, which is far enough")]
pub(super) fn seconds(payload: &Map<String, Value>, name: &str) -> Option<i64> {
    let value = payload.get(name)?;
    // Clamped so that arithmetic with the current time cannot overflow.
    value.as_i64().or_else(|| value.as_f64().map(|seconds| seconds as i64)).map(|seconds| seconds.clamp(0, i64::MAX / 4))
}

/// The text at a path.
fn string<'v>(payload: &'v Map<String, Value>, path: &[&str]) -> Option<&'v str> {
    let (last, objects) = path.split_last()?;
    let object = objects.iter().try_fold(payload, |object, name| object.get(*name)?.as_object())?;
    profile::text(object.get(*last)?)
}

/// The user's address, unless the issuer says that it is not verified. `user_metadata` is not read: users write it themselves, so
/// an address in it is only a claim.
fn trusted_email(payload: &Map<String, Value>) -> Option<String> {
    // Some issuers write booleans as text.
    if payload.get("email_verified").is_some_and(|verified| *verified == Value::Bool(false) || *verified == "false") {
        return None;
    }
    let email = string(payload, &["email"]).or_else(|| string(payload, &["app_metadata", "email"]))?;
    profile::email(email)
}

/// Returns the addresses of a user without one. The second one is for a subject whose first one was taken before addresses in this
/// domain were refused.
///
/// Two subjects never share an address: a subject that has other characters than an address, or that only differs in case from
/// another one, is written as a hash.
pub fn placeholder_emails(subject: &UserId) -> Vec<String> {
    let subject = subject.as_str();
    let plain = subject.len() <= 64 && subject.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b"._-".contains(&b));
    let hashed = format!("u-{}{PLACEHOLDER}", &crypto::hex(&crypto::sha256(subject.as_bytes()))[..32]);
    if plain { vec![format!("{subject}{PLACEHOLDER}"), hashed] } else { vec![hashed] }
}

fn trusted_role(payload: &Map<String, Value>, provider: Provider) -> Role {
    let paths: &[&[&str]] = match provider {
        // Our own tokens carry no role: the users row has it.
        Provider::Local => &[],
        // Supabase's top-level `role` is the Postgres role, not the user's.
        Provider::Supabase => &[&["app_metadata", "role"], &["user_role"]],
        Provider::Clerk => &[&["public_metadata", "role"], &["user_role"], &["role"]],
        Provider::Custom => &[&["role"], &["user_role"], &["app_metadata", "role"]],
    };
    let role = |path: &&[&str]| {
        let (last, objects) = path.split_last()?;
        let object = objects.iter().try_fold(payload, |object, name| object.get(*name)?.as_object())?;
        Role::parse(object.get(*last)?.as_str()?)
    };
    paths.iter().filter_map(role).max().unwrap_or(Role::User)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn read(claims: &Value, provider: Provider) -> Result<Claims, Refusal> {
        let mut claims = claims.as_object().unwrap().clone();
        claims.entry("sub").or_insert("u".into());
        claims.entry("exp").or_insert(2_000_000_000.into());
        claims.entry("sid").or_insert("s".into());
        Claims::read(&claims, provider)
    }

    #[test]
    fn role_is_read_only_from_trusted_claims() {
        let role = |claims: Value, provider| read(&claims, provider).unwrap().role;
        assert_eq!(role(json!({"role": "admin"}), Provider::Custom), Role::Admin);
        assert_eq!(role(json!({"role": "admin"}), Provider::Supabase), Role::User);
        assert_eq!(role(json!({"app_metadata": {"role": "superadmin"}}), Provider::Supabase), Role::Superadmin);
        assert_eq!(role(json!({"public_metadata": {"role": "admin"}}), Provider::Clerk), Role::Admin);
        assert_eq!(role(json!({"role": "admin"}), Provider::Local), Role::User);
        for untrusted in ["user_metadata", "raw_user_meta_data", "unsafe_metadata"] {
            for provider in [Provider::Local, Provider::Supabase, Provider::Clerk, Provider::Custom] {
                assert_eq!(role(json!({untrusted: {"role": "admin"}}), provider), Role::User);
            }
        }
        assert_eq!(role(json!({"role": " admin"}), Provider::Custom), Role::User);
    }

    #[test]
    fn claims_of_wrong_type_count_as_absent() {
        let claims =
            read(&json!({"email": 5, "user_metadata": "x", "name": ["n"], "picture": {"a": 1}, "iat": "now"}), Provider::Custom).unwrap();
        assert_eq!((claims.email, claims.full_name, claims.avatar_url, claims.issued_at), (None, None, None, None));
        assert!(read(&json!({"exp": "tomorrow"}), Provider::Custom).is_err());
        assert!(read(&json!({"sub": "a\nb"}), Provider::Custom).is_err());
    }

    #[test]
    fn email_is_taken_only_if_the_issuer_vouches_for_it() {
        let email = |claims: Value| read(&claims, Provider::Supabase).unwrap().email;
        let some = |text: &str| Some(text.to_owned());
        assert_eq!(email(json!({"email": " Ada@Example.test "})), some("ada@example.test"));
        assert_eq!(email(json!({"email": "", "app_metadata": {"email": "app@example.test"}})), some("app@example.test"));
        assert_eq!(email(json!({"email": "ada@example.test", "email_verified": true})), some("ada@example.test"));
        assert_eq!(email(json!({"email": "ada@example.test", "email_verified": null})), some("ada@example.test"));
        for claims in [
            json!({"user_metadata": {"email": "ada@example.test"}}),
            json!({"email": "ada@example.test", "email_verified": false}),
            json!({"email": "ada@example.test", "email_verified": "false"}),
            json!({"app_metadata": {"email": "ada@example.test"}, "email_verified": false}),
            json!({"email": "0199f3b0-7c1e-7d2a-9f2e-6f0f3c1b2a4d"}),
            json!({"email": "not an address", "app_metadata": {"email": "app@example.test"}}),
            json!({"email": "bob@placeholder.local"}),
            json!({"email": "Bob@Placeholder.LOCAL"}),
        ] {
            assert_eq!(email(claims.clone()), None, "{claims}");
        }
    }

    #[test]
    fn placeholder_differs_for_each_subject() {
        let of = |subject: &str| placeholder_emails(&UserId::parse(subject).unwrap());
        assert_eq!(of("user_2.x-1"), ["user_2.x-1@placeholder.local", "u-bdf2a8f0b8aa292e57f477ee120da758@placeholder.local"]);
        for odd in ["auth0|7", "AUTH0|7", "User_1", "ünï", "a b", "a@b.c", &"x".repeat(65)] {
            let [only] = of(odd).try_into().unwrap();
            assert!(only.len() == 2 + 32 + PLACEHOLDER.len() && only.starts_with("u-"), "{only}");
        }
        assert_ne!(of("auth0|7"), of("AUTH0|7"));
    }

    #[test]
    fn claims_profile_fields_are_bounded() {
        let claims =
            read(&json!({"email": " Ada@Example.COM ", "name": "é".repeat(300), "picture": "javascript:alert(1)"}), Provider::Custom)
                .unwrap();
        assert_eq!(claims.email.as_deref(), Some("ada@example.com"));
        assert_eq!(claims.full_name.unwrap().chars().count(), 255);
        assert_eq!(claims.avatar_url, None);
    }
}
