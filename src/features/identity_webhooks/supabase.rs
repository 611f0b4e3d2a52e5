//! Supabase's database webhooks of `auth.users` (supabase.com/docs/guides/database/webhooks). They are sent once: a lost one never
//! comes again.

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use secrecy::ExposeSecret;
use serde_json::{Map, Value};

use super::config::SUPABASE_SECRET;
use super::model::{self, Change, Told, ToldProfile};
use super::service;
use super::state::State;
use crate::app::App;
use crate::features::users::service::profile_sync::Profile;
use crate::features::webhooks::service as webhooks;
use crate::features::webhooks::{Current, Delivery, Event, Opened, Sender, Step};
use crate::platform::auth::profile;
use crate::platform::crypto;
use crate::platform::db::Tx;
use crate::platform::error::{Error, Result};

pub struct Supabase;

const NAME: &str = "supabase";

#[async_trait]
impl Sender for Supabase {
    fn provider(&self) -> &'static str {
        NAME
    }

    fn kinds(&self) -> &'static [&'static str] {
        &["INSERT", "UPDATE", "DELETE"]
    }

    async fn open(&self, app: &App, delivery: Delivery<'_>) -> Result<Opened> {
        let secrets = &app.state::<State>().supabase;
        if secrets.is_empty() {
            return Err(Error::Unavailable { message: "Supabase's webhook is not configured", retry_after: None });
        }
        let given = bearer(delivery).unwrap_or_default();
        if !secrets.iter().any(|secret| crypto::same(secret.expose_secret().as_bytes(), given)) {
            let why = if given.is_empty() { "no bearer secret" } else { "another bearer secret" };
            webhooks::log_refusal(app, NAME, SUPABASE_SECRET, why);
            return Err(Error::Unauthenticated("The webhook's secret is missing or wrong"));
        }
        let body = model::object(delivery)?;
        let kind = model::kind(&body)?;
        let rows = [body.get("record"), body.get("old_record")].map(|row| row.filter(|row| !row.is_null()));
        if rows.iter().flatten().any(|row| !row.is_object()) || rows.iter().flatten().next().is_none() {
            return Err(Error::BadRequest("`record` and `old_record` must be objects or null, at least one an object".to_owned()));
        }
        let occurred_at = rows.into_iter().flatten().next().and_then(updated_at);
        // The hook sends no id. Its rows hold hashes of passwords and one-time tokens, which are not kept.
        let id = crypto::hex(&crypto::sha256(delivery.body));
        Ok(Opened::Event(Event { id, kind, payload: webhooks::masked(Value::Object(body)), occurred_at }))
    }

    async fn apply(&self, app: &App, tx: &mut Tx, event: &Event, _: Option<&Current>) -> Result<Step> {
        if let Some(told) = event.payload.as_object().and_then(|body| told(&event.kind, body)) {
            service::apply(app, tx, told).await?;
        }
        Ok(Step::Done)
    }
}

/// The secret of the `Authorization` header.
fn bearer(delivery: Delivery<'_>) -> Option<&[u8]> {
    let value = delivery.headers.get(http::header::AUTHORIZATION)?.as_bytes();
    let (scheme, secret) = value.split_at_checked(7)?;
    scheme.eq_ignore_ascii_case(b"bearer ").then(|| secret.trim_ascii())
}

/// What an event tells; `None` for other tables, other types, and without a usable id.
fn told(kind: &str, body: &Map<String, Value>) -> Option<Told> {
    let named = |name: &str| body.get(name).and_then(Value::as_str);
    let is_users = named("table") == Some("auth.users") || (named("schema") == Some("auth") && named("table") == Some("users"));
    let (change, row) = match kind {
        "INSERT" => (Change::Created, "record"),
        "UPDATE" => (Change::Updated, "record"),
        "DELETE" => (Change::Deleted, "old_record"),
        _ => return None,
    };
    let row = body.get(row).filter(|_| is_users)?;
    let metadata = |name: &str| row.get("raw_user_meta_data")?.get(name).and_then(profile::text);
    let profile = Profile {
        email: row.get("email").and_then(profile::text).and_then(profile::email),
        full_name: metadata("full_name").or_else(|| metadata("name")).map(profile::full_name),
        avatar_url: metadata("avatar_url").and_then(profile::avatar_url),
    };
    // Null until the owner of the address has confirmed it. Supabase lets nobody in before.
    let unconfirmed = row.get("email_confirmed_at").is_some_and(Value::is_null);
    let (user, at) = (model::user_id(row)?, updated_at(row));
    Some(Told { provider: NAME, user, change, at, profile: ToldProfile { profile, unconfirmed } })
}

fn updated_at(row: &Value) -> Option<DateTime<Utc>> {
    let time = DateTime::parse_from_rfc3339(row.get("updated_at")?.as_str()?).ok()?;
    Some(time.to_utc()).filter(service::is_storable)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn of(body: &Value) -> Option<Told> {
        told(body["type"].as_str().unwrap(), body.as_object().unwrap())
    }

    #[test]
    fn supabase_event_counts_only_for_the_table_of_users() {
        let event = |schema: Value, table: Value| of(&json!({"type": "INSERT", "schema": schema, "table": table, "record": {"id": "x"}}));
        assert!(event(json!("auth"), json!("users")).is_some());
        assert!(event(json!(null), json!("auth.users")).is_some());
        for (schema, table) in [("public", "users"), ("auth", "sessions"), ("auth", "Users"), ("", "users")] {
            assert_eq!(event(json!(schema), json!(table)), None, "{schema} {table}");
        }
        assert_eq!(event(json!(null), json!("users")), None);
    }

    #[test]
    fn supabase_row_is_read_within_bounds() {
        let row = json!({"id": "x", "email": " Ada@Example.com", "updated_at": "2026-01-10T12:00:00.5+01:00", "email_confirmed_at": null,
            "raw_user_meta_data": {"full_name": 5, "name": "Ada", "avatar_url": "ftp://x"}});
        let event = of(&json!({"type": "UPDATE", "table": "auth.users", "record": row, "old_record": null})).unwrap();
        let profile = Profile { email: Some("ada@example.com".to_owned()), full_name: Some("Ada".to_owned()), avatar_url: None };
        assert_eq!((event.profile, event.change), (ToldProfile { profile, unconfirmed: true }, Change::Updated));
        assert_eq!(event.at.unwrap().to_rfc3339(), "2026-01-10T11:00:00.500+00:00");
        for odd in [json!(null), json!([]), json!("x"), json!(5)] {
            let row = json!({"id": "x", "email": odd, "raw_user_meta_data": odd, "updated_at": odd});
            let event = of(&json!({"type": "DELETE", "table": "auth.users", "old_record": row})).unwrap();
            assert_eq!((event.profile, event.at), (ToldProfile::default(), None));
        }
        assert_eq!(of(&json!({"type": "DELETE", "table": "auth.users", "record": {"id": "x"}})), None);
        assert_eq!(of(&json!({"type": "TRUNCATE", "table": "auth.users", "record": {"id": "x"}})), None);
    }
}
