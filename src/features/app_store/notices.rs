//! App Store Server Notifications, version 2, as a sender of webhooks.

use async_trait::async_trait;
use serde_json::{Value, json};

use super::bundle::check_bundle;
use super::state::State;
use super::transaction::{Transaction, time};
use super::{kinds, service};
use crate::app::App;
use crate::features::webhooks::service::bad_signature;
use crate::features::webhooks::{Current, Delivery, Event, Opened, Sender, Step};
use crate::platform::db::Tx;
use crate::platform::error::{Error, Result};
use crate::providers::payments::apple::{Config, Environment, Verifier};

/// Members of a notice that tell what it is about. Apple sends one of them.
const ABOUT: [&str; 4] = ["data", "summary", "externalPurchaseToken", "appData"];
/// Members of `data` that are signed themselves and must be valid.
const TRANSACTION: &str = "signedTransactionInfo";
const RENEWAL: &str = "signedRenewalInfo";

pub struct Notices;

#[async_trait]
impl Sender for Notices {
    fn provider(&self) -> &'static str {
        "apple"
    }

    fn kinds(&self) -> &'static [&'static str] {
        &kinds::NAMES
    }

    async fn open(&self, app: &App, delivery: Delivery<'_>) -> Result<Opened> {
        let verifier = app.state::<State>().verifier()?;
        let body: Value = serde_json::from_slice(delivery.body).map_err(|_| bad_request("The body is not JSON"))?;
        let signed = body["signedPayload"].as_str().filter(|text| !text.is_empty());
        let signed = signed.ok_or_else(|| bad_request("signedPayload must be a text"))?;
        let verify =
            |jws: &str| verifier.verify(jws, app.clock.now()).map_err(|why| bad_signature(app, "apple", "APPLE_ROOT_CA_PATH", why));
        let mut notice = verify(signed)?;
        let config = app.settings::<Config>();
        check_app(config, &notice)?;
        for member in [TRANSACTION, RENEWAL] {
            if let Some(given) = notice["data"].get(member).filter(|given| !given.is_null()) {
                let decoded = verify(given.as_str().unwrap_or_default())?;
                check_bundle(config, &decoded, member == TRANSACTION)?;
                notice["data"][member] = decoded;
            }
        }
        decode_others(verifier, app, &mut notice);
        let occurred_at = time(&notice, "signedDate").ok_or_else(|| bad_request("The notice has no signedDate"))?;
        let text = |name: &str| notice[name].as_str().unwrap_or_default().to_owned();
        let (id, kind) = (text("notificationUUID"), text("notificationType"));
        Ok(Opened::Event(Event { id, kind, payload: notice, occurred_at: Some(occurred_at) }))
    }

    /// Runs after a tie: two notices were signed at the same time, so what Apple holds now decides.
    async fn read(&self, app: &App, event: &Event) -> Result<Current> {
        let Some(transaction) = Transaction::read(&event.payload["data"][TRANSACTION]) else { return Ok(None) };
        let held = service::ask(app, &transaction.original_id).await?;
        Ok(held.map(|held| json!({"status": held.status, "transaction": held.transaction, "renewal": held.renewal})))
    }

    async fn apply(&self, app: &App, tx: &mut Tx, event: &Event, read: Option<&Current>) -> Result<Step> {
        let environment = environment(&event.payload);
        if app.settings::<Config>().environment.is_some_and(|ours| environment != Some(ours.name())) {
            tracing::info!(event_type = event.kind, environment, "a notice of another environment of the App Store changes nothing");
            return Ok(Step::Done);
        }
        service::apply_notice(app, tx, event, read).await
    }
}

/// Refuses notices about other apps.
fn check_app(config: &Config, notice: &Value) -> Result<()> {
    let about: Vec<_> = ABOUT.iter().filter_map(|name| notice.get(name)).filter(|about| !about.is_null()).collect();
    if about.is_empty() {
        return Err(bad_request("The notice is about no app"));
    }
    let production = environment(notice) == Some(Environment::Production.name());
    let number = config.app_apple_id.filter(|_| production);
    for about in about {
        check_bundle(config, about, true)?;
        // Test purchases are made in apps without a number.
        if number.is_some_and(|number| about["appAppleId"].as_u64() != Some(number)) {
            return Err(bad_request("The notice is about an app with another number"));
        }
    }
    Ok(())
}

/// The environment that a notice is from.
fn environment(notice: &Value) -> Option<&str> {
    let named = ABOUT.iter().find_map(|name| notice[*name]["environment"].as_str());
    named.or_else(|| {
        // These tell it by a prefix of their id.
        let id = notice["externalPurchaseToken"]["externalPurchaseId"].as_str()?;
        let environment = if id.starts_with("SANDBOX") { Environment::Sandbox } else { Environment::Production };
        Some(environment.name())
    })
}

/// Replaces what else is signed, and used by nothing here, by its payload; what cannot be verified is left out. No signed text is
/// stored: it could be shown to other servers.
fn decode_others(verifier: &Verifier, app: &App, notice: &mut Value) {
    for name in ABOUT {
        let Some(about) = notice.get_mut(name).and_then(Value::as_object_mut) else { continue };
        about.retain(|member, value| {
            let Some(jws) = value.as_str().filter(|_| member.starts_with("signed")) else { return true };
            match verifier.verify(jws, app.clock.now()) {
                Ok(decoded) => *value = decoded,
                Err(_) => return false,
            }
            true
        });
    }
}

fn bad_request(why: &str) -> Error {
    Error::BadRequest(why.to_owned())
}
